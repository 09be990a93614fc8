//! Where a rebuilt image goes.

use crate::{Content, FileRef};
use std::io;

/// Takes the bytes of a rebuilt image as positioned writes.
///
/// The applier writes to a `Sink`, the slot store's staging area is one; neither knows the other.
/// Runs of bytes ("blobs") are numbered as in the `fresh` list given to [`Sink::begin`].
pub trait Sink {
    /// Says, once and before anything is written, what the whole image will be, and which contents will be
    /// written, in this order. Contents of a tree that are not in `fresh` are those the source already has;
    /// the sink's owner puts them in place.
    fn begin(&mut self, target: &Content, fresh: &[FileRef]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset` of blob `blob`. Blobs come in ascending order and each from front
    /// to back, so at most one needs to be open. Says nothing about what survives a power cut.
    fn write_at(&mut self, blob: usize, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reads back what was written at `offset` of blob `blob`, filling `out`.
    fn read_at(&mut self, blob: usize, offset: u64, out: &mut [u8]) -> io::Result<()>;
}
