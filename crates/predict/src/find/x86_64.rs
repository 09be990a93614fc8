//! x86-64 code: `call`, `jmp` and `jcc` with 32-bit offsets, operands relative to the instruction pointer.
//!
//! Instructions are only measured, not understood: prefixes, opcode, ModRM, SIB, displacement, immediate
//! (Intel SDM volume 2, chapter 2 and appendix A). A sweep that starts inside an instruction falls into step
//! within a few of them, so each page's sweep begins a little before the page.

mod length;

use super::Place;
use crate::{Base, Form, Reference};
use length::measure;
use std::ops::Range;

/// Sweeps begin anew at multiples of this, in bytes, counted from the region's start.
pub const PAGE: usize = 128;

/// How far before its page a sweep begins, to be in step when it arrives.
const RUN_UP: usize = 64;

/// A sweep goes over so many pages at most before its fields are reported.
const MOST: usize = 4;

/// How many bytes that are, with the run-up.
const REACH: usize = RUN_UP + MOST * PAGE;

/// More fields than there can be in them: an instruction with a field takes five bytes at least.
const FIELDS: usize = 128;

const _: () = assert!(RUN_UP <= PAGE && FIELDS * 5 > REACH && REACH < u16::MAX as usize);

/// What a sweep over some pages met. Distances count from its origin.
struct Trail {
    /// Where it began.
    origin: usize,
    /// For each byte: whether an instruction begins there.
    begins: [bool; REACH],
    /// Where fields lie, in order, and how far behind that their instructions end.
    fields: [(u16, u16); FIELDS],
    /// How many fields there are.
    count: usize,
}

/// Where an instruction begins is known only once the one before is measured, and a processor has time for more
/// while it waits. So two stretches of pages are swept in lock-step, each in one go: 1.3 times as fast on libcrypto's code
/// as one after the other.
///
/// ```text
/// for each two stretches of up to MOST pages:
///     sweep both in turns, noting where instructions begin and where fields lie
///     for each page of them, in order:
///         at = start of its run-up; while at < start and no instruction was noted at it: at += length(at)
///         report the noted fields from there on, or, if the page was reached without meeting one, sweep it alone
/// ```
///
/// A page's own sweep begins at its run-up. Once that meets an instruction that the sweep of its stretch has met, both
/// go the same way, so what that found is what the page finds. Nearly always they meet within a few instructions.
#[allow(clippy::arithmetic_side_effects, reason = "positions in a slice, and at most a few pages more")]
pub(super) fn find(place: &Place<'_>, window: Range<usize>, found: &mut impl FnMut(Range<usize>, Reference)) {
    let near = place.span(place.address).map_or(0..0, |span| span.start..span.end);
    // What the field that ends with its instruction at `end` is, if it has a byte in `part`.
    let mut tell = |part: &Range<usize>, field: usize, end: usize| {
        if field < part.end
            && field + 4 > part.start
            && let Some(reference) = reference(place, &near, field, end)
        {
            found(part.clone(), reference);
        }
    };
    let mut first = window.start & !(PAGE - 1);
    if window.end <= first + PAGE {
        // Much of what is copied is short, and a trail is not for nothing.
        let report = &mut |field, end| tell(&window, field, end);
        return alone(place, first.saturating_sub(RUN_UP), window.end, report);
    }
    let mut trails = [Trail::new(), Trail::new()];
    while first < window.end {
        let pages = (window.end - first).div_ceil(PAGE).min(2 * MOST).div_ceil(2);
        let middle = (first + pages * PAGE).min(window.end);
        let last = (middle + pages * PAGE).min(window.end);
        sweep(place, &mut trails, [first..middle, middle..last]);
        for (trail, stretch) in trails.iter().zip([first..middle, middle..last]) {
            let mut passed = 0;
            for start in stretch.step_by(PAGE) {
                let part = start.max(window.start)..window.end.min(start + PAGE);
                trail.report(place, start, part.end, &mut passed, &mut |field, end| tell(&part, field, end));
            }
        }
        first = last;
    }
}

