//! What an interrupted attempt left of an image, and how a [`Builder`](super::Builder) goes on with it.
//!
//! Only the fresh contents are kept, each in a file of its full length. Everything else that a first attempt puts
//! in place comes after them and is quickly made again, so it is removed; so is what does not belong there. An
//! attempt that was killed while it finished may have given things their last owners and modes: those that
//! are kept become the owner's alone again. What is kept may hold any bytes: the applier reads back what it goes
//! on from, and the end compares all.

use super::{Fresh, Plan, below, is_block_device, is_root};
use crate::disk::{Access, Attribute, Disk, Seen};
use crate::space::blocks;
use crate::{Error, Result};
use siding_image::{Checkpoint, Content, Digest, Node, Tree};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What can be gone on with.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    /// The claims that what is there does not contradict, the furthest first; never empty.
    pub(super) claims: Vec<Checkpoint>,
    /// The fresh contents that have a file.
    pub(super) placed: BTreeMap<Digest, PathBuf>,
    /// How much room their files take up already, in bytes.
    pub(super) bytes: u64,
}

/// Clears the leftovers at `root` of all but fresh contents. `None` if they cannot be gone on with: then
/// everything there is removed.
pub(super) fn take_up(
    disk: &dyn Disk,
    root: &Path,
    target: &Content,
    fresh: &[Fresh],
    claims: Vec<Checkpoint>,
) -> Result<Option<Leftovers>> {
    let left = match target {
        Content::File(_) => keep_file(disk, root, fresh)?,
        Content::Tree(tree) => keep_tree(disk, root, tree, fresh)?,
    };
    let left = left.map(|left| Leftovers { claims: possible(claims, &left, fresh), ..left });
    match left.filter(|left| !left.claims.is_empty()) {
        Some(left) => Ok(Some(left)),
        None => {
            // A device stays where it is; every byte of it that counts is written again.
            if !is_block_device(disk, root) {
                disk.remove_tree(root).map_err(|e| Error::io("clear", root, e))?;
            }
            Ok(None)
        }
    }
}

/// The claims that speak only of what has a file, the furthest first.
fn possible(mut claims: Vec<Checkpoint>, left: &Leftovers, fresh: &[Fresh]) -> Vec<Checkpoint> {
    let sizes = fresh.iter().map(|fresh| fresh.content);
    let sizes = sizes.take_while(|file| file.size == 0 || left.placed.contains_key(&file.digest));
    let there = sizes.fold(0_u64, |sum, file| sum.saturating_add(file.size));
    claims.retain(|claim| claim.written <= there);
    claims.sort_by_key(|claim| std::cmp::Reverse((claim.written, claim.chunks)));
    claims.dedup();
    claims
}

fn keep_file(disk: &dyn Disk, root: &Path, fresh: &[Fresh]) -> Result<Option<Leftovers>> {
    // Without fresh bytes it is a copy of the source, or a part of one.
    let Some(fresh) = fresh.first() else { return Ok(None) };
    let mut left = Leftovers::default();
    if is_block_device(disk, root) {
        left.placed.insert(fresh.content.digest, root.to_owned());
        left.bytes = fresh.content.size;
        return Ok(Some(left));
    }
    Ok(keep_content(disk, root, fresh, &mut left)?.filter(|kept| *kept).map(|_| left))
}

