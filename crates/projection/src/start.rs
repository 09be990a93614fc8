//! Which start of the device this is, so that `siding boot` counts once in it.
//!
//! A second call in the same start looks like a call in the next one, but for two things: the kernel is the same, and
//! so is its command line. The first call leaves a note with the kernel's boot ID where nothing outlives a restart
//! (`/run`). A later call that finds the ID of its own kernel there has been counted, as far as boot loaders that
//! say a turn go. Where there is no note, or an old one, a call counts: so a trial ends whatever becomes of notes.

use crate::variables::started;
use crate::{Reason, io};
use siding_image::verity;
use siding_slot::State;
use std::path::{Path, PathBuf};

/// This start of the device, for one store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    note: PathBuf,
    id: Vec<u8>,
}

impl Start {
    /// The start that runs, for the store at `root`; notes lie in the directory `notes`. `None` if the kernel does not
    /// say which start it is.
    pub fn here(root: &Path, notes: &Path) -> Option<Self> {
        Some(Self::of(root, notes, io::read(Path::new(BOOT_ID)).ok()?))
    }

    pub(crate) fn of(root: &Path, notes: &Path, id: Vec<u8>) -> Self {
        let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        let store = verity::digest(root.as_os_str().as_encoded_bytes());
        Self { note: notes.join(format!("counted-{store}")), id }
    }

    /// Whether this start was counted already for everything on trial: it was noted, and the boot loader of each
    /// component on trial says its turn on the kernel's command line. What has no such loader is counted with
    /// every call.
    pub fn is_counted(&self, state: &State, cmdline: &str) -> bool {
        let mut trials = state.components().filter(|(_, held)| held.trial.is_some());
        let noted = || io::read(&self.note).is_ok_and(|id| id == self.id);
        trials.all(|(component, _)| started(component, cmdline).is_some_and(|started| started.turn.is_some()))
            && noted()
    }

    /// Notes that this start is counted, if a boot loader says its turn. Call it once the record says so.
    ///
    /// Nothing of it survives a restart, nor is to.
    pub fn note(&self, state: &State, cmdline: &str) -> Result<(), Reason> {
        let says = |turn: Option<_>| turn.is_some();
        let mut names = state.components().map(|(component, _)| component);
        if !names.any(|component| says(started(component, cmdline).and_then(|started| started.turn))) {
            return Ok(());
        }
        io::write_note(&self.note, &self.id).map_err(Reason::io("write", &self.note))
    }
}

/// A random number that the kernel makes at each start.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

#[cfg(test)]
mod tests;
