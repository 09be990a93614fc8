//! What follows from the record. Everything here may be done again without harm.

use crate::disk::Disk;
use crate::layout::{Home, Layout};
use crate::{Error, Kind, Result};
use siding_image::Component;
use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::path::Path;

/// Points a link at `wanted`, unless it does already; says whether it changed it.
///
/// A reader finds the old image or the new one at every moment; but nothing, rather than an image that was left,
/// on a disk so full that it has no room for the link beside the old one nor in its place. A power cut may undo it
/// until the directory is flushed; then opening the store does it again.
pub(super) fn set_current(disk: &dyn Disk, link: &Path, wanted: &Path) -> Result<bool> {
    if disk.read_link(link).is_ok_and(|target| target == wanted) {
        return Ok(false);
    }
    // No component's name begins with a dot.
    let mut name = OsString::from(".");
    name.push(link.file_name().unwrap_or_default());
    let aside = link.with_file_name(name);
    let io = |e| Error::io("set the link", link, e);
    let made = match disk.make_symlink(wanted, &aside) {
        // Somebody removed all links, and the directory that they are in.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let dir = link.parent().unwrap_or(link);
            disk.make_directory(dir, 0o755)
                .and_then(|()| disk.flush_directory(dir.parent().unwrap_or(dir)))
                .and_then(|()| disk.make_symlink(wanted, &aside))
        }
        // One that a process left which was killed.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove_tree(&aside).and_then(|()| disk.make_symlink(wanted, &aside))
        }
        made => made,
    };
    match made.map_err(io) {
        Err(error) if error.kind() == Kind::NoSpace => {
            if disk.find(link).map_err(io)?.is_some_and(|seen| seen.is_directory()) {
                return Err(io(io::ErrorKind::IsADirectory.into()));
            }
            disk.remove_tree(link).map_err(io)?;
            disk.make_symlink(wanted, link).map_err(io)?;
        }
        made => {
            made?;
            // One that found something in its place is not left beside it.
            let moved = disk.rename(&aside, link);
            moved.inspect_err(|_| drop(disk.remove_tree(&aside))).map_err(io)?;
        }
    }
    Ok(true)
}

/// Removes the files of a slot, if there are any. Says nothing about a power cut: they go when next opened.
pub(super) fn discard(disk: &dyn Disk, layout: &Layout, component: &Component, home: Home) -> Result<()> {
    let dir = layout.slot(component, home);
    disk.remove_tree(&dir).map_err(|e| Error::io("clear", &dir, e))
}

/// The bases that lie in a component's directory, whole or not: the one in use, those before it that are still there,
/// and the one after it that is being written, or was when the power went.
pub(super) fn bases(disk: &dyn Disk, layout: &Layout, component: &Component) -> Result<Vec<Home>> {
    let dir = layout.component(component);
    let names = match disk.list(&dir) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            vec![]
        }
        names => names.map_err(|e| Error::io("list", &dir, e))?,
    };
    let homes = names.iter().filter_map(|name| name.to_str()?.parse::<Home>().ok());
    Ok(homes.filter(|home| matches!(home, Home::Base(_))).collect())
}

/// Those of them that were frozen, and so are whole.
pub(super) fn whole_bases(disk: &dyn Disk, layout: &Layout, component: &Component) -> Result<Vec<Home>> {
    let is_whole = |home: &Home| is_frozen(disk, &layout.slot(component, *home));
    Ok(bases(disk, layout, component)?.into_iter().filter(is_whole).collect())
}

/// Whether a slot's directory was frozen, which comes after all that is in it was flushed and compared.
pub(super) fn is_frozen(disk: &dyn Disk, slot: &Path) -> bool {
    disk.look(slot).is_ok_and(|seen| seen.is_directory() && seen.mode & 0o222 == 0)
}

/// How much disk a directory takes; a file with several names counts once.
pub(super) fn disk_usage(disk: &dyn Disk, path: &Path) -> Result<u64> {
    fn walk(disk: &dyn Disk, path: &Path, met: &mut HashSet<(u64, u64)>) -> io::Result<u64> {
        let Some(seen) = disk.find(path)? else { return Ok(0) };
        let mut bytes = if met.insert(seen.id) { seen.taken } else { 0 };
        if seen.is_directory() {
            // What may not be listed is not counted; it is removed all the same.
            for name in disk.list(path).unwrap_or_default() {
                bytes = bytes.saturating_add(walk(disk, &path.join(name), met)?);
            }
        }
        Ok(bytes)
    }
    walk(disk, path, &mut HashSet::new()).map_err(|e| Error::io("measure", path, e))
}
