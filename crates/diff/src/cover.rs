//! Where new bytes come from.
//!
//! ```text
//! anchors, in each piece of new, from front to back, with the alignment found last (old offset − new offset):
//!   skip what agrees under it
//!   where it disagrees, ask for the longest match anywhere in old
//!   if that beats the alignment's own agreement clearly, note an anchor and align to it
//! candidates: each anchor, stretched both ways as long as enough bytes agree
//! covers: the cheapest way through the candidates (parse.rs)
//! ```

use crate::parse::{Candidate, Copied, Prices, parse};
use crate::skim::{self, Rest, Windows};
use crate::suffix::{Index, common_prefix, common_suffix};
use crate::text::Text;
use crate::{Error, Level};
use rayon::prelude::*;
use std::iter::once;
use std::ops::Range;

/// A stretch of the target that is a copy of source bytes, give or take some differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cover {
    /// Offset in the target's flat space.
    pub(crate) new: usize,
    /// Length in bytes.
    pub(crate) len: usize,
    /// Offset in the source's flat space.
    pub(crate) from: u64,
    /// Offset in the text; `None` for zeros out of nowhere.
    pub(crate) text: Option<usize>,
}

/// A place where new agrees exactly with the text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anchor {
    pub(crate) new: usize,
    pub(crate) text: usize,
    pub(crate) len: usize,
}

/// How much one task matches. Cut by position alone, so that the result does not depend on the threads.
const PIECE: usize = 1 << 20;
/// A match must have so many bytes more than agree anyway under the alignment at hand.
const CLEARLY: usize = 8;

/// What lies between the zeros, in pieces.
pub(crate) fn pieces(len: usize, zeros: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for zeros in zeros.iter().cloned().chain(once(len..len)) {
        pieces.extend((start..zeros.start).step_by(PIECE).map(|at| at..(at + PIECE).min(zeros.start)));
        start = zeros.end;
    }
    pieces
}

