//! How much work finders do on bytes made to keep them busy, counted in fields they read.

use super::*;
use std::cell::Cell;

thread_local! {
    static READS: Cell<usize> = const { Cell::new(0) };
}

pub(super) fn count_read() {
    READS.set(READS.get() + 1);
}

/// Fields read, and references reported, when all of `bytes` is looked at.
fn work(kind: Kind, bytes: &[u8], window: Range<usize>) -> (usize, usize) {
    let spans = [Span { start: 0, end: 1 << 40, code: true }];
    let place = Place { bytes, address: 0x10_0000, link: 0x1000, spans: &spans };
    READS.set(0);
    let mut found = 0;
    kind.find(&place, window, &mut |_, _| found += 1);
    (READS.get(), found)
}

/// Bytes that ask for as much work as can be: each repeats to fill a region.
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let frame = [words(&[28, 0]), b"\x01zPLR\0".to_vec(), vec![0; 18], words(&[12, 36, 1, 1])].concat();
    vec![
        ("zeros", vec![0]),
        ("ones", vec![0xff]),
        ("prefixes", vec![0x66]),
        ("calls", vec![0xe8, 1, 0, 0, 0]),
        ("ADRP of one register", words(&[0x9000_0000])),
        ("ADRP of all registers", (0..32u32).flat_map(|register| words(&[0x9000_0000 | register])).collect()),
        ("ADRP and nothing to complete it", words(&[0x9000_0000, 0xd503_201f])),
        ("frames", frame),
        ("lengths of entries, all leading to one place", words(&[12, 8])),
        ("a hash of everything", words(&[u32::MAX, 1, 1, 1])),
    ]
}

#[test]
fn work_is_linear_in_the_window() {
    for (name, bytes) in hostile() {
        let bytes: Vec<u8> = bytes.iter().copied().cycle().take(64 * PAGE).collect();
        for kind in Kind::ALL {
            let (one, _) = work(kind, &bytes[..PAGE], 0..PAGE);
            let (all, found) = work(kind, &bytes, 0..bytes.len());
            // The sweep begins up to 64 bytes ahead of a page; a page looks up to 64 bytes past its end.
            let limit = 64 * (one.max(PAGE / 4) * 5 / 4 + 64);
            assert!(all <= limit, "{name}, {}: {all} reads, {one} in one page", kind.name());
            assert!(all <= 6 * bytes.len(), "{name}, {}: {all} reads", kind.name());
            assert!(found <= bytes.len() / 2, "{name}, {}: {found} references", kind.name());
            // One byte costs at most as much as its page.
            let (byte, _) = work(kind, &bytes, bytes.len() - 1..bytes.len());
            assert!(byte <= 6 * PAGE, "{name}, {}: {byte} reads", kind.name());
        }
    }
}
