//! What agrees at length, at the speed of memory; and what is left for the suffix array.
//!
//! ```text
//! note where every 16th window of 32 old bytes lies, by its hash
//! over new, with the alignment found last:
//!   skip what agrees under it, and single differences in what mostly agrees
//!   where it is lost, roll a hash over new until a window is known; align to it
//! ```
//!
//! (The hash is that of Karp and Rabin, 1987; the sampling is rsync's idea with sides exchanged: Tridgell 1999.)
//! Most of a security fix's target is found here, in time that grows with the images, not with the change, but little;
//! what takes long, sorting and searching, is done with what is left.

use crate::cover::Anchor;
use crate::parse::Copied;
use crate::suffix::{common_prefix, common_suffix};
use rayon::prelude::*;
use std::ops::Range;

/// The length of a window in bytes.
const WINDOW: usize = 32;
/// Every so many bytes of old a window is noted.
const STEP: usize = 16;
/// How many windows of one hash are kept.
const PROBES: usize = 4;
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
/// `FACTOR` to the power of `WINDOW`.
const OUT: u64 = power(FACTOR, WINDOW);
/// A window's hash is that of its first half times this, and that of its second half.
const HALF: u64 = power(FACTOR, STEP);
const _: () = assert!(WINDOW == 2 * STEP);
/// Windows are counted in 32 bits, from one on.
const MOST: usize = u32::MAX as usize;

const fn power(factor: u64, times: usize) -> u64 {
    let (mut product, mut i) = (1u64, 0);
    while i < times {
        product = product.wrapping_mul(factor);
        i += 1;
    }
    product
}

/// Windows of old by hash.
pub(crate) struct Windows<'a> {
    old: &'a [u8],
    /// Position over `STEP`, plus one; 0 where there is none.
    table: Vec<u32>,
    /// For each place of the table eight more bits of the hash, so that few look-ups have to look at old.
    tags: Vec<u8>,
    shift: u32,
}

impl<'a> Windows<'a> {
    /// Takes up to one byte and a quarter of memory per byte of old, and half a byte more meanwhile.
    ///
    /// Of more than 64 GiB the first are noted.
    pub(crate) fn new(old: &'a [u8]) -> Self {
        let old_noted = &old[..old.len().min(MOST * STEP)];
        let bits = (2 * (old_noted.len() / STEP).max(8)).next_power_of_two().trailing_zeros();
        let (table, tags) = (vec![0; 1 << bits], vec![0; 1 << bits]);
        let mut windows = Self { old, table, tags, shift: u64::BITS - bits };
        let blocks: Vec<u64> = old_noted.par_chunks_exact(STEP).with_min_len(4096).map(hash).collect();
        for (number, pair) in (1u32..).zip(blocks.windows(WINDOW / STEP)) {
            // Windows of one byte over and over say nothing.
            let plain = pair[0] == pair[1] && {
                let at = (number - 1) as usize * STEP;
                old[at..at + WINDOW].iter().all(|byte| *byte == old[at])
            };
            if !plain {
                windows.note(pair[0].wrapping_mul(HALF).wrapping_add(pair[1]), number);
            }
        }
        windows
    }

    fn note(&mut self, hash: u64, number: u32) {
        let (slot, tag) = self.slot(hash);
        let mask = self.table.len() - 1;
        let free = (0..PROBES).map(|probe| (slot + probe) & mask).find(|at| self.table[*at] == 0);
        if let Some(at) = free {
            (self.table[at], self.tags[at]) = (number, tag);
        }
    }

    /// A place in the table, and a tag.
    fn slot(&self, hash: u64) -> (usize, u8) {
        let mixed = hash.wrapping_mul(FACTOR);
        ((mixed >> self.shift) as usize, (mixed >> (self.shift - 8)).to_le_bytes()[0])
    }

    /// The longest of the known places that agree with `new` over a window at least.
    fn find(&self, hash: u64, new: &[u8]) -> Option<(usize, usize)> {
        let (slot, tag) = self.slot(hash);
        let mask = self.table.len() - 1;
        let mut best: Option<(usize, usize)> = None;
        for place in (0..PROBES).map(|probe| (slot + probe) & mask) {
            let Some(index) = self.table[place].checked_sub(1) else { break };
            if self.tags[place] != tag {
                continue;
            }
            let at = index as usize * STEP;
            let len = common_prefix(&self.old[at..], new);
            if len >= WINDOW && best.is_none_or(|(_, longest)| len > longest) {
                best = Some((at, len));
            }
        }
        best
    }

    /// The alignments of `piece` of `new`, in order and apart.
    pub(crate) fn scan(&self, new: &[u8], piece: Range<usize>) -> Vec<Anchor> {
        let mut anchors: Vec<Anchor> = Vec::new();
        let mut at = piece.start;
        while let Some((text, here)) = self.next(new, at..piece.end) {
            let floor = anchors.last().map_or(piece.start, |last| last.new + last.len);
            let back = common_suffix(&self.old[..text], &new[floor..here]);
            let len = follow(&self.old[text..], &new[here..piece.end]);
            anchors.push(Anchor { new: here - back, text: text - back, len: back + len });
            at = here + len;
        }
        anchors
    }

