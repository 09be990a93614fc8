//! Other tools beside ours, each with a patch of its own for the same pair.

use crate::failure::Failure;
use siding_image::{Identity, Image};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A tool and its patch, as `--peer TOOL=PATCHFILE` gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    tool: Tool,
    patch: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    Hpatchz,
    Bspatch,
    Zstd,
}

impl Peer {
    /// Reads `TOOL=PATCHFILE`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let known = Tool::ALL.map(Tool::name).join(", ");
        let Some((name, patch)) = text.split_once('=').filter(|(_, patch)| !patch.is_empty()) else {
            return Err(format!("a peer is TOOL=PATCHFILE, with one of {known}"));
        };
        let tool = Tool::ALL.into_iter().find(|tool| tool.name() == name);
        let tool = tool.ok_or_else(|| format!("no peer is called {name:?}, only {known}"))?;
        Ok(Self { tool, patch: patch.into() })
    }

    /// What it is called.
    pub(super) fn name(&self) -> &'static str {
        self.tool.name()
    }

    /// The median wall time of whole processes, `runs` of them, after one that shows that its patch makes `target`.
    pub(super) fn measure(
        &self,
        old: &Path,
        out: &Path,
        target: &Identity,
        runs: u32,
    ) -> Result<Duration, Failure> {
        if old.is_dir() {
            return Err(Failure::usage("peers know no trees: measure them on files"));
        }
        self.run(old, out)?;
        let got = Image::open(out)?.identity();
        if got != *target {
            let (name, patch) = (self.name(), self.patch.display());
            return Err(Failure::failed(format!("{name} makes {got} of {patch}, not {target}")));
        }
        let times = (0..runs).map(|_| {
            siding_slot::discard(out)?;
            self.run(old, out)
        });
        let times = times.collect::<Result<Vec<_>, Failure>>()?;
        siding_slot::discard(out)?;
        Ok(super::median(times))
    }

    fn run(&self, old: &Path, out: &Path) -> Result<Duration, Failure> {
        let name = self.name();
        let mut command = Command::new(name);
        command.args(self.tool.arguments(old, &self.patch, out)).stdin(Stdio::null());
        let start = Instant::now();
        let done = command.output().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Failure::failed(format!("{name} is not installed; leave out --peer {name}=…"))
            }
            _ => Failure::failed(format!("cannot run {name}: {error}")),
        })?;
        let spent = start.elapsed();
        if done.status.success() {
            return Ok(spent);
        }
        let said = [done.stdout, done.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        Err(Failure::failed(format!("{name} failed, {}: {}", done.status, said.trim())))
    }
}

impl Tool {
    const ALL: [Self; 3] = [Self::Hpatchz, Self::Bspatch, Self::Zstd];

    fn name(self) -> &'static str {
        match self {
            Self::Hpatchz => "hpatchz",
            Self::Bspatch => "bspatch",
            Self::Zstd => "zstd",
        }
    }

    fn arguments(self, old: &Path, patch: &Path, out: &Path) -> Vec<OsString> {
        let [old, patch, out] = [old, patch, out].map(|path| path.as_os_str().to_owned());
        match self {
            Self::Hpatchz => vec!["-f".into(), old, patch, out],
            Self::Bspatch => vec![old, out, patch],
            Self::Zstd => {
                let mut from = OsString::from("--patch-from=");
                from.push(old);
                vec!["-q".into(), "-f".into(), "-d".into(), "--long=31".into(), from, patch, "-o".into(), out]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_a_tool_and_a_patch() {
        let peer = Peer::parse("zstd=a=b").unwrap();
        assert_eq!((peer.name(), peer.patch.as_path()), ("zstd", Path::new("a=b")));
        let odd =
            [("zstd", "TOOL=PATCHFILE"), ("zstd=", "TOOL=PATCHFILE"), ("tar=x", "hpatchz, bspatch, zstd")];
        for (text, why) in odd {
            assert!(Peer::parse(text).unwrap_err().contains(why), "{text}");
        }
    }

    #[test]
    fn each_is_told_which_file_is_which() {
        let [old, patch, out] = ["o", "p", "n"].map(Path::new);
        assert_eq!(Tool::Bspatch.arguments(old, patch, out), ["o", "n", "p"]);
        assert_eq!(Tool::Hpatchz.arguments(old, patch, out), ["-f", "o", "p", "n"]);
        assert_eq!(Tool::Zstd.arguments(old, patch, out).last(), Some(&OsString::from("n")));
    }
}
