//! AArch64 code: branches, and addresses built by `ADR`, or by `ADRP` together with the instructions after it.
//!
//! Encodings: Arm Architecture Reference Manual, C4.1. `ADRP` names only a page; what is in the page stands in
//! an `ADD`, `LDR` or `STR` that follows and uses the same register. Both are read together, or the carry
//! from the low twelve bits into the page would be lost.

use super::Place;
use crate::field::{get_bits, get_split, sign_extend};
use crate::{Base, Form, Reference};
use std::ops::Range;

/// How far after an `ADRP` its other half is looked for, in bytes, and so how far before a window a sweep begins.
const REACH: usize = 64;

/// For each register: the place of the last `ADRP` into it, and the page that named.
type Pages = [Option<(usize, u64)>; 32];

pub(super) fn find(place: &Place<'_>, window: Range<usize>, found: &mut impl FnMut(Reference)) {
    let mut pages: Pages = [None; 32];
    let start = window.start & !3;
    let mut at = start.saturating_sub(REACH);
    while at < window.end {
        let Some(word) = place.u32(at) else { return };
        if !concerns(word) {
            at = at.saturating_add(4);
            continue;
        }
        let mut found = |reference| {
            if at >= start {
                found(reference);
            }
        };
        if is_adrp(word) {
            let named = named_page(place, at, word);
            set(&mut pages, register(word), named.map(|named| (at, named)));
            if let Some(named) = named.filter(|_| at >= start) {
                let target = named.wrapping_add(within_page(place, at, register(word)));
                found(Reference { at, form: Form::Adrp, target, base: Base::Place });
            }
        } else if let Some(half) = LowHalf::of(word) {
            let from = pages.get(half.base).copied().flatten();
            if let Some((_, named)) = from.filter(|(from, _)| at.saturating_sub(*from) <= REACH) {
                let target = named.wrapping_add(half.offset);
                found(Reference { at, form: Form::Low12(half.scale), target, base: Base::Zero });
            }
            forget_written(word, &mut pages);
        } else {
            direct(place, at, word, &mut found);
            forget_written(word, &mut pages);
        }
        at = at.saturating_add(4);
    }
}

/// Whether the word can be a reference, complete one, or write to a register that held a page: told by one look-up, since
/// most words are and do nothing of the kind.
fn concerns(word: u32) -> bool {
    /// By the highest byte.
    #[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "runs when compiled")]
    static CONCERNS: [bool; 256] = {
        let mut table = [false; 256];
        let mut top = 0;
        while top < 256 {
            let (adr, literal) = (top & 0x1f == 0x10, top & 0x3b == 0x18);
            let branch = top & 0x7c == 0x14 || top == 0x54 || top & 0x7c == 0x34;
            let (immediate, unsigned) = (top & 0x1f == 0x11, top & 0x3b == 0x39);
            table[top] = adr || literal || branch || immediate || unsigned;
            top += 1;
        }
        table
    };
    let [.., top] = word.to_le_bytes();
    CONCERNS.get(usize::from(top)).copied().unwrap_or(true)
}

fn set(pages: &mut Pages, register: usize, to: Option<(usize, u64)>) {
    if let Some(slot) = pages.get_mut(register) {
        *slot = to;
    }
}

/// The register in the lowest five bits: where most instructions put their result.
fn register(word: u32) -> usize {
    (word & 31) as usize
}

fn is_adrp(word: u32) -> bool {
    word & 0x9f00_0000 == 0x9000_0000
}

/// A register written anew by `ADD` or `SUB` (immediate), or by a load, holds no page any more.
fn forget_written(word: u32, pages: &mut Pages) {
    let immediate = word & 0x1f80_0000 == 0x1100_0000;
    let load = word & 0x3f00_0000 == 0x3900_0000 && word & 0x00c0_0000 != 0;
    if immediate || load {
        set(pages, register(word), None);
    }
}

/// The page that the `ADRP` at `at` names, if there is such a page.
fn named_page(place: &Place<'_>, at: usize, word: u32) -> Option<u64> {
    let pages = sign_extend(get_split(word.into()), 21);
    let named = (place.at(at) >> 12).wrapping_add_signed(pages) << 12;
    (place.exists(named) || place.exists(named | 0xfff)).then_some(named)
}

/// The low twelve bits that complete the `ADRP` at `at` into `register`: those of its first other half, or else none.
fn within_page(place: &Place<'_>, at: usize, register: usize) -> u64 {
    for next in (at.saturating_add(4)..=at.saturating_add(REACH)).step_by(4) {
        let Some(word) = place.u32(next) else { break };
        match LowHalf::of(word) {
            Some(half) if half.base == register => return half.offset,
            _ if is_adrp(word) && self::register(word) == register => break,
            _ => {}
        }
    }
    0
}

/// The other half of an address: `ADD` (64-bit, immediate, unshifted), `LDR` or `STR` (unsigned offset).
struct LowHalf {
    /// The register that holds the page.
    base: usize,
    /// Its field counts in units of 2^scale bytes.
    scale: u8,
    /// The offset in the page.
    offset: u64,
}

impl LowHalf {
    fn of(word: u32) -> Option<Self> {
        let scale = scale(word)?;
        let offset = get_bits(word.into(), 10, 12) << scale;
        // What reaches past its page is a field of something large, not the low half of an address.
        (offset < 1 << 12).then_some(Self { base: (word >> 5 & 31) as usize, scale, offset })
    }
}

fn scale(word: u32) -> Option<u8> {
    if word & 0xffc0_0000 == 0x9100_0000 {
        return Some(0);
    }
    if word & 0x3b00_0000 != 0x3900_0000 {
        return None;
    }
    let quad = word & 0xc480_0000 == 0x0480_0000;
    Some(if quad { 4 } else { get_bits(word.into(), 30, 2).to_le_bytes()[0] })
}

fn direct(place: &Place<'_>, at: usize, word: u32, found: &mut impl FnMut(Reference)) {
    let wide = u64::from(word);
    let (form, by) = if word & 0x7c00_0000 == 0x1400_0000 {
        (Form::Branch26, sign_extend(get_bits(wide, 0, 26), 26) << 2)
    } else if word & 0xff00_0010 == 0x5400_0000
        || word & 0x7e00_0000 == 0x3400_0000
        || word & 0x3b00_0000 == 0x1800_0000
    {
        (Form::Branch19, sign_extend(get_bits(wide, 5, 19), 19) << 2)
    } else if word & 0x7e00_0000 == 0x3600_0000 {
        (Form::Branch14, sign_extend(get_bits(wide, 5, 14), 14) << 2)
    } else if word & 0x9f00_0000 == 0x1000_0000 {
        (Form::Adr, sign_extend(get_split(wide), 21))
    } else {
        return;
    };
    let target = place.at(at).wrapping_add_signed(by);
    if place.exists(target) {
        found(Reference { at, form, target, base: Base::Place });
    }
}

#[cfg(test)]
mod tests;