/// Finds anchors in every piece; `done` is told each piece's length.
///
/// Long agreements are skimmed first; only what is left goes to the suffix array, and it holds only what is left
/// of old, unless the level is [`Level::Best`].
pub(crate) fn anchors(
    old: &[u8],
    new: &[u8],
    pieces: &[Range<usize>],
    level: Level,
    done: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Vec<Anchor>>, Error> {
    let skimmed: Vec<Vec<Anchor>> = match level {
        Level::Best => vec![Vec::new(); pieces.len()],
        _ => {
            let windows = Windows::new(old);
            pieces.par_iter().map(|piece| windows.scan(new, piece.clone())).collect()
        }
    };
    let kept = choose(old, new, pieces, &skimmed, Prices::SEARCH);
    let gaps: Vec<Vec<Range<usize>>> =
        pieces.par_iter().map(|piece| skim::gaps(old, new, piece, &kept)).collect();
    let rest = Rest::of(old, &kept, &gaps.concat());
    let index = Index::new(&rest.bytes)?;
    Ok(pieces
        .par_iter()
        .zip(skimmed)
        .zip(gaps)
        .map(|((piece, mut anchors), gaps)| {
            for gap in gaps {
                for Anchor { new, text, len } in scan(&index, &rest.bytes, new, gap, level) {
                    let (text, room) = rest.in_old(text);
                    anchors.push(Anchor { new, text, len: len.min(room) });
                }
            }
            done(piece.len());
            anchors
        })
        .collect())
}

fn scan(index: &Index<'_>, text: &[u8], new: &[u8], piece: Range<usize>, level: Level) -> Vec<Anchor> {
    let mut anchors: Vec<Anchor> = Vec::new();
    let mut at = piece.start;
    // Misses in a row; where nothing matches, look less often.
    let mut misses = 0;
    while at < piece.end {
        let aligned =
            anchors.last().and_then(|last| text.get(last.text + (at - last.new)..)).unwrap_or_default();
        let run = common_prefix(aligned, &new[at..piece.end]);
        if run > 0 {
            at += run;
            misses = 0;
            continue;
        }
        let rest = &new[at..piece.end];
        // What does not beat the alignment clearly is not asked for.
        const { assert!(CLEARLY >= 8) };
        let found = index.long(rest).filter(|(_, len)| {
            let agree = aligned.iter().zip(rest).take(*len).filter(|(old, new)| old == new).count();
            *len > agree + CLEARLY
        });
        match found {
            Some((text, len)) => {
                anchors.push(Anchor { new: at, text, len });
                at += len;
                misses = 0;
            }
            None => {
                misses += 1;
                at += level.step(misses);
            }
        }
    }
    anchors
}

impl Level {
    /// How far to go on after so many misses in a row. Stretching backwards finds what was passed over.
    fn step(self, misses: usize) -> usize {
        match self {
            Self::Fast => (1 + misses / 16).min(16),
            Self::Default => (1 + misses / 256).min(4),
            Self::Best => 1,
        }
    }
}

/// The cheapest copies for every piece, given its anchors.
pub(crate) fn choose(
    old: &[u8],
    new: &[u8],
    pieces: &[Range<usize>],
    anchors: &[Vec<Anchor>],
    prices: Prices,
) -> Vec<Copied> {
    let chosen: Vec<Vec<Copied>> = pieces
        .par_iter()
        .zip(anchors)
        .map(|(piece, anchors)| parse(old, new, piece.clone(), &candidates(old, new, piece, anchors), prices))
        .collect();
    let mut copies: Vec<Copied> = Vec::with_capacity(chosen.iter().map(Vec::len).sum());
    for copy in chosen.into_iter().flatten() {
        match copies.last_mut() {
            Some(last) if last.new + last.len == copy.new && last.old + last.len == copy.old => {
                last.len += copy.len;
            }
            _ => copies.push(copy),
        }
    }
    copies
}

fn candidates(old: &[u8], new: &[u8], piece: &Range<usize>, anchors: &[Anchor]) -> Vec<Candidate> {
    let diagonal = |anchor: &Anchor| anchor.text.wrapping_sub(anchor.new).cast_signed();
    let mut anchors = anchors.to_vec();
    anchors.sort_unstable_by_key(|anchor| (diagonal(anchor), anchor.new, anchor.len));
    let mut all: Vec<Candidate> = Vec::new();
    for anchor in &anchors {
        let Anchor { new: at, text, len } = *anchor;
        let last = all.last_mut().filter(|last| last.diagonal == diagonal(anchor) && at <= last.end);
        if last.as_ref().is_some_and(|last| at + len <= last.end) {
            continue;
        }
        let forth = forwards(&old[text + len..], &new[at + len..piece.end]);
        if let Some(last) = last {
            last.end = at + len + forth;
            continue;
        }
        // What lies behind an earlier candidate of this diagonal was looked at from there.
        let floor =
            all.last().filter(|last| last.diagonal == diagonal(anchor)).map_or(piece.start, |last| last.end);
        let back = backwards(&old[..text], &new[floor..at]);
        all.push(Candidate { start: at - back, end: at + len + forth, diagonal: diagonal(anchor) });
    }
    all.sort_unstable();
    all
}

/// How far the cover that ends where `old` and `new` begin may go on: while more bytes agree than not.
fn forwards(old: &[u8], new: &[u8]) -> usize {
    best_length(old.len().min(new.len()), |at| common_prefix(&old[at..], &new[at..]))
}

/// How far the cover that begins where `old` and `new` end may reach back.
fn backwards(old: &[u8], new: &[u8]) -> usize {
    best_length(old.len().min(new.len()), |at| common_suffix(&old[..old.len() - at], &new[..new.len() - at]))
}

/// The length up to `len` at which agreements most outweigh disagreements, which count three times: in tables of
/// addresses up to three bytes of four agree under any alignment by whole entries.
///
/// `agreeing` says how many bytes agree from a place on.
fn best_length(len: usize, agreeing: impl Fn(usize) -> usize) -> usize {
    /// A hole this deep is not worth looking beyond: what comes after has an anchor of its own.
    const DEEP: isize = 48;
    /// So far from an anchor there will be another, if the alignment is any good.
    const FAR: usize = 8 << 10;
    let len = len.min(FAR);
    let (mut at, mut score, mut best, mut best_len) = (0, 0isize, 0isize, 0);
    while at < len && score >= best - DEEP {
        let run = agreeing(at).min(len - at);
        (at, score) = (at + run, score + run.cast_signed());
        if score > best {
            (best, best_len) = (score, at);
        }
        (at, score) = (at + 1, score - 3);
    }
    best_len
}

/// Copies as covers, with the long zeros between them.
pub(crate) fn covers(text: &Text<'_>, copies: &[Copied], zeros: &[Range<usize>]) -> Vec<Cover> {
    let mut covers = Vec::with_capacity(copies.len() + zeros.len());
    let mut copies = copies.iter().copied().peekable();
    for zeros in zeros.iter().cloned().chain(once(usize::MAX..usize::MAX)) {
        while let Some(copy) = copies.next_if(|copy| copy.new < zeros.start) {
            push_flat(text, copy, &mut covers);
        }
        if !zeros.is_empty() {
            covers.push(Cover { new: zeros.start, len: zeros.len(), from: text.zeros_at(), text: None });
        }
    }
    covers
}

/// Appends a cover, split where the text's stretches do not lie side by side in the flat space.
fn push_flat(text: &Text<'_>, copy: Copied, covers: &mut Vec<Cover>) {
    let Copied { mut new, old: mut at, mut len } = copy;
    while len > 0 {
        let (from, room) = text.flat(at);
        let now = len.min(room);
        match covers.last_mut() {
            Some(last) if last.goes_on_at(new, from, at) => last.len += now,
            _ => covers.push(Cover { new, len: now, from, text: Some(at) }),
        }
        (new, at, len) = (new + now, at + now, len - now);
    }
}

impl Cover {
    fn goes_on_at(&self, new: usize, from: u64, text: usize) -> bool {
        self.new + self.len == new
            && self.from + self.len as u64 == from
            && self.text.is_some_and(|start| start + self.len == text)
    }
}
