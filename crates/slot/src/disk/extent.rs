//! Which bytes of the machine a block device is, whatever its names: a partition is a part of its disk, and a loop device
//! of its file.

use rustix::fs::{major, minor};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A run of bytes of a device or a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Of which: a device by its number, a file by its filesystem and inode.
    pub(crate) of: (Kind, u64, u64),
    pub(crate) from: u64,
    /// Past its end.
    pub(crate) to: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Device,
    File,
}

impl Extent {
    pub(crate) fn whole(kind: Kind, (a, b): (u64, u64)) -> Self {
        Self { of: (kind, a, b), from: 0, to: u64::MAX }
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.of == other.of && self.from < other.to && other.from < self.to
    }
}

/// What the block device at `path` is, and what that is a part of, down to a disk or a file. Where the kernel says
/// nothing of it, only itself.
pub(super) fn of(path: &Path) -> io::Result<Vec<Extent>> {
    let meta = fs::metadata(path)?;
    if !meta.file_type().is_block_device() {
        return Ok(vec![Extent::whole(Kind::File, (meta.dev(), meta.ino()))]);
    }
    let number = (u64::from(major(meta.rdev())), u64::from(minor(meta.rdev())));
    let mut extents = vec![Extent::whole(Kind::Device, number)];
    let mut sys = PathBuf::from(format!("/sys/dev/block/{}:{}", number.0, number.1));
    let (mut from, mut to) = (0, u64::MAX);
    if let (Some(start), Some(sectors)) = (word(&sys.join("start")), word(&sys.join("size")))
        && sys.join("partition").exists()
    {
        (from, to) = (start.saturating_mul(SECTOR), start.saturating_add(sectors).saturating_mul(SECTOR));
        // A partition's directory is in its disk's.
        sys = fs::canonicalize(&sys)?.parent().map(Path::to_owned).unwrap_or_default();
        if let Some(disk) = number_of(&sys) {
            extents.push(Extent { of: (Kind::Device, disk.0, disk.1), from, to });
        }
    }
    if let Ok(file) = fs::read_to_string(sys.join("loop/backing_file"))
        && let Ok(meta) = fs::metadata(file.trim_end_matches('\n'))
    {
        let start = word(&sys.join("loop/offset")).unwrap_or(0);
        let end = match word(&sys.join("loop/sizelimit")) {
            None | Some(0) => u64::MAX,
            Some(len) => start.saturating_add(len),
        };
        let (from, to) = (start.saturating_add(from), start.saturating_add(to).min(end));
        extents.push(Extent { of: (Kind::File, meta.dev(), meta.ino()), from, to });
    }
    Ok(extents)
}

/// What the kernel calls a sector there, whatever the device does.
const SECTOR: u64 = 512;

fn word(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn number_of(sys: &Path) -> Option<(u64, u64)> {
    let text = fs::read_to_string(sys.join("dev")).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_one_file_that_have_no_byte_in_common_are_two() {
        let part = |from, to| Extent { of: (Kind::File, 1, 2), from, to };
        assert!(part(0, 100).overlaps(&part(99, 200)) && part(0, u64::MAX).overlaps(&part(5, 6)));
        assert!(!part(0, 100).overlaps(&part(100, 200)));
        assert!(!part(0, 100).overlaps(&Extent::whole(Kind::File, (1, 3))));
        assert!(!Extent::whole(Kind::Device, (1, 2)).overlaps(&part(0, 100)));
    }

    #[test]
    fn a_file_is_the_same_by_any_of_its_names() {
        let dir = tempfile::tempdir().unwrap();
        let [file, name, link] = ["file", "name", "link"].map(|name| dir.path().join(name));
        fs::write(&file, "").unwrap();
        fs::hard_link(&file, &name).unwrap();
        std::os::unix::fs::symlink("name", &link).unwrap();
        assert_eq!(of(&file).unwrap(), of(&name).unwrap());
        assert_eq!(of(&file).unwrap(), of(&link).unwrap());
        assert_ne!(of(&file).unwrap(), of(dir.path()).unwrap());
    }
}
