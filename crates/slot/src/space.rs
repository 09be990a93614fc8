//! How much room an image needs, and how much there is.

use crate::disk::{Disk, Room, Seen, SeenKind};
use crate::{Error, Result};
use siding_image::{Content, FileRef, Identity, Image, Kind, Node};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What writing an image takes, and what there is where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that are needed at most: whole blocks, what is copied from the source included, unless the
    /// filesystem shares blocks.
    pub needed: u64,
    /// Bytes that are free for this user; `u64::MAX` where the filesystem does not say.
    pub free: u64,
    /// Where: the nearest directory that exists.
    pub at: PathBuf,
}

impl Space {
    /// Compares what an image of `target` at `path` needs with what is free; writes nothing.
    pub(crate) fn of(disk: &dyn Disk, path: &Path, target: &Content, fresh: &[FileRef]) -> Result<Self> {
        let (room, at) = room(disk, path)?;
        Ok(Self { needed: needed(target, fresh, room.shares_blocks), free: room.free, at })
    }

    /// The same where no more is known of the target than its identity and how much of it is `fresh`.
    pub(crate) fn at_least(disk: &dyn Disk, path: &Path, fresh: u64, target: &Identity) -> Result<Self> {
        let (room, at) = room(disk, path)?;
        let copied = if room.shares_blocks { 0 } else { target.size };
        Ok(Self { needed: fresh.max(copied), free: room.free, at })
    }

    /// Whether everything fits, even if nothing of it is zeros.
    pub fn fits(&self) -> bool {
        self.needed <= self.free
    }

    /// Refuses what cannot fit although `there` bytes are there already and `holes` may turn out to be zeros,
    /// which take no space.
    pub(crate) fn admit(&self, there: u64, holes: u64) -> Result<()> {
        let needed = self.needed.saturating_sub(there);
        if needed.saturating_sub(holes) <= self.free {
            return Ok(());
        }
        Err(Error::NoSpace { path: self.at.clone(), needed, free: self.free })
    }
}

/// What is known of an image about the zeros in what is made from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holes {
    /// Its size.
    size: u64,
    /// How many of its bytes take no space.
    bytes: u64,
}

impl Holes {
    pub(crate) fn of(disk: &dyn Disk, image: &Image) -> Self {
        let unused = |seen: Seen| seen.len.saturating_sub(seen.taken);
        let look = |path: &Path| disk.resolve(path).and_then(|path| disk.look(&path)).ok();
        let files = image.blobs().iter().filter_map(|blob| look(blob.path()));
        Self { size: image.identity().size, bytes: files.map(unused).fold(0, u64::saturating_add) }
    }

    /// How much of a target that is made from the image may be zeros: as much as of the image, and in a file all by which
    /// it is longer.
    pub(crate) fn in_target(&self, target: &Identity) -> u64 {
        let growth = match target.kind {
            Kind::File => target.size.saturating_sub(self.size),
            Kind::Tree => 0,
        };
        self.bytes.saturating_add(growth)
    }
}

/// What lies at `path` takes so many bytes on disk; what cannot be looked at counts as nothing.
pub(crate) fn taken(disk: &dyn Disk, path: &Path) -> u64 {
    let Ok(seen) = disk.look(path) else { return 0 };
    let names = if seen.is_directory() { disk.list(path).unwrap_or_default() } else { Vec::new() };
    let below = names.iter().map(|name| taken(disk, &path.join(name)));
    below.fold(seen.taken, u64::saturating_add)
}

/// How many bytes an image takes on disk if nothing of it is zeros: each content in whole blocks; those that are
/// not in `fresh` only where the filesystem does not share the blocks of copies.
pub(crate) fn needed(target: &Content, fresh: &[FileRef], shares_blocks: bool) -> u64 {
    let written: u64 = fresh.iter().fold(0, |sum, file| sum.saturating_add(blocks(file.size)));
    if shares_blocks {
        return written;
    }
    let mut unwritten: BTreeSet<FileRef> = fresh.iter().copied().collect();
    let copy = |content: &FileRef| !unwritten.remove(content);
    let copied: Vec<FileRef> = match target {
        Content::File(file) => vec![*file],
        Content::Tree(tree) => tree.entries().iter().filter_map(|entry| content(&entry.node)).collect(),
    };
    copied.iter().copied().filter(copy).fold(written, |sum, file| sum.saturating_add(blocks(file.size)))
}

