//! The filesystems: how each is made and mounted, and what it takes for granted.

use super::super::lab::{run, text};
use crate::Result;
use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A filesystem to tell the story on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filesystem {
    Ext4,
    Xfs,
    Btrfs,
}

impl Filesystem {
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Ext4, Self::Xfs, Self::Btrfs].into_iter().find(|one| one.to_string() == name)
    }

    pub(super) fn maker(self) -> &'static str {
        match self {
            Self::Ext4 => "mkfs.ext4",
            Self::Xfs => "mkfs.xfs",
            Self::Btrfs => "mkfs.btrfs",
        }
    }

    pub(super) fn package(self) -> &'static str {
        match self {
            Self::Ext4 => "e2fsprogs",
            Self::Xfs => "xfsprogs",
            Self::Btrfs => "btrfs-progs",
        }
    }

    /// The smallest that its maker makes, or little more.
    pub(super) fn mebibytes(self) -> u64 {
        match self {
            Self::Ext4 => 64,
            Self::Xfs => 300,
            Self::Btrfs => 128,
        }
    }

    pub(super) fn options(self) -> &'static [&'static str] {
        match self {
            Self::Ext4 => &["-q", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"],
            Self::Xfs => &["-q", "-K", "-m", "reflink=1"],
            Self::Btrfs => &["-q", "-K"],
        }
    }

    /// What a power cut does not tear. Btrfs takes a block of 4096 bytes to be written whole, its superblock, so
    /// it is for media that have such sectors; and ext4 the 1024 bytes of its superblock, which it does not mount
    /// without (`e2fsck` has the other copies).
    pub(super) fn grain(self) -> Grain {
        match self {
            Self::Ext4 => Grain { unit: 512, whole: 1024..2048 },
            Self::Xfs => Grain { unit: 512, whole: 0..0 },
            Self::Btrfs => Grain { unit: 4096, whole: 0..0 },
        }
    }

    /// Images of one filesystem are mounted side by side, and a discarded block is not read back.
    fn mount_options(self) -> &'static str {
        match self {
            Self::Ext4 => "loop",
            Self::Xfs => "loop,nouuid",
            Self::Btrfs => "loop,nodiscard",
        }
    }

    /// Mounts the filesystem in the file; the loop device goes with the mount.
    pub(super) fn mount(self, image: &Path, at: &Path) -> Result<Mount> {
        fs::create_dir_all(at).map_err(|e| format!("cannot make {}: {e}", at.display()))?;
        let kind = self.to_string();
        run("mount", &["-t", &kind, "-o", self.mount_options(), &text(image), &text(at)])?;
        Ok(Mount(at.to_owned()))
    }
}

impl fmt::Display for Filesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        })
    }
}

/// How fine a write may tear.
#[derive(Clone, Debug)]
pub(super) struct Grain {
    /// The bytes that are written all or not at all.
    pub(super) unit: usize,
    /// Bytes of the medium that are one unit, whatever its size is.
    pub(super) whole: Range<usize>,
}

impl Grain {
    /// Which unit the byte at this place of the medium is in.
    pub(super) fn unit_of(&self, at: usize) -> usize {
        let at = if self.whole.contains(&at) { self.whole.start } else { at };
        at / self.unit
    }
}

/// A mount, until it is dropped.
pub(super) struct Mount(PathBuf);

impl Mount {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mount {
    /// Tries again: a process that another thread is just starting has our open files until it runs its program.
    fn drop(&mut self) {
        let unmounted = |_| {
            run("umount", &[&text(&self.0)]).is_ok() || {
                std::thread::sleep(Duration::from_millis(5));
                false
            }
        };
        if !(0..200).any(unmounted) {
            eprintln!("cannot unmount {}", self.0.display());
        }
    }
}
