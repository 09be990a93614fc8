//! Call frame information: `.eh_frame` and its index `.eh_frame_hdr`.
//!
//! Linux Standard Base 5.0, chapter 10.6. An entry (FDE) is its length, how far back its common part (CIE)
//! lies, the start of its function as an offset from here, the function's length, and perhaps where its
//! exception table is. Every one of them is a reference, the way back to the CIE too. Entries are found by
//! that way back: a word that leads to something that looks like a CIE.

use super::Place;
use crate::{Base, Form, Reference};
use std::ops::Range;

/// How far after the start of an entry its last reference ends, in bytes.
const HEAD: usize = 21;

pub(super) fn frames(place: &Place<'_>, window: Range<usize>, found: &mut impl FnMut(Reference)) {
    let first = window.start.saturating_sub(HEAD) & !3;
    for at in (first..window.end).step_by(4) {
        let Some(len) = place.u32(at) else { return };
        entry(place, at, len, found);
    }
}

/// The entry at `at`, which is `len` bytes long, if there is one.
fn entry(place: &Place<'_>, at: usize, len: u32, found: &mut impl FnMut(Reference)) -> Option<()> {
    if !(12..1 << 20).contains(&len) || !len.is_multiple_of(4) {
        return None;
    }
    let field = |offset: usize| at.saturating_add(offset);
    let (pointer, begins, length, augmentation, table) =
        (field(4), field(8), field(12), field(16), field(17));
    let back = place.u32(pointer).filter(|back| *back > 0)?;
    let cie = pointer.checked_sub(back as usize).filter(|cie| cie.is_multiple_of(4))?;
    let has_table = cie_has_table(place, cie)?;
    let start = relative(place, begins).filter(|start| place.is_code(*start))?;
    found(Reference { at: pointer, form: Form::Back32, target: place.at(cie), base: Base::Place });
    found(Reference { at: begins, form: Form::U32, target: start, base: Base::Place });
    if let Some(size) = place.u32(length).filter(|size| *size > 0) {
        let target = start.wrapping_add(size.into()).wrapping_sub(1);
        found(Reference { at: length, form: Form::U32, target, base: Base::Address(start) });
    }
    let has_table = has_table && place.bytes.get(augmentation).is_some_and(|len| *len >= 4);
    if has_table && place.u32(table).is_some_and(|value| value > 0) {
        let target = relative(place, table).filter(|target| place.exists(*target));
        if let Some(target) = target {
            found(Reference { at: table, form: Form::U32, target, base: Base::Place });
        }
    }
    Some(())
}

/// Whether what lies at `cie` looks like a CIE whose entries are written as expected, and if they name an
/// exception table.
fn cie_has_table(place: &Place<'_>, cie: usize) -> Option<bool> {
    let (len, id) = (place.u32(cie)?, place.u32(cie.checked_add(4)?)?);
    if id != 0 || !(8..256).contains(&len) {
        return None;
    }
    let (version, text) = place.bytes.get(cie.checked_add(8)?..)?.split_first()?;
    let text = text.get(..15.min(len as usize).min(text.len()))?;
    let text = text.get(..text.iter().position(|byte| *byte == 0)?)?;
    (matches!(version, 1 | 3) && text.first() == Some(&b'z')).then(|| text.contains(&b'L'))
}

fn relative(place: &Place<'_>, at: usize) -> Option<u64> {
    let value = place.u32(at)?.cast_signed();
    Some(place.at(at).wrapping_add_signed(value.into()))
}

/// The index: from its own start, the start of each function and its entry; four words ahead of them.
pub(super) fn header(place: &Place<'_>, window: Range<usize>, found: &mut impl FnMut(Reference)) {
    for at in (window.start & !3..window.end).step_by(4) {
        let Some(value) = place.u32(at) else { return };
        // Version and encodings; where the frames begin, from here; how many there are.
        let (from, base) = match at {
            0 | 8 => continue,
            4 => (place.at(4), Base::Place),
            _ => (place.address, Base::Address(place.address)),
        };
        let target = from.wrapping_add_signed(value.cast_signed().into());
        if place.exists(target) {
            found(Reference { at, form: Form::U32, target, base });
        }
    }
}

#[cfg(test)]
mod tests;
