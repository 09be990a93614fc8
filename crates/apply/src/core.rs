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
//! The plan is one more pass over the control streams and makes tiles independent. It is made a batch of tiles at a
//! time, so it takes no memory to speak of however many files a chunk makes.

use crate::Error;
use siding_image::Image;
use siding_patch::{Step, Streams, Walker};
use siding_predict::Model;

/// The length of a tile in bytes: a whole number of digest blocks, and short enough that no thread waits long for
/// another's last one.
pub const TILE: usize = 64 << 10;

/// Where copies come from: the old image, as the model says it will look like once moved.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) image: &'a Image,
    pub(crate) model: Option<Model>,
}

impl Source<'_> {
    /// Fills `out` with what lies at `from` of the source and is copied to `to` of the target.
    fn copy(&self, from: u64, to: u64, out: &mut [u8]) -> Result<(), Error> {
        self.image.read_at(from, out)?;
        if let Some(model) = &self.model {
            // A region that is not in one file of the image is not predicted by anyone.
            model.predict_copy(from, to, out, |region| {
                self.image.slice(region.start, region.len).ok().flatten()
            });
        }
        Ok(())
    }
}

/// A stretch of the target that one thread makes: where it starts, how long it is, how to begin.
#[derive(Clone, Debug)]
pub(crate) struct Tile<'a> {
    pub(crate) start: u64,
    pub(crate) len: usize,
    walker: Walker<'a>,
}

/// A chunk's instructions on the way to becoming tiles. Walks them once, so every rule is checked.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    chunk: usize,
    walker: Walker<'a>,
    at: u64,
    end: u64,
}

/// A batch is at most so many tiles: thousands of tiny files make a batch of their own.
const BATCH_TILES: usize = 1024;

impl<'a> Plan<'a> {
    /// A plan for chunk `chunk`, which makes `len` bytes of the target's flat space from `start` on.
    pub(crate) fn new(chunk: usize, streams: &'a Streams, start: u64, len: u64) -> Result<Self, Error> {
        let walker = Walker::new(streams, start, len).map_err(|rule| Error::Instructions { chunk, rule })?;
        Ok(Self { chunk, walker, at: start, end: start.saturating_add(len) })
    }

    /// Goes past what lies before `upto`: it is there already.
    pub(crate) fn skip_to(&mut self, upto: u64) -> Result<(), Error> {
        let (chunk, rest) = (self.chunk, upto.min(self.end).saturating_sub(self.at));
        let len = usize::try_from(rest).unwrap_or(usize::MAX);
        walk(&mut self.walker, len).map_err(|rule| Error::Instructions { chunk, rule })?;
        self.at = self.at.saturating_add(rest);
        Ok(())
    }

    /// The next tiles, of some `most` bytes together; none once the chunk is done and every stream is used up.
    ///
    /// `border` says for an offset in the target's flat space where the tile that begins there must end.
    pub(crate) fn batch(&mut self, most: usize, border: impl Fn(u64) -> u64) -> Result<Vec<Tile<'a>>, Error> {
        let chunk = self.chunk;
        let broken = |rule| Error::Instructions { chunk, rule };
        let mut tiles: Vec<Tile<'a>> = Vec::new();
        let mut bytes = 0usize;
        while self.at < self.end && bytes < most && tiles.len() < BATCH_TILES {
            let wide = border(self.at).min(self.end).saturating_sub(self.at);
            let len = usize::try_from(wide).unwrap_or(usize::MAX);
            tiles.push(Tile { start: self.at, len, walker: self.walker.clone() });
            walk(&mut self.walker, len).map_err(broken)?;
            self.at = self.at.saturating_add(wide);
            bytes = bytes.saturating_add(len);
        }
        if self.at >= self.end {
            // Before the last tiles are made: is every stream used up?
            self.walker.step(1).map_err(broken)?;
        }
        Ok(tiles)
    }
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
    pub(crate) fn build(mut self, index: usize, source: &Source<'_>, out: &mut [u8]) -> Result<(), Error> {
        let broken = |rule| Error::Instructions { chunk: index, rule };
        let (mut rest, mut at) = (out, self.start);
        while !rest.is_empty() {
            match self.walker.step(rest.len()).map_err(broken)? {
                Some(Step::Literal(bytes)) => {
                    let (now, later) = std::mem::take(&mut rest).split_at_mut(bytes.len());
                    now.copy_from_slice(bytes);
                    (rest, at) = (later, at.saturating_add(bytes.len() as u64));
                }
                Some(Step::Copy { from, len }) => {
                    let (now, later) = std::mem::take(&mut rest).split_at_mut(len);
                    source.copy(from, at, now)?;
                    self.walker.adjust(now).map_err(broken)?;
                    (rest, at) = (later, at.saturating_add(len as u64));
                }
                None => return Err(broken("the instructions end early")),
            }
        }
        Ok(())
    }
}
