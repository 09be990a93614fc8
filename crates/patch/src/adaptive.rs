//! An adaptive coder made for a delta's streams: small, not fast.
//!
//! A frame holds several streams, coded jointly: *units* in a fixed order ([`UNITS`]), the streams of a unit in
//! turns. Every number and byte is a few nibbles, a nibble is four choices of two, and each choice's
//! probability is mixed from what up to six contexts expect. All of it is integer arithmetic, so a frame decodes
//! to the same bytes on every machine; all constants are in `tables.rs`.
//!
//! ```text
//! nibble(contexts):
//!     slots   = one of each context: table[hash >> shift] if its tag matches, else a fresh one
//!     weights = those of the caller's set and of how many slots matched
//!     for each of four choices, at node = 1, then 2 node + bit:
//!         x[i] = stretch(slots[i][node])             # ln(p / (1 - p)), in 256ths
//!         p    = squash(sum of weights[i] * x[i])
//!         bit  = coder.bit(p)
//!         weights[i] += rate * x[i] * (bit - p)
//!         slots[i][node] moves to bit by 1 / (times seen + 1.5), in the end by 1/26
//! ```
//!
//! - *Entropy coder* (`coder.rs`): rANS (Duda 2013) with a 40-bit state, words of 16 bits, 15-bit probabilities.
//!   The encoder starts from a known state, so a decoder that used all words must end there: so any truncation
//!   and any trailing byte is refused. It costs 3 bytes a frame.
//! - *Mixing* (`mixer.rs`): as in lpaq (Mahoney 2007), on whose counters and squash it is modelled. A slot is 32
//!   bytes, a nibble's whole tree. A new context has no opinion, and how many contexts are known selects the
//!   weights: it learns from the first kilobyte on.
//! - *Numbers* (`numbers.rs`): a nibble for the size (0 to 7, then by bit length), then the bits below the
//!   leading one from the top. Contexts are the last numbers of the same stream and of its neighbours in the unit.
//!   A unit that is not numbers throughout is coded as bytes.
//! - *Values*: contexts are the place in the run, the run's length, and the runs before: an address that moved
//!   moves by what the last one moved. Most is gained here: sec-poppler's 11,916 bytes by zstd -19 are 5.8 k.
//! - *Literals*: orders 1 to 4, the byte four back with the place modulo 4, and a match model.
//!
//! What was tried beside it, and what it costs: `docs/decisions/0010-three-coders.md`.

// Indices are masked or bounded by construction and the arithmetic is the model's own, never a length from
// outside: those are checked or saturate. The tests run with overflow checks on garbage.
#![allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::arithmetic_side_effects,
    reason = "as above"
)]

mod bytes;
mod coder;
mod mixer;
mod numbers;
mod tables;
#[cfg(test)]
mod tests;

use crate::Stream;
use crate::cursor::Cursor;
use bytes::Runs;
use coder::{Coder, Decoder};
use mixer::Mixer;
use numbers::Member;

/// The rule that a frame breaks.
type Broken = &'static str;

/// Decodes a frame that holds these streams, each so many bytes long.
///
/// Allocates the streams' lengths and the model ([`MEMORY`] at most); takes time in proportion to the lengths,
/// whatever the bytes say.
pub(crate) fn decode(bytes: &[u8], lens: &[(Stream, usize)]) -> Result<Vec<Vec<u8>>, Broken> {
    let mut job = Job::default();
    for (stream, len) in lens {
        if std::mem::replace(&mut job.lens[*stream as usize], *len) != 0 {
            return Err("a stream occurs twice");
        }
    }
    let mut coder = Decoder::new(bytes).ok_or("an adaptive frame has no head, or a wrong one")?;
    job.run(&mut coder)?;
    if !coder.finished() {
        return Err("an adaptive frame is too short, too long or damaged");
    }
    Ok(lens.iter().map(|(stream, _)| std::mem::take(&mut job.out[*stream as usize])).collect())
}

/// Encodes streams into a frame that [`decode`] turns back into them, given their lengths.
#[cfg(feature = "make")]
pub(crate) fn encode(streams: &[(Stream, &[u8])]) -> Vec<u8> {
    let mut job = Job::default();
    for (stream, bytes) in streams {
        job.plain[*stream as usize] = bytes;
        job.lens[*stream as usize] = bytes.len();
    }
    let mut coder = coder::Encoder::default();
    let done = job.run(&mut coder);
    debug_assert_eq!(done, Ok(()), "what is encoded fits its own lengths");
    coder.finish()
}

/// What the model takes at most, in bytes: slots, places of matches, weights and counters.
#[cfg(test)]
const MEMORY: usize = (32 << tables::SLOT_BITS) + (4 << tables::PLACE_BITS) + (64 << 10);

/// How a unit's streams are modelled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Numbers,
    Values,
    Bytes,
}

/// Streams that are coded together, in turns.
struct Unit<'a> {
    class: Class,
    streams: &'a [Stream],
}

