//! What an install would do, found out without writing anything.

use crate::Error;
use crate::install::{Outcome, Request, is_labelled, target};
use crate::permit::{held, permit};
use siding_image::{Component, Version};
use siding_patch::{ChunkKind, Manifest};
use siding_slot::{ComponentState, Refusal, Slot, Snapshot, Space};

/// What installing a patch would do.
#[derive(Debug)]
pub struct Plan {
    /// Which component.
    pub component: Component,
    /// The version the patch starts from.
    pub from: Version,
    /// The version it makes.
    pub version: Version,
    /// How it would end.
    pub outcome: Outcome,
    /// The slot that holds the image the patch starts from.
    pub source: Option<Slot>,
    /// The slot it would be staged in, or is in already.
    pub slot: Slot,
    /// The patch itself, in bytes, without its header and signatures.
    pub patch: u64,
    /// The image, in bytes.
    pub image: u64,
    /// What of the image is written anew, in bytes; the rest is shared with the source or copied from it.
    pub fresh: u64,
    /// What the patch's streams are once decoded, in bytes.
    pub decoded: u64,
    /// The memory that suffices, in bytes.
    pub memory: u64,
    /// Room in the store, counting only what is written anew.
    pub space: Space,
    /// What must restart to use it.
    pub restart: Vec<String>,
    /// The advisories it answers.
    pub advisories: Vec<String>,
}

/// Plans the install of a patch whose manifest was checked. Reads the store's record, and writes nothing.
///
/// Fails as [`install`](crate::install) would, except for what only reading the images and the whole patch can tell.
pub fn plan(store: &Snapshot, manifest: &Manifest, request: &Request) -> Result<Plan, Error> {
    let component = permit(manifest, store.state(), request)?;
    let source = component.holding(&manifest.source.identity);
    let fresh = manifest.fresh_len();
    let space = store.space_for(&manifest.component, fresh)?;
    let (outcome, slot) = ending(store, component, manifest, request, &space)?;
    let deltas = manifest.chunks.iter().filter(|chunk| chunk.kind != ChunkKind::Changes);
    let target = target(manifest);
    Ok(Plan {
        component: manifest.component.clone(),
        from: manifest.source.version.clone(),
        version: manifest.target.version.clone(),
        outcome,
        source,
        slot,
        patch: manifest.chunks.iter().map(|chunk| chunk.stored).sum(),
        image: manifest.target.identity.size,
        fresh,
        decoded: deltas.map(|chunk| chunk.decoded).sum(),
        memory: siding_apply::least_memory(manifest),
        space,
        restart: target.restart,
        advisories: target.advisories,
    })
}

/// How the install would end, and with which slot.
fn ending(
    store: &Snapshot,
    component: &ComponentState,
    manifest: &Manifest,
    request: &Request,
    space: &Space,
) -> Result<(Outcome, Slot), Error> {
    let wanted = &manifest.target.identity;
    if let Some(denied) = component.denial(&wanted.digest).filter(|_| !request.retry_denied) {
        let (component, denied) = (manifest.component.clone(), Box::new(denied.clone()));
        return Err(siding_slot::Error::Refused(Refusal::Denied { component, denied }).into());
    }
    if let Some(slot) = component.holding(wanted) {
        if slot == component.active {
            return Ok((Outcome::WasActive, slot));
        }
        if slot != Slot::Base && is_labelled(component, slot, manifest) {
            return Ok((Outcome::WasThere, slot));
        }
    }
    component.holding(&manifest.source.identity).ok_or_else(|| Error::NoSource {
        component: manifest.component.clone(),
        version: manifest.source.version.clone(),
        identity: manifest.source.identity,
        held: held(component),
    })?;
    let slot = store.may_stage(&manifest.component, &target(manifest), request.retry_denied)?;
    siding_apply::fits(manifest, request.memory)?;
    if !space.fits() {
        let Space { needed, free, at } = space.clone();
        return Err(siding_slot::Error::NoSpace { path: at, needed, free }.into());
    }
    Ok((Outcome::Applied, slot))
}
