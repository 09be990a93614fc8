//! The first steps of a [`Builder`](super::Builder): a file of its full length, or the directories of a tree.

use super::{below, new_file};
use crate::disk::{Access, Disk, DiskFile};
use crate::{Error, Result};
use siding_image::{Node, Tree};
use std::io;
use std::path::Path;

pub(super) fn file(disk: &dyn Disk, root: &Path, size: u64) -> Result<Box<dyn DiskFile>> {
    if disk.look(root).is_err() {
        return new_file(disk, root, size);
    }
    let io = |e| Error::io("open for writing", root, e);
    let device = disk.open(root, Access::Alone).map_err(io)?;
    let has = device.len().map_err(io)?;
    if !device.is_device() {
        return Err(Error::io("create", root, io::ErrorKind::AlreadyExists.into()));
    }
    if has < size {
        return Err(Error::TooSmall { path: root.to_owned(), has, needs: size });
    }
    Ok(device)
}

pub(super) fn tree(disk: &dyn Disk, root: &Path, tree: &Tree) -> Result<Box<dyn DiskFile>> {
    for entry in tree.entries() {
        if let Node::Directory(_) = entry.node {
            let path = below(root, &entry.path);
            disk.make_directory(&path, 0o700).map_err(|e| Error::io("make the directory", &path, e))?;
        }
    }
    disk.open(root, Access::Directory).map_err(|e| Error::io("open", root, e))
}

/// What only root can read back is refused before anything is written.
pub(super) fn readable_by_owner(root: &Path, tree: &Tree) -> Result<()> {
    let needs = |node: &Node| match node {
        Node::Directory(meta) => Some((meta.mode, 0o500)),
        Node::File(meta, _) => Some((meta.mode, 0o400)),
        Node::Symlink(..) | Node::HardLink(_) => None,
    };
    for entry in tree.entries() {
        if let Some((mode, needed)) = needs(&entry.node).filter(|(mode, needed)| mode & needed != *needed) {
            debug_assert_ne!(needed, 0);
            return Err(Error::Unreadable { path: below(root, &entry.path), mode });
        }
    }
    Ok(())
}