    /// The next window in `range` of `new` that is known: where in old, where in new.
    fn next(&self, new: &[u8], range: Range<usize>) -> Option<(usize, usize)> {
        let bytes = &new[range.clone()];
        let mut rolled = hash(bytes.get(..WINDOW)?);
        let mut at = 0;
        loop {
            if let Some((text, _)) = self.find(rolled, &bytes[at..]) {
                return Some((text, range.start + at));
            }
            let next = *bytes.get(at + WINDOW)?;
            rolled = roll(rolled, bytes[at], next);
            at += 1;
        }
    }
}

fn hash(window: &[u8]) -> u64 {
    window.iter().fold(0, |hash, byte| hash.wrapping_mul(FACTOR).wrapping_add(u64::from(*byte) + 1))
}

fn roll(hash: u64, out: u8, byte: u8) -> u64 {
    hash.wrapping_mul(FACTOR)
        .wrapping_add(u64::from(byte) + 1)
        .wrapping_sub(OUT.wrapping_mul(u64::from(out) + 1))
}

/// How far two runs of bytes go on together, single differences included.
fn follow(old: &[u8], new: &[u8]) -> usize {
    /// Of the next so many bytes at least so many must agree.
    const NEXT: usize = 32;
    const AGREE: usize = 28;
    let mut at = 0;
    loop {
        at += common_prefix(&old[at..], &new[at..]);
        let (old, new) = (&old[at..], &new[at..]);
        if old.len() < NEXT || new.len() < NEXT {
            return at;
        }
        let agree = old[..NEXT].iter().zip(&new[..NEXT]).filter(|(old, new)| old == new).count();
        if agree < AGREE {
            return at;
        }
        at += 1;
    }
}

/// Old bytes that no alignment claims, side by side, and where they lie.
pub(crate) struct Rest {
    pub(crate) bytes: Vec<u8>,
    /// Offset here, offset in old.
    parts: Vec<(usize, usize)>,
}

/// Around what is left this many claimed bytes are kept: what comes next may begin in them.
const MARGIN: usize = 64;
/// So many bytes of old are searched anyway,
const FEW: usize = 4 << 20;
/// and so many for each that is left of new.
const MANY: usize = 64;
/// What lies this near, in bytes, to where a gap's neighbours came from is searched in any case.
const NEAR: usize = 128 << 10;

/// Old bytes near to where what is around each gap came from, in order and apart.
fn near(len: usize, claimed: &[Copied], gaps: &[Range<usize>]) -> Vec<Range<usize>> {
    let around = |gap: &Range<usize>| {
        let after = claimed.partition_point(|copy| copy.new < gap.start);
        let neighbours = [after.checked_sub(1), Some(after)].into_iter().flatten();
        let copies = neighbours.filter_map(|index| claimed.get(index)).collect::<Vec<_>>();
        let window = |copy: &&Copied| {
            let at = if copy.new < gap.start { copy.old + copy.len } else { copy.old };
            at.saturating_sub(NEAR + gap.len())..(at + NEAR + gap.len()).min(len)
        };
        copies.iter().map(window).collect::<Vec<_>>()
    };
    let mut ranges: Vec<Range<usize>> = gaps.iter().flat_map(around).collect();
    ranges.sort_unstable_by_key(|range| range.start);
    ranges.dedup_by(|next, range| {
        let joins = next.start <= range.end;
        if joins {
            range.end = range.end.max(next.end);
        }
        joins
    });
    ranges
}

/// What is in both lists of ranges, each in order; the second one's are apart.
fn common(first: &[Range<usize>], second: &[Range<usize>]) -> Vec<Range<usize>> {
    let within = |range: &Range<usize>| {
        let from = second.partition_point(|other| other.end <= range.start);
        let range = range.clone();
        second[from..].iter().take_while(move |other| other.start < range.end).map({
            let range = range.clone();
            move |other| other.start.max(range.start)..other.end.min(range.end)
        })
    };
    first.iter().flat_map(|range| within(range).collect::<Vec<_>>()).collect()
}

/// Gaps shorter than this, in bytes, are not worth a search.
const GAP: usize = 12;

impl Rest {
    /// What is left of `old`; if that is far more than what is left of new, `gaps`, only what lies near to where
    /// their neighbours came from.
    pub(crate) fn of(old: &[u8], claimed: &[Copied], gaps: &[Range<usize>]) -> Self {
        let mut ranges: Vec<Range<usize>> =
            claimed.iter().map(|copy| copy.old..copy.old + copy.len).collect();
        ranges.sort_unstable_by_key(|range| range.start);
        let mut left = Vec::new();
        let mut end = 0;
        for range in ranges.into_iter().chain(std::iter::once(old.len()..old.len())) {
            if range.start > end {
                left.push(end.saturating_sub(MARGIN)..(range.start + MARGIN).min(old.len()));
            }
            end = end.max(range.end);
        }
        let total = |ranges: &[Range<usize>]| ranges.iter().map(ExactSizeIterator::len).sum::<usize>();
        if total(&left) > FEW.max(total(gaps).saturating_mul(MANY)) {
            left = common(&left, &near(old.len(), claimed, gaps));
        }
        let mut rest = Self { bytes: Vec::new(), parts: Vec::new() };
        left.into_iter().for_each(|range| rest.add(old, range));
        rest
    }

