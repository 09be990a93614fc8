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
//! In a store a builder may go on with what an interrupted attempt left.
//!
//! Memory is bounded: no file is held whole, one is open at a time.

use crate::disk::{Access, Disk, DiskFile, Real, written_parts};
use crate::space::{Holes, Space};
use crate::{Error, Result};
use resume::{Left, Leftovers};
use siding_image::{Checkpoint, Content, Digest, FileRef, Identity, Image, Sink};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod begin;
mod compare;
mod finish;
mod resume;
pub(crate) use compare::compare;

/// An image being written at a path.
#[derive(Debug)]
pub struct Builder {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    plan: Option<Plan>,
    /// What an interrupted attempt claims to have done of this image.
    claims: Vec<Checkpoint>,
    /// How many bytes may turn out to be zeros, which take no space; `None` if nothing is known of that.
    holes: Option<Holes>,
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
    /// What of an interrupted attempt is there.
    left: Left,
    /// How many bytes of it were gone on from.
    resumed: u64,
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
        match disk.find(path) {
            Ok(Some(there)) if !there.is_block_device() => {
                Err(Error::io("create", path, io::ErrorKind::AlreadyExists.into()))
            }
            _ => Ok(Self { disk, root: path.to_owned(), plan: None, claims: Vec::new(), holes: None }),
        }
    }

    /// Goes on with what is at `path`, if an interrupted attempt claims anything of it that can be; else all that
    /// is there is removed. Writes nothing yet.
    pub(crate) fn resume(disk: Arc<dyn Disk>, path: &Path, claims: Vec<Checkpoint>) -> Self {
        Self { disk, root: path.to_owned(), plan: None, claims, holes: None }
    }

    /// Says what the image is made from, so that `begin` can refuse an image that does not fit before it writes
    /// anything. Without this it does not, as it cannot know how much of the image is zeros.
    ///
    /// Whole blocks of zeros take no space, and which of the bytes to come are zeros is not known before. So
    /// as many are taken to be zeros as take no space in `source`, and in a file all by which it grows: what
    /// is refused does not fit even then. Free is what the filesystem gives to users without privileges.
    pub fn made_from(&mut self, source: &Image) {
        self.holes = Some(Holes::of(self.disk.as_ref(), source));
    }

    /// What an image of `target` needs here, and what is free; writes nothing. `fresh` are the contents that
    /// will be written, the others are copied.
    pub fn space(&self, target: &Content, fresh: &[FileRef]) -> Result<Space> {
        Space::of(self.disk.as_ref(), &self.root, target, fresh)
    }

    /// From how many bytes of an interrupted attempt the image was gone on with.
    pub(crate) fn resumed(&self) -> u64 {
        self.plan.as_ref().map_or(0, |plan| plan.resumed)
    }

    /// Once Ok: all that was written survives a power cut, but for the name of the image.
    pub(crate) fn flush(&self) -> Result<()> {
        let Some(plan) = &self.plan else { return Ok(()) };
        let flushed = match plan.target {
            Content::File(_) => plan.anchor.flush(),
            Content::Tree(_) => plan.anchor.flush_filesystem(),
        };
        flushed.map_err(|e| Error::io("flush", &self.root, e))
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
        self.finish_in_place(source)
    }

    /// As [`finish`](Self::finish); after it nothing more can be written.
    pub(crate) fn finish_in_place(&mut self, source: Option<&Image>) -> Result<Identity> {
        let unbegun = || Error::Misused { path: self.root.clone(), what: "begin was not called" };
        let plan = self.plan.take().ok_or_else(unbegun)?;
        let identity = plan.target.identity();
        if !is_block_device(self.disk.as_ref(), &self.root) {
            // Owners, modes and times are set by path.
            self.disk.refuse_mounts(&self.root)?;
        }
        finish::finish(self.disk.as_ref(), &self.root, plan, source)?;
        Ok(identity)
    }

    fn begin_plan(&mut self, target: &Content, fresh: &[FileRef]) -> Result<()> {
        if self.plan.is_some() {
            return Err(self.misused("begin was called twice"));
        }
        let (contents, fresh) = (fresh, self.place(target, fresh)?);
        if let Content::Tree(tree) = target
            && !is_root()
        {
            begin::readable_by_owner(&self.root, tree)?;
        }
        let disk = self.disk.as_ref();
        let left = match std::mem::take(&mut self.claims) {
            claims if claims.is_empty() => None,
            claims => resume::take_up(disk, &self.root, target, &fresh, claims)?,
        };
        self.admit(target, contents, left.as_ref().map_or(0, |left| left.bytes))?;
        let anchor = match (&left, target) {
            (None, Content::File(file)) => begin::file(disk, &self.root, file.size)?,
            (None, Content::Tree(tree)) => begin::tree(disk, &self.root, tree)?,
            (Some(_), target) => {
                let access = match target {
                    Content::File(_) if is_block_device(disk, &self.root) => Access::Alone,
                    Content::File(_) => Access::Existing,
                    Content::Tree(_) => Access::Directory,
                };
                disk.open(&self.root, access).map_err(|e| Error::io("open", &self.root, e))?
            }
        };
        let is_left = if left.is_some() { Left::Unknown } else { Left::Nothing };
        let Leftovers { claims, placed, .. } = left.unwrap_or_default();
        self.claims = claims;
        let target = target.clone();
        self.plan = Some(Plan { target, fresh, placed, open: None, anchor, left: is_left, resumed: 0 });
        Ok(())
    }

    /// Refuses an image that cannot fit, if what it is made from is known. A device has the room it has.
    fn admit(&self, target: &Content, fresh: &[FileRef], there: u64) -> Result<()> {
        let Some(holes) = self.holes else { return Ok(()) };
        if is_block_device(self.disk.as_ref(), &self.root) {
            return Ok(());
        }
        let zeros = holes.in_target(&target.identity());
        let space = self.space(target, fresh)?;
        if space.admit(there, zeros).is_ok() {
            return Ok(());
        }
        // Some filesystems free what was just removed, such as what the slot held, only when they are flushed.
        let flushed = self.disk.open(&space.at, Access::Directory).and_then(|dir| dir.flush_filesystem());
        flushed.map_err(|e| Error::io("flush", &space.at, e))?;
        self.space(target, fresh)?.admit(there, zeros)
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
        if let Some(plan) = self.plan.as_mut().filter(|plan| plan.left == Left::Unknown) {
            // Whoever does not ask what was left begins with nothing left.
            plan.forget_from(self.disk.as_ref(), blob, offset)?;
        }
        let file = self.file(blob, offset, bytes.len())?;
        written_parts(offset, bytes, file.is_device())
            .into_iter()
            .try_for_each(|(offset, part)| file.write_at(offset, part))
    }

    fn read_at(&mut self, blob: usize, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file(blob, offset, out.len())?.read_at(offset, out)
    }

    fn checkpoints(&mut self) -> Vec<Checkpoint> {
        self.claims.clone()
    }

    fn forget_from(&mut self, blob: usize, offset: u64) -> io::Result<()> {
        match self.plan.as_mut().filter(|plan| plan.left != Left::Nothing) {
            Some(plan) => Ok(plan.forget_from(self.disk.as_ref(), blob, offset)?),
            None => Ok(()),
        }
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

/// A new file of `size` zeros that takes no space yet.
fn new_file(disk: &dyn Disk, path: &Path, size: u64) -> Result<Box<dyn DiskFile>> {
    let file = disk.open(path, Access::New(0o600)).map_err(|e| Error::io("create", path, e))?;
    file.set_len(size).map_err(|e| Error::io("set the length of", path, e))?;
    Ok(file)
}

/// The place of a tree's path below its root.
pub(crate) fn below(root: &Path, path: &[u8]) -> PathBuf {
    if path.is_empty() { root.to_owned() } else { root.join(OsStr::from_bytes(path)) }
}

fn is_block_device(disk: &dyn Disk, path: &Path) -> bool {
    disk.look(path).is_ok_and(|there| there.is_block_device())
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(test)]
mod tests;
