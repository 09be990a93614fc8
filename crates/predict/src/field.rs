//! References: where an address is written down, in which form, and what it will read once things moved.

use crate::ShiftMap;

/// How an address is written in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Four bytes, little-endian.
    U32,
    /// Four bytes, little-endian, counted backwards: from the target to the place.
    Back32,
    /// Four bytes, little-endian: the number of an entry of so many bytes in a table, which is its base.
    Number(u8),
    /// Eight bytes, little-endian.
    U64,
    /// The low 26 bits of a word, counted in words: AArch64 `B`, `BL`.
    Branch26,
    /// Bits 5 to 23 of a word, counted in words: AArch64 `B.cond`, `CBZ`, `LDR` (literal).
    Branch19,
    /// Bits 5 to 18 of a word, counted in words: AArch64 `TBZ`.
    Branch14,
    /// 21 bits in two parts, counted in bytes: AArch64 `ADR`.
    Adr,
    /// 21 bits in two parts, counted in 4 KiB pages: AArch64 `ADRP`.
    Adrp,
    /// Bits 10 to 21 of a word, an offset within a 4 KiB page divided by 2^n: AArch64 `ADD`, `LDR`, `STR`.
    Low12(u8),
}

/// What a written address counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Base {
    /// From zero: an absolute address.
    Zero,
    /// From the place where it is written: it changes with what it points to and with where it is copied.
    Place,
    /// From another address: a table's start, a function's start for its length.
    Address(u64),
}

/// A place in a region where an address is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Offset of its first byte in the region.
    pub at: usize,
    /// How it is written.
    pub form: Form,
    /// The address it points to.
    pub target: u64,
    /// What it counts from.
    pub base: Base,
}

impl Form {
    /// How many bytes it takes.
    pub fn len(self) -> usize {
        match self {
            Self::U64 => 8,
            _ => 4,
        }
    }

    /// Never.
    pub fn is_empty(self) -> bool {
        false
    }
}

impl Reference {
    /// Offset in the region of the byte after it.
    pub fn end(&self) -> usize {
        self.at.saturating_add(self.form.len())
    }

    /// What the field, which reads `old` now, will read once its place moved by `moved` and its target as `map` says.
    ///
    /// `place` is the address of the field. All arithmetic wraps.
    pub fn predicted(&self, old: u64, place: u64, moved: i64, map: &ShiftMap) -> u64 {
        let target_moved = map.shift(self.target);
        let base_moved = match self.base {
            Base::Zero => 0,
            Base::Place => moved,
            Base::Address(base) => map.shift(base),
        };
        self.rewritten(old, place, target_moved, base_moved)
    }

    /// What the field will read if its target moves by `target_moved` and its base by `base_moved`.
    pub fn rewritten(&self, old: u64, place: u64, target_moved: i64, base_moved: i64) -> u64 {
        let by = target_moved.wrapping_sub(base_moved);
        match self.form {
            Form::U32 => u64::from(low32(old).wrapping_add(low32(by.cast_unsigned()))),
            Form::Back32 => u64::from(low32(old).wrapping_sub(low32(by.cast_unsigned()))),
            Form::Number(size) => {
                let entries = by.checked_div(size.into()).unwrap_or(0);
                u64::from(low32(old).wrapping_add(low32(entries.cast_unsigned())))
            }
            Form::U64 => old.wrapping_add_signed(by),
            Form::Branch26 => put_bits(old, get_bits(old, 0, 26).wrapping_add_signed(by >> 2), 0, 26),
            Form::Branch19 => put_bits(old, get_bits(old, 5, 19).wrapping_add_signed(by >> 2), 5, 19),
            Form::Branch14 => put_bits(old, get_bits(old, 5, 14).wrapping_add_signed(by >> 2), 5, 14),
            Form::Adr => put_split(old, get_split(old).wrapping_add_signed(by)),
            Form::Adrp => {
                let target = self.target.wrapping_add_signed(target_moved);
                let place = place.wrapping_add_signed(base_moved);
                put_split(old, (target >> 12).wrapping_sub(place >> 12))
            }
            Form::Low12(scale) => {
                let low = self.target.wrapping_add_signed(target_moved) & 0xfff;
                put_bits(old, low >> (scale & 7), 10, 12)
            }
        }
    }

    /// What the field would read if it were written as the target's own address, `target_moved` further on:
    /// for comparing what two references at different places mean.
    pub fn absolute(&self, old: u64, target_moved: i64) -> u64 {
        let target = self.target.wrapping_add_signed(target_moved);
        match self.form {
            Form::U32 | Form::Back32 if self.base == Base::Place => u64::from(low32(target)),
            Form::Branch26 => put_bits(old, target >> 2, 0, 26),
            Form::Branch19 => put_bits(old, target >> 2, 5, 19),
            Form::Branch14 => put_bits(old, target >> 2, 5, 14),
            Form::Adr => put_split(old, target),
            Form::Adrp => put_split(old, target >> 12),
            _ => self.rewritten(old, 0, target_moved, 0),
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "what is cut off was masked")]
fn low32(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

/// `len` bits of `word` from bit `at` on.
pub(crate) fn get_bits(word: u64, at: u32, len: u32) -> u64 {
    (word >> at) & low_bits(len)
}

fn put_bits(word: u64, value: u64, at: u32, len: u32) -> u64 {
    let mask = low_bits(len) << at;
    word & !mask | (value << at) & mask
}

/// The lowest `len` bits of a word, fewer than 64.
fn low_bits(len: u32) -> u64 {
    !(u64::MAX << len)
}

/// The 21 bits of `ADR` and `ADRP`: the two lowest at bit 29, the rest at bit 5.
pub(crate) fn get_split(word: u64) -> u64 {
    get_bits(word, 29, 2) | get_bits(word, 5, 19) << 2
}

fn put_split(word: u64, value: u64) -> u64 {
    put_bits(put_bits(word, value, 29, 2), value >> 2, 5, 19)
}

/// `value`, whose highest bit is bit `bits - 1`, as a signed number.
pub(crate) fn sign_extend(value: u64, bits: u32) -> i64 {
    let shift = u64::BITS.saturating_sub(bits);
    (value << shift).cast_signed() >> shift
}
