//! The cheapest way to say new bytes in terms of old ones, among given alignments.
//!
//! ```text
//! for each new byte, the cheapest way to have said all bytes so far
//!   that ends in a literal, and that ends in a copy under each alignment at hand:
//!     go on as before:       a byte that agrees costs next to nothing, one that differs a difference
//!     or begin a copy here:  the cheapest of all ways so far, and the price of a copy
//! ```
//!
//! (Viterbi's algorithm; costs in 1/64 bits.)

use crate::suffix::common_prefix;
use std::ops::Range;

/// Where an alignment may be used: new bytes `start..end` against old bytes `diagonal` further on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Candidate {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Old offset less new offset.
    pub(crate) diagonal: isize,
}

/// A copy chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    pub(crate) new: usize,
    pub(crate) old: usize,
    pub(crate) len: usize,
}

/// What the packed streams cost, in 1/64 bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prices {
    /// A byte placed.
    pub(crate) literal: u64,
    /// A copy begun.
    pub(crate) copy: u64,
}

impl Prices {
    /// Dear literals: references in what is copied are witnesses for the map.
    pub(crate) const SEARCH: Self = Self { literal: 64 * 6, copy: 64 * 28 };
    /// What packed streams of real patches cost on the average.
    pub(crate) const FINAL: Self = Self { literal: 64 * 4, copy: 64 * 32 };
}

/// Prices in 1/64 bits.
const AGREES: u64 = 1;
const DIFFERS: u64 = 64 * 11;
const DIFFERS_TOO: u64 = 64 * 7;
/// More alignments than this are not followed at once.
const MOST: usize = 32;

#[derive(Clone, Copy)]
struct State {
    diagonal: isize,
    end: usize,
    cost: u64,
    /// Where its copy began, and what came before: a node.
    start: usize,
    before: u32,
    /// Whether the last byte differed.
    differed: bool,
}

/// A finished copy: where it began and ended, and what came before.
#[derive(Clone, Copy)]
struct Node {
    diagonal: isize,
    start: usize,
    end: usize,
    before: u32,
}

const NONE: u32 = u32::MAX;

/// Chooses copies for `piece` of `new`, in order and apart. `candidates` are in order of their starts.
pub(crate) fn parse(
    old: &[u8],
    new: &[u8],
    piece: Range<usize>,
    candidates: &[Candidate],
    prices: Prices,
) -> Vec<Copied> {
    let mut walk = Walk { prices, nodes: Vec::new(), literal: (0, None, NONE), states: Vec::new() };
    let mut coming = candidates.iter().copied().peekable();
    let mut at = piece.start;
    while at < piece.end {
        while let Some(candidate) = coming.next_if(|candidate| candidate.start <= at) {
            walk.join(candidate, at);
        }
        let next = coming.peek().map_or(piece.end, |candidate| candidate.start.min(piece.end));
        at = walk.go(old, new, at, next);
    }
    walk.finish()
}

struct Walk {
    prices: Prices,
    nodes: Vec<Node>,
    /// Ending in a literal: cost; the copy before that is not a node yet, or the node.
    literal: (u64, Option<Node>, u32),
    states: Vec<State>,
}

/// Runs of agreement from this length on are taken in one go.
const LONG: usize = 24;
/// After so many differences in one run an alignment does better to begin again.
const MUCH: usize = 4;

/// How many bytes agree.
fn agreeing(old: &[u8], new: &[u8]) -> usize {
    let count = |(old, new): (&[u8], &[u8])| -> usize {
        usize::from(old.iter().zip(new).map(|(old, new)| u8::from(old == new)).sum::<u8>())
    };
    old.chunks(128).zip(new.chunks(128)).map(count).sum()
}

const UNKNOWN: u64 = u64::MAX / 2;

