use super::*;
use crate::{Kind, Span};

const ADDRESS: u64 = 0x4000;
const SPANS: [Span; 2] =
    [Span { start: 0x1000, end: 0x2000, code: true }, Span { start: 0x4000, end: 0x5000, code: false }];

/// The references of a region that lies at [`ADDRESS`]; its table of symbols or strings is at 0x1800.
fn references(kind: Kind, bytes: &[u8]) -> Vec<Reference> {
    let place = Place { bytes, address: ADDRESS, link: 0x1800, spans: &SPANS };
    let mut found = Vec::new();
    kind.find(&place, 0..bytes.len(), &mut |_, reference| found.push(reference));
    found
}

fn absolute(at: usize, form: Form, target: u64) -> Reference {
    Reference { at, form, target, base: Base::Zero }
}

fn numbered(at: usize, size: u8, target: u64) -> Reference {
    Reference { at, form: Form::Number(size), target, base: Base::Address(0x1800) }
}

fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn bytes32(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn relocations() {
    // R_X86_64_RELATIVE: where, no symbol, what; R_X86_64_GLOB_DAT: where, symbol 3; one to where nothing is.
    let table = bytes(&[0x4010, 8, 0x1234, 0x4018, 3 << 32 | 6, 0, 0x9000, 8, 0x9000]);
    let wanted = [
        absolute(0, Form::U64, 0x4010),
        absolute(16, Form::U64, 0x1234),
        absolute(24, Form::U64, 0x4018),
        numbered(24 + 12, 24, 0x1800 + 3 * 24),
    ];
    assert_eq!(references(Kind::Rela64, &table), wanted);
}

#[test]
fn symbols() {
    // The name at 0x20 of the strings; a function of 0x30 bytes at 0x1100.
    let table = bytes(&[0, 0, 0, 0x000c_0012_0000_0020, 0x1100, 0x30]);
    let wanted = [
        numbered(24, 1, 0x1820),
        absolute(32, Form::U64, 0x1100),
        Reference { at: 40, form: Form::U64, target: 0x112f, base: Base::Address(0x1100) },
    ];
    assert_eq!(references(Kind::Symbols64, &table), wanted);
    let table = bytes32(&[0, 0, 0, 0, 0x20, 0x1100, 0x30, 0x000c_0012]);
    let wanted = [
        numbered(16, 1, 0x1820),
        absolute(20, Form::U32, 0x1100),
        Reference { at: 24, form: Form::U32, target: 0x112f, base: Base::Address(0x1100) },
    ];
    assert_eq!(references(Kind::Symbols32, &table), wanted);
}

#[test]
fn gnu_hash() {
    // Two buckets, symbols from 5 on, one word of filter, shift 6; buckets 5 and none; two hashes.
    let table = bytes32(&[2, 5, 1, 6, 0x1820, 0x1820, 5, 0, 5, 7]);
    let wanted = [numbered(4, 24, 0x1800 + 5 * 24), numbered(24, 24, 0x1800 + 5 * 24)];
    assert_eq!(references(Kind::GnuHash64, &table), wanted);
}

#[test]
fn a_gnu_hash_that_claims_too_much_is_read_as_far_as_it_goes() {
    let mut table = bytes32(&[u32::MAX, 5, u32::MAX, u32::MAX]);
    table.resize(4096, 5);
    assert_eq!(references(Kind::GnuHash64, &table), [numbered(4, 24, 0x1800 + 5 * 24)]);
}

#[test]
fn words() {
    let table = bytes(&[0, 0x1000, 0x1fff, 0x2000, 0xffff_0000_0000_1000]);
    let wanted =
        [absolute(8, Form::U64, 0x1000), absolute(16, Form::U64, 0x1fff), absolute(32, Form::U64, 0x1000)];
    assert_eq!(references(Kind::Words64, &table), wanted, "what stands above 48 bits is not compared");
    let table = bytes32(&[0, 0x1000, 0x2000, 0x4fff]);
    assert_eq!(
        references(Kind::Words32, &table),
        [absolute(4, Form::U32, 0x1000), absolute(12, Form::U32, 0x4fff)]
    );
}

#[test]
fn offsets_from_their_own_place() {
    let relative = |at, target| Reference { at, form: Form::U32, target, base: Base::Place };
    // To code at 0x1100, to data at 0x4100, to nothing.
    let table = bytes32(&[0x1100u32.wrapping_sub(0x4000), 0x4100 - 0x4004, 0x9000, 0]);
    assert_eq!(references(Kind::Jumps, &table), [relative(0, 0x1100)]);
    assert_eq!(references(Kind::Offsets, &table), [relative(0, 0x1100), relative(4, 0x4100)]);
}

/// The kernel's `__ex_table` is what [`Kind::Offsets`] reads: fault, fix-up, and a word of its own.
#[test]
fn exception_table_of_a_kernel() {
    let offset = |at: u32, to: u32| to.wrapping_sub(0x4000 + at);
    let table = bytes32(&[offset(0, 0x1010), offset(4, 0x1ff0), 3]);
    let found = references(Kind::Offsets, &table);
    assert_eq!(found.iter().map(|reference| reference.target).collect::<Vec<_>>(), [0x1010, 0x1ff0, 0x400b]);
    // The third word is taken for an offset to its own neighbourhood, which moves as the place does: no harm.
}

#[test]
fn spaces_are_kept_apart() {
    let space = 3 * crate::SPACE;
    let spans = SPANS.map(|span| Span { start: span.start + space, end: span.end + space, ..span });
    let table = bytes(&[0x1000]);
    let place = Place { bytes: &table, address: ADDRESS + space, link: 0, spans: &spans };
    let mut found = Vec::new();
    Kind::Words64.find(&place, 0..8, &mut |_, reference| found.push(reference));
    assert_eq!(found, [absolute(0, Form::U64, 0x1000 + space)]);
}
