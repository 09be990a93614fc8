//! The one door to the disk.
//!
//! Every operation of this crate on a medium is a verb of [`Disk`] or [`DiskFile`], so that a test can count them,
//! fail them, cut the power between any two, and put another world in place of the real one.
//!
//! With the cargo feature `kill-points` each changing operation of [`Real`] counts, and the process kills
//! itself with SIGKILL just before the one whose number, from 1, is in the environment as `SIDING_KILL_AT`.

use crate::Error;
use siding_image::{Digest, Image, Tree};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

mod busy;
mod copy;
mod extent;
mod mounts;
mod real;
mod remove;
mod verity;
pub(crate) use copy::written_parts;
pub(crate) use extent::Extent;
pub(crate) use real::Real;

/// A place with names. No verb but the flushing ones says anything about a power cut.
pub(crate) trait Disk: fmt::Debug + Send + Sync {
    /// Opens the file or directory at `path`, never through a symbolic link at its end.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>>;
    /// Makes a directory; fails if anything is there.
    fn make_directory(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// Makes a symbolic link that says `target`; fails if anything is there.
    fn make_symlink(&self, target: &Path, path: &Path) -> io::Result<()>;
    /// Gives the file at `existing` the further name `path`; fails if anything is there.
    fn make_hard_link(&self, existing: &Path, path: &Path) -> io::Result<()>;
    /// Moves `from` over `to`: at every moment `to` names the old thing or the new one.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes whatever is at `path` and below, following no link; nothing there is fine. If anything is mounted there, it
    /// removes and changes nothing, and fails with [`Error::Mounted`].
    fn remove_tree(&self, path: &Path) -> io::Result<()>;
    /// Sets one attribute of what is at `path`; of a symbolic link itself, not of what it names.
    fn set(&self, path: &Path, attribute: Attribute<'_>) -> io::Result<()>;

    /// What is at `path`, not following a symbolic link at its end. Nothing there is `NotFound`.
    fn look(&self, path: &Path) -> io::Result<Seen>;
    /// A mount point at `path` or below it, if there is one; all that is there is looked at.
    fn mount_below(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        let _ = path;
        Ok(None)
    }
    /// The names in the directory at `path`, in no order.
    fn list(&self, path: &Path) -> io::Result<Vec<OsString>>;
    /// What the symbolic link at `path` says.
    fn read_link(&self, path: &Path) -> io::Result<PathBuf>;
    /// The same thing with every symbolic link on the way, and at its end, followed.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf>;
    /// Which bytes of the machine the device at `path` is, all links followed.
    fn extents(&self, path: &Path) -> io::Result<Vec<Extent>> {
        let id = self.look(&self.resolve(path)?)?.id;
        Ok(vec![Extent::whole(extent::Kind::Device, id)])
    }
    /// The names of the extended attributes of what is at `path`, of a symbolic link itself.
    fn xattr_names(&self, path: &Path) -> io::Result<Vec<Vec<u8>>>;
    /// The description of the directory at `root` with all that is below it; every byte of its files is read.
    fn scan(&self, root: &Path) -> Result<Tree, siding_image::Error>;
    /// As [`scan`](Self::scan), but files need not be read whose digest `known` gives.
    fn scan_with(
        &self,
        root: &Path,
        known: &mut dyn FnMut(&Path) -> Option<Digest>,
    ) -> Result<Tree, siding_image::Error> {
        let _ = known;
        self.scan(root)
    }
    /// Reads every byte of an image and compares it with what the image says it is.
    fn check(&self, image: &Image) -> Result<(), siding_image::Error>;
    /// Takes the lock that is the file at `path`, made if missing; `None` if it is taken. Dropping it lets go.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>>;

    /// Turns fs-verity on for the file at `path`, which nobody must have open for writing, and gives the digest that the
    /// kernel enforces from now on, whoever turned it on. `None` if it cannot, or may not, or does so by other rules
    /// than a digest of an image has. A flush of the file or its filesystem makes it last.
    fn protect(&self, path: &Path) -> io::Result<Option<Digest>> {
        let _ = path;
        Ok(None)
    }
    /// The digest that the kernel enforces for the file at `path`: every read gives bytes that have it, or fails.
    /// `None` if it does not.
    fn protected(&self, path: &Path) -> io::Result<Option<Digest>> {
        let _ = path;
        Ok(None)
    }

    /// All of the file at `path`, which is not followed if it is a symbolic link.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path, Access::Read)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?];
        file.read_at(0, &mut bytes)?;
        Ok(bytes)
    }

    /// As [`look`](Self::look); `None` if nothing is there.
    fn find(&self, path: &Path) -> io::Result<Option<Seen>> {
        match self.look(path) {
            Ok(seen) => Ok(Some(seen)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// How much more can be written to the filesystem of the directory at `path`.
    fn room(&self, path: &Path) -> io::Result<Room>;

    /// Refuses what has a mount point at `path` or below it: that is somebody else's, and is not ours to change.
    fn refuse_mounts(&self, path: &Path) -> Result<(), Error> {
        match self.mount_below(path).map_err(|e| Error::io("look for mounts in", path, e))? {
            Some(at) => Err(Error::Mounted { path: path.to_owned(), at }),
            None => Ok(()),
        }
    }

    /// Once Ok: names made, moved and removed in this directory survive a power cut.
    fn flush_directory(&self, path: &Path) -> io::Result<()> {
        self.open(path, Access::Directory)?.flush()
    }
}

/// An open file or directory.
pub(crate) trait DiskFile: fmt::Debug + Send + Sync {
    /// Its length in bytes; a block device's is where its end is.
    fn len(&self) -> io::Result<u64>;
    /// Fills `out` from `offset`; past the end is an error.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts or grows the file; what is new reads as zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes the first `len` bytes those of the file at `source`, sharing blocks where the filesystem can and
    /// keeping holes. Never ties the two together: a later write to one leaves the other.
    fn copy_from(&self, source: &Path, len: u64) -> io::Result<()>;
    /// Once Ok: all that was written to this file before survives a power cut. After an error nothing is known.
    fn flush(&self) -> io::Result<()>;
    /// Once Ok: everything written, on the whole filesystem that this file is on, survives a power cut.
    fn flush_filesystem(&self) -> io::Result<()>;
    /// Lets later reads come from the medium, as far as the system lets itself be told. Changes nothing.
    fn forget_cache(&self) -> io::Result<()>;
    /// Whether this is a block device, which has its length and keeps what is not written.
    fn is_device(&self) -> bool;
}

/// A lock that is held until it is dropped.
pub(crate) trait Lock: fmt::Debug + Send + Sync {}

/// What was found at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) kind: SeenKind,
    /// The twelve permission bits.
    pub(crate) mode: u32,
    /// User and group.
    pub(crate) owner: (u32, u32),
    /// Its length in bytes.
    pub(crate) len: u64,
    /// How many bytes it takes on disk.
    pub(crate) taken: u64,
    /// What it is, whatever its names.
    pub(crate) id: (u64, u64),
}

/// What kind of thing was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SeenKind {
    File,
    Directory,
    Symlink,
    BlockDevice,
    Other,
}

impl Seen {
    pub(crate) fn is_directory(&self) -> bool {
        self.kind == SeenKind::Directory
    }

    pub(crate) fn is_file(&self) -> bool {
        self.kind == SeenKind::File
    }

    pub(crate) fn is_block_device(&self) -> bool {
        self.kind == SeenKind::BlockDevice
    }
}

/// What a filesystem has room for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Bytes that are free for users without privileges; `u64::MAX` if it does not say.
    pub(crate) free: u64,
    /// Whether a copy of a file on it shares the file's blocks.
    pub(crate) shares_blocks: bool,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Access {
    /// To read.
    Read,
    /// To read and write what is there.
    Existing,
    /// To read and write a block device that nobody else uses; fails with [`Error::InUse`] if it is mounted, swapped to,
    /// or a part of another one, and keeps others from that while it is open.
    Alone,
    /// Made anew with this mode, to read and write; fails if anything is there.
    New(u32),
    /// Made if missing, to read and write.
    Log,
    /// A directory, to flush it.
    Directory,
}

/// What can be set without opening.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Attribute<'a> {
    /// The twelve permission bits. Not for symbolic links.
    Mode(u32),
    /// User and group.
    Owner(u32, u32),
    /// One extended attribute.
    Xattr(&'a [u8], &'a [u8]),
    /// No extended attribute of this name.
    NoXattr(&'a [u8]),
    /// The time of modification: seconds since 1970 and nanoseconds.
    Modified(i64, u32),
}

/// For a disk of a test that stands before another one, which its method `below` gives: the verbs that only read
/// go to that.
#[cfg(test)]
macro_rules! reading_goes_below {
    () => {
        fn look(&self, path: &std::path::Path) -> std::io::Result<crate::disk::Seen> {
            self.below().look(path)
        }
        fn mount_below(&self, path: &std::path::Path) -> std::io::Result<Option<std::path::PathBuf>> {
            self.below().mount_below(path)
        }
        fn extents(&self, path: &std::path::Path) -> std::io::Result<Vec<crate::disk::Extent>> {
            self.below().extents(path)
        }
        fn list(&self, path: &std::path::Path) -> std::io::Result<Vec<std::ffi::OsString>> {
            self.below().list(path)
        }
        fn read_link(&self, path: &std::path::Path) -> std::io::Result<std::path::PathBuf> {
            self.below().read_link(path)
        }
        fn resolve(&self, path: &std::path::Path) -> std::io::Result<std::path::PathBuf> {
            self.below().resolve(path)
        }
        fn xattr_names(&self, path: &std::path::Path) -> std::io::Result<Vec<Vec<u8>>> {
            self.below().xattr_names(path)
        }
        fn scan(&self, root: &std::path::Path) -> Result<siding_image::Tree, siding_image::Error> {
            self.below().scan(root)
        }
        fn check(&self, image: &siding_image::Image) -> Result<(), siding_image::Error> {
            self.below().check(image)
        }
        fn lock(&self, path: &std::path::Path) -> std::io::Result<Option<Box<dyn crate::disk::Lock>>> {
            self.below().lock(path)
        }
    };
}
#[cfg(test)]
pub(crate) use reading_goes_below;
