//! What `strace` is asked: which calls a verb makes on the files it is about, and to spoil one of them.
//!
//! Calls are counted among those on paths of the store, of what the verb is given, and of its output. So the
//! loader's own and what only concerns memory are left alone. Each thread counts for itself: a number means that
//! call of every thread.

use crate::Result;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What is done to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The process is killed before it.
    Kill,
    /// It fails: the medium is bad.
    Eio,
    /// It fails: the disk is full.
    Enospc,
    /// It does nothing, and says that it wrote one byte.
    Lie,
}

/// One call to spoil.
#[derive(Clone, Debug)]
pub(super) struct Injection {
    pub(super) call: String,
    pub(super) kind: Kind,
    /// Which of a thread's calls of this name, from 1.
    pub(super) nth: usize,
    /// Whether it is about the record.
    pub(super) of_record: bool,
}

/// What a call is, in the busiest thread that makes it.
#[derive(Clone, Copy, Debug, Default)]
struct Site {
    needs_room: bool,
    of_record: bool,
}

/// What a verb does.
#[derive(Debug, Default)]
pub(super) struct Learned {
    /// The paths it touches, below the directories asked for.
    pub(super) paths: BTreeSet<String>,
    /// Its calls by name; of several threads the busiest counts.
    calls: BTreeMap<String, Vec<Site>>,
}

/// Everything by which a program learns of the medium or changes it.
const READING: &[&str] =
    &["open", "openat", "openat2", "read", "pread64", "readv", "preadv", "statx", "newfstatat", "lseek"];
const READING_TOO: &[&str] =
    &["getdents64", "mmap", "readlink", "readlinkat", "flock", "statfs", "fstatfs", "fadvise64"];
const ATTRIBUTES: &[&str] =
    &["llistxattr", "flistxattr", "lgetxattr", "fgetxattr", "lremovexattr", "fremovexattr"];
const WRITING: &[&str] =
    &["write", "pwrite64", "pwritev", "writev", "fsync", "fdatasync", "syncfs", "sync_file_range"];
const NAMING: &[&str] =
    &["rename", "renameat", "renameat2", "mkdir", "mkdirat", "symlink", "symlinkat", "link", "linkat"];
const GROWING: &[&str] =
    &["ftruncate", "fallocate", "lsetxattr", "fsetxattr", "copy_file_range", "sendfile", "ioctl"];
const CHANGING: &[&str] = &[
    "unlink",
    "unlinkat",
    "rmdir",
    "chmod",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchownat",
    "lchown",
    "utimensat",
];

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Eio => "eio",
            Self::Enospc => "enospc",
            Self::Lie => "lie",
        }
    }

    fn how(self) -> &'static str {
        match self {
            Self::Kill => "signal=SIGKILL",
            Self::Eio => "error=EIO",
            Self::Enospc => "error=ENOSPC",
            Self::Lie => "retval=1",
        }
    }
}

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.call, self.kind.name(), self.nth)
    }
}

impl Learned {
    /// Watches a run; `dirs` are those whose paths count.
    pub(super) fn paths(
        run: impl Fn(&mut Command) -> Result<()>,
        trace: &Path,
        dirs: &[&Path],
    ) -> Result<Self> {
        let mut strace = strace(trace, &every_call(), &BTreeSet::new());
        strace.arg("-y");
        run(&mut strace)?;
        let text = read(trace)?;
        let mut paths = BTreeSet::new();
        for dir in dirs {
            let dir = dir.to_string_lossy();
            for (at, _) in text.match_indices(&*dir) {
                let rest = text.get(at..).unwrap_or_default();
                let end = rest.find(['"', '>', '\n']).unwrap_or(rest.len());
                paths.extend(rest.get(..end).map(str::to_owned));
            }
        }
        Ok(Self { paths, ..Self::default() })
    }

    /// Counts the calls on those paths in another run.
    pub(super) fn calls(mut self, run: impl Fn(&mut Command) -> Result<()>, trace: &Path) -> Result<Self> {
        run(strace(trace, &every_call(), &self.paths).arg("-y"))?;
        let mut threads: BTreeMap<String, BTreeMap<String, Vec<Site>>> = BTreeMap::new();
        for line in read(trace)?.lines() {
            let Some((thread, rest)) = line.split_once(' ') else { continue };
            let Some((call, args)) = rest.trim_start().split_once('(') else { continue };
            if every_call().split(',').any(|known| known.trim_start_matches('?') == call) {
                let needs_room = match call {
                    "open" | "openat" | "openat2" => args.contains("O_CREAT"),
                    call => [WRITING, NAMING, GROWING].concat().contains(&call),
                };
                let site = Site { needs_room, of_record: args.contains("/store/record") };
                threads.entry(thread.to_owned()).or_default().entry(call.to_owned()).or_default().push(site);
            }
        }
        for (call, sites) in threads.into_values().flatten() {
            let all = self.calls.entry(call).or_default();
            all.resize(all.len().max(sites.len()), Site::default());
            for (any, this) in all.iter_mut().zip(sites) {
                any.needs_room |= this.needs_room;
                any.of_record |= this.of_record;
            }
        }
        Ok(self)
    }

    /// All that can be done to the calls.
    pub(super) fn injections(&self) -> Vec<Injection> {
        let mut all = Vec::new();
        for (call, sites) in &self.calls {
            for (Site { needs_room, of_record }, nth) in sites.iter().copied().zip(1..) {
                // That what was written to the record is there once it was flushed is assumed, not checked.
                let writes = matches!(call.as_str(), "write" | "pwrite64") && !of_record;
                let kinds =
                    [(Kind::Kill, true), (Kind::Eio, true), (Kind::Enospc, needs_room), (Kind::Lie, writes)];
                let fitting = kinds.into_iter().filter(|(_, fits)| *fits);
                all.extend(fitting.map(|(kind, _)| Injection { call: call.clone(), kind, nth, of_record }));
            }
        }
        all
    }
}

/// `strace` that spoils one call among those on the paths; what it is to run comes after.
pub(super) fn spoiling(injection: &Injection, trace: &Path, paths: &BTreeSet<String>) -> Command {
    let Injection { call, kind, nth, .. } = injection;
    let mut command = strace(trace, call, paths);
    command.arg("-e").arg(format!("inject={call}:{}:when={nth}", kind.how()));
    command
}

fn strace(trace: &Path, calls: &str, paths: &BTreeSet<String>) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qqq", "-o"]).arg(trace).arg("-e").arg(format!("trace={calls}"));
    command.args(paths.iter().flat_map(|path| ["-P", path]));
    command
}

/// A call that the machine's `strace` does not know is no error.
fn every_call() -> String {
    let all = [READING, READING_TOO, ATTRIBUTES, WRITING, NAMING, GROWING, CHANGING].concat();
    all.iter().map(|call| format!("?{call}")).collect::<Vec<_>>().join(",")
}

fn read(trace: &Path) -> Result<String> {
    let bytes = fs::read(trace).map_err(|e| format!("cannot read {}: {e}", trace.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
