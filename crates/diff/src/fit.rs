//! Fits a shift map to what covers say about where addresses went.

use crate::parse::Copied;
use crate::refs::{Ref, Refs};
use rayon::prelude::*;
use siding_predict::{SPACE, ShiftMap};
use std::ops::Range;

/// A witness for how far an address moved. In order of addresses, then of shifts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Vote {
    address: u64,
    /// The shift, which takes 49 bits, twice; and one more for a reference.
    shift: i64,
}

impl Vote {
    /// A reference to `address`, which does not read what the map makes of it if the map says otherwise.
    pub(crate) fn reference(address: u64, shift: i64) -> Self {
        Self { address, shift: shift << 1 | 1 }
    }

    /// A byte at `address` in a copy.
    pub(crate) fn place(address: u64, shift: i64) -> Self {
        Self { address, shift: shift << 1 }
    }

    fn shift(self) -> i64 {
        self.shift >> 1
    }

    /// What it would cost if the map said otherwise, in 1/8 bits.
    fn weight(self) -> u64 {
        if self.shift & 1 == 1 { MISS } else { MISS / 4 }
    }
}

/// What a step of the map costs, in 1/8 bits.
const STEP: u64 = 8 * 20;
/// What a reference costs that the map got wrong, in 1/8 bits.
const MISS: u64 = 8 * 16;

/// Votes of the references of which there is one at the same place of both sides of a copy: those that begin
/// within `range` of it.
pub(crate) fn votes(
    old: &Refs,
    new: &Refs,
    copy: &Copied,
    range: Range<usize>,
    counts: impl Fn(&Ref) -> bool,
    mut vote: impl FnMut(Vote),
) {
    let Copied { old: from, new: to, len } = *copy;
    let mut new = new.since(to + range.start).peekable();
    let inside = old.since(from + range.start);
    let inside =
        inside.take_while(|reference| reference.at < from + range.end && reference.end() <= from + len);
    for reference in inside.filter(counts) {
        let at = reference.at - from + to;
        while new.next_if(|other| other.at < at).is_some() {}
        if let Some(other) = new.peek().filter(|other| other.at == at && other.form == reference.form) {
            vote(Vote::reference(reference.target, shift(reference.target, other.target)));
        }
    }
}

/// How far `to` is from `from`, whatever their spaces.
pub(crate) fn shift(from: u64, to: u64) -> i64 {
    let low = |address: u64| address & (SPACE - 1);
    low(to).wrapping_sub(low(from)).cast_signed()
}

/// One address with the shifts it got votes for and their weights.
type Ballot = (u64, Vec<(i64, u64)>);

/// The map that costs least: its own steps, and the votes it fails.
///
/// A walk over addresses in order; what is kept for each is the best way to arrive there with each shift
/// (Viterbi), of which only those matter that are less than a step behind the best.
///
/// Where that map is not `allowed`, its weakest steps are left out.
pub(crate) fn fit(mut votes: Vec<Vote>, allowed: impl Fn(&ShiftMap) -> bool) -> ShiftMap {
    votes.par_sort_unstable();
    let mut walk = Walk::default();
    for space in votes.chunk_by(|a, b| a.address / SPACE == b.address / SPACE) {
        for group in space.chunk_by(|a, b| a.address == b.address) {
            walk.meet(ballot(group));
        }
    }
    let map = walk.finish();
    if allowed(&map) { map } else { strongest(&map, &votes, allowed) }
}

/// As many steps as are `allowed`, those first on which most votes lean.
fn strongest(map: &ShiftMap, votes: &[Vote], allowed: impl Fn(&ShiftMap) -> bool) -> ShiftMap {
    let steps = map.steps();
    let mut worth: Vec<(u64, usize)> = (0..steps.len()).map(|step| (0, step)).collect();
    let mut upto = 0;
    for vote in votes {
        upto += steps[upto..].iter().take_while(|(address, _)| *address <= vote.address).count();
        let last = upto.checked_sub(1).filter(|last| steps[*last].1 == vote.shift());
        worth[last.unwrap_or(0)].0 += last.map_or(0, |_| vote.weight());
    }
    worth.sort_unstable_by_key(|(worth, step)| (std::cmp::Reverse(*worth), *step));
    let first = |count: usize| ShiftMap::new(worth[..count].iter().map(|(_, step)| steps[*step]).collect());
    // So many are allowed, and that is too many.
    let (mut enough, mut many) = (0, worth.len());
    while many - enough > 1 {
        let middle = enough + (many - enough) / 2;
        if allowed(&first(middle)) { enough = middle } else { many = middle }
    }
    first(enough)
}

