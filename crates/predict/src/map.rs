//! The shift map: for any old address, how far its content moved.

use crate::field::sign_extend;
use std::ops::Range;

/// A piecewise constant function of addresses: from each step on, up to the next, one shift.
///
/// Below the first step nothing moves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShiftMap {
    /// Address and shift, in order of addresses, each address once.
    steps: Vec<(u64, i64)>,
    /// For every `1 << bits` addresses from the first step on: the number of steps that begin before.
    index: Vec<u32>,
    bits: u32,
}

impl ShiftMap {
    /// A map with these steps; of several at one address the last counts. Takes at most 24 bytes of memory a step.
    ///
    /// Of a shift the lowest 60 bits count: no two addresses of a file are further apart.
    pub fn new(mut steps: Vec<(u64, i64)>) -> Self {
        steps.iter_mut().for_each(|(_, shift)| *shift = sign_extend(shift.cast_unsigned(), 60));
        steps.sort_by_key(|(address, _)| *address);
        steps.reverse();
        steps.dedup_by_key(|(address, _)| *address);
        steps.reverse();
        let mut before = 0;
        steps.retain(|(_, shift)| std::mem::replace(&mut before, *shift) != *shift);
        let (Some((first, _)), Some((last, _))) = (steps.first(), steps.last()) else {
            return Self::default();
        };
        let width = last.saturating_sub(*first);
        // About as many buckets as steps.
        let buckets = steps.len().next_power_of_two().trailing_zeros();
        let bits = u64::BITS.saturating_sub((width >> buckets).leading_zeros()).min(63);
        let mut index = vec![0u32];
        for bucket in 1..=(width >> bits) {
            let start = first.saturating_add(bucket << bits);
            let from = index.last().map_or(0, |before| *before as usize);
            let begun = steps.iter().skip(from).take_while(|(address, _)| *address < start).count();
            index.push(u32::try_from(from.saturating_add(begun)).unwrap_or(u32::MAX));
        }
        Self { steps, index, bits }
    }

    /// The steps: address and shift.
    pub fn steps(&self) -> &[(u64, i64)] {
        &self.steps
    }

    /// How far what was at `address` moved.
    #[inline]
    pub fn shift(&self, address: u64) -> i64 {
        self.steps.get(self.begun(address).wrapping_sub(1)).map_or(0, |(_, shift)| *shift)
    }

    /// How far what was at `address` moved, and addresses around it that moved as far: those up to the next step.
    pub(crate) fn around(&self, address: u64) -> (i64, Range<u64>) {
        let begun = self.begun(address);
        let end = self.steps.get(begun).map_or(u64::MAX, |(address, _)| *address);
        let (start, shift) = self.steps.get(begun.wrapping_sub(1)).copied().unwrap_or_default();
        (shift, start..end)
    }

    /// How many steps begin at `address` or before.
    #[inline]
    fn begun(&self, address: u64) -> usize {
        let Some((first, _)) = self.steps.first() else { return 0 };
        let Some(within) = address.checked_sub(*first) else { return 0 };
        let bucket = usize::try_from(within >> self.bits).unwrap_or(usize::MAX);
        let low = self.index.get(bucket).or(self.index.last()).map_or(0, |at| *at as usize);
        let high = self.index.get(bucket.saturating_add(1)).map_or(self.steps.len(), |at| *at as usize);
        let here = self.steps.get(low..high).unwrap_or_default();
        low.saturating_add(here.partition_point(|(start, _)| *start <= address))
    }
}

#[cfg(test)]
mod tests;
