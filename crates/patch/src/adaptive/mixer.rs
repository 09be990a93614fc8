//! Predicts and codes nibbles: four choices of two each, every one mixed from what several contexts expect.

use super::coder::{Coder, ONE, SCALE};
use super::tables::{
    BIAS, FRESH, RATE_FIRST, RATE_LAST, RATES, SETS, SPREAD, SPREAD_HASH, WEIGHT_CONTEXT, WEIGHT_MATCH,
    WEIGHT_MOST, squash, stretch,
};

/// What a context's nibbles were: `[0]` is the context's tag; `[node]` the probability of a 1 at that node of
/// the nibble's tree (upper 12 bits) and how often the node was passed (lower 4).
type Slot = [u16; 16];

/// A byte that a match expects: one of its nibbles, and how much that is to be believed (0: not at all).
#[derive(Clone, Copy, Default)]
pub(super) struct Guess {
    pub(super) nibble: u32,
    pub(super) trust: usize,
}

/// The model's memory.
pub(super) struct Mixer {
    slots: Vec<Slot>,
    shift: u32,
    weights: Vec<[i32; INPUTS]>,
    rates: Vec<i32>,
    /// Counters of matches that held, by trust.
    matches: [u16; 32],
}

/// Inputs of a mix: up to six contexts, the match, a constant.
const INPUTS: usize = 8;
const MATCH: usize = 6;
const CONSTANT: usize = 7;
/// How many contexts may have been met before: 0 to 6, rounded up.
const HITS: usize = 8;

impl Mixer {
    /// A mixer with `1 << bits` slots of 32 bytes.
    pub(super) fn new(bits: u32) -> Self {
        let mut slot = [FRESH; 16];
        slot[0] = 0;
        let mut weights = [WEIGHT_CONTEXT; INPUTS];
        weights[MATCH] = WEIGHT_MATCH;
        weights[CONSTANT] = 0;
        let mut matches = [FRESH; 32];
        for (i, p) in (2u16..).zip(&mut matches) {
            *p = (65535 - 32768 / i) & 0xfff0;
        }
        Self {
            slots: vec![slot; 1 << bits],
            shift: 32 - bits,
            weights: vec![weights; SETS * HITS],
            rates: vec![RATE_FIRST; SETS * HITS],
            matches,
        }
    }

    /// Codes `nibble` in the contexts `hashes` with the weights of `set`, and learns from it.
    #[inline(always)]
    pub(super) fn nibble<C: Coder, const N: usize>(
        &mut self,
        coder: &mut C,
        hashes: &[u32; N],
        set: usize,
        guess: Guess,
        nibble: u32,
    ) -> u32 {
        if guess.trust > 0 {
            self.code::<C, N, true>(coder, hashes, set, guess, nibble)
        } else {
            self.code::<C, N, false>(coder, hashes, set, guess, nibble)
        }
    }

    #[inline(never)]
    fn code<C: Coder, const N: usize, const MATCHED: bool>(
        &mut self,
        coder: &mut C,
        hashes: &[u32; N],
        set: usize,
        guess: Guess,
        nibble: u32,
    ) -> u32 {
        let mut local = [[FRESH; 16]; N];
        let mut hits = 0;
        for (slot, hash) in local.iter_mut().zip(hashes) {
            let found = &self.slots[place(*hash, self.shift, self.slots.len())];
            if found[0] == *hash as u16 {
                *slot = *found;
                hits += 1;
            } else {
                slot[0] = *hash as u16;
            }
        }
        let which = (set % SETS) * HITS + hits;
        let mut weights = self.weights[which];
        let rate = self.rates[which];
        let mut node = 1usize;
        let mut trust = guess.trust & 31;
        for step in (0..4).rev() {
            let mut x = [0i32; N];
            let mut dot = weights[CONSTANT] * BIAS;
            for i in 0..N {
                x[i] = stretch(local[i][node & 15]);
                dot += x[i] * weights[i];
            }
            let expected = guess.nibble >> step & 1;
            let mut opinion = 0;
            if MATCHED && trust > 0 {
                opinion = stretch(self.matches[trust]);
                opinion = if expected == 1 { opinion } else { -opinion };
                dot += opinion * weights[MATCH];
            }
            let p = squash(dot >> 16);
            let bit = coder.bit((p >> (16 - SCALE)).clamp(1, ONE - 1), nibble >> step & 1);
            let error = (((bit << 16) as i32 - p as i32) * rate) >> 10;
            for i in 0..N {
                weights[i] = adjust(weights[i], x[i], error);
            }
            weights[CONSTANT] = adjust(weights[CONSTANT], BIAS, error);
            for slot in &mut local {
                let counter = &mut slot[node & 15];
                *counter = learn(*counter, bit);
            }
            if MATCHED && trust > 0 {
                weights[MATCH] = adjust(weights[MATCH], opinion, error);
                self.matches[trust] = learn(self.matches[trust], u32::from(expected == bit));
                if expected != bit {
                    trust = 0;
                }
            }
            node = node * 2 + bit as usize;
        }
        self.weights[which] = weights;
        self.rates[which] = rate - ((rate - RATE_LAST) >> 3);
        for (slot, hash) in local.iter().zip(hashes) {
            let at = place(*hash, self.shift, self.slots.len());
            self.slots[at] = *slot;
        }
        node as u32 & 15
    }
}

#[inline(always)]
fn place(hash: u32, shift: u32, len: usize) -> usize {
    (hash >> shift) as usize & (len - 1)
}

/// Moves a weight by its input's share of the error.
#[inline(always)]
fn adjust(weight: i32, x: i32, error: i32) -> i32 {
    (weight + ((x * error + (1 << 13)) >> 14)).clamp(-WEIGHT_MOST, WEIGHT_MOST)
}

/// Moves a counter towards what came: by much at first, by less and less later.
#[inline(always)]
fn learn(counter: u16, bit: u32) -> u16 {
    let count = counter & 15;
    let rate = i32::from(RATES[usize::from(count)]);
    let p = i32::from(counter & 0xfff0);
    let target = (bit as i32).wrapping_neg() & 0xffff;
    let p = p + (((target - p) * rate) >> 15);
    p as u16 & 0xfff0 | (count + u16::from(count < 15))
}

/// Spreads a context's number over 32 bits, well in the upper and fairly in the lower ones.
#[inline(always)]
pub(super) fn spread(seed: u32, value: u32) -> u32 {
    let mixed = (seed ^ value.wrapping_mul(SPREAD)).wrapping_mul(SPREAD_HASH);
    mixed ^ mixed >> 15
}

/// The contexts of a later nibble, after `path` of the same byte or number.
#[inline(always)]
pub(super) fn deeper<const N: usize>(hashes: &[u32; N], path: u32) -> [u32; N] {
    hashes.map(|hash| spread(hash, path.wrapping_add(1)))
}
