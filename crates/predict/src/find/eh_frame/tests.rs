use super::*;
use crate::{Kind, Span};

const ADDRESS: u64 = 0x8000;
const SPANS: [Span; 2] =
    [Span { start: 0x1000, end: 0x2000, code: true }, Span { start: 0x8000, end: 0xa000, code: false }];

fn references(kind: Kind, bytes: &[u8]) -> Vec<Reference> {
    let place = Place { bytes, address: ADDRESS, link: 0, spans: &SPANS };
    let mut found = Vec::new();
    kind.find(&place, 0..bytes.len(), &mut |page, reference| {
        if page.contains(&reference.at) {
            found.push(reference);
        }
    });
    found
}

fn put(bytes: &mut Vec<u8>, word: u32) {
    bytes.extend(word.to_le_bytes());
}

/// A CIE for entries that name an exception table or do not.
fn cie(bytes: &mut Vec<u8>, table: bool) -> usize {
    let at = bytes.len();
    let text: &[u8] = if table { b"zPLR\0" } else { b"zR\0" };
    put(bytes, 28);
    put(bytes, 0);
    bytes.push(1);
    bytes.extend(text);
    bytes.resize(at + 32, 0);
    at
}

/// An entry for `len` bytes of code at `start`, with an exception table at `table`.
fn fde(bytes: &mut Vec<u8>, cie: usize, start: u64, len: u32, table: Option<u64>) -> usize {
    let at = bytes.len();
    let relative = |at: usize, to: u64| to.wrapping_sub(ADDRESS + at as u64) as u32;
    put(bytes, 24);
    put(bytes, (at + 4 - cie) as u32);
    put(bytes, relative(at + 8, start));
    put(bytes, len);
    bytes.push(if table.is_some() { 4 } else { 0 });
    if let Some(table) = table {
        put(bytes, relative(at + 17, table));
    }
    bytes.resize(at + 28, 0);
    at
}

fn wanted(at: usize, cie: usize, start: u64, len: u64) -> [Reference; 3] {
    [
        Reference { at: at + 4, form: Form::Back32, target: ADDRESS + cie as u64, base: Base::Place },
        Reference { at: at + 8, form: Form::U32, target: start, base: Base::Place },
        Reference { at: at + 12, form: Form::U32, target: start + len - 1, base: Base::Address(start) },
    ]
}

#[test]
fn entries_with_and_without_an_exception_table() {
    let mut bytes = Vec::new();
    let plain = cie(&mut bytes, false);
    let first = fde(&mut bytes, plain, 0x1000, 0x20, None);
    let rich = cie(&mut bytes, true);
    let second = fde(&mut bytes, rich, 0x1020, 0x30, Some(0x9000));
    let third = fde(&mut bytes, plain, 0x1050, 0x10, None);
    put(&mut bytes, 0);
    let table = Reference { at: second + 17, form: Form::U32, target: 0x9000, base: Base::Place };
    let all = [
        &wanted(first, plain, 0x1000, 0x20)[..],
        &wanted(second, rich, 0x1020, 0x30),
        &[table],
        &wanted(third, plain, 0x1050, 0x10),
    ];
    assert_eq!(references(Kind::EhFrame, &bytes), all.concat());
}

#[test]
fn entries_across_pages() {
    let mut bytes = Vec::new();
    let common = cie(&mut bytes, false);
    let mut all = Vec::new();
    for number in 0..100 {
        let at = fde(&mut bytes, common, 0x1000 + number * 16, 16, None);
        all.extend(wanted(at, common, 0x1000 + number * 16, 16));
    }
    assert_eq!(references(Kind::EhFrame, &bytes), all);
}

#[test]
fn what_only_looks_like_an_entry() {
    let mut bytes = Vec::new();
    let common = cie(&mut bytes, false);
    fde(&mut bytes, common, 0x3000, 0x20, None);
    assert_eq!(references(Kind::EhFrame, &bytes), [], "there is no code");
    let mut bytes = Vec::new();
    let common = cie(&mut bytes, false);
    fde(&mut bytes, common + 4, 0x1000, 0x20, None);
    assert_eq!(references(Kind::EhFrame, &bytes), [], "there is no CIE");
}

#[test]
fn the_index() {
    let mut bytes = vec![1, 0x1b, 3, 0x3b];
    put(&mut bytes, 0x100 - 4);
    put(&mut bytes, 2);
    for (start, entry) in [(0x1000u64, 0x8118u64), (0x1020, 0x8154)] {
        put(&mut bytes, start.wrapping_sub(ADDRESS) as u32);
        put(&mut bytes, entry.wrapping_sub(ADDRESS) as u32);
    }
    let base = Base::Address(ADDRESS);
    let all = [
        Reference { at: 4, form: Form::U32, target: 0x8100, base: Base::Place },
        Reference { at: 12, form: Form::U32, target: 0x1000, base },
        Reference { at: 16, form: Form::U32, target: 0x8118, base },
        Reference { at: 20, form: Form::U32, target: 0x1020, base },
        Reference { at: 24, form: Form::U32, target: 0x8154, base },
    ];
    assert_eq!(references(Kind::EhFrameHdr, &bytes), all);
}
