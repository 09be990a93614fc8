//! x86-64 code: `call`, `jmp` and `jcc` with 32-bit offsets, operands relative to the instruction pointer.
//!
//! Instructions are only measured, not understood: prefixes, opcode, ModRM, SIB, displacement, immediate
//! (Intel SDM volume 2, chapter 2 and appendix A). A sweep that starts inside an instruction falls into step
//! within a few of them, so each page's sweep begins a little before the page.

use super::Place;
use crate::{Base, Form, Reference};
use std::ops::Range;

/// How far before its page a sweep begins, to be in step when it arrives.
const RUN_UP: usize = 64;

pub(super) fn find(place: &Place<'_>, page: Range<usize>, found: &mut dyn FnMut(Reference)) {
    let mut at = page.start.saturating_sub(RUN_UP);
    while at < page.end {
        let Some(rest) = place.bytes.get(at..) else { return };
        let (len, field) = measure(rest);
        let end = at.saturating_add(len);
        if let Some(field) = field.map(|field| at.saturating_add(field)) {
            report(place, field, end, found);
        }
        at = end;
    }
}

fn report(place: &Place<'_>, field: usize, end: usize, found: &mut dyn FnMut(Reference)) {
    let Some(value) = place.u32(field) else { return };
    let target = place.at(end).wrapping_add_signed(i64::from(value.cast_signed()));
    if place.exists(target) {
        found(Reference { at: field, form: Form::U32, target, base: Base::Place });
    }
}

/// No ModRM byte and no immediate.
const NONE: u8 = 0;
const MODRM: u8 = 1;
/// An immediate of one byte.
const IMM8: u8 = 2;
/// An immediate of four bytes, two under the operand-size prefix.
const IMM32: u8 = 4;
/// An offset of four bytes from the instruction's end.
const REL32: u8 = 8;
/// Something that needs a look of its own.
const SPECIAL: u8 = 16;
/// Not an instruction in 64-bit mode.
const BAD: u8 = 32;
/// No opcode yet.
const PREFIX: u8 = 64;

/// The one-byte opcodes.
static ONE: [u8; 256] = one();

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)] // runs when compiled
const fn one() -> [u8; 256] {
    let mut table = [NONE; 256];
    let mut op = 0;
    while op < 256 {
        table[op] = match op {
            0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3 => PREFIX,
            0x0f => SPECIAL,
            0x00..=0x3f => match op & 7 {
                0..=3 => MODRM,
                4 => IMM8,
                5 => IMM32,
                _ => BAD,
            },
            0x63 | 0x84..=0x8e | 0xd0..=0xd3 | 0xd8..=0xdf | 0xfe | 0xff => MODRM,
            0x68 | 0xa9 => IMM32,
            0x69 | 0x81 | 0xc7 => MODRM | IMM32,
            0x6a | 0xa8 | 0x70..=0x7f | 0xb0..=0xb7 | 0xcd | 0xe0..=0xe7 | 0xeb => IMM8,
            0x6b | 0x80 | 0x83 | 0xc0 | 0xc1 | 0xc6 => MODRM | IMM8,
            0xe8 | 0xe9 => REL32,
            0x62 | 0x8f | 0xc4 | 0xc5 | 0xb8..=0xbf | 0xa0..=0xa3 | 0xc2 | 0xca | 0xc8 | 0xf6 | 0xf7 => {
                SPECIAL
            }
            0x60 | 0x61 | 0x82 | 0x9a | 0xce | 0xd4..=0xd6 | 0xea => BAD,
            _ => NONE,
        };
        op += 1;
    }
    table
}

/// The opcodes after 0F; VEX and EVEX use them too.
static TWO: [u8; 256] = two();

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)] // as above
const fn two() -> [u8; 256] {
    let mut table = [MODRM; 256];
    let mut op = 0;
    while op < 256 {
        table[op] = match op {
            0x05..=0x09 | 0x0b | 0x0e | 0x30..=0x37 | 0x77 | 0xa0..=0xa2 | 0xa8..=0xaa | 0xc8..=0xcf => NONE,
            0x0f | 0x70..=0x73 | 0xa4 | 0xac | 0xba | 0xc2 | 0xc4..=0xc6 => MODRM | IMM8,
            // Moves of control registers: what looks like ModRM never means memory.
            0x20..=0x23 => IMM8,
            0x80..=0x8f => REL32,
            0x04 | 0x0a | 0x0c | 0x24..=0x27 | 0x39 | 0x3b..=0x3f => BAD,
            _ => MODRM,
        };
        op += 1;
    }
    table
}

/// The length of the instruction at the start of `bytes`, and where in it a field relative to its end lies.
///
/// What is no instruction, or is cut off, counts as one byte.
fn measure(bytes: &[u8]) -> (usize, Option<usize>) {
    measured(bytes).unwrap_or((1, None))
}

