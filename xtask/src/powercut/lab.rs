//! What the machine has, and a place that leaves nothing behind.
//!
//! As root, a chore runs in namespaces of its own for mounts and processes, in a filesystem in memory. However
//! it ends, be it killed, the kernel then ends all its processes, takes its mounts away, and with them the loop
//! devices, which are attached so that the last close detaches them. Only an empty directory may stay.

use crate::{Result, measure, tools};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a chore works.
pub(super) enum Place {
    /// Here; the directory goes when this is dropped.
    Here(Scratch),
    /// The chore ran to its end in a process of its own, which said all there is to say.
    Done,
    /// It cannot run, and why.
    Missing(String),
}

/// A directory for one run.
pub(super) struct Scratch {
    path: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Scratch {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Set for a chore that runs in its own namespaces: the directory it is to work in.
const INSIDE: &str = "SIDING_POWERCUT_INSIDE";

/// Finds or installs these programs, each with its Debian package, then a place to work; only root can mount.
pub(super) fn enter(programs: &[(&str, &str)], must_mount: bool) -> Result<Place> {
    if let Some(path) = std::env::var_os(INSIDE).map(PathBuf::from) {
        run("mount", &["-t", "tmpfs", "-o", "mode=0755", "tmpfs", &text(&path)])?;
        return Ok(Place::Here(Scratch { path, _temporary: None }));
    }
    if let Some(missing) = install(programs) {
        return Ok(Place::Missing(format!("{missing} is not here and could not be installed")));
    }
    let failed = |e: std::io::Error| format!("no temporary directory: {e}");
    if !rustix::process::geteuid().is_root() || !can_isolate() {
        if must_mount {
            return Ok(Place::Missing("only root can mount, in namespaces of its own".to_owned()));
        }
        let place = tempfile::tempdir_in(crate::machine::scratch()).map_err(failed)?;
        return Ok(Place::Here(Scratch { path: place.path().to_owned(), _temporary: Some(place) }));
    }
    let place = tempfile::tempdir().map_err(failed)?;
    let program = std::env::current_exe().map_err(|e| format!("cannot find this program: {e}"))?;
    let mut command = isolated();
    command.arg(program).args(std::env::args_os().skip(1)).env(INSIDE, place.path());
    let status = command.status().map_err(|e| format!("cannot run setpriv: {e}"))?;
    if status.success() { Ok(Place::Done) } else { Err(format!("it ended with {status}; see above")) }
}

/// Runs what is added to it so that it, and all it starts, ends with this process.
fn isolated() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]);
    command.arg("--mount-proc");
    command
}

fn can_isolate() -> bool {
    isolated().arg("true").output().is_ok_and(|output| output.status.success())
}

/// Says which program is not here even after asking Debian for it.
fn install(programs: &[(&str, &str)]) -> Option<String> {
    let missing = |(program, _): &&(&str, &str)| !tools::in_path(program);
    let packages: Vec<&str> = programs.iter().filter(missing).map(|(_, package)| *package).collect();
    if !packages.is_empty() && tools::in_path("apt-get") {
        let install = [&["install", "-y", "-q", "--no-install-recommends"], packages.as_slice()].concat();
        if measure::ask("apt-get", &install).is_none() {
            drop(measure::ask("apt-get", &["update", "-q"]));
            drop(measure::ask("apt-get", &install));
        }
    }
    programs.iter().find(missing).map(|(program, _)| (*program).to_owned())
}

/// Runs a program that must succeed, and gives what it printed.
pub(super) fn run(program: &str, args: &[&str]) -> Result<String> {
    let output =
        Command::new(program).args(args).output().map_err(|e| format!("cannot run {program}: {e}"))?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned();
    if output.status.success() { Ok(said) } else { Err(format!("{program} {}: {said}", args.join(" "))) }
}

/// A path as a program's argument.
pub(super) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Numbers that look random and are the same for the same seed.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to, and without, `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.roll() % end).unwrap_or(0)
    }

    pub(super) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }
}
