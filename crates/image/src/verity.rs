//! A file's digest: the one the Linux kernel's fs-verity computes for it.
//!
//! SHA-256, 4 KiB blocks, no salt: a Merkle tree whose leaves are the digests of the file's blocks (the last
//! one padded with zeros) and whose inner nodes are the digests of 4 KiB blocks of digests; the file digest is
//! the SHA-256 of a 256-byte descriptor that holds the length and the root. (Linux, "fs-verity: read-only
//! file-based authenticity protection", sections "Merkle tree" and "fs-verity descriptor".)
//!
//! Two things follow that a plain SHA-256 lacks: leaves can be hashed in any order on any core, and a kernel
//! with fs-verity can enforce the signed digest on every later read.

use crate::Digest;
use rayon::prelude::*;
use std::sync::OnceLock;

/// The size of a leaf in bytes.
pub const BLOCK: usize = 4096;
/// How many digests one inner block holds.
const FAN_OUT: usize = BLOCK / 32;
/// How much one task hashes when leaves are computed in parallel.
const TASK: usize = 64 * BLOCK;
/// How much is hashed in parallel before the digests are folded into the tree, which bounds memory.
const BATCH: usize = 64 * TASK;

static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// The file digest of `bytes`, hashed on all of rayon's threads.
///
/// ```
/// // `fsverity digest` of an empty file
/// let empty = siding_image::verity::digest(b"");
/// assert!(empty.to_string().starts_with("3d248ca542a24fc62d1c43b916eae501"));
/// ```
pub fn digest(bytes: &[u8]) -> Digest {
    let mut tree = Merkle::new();
    for batch in bytes.chunks(BATCH) {
        tree.push(&leaves(batch));
    }
    tree.finish(bytes.len() as u64)
}

/// The digests of the blocks of `bytes`, in order; a last short block is padded with zeros.
pub fn leaves(bytes: &[u8]) -> Vec<Digest> {
    if bytes.len() <= TASK {
        return bytes.chunks(BLOCK).map(leaf).collect();
    }
    let mut out = vec![Digest([0; 32]); bytes.len().div_ceil(BLOCK)];
    out.par_chunks_mut(TASK / BLOCK).zip(bytes.par_chunks(TASK)).for_each(|(digests, part)| {
        digests.iter_mut().zip(part.chunks(BLOCK)).for_each(|(digest, block)| *digest = leaf(block));
    });
    out
}

/// Long runs of zeros are common in disk images, and comparing is ten times faster than hashing.
fn leaf(block: &[u8]) -> Digest {
    if ZEROS.starts_with(block) {
        return zero_leaf();
    }
    Digest::of_parts(&[block, &ZEROS[block.len()..]])
}

/// The digest of a block of zeros.
pub(crate) fn zero_leaf() -> Digest {
    static LEAF: OnceLock<Digest> = OnceLock::new();
    *LEAF.get_or_init(|| Digest::of(&ZEROS))
}

/// Folds leaf digests, given in order, into a file digest; holds one block a level and nothing more.
#[derive(Clone, Debug, Default)]
pub struct Merkle {
    levels: Vec<Level>,
}

#[derive(Clone, Debug, Default)]
struct Level {
    /// Digests of this level that are not yet part of a whole block.
    pending: Vec<u8>,
    /// How many digests this level has had.
    total: u64,
}

impl Merkle {
    /// A tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next leaves.
    pub fn push(&mut self, leaves: &[Digest]) {
        leaves.iter().for_each(|leaf| self.push_at(0, leaf));
    }

    fn push_at(&mut self, height: usize, digest: &Digest) {
        if self.levels.len() == height {
            self.levels.push(Level::default());
        }
        let level = &mut self.levels[height];
        level.pending.extend_from_slice(&digest.0);
        level.total += 1;
        if level.pending.len() == FAN_OUT * 32 {
            let parent = leaf(&std::mem::take(&mut level.pending));
            self.push_at(height + 1, &parent);
        }
    }

    /// The digest of a file of `len` bytes whose leaves were all pushed.
    pub fn finish(mut self, len: u64) -> Digest {
        debug_assert_eq!(self.levels.first().map_or(0, |l| l.total), len.div_ceil(BLOCK as u64));
        descriptor_digest(len, &self.root())
    }

    fn root(&mut self) -> [u8; 32] {
        let mut height = 0;
        while let Some(level) = self.levels.get_mut(height) {
            let pending = std::mem::take(&mut level.pending);
            if level.total == 1 {
                let mut root = [0; 32];
                root.copy_from_slice(&pending);
                return root;
            }
            if !pending.is_empty() {
                self.push_at(height + 1, &leaf(&pending));
            }
            height += 1;
        }
        [0; 32] // an empty file has no blocks; the kernel defines its root as zeros
    }
}

/// The SHA-256 of `struct fsverity_descriptor` as the kernel lays it out (little endian).
fn descriptor_digest(len: u64, root: &[u8; 32]) -> Digest {
    const VERSION: u8 = 1;
    const SHA256: u8 = 1;
    const LOG_BLOCK: u8 = 12;
    let head = [VERSION, SHA256, LOG_BLOCK, 0, 0, 0, 0, 0];
    // root_hash is 64 bytes wide; then 32 of salt and 144 reserved, all zero.
    Digest::of_parts(&[&head, &len.to_le_bytes(), root, &[0; 32 + 32 + 144]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition again, written the slow and obvious way: level by level over whole vectors.
    fn naive(bytes: &[u8]) -> Digest {
        let hash_level = |data: &[u8]| -> Vec<u8> {
            let padded = |b: &[u8]| Digest::of(&[b, &vec![0; BLOCK - b.len()]].concat());
            data.chunks(BLOCK).flat_map(|b| padded(b).0).collect()
        };
        let mut level = hash_level(bytes);
        while level.len() > 32 {
            level = hash_level(&level);
        }
        let root = <[u8; 32]>::try_from(level.as_slice()).unwrap_or_default();
        descriptor_digest(bytes.len() as u64, &root)
    }

    #[test]
    fn sizes_around_every_border_agree_with_the_definition() {
        let borders = [0, 1, BLOCK, 2 * BLOCK, FAN_OUT * BLOCK, 2 * FAN_OUT * BLOCK, TASK, 3 * TASK];
        for size in borders.iter().flat_map(|&b| [b.saturating_sub(1), b, b + 1]) {
            let bytes: Vec<u8> = (0..size).map(|i| (i * 7 + i / 4096) as u8).collect();
            assert_eq!(digest(&bytes), naive(&bytes), "{size} bytes");
        }
    }

    #[test]
    fn three_levels_agree_with_the_definition() {
        let bytes = vec![5u8; FAN_OUT * FAN_OUT * BLOCK + 3 * BLOCK + 17];
        assert_eq!(digest(&bytes), naive(&bytes));
    }

    proptest! {
        #[test]
        fn any_split_at_block_borders_gives_the_same(len in 0usize..80_000, cut in 0usize..20) {
            let bytes: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let cut = (cut * BLOCK).min(len);
            let mut tree = Merkle::new();
            tree.push(&leaves(&bytes[..cut]));
            tree.push(&leaves(&bytes[cut..]));
            prop_assert_eq!(tree.finish(len as u64), naive(&bytes));
        }
    }
}
