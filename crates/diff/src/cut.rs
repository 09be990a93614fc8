//! Cuts covers and what lies between them into chunks, and encodes each.

use crate::cover::Cover;
use crate::{Error, Level};
use siding_image::Image;
use siding_patch::{Encoded, History, Instruction, Layout, encode_delta};

/// A chunk's streams together have about so many bytes: small enough for a device's memory and for several
/// threads to have work, large enough to pack well.
const DECODED: usize = 4 << 20;
/// A chunk makes at most so many bytes of the target, so that there is progress to show and to keep.
const TARGET: usize = 64 << 20;
/// Covers and literals are weighed in steps of this many bytes, so a chunk may exceed the above by one step.
const STEP: usize = 64 << 10;
/// How much a chunk's literals may refer to, in bytes: what a reader accepts by default.
const HISTORY: u64 = 8 << 20;
/// How much of that is for the target at least, if the source is referred to.
const NEAR: u64 = 2 << 20;
/// What an instruction typically costs in its three streams of numbers.
const INSTRUCTION: usize = 6;

/// A stretch of the target that one chunk makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    start: usize,
    end: usize,
    /// The first cover that reaches past `start`.
    first: usize,
}

/// Cuts the target into stretches by what their chunks will hold once decoded.
///
/// A stretch ends at a multiple of [`STEP`] in its file, or at the file's end: chunks may not end inside a
/// digest block (`docs/format.md` section 5).
pub(crate) fn cut(covers: &[Cover], aligned: &[u8], fresh: &[u8], layout: &Layout) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let (mut start, mut first, mut weight) = (0, 0, 0);
    let mut at = 0;
    let mut next = 0;
    while at < fresh.len() {
        let step = step_end(layout, at);
        let cover = covers.get(next);
        let in_cover = cover.filter(|cover| cover.new <= at);
        let limit = in_cover.map_or(cover.map_or(fresh.len(), |c| c.new), |c| c.new + c.len);
        let end = limit.min(step);
        weight += match in_cover {
            None => end - at,
            Some(cover) => INSTRUCTION + weigh(source(cover, aligned, fresh, at, end), &fresh[at..end]),
        };
        at = end;
        if in_cover.is_some() && end == limit {
            next += 1;
        }
        if at == step && (weight >= DECODED || at - start >= TARGET) {
            stretches.push(Stretch { start, end: at, first });
            (start, first, weight) = (at, next, 0);
        }
    }
    if start < at {
        stretches.push(Stretch { start, end: at, first });
    }
    stretches
}

/// The next place after `at` where a chunk may end.
fn step_end(layout: &Layout, at: usize) -> usize {
    let (_, file) = layout.around(at as u64).expect("the layout is as long as the fresh bytes");
    let (start, end) = (file.start as usize, file.end as usize);
    (start + (at - start + 1).next_multiple_of(STEP)).min(end)
}

/// What differences cost once decoded: a byte each, and two numbers a run.
fn weigh(source: &[u8], target: &[u8]) -> usize {
    // The same place is not read: it may be a hole of many GiB.
    if std::ptr::eq(source, target) || source == target {
        return 0;
    }
    let differs = |i: usize| source[i] != target[i];
    (0..target.len()).filter(|&i| differs(i)).map(|i| if i > 0 && differs(i - 1) { 1 } else { 4 }).sum()
}

/// What the source has for the target's bytes `start..end`, which lie in `cover`.
fn source<'a>(cover: &Cover, aligned: &'a [u8], fresh: &'a [u8], start: usize, end: usize) -> &'a [u8] {
    match cover.text {
        Some(_) => &aligned[start..end],
        // Zeros out of nowhere are the zeros that are there.
        None => &fresh[start..end],
    }
}

/// Encodes one stretch.
pub(crate) fn encode(
    stretch: &Stretch,
    covers: &[Cover],
    aligned: &[u8],
    old: &Image,
    fresh: &[u8],
    level: Level,
) -> Result<Encoded, Error> {
    let start = stretch.start as u64;
    let with_covers = instructions(stretch, covers, aligned, fresh);
    let mut best = encode_delta(&with_covers, start, level.packing(), None)?;
    let len = stretch.end - stretch.start;
    let literals: usize = with_covers.iter().map(|instruction| instruction.literals.len()).sum();
    let found_much = best.bytes.len() < len / 4 && literals < len / 4;
    if found_much || level == Level::Fast {
        return Ok(best);
    }
    // Little was found in old. Perhaps literals that lean on what the device has do better, with or without
    // covers; that is what `zstd --patch-from` does, and never to be worse than it.
    let whole =
        [Instruction { literals: &fresh[stretch.start..stretch.end], from: 0, source: &[], target: &[] }];
    let mut candidates: Vec<&[Instruction<'_>]> = vec![&with_covers];
    if len <= 2 * DECODED - STEP {
        candidates.push(&whole);
    }
    for history in histories(stretch, covers, old) {
        let bytes = history_bytes(&history, old, &fresh[..stretch.start])?;
        for instructions in &candidates {
            let candidate = encode_delta(instructions, start, level.packing(), Some((history, &bytes)))?;
            if candidate.bytes.len() < best.bytes.len() {
                best = candidate;
            }
        }
    }
    Ok(best)
}

/// What may pay to refer to: only the target so far, or mostly the source around where the stretch came from.
fn histories(stretch: &Stretch, covers: &[Cover], old: &Image) -> Vec<History> {
    let start = stretch.start as u64;
    let target_len = start.min(HISTORY);
    let inside = covers.iter().skip(stretch.first).take_while(|cover| cover.new < stretch.end);
    let longest = inside.filter(|cover| cover.text.is_some()).max_by_key(|cover| (cover.len, cover.new));
    let origin = longest.map_or(start, |cover| (cover.from + start).saturating_sub(cover.new as u64));
    let source_len = old.len().min(HISTORY - NEAR);
    // The stretch's own length ahead of its origin matters more than what lies behind it.
    let source_offset = origin.saturating_sub(source_len / 4).min(old.len() - source_len);
    let around = History { source_offset, source_len, target_len: start.min(HISTORY - source_len) };
    let mut histories = vec![History { target_len, ..History::default() }, around];
    histories.dedup();
    histories.retain(|history| !history.is_empty());
    histories
}

fn history_bytes(history: &History, old: &Image, made: &[u8]) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; history.source_len as usize];
    old.read_at(history.source_offset, &mut bytes)?;
    bytes.extend_from_slice(&made[made.len() - history.target_len as usize..]);
    Ok(bytes)
}

fn instructions<'a>(
    stretch: &Stretch,
    covers: &[Cover],
    aligned: &'a [u8],
    fresh: &'a [u8],
) -> Vec<Instruction<'a>> {
    let mut list = Vec::new();
    let mut at = stretch.start;
    for cover in covers.iter().skip(stretch.first).take_while(|cover| cover.new < stretch.end) {
        let start = cover.new.max(stretch.start);
        let end = (cover.new + cover.len).min(stretch.end);
        list.push(Instruction {
            literals: &fresh[at..start],
            from: cover.from + (start - cover.new) as u64,
            source: source(cover, aligned, fresh, start, end),
            target: &fresh[start..end],
        });
        at = end;
    }
    if at < stretch.end {
        list.push(Instruction { literals: &fresh[at..stretch.end], from: 0, source: &[], target: &[] });
    }
    list
}
