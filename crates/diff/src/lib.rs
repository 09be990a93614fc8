//! Makes a patch between two images.
//!
//! ```text
//! old ─► text ─► references ─┐        ┌────────── map ◄─────────┐
//! new ─► fresh ─► references ┴► texts ┴► anchors ─► copies ─► votes    (again, until it stops paying)
//!                                                       └─► covers ─► instructions ─► chunks
//! ```
//!
//! 1. `text.rs` chooses the old bytes worth matching: for a tree the contents of all its files, one after the
//!    other; long runs of zeros are left out, because zeros cost nothing anyway.
//! 2. `binary.rs` reads programs; `refs.rs` finds their references and rewrites texts so that each is written by
//!    what it means (`docs/prediction.md`).
//! 3. `skim.rs` finds what agrees at length, at the speed of memory. What is left goes to `suffix.rs` (suffix array
//!    by `libsais`), where `cover.rs` looks for better alignments (after Percival, "Naive differences of executable
//!    code", 2003).
//! 4. `parse.rs` chooses the cheapest copies among the alignments found.
//! 5. `fit.rs` fits a map of what moved to what the references in those copies say; `matching.rs` turns the wheel,
//!    and `worth.rs` keeps what does no good out of the model.
//! 6. `cut.rs` cuts the result into stretches of bounded decoded size; `pack.rs` makes a chunk of each, on all threads.
//!
//! The same inputs give the same bytes on any machine with any number of threads: the pieces are cut by
//! position alone, and results are gathered in order.

mod binary;
mod cover;
mod cut;
mod error;
mod fit;
mod matching;
mod pack;
mod parse;
mod refs;
mod skim;
mod suffix;
mod text;
mod worth;

use cover::Cover;
use rayon::prelude::*;
use siding_image::Image;
use siding_patch::{Encoded, Layout, Limits, Packing, encode_changes, encode_model};
use siding_predict::Streams;

pub use binary::Program;
pub use error::Error;

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
    /// Finding programs and their references; counted in bytes of old, all at once at its end.
    Index,
    /// Finding covers, in all rounds together; counted in bytes of new.
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

/// How much memory [`make`] takes about at the most beside the mapped images, in bytes, for images of these sizes.
///
/// Counts all it allocates, patch included: copies of a tree's bytes, references (16 bytes each; in code there is one
/// to every dozen bytes or so, in some tables one to four), texts in which they are rewritten, the index over what does not match at once.
/// That is eight bytes for each byte of both and a floor, which programs full of references come close to; what does
/// not change costs far less, and that shows only later. [`Level::Best`] indexes all of old, so that costs
/// twelve bytes for each byte (sixteen above 2 GiB), and its table of prefixes adds to the floor.
pub fn memory(old: u64, new: u64, level: Level) -> u64 {
    const FLOOR: u64 = 16 << 20;
    const TABLE: u64 = 64 << 20;
    let (each, floor) = match level {
        Level::Fast | Level::Default => (8, FLOOR),
        Level::Best if old < i32::MAX as u64 => (12, FLOOR + TABLE),
        Level::Best => (16, FLOOR + TABLE),
    };
    old.saturating_mul(each).saturating_add(new.saturating_mul(8)).saturating_add(floor)
}

/// Makes the chunks that turn `old` into `new`. Runs on rayon's current threads.
///
/// Needs up to [`memory`] beside the mapped images.
/// Fails if the images are of different kinds or cannot be read.
pub fn make(old: &Image, new: &Image, level: Level, progress: Progress<'_>) -> Result<Delta, Error> {
    let (from, to) = (old.identity().kind, new.identity().kind);
    if from != to {
        return Err(Error::Kinds { old: from, new: to });
    }
    let layout = Layout::new(old, new.content());
    let text = text::Text::of(old, new)?;
    let fresh = text::Fresh::of(new, &layout)?;
    let job = Job { old, new, layout: &layout, text: &text, fresh: &fresh };
    // What is best is not always better.
    let levels = if level == Level::Best { &[Level::Default, level][..] } else { &[level] };
    let ways = levels.len() as u64;
    // Each way has its share of a step; the programs are the same.
    let shared = |way: u64| {
        move |step, done, total| match (step, way) {
            (Step::Index, 0) => progress(step, done, total),
            (Step::Index, _) => {}
            _ => progress(step, (total * way + done) / ways, total),
        }
    };
    let limit = Limits::default().model;
    let find = |(way, level): (u64, &Level)| matching::find(&job, *level, limit, &shared(way));
    let found = (0..).zip(levels).map(find).collect::<Result<Vec<_>, Error>>()?;
    let mut best: Option<Delta> = None;
    for ((way, level), found) in (0..).zip(levels).zip(found) {
        let delta = job.pack(found, *level, &shared(way))?;
        best = best.into_iter().chain([delta]).min_by_key(Delta::len);
    }
    Ok(best.expect("there is a level"))
}

