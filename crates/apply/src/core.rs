//! The core: a chunk's instructions, executed in tiles. Slice to slice.
//!
//! ```text
//! plan:   walk the instructions once; at each tile's start keep the walker (a few positions)
//! build:  for each tile, on any thread, from its walker:
//!           while the tile has room:
//!             literal → copy from the stream
//!             copy    → gather from the source, add the differences
//! ```
//!
//! The plan costs one pass over the control streams, some 1 % of the work, and makes tiles independent.

use crate::Error;
use siding_image::Image;
use siding_patch::{Step, Streams, Walker};

/// The length of a tile in bytes: a whole number of digest blocks, and small enough for a core's L2 cache.
pub const TILE: usize = 256 << 10;

/// A stretch of the target that one thread makes: where it starts, how long it is, how to begin.
#[derive(Clone, Debug)]
pub(crate) struct Tile<'a> {
    pub(crate) start: u64,
    pub(crate) len: usize,
    walker: Walker<'a>,
}

/// Cuts a chunk into tiles while walking its instructions to the end, so every rule is checked on the way.
///
/// `cuts` are offsets in the target's flat space, ascending, that no tile may cross: the ends of files.
pub(crate) fn plan<'a>(
    index: usize,
    streams: &'a Streams,
    start: u64,
    len: u64,
    cuts: impl Fn(u64) -> u64,
) -> Result<Vec<Tile<'a>>, Error> {
    let broken = |rule| Error::Instructions { chunk: index, rule };
    let mut walker = Walker::new(streams, start, len).map_err(broken)?;
    let mut tiles = Vec::new();
    let end = start.saturating_add(len);
    let mut at = start;
    while at < end {
        let len = cuts(at).min(end).saturating_sub(at);
        let tile =
            Tile { start: at, len: usize::try_from(len).unwrap_or(usize::MAX), walker: walker.clone() };
        walk(&mut walker, tile.len).map_err(broken)?;
        at = at.saturating_add(len);
        tiles.push(tile);
    }
    walker.step(1).map_err(broken)?;
    Ok(tiles)
}

fn walk(walker: &mut Walker<'_>, mut room: usize) -> Result<(), &'static str> {
    while room > 0 {
        let done = match walker.step(room)? {
            Some(Step::Literal(bytes)) => bytes.len(),
            Some(Step::Copy { len, .. }) => {
                walker.skip_adjust(len)?;
                len
            }
            None => return Err("the instructions end early"),
        };
        room = room.saturating_sub(done);
    }
    Ok(())
}

impl Tile<'_> {
    /// Makes the tile's bytes in `out`, which is as long as the tile.
    pub(crate) fn build(mut self, index: usize, source: &Image, out: &mut [u8]) -> Result<(), Error> {
        let broken = |rule| Error::Instructions { chunk: index, rule };
        let mut rest = out;
        while !rest.is_empty() {
            match self.walker.step(rest.len()).map_err(broken)? {
                Some(Step::Literal(bytes)) => {
                    let (now, later) = std::mem::take(&mut rest).split_at_mut(bytes.len());
                    now.copy_from_slice(bytes);
                    rest = later;
                }
                Some(Step::Copy { from, len }) => {
                    let (now, later) = std::mem::take(&mut rest).split_at_mut(len);
                    source.read_at(from, now)?;
                    self.walker.adjust(now).map_err(broken)?;
                    rest = later;
                }
                None => return Err(broken("the instructions end early")),
            }
        }
        Ok(())
    }
}
