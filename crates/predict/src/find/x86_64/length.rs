//! How long an instruction is, and where in it a field lies that counts from its end. Nothing else is understood.

/// No ModRM byte and no immediate.
const NONE: u8 = 0;
/// A ModRM byte. One, so that it can be multiplied by.
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

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "runs when compiled")]
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

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "as above")]
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
            0x38 | 0x3a => SPECIAL,
            0x04 | 0x0a | 0x0c | 0x24..=0x27 | 0x39 | 0x3b..=0x3f => BAD,
            _ => MODRM,
        };
        op += 1;
    }
    table
}

/// What a ModRM byte brings with it: so many bytes, itself included.
static OPERAND: [u8; 256] = operand();

/// In [`OPERAND`]: the displacement counts from the instruction's end.
const RELATIVE: u8 = 16;
/// In [`OPERAND`]: a displacement of four bytes follows if the SIB byte says so.
const BY_SIB: u8 = 32;

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "as above")]
const fn operand() -> [u8; 256] {
    let mut table = [0; 256];
    let mut modrm = 0;
    while modrm < 256 {
        let (mode, low) = (modrm >> 6, modrm & 7);
        let sib = (low == 4) as u8;
        table[modrm] = match mode {
            0 if low == 5 => 5 | RELATIVE,
            0 if low == 4 => 2 | BY_SIB,
            0 => 1,
            1 => 2 + sib,
            2 => 5 + sib,
            _ => 1,
        };
        modrm += 1;
    }
    table
}

/// The length of the instruction at the start of `bytes`, and where in it a field relative to its end lies, 0 if
/// nowhere.
///
/// What is no instruction, or is cut off, counts as one byte.
#[inline]
pub(super) fn measure(bytes: &[u8]) -> (usize, usize) {
    #[cfg(test)]
    crate::find::tests::count_read();
    let (len, field) = match bytes.first_chunk() {
        Some(head) => measured(head),
        None => cut_off(bytes),
    };
    if len == 0 || len > LONGEST { (1, 0) } else { (len, field) }
}

/// [`measured`] where fewer bytes are left than it looks at: zeros stand for the rest.
#[cold]
fn cut_off(bytes: &[u8]) -> (usize, usize) {
    let mut head = [0; LONGEST + 1];
    head.iter_mut().zip(bytes).for_each(|(head, byte)| *head = *byte);
    let (len, field) = measured(&head);
    if len > bytes.len() { (0, 0) } else { (len, field) }
}

/// The longest instruction there is.
const LONGEST: usize = 15;

/// What [`measure`] says, or a length of 0 or more than [`LONGEST`] for what is no instruction.
///
/// Most instructions have at most a REX prefix and an opcode of one byte, or two from 0F: for these nothing is asked
/// that a processor could guess wrong but the latter, and all else is looked up.
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "positions are masked and sums small"
)]
#[inline]
pub(super) fn measured(head: &[u8; LONGEST + 1]) -> (usize, usize) {
    shape(head, 0, LOOK).unwrap_or_else(|| unusual(head))
}

/// [`measured`] where there is more to it: with a prefix, or the slow way.
#[allow(clippy::indexing_slicing, reason = "positions are masked and sums small")]
#[cold]
#[inline(never)]
fn unusual(head: &[u8; LONGEST + 1]) -> (usize, usize) {
    let with_prefix = match head[0] {
        0x66 => shape(head, 1, LOOK | NARROWS),
        0xf2 | 0xf3 | 0x64 | 0xf0 => shape(head, 1, LOOK),
        _ => None,
    };
    with_prefix.unwrap_or_else(|| measured_slowly(head))
}

