//! Makes a patch between two images.
//!
//! ```text
//! old ─► text ─► suffix array ─┐
//! new ─► zero runs, pieces ────┴► anchors ─► covers ─► instructions ─► chunks
//! ```
//!
//! 1. `text.rs` chooses the old bytes worth matching: for a tree the contents of all its files, one after the
//!    other; long runs of zeros are left out, because zeros cost nothing anyway.
//! 2. `suffix.rs` indexes them (suffix array by `libsais`) and finds the longest match of any position.
//! 3. `cover.rs` walks the new bytes in pieces, on all threads, and notes where a better alignment with the old
//!    bytes begins (after Percival, "Naive differences of executable code", 2003); then it stretches those
//!    anchors into *covers*: places where old and new agree well enough that differences are cheaper than
//!    literals.
//! 4. `cut.rs` cuts the result into chunks of bounded decoded size and encodes them, on all threads.
//!
//! The same inputs give the same bytes on any machine with any number of threads: the pieces are cut by
//! position alone, and results are gathered in order.

mod cover;
mod cut;
mod error;
mod suffix;
mod text;

use rayon::prelude::*;
use siding_image::Image;
use siding_patch::{Encoded, Layout, encode_changes};

pub use cover::Cover;
pub use error::Error;
pub use suffix::Index;

/// How hard to try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// For builds that run all day: skims what does not match, packs quickly.
    Fast,
    /// For releases.
    #[default]
    Default,
    /// Takes the time it takes.
    Best,
}

/// A step of the work, for progress bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Sorting the old bytes' suffixes; counted in bytes of old, all at once at its end.
    Index,
    /// Finding covers; counted in bytes of new.
    Match,
    /// Packing chunks; counted in bytes of new.
    Pack,
}

/// Told about progress from any thread: the step, what is done and what there is in all, in bytes.
pub type Progress<'a> = &'a (dyn Fn(Step, u64, u64) + Sync);

/// What was made.
#[derive(Debug)]
pub struct Delta {
    /// The chunks, in order.
    pub chunks: Vec<Encoded>,
    /// How many covers there are.
    pub covers: usize,
    /// How many bytes of the target are copies of zeros or of source bytes, differences included.
    pub copied: u64,
    /// How many bytes are literals.
    pub literals: u64,
}

/// Makes the chunks that turn `old` into `new`. Runs on rayon's current threads.
///
/// Needs about 5 bytes of memory per byte of old (9 above 2 GiB) beside both images' own bytes.
/// Fails if the images are of different kinds or cannot be read.
pub fn make(old: &Image, new: &Image, level: Level, progress: Progress<'_>) -> Result<Delta, Error> {
    let (from, to) = (old.identity().kind, new.identity().kind);
    if from != to {
        return Err(Error::Kinds { old: from, new: to });
    }
    let layout = Layout::new(old, new.content());
    let mut chunks = changes(old, new, level)?;
    let text = text::Text::of(old, new)?;
    let fresh = text::Fresh::of(new, &layout)?;
    let covers = cover::find(&text, &fresh, level, progress)?;
    let fresh = &fresh.bytes;
    let stretches = cut::cut(&covers, &text, fresh, &layout);
    let total = fresh.len() as u64;
    let done = std::sync::atomic::AtomicU64::new(0);
    let packed = stretches.par_iter().map(|stretch| {
        let encoded = cut::encode(stretch, &covers, &text, old, fresh, level)?;
        let before = done.fetch_add(encoded.chunk.target, std::sync::atomic::Ordering::Relaxed);
        progress(Step::Pack, before + encoded.chunk.target, total);
        Ok(encoded)
    });
    chunks.extend(packed.collect::<Result<Vec<_>, Error>>()?);
    let copied = covers.iter().map(|cover| cover.len as u64).sum();
    Ok(Delta { chunks, covers: covers.len(), copied, literals: total - copied })
}

/// A tree's changes come first, in as many chunks as a reader's limits ask for.
fn changes(old: &Image, new: &Image, level: Level) -> Result<Vec<Encoded>, Error> {
    let (Some(old), Some(new)) = (old.tree(), new.tree()) else { return Ok(Vec::new()) };
    let parts = old.changes_to(new).split(CHANGES);
    parts.iter().map(|part| Ok(encode_changes(part, level.zstd())?)).collect()
}

/// A chunk of changes holds about so many bytes once decoded; half of what a reader accepts by default.
const CHANGES: usize = 4 << 20;

impl Level {
    /// Zstandard's level for it.
    fn zstd(self) -> i32 {
        match self {
            Self::Fast => 6,
            Self::Default => 19,
            Self::Best => 22,
        }
    }
}

#[cfg(test)]
mod tests;