fn ballot(group: &[Vote]) -> Ballot {
    let mut shifts: Vec<(i64, u64)> = Vec::new();
    for vote in group {
        match shifts.last_mut() {
            Some((shift, weight)) if *shift == vote.shift() => *weight += vote.weight(),
            _ => shifts.push((vote.shift(), vote.weight())),
        }
    }
    (group[0].address, shifts)
}

#[derive(Default)]
struct Walk {
    /// Shift, cost, and the step taken last.
    states: Vec<(i64, u64, u32)>,
    taken: Taken,
    last: u64,
}

const NEVER: u32 = u32::MAX;

/// Steps taken by some state: where, to which shift, after which step. There may be one for each vote, so they lie
/// in blocks that stay where they are: a list that grows would need twice the memory or more.
#[derive(Default)]
struct Taken {
    blocks: Vec<Vec<(u64, i64, u32)>>,
}

impl Taken {
    const BLOCK: usize = 1 << 14;

    /// Its number.
    fn push(&mut self, step: (u64, i64, u32)) -> u32 {
        if self.blocks.last().is_none_or(|block| block.len() == Self::BLOCK) {
            self.blocks.push(Vec::with_capacity(Self::BLOCK));
        }
        let before = (self.blocks.len() - 1) * Self::BLOCK;
        let block = self.blocks.last_mut().expect("one was added");
        block.push(step);
        u32::try_from(before + block.len() - 1).unwrap_or(NEVER)
    }

    fn get(&self, number: u32) -> Option<(u64, i64, u32)> {
        let number = number as usize;
        self.blocks.get(number / Self::BLOCK)?.get(number % Self::BLOCK).copied()
    }
}

impl Walk {
    fn meet(&mut self, (address, shifts): Ballot) {
        let total: u64 = shifts.iter().map(|(_, weight)| weight).sum();
        if self.states.is_empty() {
            self.states.push((0, 0, NEVER));
        }
        let best = *self.states.iter().min_by_key(|(_, cost, _)| *cost).expect("there is always a state");
        for (shift, _) in &shifts {
            if !self.states.iter().any(|(known, _, _)| known == shift) {
                self.states.push((*shift, u64::MAX, NEVER));
            }
        }
        for (shift, cost, step) in &mut self.states {
            if *cost > best.1 + STEP {
                *cost = best.1 + STEP;
                *step = self.taken.push((roundest(self.last, address), *shift, best.2));
            }
            let agree = shifts.iter().find(|(voted, _)| voted == shift).map_or(0, |(_, weight)| *weight);
            *cost += total - agree;
        }
        let floor = self.states.iter().map(|(_, cost, _)| *cost).min().unwrap_or(0);
        self.states.retain(|(_, cost, _)| *cost <= floor + STEP);
        self.last = address + 1;
    }

    fn finish(self) -> ShiftMap {
        let Some((_, _, mut step)) = self.states.iter().min_by_key(|(_, cost, _)| *cost).copied() else {
            return ShiftMap::default();
        };
        let mut steps = Vec::new();
        while let Some((at, shift, before)) = self.taken.get(step) {
            steps.push((at, shift));
            step = before;
        }
        ShiftMap::new(steps)
    }
}