/// Positions in an instruction are sums of a few small numbers: they do not overflow.
#[allow(clippy::arithmetic_side_effects)]
fn measured(bytes: &[u8]) -> Option<(usize, Option<usize>)> {
    let prefixes = Prefixes::of(bytes)?;
    let mut at = prefixes.len + 1;
    let mut flags = prefixes.flags;
    let mut extra = 0;
    if flags == SPECIAL {
        (at, flags, extra) = special(bytes, at, &prefixes)?;
    }
    if flags & BAD != 0 {
        return None;
    }
    let mut field = None;
    if flags & MODRM != 0 {
        (at, field) = operand(bytes, at)?;
    }
    if flags & REL32 != 0 {
        field = Some(at);
        at += 4;
    }
    at += extra;
    at += usize::from(flags & IMM8 != 0);
    at += match (flags & IMM32 != 0, prefixes.narrow && !prefixes.wide) {
        (false, _) => 0,
        (true, true) => 2,
        (true, false) => 4,
    };
    (at <= bytes.len().min(LONGEST)).then_some((at, field))
}

/// The longest instruction there is.
const LONGEST: usize = 15;

/// What stands ahead of an opcode, and the opcode.
struct Prefixes {
    len: usize,
    opcode: u8,
    /// What follows the opcode.
    flags: u8,
    /// Operands are two bytes wide.
    narrow: bool,
    /// Operands are eight bytes wide.
    wide: bool,
    /// Addresses are four bytes wide.
    short: bool,
}

impl Prefixes {
    #[inline]
    fn of(bytes: &[u8]) -> Option<Self> {
        let (mut narrow, mut wide, mut short) = (false, false, false);
        for (len, byte) in bytes.iter().take(LONGEST).enumerate() {
            let flags = *ONE.get(usize::from(*byte))?;
            if flags != PREFIX {
                return Some(Self { len, opcode: *byte, flags, narrow, wide, short });
            }
            narrow |= *byte == 0x66;
            short |= *byte == 0x67;
            // A REX prefix counts only right ahead of the opcode.
            wide = byte & 0xf8 == 0x48;
        }
        None
    }
}

/// Opcodes that the one-byte table cannot describe: how far their bytes reach, what follows them as flags, and as
/// so many bytes more. `at` is where the byte after the first lies.
#[allow(clippy::arithmetic_side_effects)] // as above
fn special(bytes: &[u8], at: usize, prefixes: &Prefixes) -> Option<(usize, u8, usize)> {
    let byte = |at: usize| bytes.get(at).copied();
    let two = |opcode: u8| TWO.get(usize::from(opcode)).copied();
    Some(match prefixes.opcode {
        0x0f => match byte(at)? {
            0x38 => (at + 2, MODRM, 0),
            0x3a => (at + 2, MODRM | IMM8, 0),
            opcode => (at + 1, two(opcode)?, 0),
        },
        // VEX of two bytes, VEX of three, EVEX; XOP unless it is a `pop`.
        0xc5 => (at + 2, two(byte(at + 1)?)?, 0),
        0xc4 => (at + 3, vector(byte(at)? & 0x1f, byte(at + 2)?)?, 0),
        0x62 => (at + 4, vector(byte(at)? & 7, byte(at + 3)?)?, 0),
        0x8f => match byte(at)? & 0x1f {
            0..=7 => (at, MODRM, 0),
            8 => (at + 3, MODRM | IMM8, 0),
            9 => (at + 3, MODRM, 0),
            10 => (at + 3, MODRM, 4),
            _ => return None,
        },
        // Moves of immediates and of what lies at an absolute address.
        0xb8..=0xbf if prefixes.wide => (at, NONE, 8),
        0xb8..=0xbf => (at, IMM32, 0),
        0xa0..=0xa3 => (at, NONE, if prefixes.short { 4 } else { 8 }),
        // Returns, `enter`.
        0xc2 | 0xca => (at, NONE, 2),
        0xc8 => (at, NONE, 3),
        // Group 3: only `test` has an immediate.
        opcode => match (byte(at)? & 0x38 <= 8, opcode) {
            (false, _) => (at, MODRM, 0),
            (true, 0xf6) => (at, MODRM | IMM8, 0),
            (true, _) => (at, MODRM | IMM32, 0),
        },
    })
}

/// What follows an opcode of a vector instruction, by the map it is from.
fn vector(map: u8, opcode: u8) -> Option<u8> {
    match map {
        1 => TWO.get(usize::from(opcode)).copied(),
        2 | 5 | 6 => Some(MODRM),
        3 => Some(MODRM | IMM8),
        _ => None,
    }
}

/// Where the ModRM byte at `at` and what belongs to it end, and where a displacement from the end of the
/// instruction lies.
#[inline]
#[allow(clippy::arithmetic_side_effects)] // as above
fn operand(bytes: &[u8], at: usize) -> Option<(usize, Option<usize>)> {
    let modrm = *bytes.get(at)?;
    let (mode, low, at) = (modrm >> 6, modrm & 7, at + 1);
    if mode == 3 {
        return Some((at, None));
    }
    let (base, at) = if low == 4 { (*bytes.get(at)? & 7, at + 1) } else { (low, at) };
    Some(match mode {
        0 if base == 5 => (at + 4, (low == 5).then_some(at)),
        0 => (at, None),
        1 => (at + 1, None),
        _ => (at + 4, None),
    })
}

#[cfg(test)]
mod tests;
