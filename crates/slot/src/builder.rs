//! Writes one image: the bytes an applier makes, the rest from the source, then everything else there is to a
//! tree; flushes it, reads it back, and compares.
//!
//! A [`Builder`] is used by staging, by `init`, and on its own where there is no store. It makes its output
//! anew and refuses to touch anything that is there, except for a block device, which is written in place.
//! While a tree is being built its directories have mode 0700 and its files 0600, whatever they will have, so
//! that nobody but the owner can put anything in the way; every file is opened with `O_EXCL` or `O_NOFOLLOW`.
//! That, and a [`Tree`](siding_image::Tree)'s promise that every parent is a directory of the same tree, is why
//! no write can leave the output.
//!
//! Memory is bounded: no file is held whole, one is open at a time.

use crate::disk::{Access, Disk, DiskFile, Real, written_parts};
use crate::{Error, Result};
use siding_image::{Content, Digest, FileRef, Identity, Image, Node, Sink};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod compare;
mod finish;

/// An image being written at a path.
#[derive(Debug)]
pub struct Builder {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    plan: Option<Plan>,
}

/// What is to be written, and how far it has come.
#[derive(Debug)]
struct Plan {
    target: Content,
    /// The contents that are written, in order.
    fresh: Vec<Fresh>,
    /// Files that have all their bytes, or will when the open one is done, by what they hold.
    placed: BTreeMap<Digest, PathBuf>,
    /// The fresh content being written, and its file.
    open: Option<(usize, Box<dyn DiskFile>)>,
    /// Held from before the first write, so that a flush through it reports every error since.
    anchor: Box<dyn DiskFile>,
}

#[derive(Debug)]
struct Fresh {
    content: FileRef,
    path: PathBuf,
}

impl Builder {
    /// Begins an image at `path`, where nothing must be, or a block device. Writes nothing yet.
    pub fn create(path: &Path) -> Result<Self> {
        Self::on(Arc::new(Real), path)
    }

    pub(crate) fn on(disk: Arc<dyn Disk>, path: &Path) -> Result<Self> {
        use std::os::unix::fs::FileTypeExt;
        let there = std::fs::symlink_metadata(path);
        match there {
            Ok(meta) if !meta.file_type().is_block_device() => {
                Err(Error::io("create", path, io::ErrorKind::AlreadyExists.into()))
            }
            _ => Ok(Self { disk, root: path.to_owned(), plan: None }),
        }
    }

    /// Where the image is being written.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// What the image will be, once begun.
    pub(crate) fn target(&self) -> Option<&Content> {
        self.plan.as_ref().map(|plan| &plan.target)
    }

    /// Puts everything in place that was not written: contents that only `source` has, links, owners (as
    /// root), attributes, modes and times; flushes; reads everything back and compares it with the target.
    ///
    /// Once this returned Ok, the image survives a power cut, bit for bit; whether its *name* does is up to
    /// whoever flushes the directory it is in. After an error the output is of no use and is best removed.
    ///
    /// Owners, and attributes in `trusted.` and `security.`, are set and compared only as root.
    pub fn finish(mut self, source: Option<&Image>) -> Result<Identity> {
        let unbegun = || Error::Misused { path: self.root.clone(), what: "begin was not called" };
        let plan = self.plan.take().ok_or_else(unbegun)?;
        let identity = plan.target.identity();
        finish::finish(self.disk.as_ref(), &self.root, plan, source)?;
        Ok(identity)
    }

    fn begin_plan(&mut self, target: &Content, fresh: &[FileRef]) -> Result<()> {
        if self.plan.is_some() {
            return Err(self.misused("begin was called twice"));
        }
        let fresh = self.place(target, fresh)?;
        let disk = self.disk.as_ref();
        let anchor = match target {
            Content::File(file) => begin_file(disk, &self.root, file.size)?,
            Content::Tree(tree) => begin_tree(disk, &self.root, tree)?,
        };
        self.plan = Some(Plan { target: target.clone(), fresh, placed: BTreeMap::new(), open: None, anchor });
        Ok(())
    }

    /// Finds, for each fresh content, the first path of the target that has it.
    fn place(&self, target: &Content, fresh: &[FileRef]) -> Result<Vec<Fresh>> {
        let homes: BTreeMap<FileRef, PathBuf> = match target {
            Content::File(file) => [(*file, self.root.clone())].into(),
            Content::Tree(tree) => {
                tree.contents().into_iter().map(|(path, file)| (file, below(&self.root, path))).collect()
            }
        };
        let home = |content: &FileRef| {
            let path = homes.get(content).cloned();
            let path = path.ok_or_else(|| self.misused("a fresh content is not in the target"))?;
            Ok(Fresh { content: *content, path })
        };
        fresh.iter().map(home).collect()
    }

