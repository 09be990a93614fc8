//! The tools that are measured, and how each is driven.

use crate::{Result, measure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A tool that makes patches and carries them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// Ours.
    Siding,
    /// Debian's bsdiff, the classic.
    Bsdiff,
    /// Debian's xdelta3 with its LZMA.
    Xdelta3,
    /// zstd with the old image as its dictionary.
    ZstdFrom,
    /// `HDiffPatch`, by its Python wheel.
    HDiffPatch,
    /// zstd without the old image: what a patch saves over a download.
    Zstd,
}

/// The paths of one patch.
pub(crate) struct Job<'a> {
    pub(crate) name: &'a str,
    pub(crate) old: &'a Path,
    pub(crate) new: &'a Path,
    pub(crate) patch: &'a Path,
    pub(crate) out: &'a Path,
}

/// The tools that can be run here.
pub(crate) struct Toolbox {
    siding: PathBuf,
    python: PathBuf,
    /// Each with its version.
    pub(crate) tools: Vec<(Tool, String)>,
    /// What is missing, and why.
    pub(crate) missing: Vec<String>,
}

impl Tool {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Siding => "siding",
            Self::Bsdiff => "bsdiff",
            Self::Xdelta3 => "xdelta3",
            Self::ZstdFrom => "zstd --patch-from",
            Self::HDiffPatch => "HDiffPatch",
            Self::Zstd => "zstd alone",
        }
    }

    /// With which settings, for the reader of a table.
    pub(crate) fn settings(self) -> &'static str {
        match self {
            Self::Siding => "`siding diff`, `siding apply`, unsigned",
            Self::Bsdiff => "`bsdiff`, `bspatch`",
            Self::Xdelta3 => {
                "`xdelta3 -9 -S lzma -W 16777216 -I 0`, `-B` the old size rounded up to a power of two"
            }
            Self::ZstdFrom => "`zstd -19 --long=31 --patch-from`",
            Self::HDiffPatch => "the Python wheel, `Lzma2Config(level=9, window=26)`, stream format",
            Self::Zstd => "`zstd -19`, the new image without the old",
        }
    }

    /// Whether it is worth the time and memory on inputs of this many bytes.
    pub(crate) fn can_take(self, bytes: u64) -> bool {
        const BSDIFF_MOST: u64 = 60_000_000; // it needs 17 times that in memory
        self != Self::Bsdiff || bytes <= BSDIFF_MOST
    }

    /// Whether it knows trees; the others are given tar files.
    pub(crate) fn takes_trees(self) -> bool {
        self == Self::Siding
    }

    /// Whether it competes: plain zstd is there to compare with, not a peer.
    pub(crate) fn is_peer(self) -> bool {
        !matches!(self, Self::Siding | Self::Zstd)
    }
}

impl Toolbox {
    /// Only our own binary; zstd too, if it is there, because patches are held against it.
    pub(crate) fn ours(siding: PathBuf) -> Self {
        let mut tools = vec![(Tool::Siding, String::new())];
        if in_path("zstd") {
            tools.extend([Tool::ZstdFrom, Tool::Zstd].map(|tool| (tool, debian_version("zstd"))));
        }
        Self { siding, python: PathBuf::new(), tools, missing: vec![] }
    }

    /// Every tool that is there or can be installed; `siding` is left out if there is no binary.
    pub(crate) fn all(siding: Option<PathBuf>, cache: &Path) -> Self {
        let mut found =
            Self { siding: PathBuf::new(), python: PathBuf::new(), tools: vec![], missing: vec![] };
        if let Some(siding) = siding {
            found.siding = siding;
            found.tools.push((Tool::Siding, String::new()));
        }
        let debian = [(Tool::Bsdiff, "bsdiff"), (Tool::Xdelta3, "xdelta3"), (Tool::ZstdFrom, "zstd")];
        install(&debian.map(|(_, package)| package));
        for (tool, package) in debian {
            found.add(tool, in_path(package).then(|| debian_version(package)));
        }
        let wheel = hdiffpatch(cache);
        found.python = wheel.as_ref().map(|(python, _)| python.clone()).unwrap_or_default();
        found.add(Tool::HDiffPatch, wheel.map(|(_, version)| version));
        if in_path("zstd") {
            found.tools.push((Tool::Zstd, debian_version("zstd")));
        }
        found
    }

    fn add(&mut self, tool: Tool, version: Option<String>) {
        match version {
            Some(version) => self.tools.push((tool, version)),
            None => self.missing.push(format!("{} is not here and could not be installed", tool.name())),
        }
    }

    /// What makes a patch.
    pub(crate) fn encode(&self, tool: Tool, job: &Job<'_>) -> Command {
        let Job { name, old, new, patch, .. } = job;
        match tool {
            Tool::Siding => {
                let mut command = Command::new(&self.siding);
                command.arg("diff").args([old, new]).arg("-o").arg(patch);
                with(command, &["--unsigned", "--from", "1", "--to", "2", "--component", name])
            }
            Tool::Bsdiff => paths(Command::new("bsdiff"), &[old, new, patch]),
            Tool::Xdelta3 => {
                let mut command =
                    with(xdelta3(old), &["-e", "-9", "-S", "lzma", "-W", "16777216", "-I", "0"]);
                command.arg("-s");
                paths(command, &[old, new, patch])
            }
            Tool::ZstdFrom => {
                let mut command = with(Command::new("zstd"), &["-q", "-f", "-19", "--long=31"]);
                command.arg(patch_from(old)).arg(new).arg("-o").arg(patch);
                command
            }
            Tool::Zstd => {
                let mut command = with(Command::new("zstd"), &["-q", "-f", "-19"]);
                command.arg(new).arg("-o").arg(patch);
                command
            }
            Tool::HDiffPatch => self.wheel("diff", &[old, new, patch]),
        }
    }

