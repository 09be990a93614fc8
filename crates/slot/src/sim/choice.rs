//! What of the pending operations reached the medium when the power went.

use super::random::Random;
use std::ops::Range;

/// Which units of the pending operations reached the medium. A unit is one operation, or one sector of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    bits: Vec<u64>,
    /// One more unit, that came in part.
    pub(crate) torn: Option<Torn>,
}

/// A sector that was being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Torn {
    /// Which unit; nothing happens to one that is not of a write, beyond that it lands.
    pub(crate) unit: usize,
    /// How many of its bytes came, from its first.
    pub(crate) bytes: usize,
    /// Whether the others are neither new nor old.
    pub(crate) garbage: bool,
}

impl Choice {
    /// Nothing reached the medium.
    pub(crate) fn none() -> Self {
        Self { bits: Vec::new(), torn: None }
    }

    /// The units of this range reached it.
    pub(crate) fn of(units: Range<usize>) -> Self {
        let mut choice = Self::none();
        units.for_each(|unit| choice.set(unit, true));
        choice
    }

    /// Those of the first 64 whose bit is set.
    pub(crate) fn of_bits(bits: u64) -> Self {
        Self { bits: vec![bits], torn: None }
    }

    pub(crate) fn with(mut self, unit: usize) -> Self {
        self.set(unit, true);
        self
    }

    pub(crate) fn without(mut self, unit: usize) -> Self {
        self.set(unit, false);
        self
    }

    /// The same with one unit torn.
    pub(crate) fn tearing(mut self, torn: Torn) -> Self {
        self.torn = Some(torn);
        self
    }

    pub(crate) fn has(&self, unit: usize) -> bool {
        self.bits.get(unit / 64).is_some_and(|word| word >> (unit % 64) & 1 == 1)
    }

    /// The runs of units that reached the medium, of these.
    pub(super) fn runs(&self, units: Range<usize>) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut next = units.start;
        std::iter::from_fn(move || {
            let start = (next..units.end).find(|unit| self.has(*unit))?;
            next = (start..units.end).find(|unit| !self.has(*unit)).unwrap_or(units.end);
            Some(start..next)
        })
    }

    fn set(&mut self, unit: usize, landed: bool) {
        let word = unit / 64;
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        let bit = 1 << (unit % 64);
        self.bits[word] = if landed { self.bits[word] | bit } else { self.bits[word] & !bit };
    }
}

/// How many choices to try.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// All subsets of up to so many units; 20 at most. Of more units: none, all, each one, all but each one, every
    /// prefix, and random ones.
    pub(crate) all_of: usize,
    /// Of the prefixes, of each one and of all but each one, how many at most: evenly spread.
    pub(crate) spread: usize,
    /// How many random ones.
    pub(crate) random: usize,
    /// How many of the sectors being written to tear, in 32 ways each.
    pub(crate) torn: usize,
    /// What the random ones follow from.
    pub(crate) seed: u64,
}

impl Default for Effort {
    fn default() -> Self {
        Self { all_of: 10, spread: usize::MAX, random: 100, torn: 4, seed: 1 }
    }
}

/// The choices for `units` pending units, of which `writes` are sectors; in the same order each time.
pub(super) fn choices(
    units: usize,
    writes: Vec<usize>,
    effort: Effort,
) -> Box<dyn Iterator<Item = Choice> + Send> {
    let mut random = Random::new(effort.seed);
    let torn = torn(units, writes, effort.torn, &mut random);
    if units <= effort.all_of.min(20) {
        return Box::new((0..1_u64 << units).map(Choice::of_bits).chain(torn));
    }
    let spread = move || {
        let many = units.min(effort.spread.max(1));
        (0..many).map(move |turn| turn * units / many)
    };
    let prefixes = spread().chain([units]).map(|end| Choice::of(0..end));
    let each = spread().map(|unit| Choice::none().with(unit));
    let all_but = spread().map(move |unit| Choice::of(0..units).without(unit));
    let some = (0..effort.random).map(move |_| {
        let mut choice =
            Choice { bits: (0..units.div_ceil(64)).map(|_| random.next()).collect(), torn: None };
        (units..units.next_multiple_of(64)).for_each(|unit| choice.set(unit, false));
        choice
    });
    Box::new(prefixes.chain(each).chain(all_but).chain(some).chain(torn))
}

/// The last sector being written, and random ones of the others, torn; with all before them on the medium, and with
/// all others.
fn torn(units: usize, mut writes: Vec<usize>, most: usize, random: &mut Random) -> Vec<Choice> {
    while writes.len() > most {
        // The last is the one most in flight.
        let gone = random.below(writes.len() - 1);
        writes.remove(gone);
    }
    let mut out = Vec::new();
    for unit in writes {
        for bytes in [0, 1, 8, 24, 256, 511, random.below(512), random.below(512)] {
            for garbage in [false, true] {
                let torn = Torn { unit, bytes, garbage };
                out.extend([unit, units].map(|landed| Choice::of(0..landed).tearing(torn)));
            }
        }
    }
    out
}
