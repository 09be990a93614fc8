//! Which way an install goes. Decides; writes nothing, and reads the record and how much room there is.

use crate::install::target;
use crate::permit::{held, permit};
use crate::{Error, Request};
use siding_image::Image;
use siding_patch::Manifest;
use siding_slot::{ComponentState, Refusal, Slot, Snapshot, Space};

/// What is to be done with a patch.
#[derive(Clone, Debug)]
pub(crate) enum Course {
    /// Nothing: this slot holds its target and is active.
    IsActive(Slot),
    /// This inactive slot holds its target, if its bytes are still right.
    IsThere(Slot),
    /// To be carried out.
    Apply(Anew),
}

/// A patch that is carried out: from where to where.
#[derive(Clone, Debug)]
pub(crate) struct Anew {
    /// The slot that holds the image it starts from; none for a patch from nothing.
    pub(crate) source: Option<Slot>,
    /// The slot it is staged in.
    pub(crate) slot: Slot,
    /// The room for that.
    pub(crate) space: Space,
}

/// May the patch be installed, and how?
pub(crate) fn course(store: &Snapshot, manifest: &Manifest, request: &Request) -> Result<Course, Error> {
    let component = permit(manifest, store.state(), request)?;
    let wanted = &manifest.target.identity;
    if let Some(denied) = component.denial(&wanted.digest).filter(|_| !request.retry_denied) {
        let (component, denied) = (manifest.component.clone(), Box::new(denied.clone()));
        return Err(siding_slot::Error::Refused(Refusal::Denied { component, denied }).into());
    }
    match component.holding(wanted) {
        Some(slot) if slot == component.active => Ok(Course::IsActive(slot)),
        Some(slot) if is_labelled(component, slot, manifest) => {
            if slot == Slot::Base {
                let (component, version) = (manifest.component.clone(), manifest.target.version.to_string());
                return Err(siding_slot::Error::Refused(Refusal::IsBase { component, version }).into());
            }
            Ok(Course::IsThere(slot))
        }
        _ => Ok(Course::Apply(anew(store, manifest, request)?)),
    }
}

/// From where to where the patch goes if it is carried out, whatever other slots hold.
pub(crate) fn anew(store: &Snapshot, manifest: &Manifest, request: &Request) -> Result<Anew, Error> {
    let component = permit(manifest, store.state(), request)?;
    let no_source = || Error::NoSource {
        component: manifest.component.clone(),
        version: manifest.source.version.clone(),
        identity: manifest.source.identity,
        held: held(component),
    };
    let source = match manifest.source.identity.is_nothing() {
        true => None,
        false => Some(component.holding(&manifest.source.identity).ok_or_else(no_source)?),
    };
    let slot = store.may_stage(&manifest.component, &target(manifest), request.retry_denied)?;
    siding_apply::fits(manifest, request.memory)?;
    let image = image(store, manifest, source)?;
    let written = (manifest.fresh_len(), &manifest.target.identity);
    let space = store.space_for(&manifest.component, slot, written, &image)?;
    Ok(Anew { source, slot, space })
}

/// What the patch starts from, its bytes not read yet.
pub(crate) fn image(store: &Snapshot, manifest: &Manifest, source: Option<Slot>) -> Result<Image, Error> {
    match source {
        Some(slot) => Ok(store.image(&manifest.component, slot)?),
        None => Ok(Image::nothing(manifest.source.identity.kind)),
    }
}

/// Whether the slot's record says of its image what the patch says of its target. If not, a patch is carried out
/// although its bytes are there: version, epoch and what must restart are then recorded as signed.
fn is_labelled(component: &ComponentState, slot: Slot, manifest: &Manifest) -> bool {
    let target = target(manifest);
    component.image(slot).is_some_and(|image| {
        image.version == target.version
            && image.epoch == target.epoch
            && image.restart == target.restart
            && image.advisories == target.advisories
    })
}