    /// What carries a patch out.
    pub(crate) fn decode(&self, tool: Tool, job: &Job<'_>) -> Command {
        let Job { old, patch, out, .. } = job;
        match tool {
            Tool::Siding => {
                let mut command = Command::new(&self.siding);
                command.arg("apply").args([patch, old, out]).arg("--allow-unsigned");
                command
            }
            Tool::Bsdiff => paths(Command::new("bspatch"), &[old, out, patch]),
            Tool::Xdelta3 => paths(with(xdelta3(old), &["-d", "-s"]), &[old, patch, out]),
            Tool::ZstdFrom => {
                let mut command = with(Command::new("zstd"), &["-q", "-f", "-d", "--long=31"]);
                command.arg(patch_from(old)).arg(patch).arg("-o").arg(out);
                command
            }
            Tool::Zstd => {
                let mut command = with(Command::new("zstd"), &["-q", "-f", "-d"]);
                command.arg(patch).arg("-o").arg(out);
                command
            }
            Tool::HDiffPatch => self.wheel("apply", &[old, patch, out]),
        }
    }

    /// Our own check of a patch against both images.
    pub(crate) fn verify(&self, job: &Job<'_>) -> Command {
        let mut command = Command::new(&self.siding);
        command.arg("verify").arg(job.patch).arg("--allow-unsigned");
        command.arg("--source").arg(job.old).arg("--target").arg(job.new);
        command
    }

    fn wheel(&self, verb: &str, args: &[&Path]) -> Command {
        let command = with(Command::new(&self.python), &["-c", include_str!("hdiffpatch.py"), verb]);
        paths(command, args)
    }
}

fn with(mut command: Command, args: &[&str]) -> Command {
    command.args(args);
    command
}

fn paths(mut command: Command, args: &[&Path]) -> Command {
    command.args(args);
    command
}

/// A source window that is not a power of two, or smaller than the default, makes patches larger.
fn xdelta3(old: &Path) -> Command {
    const DEFAULT: u64 = 64 << 20;
    let window = std::fs::metadata(old).map_or(DEFAULT, |m| m.len().next_power_of_two().max(DEFAULT));
    with(Command::new("xdelta3"), &["-q", "-f", "-B", &window.to_string()])
}

fn patch_from(old: &Path) -> std::ffi::OsString {
    let mut option = std::ffi::OsString::from("--patch-from=");
    option.push(old);
    option
}

pub(crate) fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

fn debian_version(package: &str) -> String {
    measure::ask("dpkg-query", &["-W", "-f=${Version}", package]).unwrap_or_default()
}

/// Asks Debian for what is missing; whether that helped is seen when the programs are looked for.
fn install(packages: &[&str]) {
    if packages.iter().any(|package| !in_path(package)) && in_path("apt-get") {
        let args = [&["install", "-y", "-q"], packages].concat();
        drop(measure::ask("apt-get", &args));
    }
}

/// A Python that has the `hdiffpatch` wheel, and the wheel's version; made in `cache` if there is none.
fn hdiffpatch(cache: &Path) -> Option<(PathBuf, String)> {
    const ASK: &str =
        "import hdiffpatch, sys, importlib.metadata as m; print(sys.executable, m.version('hdiffpatch'))";
    let found = |python: &str| {
        let answer = measure::ask(python, &["-c", ASK])?;
        let (python, version) = answer.rsplit_once(' ')?;
        Some((PathBuf::from(python), version.to_owned()))
    };
    let place = cache.join("hdiffpatch");
    let python = place.join("bin/python").to_string_lossy().into_owned();
    found("python3").or_else(|| found(&python)).or_else(|| {
        measure::ask("python3", &["-m", "venv", &place.to_string_lossy()])?;
        measure::ask(&python, &["-m", "pip", "install", "-q", "hdiffpatch"])?;
        found(&python)
    })
}

/// Builds the release binary `siding` and says where it is.
pub(crate) fn build_siding(workspace: &Path) -> Result<PathBuf> {
    build(workspace, "siding-cli", "siding")
}

/// Builds a release binary of the workspace and says where it is.
pub(crate) fn build(workspace: &Path, package: &str, name: &str) -> Result<PathBuf> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--release", "-p", package, "--bin", name]);
    command.arg("--message-format=json-render-diagnostics").arg("--manifest-path");
    command.arg(workspace.join("Cargo.toml"));
    let (_, messages) = measure::run(&mut command, None)?;
    let executable = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let ours = message["target"]["name"] == name;
        message["executable"].as_str().filter(|_| ours).map(PathBuf::from)
    };
    messages.lines().find_map(executable).ok_or_else(|| format!("cargo built no program called {name}"))
}
