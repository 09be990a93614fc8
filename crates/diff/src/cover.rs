//! Where new bytes come from: anchors, stretched into covers.
//!
//! ```text
//! in each piece, from front to back, with the alignment found last (old offset − new offset):
//!   skip what agrees under it
//!   where it disagrees, ask for the longest match anywhere in old
//!   if that beats the alignment's own agreement clearly, note an anchor and align to it
//! then, between each two anchors:
//!   stretch the first forwards and the second backwards as long as more bytes agree than not
//!   where they overlap, part them where most bytes agree
//! ```

use crate::suffix::common_prefix;
use crate::text::{Fresh, Text};
use crate::{Error, Index, Level, Progress, Step};
use rayon::prelude::*;
use std::iter::once;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// A stretch of the target that is a copy of source bytes, give or take some differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cover {
    /// Offset in the target's flat space.
    pub new: usize,
    /// Length in bytes.
    pub len: usize,
    /// Offset in the source's flat space.
    pub from: u64,
    /// Offset in the text; `None` for zeros out of nowhere.
    pub(crate) text: Option<usize>,
}

/// A place where new agrees exactly with the text.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    new: usize,
    text: usize,
    len: usize,
}

/// How much one task matches. Cut by position alone, so that the result does not depend on the threads.
const PIECE: usize = 1 << 20;
/// A match must have so many bytes more than agree anyway under the alignment at hand.
const CLEARLY: usize = 12;

/// Finds covers of `new`, in order and apart.
pub(crate) fn find(
    text: &Text<'_>,
    new: &Fresh<'_>,
    level: Level,
    progress: Progress<'_>,
) -> Result<Vec<Cover>, Error> {
    let (new, zeros) = (new.bytes.as_ref(), &new.zeros);
    let old_len = text.bytes().len() as u64;
    let index = Index::new(text.bytes())?;
    progress(Step::Index, old_len, old_len);
    let pieces = pieces(new.len(), zeros);
    let done = AtomicU64::new(0);
    let anchors: Vec<Vec<Anchor>> = pieces
        .par_iter()
        .map(|piece| {
            let anchors = scan(&index, text.bytes(), new, piece.clone(), level);
            let before = done.fetch_add(piece.len() as u64, Ordering::Relaxed);
            progress(Step::Match, before + piece.len() as u64, new.len() as u64);
            anchors
        })
        .collect();
    // The index is by far the largest thing in memory; what follows does not need it.
    drop(index);
    let mut covers = Vec::new();
    let mut start = 0;
    for zeros in zeros.iter().cloned().chain(once(new.len()..new.len())) {
        let here =
            pieces.iter().zip(&anchors).filter(|(piece, _)| piece.start >= start && piece.end <= zeros.start);
        let here: Vec<Anchor> = here.flat_map(|(_, anchors)| anchors).copied().collect();
        stretch(text, new, start..zeros.start, &here, &mut covers);
        if !zeros.is_empty() {
            covers.push(Cover { new: zeros.start, len: zeros.len(), from: text.zeros_at(), text: None });
        }
        start = zeros.end;
    }
    Ok(covers)
}

/// What lies between the zeros, in pieces.
fn pieces(len: usize, zeros: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for zeros in zeros.iter().cloned().chain(once(len..len)) {
        pieces.extend((start..zeros.start).step_by(PIECE).map(|at| at..(at + PIECE).min(zeros.start)));
        start = zeros.end;
    }
    pieces
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
        let found = index.longest(rest).filter(|(_, len)| {
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

/// Stretches the anchors of one range, which has no long zeros in it, and appends the covers.
fn stretch(text: &Text<'_>, new: &[u8], range: Range<usize>, anchors: &[Anchor], covers: &mut Vec<Cover>) {
    let old = text.bytes();
    let mut grown = anchors.to_vec();
    let Some(first) = grown.first_mut() else { return };
    first.grow_back(backwards(&old[..first.text], &new[range.start..first.new]));
    for i in 0..grown.len() {
        let (here, next) = grown.split_at_mut(i + 1);
        let here = &mut here[i];
        let end = here.new + here.len;
        let limit = next.first().map_or(range.end, |next| next.new);
        let mut forth = forwards(&old[here.text + here.len..], &new[end..limit]);
        if let Some(next) = next.first_mut() {
            let mut back = backwards(&old[..next.text], &new[end..limit]);
            let overlap = (forth + back).saturating_sub(limit - end);
            let keep = part(old, new, limit - back..limit - back + overlap, here, next);
            forth -= overlap - keep;
            back -= keep;
            next.grow_back(back);
        }
        here.len += forth;
    }
    for cover in grown {
        push_flat(text, cover, covers);
    }
}

impl Anchor {
    fn grow_back(&mut self, by: usize) {
        self.new -= by;
        self.text -= by;
        self.len += by;
    }

    /// The text's byte for offset `at` of the new bytes under this anchor's alignment.
    fn aligned(&self, at: usize) -> usize {
        // Callers ask only for what both extensions reached, so neither step can leave the text.
        (self.text + at) - self.new
    }
}

/// How far the cover that ends where `old` and `new` begin may go on: while more bytes agree than not.
fn forwards(old: &[u8], new: &[u8]) -> usize {
    best_length(old.iter().zip(new).map(|(old, new)| old == new))
}

/// How far the cover that begins where `old` and `new` end may reach back.
fn backwards(old: &[u8], new: &[u8]) -> usize {
    best_length(old.iter().rev().zip(new.iter().rev()).map(|(old, new)| old == new))
}

/// The length at which agreements most outnumber disagreements.
fn best_length(agreements: impl Iterator<Item = bool>) -> usize {
    /// A hole this deep is not worth looking beyond: what comes after has an anchor of its own.
    const DEEP: isize = 4096;
    let (mut score, mut best, mut best_len) = (0isize, 0isize, 0);
    for (i, agrees) in agreements.enumerate() {
        score += if agrees { 1 } else { -1 };
        if score > best {
            (best, best_len) = (score, i + 1);
        } else if score < best - DEEP {
            break;
        }
    }
    best_len
}

/// Parts `overlap` (of new) between two covers that both reach over it; returns how much the first one keeps.
fn part(old: &[u8], new: &[u8], overlap: Range<usize>, first: &Anchor, second: &Anchor) -> usize {
    let (mut score, mut best, mut keep) = (0isize, 0isize, 0);
    for (i, at) in overlap.enumerate() {
        let byte = new[at];
        score += isize::from(old[first.aligned(at)] == byte) - isize::from(old[second.aligned(at)] == byte);
        if score > best {
            (best, keep) = (score, i + 1);
        }
    }
    keep
}

/// Appends a cover, split where the text's stretches do not lie side by side in the flat space.
fn push_flat(text: &Text<'_>, cover: Anchor, covers: &mut Vec<Cover>) {
    let Anchor { mut new, text: mut at, mut len } = cover;
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
