//! What can happen to a store, and what follows.

use crate::log::LogEntry;
use crate::state::{Booted, Places, SealedImage, Slot, TrialTerms};
use siding_image::{Component, Digest, Identity};
use std::collections::BTreeMap;

/// Something that happens to a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A component gets its base, which was written, flushed and compared.
    Init {
        /// Which component.
        component: Component,
        /// What its base holds.
        image: SealedImage,
    },
    /// A component gets two devices, of which one holds the image in use, which was compared.
    InitPlaces {
        /// Which component.
        component: Component,
        /// Where its slots lie.
        places: Places,
        /// The slot in use, `a` or `b`.
        slot: Slot,
        /// What it holds.
        image: SealedImage,
    },
    /// Another base, which was written, flushed and compared in a place of its own, takes the place of a component's
    /// base and of all that was patched on it.
    Supersede {
        /// Which component.
        component: Component,
        /// What the new base holds.
        image: SealedImage,
    },
    /// The base, which was damaged or gone, was written anew, flushed and compared in a place of its own. Nothing else
    /// changes: what was patched on it is as it was.
    Mend {
        /// Which component.
        component: Component,
    },
    /// The inactive slot is to be written.
    BeginStage {
        /// Which component.
        component: Component,
        /// What is to be written.
        image: SealedImage,
        /// What it is made from: no slot is overwritten that alone holds this.
        source: Option<Identity>,
        /// Slots that cannot be emptied, and are taken only if there is no other.
        avoid: Vec<Slot>,
    },
    /// An interrupted stage is gone on with.
    GoOn {
        /// Which component.
        component: Component,
        /// Which slot.
        slot: Slot,
        /// What is written.
        image: SealedImage,
        /// How many bytes were there.
        there: u64,
    },
    /// What was staged is given up.
    Abandon {
        /// Which component.
        component: Component,
    },
    /// What was staged is on the medium, bit for bit.
    Seal {
        /// Which component.
        component: Component,
        /// Which slot.
        slot: Slot,
        /// What it holds now.
        image: SealedImage,
    },
    /// Sealed slots become active, all at once.
    Switch {
        /// Which slot of which component.
        to: Vec<(Component, Slot)>,
        /// The trial they are put on; without one they are confirmed at once.
        trial: Option<TrialTerms>,
    },
    /// The device starts.
    Boot {
        /// What boot loaders did, for components that are started by one.
        seen: BTreeMap<Component, Booted>,
    },
    /// A check of what runs has failed. What is not on trial is left as it is.
    HealthFailed {
        /// Which components.
        set: Vec<Component>,
        /// Which check, and what it said.
        reason: String,
    },
    /// Trials whose deadline has passed end.
    Deadline,
    /// What runs is good.
    Confirm {
        /// Which components.
        set: Vec<Component>,
    },
    /// What runs is bad: back to the previous slot, and deny the image.
    Rollback {
        /// Which components.
        set: Vec<Component>,
        /// Why.
        reason: String,
    },
    /// Back to the base, without blame.
    Remove {
        /// Which components.
        set: Vec<Component>,
    },
    /// A sealed image is found to be damaged: it is none any more.
    Condemn {
        /// Of which component.
        component: Component,
        /// In which slot.
        slot: Slot,
        /// What was found.
        reason: String,
    },
    /// A denied image may be tried again.
    Lift {
        /// Of which component.
        component: Component,
        /// Which image.
        digest: Digest,
    },
    /// Inactive slots that nothing needs are emptied: unsealed, denied and superseded ones.
    Vacuum,
}

/// What follows from a state. Each may be done again without harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Point `current` of the component at the slot.
    SetCurrent(Component, Slot),
    /// Remove the files of the slot.
    DiscardSlot(Component, Slot),
    /// Remove the files of the bases that were superseded, or mended.
    DiscardBases(Component),
    /// Remember what happened.
    Log(LogEntry),
}
