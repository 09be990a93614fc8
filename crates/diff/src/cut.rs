//! Cuts covers and what lies between them into stretches, of each of which `pack.rs` makes a chunk.

use crate::cover::Cover;
use siding_patch::{Instruction, Layout};

/// A chunk's streams together have about so many bytes: small enough for a device's memory and for several
/// threads to have work, large enough to pack well.
const DECODED: usize = 7 << 18;
/// A chunk makes at most so many bytes of the target, so that there is progress to show and to keep.
const TARGET: usize = 64 << 20;
/// Covers and literals are weighed in steps of this many bytes, so a chunk may exceed the above by one step.
const STEP: usize = 64 << 10;
/// What an instruction typically costs in its three streams of numbers.
const INSTRUCTION: usize = 6;

/// A stretch of the target that one chunk makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// The first cover that reaches past `start`.
    pub(crate) first: usize,
}

/// No stretch is longer that has no covers, in bytes.
pub(crate) const LONGEST: usize = 2 * DECODED - STEP;

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

/// What makes one stretch: literals and copies in turns.
pub(crate) fn instructions<'a>(
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
