//! The applier and the second reader agree on any list of instructions, in chunks that end anywhere.

mod memory;
mod naive;

use memory::{apply, image, patch};
use proptest::collection::vec;
use proptest::prelude::*;
use siding_patch::{Encoded, Instruction, encode_delta};

/// Source bytes, zeros after their end.
fn source_at(source: &[u8], from: u64, len: usize) -> Vec<u8> {
    let rest = usize::try_from(from).ok().and_then(|from| source.get(from..)).unwrap_or_default();
    rest.iter().copied().chain(std::iter::repeat(0)).take(len).collect()
}

type Wish = (Vec<u8>, u64, usize, usize, u8);

/// Encodes one chunk at `start`; returns it and what it makes, made while it was thought up.
fn chunk(source: &[u8], wishes: &[Wish], start: u64, history: Option<&[u8]>) -> Option<(Encoded, Vec<u8>)> {
    let mut parts = Vec::new();
    for (literals, from, len, every, add) in wishes.iter().filter(|wish| wish.0.len() + wish.2 > 0) {
        let old = source_at(source, *from, *len);
        let mut new = old.clone();
        new.iter_mut().step_by(*every).for_each(|byte| *byte = byte.wrapping_add(*add));
        parts.push((literals, *from, old, new));
    }
    let list: Vec<Instruction<'_>> = parts
        .iter()
        .map(|(literals, from, source, target)| Instruction { literals, from: *from, source, target })
        .collect();
    let made: Vec<u8> =
        parts.iter().flat_map(|(literals, _, _, new)| [literals.as_slice(), new].concat()).collect();
    (!made.is_empty()).then(|| (encode_delta(&list, start, 3, history).unwrap(), made))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn two_readers_agree(
        source in vec(any::<u8>(), 0..600),
        chunks in vec(vec((vec(0u8..4, 0..40), 0u64..700, 0usize..6000, 1usize..50, 0u8..3), 1..6), 1..5),
    ) {
        let (mut encoded, mut target) = (Vec::new(), Vec::new());
        for wishes in &chunks {
            let history = (!target.is_empty()).then_some(target.as_slice());
            if let Some((chunk, made)) = chunk(&source, wishes, target.len() as u64, history) {
                encoded.push(chunk);
                target.extend(made);
            }
        }
        let mut second = Vec::new();
        encoded.iter().for_each(|e| naive::chunk(&e.bytes, &source, &mut second, e.chunk.target));
        prop_assert!(second == target, "the second reader");
        let old = image(&source);
        prop_assert!(apply(&patch(&old, &target, &encoded), &old).unwrap() == target, "the applier");
    }
}

/// A chunk that ended within a digest block once spoiled the digest of the whole.
#[test]
fn chunks_may_end_anywhere() {
    let target: Vec<u8> = (0..20_000u32).map(|i| ((i * i) >> 3) as u8).collect();
    let old = image(b"");
    let cuts: [&[usize]; 6] =
        [&[1], &[4095], &[4096], &[4097, 4098, 8191], &[1, 2, 3, 4, 8192, 19_999], &[12_288, 12_289]];
    for cuts in cuts {
        let borders: Vec<usize> = [&[0], cuts, &[target.len()]].concat();
        let literals = |pair: &[usize]| {
            let all = Instruction { literals: &target[pair[0]..pair[1]], from: 0, source: &[], target: &[] };
            encode_delta(&[all], pair[0] as u64, 1, None).unwrap()
        };
        let chunks: Vec<Encoded> = borders.windows(2).map(literals).collect();
        assert!(apply(&patch(&old, &target, &chunks), &old).unwrap() == target, "{cuts:?}");
    }
}

/// Whoever trusts anyone may be lied to about what the target is, but gets what he was told.
#[test]
fn a_changed_patch_makes_what_it_says_or_nothing() {
    let (old, target) = (image(b"the old bytes of it"), b"the new bytes of it, and more of them");
    let list =
        [Instruction { literals: b"the new", from: 7, source: b" bytes of it", target: b" bytes of it" }];
    let rest = Instruction { literals: b", and more of them", from: 0, source: &[], target: &[] };
    let chunk = encode_delta(&[list[0], rest], 0, 3, None).unwrap();
    let good = patch(&old, target, &[chunk]);
    assert_eq!(apply(&good, &old).unwrap(), target);
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            if let Ok(made) = apply(&bad, &old) {
                assert_eq!(made, target, "byte {at} bit {bit}");
            }
        }
    }
    for len in 0..good.len() {
        assert!(apply(&good[..len], &old).is_err(), "cut to {len}");
    }
}
