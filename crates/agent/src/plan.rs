//! What an install would do, found out without writing anything.

use crate::Error;
use crate::course::{Anew, Course, course};
use crate::install::{Outcome, Request, target};
use siding_image::{Component, Version};
use siding_patch::{ChunkKind, Manifest};
use siding_slot::{Slot, Snapshot, Space};

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
    /// The slot that holds the image the patch starts from, if it would be carried out and does not start from nothing.
    pub source: Option<Slot>,
    /// The slot it would be staged in, or is in already.
    pub slot: Slot,
    /// The patch itself, in bytes, without its header and signatures.
    pub patch: u64,
    /// The image, in bytes.
    pub image: u64,
    /// What of the image would be written anew, in bytes; the rest is shared with the source or copied from it.
    pub fresh: u64,
    /// What of that an interrupted install of the same patch left, in bytes, by its own account.
    pub resumed: u64,
    /// What the patch's streams are once decoded, in bytes.
    pub decoded: u64,
    /// The memory that suffices, in bytes, unless coders look back.
    pub memory: u64,
    /// Room in the store if it would be carried out, counting what the slot holds as free.
    pub space: Option<Space>,
    /// What must restart to use it.
    pub restart: Vec<String>,
    /// The advisories it answers.
    pub advisories: Vec<String>,
}

/// Plans the install of a patch whose manifest was checked. Reads the store's record, and writes nothing.
///
/// Fails as [`install`](crate::install) would, except for what only reading the images and the whole patch can tell: bytes
/// that are damaged and what coders look back at.
pub fn plan(store: &Snapshot, manifest: &Manifest, request: &Request) -> Result<Plan, Error> {
    let (outcome, slot, anew) = match course(store, manifest, request)? {
        Course::IsActive(slot) => (Outcome::WasActive, slot, None),
        Course::IsThere(slot) => (Outcome::WasThere, slot, None),
        Course::Apply(anew) => (Outcome::Applied, anew.slot, Some(anew)),
    };
    let (component, target) = (&manifest.component, target(manifest));
    let is_anew = anew.is_some();
    let (source, space) = anew.map_or((None, None), |Anew { source, space, .. }| (source, Some(space)));
    let fresh = if is_anew { manifest.fresh_len() } else { 0 };
    let deltas = manifest.chunks.iter().filter(|chunk| chunk.kind != ChunkKind::Changes);
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
        resumed: store.interrupted(component, slot, Some(&target)).unwrap_or(0),
        decoded: deltas.map(|chunk| chunk.decoded).sum(),
        memory: if is_anew { siding_apply::least_memory(manifest) } else { 0 },
        space,
        restart: target.restart,
        advisories: target.advisories,
    })
}
