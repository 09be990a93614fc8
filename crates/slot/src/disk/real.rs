//! The operating system's files.

use super::{
    Access, Attribute, Disk, DiskFile, Extent, Lock, Room, Seen, SeenKind, busy, copy, extent, mounts,
    remove, verity,
};
use rustix::fs::{
    Advice, AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmodat,
    chownat, fadvise, linkat, llistxattr, lremovexattr, lsetxattr, statfs, statvfs, syncfs, utimensat,
};
use siding_image::{Digest, Image, Tree};
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

/// The real disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Real;

#[derive(Debug)]
struct RealFile {
    file: File,
    is_device: bool,
    /// Whether nothing but bytes and length ever changes, so that the cheaper flush suffices.
    data_only: bool,
}

impl Disk for Real {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        let mut flags = OFlags::NOFOLLOW;
        match access {
            Access::Read => options.read(true),
            Access::Existing => options.read(true).write(true),
            Access::Alone => {
                flags |= OFlags::EXCL;
                options.read(true).write(true)
            }
            Access::New(mode) => options.read(true).write(true).create_new(true).mode(mode),
            Access::Log => options.read(true).write(true).create(true).truncate(false).mode(0o644),
            Access::Directory => {
                flags |= OFlags::DIRECTORY;
                options.read(true)
            }
        };
        if let Access::New(_) | Access::Log = access {
            point();
        }
        let file = match options.custom_flags(flags.bits().cast_signed()).open(path) {
            Err(error) if matches!(access, Access::Alone) && error.kind() == io::ErrorKind::ResourceBusy => {
                return Err(busy::in_use(path));
            }
            file => file?,
        };
        let is_device = file.metadata()?.file_type().is_block_device();
        let data_only = matches!(access, Access::Existing | Access::Alone | Access::Log);
        Ok(Box::new(RealFile { file, is_device, data_only }))
    }

    fn make_directory(&self, path: &Path, mode: u32) -> io::Result<()> {
        point();
        DirBuilder::new().mode(mode).create(path)
    }

    fn make_symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        point();
        symlink(target, path)
    }

    fn make_hard_link(&self, existing: &Path, path: &Path) -> io::Result<()> {
        point();
        Ok(linkat(CWD, existing, CWD, path, AtFlags::empty())?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        point();
        fs::rename(from, to)
    }

    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        remove::remove_tree(path)
    }

    fn extents(&self, path: &Path) -> io::Result<Vec<Extent>> {
        extent::of(path)
    }

    fn mount_below(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        mounts::below(path)
    }

    fn set(&self, path: &Path, attribute: Attribute<'_>) -> io::Result<()> {
        point();
        let untouched = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        match attribute {
            Attribute::Mode(mode) => chmodat(CWD, path, Mode::from_raw_mode(mode), AtFlags::empty())?,
            Attribute::Owner(user, group) => {
                let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
                chownat(CWD, path, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            Attribute::Xattr(name, value) => {
                lsetxattr(path, OsStr::from_bytes(name), value, XattrFlags::empty())?;
            }
            Attribute::NoXattr(name) => lremovexattr(path, OsStr::from_bytes(name))?,
            Attribute::Modified(seconds, nanoseconds) => {
                let modified = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
                let times = Timestamps { last_access: untouched, last_modification: modified };
                utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
            }
        }
        Ok(())
    }

    fn look(&self, path: &Path) -> io::Result<Seen> {
        let meta = fs::symlink_metadata(path)?;
        let kind = match meta.file_type() {
            kind if kind.is_file() => SeenKind::File,
            kind if kind.is_dir() => SeenKind::Directory,
            kind if kind.is_symlink() => SeenKind::Symlink,
            kind if kind.is_block_device() => SeenKind::BlockDevice,
            _ => SeenKind::Other,
        };
        Ok(Seen {
            kind,
            mode: meta.mode() & 0o7777,
            owner: (meta.uid(), meta.gid()),
            len: meta.len(),
            taken: meta.blocks().saturating_mul(512),
            id: (meta.dev(), meta.ino()),
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(path)?.map(|item| Ok(item?.file_name())).collect()
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        fs::read_link(path)
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(path)
    }

    fn xattr_names(&self, path: &Path) -> io::Result<Vec<Vec<u8>>> {
        /// The most the kernel ever lists.
        const MOST: usize = 65536;
        let mut list = vec![0; 256];
        let len = match llistxattr(path, &mut list) {
            Err(rustix::io::Errno::NOTSUP) => 0,
            Err(rustix::io::Errno::RANGE) => {
                list.resize(MOST, 0);
                llistxattr(path, &mut list)?
            }
            other => other?,
        };
        let names = list.get(..len).unwrap_or_default().split(|&b| b == 0);
        Ok(names.filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
    }

    fn scan(&self, root: &Path) -> Result<Tree, siding_image::Error> {
        siding_image::scan(root)
    }

    fn scan_with(
        &self,
        root: &Path,
        known: &mut dyn FnMut(&Path) -> Option<Digest>,
    ) -> Result<Tree, siding_image::Error> {
        siding_image::scan_with(root, known)
    }

    fn protect(&self, path: &Path) -> io::Result<Option<Digest>> {
        point();
        let file = open_to_read(path)?;
        if verity::enable(&file)? { verity::measure(&file) } else { Ok(None) }
    }

    fn protected(&self, path: &Path) -> io::Result<Option<Digest>> {
        verity::measure(&open_to_read(path)?)
    }

    fn check(&self, image: &Image) -> Result<(), siding_image::Error> {
        image.check()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let lock = siding_lock::Lock::take(path)?;
        Ok(lock.map(|lock| Box::new(lock) as Box<dyn Lock>))
    }

    fn room(&self, path: &Path) -> io::Result<Room> {
        /// As `linux/magic.h` and their sources have them: btrfs, XFS, bcachefs.
        const SHARING: [u64; 3] = [0x9123_683e, 0x5846_5342, 0xca45_1a4e];
        let (space, kind) = (statvfs(path)?, statfs(path)?.f_type);
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        let free = if space.f_blocks == 0 { u64::MAX } else { free };
        // Some machines have it in 32 bits, with a sign.
        let shares_blocks = SHARING.contains(&(kind as u64 & 0xffff_ffff));
        Ok(Room { free, shares_blocks })
    }
}

impl Lock for siding_lock::Lock {}

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        if self.is_device { (&self.file).seek(SeekFrom::End(0)) } else { Ok(self.file.metadata()?.len()) }
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        point();
        self.file.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        point();
        self.file.set_len(len)
    }

    fn copy_from(&self, source: &Path, len: u64) -> io::Result<()> {
        point();
        copy::copy(source, &self.file, len, self.is_device)
    }

    fn flush(&self) -> io::Result<()> {
        point();
        if self.data_only { self.file.sync_data() } else { self.file.sync_all() }
    }

    fn flush_filesystem(&self) -> io::Result<()> {
        point();
        Ok(syncfs(&self.file)?)
    }

    fn forget_cache(&self) -> io::Result<()> {
        Ok(fadvise(&self.file, 0, None, Advice::DontNeed)?)
    }

    fn is_device(&self) -> bool {
        self.is_device
    }
}

/// Opens what is at `path`, not following a link and not waiting for the other end of a pipe.
fn open_to_read(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// Counts an operation, and is where a test ends the process.
#[cfg(feature = "kill-points")]
pub(super) fn point() {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static DONE: AtomicU64 = AtomicU64::new(0);
    static KILL_AT: OnceLock<Option<u64>> = OnceLock::new();
    let kill_at = KILL_AT.get_or_init(|| std::env::var("SIDING_KILL_AT").ok()?.parse().ok());
    let number = DONE.fetch_add(1, Ordering::Relaxed).saturating_add(1);
    if *kill_at == Some(number) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

#[cfg(not(feature = "kill-points"))]
pub(super) fn point() {}