/// What follows `prefixes`, unless its shape has one of the flags `but`.
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "positions are masked and sums small"
)]
#[inline(always)]
fn shape(head: &[u8; LONGEST + 1], prefixes: usize, but: u16) -> Option<(usize, usize)> {
    let rex = usize::from(head[prefixes] & 0xf0 == 0x40);
    let mut at = prefixes + rex;
    let mut opcode = usize::from(head[at]);
    if opcode == 0x0f {
        at += 1;
        opcode = 256 + usize::from(head[at]);
    }
    let shape = SHORT[opcode * 8 + usize::from(CLASS[usize::from(head[at + 1])] & 7)];
    if shape & (but | (rex as u16 * WIDENS)) != 0 {
        return None;
    }
    let field = usize::from(shape >> 4 & 15);
    let field = if field > 0 { at + field } else { 0 };
    let by_sib = shape & SIB != 0 && head[at + 2] & 7 == 5;
    Some((at + usize::from(shape & 15) + 4 * usize::from(by_sib), field))
}

/// For each value of [`OPERAND`] a number: an index of these.
const CLASSES: [u8; 7] = [1, 2, 3, 5, 6, 2 | BY_SIB, 5 | RELATIVE];

/// The class of a ModRM byte.
static CLASS: [u8; 256] = class();

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "runs when compiled")]
const fn class() -> [u8; 256] {
    let operand = operand();
    let mut table = [0; 256];
    let mut modrm = 0;
    while modrm < 256 {
        while CLASSES[table[modrm] as usize] != operand[modrm] {
            table[modrm] += 1;
        }
        modrm += 1;
    }
    table
}

/// For an opcode (with 0F ahead of it: 256 more) and the class of the byte after it: from the opcode on, the length
/// of the instruction in the lowest four bits and the place of its field in the next.
static SHORT: [u16; 512 * 8] = short();

/// In [`SHORT`]: a displacement of four bytes follows if the SIB byte says so.
const SIB: u16 = 0x100;
/// In [`SHORT`]: there may be more to it.
const LOOK: u16 = 0x200;
/// In [`SHORT`]: the same under a REX prefix.
const WIDENS: u16 = 0x400;
/// In [`SHORT`]: the same under an operand-size prefix.
const NARROWS: u16 = 0x800;

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "as above")]
const fn short() -> [u16; 512 * 8] {
    let mut table = [0; 512 * 8];
    let mut index = 0;
    while index < 512 * 7 {
        let (opcode, class) = (index / 7, index % 7);
        let flags = if opcode < 256 { ONE[opcode] } else { TWO[opcode - 256] };
        let operand = if flags & MODRM != 0 { CLASSES[class] as u16 } else { 0 };
        let (imm8, imm32) = ((flags & IMM8 != 0) as u16, (flags & (IMM32 | REL32) != 0) as u16);
        let field = if operand & RELATIVE as u16 != 0 { 2 } else { (flags & REL32 != 0) as u16 };
        let sib = if operand & BY_SIB as u16 != 0 { SIB } else { 0 };
        let narrows = if flags & IMM32 != 0 { NARROWS } else { 0 };
        let shape = (1 + (operand & 15) + imm8 + 4 * imm32) | field << 4 | sib | narrows;
        table[opcode * 8 + class] = match opcode {
            0xb8..=0xbf => 5 | WIDENS | NARROWS,
            _ if flags & (SPECIAL | BAD | PREFIX) != 0 => LOOK,
            _ => shape,
        };
        index += 1;
    }
    table
}

/// What follows an opcode, by its `flags`: how long the instruction is with it, and where its field is.
///
/// Positions are sums of a few small numbers and do not overflow. One past the end wraps around: then the length is
/// more than [`LONGEST`] whatever is read there.
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "positions are masked and sums small"
)]
#[inline]
fn ending(head: &[u8; LONGEST + 1], at: usize, flags: u8, wide: usize) -> (usize, usize) {
    let has = |flag: u8| usize::from(flags & flag != 0);
    let operand = OPERAND[usize::from(head[at & LONGEST])] * (flags & MODRM);
    let by_sib = operand & BY_SIB != 0 && head[(at + 1) & LONGEST] & 7 == 5;
    let relative = usize::from(operand & RELATIVE != 0);
    let field = has(REL32) * at + relative * (at + 1);
    let operand = usize::from(operand & 15) + 4 * usize::from(by_sib);
    (at + operand + 4 * has(REL32) + has(IMM8) + wide * has(IMM32), field)
}

