//! Fits a shift map to what covers say about where addresses went.

use crate::parse::Copied;
use crate::refs::Ref;
use rayon::prelude::*;
use siding_predict::{SPACE, ShiftMap};

/// A witness for how far an address moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Vote {
    pub(crate) address: u64,
    pub(crate) shift: i64,
    /// What it would cost if the map said otherwise, in 1/8 bits.
    pub(crate) weight: u32,
}

/// What a step of the map costs, in 1/8 bits.
const STEP: u64 = 8 * 20;
/// What a reference costs that the map got wrong, in 1/8 bits.
pub(crate) const MISS: u32 = 8 * 16;

/// Votes of the references in one copy: old ones, and new ones as much further on.
pub(crate) fn votes(
    old: &[Ref],
    new: &[Ref],
    copy: &Copied,
    counts: impl Fn(&Ref) -> bool,
    votes: &mut Vec<Vote>,
) {
    let (from, to) = (copy.old, copy.new);
    let end = from + copy.len;
    let start = old.partition_point(|reference| reference.at < from);
    let mut new = new[new.partition_point(|reference| reference.at < to)..].iter().peekable();
    let inside = old[start..].iter().take_while(|reference| reference.at + reference.form.len() <= end);
    for reference in inside.filter(|reference| counts(reference)) {
        let at = reference.at - from + to;
        while new.next_if(|other| other.at < at).is_some() {}
        let Some(other) = new.peek().filter(|other| other.at == at && other.form == reference.form) else {
            continue;
        };
        let shift = shift(reference.target, other.target);
        votes.push(Vote { address: reference.target, shift, weight: MISS });
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
pub(crate) fn fit(mut votes: Vec<Vote>) -> ShiftMap {
    votes.par_sort_unstable();
    let mut walk = Walk::default();
    for space in votes.chunk_by(|a, b| a.address / SPACE == b.address / SPACE) {
        for group in space.chunk_by(|a, b| a.address == b.address) {
            walk.meet(ballot(group));
        }
    }
    walk.finish()
}

fn ballot(group: &[Vote]) -> Ballot {
    let mut shifts: Vec<(i64, u64)> = Vec::new();
    for vote in group {
        match shifts.last_mut() {
            Some((shift, weight)) if *shift == vote.shift => *weight += u64::from(vote.weight),
            _ => shifts.push((vote.shift, vote.weight.into())),
        }
    }
    (group[0].address, shifts)
}

#[derive(Default)]
struct Walk {
    /// Shift, cost, and the step taken last.
    states: Vec<(i64, u64, u32)>,
    /// Steps taken by some state: between which addresses, to which shift, after which step.
    taken: Vec<(u64, u64, i64, u32)>,
    last: u64,
}

const NEVER: u32 = u32::MAX;

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
                *step = u32::try_from(self.taken.len()).unwrap_or(NEVER);
                self.taken.push((self.last, address, *shift, best.2));
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
        while let Some((after, upto, shift, before)) = self.taken.get(step as usize).copied() {
            steps.push((roundest(after, upto), shift));
            step = before;
        }
        ShiftMap::new(steps)
    }
}

/// The address in `after..=upto` with the most trailing zeros: functions and sections begin at round ones.
fn roundest(after: u64, upto: u64) -> u64 {
    (0..48).rev().map(|bits| upto >> bits << bits).find(|round| *round >= after).unwrap_or(upto)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vote(address: u64, shift: i64) -> Vote {
        Vote { address, shift, weight: MISS }
    }

    /// What a map costs: its steps, and the votes it fails.
    fn cost(steps: usize, shift: impl Fn(u64) -> i64, votes: &[Vote]) -> u64 {
        let failed = votes.iter().filter(|vote| shift(vote.address) != vote.shift);
        STEP * steps as u64 + failed.map(|vote| u64::from(vote.weight)).sum::<u64>()
    }

    /// The least that any map of these shifts costs: every shift for every address, the slow way.
    fn least(votes: &[Vote]) -> u64 {
        let mut shifts: Vec<i64> = votes.iter().map(|vote| vote.shift).chain([0]).collect();
        shifts.sort_unstable();
        shifts.dedup();
        let start = |shift: &i64| if *shift == 0 { 0 } else { STEP };
        let mut costs: Vec<u64> = shifts.iter().map(start).collect();
        for group in votes.chunk_by(|a, b| a.address == b.address) {
            let entry = costs.iter().min().unwrap() + STEP;
            for (cost, shift) in costs.iter_mut().zip(&shifts) {
                let failed: u64 =
                    group.iter().filter(|vote| vote.shift != *shift).map(|vote| u64::from(vote.weight)).sum();
                *cost = (*cost).min(entry) + failed;
            }
        }
        *costs.iter().min().unwrap()
    }

    proptest! {
        #[test]
        fn no_map_costs_less(votes in proptest::collection::vec((0u64..40, -2i64..3), 1..60)) {
            let mut votes: Vec<Vote> = votes.into_iter().map(|(at, shift)| vote(at * 16, shift * 8)).collect();
            let map = fit(votes.clone());
            votes.sort_unstable();
            prop_assert_eq!(cost(map.steps().len(), |address| map.shift(address), &votes), least(&votes));
        }

        #[test]
        fn the_order_of_votes_does_not_matter(mut votes in proptest::collection::vec((0u64..400, -2i64..3), 1..60), seed: u64) {
            let all = |votes: &[(u64, i64)]| votes.iter().map(|(at, shift)| vote(*at, *shift)).collect::<Vec<_>>();
            let map = fit(all(&votes));
            let len = votes.len();
            votes.rotate_left(seed as usize % len);
            prop_assert_eq!(fit(all(&votes)), map);
        }
    }

    #[test]
    fn one_stray_vote_does_not_bend_the_map_and_many_do() {
        let mut votes: Vec<Vote> = (0..100).map(|i| vote(i * 16, 32)).collect();
        votes.push(vote(808, 1000));
        assert_eq!(fit(votes.clone()).shift(808), 32);
        votes.extend([vote(808, 1000); 4]);
        let map = fit(votes);
        assert_eq!((map.shift(807), map.shift(808), map.shift(816)), (32, 1000, 32));
    }

    #[test]
    fn a_step_stands_at_the_roundest_place_it_may() {
        let map = fit((0..50).map(|i| vote(0x1007 + i * 5, if i < 25 { 0 } else { 16 })).collect());
        assert_eq!(map.steps(), [(0x1080, 16)]);
    }
}
