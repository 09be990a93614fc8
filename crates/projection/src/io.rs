//! Everything this crate does to files, mounts and processes.
//!
//! Files that a boot loader reads are overwritten where they lie, never replaced by another file: a boot loader
//! finds them by the blocks they have. Only sectors that differ are written.

use crate::grub::SECTOR;
use rustix::fs::{CWD, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// All of a file.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}

/// All of a text file that may be missing, of at most 16 MiB.
pub(crate) fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    const MOST: u64 = 16 << 20;
    // A pipe would be waited at for ever.
    let file =
        match OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
    let mut bytes = Vec::new();
    file.take(MOST.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("it is longer than {MOST} bytes")));
    }
    Ok(Some(bytes))
}

/// A part of a file or block device. A character device, which raw flash is, is refused: it has to be erased.
pub(crate) fn read_part(path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if file.metadata()?.file_type().is_char_device() {
        let what = "raw flash must be erased before it is written; use kind = \"command\" with fw_setenv";
        return Err(io::Error::new(ErrorKind::Unsupported, what));
    }
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// Writes the sectors of `new` that differ from `old`, which lies at `offset` of the file.
///
/// Once Ok, the new bytes survive a power cut. A cut before that may leave each differing sector old or new.
pub(crate) fn overwrite(path: &Path, offset: u64, old: &[u8], new: &[u8]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let head = usize::try_from(offset % SECTOR as u64).map_or(0, |into| SECTOR.saturating_sub(into) % SECTOR);
    let (old, new) = (sectors(old, head), sectors(new, head));
    let mut at = offset;
    for (old, new) in old.zip(new) {
        if old != new {
            file.write_all_at(new, at)?;
        }
        at = at.saturating_add(new.len() as u64);
    }
    file.sync_data()
}

/// The first `head` bytes, then sectors.
fn sectors(bytes: &[u8], head: usize) -> impl Iterator<Item = &[u8]> {
    let (head, rest) = bytes.split_at_checked(head).unwrap_or((bytes, &[]));
    [head].into_iter().filter(|head| !head.is_empty()).chain(rest.chunks(SECTOR))
}

/// Once Ok, what the file holds survives a power cut, whoever wrote it.
pub(crate) fn flush(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_data()
}

/// The names in a directory that are text.
pub(crate) fn list(directory: &Path) -> io::Result<Vec<String>> {
    let names = std::fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
    let names: io::Result<Vec<Option<String>>> = names.collect();
    Ok(names?.into_iter().flatten().collect())
}

/// Once Ok, the new name survives a power cut. A cut before that leaves either name, or on FAT both.
pub(crate) fn rename(directory: &Path, from: &str, to: &str) -> io::Result<()> {
    if directory.join(to).symlink_metadata().is_ok() {
        return Err(io::Error::new(ErrorKind::AlreadyExists, format!("{to} is there already")));
    }
    std::fs::rename(directory.join(from), directory.join(to))?;
    File::open(directory)?.sync_all()
}

/// Writes an EFI variable in one piece, which is all that efivarfs takes.
pub(crate) fn write_variable(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let open = || OpenOptions::new().write(true).create(true).truncate(false).open(path);
    // The kernel makes variables that it does not know immutable, ours among them.
    let mut file = open().or_else(|first| unlock(path).map_err(|_| first).and_then(|()| open()))?;
    if file.write(bytes)? != bytes.len() {
        return Err(io::Error::new(ErrorKind::WriteZero, "the firmware took a part of it only"));
    }
    // efivarfs has the new length by now; a plain directory in its place may not.
    if file.metadata()?.len() != bytes.len() as u64 { file.set_len(bytes.len() as u64) } else { Ok(()) }
}

fn unlock(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let flags = rustix::fs::ioctl_getflags(&file)?;
    Ok(rustix::fs::ioctl_setflags(&file, flags - rustix::fs::IFlags::IMMUTABLE)?)
}

/// Removes a file; that it is gone already is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// A file that is only of use until the next start; its directory is made.
pub(crate) fn write_note(path: &Path, bytes: &[u8]) -> io::Result<()> {
    path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    std::fs::write(path, bytes)
}

/// What a file or directory is, whatever its names.
pub(crate) fn id(path: &Path) -> io::Result<(u64, u64)> {
    path.metadata().map(|meta| (meta.dev(), meta.ino()))
}

/// The number of a block device, as the kernel lists it; `None` if it is none.
pub(crate) fn device_number(path: &Path) -> Option<String> {
    let meta = path.metadata().ok().filter(|meta| meta.file_type().is_block_device())?;
    let number = meta.rdev();
    Some(format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number)))
}

/// This process' mounts, in the kernel's words.
pub(crate) fn mounts() -> io::Result<String> {
    std::fs::read("/proc/self/mountinfo").map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Which file a loop device shows.
pub(crate) fn backing_file(device: &str) -> Option<PathBuf> {
    let file = std::fs::read_to_string(format!("/sys/dev/block/{device}/loop/backing_file")).ok()?;
    Some(PathBuf::from(file.trim_end_matches('\n')))
}

/// An empty directory to mount at before a mount goes to its place.
pub(crate) fn workbench(name: &str) -> io::Result<PathBuf> {
    let path = Path::new("/run/siding").join(name);
    std::fs::create_dir_all(&path)?;
    path.canonicalize()
}

/// Mounts a directory at another once more, read-only.
pub(crate) fn bind(from: &Path, at: &Path) -> io::Result<()> {
    rustix::mount::mount_bind(from, at)?;
    // Nothing sees it writable: it is on the workbench still.
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NODEV;
    rustix::mount::mount_remount(at, flags, "").or_else(|e| detach(at).and(Err(e.into())))
}

/// Takes the topmost mount at a place away, though it may be in use: it goes when its last user does.
pub(crate) fn detach(at: &Path) -> io::Result<()> {
    Ok(rustix::mount::unmount(at, UnmountFlags::DETACH)?)
}

/// A second copy of the mount at a place, which is nowhere yet. What is mounted on it later does not appear in what
/// it shows, as it would where mounts are shared.
pub(crate) fn take(at: &Path) -> io::Result<OwnedFd> {
    rustix::mount::mount_change(at, MountPropagationFlags::PRIVATE)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    Ok(rustix::mount::open_tree(CWD, at, flags)?)
}

/// Puts such a copy at a place, on top of what is mounted there, or else beneath it, for which Linux 6.5 is needed.
pub(crate) fn put(mount: &OwnedFd, at: &Path, beneath: bool) -> io::Result<()> {
    const BENEATH: MoveMountFlags = MoveMountFlags::from_bits_retain(0x200);
    let mut flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    flags.set(BENEATH, beneath);
    Ok(rustix::mount::move_mount(mount, "", CWD, at, flags)?)
}
