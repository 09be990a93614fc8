//! What a simulated machine is told to do wrong, and when.

use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io;

/// What goes wrong with one operation. A flush's fault does nothing to another operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The power goes: this operation and every verb after it fail. With `inside` the operation was under way, so
    /// that any part of it may be on the medium; else it never began.
    Cut { inside: bool },
    /// It fails and does nothing.
    Fail(Errno),
    /// A write or a copy puts this many bytes in place and fails with this error; anything else fails as a whole.
    ShortWrite(usize, Errno),
    /// A flush fails with EIO. As on Linux, what it would have brought to the medium of the file's bytes is forgotten
    /// but still shown, and the next flush knows nothing of it.
    FlushFails,
    /// A flush says Ok and brings nothing to the medium.
    FlushLies,
}

/// Faults by the numbers of operations, which are counted from 1.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    once: BTreeMap<u64, Fault>,
    lasting: BTreeMap<u64, Fault>,
}

impl Faults {
    pub(super) fn once(&mut self, at: u64, fault: Fault) {
        self.once.insert(at, fault);
    }

    pub(super) fn lasting(&mut self, from: u64, fault: Fault) {
        self.lasting.insert(from, fault);
    }

    pub(super) fn at(&self, number: u64) -> Option<Fault> {
        let lasting = || self.lasting.range(..=number).next_back().map(|(_, fault)| *fault);
        self.once.get(&number).copied().or_else(lasting)
    }
}

/// What every verb of a machine without power says.
pub(super) fn power_off() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the simulated machine is off")
}

/// Whether an error says that the simulated power is gone.
pub(crate) fn is_power_off(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotConnected
}
