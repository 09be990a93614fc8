//! The models of bytes: literals and whatever else is text or code, and the values of differences.

use super::coder::Coder;
use super::mixer::{Contexts, Guess, Mixer, deeper, spread};
use super::tables::{
    HASH_BYTES, HASH_VALUES, PLACE_BITS, SET_BYTES, SET_VALUES, SHORTEST, SPREAD, SPREAD_FIVE, SPREAD_SAME,
    SURE,
};
use crate::cursor::Cursor;

/// Codes a byte as two nibbles.
#[inline(always)]
fn code_byte<C: Coder, const N: usize>(
    coder: &mut C,
    mixer: &mut Mixer,
    hashes: &[u32; N],
    set: usize,
    guess: Option<(u8, usize)>,
    byte: u8,
) -> u8 {
    let byte = u32::from(byte);
    let (expected, trust) = guess.map_or((0, 0), |(expected, trust)| (u32::from(expected), trust));
    let high = Contexts { hashes, set, guess: Guess { nibble: expected >> 4, trust } };
    let first = mixer.nibble(coder, &high, byte >> 4);
    let trust = if first == expected >> 4 { trust } else { 0 };
    let hashes = &deeper(hashes, first);
    let low = Contexts { hashes, set: set + 1, guess: Guess { nibble: expected & 15, trust } };
    let second = mixer.nibble(coder, &low, byte & 15);
    (first << 4 | second) as u8
}

/// Finds where the last few bytes stood before.
struct Matcher {
    places: Vec<u32>,
    shift: u32,
    at: usize,
    len: usize,
}

impl Matcher {
    fn new(len: usize) -> Self {
        let bits = (usize::BITS - len.leading_zeros()).clamp(10, PLACE_BITS);
        Self { places: vec![0; 1 << bits], shift: 64 - bits, at: 0, len: 0 }
    }

    fn slot(&self, recent: u64) -> usize {
        ((recent & 0xff_ffff_ffff).wrapping_mul(SPREAD_FIVE) >> self.shift) as usize
    }

    /// What the match expects next.
    #[inline(always)]
    fn guess(&self, bytes: &[u8]) -> Option<(u8, usize)> {
        if self.len == 0 {
            return None;
        }
        let trust = if self.len < 16 { self.len } else { (14 + self.len / 8).min(31) };
        bytes.get(self.at).map(|byte| (*byte, trust))
    }

    /// Goes past the last of `bytes`; `recent` holds the last eight.
    #[inline(always)]
    fn push(&mut self, bytes: &[u8], recent: u64) {
        if self.len > 0 && bytes.get(self.at) == bytes.last() {
            self.len = (self.len + 1).min(65535);
            self.at += 1;
        } else {
            self.len = 0;
        }
        if bytes.len() < SHORTEST {
            return;
        }
        let slot = self.slot(recent);
        let place = &mut self.places[slot];
        let check = (recent as u32).wrapping_mul(SPREAD) & 0xff00_0000;
        if self.len == 0 && *place > 0 && *place & 0xff00_0000 == check {
            let at = (*place & 0xff_ffff) as usize;
            let back = bytes[..at.min(bytes.len())].iter().rev().zip(bytes.iter().rev());
            let len = back.take(32).take_while(|(a, b)| a == b).count();
            if len >= SHORTEST {
                (self.at, self.len) = (at, len);
            }
        }
        *place = check | bytes.len() as u32 & 0xff_ffff;
    }
}

/// Codes the bytes of stream `id`. `bytes` is empty and as roomy as there are bytes.
pub(super) fn code_bytes<C: Coder>(
    coder: &mut C,
    mixer: &mut Mixer,
    id: u32,
    (plain, len): (&[u8], usize),
    mut bytes: Vec<u8>,
) -> Vec<u8> {
    let mut matcher = Matcher::new(len);
    let mut recent = 0u64;
    let id = id.wrapping_mul(8) + HASH_BYTES;
    for i in 0..len {
        let r = recent;
        let hashes = [
            spread(id, r as u32 & 0xff),
            spread(id + 1, r as u32 & 0xffff),
            spread(id + 2, r as u32 & 0xff_ffff),
            spread(id + 3, r as u32),
            spread(spread(id + 5, (r >> 24) as u32 & 0xff), (i as u32 & 3) << 8 | r as u32 & 0xff),
        ];
        let guess = matcher.guess(&bytes);
        let set = SET_BYTES + (guess.map_or(0, |(_, trust)| 1 + usize::from(trust > SURE))) * 2;
        let plain = plain.get(i).copied().unwrap_or(0);
        let byte = code_byte(coder, mixer, &hashes, set, guess, plain);
        bytes.push(byte);
        recent = recent << 8 | u64::from(byte);
        matcher.push(&bytes, recent);
    }
    bytes
}

/// The runs of differences, and where in them the next value stands.
pub(super) struct Runs<'a> {
    gaps: Cursor<'a>,
    runs: Cursor<'a>,
    /// Of the run under way: the gap before it, its length, how far in the value is.
    gap: u64,
    len: u64,
    at: u64,
    /// Where the value is among the copied bytes, from 1 on.
    position: u64,
}

impl<'a> Runs<'a> {
    pub(super) fn new(gaps: &'a [u8], runs: &'a [u8]) -> Self {
        Self { gaps: Cursor::new(gaps), runs: Cursor::new(runs), gap: 0, len: 0, at: 0, position: 0 }
    }

    /// To the next value; without streams of places all are one run.
    fn step(&mut self) {
        self.at += 1;
        self.position = self.position.wrapping_add(1);
        if self.at >= self.len {
            self.gap = self.gaps.number().unwrap_or(0);
            self.len = self.runs.number().unwrap_or(u64::MAX - 1).saturating_add(1);
            self.at = 0;
            self.position = self.position.wrapping_add(self.gap);
        }
    }
}

/// Codes the differences. `bytes` is empty and as roomy as there are values.
pub(super) fn code_values<C: Coder>(
    coder: &mut C,
    mixer: &mut Mixer,
    (plain, len): (&[u8], usize),
    mut bytes: Vec<u8>,
    mut runs: Runs<'_>,
) -> Vec<u8> {
    // The run being coded and the two before it, first byte lowest.
    let (mut run, mut last, mut older) = (0u64, 0u64, 0u64);
    let mut previous = 0u8;
    for i in 0..len {
        runs.step();
        if runs.at == 0 {
            (run, last, older) = (0, run, last);
        }
        let at = runs.at.min(7) as u32;
        let shape = at << 4 | runs.len.min(15) as u32;
        let before = if at > 0 { u32::from(previous) } else { 0x100 };
        let same = (last >> (8 * at)) as u32 & 0xff;
        let id = HASH_VALUES;
        let so_far = (run as u32).wrapping_add((run >> 32) as u32);
        let hashes = [
            spread(spread(id, shape), before),
            spread(spread(id + 1, shape), so_far ^ same << 24 ^ same.wrapping_mul(SPREAD_SAME)),
            spread(spread(spread(id + 2, shape), so_far), last as u32),
            spread(spread(id + 4, shape << 4 | runs.position as u32 & 3), runs.gap.min(255) as u32),
            spread(spread(spread(id + 5, last as u32), so_far), older as u32),
        ];
        let set = SET_VALUES + (at.min(2) as usize) * 2;
        let plain = plain.get(i).copied().unwrap_or(0);
        let byte = code_byte(coder, mixer, &hashes, set, None, plain);
        if runs.at < 8 {
            run |= u64::from(byte) << (8 * at);
        }
        bytes.push(byte);
        previous = byte;
    }
    bytes
}
