//! A simulated machine with a disk, for cutting its power.
//!
//! [`SimDisk`] is a [`Disk`](crate::disk::Disk) in memory, with absolute paths from `/`. It knows three things:
//! what its *cache* shows, which is every operation so far; what its *medium* has for sure, which is what was flushed;
//! and the *pending* operations between the two. [`SimDisk::cut`] is the machine after the power went and
//! came back: the medium with any choice of the pending operations, and nothing else.
//!
//! ```text
//!                  verbs            flush                  cut(choice)
//!   story ──────► cache, pending ──────────► medium      ──────────────► another SimDisk: medium + what was chosen
//! ```
//!
//! What it promises, and what no real disk has to:
//!
//! * A flush of a file makes its bytes and length survive; its attributes too, unless it was opened `Existing` or
//!   `Log` (that is `fdatasync`). **Not its name**, which ext4 and others would flush along.
//! * A flush of a directory makes what was named, moved and removed in it survive, and its own attributes; not what
//!   those names stand for, so that an empty file under a flushed name is possible.
//! * A rename is one operation in both directories, seen whole or not at all; flushing either one brings it, with
//!   all that was done to these names before. To remove a tree is many: it can be cut between any two names.
//! * A flush of the filesystem makes everything survive.
//!
//! In what it is stricter than reality:
//!
//! * Pending operations reach the medium in any subset, also metadata, which journals keep in order: a name without
//!   the bytes, the bytes without the length, a length without the bytes (then zeros, or what was there before), a
//!   mode without the owner. An operation that makes no sense without one that is missing does nothing: what was
//!   never named is not there, and is not removed or renamed either; nothing is moved to where nobody could see it.
//! * Each sector of 512 bytes of a write comes or not by itself; one of them may be *torn*: its first bytes new, the
//!   others old or garbage.
//! * Flushes say nothing about other files, and a failed flush forgets what it should have written, as Linux does:
//!   the cache shows it until [`forget_cache`](crate::disk::DiskFile::forget_cache). Lengths, names and attributes
//!   stay pending then.
//! * A write changes the time of its file, a new name that of its directory, to what no test sets by itself.
//!
//! In what it is laxer: everybody is root, and modes forbid nothing; no symbolic link is followed, in the middle of
//! a path either; nothing is inherited from a directory; a cache is forgotten by whole files; the disk is never full
//! by itself. There are no devices.
//!
//! Operations are numbered from 1: every verb that changes and every flush is one, `lock` is when it makes or
//! tightens its file, and `remove_tree` is one for each name and for each directory that it opens up first. A
//! [`Fault`] can be planned for any of them.
//!
//! To see all that cuts can do to a story it is enough to look at the moments just before each flush and at its end
//! ([`SimDisk::decisive_moments`]): between two flushes, every choice at an earlier moment is one at a later moment too.

use crate::disk::{Access, Attribute, Disk};
pub(crate) use choice::{Choice, Effort, Torn};
pub(crate) use fault::{Fault, is_power_off};
use machine::{BEGINNING, Machine};
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

mod choice;
mod content;
mod disk;
mod fault;
mod machine;
mod pages;
mod pending;
mod random;
mod scan;
mod verbs;
mod world;

/// The attribute that makes a file a block device.
const DEVICE: &[u8] = b"user.is-a-device";

/// A simulated machine. A clone is another machine with the same cache, medium and plan, on which nothing is locked;
/// files that are open stay with the machine they were opened on.
pub(crate) struct SimDisk(Arc<Mutex<Machine>>);

impl SimDisk {
    /// A machine with nothing but `/`.
    pub(crate) fn new() -> Self {
        Self::of(Machine::new())
    }

    /// A block device of so many bytes that are zero.
    pub(crate) fn make_device(&self, path: &Path, len: u64) -> io::Result<()> {
        self.open(path, Access::New(0o600))?.set_len(len)?;
        self.set(path, Attribute::Xattr(DEVICE, b""))
    }

    // ---- power

    /// The machine after a power cut now, of which this much reached the medium. It has power; nothing is open, locked
    /// or planned, and its operations count from 1 again.
    pub(crate) fn cut(&self, choice: &Choice) -> Self {
        let machine = self.machine();
        let (mut medium, mut first) = (machine.medium.clone(), 0);
        for op in machine.pending.iter() {
            op.apply_chosen(&mut medium, first, choice);
            first += op.units();
        }
        Self::of(machine.after(medium))
    }

    /// How many units are pending: operations, and sectors of writes.
    pub(crate) fn pending_len(&self) -> usize {
        self.machine().pending.iter().map(|op| op.units()).sum()
    }

