//! Why a patch was not installed.

use crate::Damage;
use siding_image::{Component, Identity, Version};
use siding_slot::{Slot, date};
use std::fmt;
use std::io;
use std::path::PathBuf;

/// A patch was not installed. The running slot is untouched.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The patch cannot be read or is not trusted.
    Patch(siding_patch::Error),
    /// The patch could not be carried out; the inactive slot is marked unusable, and may be gone on with.
    Apply(siding_apply::Error),
    /// The store refused or failed.
    Slot(siding_slot::Error),
    /// The slot that the patch starts from no longer holds what its seal says.
    Source(siding_image::Error),
    /// The image that was to be switched to is not what was sealed. Nothing was switched.
    Damaged {
        /// Of which component.
        component: Component,
        /// The image's version.
        version: String,
        /// In which slot.
        slot: Slot,
        /// What is wrong.
        damage: Damage,
    },
    /// A patch's word for what must restart is one that this device does not know. Nothing was changed.
    NoHook {
        /// The word.
        name: String,
        /// What is wrong with its hook.
        why: String,
    },
    /// Who runs what cannot be found out.
    Proc {
        /// Where it was looked.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// What the agent keeps of its own cannot be read or written.
    Memory {
        /// The system's answer.
        source: io::Error,
    },
    /// There is nothing that could say whether what is on trial works.
    NoChecks {
        /// Where programs were looked for.
        dir: PathBuf,
    },
    /// The health checks cannot be listed.
    Checks {
        /// Where they were looked for.
        dir: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The store has no such component.
    NoComponent {
        /// The component the patch is for.
        component: Component,
    },
    /// No slot holds the image the patch starts from.
    NoSource {
        /// The component.
        component: Component,
        /// The version the patch starts from.
        version: Version,
        /// The image the patch starts from.
        identity: Identity,
        /// What the slots hold, for the message.
        held: String,
    },
    /// Somebody else wanted the store and was let have it. What was staged is gone on with from its last checkpoint.
    GaveWay,
    /// The patch makes something else than it was promised to make. Nothing was changed.
    Unpromised {
        /// Of which component it makes an image.
        component: Component,
        /// The version of that.
        version: Version,
        /// The image.
        got: Identity,
        /// What was promised.
        promised: Box<(Component, Identity)>,
    },
    /// The patch is for other products.
    WrongProduct {
        /// The products it is for.
        expected: Vec<String>,
        /// What this device is, if it says.
        got: Option<String>,
    },
    /// The patch is past its date.
    Expired {
        /// When it expired, in seconds since 1970.
        at: u64,
        /// The device's clock.
        now: u64,
    },
    /// The patch would lower the security epoch.
    OldEpoch {
        /// The patch's epoch.
        got: u64,
        /// The lowest epoch this device accepts.
        floor: u64,
    },
    /// The patch asks for a later siding.
    TooOldSiding {
        /// What it asks for.
        needed: [u64; 3],
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Patch(error) => error.fmt(f),
            Self::Apply(error) => error.fmt(f),
            Self::Slot(error) => error.fmt(f),
            Self::Source(error) => write!(
                f,
                "the slot the patch starts from is damaged: {error}; the patch was not used; restore that slot or switch to another"
            ),
            Self::Damaged { component, version, slot, damage } => write!(
                f,
                "{component} {version} in slot {slot} is damaged: {damage}; nothing was switched; install its patch again, which replaces it, or empty the slot with `siding verify --slot {component}:{slot} --condemn`"
            ),
            Self::NoHook { name, why } => write!(
                f,
                "{name:?} must restart, and nobody here knows how: {why}; nothing was changed; put a program there that does it when called with `restart {name}`, or leave --restart out"
            ),
            Self::Proc { path, source } => {
                write!(f, "cannot list the processes in {}: {source}", path.display())
            }
            Self::Memory { source } => write!(
                f,
                "what the agent remembers, in the store's directory agent, cannot be read or written: {source}"
            ),
            Self::NoChecks { dir } => write!(
                f,
                "nobody can say whether what is on trial works: put executable programs into {}, or name units with --unit; `siding confirm` keeps it without asking",
                dir.display()
            ),
            Self::Checks { dir, source } => {
                write!(f, "cannot list the health checks in {}: {source}", dir.display())
            }
            Self::NoComponent { component } => write!(
                f,
                "this patch is for component {component}, which this store does not have; see `siding status`, or put its base in place with `siding init`"
            ),
            Self::NoSource { component, version, identity, held } => write!(
                f,
                "this patch starts from {component} {version} ({identity}), which no slot holds; the slots hold {held}; get the patch made for one of these"
            ),
            Self::GaveWay => write!(
                f,
                "another process wanted the store, which is busy now; install the same again to go on from the last checkpoint"
            ),
            Self::Unpromised { component, version, got, promised } => write!(
                f,
                "this patch makes {component} {version} ({got}), expected {} ({}); whoever serves it serves another one, or the release is wrong",
                promised.0, promised.1
            ),
            Self::WrongProduct { expected, got } => write!(
                f,
                "this patch is for {}, this device is {}; get the patch made for it",
                expected.join(", "),
                got.as_deref().unwrap_or("not told what it is (--product)")
            ),
            Self::Expired { at, now } => write!(
                f,
                "this patch expired on {}, and it is {} now; get a newer one, or set the clock",
                date(*at),
                date(*now)
            ),
            Self::OldEpoch { got, floor } => write!(
                f,
                "this patch has security epoch {got}, but this device has confirmed epoch {floor} and never goes below it; get a newer patch"
            ),
            Self::TooOldSiding { needed: [major, minor, patch] } => write!(
                f,
                "this patch needs siding {major}.{minor}.{patch}, this is {}; update siding first",
                env!("CARGO_PKG_VERSION")
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Patch(error) => Some(error),
            Self::Apply(error) => Some(error),
            Self::Slot(error) => Some(error),
            Self::Source(error) => Some(error),
            Self::Proc { source, .. } | Self::Checks { source, .. } | Self::Memory { source } => Some(source),
            _ => None,
        }
    }
}

impl From<siding_patch::Error> for Error {
    fn from(error: siding_patch::Error) -> Self {
        Self::Patch(error)
    }
}

impl From<siding_apply::Error> for Error {
    fn from(error: siding_apply::Error) -> Self {
        Self::Apply(error)
    }
}

impl From<siding_slot::Error> for Error {
    fn from(error: siding_slot::Error) -> Self {
        Self::Slot(error)
    }
}