/// Sweeps two stretches that begin with a page at the same time.
fn sweep(place: &Place<'_>, [one, two]: &mut [Trail; 2], [first, second]: [Range<usize>; 2]) {
    let (mut a, mut b) = (one.begin(&first), two.begin(&second));
    while a < first.end && b < second.end {
        a = one.step(place, a);
        b = two.step(place, b);
    }
    while a < first.end {
        a = one.step(place, a);
    }
    while b < second.end {
        b = two.step(place, b);
    }
}

#[allow(clippy::arithmetic_side_effects, reason = "as above")]
impl Trail {
    fn new() -> Self {
        Self { origin: 0, begins: [false; REACH], fields: [(0, 0); FIELDS], count: 0 }
    }

    /// Makes ready for a stretch, and says where its sweep begins.
    fn begin(&mut self, stretch: &Range<usize>) -> usize {
        self.origin = stretch.start.saturating_sub(RUN_UP);
        self.count = 0;
        if stretch.is_empty() {
            return stretch.end;
        }
        if let Some(begins) = self.begins.get_mut(..stretch.end - self.origin) {
            begins.fill(false);
        }
        self.origin
    }

    /// Goes past the instruction at `at`. Asks for no branch: whether there is a field is hard to guess.
    #[allow(clippy::cast_possible_truncation, reason = "less than 64 KiB")]
    #[inline(always)]
    fn step(&mut self, place: &Place<'_>, at: usize) -> usize {
        let (len, field) = measure(place.bytes.get(at..).unwrap_or_default());
        let from = at - self.origin;
        if let Some(begins) = self.begins.get_mut(from) {
            *begins = true;
        }
        if let Some(next) = self.fields.get_mut(self.count % FIELDS) {
            *next = ((from + field) as u16, (len - field) as u16);
        }
        self.count += usize::from(field > 0);
        at + len
    }

    /// Reports the fields that the page at `start` finds up to `end`. The first `passed` lie before it; pages come in
    /// order.
    fn report(
        &self,
        place: &Place<'_>,
        start: usize,
        end: usize,
        passed: &mut usize,
        report: &mut impl FnMut(usize, usize),
    ) {
        let mut at = start.saturating_sub(RUN_UP);
        let begins = |at: usize| self.begins.get(at - self.origin) == Some(&true);
        while at < start && !begins(at) {
            at += measure(place.bytes.get(at..).unwrap_or_default()).0;
        }
        if at > start || !begins(at) {
            return alone(place, start.saturating_sub(RUN_UP), end, report);
        }
        let fields = self.fields.get(..self.count).unwrap_or_default();
        let before = |(field, _): &&(u16, u16)| self.origin + usize::from(*field) + 4 <= start;
        *passed += fields.get(*passed..).unwrap_or_default().iter().take_while(before).count();
        for (field, rest) in fields.get(*passed..).unwrap_or_default() {
            let field = self.origin + usize::from(*field);
            if field >= end {
                break;
            }
            report(field, field + usize::from(*rest));
        }
    }
}

/// A sweep without a trail, from `at` on: for a short window, and for a page that did not meet its stretch in time.
#[allow(clippy::arithmetic_side_effects, reason = "as above")]
fn alone(place: &Place<'_>, mut at: usize, end: usize, report: &mut impl FnMut(usize, usize)) {
    while at < end {
        let (len, field) = measure(place.bytes.get(at..).unwrap_or_default());
        if field > 0 {
            report(at + field, at + len);
        }
        at += len;
    }
}

/// The reference that the `field` of an instruction which ends at `end` is, if it leads anywhere. `near` are addresses
/// that exist: nearly all lead there, so it is looked at before the list.
fn reference(place: &Place<'_>, near: &Range<u64>, field: usize, end: usize) -> Option<Reference> {
    let value = place.u32(field)?;
    let target = place.at(end).wrapping_add_signed(i64::from(value.cast_signed()));
    let exists = near.contains(&target) || place.exists(target);
    exists.then_some(Reference { at: field, form: Form::U32, target, base: Base::Place })
}

#[cfg(test)]
mod tests;
