//! The entropy coder below the models: one rANS state, 15-bit probabilities, words of 16 bits.

/// Probabilities are shares of `1 << SCALE`.
pub(super) const SCALE: u32 = 15;
/// The whole of probability.
pub(super) const ONE: u32 = 1 << SCALE;
/// A decoder's state never falls below this while words are left; a frame starts (its decoder: ends) with it.
const LOW: u64 = 1 << 24;
/// Bytes of the state that a frame begins with.
const HEAD: usize = 5;

/// Codes choices in order: an encoder takes them, a decoder finds them.
///
/// The models are written once, over this trait: they hand in the choice if they know it (anything if they
/// decode) and go on with what comes back.
pub(super) trait Coder {
    /// A choice of two; `p` in `1..ONE` is the share of 1.
    fn bit(&mut self, p: u32, bit: u32) -> u32;
    /// A choice that is as likely 1 as not.
    fn plain(&mut self, bit: u32) -> u32;
}

/// Reads a frame front to back. Past the input's end it reads zeros and remembers that.
pub(super) struct Decoder<'a> {
    state: u64,
    rest: &'a [u8],
    short: bool,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let [a, b, c, d, e] = *head;
        let state = u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]);
        (state >= LOW).then_some(Self { state, rest, short: false })
    }

    /// Whether all input was used, none was missing and the state is where an encoder starts.
    pub(super) fn finished(&self) -> bool {
        self.rest.is_empty() && !self.short && self.state == LOW
    }

    #[inline(always)]
    fn slot(&self) -> u32 {
        (self.state & u64::from(ONE - 1)) as u32
    }

    #[inline(always)]
    fn take(&mut self, start: u32, share: u32) {
        let slot = u64::from(self.slot());
        self.state = u64::from(share) * (self.state >> SCALE) + slot - u64::from(start);
        if self.state < LOW {
            if let Some((word, rest)) = self.rest.split_first_chunk::<2>() {
                self.state = self.state << 16 | u64::from(u16::from_le_bytes(*word));
                self.rest = rest;
            } else {
                self.starve();
            }
        }
    }

    #[cold]
    fn starve(&mut self) {
        self.short = true;
        self.state = LOW;
    }
}

impl Coder for Decoder<'_> {
    #[inline(always)]
    fn bit(&mut self, p: u32, _: u32) -> u32 {
        let one = self.slot() < p;
        let (start, share) = if one { (0, p) } else { (p, ONE - p) };
        self.take(start, share);
        u32::from(one)
    }

    #[inline(always)]
    fn plain(&mut self, _: u32) -> u32 {
        let bit = self.slot() >> (SCALE - 1);
        self.take(bit << (SCALE - 1), ONE / 2);
        bit
    }
}

/// Keeps every choice's share and codes them back to front at the end, as rANS must.
#[cfg(feature = "make")]
#[derive(Default)]
pub(super) struct Encoder {
    /// Start and share of each choice.
    choices: Vec<(u16, u16)>,
}

#[cfg(feature = "make")]
impl Encoder {
    fn put(&mut self, start: u32, share: u32) {
        debug_assert!(share > 0 && start + share <= ONE && share < 1 << 16);
        self.choices.push((start as u16, share as u16));
    }

    /// The frame.
    pub(super) fn finish(self) -> Vec<u8> {
        let mut state = LOW;
        let mut words = Vec::new();
        for (start, share) in self.choices.iter().rev().map(|(a, b)| (u64::from(*a), u64::from(*b))) {
            if state >= share << (24 + 16 - SCALE) {
                words.push(state as u16);
                state >>= 16;
            }
            state = ((state / share) << SCALE) + state % share + start;
        }
        let mut out = state.to_le_bytes()[..HEAD].to_vec();
        out.extend(words.iter().rev().flat_map(|word| word.to_le_bytes()));
        out
    }
}

#[cfg(feature = "make")]
impl Coder for Encoder {
    fn bit(&mut self, p: u32, bit: u32) -> u32 {
        if bit == 1 {
            self.put(0, p);
        } else {
            self.put(p, ONE - p);
        }
        bit
    }
    fn plain(&mut self, bit: u32) -> u32 {
        self.put(bit << (SCALE - 1), ONE / 2);
        bit
    }
}
