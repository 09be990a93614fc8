//! What can go wrong with a store, and what to do about it.

use crate::{Refusal, Slot};
use siding_image::{Component, Digest, Identity};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A store, or an image being written, could not do what was asked.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// There is no store at this place.
    NoStore {
        /// Where it was looked for.
        root: PathBuf,
    },
    /// Another process is writing to the store.
    Busy {
        /// Which store.
        root: PathBuf,
    },
    /// The state of the store does not allow it; nothing was changed.
    Refused(Refusal),
    /// The record cannot be read.
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The record was written by a later siding.
    NewerRecord {
        /// Which file.
        path: PathBuf,
        /// The version it has.
        version: u32,
    },
    /// The record has no room for this.
    RecordFull {
        /// Bytes needed.
        needed: usize,
        /// Bytes there are.
        limit: usize,
    },
    /// An earlier operation on this object failed, so that it no longer knows what the medium holds.
    Poisoned {
        /// The first error.
        first: String,
    },
    /// The operating system refused.
    Io {
        /// What was being done, as a verb: "open", "flush".
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// A base lies in the store, whole and frozen, that the record does not know, and it is another one.
    StrayBase {
        /// Where it lies.
        path: PathBuf,
    },
    /// Something is mounted in what was to be removed or changed. Nothing of it was.
    Mounted {
        /// What was to be removed or changed.
        path: PathBuf,
        /// The mount point in it.
        at: PathBuf,
    },
    /// A block device that was to be written is mounted, or somebody else has it. It was not written.
    InUse {
        /// Which device.
        path: PathBuf,
        /// By whom, as far as the system says.
        how: String,
    },
    /// A device is, or has a part in common with, one that another component has.
    SharedDevice {
        /// Which device.
        path: PathBuf,
        /// For which component.
        component: Component,
        /// The component that has it.
        other: Component,
        /// As which slot.
        slot: Slot,
        /// By which name.
        place: PathBuf,
    },
    /// What was asked for leads to an image that is gone. Nothing was changed.
    NothingThere {
        /// Of which component.
        component: Component,
        /// In which slot it should be.
        slot: Slot,
        /// Its version.
        version: String,
        /// What is missing.
        what: String,
    },
    /// An image could not be read.
    Image(siding_image::Error),
    /// What was read back is not what should have been written.
    NotAsWritten {
        /// Which path.
        path: PathBuf,
        /// Which property of it.
        what: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// A content is neither fresh nor in the source.
    NoContent {
        /// Where it belongs.
        path: PathBuf,
        /// Its digest.
        digest: Digest,
    },
    /// The image that was written is not the one that was promised when the stage began.
    WrongImage {
        /// What was promised.
        expected: Identity,
        /// What was written.
        got: Identity,
    },
    /// Only root can read such an entry back.
    Unreadable {
        /// Which entry.
        path: PathBuf,
        /// Its mode.
        mode: u16,
    },
    /// The block device is smaller than the image.
    TooSmall {
        /// Which device.
        path: PathBuf,
        /// Its length in bytes.
        has: u64,
        /// The image's.
        needs: u64,
    },
    /// The image cannot fit. Nothing was written.
    NoSpace {
        /// Where it should have gone.
        path: PathBuf,
        /// How many bytes it needs there.
        needed: u64,
        /// How many are free.
        free: u64,
    },
    /// A builder was not used as it must be.
    Misused {
        /// Which image was being built.
        path: PathBuf,
        /// How.
        what: &'static str,
    },
}

/// What kind of failure it is, for exit codes and for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// No such store, or no such component in it.
    NotFound,
    /// Another process is at work, or something is mounted there.
    Busy,
    /// Not in this state, or not for this device.
    Refused,
    /// The image was rolled back before.
    Denied,
    /// The disk or a quota is full.
    NoSpace,
    /// Bytes are not what they should be.
    Corrupt,
    /// The system or the medium failed.
    Io,
    /// The caller asked for something that makes no sense.
    Usage,
}

impl Error {
    /// Which kind of failure this is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoStore { .. } | Self::Refused(Refusal::Unknown { .. }) => Kind::NotFound,
            Self::Busy { .. } | Self::Mounted { .. } | Self::InUse { .. } => Kind::Busy,
            Self::Refused(Refusal::Denied { .. }) => Kind::Denied,
            Self::Refused(Refusal::Twice { .. }) | Self::Misused { .. } => Kind::Usage,
            Self::Refused(_)
            | Self::NewerRecord { .. }
            | Self::StrayBase { .. }
            | Self::SharedDevice { .. }
            | Self::Unreadable { .. } => Kind::Refused,
            Self::RecordFull { .. } | Self::TooSmall { .. } | Self::NoSpace { .. } => Kind::NoSpace,
            Self::Io { source, .. } | Self::Image(siding_image::Error::Io { source, .. }) => kind_of(source),
            Self::Image(siding_image::Error::Unsupported { .. }) => Kind::Refused,
            Self::Damaged { .. }
            | Self::Image(_)
            | Self::NotAsWritten { .. }
            | Self::NoContent { .. }
            | Self::NothingThere { .. }
            | Self::WrongImage { .. } => Kind::Corrupt,
            Self::Poisoned { .. } => Kind::Io,
        }
    }

    /// Whether it leaves open what the medium holds. A full disk does not: that is an answer.
    pub(crate) fn is_of_the_medium(&self) -> bool {
        self.kind() == Kind::Io || matches!(self, Self::NotAsWritten { .. })
    }

    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        // An error of ours that went through an `io::Result` comes out as it went in.
        match source.downcast::<Self>() {
            Ok(error) => error,
            Err(source) => Self::Io { doing, path: path.to_owned(), source },
        }
    }

    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }
}

