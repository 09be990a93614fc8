//! Which slot, which image: the choices the state machine makes.

use super::NextBoot;
use crate::Refusal;
use crate::state::{Booted, ComponentState, Denied, Held, SealedImage, Slot, Trial, date};
use siding_image::{Component, Identity};

impl ComponentState {
    /// The slot that is staged into next.
    ///
    /// With `a` active it is `b`, and the other way round. With the base active it is an empty one, else one
    /// that holds nothing useful, else the one with the lower version, else `a`. Never the only slot that
    /// holds `source`.
    pub fn staging_slot(&self, source: Option<&Identity>) -> Option<Slot> {
        self.staging_slot_but(source, &[])
    }

    /// The same, but one of those in `avoid` only if there is no other.
    pub(super) fn staging_slot_but(&self, source: Option<&Identity>, avoid: &[Slot]) -> Option<Slot> {
        let holds_source = |slot: Slot| self.image(slot).is_some_and(|image| source == Some(&image.identity));
        let spare = |slot: &Slot| {
            let elsewhere = Slot::ALL.into_iter().any(|other| other != *slot && holds_source(other));
            *slot != self.active && (!holds_source(*slot) || elsewhere)
        };
        let worth = |slot: &Slot| match self.held(*slot) {
            Held::Empty => (0, None),
            Held::Staging => (1, None),
            Held::Sealed(image) if self.denial(&image.identity.digest).is_some() => (2, None),
            Held::Sealed(image) => (3, Some(image.version.clone())),
        };
        Slot::PATCHED.into_iter().filter(spare).min_by_key(|slot| (avoid.contains(slot), worth(slot)))
    }

    /// Whether a slot can be emptied without losing a way forward or back.
    pub(super) fn is_spare(&self, slot: Slot) -> bool {
        match self.held(slot) {
            _ if slot == self.active || slot == Slot::Base => false,
            Held::Empty => false,
            Held::Staging => true,
            Held::Sealed(image) => {
                let denied = self.denial(&image.identity.digest).is_some();
                let superseded = self.active_image().is_some_and(|active| image.version < active.version);
                denied || superseded && self.previous != Some(slot)
            }
        }
    }

    pub(super) fn empty(&mut self, slot: Slot, held: Held) {
        *self.held_mut(slot) = held;
        // What is staged there next is not the way back.
        self.previous = self.previous.filter(|previous| *previous != slot);
    }

    pub(super) fn deny(&mut self, image: &SealedImage, reason: &str, at: u64) {
        let digest = image.identity.digest;
        self.denied.retain(|denied| denied.digest != digest);
        self.denied.push(Denied { digest, version: image.version.clone(), reason: reason.to_owned(), at });
        let too_many = self.denied.len().saturating_sub(Denied::MOST);
        self.denied.drain(..too_many);
    }
}

/// What a boot does to a component, given what its boot loader says it did.
///
/// A boot spends one try, whoever counts: the record's count and the loader's are both taken off one, and the lower
/// one holds. A loader that acted on an older order has said nothing of this trial. If it knows the order and started
/// another slot, it has given the trial up.
pub(super) fn at_boot(component: &ComponentState, seen: Booted, now: u64) -> NextBoot {
    let Some(trial) = &component.trial else { return NextBoot::Continues };
    let knows = seen.turn.is_none_or(|turn| turn == component.turn);
    let elsewhere = seen.slot.filter(|slot| *slot != component.active);
    let late = trial.terms.deadline.filter(|deadline| now >= *deadline).map(passed);
    let gave_up = elsewhere.filter(|_| knows).map(|slot| gave_up(trial, slot));
    let reason = trial.failed.clone().or(late).or(gave_up);
    let left = match (reason, trial.tries_left.checked_sub(1)) {
        (Some(reason), _) => Err(reason),
        (None, None) => Err(used_up(trial, elsewhere)),
        (None, Some(left)) => Ok(left),
    };
    let counted = seen.tries_left.filter(|_| knows).unwrap_or(u32::MAX);
    match (left, component.way_back()) {
        (Ok(left), _) => NextBoot::SpendsTry { left: left.min(counted) },
        (Err(reason), Some(to)) => NextBoot::FallsBack { to, reason },
        // No state that is kept is without a way back on trial.
        (Err(_), None) => NextBoot::Continues,
    }
}

/// Why a trial ends by its deadline.
pub(super) fn passed(deadline: u64) -> String {
    format!("the deadline passed without a confirm ({})", date(deadline))
}

fn gave_up(trial: &Trial, slot: Slot) -> String {
    format!("the boot loader gave it up after {} and started slot {slot}", tries(trial))
}

fn used_up(trial: &Trial, elsewhere: Option<Slot>) -> String {
    match (elsewhere, trial.terms.tries) {
        (Some(slot), _) => {
            format!("it was never started in {}: the boot loader started slot {slot}", tries(trial))
        }
        (None, 1) => "its one try was used up without a confirm".to_owned(),
        (None, tries) => format!("{tries} tries were used up without a confirm"),
    }
}

fn tries(trial: &Trial) -> String {
    match trial.terms.tries {
        1 => "1 try".to_owned(),
        tries => format!("{tries} tries"),
    }
}

/// Whether an image may be staged or switched to now.
pub(super) fn admit(
    component: &Component,
    held: &ComponentState,
    image: &SealedImage,
) -> Result<(), Refusal> {
    let component = component.clone();
    let is = |slot| held.image(slot).is_some_and(|other| other.identity == image.identity);
    let version = image.name();
    if held.trial.is_some() {
        let version = held.active_image().map_or_else(String::new, SealedImage::name);
        return Err(Refusal::OnTrial { component, version });
    }
    if is(held.active) {
        return Err(Refusal::AlreadyActive { component, version });
    }
    if is(Slot::Base) {
        return Err(Refusal::IsBase { component, version });
    }
    admit_ever(&component, held, image)
}

/// Whether an image may come in at all, however it does.
pub(super) fn admit_ever(
    component: &Component,
    held: &ComponentState,
    image: &SealedImage,
) -> Result<(), Refusal> {
    let component = component.clone();
    if let Some(denied) = held.denial(&image.identity.digest) {
        return Err(Refusal::Denied { component, denied: Box::new(denied.clone()) });
    }
    if image.epoch < held.floor {
        let (version, epoch, floor) = (image.name(), image.epoch, held.floor);
        return Err(Refusal::BelowFloor { component, version, epoch, floor });
    }
    Ok(())
}
