//! Why the state machine says no.

use crate::state::{Denied, Slot, date};
use siding_image::Component;
use std::fmt;

/// An event that is not allowed in this state. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The store has no such component.
    Unknown {
        /// Which one was asked for.
        component: Component,
    },
    /// The component has a base already.
    Exists {
        /// Which one.
        component: Component,
    },
    /// The component is on trial, so its previous slot is the way back and stays as it is.
    OnTrial {
        /// Which one.
        component: Component,
        /// What is on trial.
        version: String,
    },
    /// The image was rolled back before.
    Denied {
        /// Of which component.
        component: Component,
        /// What was recorded then.
        denied: Box<Denied>,
    },
    /// The slot holds no sealed image.
    NotSealed {
        /// Of which component.
        component: Component,
        /// Which slot.
        slot: Slot,
    },
    /// No slot of the component holds anything to switch to.
    NothingReady {
        /// Which component.
        component: Component,
    },
    /// The slot is not being staged into.
    NotStaging {
        /// Of which component.
        component: Component,
        /// Which slot.
        slot: Slot,
    },
    /// The image is the one in use.
    AlreadyActive {
        /// Of which component.
        component: Component,
        /// What is in use.
        version: String,
    },
    /// The image is the component's base.
    IsBase {
        /// Of which component.
        component: Component,
        /// Its version.
        version: String,
    },
    /// The image's security epoch is lower than one that was confirmed.
    BelowFloor {
        /// Of which component.
        component: Component,
        /// The image.
        version: String,
        /// Its epoch.
        epoch: u64,
        /// The lowest allowed.
        floor: u64,
    },
    /// There is nothing to roll back from.
    OnBase {
        /// Which component.
        component: Component,
    },
    /// Staging would overwrite the only copy of the image that the patch starts from.
    SourceWouldGo {
        /// Of which component.
        component: Component,
    },
    /// The trial has failed already; it cannot be confirmed.
    Failed {
        /// Of which component.
        component: Component,
        /// What is on trial.
        version: String,
        /// Why it failed.
        reason: String,
    },
    /// The component has two devices, and no base that another could supersede.
    NothingToSupersede {
        /// Which one.
        component: Component,
    },
    /// The component has no base to go back to.
    NoBase {
        /// Which one.
        component: Component,
    },
    /// The component has no other slot to go back to.
    NoWayBack {
        /// Which one.
        component: Component,
    },
    /// The slot is the way back of a trial.
    IsWayBack {
        /// Of which component.
        component: Component,
        /// Which slot.
        slot: Slot,
    },
    /// A set names a component twice.
    Twice {
        /// Which one.
        component: Component,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { component } => {
                write!(
                    f,
                    "there is no component {component} in this store; `siding init {component} …` puts one in place"
                )
            }
            Self::Exists { component } => {
                write!(
                    f,
                    "component {component} has a base already; `siding init {component} … --replace` puts another in its place, and drops the patches of the old one"
                )
            }
            Self::OnTrial { component, version } => write!(
                f,
                "{component} is on trial with {version}, and the other slot is its way back; confirm it or roll it back first"
            ),
            Self::Denied { component, denied } => write!(
                f,
                "{component} {} [{}] was rolled back on {}: {}; offer a different image, or this one with --retry-denied",
                denied.version,
                denied.digest.short(),
                date(denied.at),
                denied.reason
            ),
            Self::NotSealed { component, slot } => {
                write!(f, "slot {slot} of {component} holds no sealed image; stage and seal one first")
            }
            Self::NothingReady { component } => {
                write!(f, "no slot of {component} holds an image to switch to; install a patch first")
            }
            Self::NotStaging { component, slot } => {
                write!(f, "slot {slot} of {component} is not being staged into; begin the stage anew")
            }
            Self::AlreadyActive { component, version } => {
                write!(f, "{component} runs {version} already; nothing to do")
            }
            Self::IsBase { component, version } => {
                write!(f, "{version} is the base of {component}; remove the patch to go back to it")
            }
            Self::BelowFloor { component, version, epoch, floor } => write!(
                f,
                "{component} {version} has security epoch {epoch}, and this device has confirmed epoch {floor}; it does not go down"
            ),
            Self::OnBase { component } => {
                write!(f, "{component} runs its base, and there is nothing before that to roll back to")
            }
            Self::SourceWouldGo { component } => write!(
                f,
                "the patch starts from an image of {component} that only the slot to be overwritten holds; use a patch that starts from the base or from what runs"
            ),
            Self::Failed { component, version, reason } => write!(
                f,
                "the trial of {component} {version} has failed: {reason}; restart the device to fall back, or roll it back"
            ),
            Self::NothingToSupersede { component } => write!(
                f,
                "{component} has two devices and no base that could be replaced; install a patch that starts from what runs"
            ),
            Self::NoBase { component } => write!(
                f,
                "{component} has two slots and no base; to leave a patch, roll it back or install its reverse patch"
            ),
            Self::NoWayBack { component } => write!(
                f,
                "the other slot of {component} holds no image to go back to; install its reverse patch, or another one"
            ),
            Self::IsWayBack { component, slot } => write!(
                f,
                "slot {slot} of {component} is the way back of its trial; confirm it or roll it back first"
            ),
            Self::Twice { component } => write!(f, "component {component} is named twice; name it once"),
        }
    }
}

impl std::error::Error for Refusal {}
