//! The real disk, but for the operations that a rule makes fail.

use crate::disk::{Access, Attribute, Disk, DiskFile, Real, Room, reading_goes_below};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// The real disk, but for the operations that a rule makes fail.
#[derive(Clone, Debug)]
pub(super) struct Failing {
    pub(super) done: Arc<AtomicU64>,
    pub(super) rule: Rule,
    pub(super) flushed: Arc<Mutex<Vec<PathBuf>>>,
}

#[derive(Clone, Debug)]
pub(super) enum Rule {
    /// Operation number `.0` fails, and all after it.
    From(u64, io::ErrorKind),
    /// Only operation number `.0` fails.
    Once(u64, io::ErrorKind),
    /// What is read of this file from here on, up to the next copy of a record.
    Reads(PathBuf, u64),
    /// Nothing, but it says that it has this much room.
    Small(u64),
    /// While set, what takes room.
    Full(Arc<AtomicBool>),
    /// Removing this.
    Keeps(PathBuf),
    /// Making this symbolic link.
    Links(PathBuf),
}

/// What an operation does, as far as a rule asks.
pub(super) enum Op<'a> {
    Reads(&'a Path, u64),
    Removes(&'a Path),
    TakesRoom,
    Other,
}

#[derive(Debug)]
pub(super) struct FailingFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    disk: Failing,
}

impl Failing {
    pub(super) fn new(rule: Rule) -> Self {
        Self { done: Arc::default(), rule, flushed: Arc::default() }
    }

    pub(super) fn point(&self, op: Op<'_>) -> io::Result<()> {
        let number = self.done.fetch_add(1, Ordering::Relaxed);
        let fails = match (&self.rule, op) {
            (Rule::From(at, kind), _) => (number >= *at).then_some(*kind),
            (Rule::Once(at, kind), _) => (number == *at).then_some(*kind),
            (Rule::Reads(bad, from), Op::Reads(path, offset)) => {
                (bad == path && offset == *from).then_some(io::ErrorKind::Other)
            }
            (Rule::Full(full), Op::TakesRoom) => {
                full.load(Ordering::Relaxed).then_some(io::ErrorKind::StorageFull)
            }
            (Rule::Keeps(kept), Op::Removes(path)) => {
                (kept == path).then_some(io::ErrorKind::PermissionDenied)
            }
            (Rule::Reads(..) | Rule::Full(_) | Rule::Small(_) | Rule::Keeps(_) | Rule::Links(_), _) => None,
        };
        fails.map_or(Ok(()), |kind| Err(kind.into()))
    }
}

impl Failing {
    fn below(&self) -> &Real {
        &Real
    }
}

impl Disk for Failing {
    reading_goes_below!();
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        match access {
            // To fail to read an image spoils nothing, and a store goes on after it.
            Access::Read => {}
            Access::New(_) => self.point(Op::TakesRoom)?,
            Access::Existing | Access::Alone | Access::Log | Access::Directory => self.point(Op::Other)?,
        }
        let (path, disk) = (path.to_owned(), self.clone());
        Ok(Box::new(FailingFile { file: Real.open(&path, access)?, path, disk }))
    }
    fn make_directory(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.point(Op::TakesRoom).and_then(|()| Real.make_directory(path, mode))
    }
    fn make_symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        if matches!(&self.rule, Rule::Links(stuck) if stuck == path) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.point(Op::TakesRoom).and_then(|()| Real.make_symlink(target, path))
    }
    fn make_hard_link(&self, existing: &Path, path: &Path) -> io::Result<()> {
        self.point(Op::TakesRoom).and_then(|()| Real.make_hard_link(existing, path))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.point(Op::Other).and_then(|()| Real.rename(from, to))
    }
    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        self.point(Op::Removes(path)).and_then(|()| Real.remove_tree(path))
    }
    fn set(&self, path: &Path, attribute: Attribute<'_>) -> io::Result<()> {
        self.point(Op::Other).and_then(|()| Real.set(path, attribute))
    }
    fn room(&self, path: &Path) -> io::Result<Room> {
        match &self.rule {
            Rule::Small(free) => Ok(Room { free: *free, shares_blocks: false }),
            _ => Real.room(path),
        }
    }
}

impl DiskFile for FailingFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if let Rule::Reads(..) = self.disk.rule {
            self.disk.point(Op::Reads(&self.path, offset))?;
        }
        self.file.read_at(offset, out)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let grows = offset + bytes.len() as u64 > self.file.len()?;
        if let Err(error) = self.disk.point(if grows { Op::TakesRoom } else { Op::Other }) {
            // A write that fails may have done a part.
            self.file.write_at(offset, &bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.file.write_at(offset, bytes)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.point(Op::Other).and_then(|()| self.file.set_len(len))
    }
    fn copy_from(&self, source: &Path, len: u64) -> io::Result<()> {
        self.disk.point(Op::TakesRoom).and_then(|()| self.file.copy_from(source, len))
    }
    fn flush(&self) -> io::Result<()> {
        self.disk.flushed.lock().unwrap().push(self.path.clone());
        self.disk.point(Op::Other).and_then(|()| self.file.flush())
    }
    fn flush_filesystem(&self) -> io::Result<()> {
        self.disk.point(Op::Other).and_then(|()| self.file.flush_filesystem())
    }
    fn forget_cache(&self) -> io::Result<()> {
        self.file.forget_cache()
    }
    fn is_device(&self) -> bool {
        self.file.is_device()
    }
}