/// Units in the order in which a frame holds them; after them each further stream is one of its own, numbers
/// if it can be.
const UNITS: [Unit<'static>; 5] = [
    Unit {
        class: Class::Numbers,
        streams: &[Stream::LiteralLengths, Stream::CopyLengths, Stream::CopyOffsets],
    },
    Unit { class: Class::Numbers, streams: &[Stream::Gaps, Stream::Runs] },
    Unit { class: Class::Values, streams: &[Stream::Values] },
    Unit { class: Class::Bytes, streams: &[Stream::Literals] },
    Unit { class: Class::Bytes, streams: &[Stream::Changes] },
];

/// By how much more than its number a number moves its unit's position; `None` if it does not.
fn moves(stream: Stream) -> Option<u64> {
    match stream {
        Stream::LiteralLengths | Stream::CopyLengths | Stream::Gaps => Some(0),
        Stream::Runs => Some(1),
        _ => None,
    }
}

/// Streams on their way through a coder, by number.
#[derive(Default)]
struct Job<'a> {
    /// What to encode; empty in a decoder.
    plain: [&'a [u8]; Stream::ALL.len()],
    lens: [usize; Stream::ALL.len()],
    out: [Vec<u8>; Stream::ALL.len()],
}

impl<'a> Job<'a> {
    fn run<C: Coder>(&mut self, coder: &mut C) -> Result<(), Broken> {
        let total = self.lens.iter().fold(0, |sum: usize, len| sum.saturating_add(*len));
        let mut mixer = Mixer::new(slot_bits(total, self.lens[Stream::Literals as usize]));
        let named = |stream: &Stream| UNITS.iter().any(|unit| unit.streams.contains(stream));
        let further = Stream::ALL.iter().filter(|stream| !named(stream));
        let further = further.map(|s| Unit { class: Class::Numbers, streams: std::slice::from_ref(s) });
        for unit in UNITS.into_iter().chain(further) {
            if unit.streams.iter().any(|stream| self.lens[*stream as usize] > 0) {
                self.code_unit(coder, &mut mixer, &unit)?;
            }
        }
        Ok(())
    }

    fn code_unit<C: Coder>(
        &mut self,
        coder: &mut C,
        mixer: &mut Mixer,
        unit: &Unit<'_>,
    ) -> Result<(), Broken> {
        if unit.class == Class::Values {
            let [gaps, runs] = [Stream::Gaps, Stream::Runs].map(|stream| &self.out[stream as usize][..]);
            let (plain, len) = self.stream(Stream::Values);
            let values = bytes::code_values(coder, mixer, (plain, len), reserve(len)?, Runs::new(gaps, runs));
            self.out[Stream::Values as usize] = values;
            return Ok(());
        }
        if unit.class == Class::Numbers {
            let numbers: Vec<_> = unit.streams.iter().map(|s| parse(self.plain[*s as usize])).collect();
            if coder.plain(u32::from(numbers.iter().all(Option::is_some))) == 1 {
                return self.code_numbers(coder, mixer, unit, &numbers);
            }
        }
        for stream in unit.streams {
            let (plain, len) = self.stream(*stream);
            self.out[*stream as usize] =
                bytes::code_bytes(coder, mixer, *stream as u32, (plain, len), reserve(len)?);
        }
        Ok(())
    }

    fn code_numbers<C: Coder>(
        &mut self,
        coder: &mut C,
        mixer: &mut Mixer,
        unit: &Unit<'_>,
        numbers: &[Option<Vec<u64>>],
    ) -> Result<(), Broken> {
        let mut members = Vec::new();
        for (stream, numbers) in unit.streams.iter().zip(numbers) {
            let len = self.lens[*stream as usize];
            members.push(Member {
                id: *stream as u32,
                follows: *stream == Stream::CopyOffsets,
                moves: moves(*stream),
                plain: numbers.as_deref().unwrap_or_default(),
                out: reserve(len)?,
                len,
                past: numbers::Past::default(),
            });
        }
        numbers::code_group(coder, mixer, &mut members).ok_or("a number is longer than its stream")?;
        for (stream, member) in unit.streams.iter().zip(members) {
            self.out[*stream as usize] = member.out;
        }
        Ok(())
    }

    fn stream(&self, stream: Stream) -> (&'a [u8], usize) {
        (self.plain[stream as usize], self.lens[stream as usize])
    }
}

/// How many slots: literals need many, the rest repeats itself.
fn slot_bits(total: usize, literals: usize) -> u32 {
    let bits = |len: usize| usize::BITS - len.leading_zeros();
    bits(total).saturating_sub(4).max(bits(literals) + 2).clamp(12, tables::SLOT_BITS)
}

fn reserve(len: usize) -> Result<Vec<u8>, Broken> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| "it needs more memory than there is")?;
    Ok(bytes)
}

/// All numbers of a stream, if it is nothing but numbers.
fn parse(bytes: &[u8]) -> Option<Vec<u64>> {
    let mut cursor = Cursor::new(bytes);
    let mut numbers = Vec::new();
    while !cursor.is_empty() {
        numbers.push(cursor.number().ok()?);
    }
    Some(numbers)
}
