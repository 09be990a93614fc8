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

/// What a nibble's probabilities depend on.
pub(super) struct Contexts<'a, const N: usize> {
    pub(super) hashes: &'a [u32; N],
    /// Which weights to mix with.
    pub(super) set: usize,
    pub(super) guess: Guess,
}

/// The model's memory.
pub(super) struct Mixer {
    slots: Vec<Slot>,
    shift: u32,
    weights: Vec<Weights>,
    rates: Vec<i32>,
    /// Counters of matches that held, by trust.
    matches: [u16; 32],
}

/// Inputs of a mix: up to six contexts, the match, a constant.
const INPUTS: usize = 8;
type Weights = [i32; INPUTS];
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

    /// Codes `nibble` and learns from it.
    #[inline(always)]
    pub(super) fn nibble<C: Coder, const N: usize>(
        &mut self,
        coder: &mut C,
        contexts: &Contexts<'_, N>,
        nibble: u32,
    ) -> u32 {
        // Two functions, so that the many nibbles without a match bear nothing of one.
        match contexts.guess.trust {
            0 => self.code::<C, N, false>(coder, contexts, nibble),
            _ => self.code::<C, N, true>(coder, contexts, nibble),
        }
    }

    #[inline(never)]
    fn code<C: Coder, const N: usize, const MATCHED: bool>(
        &mut self,
        coder: &mut C,
        Contexts { hashes, set, guess }: &Contexts<'_, N>,
        nibble: u32,
    ) -> u32 {
        let (mut slots, hits) = self.look_up(hashes);
        let mut trust = if MATCHED { guess.trust & 31 } else { 0 };
        let lot = (*set % SETS) * HITS + hits;
        let (mut weights, rate) = (self.weights[lot], self.rates[lot]);
        let mut node = 1usize;
        for step in (0..4).rev() {
            let expected = guess.nibble >> step & 1;
            let opinion = self.opinion(trust, expected);
            let x: [i32; N] = std::array::from_fn(|i| stretch(slots[i][node & 15]));
            let p = mix(&weights, &x, opinion);
            let bit = coder.bit((p >> (16 - SCALE)).clamp(1, ONE - 1), nibble >> step & 1);
            correct(&mut weights, &x, opinion, (((bit << 16) as i32 - p as i32) * rate) >> 10);
            slots.iter_mut().for_each(|slot| learn(&mut slot[node & 15], bit));
            if trust > 0 {
                learn(&mut self.matches[trust], u32::from(expected == bit));
                if expected != bit {
                    trust = 0;
                }
            }
            node = node * 2 + bit as usize;
        }
        self.weights[lot] = weights;
        self.rates[lot] = rate - ((rate - RATE_LAST) >> 3);
        self.store(hashes, &slots);
        node as u32 & 15
    }

    /// What a match says about a bit that it expects to be `expected`; nothing if it is not to be believed.
    #[inline(always)]
    fn opinion(&self, trust: usize, expected: u32) -> Option<i32> {
        let opinion = stretch(self.matches[trust & 31]);
        (trust > 0).then_some(if expected == 1 { opinion } else { -opinion })
    }

    /// Copies of the contexts' slots, and how many of them were met before.
    #[inline(always)]
    fn look_up<const N: usize>(&self, hashes: &[u32; N]) -> ([Slot; N], usize) {
        let mut slots = [[FRESH; 16]; N];
        let mut hits = 0;
        for (slot, hash) in slots.iter_mut().zip(hashes) {
            let found = &self.slots[place(*hash, self.shift, self.slots.len())];
            if found[0] == *hash as u16 {
                *slot = *found;
                hits += 1;
            } else {
                slot[0] = *hash as u16;
            }
        }
        (slots, hits)
    }

    #[inline(always)]
    fn store<const N: usize>(&mut self, hashes: &[u32; N], slots: &[Slot; N]) {
        for (slot, hash) in slots.iter().zip(hashes) {
            let at = place(*hash, self.shift, self.slots.len());
            self.slots[at] = *slot;
        }
    }
}

/// The probability of a 1, in 65536ths, from what the contexts and the match say.
#[inline(always)]
fn mix<const N: usize>(weights: &Weights, x: &[i32; N], opinion: Option<i32>) -> u32 {
    let contexts: i32 = weights.iter().zip(x).map(|(weight, x)| weight * x).sum();
    let matched = opinion.map_or(0, |opinion| weights[MATCH] * opinion);
    squash((contexts + matched + weights[CONSTANT] * BIAS) >> 16)
}

/// Moves each weight by its input's share of the error.
#[inline(always)]
fn correct<const N: usize>(weights: &mut Weights, x: &[i32; N], opinion: Option<i32>, error: i32) {
    let adjust = |weight: &mut i32, x: i32| {
        *weight = (*weight + ((x * error + (1 << 13)) >> 14)).clamp(-WEIGHT_MOST, WEIGHT_MOST);
    };
    weights.iter_mut().zip(x).for_each(|(weight, x)| adjust(weight, *x));
    adjust(&mut weights[CONSTANT], BIAS);
    if let Some(opinion) = opinion {
        adjust(&mut weights[MATCH], opinion);
    }
}

#[inline(always)]
fn place(hash: u32, shift: u32, len: usize) -> usize {
    (hash >> shift) as usize & (len - 1)
}

/// Moves a counter towards what came: by much at first, by less and less later.
#[inline(always)]
fn learn(counter: &mut u16, bit: u32) {
    let count = *counter & 15;
    let rate = i32::from(RATES[usize::from(count)]);
    let p = i32::from(*counter & 0xfff0);
    let target = (bit as i32).wrapping_neg() & 0xffff;
    let p = p + (((target - p) * rate) >> 15);
    *counter = p as u16 & 0xfff0 | (count + u16::from(count < 15));
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
