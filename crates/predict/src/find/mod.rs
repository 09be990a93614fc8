//! Finders: what in a region is a reference. Code and call frames have a file each, tables of entries share one.
//!
//! A finder is a guess that maker and device make alike. It may be wrong: that costs bytes in the patch, never
//! correctness. It must be a function of the region's bytes near a place alone, so that any window can be
//! predicted by itself. Where an entry speaks for itself that is easy; x86-64 code is cut into pages.

mod aarch64;
mod eh_frame;
mod tables;
mod x86_64;

pub use x86_64::PAGE;

use crate::{Reference, Span};
use std::ops::Range;

/// What a region holds, which says how references are found in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// No references.
    Plain = 0,
    /// x86-64 machine code.
    X86_64 = 1,
    /// AArch64 machine code.
    AArch64 = 2,
    /// ELF64 relocations with addends: offset, info, addend.
    Rela64 = 3,
    /// ELF64 symbols.
    Symbols64 = 4,
    /// Eight-byte absolute addresses among other data.
    Words64 = 5,
    /// Four-byte offsets from their own place to code, among other data: jump tables.
    Jumps = 6,
    /// Four-byte offsets from their own place to anywhere, among other data: `.gcc_except_table`.
    Offsets = 7,
    /// DWARF call frame information, `.eh_frame`.
    EhFrame = 8,
    /// Its index, `.eh_frame_hdr`.
    EhFrameHdr = 9,
    /// Four-byte absolute addresses among other data: 32-bit relocations, PE's relative virtual addresses.
    Words32 = 10,
    /// ELF32 symbols.
    Symbols32 = 11,
    /// The GNU hash table over symbols, `.gnu.hash`, of a 64-bit program.
    GnuHash64 = 12,
}

/// A region as finders see it.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// All its bytes.
    pub bytes: &'a [u8],
    /// The address of the first.
    pub address: u64,
    /// The address of the table it refers to by number, for kinds that do.
    pub link: u64,
    /// The addresses that exist beside it, in order and apart: what points elsewhere is no reference.
    pub spans: &'a [Span],
}

impl Kind {
    /// All kinds, in order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::Plain,
        Self::X86_64,
        Self::AArch64,
        Self::Rela64,
        Self::Symbols64,
        Self::Words64,
        Self::Jumps,
        Self::Offsets,
        Self::EhFrame,
        Self::EhFrameHdr,
        Self::Words32,
        Self::Symbols32,
        Self::GnuHash64,
    ];

    /// The name used in `docs/prediction.md` and by `siding inspect`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::X86_64 => "x86-64",
            Self::AArch64 => "aarch64",
            Self::Rela64 => "rela64",
            Self::Symbols64 => "symbols64",
            Self::Words64 => "words64",
            Self::Jumps => "jumps",
            Self::Offsets => "offsets",
            Self::EhFrame => "eh-frame",
            Self::EhFrameHdr => "eh-frame-hdr",
            Self::Words32 => "words32",
            Self::Symbols32 => "symbols32",
            Self::GnuHash64 => "gnu-hash64",
        }
    }

    /// Whether it refers to another table by number, so that a region must say where that is.
    pub fn has_link(self) -> bool {
        matches!(self, Self::Rela64 | Self::Symbols64 | Self::Symbols32 | Self::GnuHash64)
    }

    /// Whether it is little else than addresses.
    pub fn is_table(self) -> bool {
        !matches!(self, Self::Plain | Self::Words64 | Self::Jumps) && !self.is_code()
    }

    /// Whether it is machine code.
    pub fn is_code(self) -> bool {
        matches!(self, Self::X86_64 | Self::AArch64)
    }

    /// Reports every reference that has a byte in `window`, in order, each with the bytes it may be written to.
    ///
    /// Those lie in the window. A reference across the border of two pages of code may be reported by both,
    /// differently; then each answers for its own bytes. Reads the window and at most [`PAGE`] bytes around it.
    pub fn find(
        self,
        place: &Place<'_>,
        window: Range<usize>,
        found: &mut impl FnMut(Range<usize>, Reference),
    ) {
        let window = window.start..window.end.min(place.bytes.len());
        if window.is_empty() {
            return;
        }
        if self == Self::X86_64 {
            return x86_64::find(place, window, found);
        }
        let mut found = |reference: Reference| {
            if reference.at < window.end && reference.end() > window.start {
                found(window.clone(), reference);
            }
        };
        let (window, found) = (window.clone(), &mut found);
        match self {
            Self::Plain | Self::X86_64 => {}
            Self::AArch64 => aarch64::find(place, window, found),
            Self::Rela64 => tables::rela64(place, window, found),
            Self::Symbols64 => tables::symbols64(place, window, found),
            Self::Symbols32 => tables::symbols32(place, window, found),
            Self::GnuHash64 => tables::gnu_hash64(place, window, found),
            Self::Words64 => tables::words64(place, window, found),
            Self::Words32 => tables::words32(place, window, found),
            Self::Jumps => tables::jumps(place, window, found),
            Self::Offsets => tables::offsets(place, window, found),
            Self::EhFrame => eh_frame::frames(place, window, found),
            Self::EhFrameHdr => eh_frame::header(place, window, found),
        }
    }
}

impl Place<'_> {
    /// Whether something exists at `address`.
    pub(crate) fn exists(&self, address: u64) -> bool {
        self.span(address).is_some()
    }

    /// Whether there is code at `address`.
    pub(crate) fn is_code(&self, address: u64) -> bool {
        self.span(address).is_some_and(|span| span.code)
    }

    pub(crate) fn span(&self, address: u64) -> Option<&Span> {
        let index = self.spans.partition_point(|span| span.end <= address);
        self.spans.get(index).filter(|span| span.start <= address)
    }

    /// The address of the region's byte `at`.
    pub(crate) fn at(&self, at: usize) -> u64 {
        self.address.wrapping_add(at as u64)
    }

    /// The same, as the file itself writes it: without the number of its space.
    pub(crate) fn space(&self) -> u64 {
        self.address & !(crate::SPACE - 1)
    }

    pub(crate) fn u32(&self, at: usize) -> Option<u32> {
        #[cfg(test)]
        tests::count_read();
        let bytes = self.bytes.get(at..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    }

    pub(crate) fn u64(&self, at: usize) -> Option<u64> {
        #[cfg(test)]
        tests::count_read();
        let bytes = self.bytes.get(at..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes))
    }

    /// The address that an absolute field means.
    pub(crate) fn absolute(&self, value: u64) -> u64 {
        value & (crate::SPACE - 1) | self.space()
    }
}

#[cfg(test)]
mod tests;
