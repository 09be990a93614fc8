//! How much memory an apply may take, and what it does with it.

use crate::{Error, core::TILE};
use siding_patch::{ChunkKind, Coder, Manifest, Stored};

/// What an apply may take by default, in bytes.
pub const MEMORY: u64 = 32 << 20;

/// The largest batch, in bytes: a handful of tiles for each of a handful of threads.
const MOST: u64 = 32 * TILE as u64;

/// What there is beside chunks and batches, in bytes: threads' stacks and buffers, the manifest, the program itself.
const REST: u64 = 1 << 20;

/// What the adaptive coder takes for its tables at most, in bytes, in all frames of a chunk together: 2.6 MiB in the one
/// with the literals, and less than 2 MiB in all others.
const ADAPTIVE: u64 = 9 << 19;

/// Whether a patch can be carried out in `memory` bytes of private memory; fails with [`Error::Memory`] if not.
///
/// The list of a tree's entries, some 1.5 KiB for each of them, and what coders look back at, up to
/// [`Limits::history`](siding_patch::Limits::history), are not in a manifest and not counted.
pub fn fits(manifest: &Manifest, memory: u64) -> Result<(), Error> {
    Budget::of(manifest, memory).map(drop)
}

/// The least memory, in bytes, in which [`run`](crate::run) carries a patch out, counted as by [`fits`].
pub fn least_memory(manifest: &Manifest) -> u64 {
    let fixed = REST.saturating_add(resident(manifest)).saturating_add(2 * TILE as u64);
    let chunks = manifest.chunks.iter().map(|listed| decoding(listed.stored, listed.decoded));
    fixed.saturating_add(chunks.max().unwrap_or(0))
}

/// How a given amount of memory is divided.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    /// How many bytes of tiles are made at a time; as many again are being written.
    pub(crate) batch: usize,
    /// For each chunk: whether the next is prepared meanwhile.
    ahead: Vec<bool>,
    memory: u64,
    /// What is taken whatever chunk is at hand.
    held: u64,
}

impl Budget {
    /// Divides `memory`, or says that the patch needs more.
    pub(crate) fn of(manifest: &Manifest, memory: u64) -> Result<Self, Error> {
        let needed = least_memory(manifest);
        if needed > memory {
            return Err(Error::Memory { needed, allowed: memory, chunk: None });
        }
        let fixed = REST.saturating_add(resident(manifest));
        let chunks = &manifest.chunks;
        let largest = chunks.iter().map(|listed| decoding(listed.stored, listed.decoded)).max().unwrap_or(0);
        let left = memory.saturating_sub(fixed).saturating_sub(largest);
        let batch = usize::try_from((left / 4).clamp(TILE as u64, MOST)).unwrap_or(TILE);
        let held = fixed.saturating_add(2 * batch as u64);
        let ahead = chunks.windows(2).map(|pair| match pair {
            [now, next] => {
                let both = now.decoded.saturating_add(decoding(next.stored, next.decoded));
                held.saturating_add(both) <= memory
            }
            _ => false,
        });
        Ok(Self { batch, ahead: ahead.collect(), memory, held })
    }

    /// Whether there is room to decode a chunk with what its coders look back at, which no manifest lists.
    pub(crate) fn admit(&self, stored: &Stored) -> Result<(), Error> {
        let lens = stored.frames()?.into_iter().map(|frame| match frame.coder {
            Coder::ZstdAfter(history) => history.len(),
            _ => 0,
        });
        let histories: u64 = lens.fold(0, u64::saturating_add);
        let chunk = decoding(stored.chunk().stored, stored.chunk().decoded);
        let needed = self.held.saturating_add(chunk).saturating_add(histories);
        if histories > 0 && needed > self.memory {
            return Err(Error::Memory { needed, allowed: self.memory, chunk: Some(stored.index()) });
        }
        Ok(())
    }

    /// Whether the chunk after `chunk` is prepared while that is carried out.
    pub(crate) fn ahead(&self, chunk: usize) -> bool {
        self.ahead.get(chunk).is_none_or(|ahead| *ahead)
    }
}

/// What stays in memory for the whole apply: the list of chunks, and the model, twelve bytes for each of its own at the
/// worst.
fn resident(manifest: &Manifest) -> u64 {
    let models = manifest.chunks.iter().filter(|chunk| chunk.kind == ChunkKind::Model);
    let models: u64 = models.map(|chunk| chunk.decoded.saturating_mul(12)).sum();
    models.saturating_add(size_of_val(manifest.chunks.as_slice()) as u64)
}

/// What decoding a chunk takes: its bytes as they came, its streams, and in a coder as much as these at the worst, or
/// what the adaptive coder takes if the chunk is small enough for that.
fn decoding(stored: u64, decoded: u64) -> u64 {
    let coder = if decoded <= Coder::ADAPTIVE_MOST { decoded.max(ADAPTIVE) } else { decoded };
    stored.saturating_add(decoded).saturating_add(coder)
}
