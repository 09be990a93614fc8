//! Which bytes of the target are new, and in which order they are made. Shared by maker and device.

use siding_image::{Content, Digest, FileRef, Image};
use std::collections::HashSet;

/// The target's *fresh* contents: those the source does not have, in the order in which chunks make them.
///
/// For a file that is the file, for a tree each distinct new content in order of its first path
/// (`docs/format.md` section 6.3). Together they are the target's flat space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    fresh: Vec<FileRef>,
    /// Where each ends in the flat space.
    ends: Vec<u64>,
}

impl Layout {
    /// The layout of what turns `source` into `target`.
    pub fn new(source: &Image, target: &Content) -> Self {
        let fresh: Vec<FileRef> = match target {
            Content::File(file) => vec![*file],
            Content::Tree(tree) => {
                let have: HashSet<Digest> = source.blobs().iter().map(|blob| blob.content.digest).collect();
                let contents = tree.contents().into_iter().map(|(_, file)| file);
                contents.filter(|file| !have.contains(&file.digest)).collect()
            }
        };
        let mut end = 0u64;
        let mut grow = |file: &FileRef| {
            end = end.saturating_add(file.size);
            end
        };
        let ends = fresh.iter().map(&mut grow).collect();
        Self { fresh, ends }
    }

    /// The fresh contents, in order.
    pub fn fresh(&self) -> &[FileRef] {
        &self.fresh
    }

    /// The length of the target's flat space in bytes.
    pub fn len(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Whether nothing is fresh.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which content holds the byte at `offset` of the flat space, and from where to where it reaches.
    pub fn around(&self, offset: u64) -> Option<(usize, std::ops::Range<u64>)> {
        let index = self.ends.partition_point(|end| *end <= offset);
        let end = *self.ends.get(index)?;
        let size = self.fresh.get(index)?.size;
        Some((index, end.saturating_sub(size)..end))
    }
}