impl Walk {
    fn join(&mut self, candidate: Candidate, at: usize) {
        let Candidate { end, diagonal, .. } = candidate;
        if end <= at {
            return;
        }
        if let Some(state) = self.states.iter_mut().find(|state| state.diagonal == diagonal) {
            state.end = state.end.max(end);
            return;
        }
        if self.states.len() >= MOST {
            // Of those that do no better than a new copy, the one that reaches least far.
            let fresh = self.literal.0 + self.prices.copy;
            let worst = (0..self.states.len())
                .min_by_key(|i| (self.states[*i].cost <= fresh, self.states[*i].end))
                .unwrap_or(0);
            self.states.swap_remove(worst);
        }
        self.states.push(State { diagonal, end, cost: UNKNOWN, start: at, before: NONE, differed: true });
    }

    /// Goes on from `at` by at least one byte, at the most to `limit`.
    fn go(&mut self, old: &[u8], new: &[u8], at: usize, limit: usize) -> usize {
        self.leave(at);
        let cheapest = (0..self.states.len()).min_by_key(|i| self.states[*i].cost);
        let Some(cheapest) = cheapest else {
            self.literal.0 += self.prices.literal * (limit - at) as u64;
            return limit;
        };
        let State { diagonal, end, cost, .. } = self.states[cheapest];
        // A dearer one should begin anew, byte by byte.
        if cost <= self.literal.0 + self.prices.copy {
            let from = at.wrapping_add_signed(diagonal);
            let run = common_prefix(&old[from..], &new[at..limit.min(end)]);
            if run >= LONG || (run > 0 && self.states.len() == 1) {
                self.run(old, new, at, run, cheapest);
                return at + run;
            }
        }
        self.step(old, new, at);
        at + 1
    }

    /// Goes on by `len` bytes under which the cheapest copy agrees: nothing overtakes it meanwhile.
    fn run(&mut self, old: &[u8], new: &[u8], at: usize, len: usize, cheapest: usize) {
        for (i, state) in self.states.iter_mut().enumerate() {
            let from = at.wrapping_add_signed(state.diagonal);
            let agree = old.get(from..from + len).map_or(0, |old| match i == cheapest {
                true => len,
                false => agreeing(old, &new[at..at + len]),
            });
            // Whoever differs much does better to begin again.
            match len - agree {
                0 => state.cost = state.cost.saturating_add(AGREES * len as u64).min(UNKNOWN),
                1..MUCH => {
                    state.cost = state.cost.saturating_add(DIFFERS * (len - agree) as u64).min(UNKNOWN);
                }
                _ => state.cost = UNKNOWN,
            }
            // It may begin anew right behind the run, unless it is well under way.
            state.differed = i != cheapest && (state.differed || agree < len);
        }
        self.literal.0 += self.prices.literal * len as u64;
        self.close(cheapest, at + len);
    }

    /// Drops the alignments that end here.
    fn leave(&mut self, at: usize) {
        for i in (0..self.states.len()).rev() {
            if self.states[i].end <= at {
                self.states.swap_remove(i);
            }
        }
    }

    /// If ending copy `i` at `at` is the cheapest way to go on with a literal, does.
    fn close(&mut self, i: usize, at: usize) {
        let State { diagonal, cost, start, before, .. } = self.states[i];
        if cost < self.literal.0 {
            self.literal = (cost, Some(Node { diagonal, start, end: at, before }), NONE);
        }
    }

    fn step(&mut self, old: &[u8], new: &[u8], at: usize) {
        let byte = new[at];
        // The cheapest way so far: `literal` is never dearer than any copy, for ending a copy is free.
        let entry = self.literal.0 + self.prices.copy;
        for i in 0..self.states.len() {
            let state = self.states[i];
            let agrees = old[at.wrapping_add_signed(state.diagonal)] == byte;
            if agrees && state.differed && state.cost > entry {
                let before = self.node();
                let state = &mut self.states[i];
                (state.cost, state.start, state.before) = (entry, at, before);
            }
            let state = &mut self.states[i];
            state.cost += match (agrees, state.differed) {
                (true, _) => AGREES,
                (false, false) => DIFFERS,
                (false, true) => DIFFERS_TOO,
            };
            state.differed = !agrees;
        }
        self.literal.0 += self.prices.literal;
        for i in 0..self.states.len() {
            self.close(i, at + 1);
        }
    }

