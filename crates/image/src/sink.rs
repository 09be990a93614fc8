//! Where a rebuilt image goes.

use crate::{Content, Digest, FileRef};
use std::io;

/// How far an apply has come, at a border of chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// How many chunks of the patch are done, those that write nothing included.
    pub chunks: u64,
    /// How many bytes of the fresh contents, one after the other, have been written.
    pub written: u64,
    /// The SHA-256 of the leaf digests ([`crate::verity`]) of those bytes, each content's from its own start.
    pub digest: Digest,
}

/// Takes the bytes of a rebuilt image as positioned writes.
///
/// The applier writes to a `Sink`, the slot store's staging area is one; neither knows the other.
/// Runs of bytes ("blobs") are numbered as in the `fresh` list given to [`Sink::begin`].
pub trait Sink: Send {
    /// Says, once and before anything is written, what the whole image will be, and which contents will be
    /// written, in this order. Contents of a tree that are not in `fresh` are those the source already has;
    /// the sink's owner puts them in place.
    fn begin(&mut self, target: &Content, fresh: &[FileRef]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset` of blob `blob`. Blobs come in ascending order and each from front
    /// to back, so at most one needs to be open. Says nothing about what survives a power cut.
    fn write_at(&mut self, blob: usize, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reads back what was written at `offset` of blob `blob`, filling `out`.
    fn read_at(&mut self, blob: usize, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// What an interrupted apply of the same patch left here: checkpoints to go on from, the furthest first. Asked
    /// once, after `begin`. They are claims: the applier reads back what they speak of before it believes one.
    fn checkpoints(&mut self) -> Vec<Checkpoint> {
        Vec::new()
    }

    /// Forgets whatever an interrupted apply left from `offset` of blob `blob` on, later blobs included.
    fn forget_from(&mut self, blob: usize, offset: u64) -> io::Result<()> {
        let _ = (blob, offset);
        Ok(())
    }

    /// Told at every border of chunks. A sink that can be gone on with makes a note of it; the applier's progress
    /// survives what the sink says it does.
    fn checkpoint(&mut self, done: &Checkpoint) -> io::Result<()> {
        let _ = done;
        Ok(())
    }
}
