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
    /// The slot that holds the image the patch starts from, if it would be carried out.
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
/// Room is told and not judged: a slot is emptied before it is written, and zeros take none.
pub fn plan(store: &Snapshot, manifest: &Manifest, request: &Request) -> Result<Plan, Error> {
    let (outcome, source, slot) = match course(store, manifest, request)? {
        Course::IsActive(slot) => (Outcome::WasActive, None, slot),
        Course::IsThere(slot) => (Outcome::WasThere, None, slot),
        Course::Apply(Anew { source, slot }) => (Outcome::Applied, Some(source), slot),
    };
    let fresh = manifest.fresh_len();
    let space = store.space_for(&manifest.component, fresh)?;
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
