//! Which slot, which image: the choices the state machine makes.

use crate::Refusal;
use crate::state::{ComponentState, Denied, Held, SealedImage, Slot};
use siding_image::{Component, Identity};

impl ComponentState {
    /// The slot that is staged into next.
    ///
    /// With `a` active it is `b`, and the other way round. With the base active it is an empty one, else one
    /// that holds nothing useful, else the one with the lower version, else `a`. Never the only slot that
    /// holds `source`.
    pub fn staging_slot(&self, source: Option<&Identity>) -> Option<Slot> {
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
        Slot::PATCHED.into_iter().filter(spare).min_by_key(worth)
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

/// Whether an image may be staged or switched to at all.
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
    if let Some(denied) = held.denial(&image.identity.digest) {
        return Err(Refusal::Denied { component, denied: Box::new(denied.clone()) });
    }
    if image.epoch < held.floor {
        return Err(Refusal::BelowFloor { component, version, epoch: image.epoch, floor: held.floor });
    }
    Ok(())
}