impl Delta {
    /// How many bytes its chunks take.
    fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.bytes.len()).sum()
    }
}

/// What to make chunks for.
struct Job<'a> {
    old: &'a Image,
    new: &'a Image,
    layout: &'a Layout,
    text: &'a text::Text<'a>,
    fresh: &'a text::Fresh<'a>,
}

impl Job<'_> {
    fn pack(&self, found: matching::Found, level: Level, progress: Progress<'_>) -> Result<Delta, Error> {
        let matching::Found { covers, model } = found;
        let fresh = &self.fresh.bytes;
        let mut chunks = changes(self.old, self.new, level)?;
        let aligned = aligned(&covers, self.text, self.old, &model, fresh.len())?;
        if !model.map().steps().is_empty() {
            let Streams { regions, addresses, shifts } = model.encode();
            chunks.push(encode_model(regions, addresses, shifts, level.packing())?);
        }
        let stretches = cut::cut(&covers, &aligned, fresh, self.layout);
        let total = fresh.len() as u64;
        let done = std::sync::atomic::AtomicU64::new(0);
        let packed = stretches.par_iter().map(|stretch| {
            let encoded = pack::encode(stretch, &covers, &aligned, self.old, fresh, level)?;
            let before = done.fetch_add(encoded.chunk.target, std::sync::atomic::Ordering::Relaxed);
            progress(Step::Pack, before + encoded.chunk.target, total);
            Ok(encoded)
        });
        chunks.extend(packed.collect::<Result<Vec<_>, Error>>()?);
        let copied = covers.iter().map(|cover| cover.len as u64).sum();
        Ok(Delta { chunks, covers: covers.len(), copied, literals: total - copied })
    }
}

/// What the device will have where the covers put it, before differences: as long as the target's flat space.
fn aligned(
    covers: &[Cover],
    text: &text::Text<'_>,
    old: &Image,
    model: &siding_predict::Model,
    len: usize,
) -> Result<Vec<u8>, Error> {
    let mut aligned = vec![0; len];
    let mut work = Vec::new();
    let (mut rest, mut at) = (aligned.as_mut_slice(), 0);
    for cover in covers {
        let Some(text) = cover.text else { continue };
        let (_, later) = std::mem::take(&mut rest).split_at_mut(cover.new - at);
        let (now, later) = later.split_at_mut(cover.len);
        work.push((cover, text, now));
        (rest, at) = (later, cover.new + cover.len);
    }
    let bytes_of = |region: &siding_predict::Region| old.slice(region.start, region.len).ok().flatten();
    work.into_par_iter().for_each(|(cover, at, out)| {
        out.copy_from_slice(&text.bytes()[at..at + cover.len]);
        model.predict_copy(cover.from, cover.new as u64, out, bytes_of);
    });
    Ok(aligned)
}

/// A tree's changes come first, in as many chunks as a reader's limits ask for.
fn changes(old: &Image, new: &Image, level: Level) -> Result<Vec<Encoded>, Error> {
    let (Some(old), Some(new)) = (old.tree(), new.tree()) else { return Ok(Vec::new()) };
    let parts = old.changes_to(new).split(CHANGES);
    parts.iter().map(|part| Ok(encode_changes(part, level.packing())?)).collect()
}

/// A chunk of changes holds about so many bytes once decoded; half of what a reader accepts by default.
const CHANGES: usize = 4 << 20;

impl Level {
    /// How to pack for it.
    fn packing(self) -> Packing {
        match self {
            Self::Fast => Packing { zstd: 6, dense: false },
            Self::Default => Packing { zstd: 19, dense: true },
            Self::Best => Packing { zstd: 22, dense: true },
        }
    }
}

#[cfg(test)]
mod tests;
