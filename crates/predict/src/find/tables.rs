//! Tables of addresses: relocations, symbols, pointers, jump tables.
//!
//! Layouts: System V gABI chapters 4 and 5. Entries are counted from the region's start, which is a section's.

use super::Place;
use crate::{Base, Form, Reference};
use std::ops::Range;

/// Where entries of `size` bytes begin that have a byte in `window`.
fn entries(window: &Range<usize>, size: usize) -> impl Iterator<Item = usize> + use<> {
    let into = window.start.checked_rem(size).unwrap_or(0);
    (window.start.saturating_sub(into)..window.end).step_by(size)
}

/// A field's offset in the region. Entries begin within it, so nothing overflows before reading ends it.
fn field(entry: usize, offset: usize) -> usize {
    entry.saturating_add(offset)
}

fn absolute64(place: &Place<'_>, at: usize, found: &mut impl FnMut(Reference)) {
    let Some(value) = place.u64(at) else { return };
    let target = place.absolute(value);
    if value != 0 && place.exists(target) {
        found(Reference { at, form: Form::U64, target, base: Base::Zero });
    }
}

fn absolute32(place: &Place<'_>, at: usize, found: &mut impl FnMut(Reference)) {
    let Some(value) = place.u32(at) else { return };
    let target = place.absolute(value.into());
    if value != 0 && place.exists(target) {
        found(Reference { at, form: Form::U32, target, base: Base::Zero });
    }
}

/// The number of an entry of `size` bytes in the table that the region is linked to.
fn number(place: &Place<'_>, at: usize, size: u8, found: &mut impl FnMut(Reference)) {
    let Some(value) = place.u32(at) else { return };
    let target = place.link.wrapping_add(u64::from(value).wrapping_mul(size.into()));
    if value != 0 && place.exists(target) {
        found(Reference { at, form: Form::Number(size), target, base: Base::Address(place.link) });
    }
}

/// `Elf64_Rela`: where, what (its upper half a symbol's number), and the address to write there.
pub(super) fn rela64(place: &Place<'_>, window: Range<usize>, found: &mut impl FnMut(Reference)) {
    for at in entries(&window, 24) {
        absolute64(place, at, found);
        number(place, field(at, 12), SYMBOL64, found);
        absolute64(place, field(at, 16), found);
    }
}

/// `Elf64_Sym`: name, info, other, section, value, size.
pub(super) fn symbols64(place: &Place<'_>, window: Range<usize>, found: &mut impl FnMut(Reference)) {
    for at in entries(&window, 24) {
        let (Some(value), Some(size)) = (place.u64(field(at, 8)), place.u64(field(at, 16))) else { continue };
        number(place, at, 1, found);
        absolute64(place, field(at, 8), found);
        let start = place.absolute(value);
        let end = start.wrapping_add(size);
        if value != 0 && size != 0 && place.exists(start) && place.exists(end.wrapping_sub(1)) {
            let target = end.wrapping_sub(1);
            found(Reference { at: field(at, 16), form: Form::U64, target, base: Base::Address(start) });
        }
    }
}

/// `Elf32_Sym`: name, value, size, info, other, section.
pub(super) fn symbols32(place: &Place<'_>, window: Range<usize>, found: &mut impl FnMut(Reference)) {
    for at in entries(&window, 16) {
        let (Some(value), Some(size)) = (place.u32(field(at, 4)), place.u32(field(at, 8))) else { continue };
        number(place, at, 1, found);
        absolute32(place, field(at, 4), found);
        let start = place.absolute(value.into());
        let end = start.wrapping_add(size.into());
        if value != 0 && size != 0 && place.exists(start) && place.exists(end.wrapping_sub(1)) {
            let target = end.wrapping_sub(1);
            found(Reference { at: field(at, 8), form: Form::U32, target, base: Base::Address(start) });
        }
    }
}

/// The size of an `Elf64_Sym`.
const SYMBOL64: u8 = 24;

/// Number of buckets, of the first symbol, of filter words; a shift; the filter; for each bucket a symbol's
/// number; for each symbol its hash.
pub(super) fn gnu_hash64(place: &Place<'_>, window: Range<usize>, found: &mut impl FnMut(Reference)) {
    let (Some(buckets), Some(filter)) = (place.u32(0), place.u32(8)) else { return };
    let first = 16u64.saturating_add(u64::from(filter).saturating_mul(8));
    let numbers = first..first.saturating_add(u64::from(buckets).saturating_mul(4));
    for at in entries(&window, 4).filter(|at| *at == 4 || numbers.contains(&(*at as u64))) {
        number(place, at, SYMBOL64, found);
    }
}

pub(super) fn words64(place: &Place<'_>, window: Range<usize>, found: &mut impl FnMut(Reference)) {
    entries(&window, 8).for_each(|at| absolute64(place, at, found));
}

pub(super) fn words32(place: &Place<'_>, window: Range<usize>, found: &mut impl FnMut(Reference)) {
    entries(&window, 4).for_each(|at| absolute32(place, at, found));
}

/// Offsets to code, as compilers write `switch` tables: from the table's start, which is not known here but
/// is close by, and moves as the place does.
pub(super) fn jumps(place: &Place<'_>, window: Range<usize>, found: &mut impl FnMut(Reference)) {
    offset_words(place, window, found, |target| place.is_code(target));
}

/// Offsets to anything.
pub(super) fn offsets(place: &Place<'_>, window: Range<usize>, found: &mut impl FnMut(Reference)) {
    offset_words(place, window, found, |target| place.exists(target));
}

fn offset_words(
    place: &Place<'_>,
    window: Range<usize>,
    found: &mut impl FnMut(Reference),
    plausible: impl Fn(u64) -> bool,
) {
    for at in entries(&window, 4) {
        let Some(value) = place.u32(at) else { return };
        let target = place.at(at).wrapping_add_signed(i64::from(value.cast_signed()));
        if value != 0 && plausible(target) {
            found(Reference { at, form: Form::U32, target, base: Base::Place });
        }
    }
}

#[cfg(test)]
mod tests;
