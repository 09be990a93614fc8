//! The second half of a [`Builder`](super::Builder): all but the fresh bytes, then flush and compare.
//!
//! Order matters. Contents first, then links, then metadata, files before directories and the deepest
//! directory first, since a directory's mode may forbid to work in it and work in it changes its time. Owners
//! go before attributes and modes, because changing an owner clears both file capabilities and set-uid.
//!
//! A tree is flushed with one `syncfs` through a directory that was opened before the first write: since
//! Linux 5.8 that reports every failed write-back since, on older ones only some; one `fsync` a file would
//! report each, at a journal commit a file. What decides is the comparison after it, which reads past the
//! cache: a page whose write-back failed is clean, is dropped, and comes back as what the medium has.

use super::{Plan, below, compare, is_root, new_file};
use crate::disk::{Access, Attribute, Disk, DiskFile, Seen};
use crate::{Error, Result};
use siding_image::{Content, Entry, FileRef, Image, Meta, Node, Tree};
use std::path::Path;

pub(super) fn finish(disk: &dyn Disk, root: &Path, mut plan: Plan, source: Option<&Image>) -> Result<()> {
    plan.open = None;
    match plan.target.clone() {
        Content::File(file) => finish_file(disk, root, &plan, file, source),
        Content::Tree(tree) => finish_tree(disk, root, &mut plan, &tree, source),
    }
}

// ---- a file or a block device

fn finish_file(
    disk: &dyn Disk,
    root: &Path,
    plan: &Plan,
    file: FileRef,
    source: Option<&Image>,
) -> Result<()> {
    let output = plan.anchor.as_ref();
    if plan.fresh.is_empty() {
        copy_content(disk, output, root, file, source)?;
    }
    if !output.is_device() {
        disk.set(root, Attribute::Mode(file_mode(disk, source)))
            .map_err(|e| Error::io("set the mode of", root, e))?;
    }
    output.flush().map_err(|e| Error::io("flush", root, e))?;
    output.forget_cache().map_err(|e| Error::io("read back", root, e))?;
    let len = output.len().map_err(|e| Error::io("find the length of", root, e))?;
    if len != file.size && !output.is_device() {
        let (expected, got) = (file.size.to_string(), len.to_string());
        return Err(Error::NotAsWritten { path: root.to_owned(), what: "length", expected, got });
    }
    Ok(disk.check(&Image::assume(root, Content::File(file)))?)
}

/// The mode of a file image is not part of it. It is that of the source, or else 0644.
fn file_mode(disk: &dyn Disk, source: Option<&Image>) -> u32 {
    let seen = source.and_then(|source| disk.resolve(source.root()).and_then(|path| disk.look(&path)).ok());
    seen.filter(Seen::is_file).map_or(0o644, |seen| seen.mode & 0o777)
}

// ---- a tree

fn finish_tree(
    disk: &dyn Disk,
    root: &Path,
    plan: &mut Plan,
    tree: &Tree,
    source: Option<&Image>,
) -> Result<()> {
    (0..plan.fresh.len()).try_for_each(|blob| touch_fresh(disk, plan, blob))?;
    for entry in tree.entries() {
        place(disk, root, plan, entry, source)?;
    }
    let (directories, others): (Vec<_>, Vec<_>) =
        tree.entries().iter().partition(|entry| matches!(entry.node, Node::Directory(_)));
    // A path comes after its parent's, so that the other way round the deepest is first.
    for entry in others.into_iter().chain(directories.into_iter().rev()) {
        set_metadata(disk, root, entry)?;
    }
    plan.anchor.flush_filesystem().map_err(|e| Error::io("flush", root, e))?;
    for (path, _) in tree.files() {
        let path = below(root, path);
        let io = |e| Error::io("read back", &path, e);
        disk.open(&path, Access::Read).and_then(|file| file.forget_cache()).map_err(io)?;
    }
    compare::compare(root, tree, &disk.scan(root)?, is_root())
}