    /// The file of fresh content `blob`, checked to have room for `len` bytes at `offset`.
    fn file(&mut self, blob: usize, offset: u64, len: usize) -> Result<&dyn DiskFile> {
        let misused = |what| Error::Misused { path: self.root.clone(), what };
        let plan = self.plan.as_mut().ok_or_else(|| misused("begin was not called"))?;
        let fresh = plan.fresh.get(blob).ok_or_else(|| misused("there is no such fresh content"))?;
        if offset.checked_add(len as u64).is_none_or(|end| end > fresh.content.size) {
            return Err(misused("bytes are beyond the end of their content"));
        }
        match plan.open.take() {
            Some((open, file)) if open == blob => plan.open = Some((blob, file)),
            _ => plan.open = Some((blob, plan.open_fresh(self.disk.as_ref(), blob)?)),
        }
        plan.open.as_ref().map(|(_, file)| file.as_ref()).ok_or_else(|| misused("no content is open"))
    }

    fn misused(&self, what: &'static str) -> Error {
        Error::Misused { path: self.root.clone(), what }
    }
}

impl Plan {
    /// Opens the file of a fresh content, and makes it if this is the first time.
    fn open_fresh(&mut self, disk: &dyn Disk, blob: usize) -> Result<Box<dyn DiskFile>> {
        let Some(fresh) = self.fresh.get(blob) else {
            return Err(Error::Misused { path: PathBuf::new(), what: "there is no such fresh content" });
        };
        let io = |e| Error::io("open for writing", &fresh.path, e);
        // A file image was made by `begin`.
        let exists =
            matches!(self.target, Content::File(_)) || self.placed.contains_key(&fresh.content.digest);
        let file = match exists {
            true => disk.open(&fresh.path, Access::Existing).map_err(io)?,
            false => new_file(disk, &fresh.path, fresh.content.size)?,
        };
        self.placed.insert(fresh.content.digest, fresh.path.clone());
        Ok(file)
    }
}

impl Sink for Builder {
    fn begin(&mut self, target: &Content, fresh: &[FileRef]) -> io::Result<()> {
        Ok(self.begin_plan(target, fresh)?)
    }

    fn write_at(&mut self, blob: usize, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = self.file(blob, offset, bytes.len())?;
        written_parts(offset, bytes, file.is_device())
            .into_iter()
            .try_for_each(|(offset, part)| file.write_at(offset, part))
    }

    fn read_at(&mut self, blob: usize, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file(blob, offset, out.len())?.read_at(offset, out)
    }
}

/// Removes the image at `path`, finished or not, with all that is below it; follows no link, and nothing there is
/// fine. Directories that forbid their owner to empty them are made writable first.
///
/// Says nothing about a power cut: what was removed may be back after one.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("half-built");
/// std::fs::create_dir(&path)?;
/// siding_slot::discard(&path)?;
/// assert!(!path.exists());
/// # Ok(())
/// # }
/// ```
pub fn discard(path: &Path) -> Result<()> {
    Real.remove_tree(path).map_err(|e| Error::io("remove", path, e))
}

fn begin_file(disk: &dyn Disk, root: &Path, size: u64) -> Result<Box<dyn DiskFile>> {
    if std::fs::symlink_metadata(root).is_err() {
        return new_file(disk, root, size);
    }
    let io = |e| Error::io("open for writing", root, e);
    let device = disk.open(root, Access::Existing).map_err(io)?;
    let has = device.len().map_err(io)?;
    if !device.is_device() {
        return Err(Error::io("create", root, io::ErrorKind::AlreadyExists.into()));
    }
    if has < size {
        return Err(Error::TooSmall { path: root.to_owned(), has, needs: size });
    }
    Ok(device)
}

fn begin_tree(disk: &dyn Disk, root: &Path, tree: &siding_image::Tree) -> Result<Box<dyn DiskFile>> {
    if !is_root() {
        readable_by_owner(root, tree)?;
    }
    for entry in tree.entries() {
        if let Node::Directory(_) = entry.node {
            let path = below(root, &entry.path);
            disk.make_directory(&path, 0o700).map_err(|e| Error::io("make the directory", &path, e))?;
        }
    }
    disk.open(root, Access::Directory).map_err(|e| Error::io("open", root, e))
}

/// What only root can read back is refused before anything is written.
fn readable_by_owner(root: &Path, tree: &siding_image::Tree) -> Result<()> {
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

/// A new file of `size` zeros that takes no space yet.
fn new_file(disk: &dyn Disk, path: &Path, size: u64) -> Result<Box<dyn DiskFile>> {
    let file = disk.open(path, Access::New(0o600)).map_err(|e| Error::io("create", path, e))?;
    file.set_len(size).map_err(|e| Error::io("set the length of", path, e))?;
    Ok(file)
}

/// The place of a tree's path below its root.
fn below(root: &Path, path: &[u8]) -> PathBuf {
    if path.is_empty() { root.to_owned() } else { root.join(OsStr::from_bytes(path)) }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(test)]
mod tests;