    /// Choices of what of the pending operations reaches the medium, the same ones each time.
    pub(crate) fn choices(&self, effort: Effort) -> impl Iterator<Item = Choice> + use<> {
        let (mut units, mut writes) = (0, Vec::new());
        for op in self.machine().pending.iter() {
            let range = units..units + op.units();
            units = range.end;
            writes.extend(range.filter(|_| op.is_write()));
        }
        choice::choices(units, writes, effort)
    }

    /// The pending operations in words, and which of them a choice lets through: for a person who looks at a failure.
    pub(crate) fn tell(&self, choice: &Choice) -> String {
        let machine = self.machine();
        let (mut first, mut lines) = (0, String::new());
        for op in machine.pending.iter() {
            let units = first..first + op.units();
            let torn = choice.torn.filter(|torn| units.contains(&torn.unit));
            let landed = units.clone().filter(|unit| choice.has(*unit)).count();
            let torn = torn.map_or(String::new(), |torn| format!(", {torn:?}"));
            lines += &format!("{landed}/{}{torn} {}\n", units.len(), op.tell(&machine.cache));
            first = units.end;
        }
        lines
    }

    /// From now on, keeps the machine as it is before each operation, for [`moments`](Self::moments).
    pub(crate) fn keep_moments(&self) {
        self.machine().moments = Some(Vec::new());
    }

    /// The machine before each operation since, and as it is now.
    pub(crate) fn moments(&self) -> Vec<SimDisk> {
        let machine = self.machine();
        let before = machine.moments.iter().flatten().map(Machine::twin);
        before.chain([machine.twin()]).map(Self::of).collect()
    }

    /// Those moments that a flush follows, and the last: what a cut can do at another it can do at the next of these.
    pub(crate) fn decisive_moments(&self) -> Vec<SimDisk> {
        let mut moments = self.moments();
        let goes_on = |pair: &[SimDisk]| match pair {
            [before, after] => before.machine().goes_on_in(&after.machine()),
            _ => false,
        };
        let mut goes_on: Vec<bool> = moments.windows(2).map(goes_on).chain([false]).collect();
        moments.retain(|_| !goes_on.remove(0));
        moments
    }

    // ---- faults

    /// Plans a fault for the operation of this number.
    pub(crate) fn plan(&self, at: u64, fault: Fault) {
        self.machine().faults.once(at, fault);
    }

    /// Plans a fault for the operation of this number and every one after it.
    pub(crate) fn plan_from(&self, from: u64, fault: Fault) {
        self.machine().faults.lasting(from, fault);
    }

    /// Flips the bits of `mask` in a byte of a file on the medium. What is cached shows it once it is forgotten.
    pub(crate) fn rot(&self, path: &Path, offset: u64, mask: u8) -> io::Result<()> {
        let mut machine = self.machine();
        let id = machine.cache.find(path)?;
        machine.rot(id, offset, mask);
        Ok(())
    }

    /// From now on reads of these bytes of a file fail with EIO, also after a cut; an empty range ends that.
    pub(crate) fn fail_reads(&self, path: &Path, range: Range<u64>) -> io::Result<()> {
        let mut machine = self.machine();
        let id = machine.cache.find(path)?;
        machine.unreadable.retain(|(of, _)| *of != id || !range.is_empty());
        machine.unreadable.push((id, range));
        Ok(())
    }

    /// What the disk says of its room. It is not kept count of: plan a fault for a full disk.
    pub(crate) fn set_room(&self, free: u64, shares_blocks: bool) {
        self.machine().room = crate::disk::Room { free, shares_blocks };
    }

    // ---- looking

    /// Whether a planned cut has come.
    pub(crate) fn is_off(&self) -> bool {
        self.machine().is_off
    }

    /// How many operations there were.
    pub(crate) fn operations(&self) -> u64 {
        self.machine().operations
    }

    /// How many readings there were.
    pub(crate) fn reads(&self) -> u64 {
        self.machine().reads
    }

    /// Whether both show the same: names, kinds, contents, attributes, times, hard links.
    pub(crate) fn shows_same(&self, other: &Self) -> bool {
        let picture = self.machine().cache.picture();
        picture == other.machine().cache.picture()
    }

    /// A hash of what can be seen, but for times that nobody set: a world need not be looked at twice.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.machine().cache.fingerprint(BEGINNING)
    }

    /// All paths that can be seen.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.machine().cache.paths().into_iter().map(|(path, _)| path).collect()
    }

    fn of(machine: Machine) -> Self {
        Self(Arc::new(Mutex::new(machine)))
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same machine, for what is opened on it.
    pub(crate) fn same(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Clone for SimDisk {
    fn clone(&self) -> Self {
        Self::of(self.machine().twin())
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = self.machine();
        let (operations, pending, is_off) = (machine.operations, machine.pending.len(), machine.is_off);
        write!(f, "SimDisk {{ operations: {operations}, pending: {pending}, is_off: {is_off} }}")
    }
}

#[cfg(test)]
mod tests;
