//! What a checked patch's chunks say, read without carrying them out: for `verify` and `inspect`.

use crate::failure::Failure;
use siding_patch::{Step, Stored, Stream, Streams, Walker};
use siding_predict::Model;

/// The model that a chunk of that kind holds.
pub(crate) fn model(chunk: &Stored) -> Result<Model, Failure> {
    let streams = chunk.decode(|_| Err(broken(chunk, "a model refers to a history")))?;
    let [regions, addresses, shifts] =
        [Stream::Regions, Stream::StepAddresses, Stream::StepShifts].map(|stream| streams.get(stream));
    Model::decode(regions, addresses, shifts).map_err(|rule| broken(chunk, rule))
}

/// Walks the instructions of a delta chunk, which makes the target's bytes from `start` on.
pub(crate) fn walk(
    chunk: &Stored,
    streams: &Streams,
    start: u64,
    visitor: &mut impl Visitor,
) -> Result<(), Failure> {
    let failed = |rule| broken(chunk, rule);
    let mut walker = Walker::new(streams, start, chunk.chunk().target).map_err(failed)?;
    let mut at = start;
    while let Some(step) = walker.step(visitor.most(at)).map_err(failed)? {
        let len = match step {
            Step::Literal(bytes) => {
                visitor.literal(at, bytes);
                bytes.len()
            }
            Step::Copy { from, len } => {
                match visitor.copy(Copy { at, from, len })? {
                    Some(copied) => walker.adjust(copied).map_err(failed)?,
                    None => walker.skip_adjust(len).map_err(failed)?,
                }
                visitor.copied(Copy { at, from, len });
                len
            }
        };
        at += len as u64;
    }
    Ok(())
}

/// `len` bytes from `from` of the source go to `at` of the target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copy {
    pub(crate) at: u64,
    pub(crate) from: u64,
    pub(crate) len: usize,
}

/// Learns what a chunk's instructions do; one that does nothing checks them.
pub(crate) trait Visitor {
    /// How many bytes one step at `at` of the target may make at most.
    fn most(&mut self, _at: u64) -> usize {
        usize::MAX
    }

    /// New bytes at `at`.
    fn literal(&mut self, _at: u64, _bytes: &[u8]) {}

    /// A copy; the bytes that differences are to be added to, `copy.len` of them, if anyone wants to see them.
    fn copy(&mut self, _copy: Copy) -> Result<Option<&mut [u8]>, Failure> {
        Ok(None)
    }

    /// The copy is made, differences and all.
    fn copied(&mut self, _copy: Copy) {}
}

/// Sees nothing.
impl Visitor for () {}

/// Instructions that break a rule of the format.
pub(crate) fn broken(chunk: &Stored, rule: &'static str) -> Failure {
    siding_apply::Error::Instructions { chunk: chunk.index(), rule }.into()
}
