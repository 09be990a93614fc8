//! Encodes a stretch as a chunk.
//!
//! Where little was found in old, literals that lean on what the device has may do better, with or without covers;
//! that is what `zstd --patch-from` does, and never to be worse than it. But most data of which little is found is
//! packed already, like archives, and gains nothing. To try everything takes five times as long, so:
//!
//! ```text
//! quick(x) = the size of x packed by a quick coder, less what it overlooks because it lies far back
//! without covers, leaning:    if quick says that it does better than all others
//! with covers, leaning:       if quick says that it saves 1/50;
//!                             or, where quick finds nothing to save at all, literals share words with the history
//! with covers, alone:         otherwise
//! the slow coders:            unless quick finds nothing to save in many literals
//! ```
//!
//! [`Level::Best`] tries everything.

use crate::cover::Cover;
use crate::cut::{LONGEST, Stretch, instructions};
use crate::skim::Windows;
use crate::{Error, Level};
use siding_image::Image;
use siding_patch::{Encoded, History, Instruction, Packing, encode_delta};

/// How much a chunk's literals may refer to, in bytes: what a reader accepts by default.
const HISTORY: u64 = 8 << 20;
/// How much of that is for the target at least, if the source is referred to.
const NEAR: u64 = 2 << 20;
/// Tells what pays.
const QUICK: Packing = Packing::zstd(3);

/// Encodes one stretch.
pub(crate) fn encode(
    stretch: &Stretch,
    covers: &[Cover],
    aligned: &[u8],
    old: &Image,
    fresh: &[u8],
    level: Level,
) -> Result<Encoded, Error> {
    let whole = &fresh[stretch.start..stretch.end];
    let job = Job {
        start: stretch.start as u64,
        len: whole.len(),
        covered: instructions(stretch, covers, aligned, fresh),
        whole: [Instruction { literals: whole, from: 0, source: &[], target: &[] }],
        packing: level.packing(),
    };
    let histories = || -> Result<Vec<_>, Error> {
        let histories = histories(stretch, covers, old).into_iter();
        histories
            .map(|history| Ok((history, history_bytes(&history, old, &fresh[..stretch.start])?)))
            .collect()
    };
    match level {
        Level::Fast => Ok(encode_delta(&job.covered, job.start, job.packing, None)?),
        Level::Default => job.promising(histories),
        Level::Best => job.everything(histories),
    }
}

/// What a history refers to, and its bytes.
type Leaning = (History, Vec<u8>);

struct Job<'a> {
    start: u64,
    len: usize,
    covered: Vec<Instruction<'a>>,
    whole: [Instruction<'a>; 1],
    packing: Packing,
}

impl Job<'_> {
    /// The smallest of all there is to try, where little was found in old.
    fn everything(&self, histories: impl Fn() -> Result<Vec<Leaning>, Error>) -> Result<Encoded, Error> {
        let alone = self.encode(&self.covered, self.packing, None)?;
        if self.found_much(&alone) {
            return Ok(alone);
        }
        let mut best = alone;
        for leaning in histories()? {
            for instructions in self.ways() {
                best = smaller(best, self.encode(instructions, self.packing, Some(&leaning))?);
            }
        }
        Ok(best)
    }

    /// The smallest of what a quick coder finds promising.
    fn promising(&self, histories: impl Fn() -> Result<Vec<Leaning>, Error>) -> Result<Encoded, Error> {
        /// Of quick sizes one in so many must be saved for an encoder to be tried.
        const SAVED: usize = 50;
        let alone = self.encode(&self.covered, QUICK, None)?;
        if self.found_much(&alone) {
            return self.encode(&self.covered, self.packing, None);
        }
        let literals = Literals::of(&self.covered)?;
        let packing = Packing { dense: self.packing.dense && !literals.full(), ..self.packing };
        let alone = alone.bytes.len();
        let (mut least, mut most) = (alone - alone / SAVED, SHARED);
        let (mut leaning, mut uncovered) = (None, None);
        let histories = histories()?;
        for history in &histories {
            let quick = self.encode(&self.covered, QUICK, Some(history))?.bytes.len();
            let size = quick.min(alone.saturating_sub(literals.saved_by(&history.1)?));
            let shared = if literals.packed() { literals.shared_with(&history.1) } else { 0 };
            if size < least || shared > most {
                (least, most) = (least.min(size), most.max(shared));
                leaning = Some(history);
            }
        }
        for history in histories.iter().filter(|_| self.whole_differs()) {
            let size = self.encode(&self.whole, QUICK, Some(history))?.bytes.len();
            if size < least {
                (least, uncovered) = (size, Some(history));
            }
        }
        let covered = self.encode(&self.covered, packing, leaning)?;
        match uncovered {
            Some(_) => Ok(smaller(covered, self.encode(&self.whole, packing, uncovered)?)),
            None => Ok(covered),
        }
    }

    fn ways(&self) -> impl Iterator<Item = &[Instruction<'_>]> {
        let whole = self.whole_differs().then_some(&self.whole[..]);
        std::iter::once(&self.covered[..]).chain(whole)
    }

    /// Whether there is another way to say the stretch than by its covers; not if it is too long for that.
    fn whole_differs(&self) -> bool {
        self.len <= LONGEST && !matches!(self.covered[..], [Instruction { target: [], .. }])
    }

    fn encode(
        &self,
        instructions: &[Instruction<'_>],
        packing: Packing,
        leaning: Option<&Leaning>,
    ) -> Result<Encoded, Error> {
        let history = leaning.map(|(history, bytes)| (*history, &bytes[..]));
        Ok(encode_delta(instructions, self.start, packing, history)?)
    }

    fn found_much(&self, alone: &Encoded) -> bool {
        let literals: usize = self.covered.iter().map(|instruction| instruction.literals.len()).sum();
        alone.bytes.len() < self.len / 4 && literals < self.len / 4
    }
}