fn kind_of(error: &io::Error) -> Kind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::NoSpace,
        _ => Kind::Io,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoStore { root } => {
                write!(f, "there is no store at {}; `siding init` makes one", root.display())
            }
            Self::Busy { root } => {
                write!(
                    f,
                    "the store {} is in use by another process; try again when it is done",
                    root.display()
                )
            }
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Damaged { path, what } => write!(
                f,
                "the record {} is damaged: {what}; the images were not touched, and each base is whole under components/NAME/base, so keep the store, find out what happened to the medium, and init a new one from the bases",
                path.display()
            ),
            Self::NewerRecord { path, version } => write!(
                f,
                "the record {} has version {version}, which this siding does not know; use the siding that wrote it, or a later one",
                path.display()
            ),
            Self::RecordFull { needed, limit } => write!(
                f,
                "the record has room for {limit} bytes and this would make it {needed}; nothing was changed; shorten the restart and advisory lists, or keep some components in another store"
            ),
            Self::Poisoned { first } => {
                write!(f, "an earlier error made this store unusable, open it again; it was: {first}")
            }
            Self::Io { doing, path, source } => {
                write!(f, "cannot {doing} {}: {source}", path.display())?;
                match kind_of(source) {
                    Kind::NoSpace => f.write_str("; free some space (`siding vacuum` may) and try again"),
                    _ => Ok(()),
                }
            }
            Self::StrayBase { path } => write!(
                f,
                "{} holds a whole base that the record does not know, and not this image; init the component with the image that lies there to take it back, or remove that directory by hand if nobody wants it",
                path.display()
            ),
            Self::Mounted { path, at } => write!(
                f,
                "something is mounted on {}, so nothing below {} was removed or changed; unmount it (`umount {0}`) and try again",
                at.display(),
                path.display()
            ),
            Self::NothingThere { component, slot, version, what } => {
                write!(
                    f,
                    "{component} cannot go to {version} in slot {slot}: {what}; nothing was changed; "
                )?;
                match slot {
                    Slot::Base => write!(
                        f,
                        "put {version} in place again with `siding init {component} IMAGE --version '{version}' --replace`, and look with `siding verify --slot {component}`"
                    ),
                    _ => write!(
                        f,
                        "look with `siding verify --slot {component}`; the base, if there is one, is the way back once the slot is emptied with `siding verify --slot {component}:{slot} --condemn`; a component of two devices needs the device back, or its reverse patch"
                    ),
                }
            }
            Self::InUse { path, how } => write!(
                f,
                "the device {} is in use: {how}; it was not written; unmount it or have it let go of, and try again",
                path.display()
            ),
            Self::SharedDevice { path, component, other, slot, place } => write!(
                f,
                "{component} cannot have the device {}: it is, or shares bytes with, {}, which is slot {slot} of {other}; give each component devices of its own",
                path.display(),
                place.display()
            ),
            Self::Image(error) => error.fmt(f),
            Self::NotAsWritten { path, what, expected, got } => write!(
                f,
                "{} was read back with another {what} than was written: expected {expected}, got {got}; the medium or its filesystem does not keep it, and the image is not used",
                path.display()
            ),
            Self::NoContent { path, digest } => write!(
                f,
                "the content of {} (digest {digest}) is neither in the patch nor in the source image; the patch does not fit the source",
                path.display()
            ),
            Self::WrongImage { expected, got } => {
                write!(f, "staging was begun for {expected}, and {got} was written; the image is not used")
            }
            Self::Unreadable { path, mode } => write!(
                f,
                "{} has mode {mode:04o}, so that only root can read it back to check it; run this as root",
                path.display()
            ),
            Self::TooSmall { path, has, needs } => write!(
                f,
                "the device {} has {has} bytes and the image needs {needs}; use a larger one",
                path.display()
            ),
            Self::NoSpace { path, needed, free } => write!(
                f,
                "the image needs {needed} bytes at {}, and {free} are free; nothing was written; free some space (`siding vacuum` may) and try again",
                path.display()
            ),
            Self::Misused { path, what } => {
                write!(
                    f,
                    "{} cannot be built: {what}; this is a mistake of the calling program",
                    path.display()
                )
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Image(error) => Some(error),
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<siding_image::Error> for Error {
    fn from(error: siding_image::Error) -> Self {
        Self::Image(error)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Io { source, .. } => source.kind(),
            Error::NoSpace { .. } => io::ErrorKind::StorageFull,
            Error::Mounted { .. } | Error::InUse { .. } => io::ErrorKind::ResourceBusy,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests;
