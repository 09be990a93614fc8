//! A lab: a directory with keys, images and a store, in which the real `siding` is run.
#![allow(dead_code, reason = "each test uses its own part")]

pub(crate) mod grub;
pub(crate) mod holder;
pub(crate) mod tree;

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A fresh directory. Every command runs in it, with `store` in it as the store.
pub(crate) struct Lab {
    dir: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) command: String,
    /// The exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Lab {
    /// With the key pair `maker`.
    pub(crate) fn new() -> Self {
        Self::within(&std::env::temp_dir())
    }

    fn within(parent: &Path) -> Self {
        let lab = Self { dir: tempfile::Builder::new().prefix("siding-lab").tempdir_in(parent).unwrap() };
        lab.ok("keygen maker");
        lab
    }

    /// In memory where there is such a place: for what does not depend on the medium and flushes a lot.
    fn quick() -> Self {
        let memory = Path::new("/dev/shm");
        let writable = tempfile::tempfile_in(memory).is_ok();
        if writable { Self::within(memory) } else { Self::new() }
    }

    /// A device that runs version 1.0 of component `lib`, a file, with two patches for it: `a.siding` and
    /// `b.siding`. The images lie beside it as `old`, `new-a` and `new-b`.
    pub(crate) fn device() -> Self {
        Self::device_of(40_000)
    }

    /// With images of about so many bytes.
    pub(crate) fn device_of(len: usize) -> Self {
        let lab = Self::quick();
        let old = noise(1, len);
        lab.write("old", &old);
        lab.write("new-a", &changed(&old, 11));
        lab.write("new-b", &changed(&old, 12));
        lab.patches_and_base();
        lab
    }

    /// As [`Lab::device`], but the images are trees.
    pub(crate) fn tree_device() -> Self {
        let lab = Self::quick();
        tree::small(&lab.path("old"), 1);
        tree::small(&lab.path("new-a"), 2);
        tree::small(&lab.path("new-b"), 3);
        lab.patches_and_base();
        lab
    }

    /// Trees `old` and `new` of two files, of which one has changed; no store yet.
    pub(crate) fn quick_with_trees() -> Self {
        let lab = Self::quick();
        for (name, seed) in [("old", 1), ("new", 2)] {
            fs::create_dir(lab.path(name)).unwrap();
            lab.write(&format!("{name}/same"), &noise(9, 100_000));
            lab.write(&format!("{name}/changed"), &noise(seed, 100_000));
        }
        lab
    }

    fn patches_and_base(&self) {
        self.diff("old new-a -o a.siding --to '1.0 (a)'");
        self.diff("old new-b -o b.siding --to '1.0 (b)'");
        self.ok("init lib old --version 1.0");
    }

    /// Makes a patch for `lib` from 1.0, signed by `maker`.
    pub(crate) fn diff(&self, rest: &str) -> Done {
        let unsigned = rest.contains("--unsigned");
        let key = if unsigned || rest.contains("--key") { "" } else { "--key maker.key" };
        let component = if rest.contains("--component") { "" } else { "--component lib" };
        let from = if rest.contains("--from") { "" } else { "--from 1.0" };
        self.ok(&format!("diff {rest} {key} {component} {from}"))
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// The names in a directory of the lab, sorted.
    pub(crate) fn names(&self, dir: &str) -> Vec<String> {
        let list = fs::read_dir(self.path(dir)).unwrap();
        let mut names: Vec<String> =
            list.map(|item| item.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// What a reader of `current` gets for a component that is a file.
    pub(crate) fn current(&self, component: &str) -> Vec<u8> {
        self.read(&format!("store/current/{component}"))
    }

    /// Where `current` points.
    pub(crate) fn current_link(&self, component: &str) -> String {
        let link = self.path(format!("store/current/{component}"));
        fs::read_link(link).unwrap().to_string_lossy().into_owned()
    }

    /// The command `siding`, with words split as a shell does ('…' keeps spaces), not started yet.
    pub(crate) fn command(&self, line: &str) -> Command {
        self.command_of(words(line))
    }

    pub(crate) fn command_of(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_siding"));
        command.env("RUNTIME_DIRECTORY", self.path("run"));
        for name in ["SIDING_STORE", "SIDING_PRODUCT", "SIDING_KILL_AT", "SOURCE_DATE_EPOCH"] {
            command.env_remove(name);
        }
        command.env("NO_COLOR", "1").env("SIDING_STORE", self.path("store"));
        command.current_dir(self.root()).args(args).stdin(Stdio::null());
        command
    }

    /// Runs `siding` and waits.
    pub(crate) fn run(&self, line: &str) -> Done {
        finished(line, &self.command(line).output().unwrap())
    }

    /// Runs a command that [`Lab::command`] made.
    pub(crate) fn finished(&self, line: &str, command: &mut Command) -> Done {
        finished(line, &command.output().unwrap())
    }

    pub(crate) fn run_of(&self, args: &[&OsStr]) -> Done {
        finished(&format!("{args:?}"), &self.command_of(args).output().unwrap())
    }

    /// Runs it with `bytes` on standard input.
    pub(crate) fn piped(&self, line: &str, bytes: &[u8]) -> Done {
        let mut command = self.command(line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let bytes = bytes.to_vec();
        // It may refuse before it has read everything.
        let writer = std::thread::spawn(move || drop(input.write_all(&bytes)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        finished(line, &output)
    }

    /// Runs it; it must succeed.
    pub(crate) fn ok(&self, line: &str) -> Done {
        self.run(line).ends_with(0)
    }

    /// Runs it with `--json`; it must succeed, and answer with JSON.
    pub(crate) fn json(&self, line: &str) -> Value {
        self.ok(&format!("{line} --json")).json()
    }

    /// What `siding status --json` says of one component.
    pub(crate) fn status(&self, component: &str) -> Value {
        self.json(&format!("status {component}"))["components"][0].clone()
    }

    /// The events of the log, as `init`, `stage`, …, and no line of it is damaged.
    pub(crate) fn events(&self) -> Vec<String> {
        let log = self.json("log");
        assert_eq!(log["damaged_lines"], serde_json::json!([]), "{log}");
        let entries = log["entries"].as_array().unwrap().iter();
        entries.map(|entry| entry["event"].as_str().unwrap().to_owned()).collect()
    }
}

/// Removes a directory, and the sealed slots in it, which their owner may not write to as they are.
pub(crate) fn clear(path: &Path) {
    if !is_root() {
        tool(&format!("chmod -R u+rwX {}", path.display()));
    }
    let _ = fs::remove_dir_all(path);
}

impl Drop for Lab {
    fn drop(&mut self) {
        clear(self.root());
    }
}

impl Done {
    #[track_caller]
    pub(crate) fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Standard output has all of these.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        words.iter().for_each(|word| assert!(self.out.contains(word), "no {word:?} in\n{self}"));
        self
    }

    #[track_caller]
    pub(crate) fn says_not(self, words: &[&str]) -> Self {
        words.iter().for_each(|word| assert!(!self.out.contains(word), "{word:?} in\n{self}"));
        self
    }

    /// The message has all of these.
    #[track_caller]
    pub(crate) fn complains(self, words: &[&str]) -> Self {
        words.iter().for_each(|word| assert!(self.err.contains(word), "no {word:?} in\n{self}"));
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("not JSON: {e}\n{self}"))
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { command, code, signal, out, err } = self;
        write!(f, "$ siding {command}\ncode {code:?}, signal {signal:?}\n{out}\n{err}")
    }
}

/// No command ever panics, or colours what is no terminal.
fn finished(command: &str, output: &Output) -> Done {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let done = Done {
        command: command.to_owned(),
        code: output.status.code(),
        signal: output.status.signal(),
        out: text(&output.stdout),
        err: text(&output.stderr),
    };
    assert!(!done.err.contains("panicked") && done.code != Some(101), "{done}");
    assert!(!done.out.contains('\x1b') && !done.err.contains('\x1b'), "{done}");
    done
}

/// Splits at spaces; what stands between single quotes stays one word.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        match index % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

/// Bytes that look random and are the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// A later version of `old`: some bytes differ, some are new, some are gone.
pub(crate) fn changed(old: &[u8], seed: u64) -> Vec<u8> {
    let cut = old.len() / 3;
    let mut new = old[..cut].to_vec();
    new.extend(noise(seed, 700));
    new.extend(&old[cut + cut / 5..]);
    new.iter_mut().skip(seed as usize).step_by(997).for_each(|byte| *byte ^= 0x55);
    new
}

pub(crate) fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").canonicalize().unwrap()
}

/// Holds a store's lock, as another process would.
pub(crate) struct Lock(File);

impl Lock {
    pub(crate) fn hold(store: &Path) -> Option<Self> {
        let file = File::open(store.join("lock")).ok()?;
        flock(&file, FlockOperation::LockExclusive).unwrap();
        Some(Self(file))
    }
}

impl Drop for Lock {
    /// Not by closing: a child that another test is starting right now may have the file open still.
    fn drop(&mut self) {
        flock(&self.0, FlockOperation::Unlock).unwrap();
    }
}

/// Whether a tool is there; tests that only compare with it pass without.
pub(crate) fn has_tool(name: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {name}")]).output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("skipped: there is no {name} here");
    }
    found
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs another program; `None` if it cannot do what it should here.
pub(crate) fn tool(line: &str) -> Option<String> {
    let words = words(line);
    let output = Command::new(&words[0]).args(&words[1..]).output().ok()?;
    if !output.status.success() {
        eprintln!("{line}: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