/// How long literals are once packed by a quick coder.
fn quick(literals: &[u8]) -> Result<usize, Error> {
    let alone = [Instruction { literals, from: 0, source: &[], target: &[] }];
    Ok(encode_delta(&alone, 0, QUICK, None)?.bytes.len())
}

fn smaller(first: Encoded, second: Encoded) -> Encoded {
    if second.bytes.len() < first.bytes.len() { second } else { first }
}

/// A stretch's literals, and what a quick coder makes of them.
struct Literals {
    bytes: Vec<u8>,
    quick: usize,
}

/// Of a thousand words of literals that look random so many must be found in a history for it to be tried.
const SHARED: usize = 5;

impl Literals {
    fn of(instructions: &[Instruction<'_>]) -> Result<Self, Error> {
        let literals = instructions.iter().map(|instruction| instruction.literals);
        let bytes = literals.collect::<Vec<_>>().concat();
        let quick = quick(&bytes)?;
        Ok(Self { bytes, quick })
    }

    /// How many bytes it saves at least that some of them lie in `history` at length.
    ///
    /// A quick coder's own tables are too small to know of what is some MiB back.
    fn saved_by(&self, history: &[u8]) -> Result<usize, Error> {
        /// What it takes to say where a match lies, in bytes.
        const MATCH: usize = 6;
        let matches = Windows::new(history).scan(&self.bytes, 0..self.bytes.len());
        let (mut rest, mut at) = (Vec::new(), 0);
        for found in &matches {
            rest.extend_from_slice(&self.bytes[at..found.new]);
            at = found.new + found.len;
        }
        rest.extend_from_slice(&self.bytes[at..]);
        Ok(self.quick.saturating_sub(quick(&rest)? + MATCH * matches.len()))
    }

    /// Whether they are packed already, or nearly: then a quick coder skips over them and finds nothing in a history.
    fn packed(&self) -> bool {
        self.quick >= self.bytes.len() - self.bytes.len() / 50
    }

    /// Whether they are many and no coder will find anything in them.
    fn full(&self) -> bool {
        const MANY: usize = 256 << 10;
        self.bytes.len() >= MANY && self.quick >= self.bytes.len() - self.bytes.len() / 1000
    }

    /// Of a thousand words taken from all over the literals so many occur in `history`.
    fn shared_with(&self, history: &[u8]) -> usize {
        /// A word of five bytes hardly ever occurs by chance.
        const WORD: usize = 5;
        const EVERY: usize = 16;
        let value = |word: &[u8]| word.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        let mut words: Vec<(u64, bool)> =
            self.bytes.windows(WORD).step_by(EVERY).map(|word| (value(word), false)).collect();
        words.sort_unstable();
        words.dedup();
        // Most of the history is none of them, which a bit says.
        let mut bits = vec![0u64; 1 << 19];
        let place = |word: u64| {
            let hash = word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 39;
            ((hash >> 6) as usize, 1u64 << (hash & 63))
        };
        for (word, _) in &words {
            let (at, bit) = place(*word);
            bits[at] |= bit;
        }
        for word in history.windows(WORD).map(value) {
            let (at, bit) = place(word);
            if bits[at] & bit != 0
                && let Ok(found) = words.binary_search_by_key(&word, |(word, _)| *word)
            {
                words[found].1 = true;
            }
        }
        words.iter().filter(|(_, found)| *found).count() * 1000 / words.len().max(1)
    }
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