fn content(node: &Node) -> Option<FileRef> {
    match node {
        Node::File(_, content) => Some(*content),
        Node::Directory(_) | Node::Symlink(..) | Node::HardLink(_) => None,
    }
}

/// What so many bytes take on disk.
pub(crate) fn blocks(size: u64) -> u64 {
    size.checked_next_multiple_of(4096).unwrap_or(u64::MAX)
}

fn room(disk: &dyn Disk, path: &Path) -> Result<(Room, PathBuf)> {
    // A store may be reached through a link.
    let may_be = |dir: &Path| {
        disk.look(dir).is_ok_and(|seen| matches!(seen.kind, SeenKind::Directory | SeenKind::Symlink))
    };
    let there = path.ancestors().find(|dir| may_be(dir)).unwrap_or(Path::new("."));
    let room = disk.room(there).map_err(|e| Error::io("find the free space of", there, e))?;
    Ok((room, there.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use siding_image::{Digest, Image};
    use std::fs;

    fn file(size: u64) -> FileRef {
        FileRef { size, digest: Digest::of(&size.to_le_bytes()) }
    }

    #[test]
    fn fresh_bytes_count_in_blocks_and_copies_where_blocks_are_not_shared() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("tree");
        fs::create_dir_all(&root).unwrap();
        for (name, len) in [("new", 1), ("old", 5000), ("twice 1", 10), ("twice 2", 10), ("empty", 0)] {
            fs::write(root.join(name), vec![1; len]).unwrap();
        }
        fs::hard_link(root.join("old"), root.join("a further name of the old")).unwrap();
        let image = Image::open(&root).unwrap();
        let find = |size| image.tree().unwrap().files().find(|(_, file)| file.size == size).unwrap().1;
        let fresh = [find(1), find(10)];
        assert_eq!(needed(image.content(), &fresh, true), 2 * 4096);
        assert_eq!(needed(image.content(), &fresh, false), 5 * 4096, "old in two blocks, and the twin");
        assert_eq!(needed(&Content::File(file(4097)), &[file(4097)], false), 2 * 4096);
        assert_eq!(needed(&Content::File(file(4097)), &[], false), 2 * 4096);
        assert_eq!(needed(&Content::File(file(4097)), &[], true), 0);
        assert_eq!(needed(&Content::File(file(u64::MAX)), &[file(u64::MAX)], true), u64::MAX);
    }

    #[test]
    fn only_what_cannot_fit_is_refused() {
        let space = |needed, free| Space { needed, free, at: "/store".into() };
        assert!(space(8192, 8192).admit(0, 0).is_ok());
        assert!(space(8193, 8192).admit(1, 0).is_ok(), "one byte is there");
        assert!(space(8193, 8192).admit(0, 1).is_ok(), "one may be zero");
        assert!(space(u64::MAX, u64::MAX).fits() && !space(2, 1).fits());
        let refused = space(20_000, 8192).admit(4096, 4096).unwrap_err();
        assert!(matches!(refused, Error::NoSpace { needed: 15_904, free: 8192, .. }), "{refused}");
    }

    #[test]
    fn the_nearest_directory_that_exists_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let empty = Identity { kind: Kind::File, size: 0, digest: Digest::of(b"") };
        let space =
            Space::at_least(&crate::disk::Real, &dir.path().join("not/yet/there"), 1, &empty).unwrap();
        assert_eq!(space.at, dir.path());
        assert!(space.fits());
        let relative = Space::at_least(&crate::disk::Real, Path::new("not-yet-there"), 1, &empty).unwrap();
        assert_eq!(relative.at, Path::new("."));
    }
}