    fn add(&mut self, old: &[u8], range: Range<usize>) {
        let done = self.parts.last().map_or(0, |(here, from)| from + (self.bytes.len() - here));
        let start = range.start.max(done);
        if start < range.end {
            if start != done || self.parts.is_empty() {
                self.parts.push((self.bytes.len(), start));
            }
            self.bytes.extend_from_slice(&old[start..range.end]);
        }
    }

    /// Where in old byte `at` lies, and how many more lie behind it there.
    pub(crate) fn in_old(&self, at: usize) -> (usize, usize) {
        let index = self.parts.partition_point(|(here, _)| *here <= at);
        let (here, from) = self.parts[index - 1];
        let end = self.parts.get(index).map_or(self.bytes.len(), |(here, _)| *here);
        (from + (at - here), end - at)
    }
}

/// What of `piece` no copy claims, or none that agrees well.
pub(crate) fn gaps(old: &[u8], new: &[u8], piece: &Range<usize>, claimed: &[Copied]) -> Vec<Range<usize>> {
    let mut gaps: Vec<Range<usize>> = Vec::new();
    let mut gap = |from: usize, to: usize| match gaps.last_mut() {
        Some(last) if last.end + GAP >= from => last.end = to,
        _ if to > from + GAP => gaps.push(from..to),
        _ => {}
    };
    let mut end = piece.start;
    let first = claimed.partition_point(|copy| copy.new + copy.len <= piece.start);
    for copy in claimed[first..].iter().take_while(|copy| copy.new < piece.end) {
        let (start, stop) = (copy.new.max(piece.start), (copy.new + copy.len).min(piece.end));
        gap(end, start);
        let from = copy.old + (start - copy.new);
        let blocks = old[from..from + (stop - start)].chunks(BLOCK).zip(new[start..stop].chunks(BLOCK));
        for (i, (old, new)) in blocks.enumerate() {
            let differ =
                if old == new { 0 } else { old.iter().zip(new).filter(|(old, new)| old != new).count() };
            if differ > BLOCK / 20 {
                gap(start + i * BLOCK, (start + i * BLOCK + BLOCK).min(stop));
            }
        }
        end = stop;
    }
    gap(end, piece.end);
    gaps
}

/// Agreement is looked at in blocks of so many bytes.
const BLOCK: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_moved_is_found_whole_and_what_is_new_is_left() {
        let old = crate::tests::noise(1, 10_000);
        let fresh = crate::tests::noise(2, 500);
        let new = [&old[4000..], &fresh, &old[..4000]].concat();
        let anchors = Windows::new(&old).scan(&new, 0..new.len());
        let found: Vec<_> = anchors.iter().map(|anchor| (anchor.new, anchor.text, anchor.len)).collect();
        assert_eq!(found, [(0, 4000, 6000), (6500, 0, 4000)]);
        let copies: Vec<Copied> =
            found.iter().map(|(new, old, len)| Copied { new: *new, old: *old, len: *len }).collect();
        let left = gaps(&old, &new, &(0..new.len()), &copies);
        assert_eq!(left, vec![6000..6500]);
        assert!(Rest::of(&old, &copies, &left).bytes.is_empty());
    }

    proptest! {
        #[test]
        fn the_rest_is_all_that_is_not_claimed_and_knows_its_place(
            claims in proptest::collection::vec((0usize..5000, 1usize..900), 0..10),
        ) {
            let old = crate::tests::noise(5, 6000);
            let claimed: Vec<Copied> = claims.iter().map(|(at, len)| Copied { new: 0, old: *at, len: *len }).collect();
            let rest = Rest::of(&old, &claimed, &[]);
            let mut there = vec![false; old.len()];
            for (i, byte) in rest.bytes.iter().enumerate() {
                let (at, more) = rest.in_old(i);
                prop_assert_eq!(*byte, old[at]);
                prop_assert!(more > 0 && at + more <= old.len());
                there[at] = true;
            }
            for (at, there) in there.into_iter().enumerate() {
                let claimed = claims.iter().any(|(start, len)| (*start..start + len).contains(&at));
                prop_assert!(there || claimed, "byte {} is nowhere", at);
            }
        }

        #[test]
        fn the_hash_rolls(bytes in proptest::collection::vec(any::<u8>(), WINDOW + 1..100)) {
            let mut rolled = hash(&bytes[..WINDOW]);
            for at in 1..=bytes.len() - WINDOW {
                rolled = roll(rolled, bytes[at - 1], bytes[at - 1 + WINDOW]);
                prop_assert_eq!(rolled, hash(&bytes[at..at + WINDOW]));
            }
        }
    }
}
