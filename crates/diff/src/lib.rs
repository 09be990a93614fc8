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

mod binary;
mod cover;
mod cut;
mod error;
mod fit;
mod matching;
mod parse;
mod refs;
mod skim;
mod suffix;
mod text;

use rayon::prelude::*;
use siding_image::Image;
use siding_patch::{Encoded, Layout, Packing, encode_changes, encode_model};
use siding_predict::Streams;

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
    let matching::Found { covers, model } = matching::find(old, &text, new, &fresh, &layout, level, progress)?;
    let fresh = &fresh.bytes;
    let aligned = aligned(&covers, &text, old, &model, fresh.len())?;
    report(&covers, &model, &aligned, fresh);
    if !model.map().steps().is_empty() {
        let Streams { regions, addresses, shifts } = model.encode();
        chunks.push(encode_model(regions, addresses, shifts, level.packing())?);
    }
    let stretches = cut::cut(&covers, &aligned, fresh, &layout);
    let total = fresh.len() as u64;
    let done = std::sync::atomic::AtomicU64::new(0);
    let packed = stretches.par_iter().map(|stretch| {
        let encoded = cut::encode(stretch, &covers, &aligned, old, fresh, level)?;
        let before = done.fetch_add(encoded.chunk.target, std::sync::atomic::Ordering::Relaxed);
        progress(Step::Pack, before + encoded.chunk.target, total);
        Ok(encoded)
    });
    chunks.extend(packed.collect::<Result<Vec<_>, Error>>()?);
    let copied = covers.iter().map(|cover| cover.len as u64).sum();
    Ok(Delta { chunks, covers: covers.len(), copied, literals: total - copied })
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

fn report(covers: &[Cover], model: &siding_predict::Model, aligned: &[u8], fresh: &[u8]) {
    if std::env::var_os("SIDING_DEBUG").is_none() {
        return;
    }
    use std::collections::BTreeMap;
    let mut by: BTreeMap<String, [usize; 6]> = BTreeMap::new();
    let name = |flat: u64| model.around(flat).map_or("-", |region| region.kind.name()).to_owned();
    let mut at = 0;
    let mut literals = 0;
    for cover in covers {
        literals += cover.new - at;
        if cover.new - at > 2000 {
            eprintln!("  literals {at}..{} before {:?}", cover.new, model.around(cover.from).map(|r| r.kind));
        }
        at = cover.new + cover.len;
        let entry = by.entry(name(cover.from)).or_default();
        entry[0] += 1;
        entry[1] += cover.len;
        if cover.text.is_some() {
            let mut run = false;
            for i in cover.new..at {
                let differs = aligned[i] != fresh[i];
                entry[2] += usize::from(differs);
                entry[3] += usize::from(differs && !run);
                run = differs;
            }
        }
    }
    literals += fresh.len() - at;
    // Which guess of a copy's source is right?
    let mut inverse: Vec<(u64, i64, u64)> = Vec::new();
    let steps = model.map().steps();
    for (i, (address, shift)) in steps.iter().enumerate() {
        let end = steps.get(i + 1).map_or(u64::MAX, |next| next.0);
        inverse.push((address.wrapping_add_signed(*shift), *shift, end - address));
    }
    inverse.sort_unstable();
    let (mut straight, mut insert, mut map, mut near, mut far, mut recent, mut maponly) = (0, 0, 0, 0, 0, 0, 0);
    let mut last = (0u64, 0u64);
    let mut diags: Vec<i64> = Vec::new();
    for cover in covers {
        let lit = cover.new as u64 - last.1;
        let jump = cover.from as i64 - (last.0 + lit) as i64;
        let diag = cover.from as i64 - cover.new as i64;
        // guess by map: addresses equal offsets within region: use region's address bias
        let guess = (|| {
            let segment = model.segment(cover.new as u64).ok()?;
            let address = segment.address + (cover.new as u64 - segment.start);
            let at = inverse.partition_point(|(start, _, _)| *start <= address);
            let (start, shift, len) = inverse.get(at.checked_sub(1)?)?;
            let _ = len; let _ = start;
            Some(address.wrapping_add_signed(-*shift))
        })();
        let here = model.around(cover.from).ok().map(|region| region.address + cover.from - region.start);
        let by_map = guess.is_some() && guess == here;
        let by_recent = diags.contains(&diag);
        if jump == 0 { straight += 1 } else if cover.from == last.0 { insert += 1 } else if by_map { map += 1 } else if by_recent { recent += 1} else if jump.abs() < 256 { near += 1 } else { far += 1 }
        if by_map { maponly += 1 }
        diags.retain(|d| *d != diag); diags.insert(0, diag); diags.truncate(16);
        last = (cover.from + cover.len as u64, (cover.new + cover.len) as u64);
    }
    eprintln!("straight {straight} insert {insert} map {map} (of all {maponly}) recent {recent} near {near} far {far}");
    eprintln!("literals {literals} covers {}", covers.len());
    for (name, entry) in by {
        eprintln!("{name:14} covers {:7} bytes {:10} differ {:8} runs {:8}", entry[0], entry[1], entry[2], entry[3]);
    }
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