fn keep_tree(disk: &dyn Disk, root: &Path, tree: &Tree, fresh: &[Fresh]) -> Result<Option<Leftovers>> {
    let homes: BTreeMap<&Path, &Fresh> = fresh.iter().map(|fresh| (fresh.path.as_path(), fresh)).collect();
    let directories = tree.entries().iter().filter(|entry| matches!(entry.node, Node::Directory(_)));
    let directories: BTreeSet<PathBuf> = directories.map(|entry| below(root, &entry.path)).collect();
    let mut left = Leftovers::default();
    // A path comes after its parent's, which is open to its owner by then.
    for directory in &directories {
        match look(disk, directory)? {
            Some(meta) if meta.is_directory() => own(disk, directory, &meta, 0o700)?,
            _ => return Ok(None),
        }
        let io = |e| Error::io("list", directory, e);
        for name in disk.list(directory).map_err(io)? {
            let path = directory.join(name);
            if let Some(fresh) = homes.get(path.as_path()) {
                if keep_content(disk, &path, fresh, &mut left)?.is_none() {
                    return Ok(None);
                }
            } else if !directories.contains(&path) {
                disk.remove_tree(&path).map_err(|e| Error::io("clear", &path, e))?;
            }
        }
    }
    Ok(Some(left))
}

/// Keeps the file of a fresh content and says so; removes one of another length, as a power cut leaves it, and one
/// that the kernel lets nobody write any more. `None` if it is no file.
fn keep_content(disk: &dyn Disk, path: &Path, fresh: &Fresh, left: &mut Leftovers) -> Result<Option<bool>> {
    let Some(meta) = look(disk, path)?.filter(Seen::is_file) else { return Ok(None) };
    let is_protected = disk.protected(path).is_ok_and(|digest| digest.is_some());
    if meta.len != fresh.content.size || is_protected {
        disk.remove_tree(path).map_err(|e| Error::io("clear", path, e))?;
        return Ok(Some(false));
    }
    own(disk, path, &meta, 0o600)?;
    left.placed.insert(fresh.content.digest, path.to_owned());
    let taken = meta.taken.min(blocks(meta.len));
    left.bytes = left.bytes.saturating_add(taken);
    Ok(Some(true))
}

/// Takes back what an attempt that was killed while it finished has given away.
fn own(disk: &dyn Disk, path: &Path, meta: &Seen, mode: u32) -> Result<()> {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if is_root() && meta.owner != (user, group) {
        let owner = Attribute::Owner(user, group);
        disk.set(path, owner).map_err(|e| Error::io("set the owner of", path, e))?;
    }
    if meta.mode != mode {
        disk.set(path, Attribute::Mode(mode)).map_err(|e| Error::io("set the mode of", path, e))?;
    }
    Ok(())
}

fn look(disk: &dyn Disk, path: &Path) -> Result<Option<Seen>> {
    disk.find(path).map_err(|e| Error::io("look at", path, e))
}

impl Plan {
    /// Forgets what was left from `offset` of fresh content `blob` on: what is not written again is zeros.
    pub(super) fn forget_from(&mut self, disk: &dyn Disk, blob: usize, offset: u64) -> Result<()> {
        self.open = None;
        for (number, fresh) in self.fresh.iter().enumerate().skip(blob) {
            let (path, size) = (&fresh.path, fresh.content.size);
            let is_image = matches!(self.target, Content::File(_));
            if !self.placed.contains_key(&fresh.content.digest) {
                continue;
            }
            if is_image || number == blob && offset > 0 {
                let io = |e| Error::io("cut", path, e);
                let file = disk.open(path, Access::Existing).map_err(io)?;
                let cut = if number == blob { offset.min(size) } else { 0 };
                // On a device what follows is written again, zeros and all.
                if !file.is_device() {
                    file.set_len(cut).and_then(|()| file.set_len(size)).map_err(io)?;
                }
            } else {
                disk.remove_tree(path).map_err(|e| Error::io("clear", path, e))?;
                self.placed.remove(&fresh.content.digest);
            }
        }
        let before = self.fresh.iter().take(blob).map(|fresh| fresh.content.size);
        self.resumed = before.fold(offset, u64::saturating_add);
        self.left = Left::Known;
        Ok(())
    }
}

/// Whether an interrupted attempt left something, and from where on it was forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    Nothing,
    /// It may hold anything anywhere.
    Unknown,
    /// What was not gone on from was forgotten.
    Known,
}