    /// The node of the literal state.
    fn node(&mut self) -> u32 {
        if let Some(node) = self.literal.1.take() {
            // A piece has fewer copies than bytes, and it is a MiB.
            self.literal.2 = u32::try_from(self.nodes.len()).expect("a piece is below 4 GiB");
            self.nodes.push(node);
        }
        self.literal.2
    }

    fn finish(mut self) -> Vec<Copied> {
        let mut at = self.node();
        let mut copies = Vec::new();
        while let Some(node) = self.nodes.get(at as usize) {
            let Node { diagonal, start, end, before } = *node;
            copies.push(Copied { new: start, old: start.wrapping_add_signed(diagonal), len: end - start });
            at = before;
        }
        copies.reverse();
        copies
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What copies cost by the prices, the rest being literals.
    fn cost(old: &[u8], new: &[u8], copies: &[Copied], prices: Prices) -> u64 {
        let copied: usize = copies.iter().map(|copy| copy.len).sum();
        let mut cost = prices.literal * (new.len() - copied) as u64;
        for copy in copies {
            cost += prices.copy;
            let mut differed = false;
            for i in 0..copy.len {
                let agrees = old[copy.old + i] == new[copy.new + i];
                cost += match (agrees, differed) {
                    (true, _) => AGREES,
                    (false, false) => DIFFERS,
                    (false, true) => DIFFERS_TOO,
                };
                differed = !agrees;
            }
        }
        cost
    }

    /// Old bytes, and new ones made of stretches of them with changes.
    fn pair() -> impl Strategy<Value = (Vec<u8>, Vec<u8>, Vec<Candidate>)> {
        let part = (
            0usize..300,
            1usize..200,
            proptest::collection::vec((0usize..200, any::<u8>()), 0..6),
            0usize..20,
        );
        (any::<u64>(), proptest::collection::vec(part, 1..8)).prop_map(|(seed, parts)| {
            let old = crate::tests::noise(seed, 600);
            let (mut new, mut candidates) = (Vec::new(), Vec::new());
            for (from, len, changes, literals) in parts {
                let start = new.len();
                new.extend_from_slice(&old[from..from + len]);
                candidates.push(Candidate {
                    start,
                    end: new.len(),
                    diagonal: from as isize - start as isize,
                });
                for (at, byte) in changes.into_iter().filter(|(at, _)| *at < len) {
                    new[start + at] = byte;
                }
                new.extend(crate::tests::noise(seed ^ start as u64, literals));
            }
            candidates.sort_unstable();
            (old, new, candidates)
        })
    }

    proptest! {
        #[test]
        fn copies_are_in_order_and_cost_no_more_than_the_obvious((old, new, candidates) in pair()) {
            for prices in [Prices::SEARCH, Prices::FINAL] {
                let copies = parse(&old, &new, 0..new.len(), &candidates, prices);
                let mut end = 0;
                for copy in &copies {
                    prop_assert!(copy.new >= end && copy.len > 0 && copy.old + copy.len <= old.len());
                    end = copy.new + copy.len;
                }
                prop_assert!(end <= new.len());
                let all: Vec<Copied> = candidates.iter().map(|candidate| Copied {
                    new: candidate.start,
                    old: candidate.start.wrapping_add_signed(candidate.diagonal),
                    len: candidate.end - candidate.start,
                }).collect();
                let found = cost(&old, &new, &copies, prices);
                prop_assert!(found <= cost(&old, &new, &[], prices));
                prop_assert!(found <= cost(&old, &new, &all, prices), "{copies:?}");
            }
        }
    }

    #[test]
    fn a_copy_gives_way_where_another_agrees() {
        let old = crate::tests::noise(3, 4000);
        let new = [&old[100..1100], &old[2000..3000]].concat();
        let whole = |diagonal| Candidate { start: 0, end: 2000, diagonal };
        let copies = parse(&old, &new, 0..2000, &[whole(100), whole(1000)], Prices::FINAL);
        assert_eq!(copies.len(), 2);
        assert!(copies[0].old == 100 && copies[1].old + copies[1].len == 3000, "{copies:?}");
        assert_eq!(copies.iter().map(|copy| copy.len).sum::<usize>(), 2000);
    }
}
