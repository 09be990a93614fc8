//! fs-verity: at the seal the kernel is told to hold each file to the digest that was signed; later it is asked
//! whether it does, which saves reading.
//!
//! A file's digest in an image *is* its fs-verity digest. Once the kernel enforces it, nobody can write the file any
//! more, root included, and every read gives those bytes or fails. It can still be removed, renamed and linked, and
//! its owner, mode, times and attributes be set. Where the filesystem or the kernel has no fs-verity nothing
//! of this happens, and nothing depends on it.

use crate::builder::{below, compare, is_root};
use crate::disk::{Access, Attribute, Disk};
use crate::{Error, Kind, Result, Slot, Snapshot};
use siding_image::{Component, Content, Digest, FileRef, Image, Node, Tree};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// How an image was found to be what it should be: by files, whatever their names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Files that the kernel holds to their digests, so that none of them was read. Other bytes than the right ones
    /// cannot be read of them; whether the medium can still read all is not known.
    pub enforced: u64,
    /// Files of which every byte was read.
    pub read: u64,
}

impl Snapshot {
    /// Makes sure that the image in a slot is the one that was sealed. Writes nothing.
    ///
    /// Of a file that the kernel holds to the recorded digest nothing is read. All others are read in full, from the
    /// medium as far as the system can be told to forget what it has cached, and compared. So is all metadata
    /// of a tree; owners, and attributes that only root can set, only if root sealed it and root asks.
    ///
    /// [`Image::check`] on [`image`](Self::image) reads each content of the image, whoever enforces it.
    ///
    /// Fails with [`Error::Image`] or [`Error::NotAsWritten`] if something differs.
    pub fn verify(&self, component: &Component, slot: Slot) -> Result<Verified> {
        let image = self.image(component, slot)?;
        match image.content() {
            Content::File(file) => verify_file(self.disk.as_ref(), &image, *file),
            Content::Tree(tree) => {
                let dir = self.slot_dir(component, slot);
                let sealer = self.disk.look(&dir).map_err(|e| Error::io("look at", &dir, e))?.owner;
                verify_tree(self.disk.as_ref(), image.root(), tree, is_root() && sealer.0 == 0)
            }
        }
    }

    /// What of a sealed slot's image is plainly gone: its file or directory, a part of its length, or its description. Reads
    /// no image, and what cannot be looked at counts as there.
    pub(crate) fn gone(&self, component: &Component, slot: Slot) -> Option<String> {
        let path = self.image_path(component, slot);
        let image = match self.image(component, slot) {
            Err(error @ (Error::Refused(_) | Error::Image(_))) => return Some(error.to_string()),
            Err(Error::Io { source, path, .. }) if is_nothing(&source) => {
                return Some(format!("{} is missing", path.display()));
            }
            Err(_) => return None,
            Ok(image) => image,
        };
        match (self.disk.look(&path), image.content()) {
            (Err(error), _) => is_nothing(&error).then(|| format!("{} is missing", path.display())),
            (Ok(seen), Content::Tree(_)) if seen.is_directory() => None,
            (Ok(seen), Content::File(_)) if seen.is_block_device() => None,
            (Ok(seen), Content::File(file)) if seen.is_file() && seen.len == file.size => None,
            (Ok(seen), Content::File(file)) if seen.is_file() => {
                let (has, needs) = (seen.len, file.size);
                Some(format!("{} has {has} bytes instead of {needs}", path.display()))
            }
            (Ok(_), _) => Some(format!("{} is something else", path.display())),
        }
    }
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn verify_file(disk: &dyn Disk, image: &Image, file: FileRef) -> Result<Verified> {
    if is_enforced(disk, image.root(), |digest| *digest == file.digest).is_some() {
        return Ok(Verified { enforced: 1, read: 0 });
    }
    disk.check(image)?;
    Ok(Verified { enforced: 0, read: 1 })
}

fn verify_tree(disk: &dyn Disk, root: &Path, tree: &Tree, as_root: bool) -> Result<Verified> {
    let digests: BTreeSet<Digest> = tree.files().map(|(_, file)| file.digest).collect();
    let mut verified = Verified::default();
    let got = disk.scan_with(root, &mut |path| {
        // Whether it is the right one of them is seen when all is compared.
        let enforced = is_enforced(disk, path, |digest| digests.contains(digest));
        let count = if enforced.is_some() { &mut verified.enforced } else { &mut verified.read };
        *count = count.saturating_add(1);
        enforced
    })?;
    compare(root, tree, &got, as_root)?;
    Ok(verified)
}

/// The digest that the kernel enforces for a file, if that is one of those meant. One that was made by other rules is
/// none: then the bytes decide, and they are made to come from the medium. So they do if the kernel cannot be asked.
fn is_enforced(disk: &dyn Disk, path: &Path, is_meant: impl Fn(&Digest) -> bool) -> Option<Digest> {
    let enforced = disk.protected(path).ok().flatten().filter(is_meant);
    if enforced.is_none() {
        // What has to be read is read; that tells better what is wrong.
        let _ = disk.resolve(path).and_then(|path| disk.open(&path, Access::Read)?.forget_cache());
    }
    enforced
}

/// Has the kernel hold every file of a tree to its digest, as far as it can; nobody must have one open for writing.
///
/// Once this returned Ok, what it did survives a power cut, and the tree is still the one it was.
pub(crate) fn protect_tree(disk: &dyn Disk, root: &Path, tree: &Tree) -> Result<()> {
    let mut any = false;
    for entry in tree.entries() {
        let Node::File(meta, file) = &entry.node else { continue };
        let path = below(root, &entry.path);
        if protect(disk, &path, file.digest)? {
            // ext4 takes it for a change of the file.
            let modified = Attribute::Modified(meta.seconds, meta.nanoseconds);
            disk.set(&path, modified).map_err(|e| Error::io("set the time of", &path, e))?;
            any = true;
        }
    }
    if any {
        // The kernel has written what it checks by, and said so if that failed; this makes the journal agree.
        let anchor = disk.open(root, Access::Directory);
        anchor.and_then(|anchor| anchor.flush_filesystem()).map_err(|e| Error::io("flush", root, e))?;
        // Whatever else a filesystem may do to a file by it: that costs no reading of contents any more.
        verify_tree(disk, root, tree, is_root())?;
    }
    Ok(())
}

/// Has the kernel hold a file to its digest, and compares that with `expected`; `false` if it cannot, of which a full
/// disk is one reason. What it did may be undone by a power cut until the file is flushed.
pub(crate) fn protect(disk: &dyn Disk, path: &Path, expected: Digest) -> Result<bool> {
    match disk.protect(path).map_err(|e| Error::io("turn fs-verity on for", path, e)) {
        Ok(Some(got)) if got == expected => Ok(true),
        Ok(Some(got)) => {
            let (expected, got) = (expected.to_string(), got.to_string());
            Err(Error::NotAsWritten { path: path.to_owned(), what: "fs-verity digest", expected, got })
        }
        Ok(None) => Ok(false),
        // The image is whole; to guard it takes room that there is not.
        Err(error) if error.kind() == Kind::NoSpace => Ok(false),
        Err(error) => Err(error),
    }
}