/// A fresh content that nothing was written of is all zeros, or empty; its file is still missing.
fn touch_fresh(disk: &dyn Disk, plan: &mut Plan, blob: usize) -> Result<()> {
    let placed = plan.fresh.get(blob).is_none_or(|fresh| plan.placed.contains_key(&fresh.content.digest));
    if !placed {
        plan.open_fresh(disk, blob)?;
    }
    Ok(())
}

/// Puts one file or link in place, unless it is there.
fn place(disk: &dyn Disk, root: &Path, plan: &mut Plan, entry: &Entry, source: Option<&Image>) -> Result<()> {
    let path = below(root, &entry.path);
    match &entry.node {
        Node::Directory(_) => Ok(()),
        Node::Symlink(_, target) => disk
            .make_symlink(&below(Path::new(""), target), &path)
            .map_err(|e| Error::io("make the symbolic link", &path, e)),
        Node::HardLink(to) => disk
            .make_hard_link(&below(root, to), &path)
            .map_err(|e| Error::io("make the hard link", &path, e)),
        Node::File(_, content) => match plan.placed.get(&content.digest) {
            Some(first) if *first == path => Ok(()),
            Some(first) => {
                let file = new_file(disk, &path, content.size)?;
                file.copy_from(first, content.size).map_err(|e| Error::io("copy to", &path, e))
            }
            None => {
                let file = new_file(disk, &path, content.size)?;
                copy_content(disk, file.as_ref(), &path, *content, source)?;
                plan.placed.insert(content.digest, path);
                Ok(())
            }
        },
    }
}

/// Fills a new file with a content that the source has.
fn copy_content(
    disk: &dyn Disk,
    to: &dyn DiskFile,
    path: &Path,
    content: FileRef,
    source: Option<&Image>,
) -> Result<()> {
    if content.size == 0 {
        return Ok(());
    }
    let missing = || Error::NoContent { path: path.to_owned(), digest: content.digest };
    let blob = source.and_then(|source| source.blob(&content.digest)).ok_or_else(missing)?;
    // An image that a symbolic link names was opened through it; its bytes lie behind it.
    let from = disk.resolve(blob.path()).map_err(|e| Error::io("open", blob.path(), e))?;
    to.copy_from(&from, content.size).map_err(|e| Error::io("copy to", path, e))
}

fn set_metadata(disk: &dyn Disk, root: &Path, entry: &Entry) -> Result<()> {
    let (meta, is_link) = match &entry.node {
        Node::Directory(meta) | Node::File(meta, _) => (meta, false),
        Node::Symlink(meta, _) => (meta, true),
        Node::HardLink(_) => return Ok(()),
    };
    let path = below(root, &entry.path);
    if is_root() {
        let owner = Attribute::Owner(meta.uid, meta.gid);
        disk.set(&path, owner).map_err(|e| Error::io("set the owner of", &path, e))?;
    }
    set_xattrs(disk, &path, meta)?;
    if !is_link {
        let mode = Attribute::Mode(meta.mode.into());
        disk.set(&path, mode).map_err(|e| Error::io("set the mode of", &path, e))?;
    }
    let modified = Attribute::Modified(meta.seconds, meta.nanoseconds);
    disk.set(&path, modified).map_err(|e| Error::io("set the time of", &path, e))
}

/// Sets what the target has, and removes what the place gave (such as an inherited access control list).
fn set_xattrs(disk: &dyn Disk, path: &Path, meta: &Meta) -> Result<()> {
    let io = |e| Error::io("set an extended attribute of", path, e);
    for name in disk.xattr_names(path).map_err(io)? {
        if !meta.xattrs.contains_key(&name) && !name.starts_with(b"security.") {
            disk.set(path, Attribute::NoXattr(&name)).map_err(io)?;
        }
    }
    for (name, value) in &meta.xattrs {
        if is_root() || !compare::needs_root(name) {
            disk.set(path, Attribute::Xattr(name, value)).map_err(io)?;
        }
    }
    Ok(())
}