/// The address in `after..=upto` with the most trailing zeros: functions and sections begin at round ones.
fn roundest(after: u64, upto: u64) -> u64 {
    // It has all bits of `upto` down to the first in which that differs from what is too low.
    let differ = after.checked_sub(1).map_or(u64::MAX, |low| low ^ upto);
    let bits = differ.checked_ilog2().unwrap_or(0).min(47);
    upto >> bits << bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vote(address: u64, shift: i64) -> Vote {
        Vote::reference(address, shift)
    }

    /// What a map costs: its steps, and the votes it fails.
    fn cost(steps: usize, shift: impl Fn(u64) -> i64, votes: &[Vote]) -> u64 {
        let failed = votes.iter().filter(|vote| shift(vote.address) != vote.shift());
        STEP * steps as u64 + failed.map(|vote| vote.weight()).sum::<u64>()
    }

    /// The least that any map of these shifts costs: every shift for every address, the slow way.
    fn least(votes: &[Vote]) -> u64 {
        let mut shifts: Vec<i64> = votes.iter().map(|vote| vote.shift()).chain([0]).collect();
        shifts.sort_unstable();
        shifts.dedup();
        let start = |shift: &i64| if *shift == 0 { 0 } else { STEP };
        let mut costs: Vec<u64> = shifts.iter().map(start).collect();
        for group in votes.chunk_by(|a, b| a.address == b.address) {
            let entry = costs.iter().min().unwrap() + STEP;
            for (cost, shift) in costs.iter_mut().zip(&shifts) {
                let failed: u64 =
                    group.iter().filter(|vote| vote.shift() != *shift).map(|vote| vote.weight()).sum();
                *cost = (*cost).min(entry) + failed;
            }
        }
        *costs.iter().min().unwrap()
    }

    proptest! {
        #[test]
        fn no_map_costs_less(votes in proptest::collection::vec((0u64..40, -2i64..3), 1..60)) {
            let mut votes: Vec<Vote> = votes.into_iter().map(|(at, shift)| vote(at * 16, shift * 8)).collect();
            let map = fit(votes.clone(), |_| true);
            votes.sort_unstable();
            prop_assert_eq!(cost(map.steps().len(), |address| map.shift(address), &votes), least(&votes));
        }

        #[test]
        fn the_order_of_votes_does_not_matter(mut votes in proptest::collection::vec((0u64..400, -2i64..3), 1..60), seed: u64) {
            let all = |votes: &[(u64, i64)]| votes.iter().map(|(at, shift)| vote(*at, *shift)).collect::<Vec<_>>();
            let map = fit(all(&votes), |_| true);
            let len = votes.len();
            votes.rotate_left(seed as usize % len);
            prop_assert_eq!(fit(all(&votes), |_| true), map);
        }
    }

    #[test]
    fn one_stray_vote_does_not_bend_the_map_and_many_do() {
        let mut votes: Vec<Vote> = (0..100).map(|i| vote(i * 16, 32)).collect();
        votes.push(vote(808, 1000));
        assert_eq!(fit(votes.clone(), |_| true).shift(808), 32);
        votes.extend([vote(808, 1000); 4]);
        let map = fit(votes, |_| true);
        assert_eq!((map.shift(807), map.shift(808), map.shift(816)), (32, 1000, 32));
    }

    #[test]
    fn a_step_stands_at_the_roundest_place_it_may() {
        let map = fit((0..50).map(|i| vote(0x1007 + i * 5, if i < 25 { 0 } else { 16 })).collect(), |_| true);
        assert_eq!(map.steps(), [(0x1080, 16)]);
    }

    proptest! {
        #[test]
        fn the_roundest_is_found(after in 0u64..5000, more in 0u64..5000) {
            let upto = after + more;
            let slow = (0..48).rev().map(|bits| upto >> bits << bits).find(|round| *round >= after);
            prop_assert_eq!(Some(roundest(after, upto)), slow);
        }
    }

    #[test]
    fn of_too_many_steps_those_stay_on_which_most_leans() {
        let at = |step: u64| 0x1000 + step * 0x100;
        let votes = (0..20).flat_map(|step| {
            let count = if step % 5 == 0 { 9 } else { 3 };
            (0..count).map(move |i| vote(at(step) + i * 8, 16 * step.cast_signed() + 16))
        });
        let votes: Vec<Vote> = votes.collect();
        let all = fit(votes.clone(), |_| true);
        assert_eq!(all.steps().len(), 20);
        let few = fit(votes.clone(), |map| map.steps().len() <= 4);
        let kept: Vec<u64> = few.steps().iter().map(|(address, _)| *address).collect();
        assert_eq!(kept, [0, 5, 10, 15].map(|step| all.steps()[step].0));
        assert!(few.steps().iter().all(|step| all.steps().contains(step)));
        assert!(fit(votes, |map| map.steps().is_empty()).steps().is_empty());
    }
}
