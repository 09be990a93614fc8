//! What can go wrong between a device and its repository, whose fault it is, and what to do.

#[cfg(test)]
mod tests;
mod words;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A repository, or the memory of one, could not do what was asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The client was set up with something that cannot be.
    Setup {
        /// What, and what was expected.
        what: String,
    },
    /// Metadata is older than its makers wanted it to be used.
    Expired {
        /// Which of it.
        role: &'static str,
        /// Until when it held, in seconds since 1970.
        expired: u64,
        /// What time it is said to be.
        now: u64,
    },
    /// Older metadata than was seen before.
    Rollback {
        /// Which of it.
        role: String,
        /// The version seen before.
        seen: u64,
        /// The version offered now.
        got: u64,
    },
    /// Too few of the keys that must have signed it did.
    NotSigned {
        /// Which metadata.
        role: String,
        /// How many were needed and there.
        why: String,
    },
    /// Metadata of one state of the repository beside that of another.
    Mixed {
        /// Which of it.
        role: String,
        /// The version the others name.
        expected: u64,
        /// The version that was served.
        got: u64,
    },
    /// A document is not what it should be.
    Malformed {
        /// Which one.
        what: String,
        /// In what way.
        why: String,
    },
    /// Bytes are not those that were signed.
    WrongDigest {
        /// Of what.
        what: String,
        /// The signed digest.
        expected: String,
        /// The digest of what came.
        got: String,
    },
    /// A file has another length than was signed.
    WrongLength {
        /// Where it came from.
        at: Place,
        /// The signed length.
        expected: u64,
        /// The length announced or sent.
        got: u64,
    },
    /// More bytes than there may be.
    TooLong {
        /// Of what.
        what: String,
        /// How many there may be.
        limit: u64,
    },
    /// More documents than there may be.
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: u64,
        /// How many there are.
        got: u64,
    },
    /// Data came too slowly.
    Slow {
        /// From where.
        at: Place,
        /// Bytes that came.
        got: u64,
        /// Bytes there should have been.
        least: u64,
        /// In which time.
        window: Duration,
    },
    /// Something took too long.
    Deadline {
        /// From where.
        at: Place,
        /// What took too long.
        phase: &'static str,
        /// How long it may take.
        limit: Duration,
    },
    /// A server sends the device elsewhere, where it does not go.
    Redirect {
        /// Who.
        at: Place,
        /// Where to.
        to: String,
        /// Why not.
        why: String,
    },
    /// A server answers a request for a part with another part.
    Range {
        /// Who.
        at: Place,
        /// What was asked for.
        expected: String,
        /// What it said.
        got: String,
    },
    /// A server does not have the file.
    NotFound {
        /// Who, and which.
        at: Place,
    },
    /// A server's answer is no use.
    Status {
        /// Who.
        at: Place,
        /// Its answer.
        got: String,
    },
    /// There is no way to the server.
    Network {
        /// Which.
        at: Place,
        /// Why not.
        why: String,
    },
    /// No mirror could serve.
    NoMirror {
        /// What was asked for.
        what: String,
        /// What each said.
        tried: Vec<Error>,
    },
    /// A local file could not be read or written.
    Store {
        /// What was being done, as a verb: "open", "flush".
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What kind of failure.
        kind: io::ErrorKind,
        /// The system's words.
        why: String,
    },
    /// What the device remembers of the repository is damaged, and so is what guards it.
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A release document that the device has seen is lost or damaged; all else that it remembers is whole.
    Incomplete {
        /// Where it should be.
        path: PathBuf,
        /// Which one.
        name: String,
    },
    /// Another process is at work on the same datastore.
    Busy {
        /// Which.
        path: PathBuf,
    },
}

/// A file of a mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The mirror, without names and passwords.
    pub mirror: String,
    /// The file's path.
    pub path: String,
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Servers, or the way to them: later it may work by itself.
    Network,
    /// What was served cannot be trusted.
    Trust,
    /// This device: its disk, its clock, its settings.
    Device,
}

impl Error {
    /// A name for programs, which never changes.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Setup { .. } => "setup",
            Self::Expired { .. } => "expired",
            Self::Rollback { .. } => "rollback",
            Self::NotSigned { .. } => "not-signed",
            Self::Mixed { .. } => "mixed",
            Self::Malformed { .. } => "malformed",
            Self::WrongDigest { .. } => "wrong-digest",
            Self::WrongLength { .. } => "wrong-length",
            Self::TooLong { .. } => "too-long",
            Self::TooMany { .. } => "too-many",
            Self::Slow { .. } => "slow",
            Self::Deadline { .. } => "deadline",
            Self::Redirect { .. } => "redirect",
            Self::Range { .. } => "wrong-range",
            Self::NotFound { .. } => "not-found",
            Self::Status { .. } => "http-status",
            Self::Network { .. } => "network",
            Self::NoMirror { .. } => "no-mirror",
            Self::Store { kind, .. } if is_full(*kind) => "no-space",
            Self::Store { .. } => "store",
            Self::Damaged { .. } => "damaged",
            Self::Incomplete { .. } => "incomplete",
            Self::Busy { .. } => "busy",
        }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Rollback { .. }
            | Self::Expired { .. }
            | Self::NotSigned { .. }
            | Self::Mixed { .. }
            | Self::Malformed { .. }
            | Self::WrongDigest { .. }
            | Self::WrongLength { .. }
            | Self::TooLong { .. }
            | Self::TooMany { .. } => Fault::Trust,
            Self::Setup { .. }
            | Self::Store { .. }
            | Self::Damaged { .. }
            | Self::Incomplete { .. }
            | Self::Busy { .. } => Fault::Device,
            _ => Fault::Network,
        }
    }

    /// The error inside one of reading a [`Download`](crate::Download), if it has one.
    pub fn inside(error: &io::Error) -> Option<&Self> {
        error.get_ref().and_then(|inner| inner.downcast_ref())
    }

    pub(crate) fn store(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Store { doing, path, kind: error.kind(), why: error.to_string() }
    }

    /// One error for those of all mirrors: what cannot be trusted is told first.
    pub(crate) fn of_mirrors(what: &str, mut tried: Vec<Self>) -> Self {
        let told = tried.iter().position(|error| error.fault() != Fault::Network);
        match told {
            Some(told) => tried.swap_remove(told),
            None if tried.len() == 1 => tried.swap_remove(0),
            None => Self::NoMirror { what: what.to_owned(), tried },
        }
    }
}

fn is_full(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Store { kind, .. } => *kind,
            Error::Slow { .. } | Error::Deadline { .. } => io::ErrorKind::TimedOut,
            error if error.fault() == Fault::Trust => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

impl std::error::Error for Error {}