/// [`measured`], with any prefixes and any opcode.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "as above")]
pub(super) fn measured_slowly(head: &[u8; LONGEST + 1]) -> (usize, usize) {
    let byte = |at: usize| head[at & LONGEST];
    let (mut at, mut narrow, mut short, mut wide) = (1, false, false, false);
    let mut opcode = byte(0);
    let mut flags = ONE[usize::from(opcode)];
    while flags == PREFIX && at <= LONGEST {
        narrow |= opcode == 0x66;
        short |= opcode == 0x67;
        // A REX prefix counts only right ahead of the opcode.
        wide = opcode & 0xf8 == 0x48;
        opcode = byte(at);
        flags = ONE[usize::from(opcode)];
        at += 1;
    }
    let mut extra = 0;
    if flags == SPECIAL {
        let wide = wide.then_some(8);
        (at, flags, extra) = special(byte, opcode, at, wide, if short { 4 } else { 8 });
    }
    if flags & (BAD | PREFIX) != 0 {
        return (0, 0);
    }
    let (len, field) = ending(head, at, flags, if narrow && !wide { 2 } else { 4 });
    (len + extra, field)
}

/// Opcodes that the one-byte table cannot describe: how far their bytes reach, what follows them as flags, and as
/// so many bytes more. `at` is where the byte after the first lies, `wide` the length of a wide immediate if it is
/// one, `address` that of an absolute address.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "as above")]
#[inline]
fn special(
    byte: impl Fn(usize) -> u8,
    opcode: u8,
    at: usize,
    wide: Option<usize>,
    address: usize,
) -> (usize, u8, usize) {
    match opcode {
        0x0f => match byte(at) {
            0x38 => (at + 2, MODRM, 0),
            0x3a => (at + 2, MODRM | IMM8, 0),
            opcode => (at + 1, TWO[usize::from(opcode)], 0),
        },
        // VEX of two bytes, VEX of three, EVEX; XOP unless it is a `pop`.
        0xc5 => (at + 2, vector(1, byte(at + 1)), 0),
        0xc4 => (at + 3, vector(byte(at) & 0x1f, byte(at + 2)), 0),
        0x62 => (at + 4, vector(byte(at) & 7, byte(at + 3)), 0),
        0x8f => match byte(at) & 0x1f {
            0..=7 => (at, MODRM, 0),
            8 => (at + 3, MODRM | IMM8, 0),
            9 => (at + 3, MODRM, 0),
            10 => (at + 3, MODRM, 4),
            _ => (at, BAD, 0),
        },
        // Moves of immediates and of what lies at an absolute address.
        0xb8..=0xbf => match wide {
            Some(wide) => (at, NONE, wide),
            None => (at, IMM32, 0),
        },
        0xa0..=0xa3 => (at, NONE, address),
        // Returns, `enter`.
        0xc2 | 0xca => (at, NONE, 2),
        0xc8 => (at, NONE, 3),
        // Group 3: only `test` has an immediate.
        _ if byte(at) & 0x38 > 8 => (at, MODRM, 0),
        0xf6 => (at, MODRM | IMM8, 0),
        _ => (at, MODRM | IMM32, 0),
    }
}

/// What follows an opcode of a vector instruction, by the map it is from.
#[allow(clippy::indexing_slicing, reason = "as above")]
fn vector(map: u8, opcode: u8) -> u8 {
    match map {
        1 if matches!(opcode, 0x38 | 0x3a) => MODRM,
        1 => TWO[usize::from(opcode)],
        2 | 5 | 6 => MODRM,
        3 => MODRM | IMM8,
        _ => BAD,
    }
}
