//! What can go wrong between a device and its repository, whose fault it is, and what to do.

use std::fmt;
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
            Self::Setup { .. } | Self::Store { .. } | Self::Damaged { .. } | Self::Busy { .. } => {
                Fault::Device
            }
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

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.mirror, self.path)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup { what } => write!(f, "the repository cannot be used as it is set up: {what}"),
            Self::Expired { role, expired, now } => write!(
                f,
                "the repository's {role} metadata expired at {expired}, and this device's clock says {now} (seconds \
                 since 1970): see that the clock is right; if it is, the maker must sign anew, or a mirror holds \
                 back what is new"
            ),
            Self::Rollback { role, seen, got } => write!(
                f,
                "the repository's {role} metadata has version {got}, and version {seen} was seen before: the mirror \
                 is behind, or somebody offers what was replaced; nothing was changed"
            ),
            Self::NotSigned { role, why } => write!(
                f,
                "the repository's {role} metadata is not signed as it must be: {why}; nothing was changed, the \
                 mirror or the maker must be repaired"
            ),
            Self::Mixed { role, expected, got } => write!(
                f,
                "the repository's {role} metadata has version {got} where the rest names {expected}: the mirror mixes \
                 two states; try again later or use another mirror"
            ),
            Self::Malformed { what, why } => {
                write!(f, "{what} cannot be used: {why}; the mirror or the maker must be repaired")
            }
            Self::WrongDigest { what, expected, got } => write!(
                f,
                "{what} has the digest {got}, and {expected} was signed: it was damaged or replaced on its way; \
                 nothing of it is kept, try again or use another mirror"
            ),
            Self::WrongLength { at, expected, got } => write!(
                f,
                "{at}: {expected} bytes were signed, {got} are served: the mirror's copy is damaged or another one"
            ),
            Self::TooLong { what, limit } => {
                write!(f, "{what} is longer than the {limit} bytes it may have: reading was given up")
            }
            Self::TooMany { what, limit, got } => write!(f, "there are {got} {what}, at most {limit} may be"),
            Self::Slow { at, got, least, window } => write!(
                f,
                "{at}: {got} bytes came in {} seconds, at least {least} were expected: given up; what came is kept",
                window.as_secs_f64()
            ),
            Self::Deadline { at, phase, limit } => {
                write!(f, "{at}: {phase} took more than {} seconds: given up", limit.as_secs_f64())
            }
            Self::Redirect { at, to, why } => write!(f, "{at} redirects to {to}: not followed, {why}"),
            Self::Range { at, expected, got } => {
                write!(f, "{at}: {expected} was asked for, the answer is {got}: not used")
            }
            Self::NotFound { at } => write!(f, "{at}: no such file there; is the mirror complete?"),
            Self::Status { at, got } => write!(f, "{at}: an answer of no use: {got}"),
            Self::Network { at, why } => {
                write!(f, "{at}: {why}; see the network, the proxy settings (https_proxy), the mirror's name")
            }
            Self::NoMirror { what, tried } => {
                write!(f, "no mirror could serve {what}")?;
                tried.iter().try_for_each(|error| write!(f, "; {error}"))
            }
            Self::Store { doing, path, why, .. } => write!(f, "cannot {doing} {}: {why}", path.display()),
            Self::Damaged { path, why } => write!(
                f,
                "{} is damaged ({why}), and so is what says which versions were seen: to trust the repository anew \
                 from the root this device was made with, remove the directory by hand",
                path.display()
            ),
            Self::Busy { path } => write!(f, "another process is refreshing {}: wait for it", path.display()),
        }
    }
}

impl std::error::Error for Error {}
