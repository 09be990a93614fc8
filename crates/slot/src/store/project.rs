//! What follows from the record. Everything here may be done again without harm.

use crate::disk::Disk;
use crate::layout::Layout;
use crate::{Error, Kind, Result, Slot};
use siding_image::Component;
use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Points `current` at the slot, unless it does already.
///
/// A reader finds the old image or the new one at every moment; but nothing, rather than an image that was left,
/// on a disk so full that it has no room for the link beside the old one nor in its place. Once this returned Ok, a link that it changed
/// survives a power cut; one that a killed process changed may not, and opening the store makes it again.
pub(super) fn set_current(disk: &dyn Disk, layout: &Layout, component: &Component, slot: Slot) -> Result<()> {
    let (link, wanted) = (layout.current(component), Layout::current_target(slot));
    if fs::read_link(&link).is_ok_and(|target| target == wanted) {
        return Ok(());
    }
    let aside = link.with_extension("new");
    let io = |e| Error::io("set the link", &link, e);
    disk.remove_tree(&aside).map_err(io)?;
    match disk.make_symlink(&wanted, &aside).map_err(io) {
        Err(error) if error.kind() == Kind::NoSpace => {
            disk.remove_tree(&link).map_err(io)?;
            disk.make_symlink(&wanted, &link).map_err(io)?;
        }
        made => made.and_then(|()| disk.rename(&aside, &link).map_err(io))?,
    }
    disk.flush_directory(&layout.component(component)).map_err(io)
}

/// Removes the files of a slot, if there are any. Says nothing about a power cut: they go when next opened.
pub(super) fn discard(disk: &dyn Disk, layout: &Layout, component: &Component, slot: Slot) -> Result<()> {
    let dir = layout.slot(component, slot);
    disk.remove_tree(&dir).map_err(|e| Error::io("clear", &dir, e))
}

/// Whether a slot's directory was frozen, which comes after all that is in it was flushed and compared.
pub(super) fn is_frozen(slot: &Path) -> bool {
    fs::symlink_metadata(slot).is_ok_and(|meta| meta.is_dir() && meta.mode() & 0o222 == 0)
}

/// How much disk a directory takes; a file with several names counts once.
pub(super) fn disk_usage(path: &Path) -> Result<u64> {
    fn walk(path: &Path, seen: &mut HashSet<(u64, u64)>) -> io::Result<u64> {
        let meta = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            other => other?,
        };
        let mut bytes =
            if seen.insert((meta.dev(), meta.ino())) { meta.blocks().saturating_mul(512) } else { 0 };
        if meta.is_dir() {
            // What may not be listed is not counted; it is removed all the same.
            for item in fs::read_dir(path).into_iter().flatten() {
                bytes = bytes.saturating_add(walk(&item?.path(), seen)?);
            }
        }
        Ok(bytes)
    }
    walk(path, &mut HashSet::new()).map_err(|e| Error::io("measure", path, e))
}
