//! The applier and the second reader agree on any list of instructions, on every coder and its history, on what
//! any model predicts and on where chunks may end.

mod memory;
mod naive;

use memory::{apply, check, image, patch, tree_patch};
use proptest::collection::vec;
use proptest::prelude::*;
use siding_apply::Error;
use siding_patch::{Encoded, History, Instruction, Limits, Packing, encode_delta, encode_model};
use siding_predict::{Kind, Model, Region, Segment, ShiftMap, Span};
use std::ops::Range;

/// Source bytes, zeros after their end.
fn source_at(source: &[u8], from: u64, len: usize) -> Vec<u8> {
    let rest = usize::try_from(from).ok().and_then(|from| source.get(from..)).unwrap_or_default();
    rest.iter().copied().chain(std::iter::repeat(0)).take(len).collect()
}

type Wish = (Vec<u8>, u64, usize, usize, u8);

/// Encodes one chunk after `before`; returns it and what it makes, made while it was thought up.
///
/// Literals fill it up to a place where chunks may end.
fn chunk(
    source: &naive::Source<'_>,
    wishes: &[Wish],
    before: &[u8],
    history: (History, Vec<u8>),
    packing: Packing,
) -> Option<(Encoded, Vec<u8>)> {
    let mut parts = Vec::new();
    let mut at = before.len();
    for (literals, from, len, every, add) in wishes.iter().filter(|wish| wish.0.len() + wish.2 > 0) {
        at += literals.len();
        let old: Vec<u8> = (0..*len).map(|i| source.byte(*from as usize + i, at + i)).collect();
        at += len;
        let mut new = old.clone();
        new.iter_mut().step_by(*every).for_each(|byte| *byte = byte.wrapping_add(*add));
        parts.push((literals.clone(), *from, old, new));
    }
    let made: usize = parts.iter().map(|(literals, _, _, new)| literals.len() + new.len()).sum();
    let filling = history.1.iter().copied().chain(0u8..250).cycle().skip(made);
    let filling: Vec<u8> = filling.take(made.next_multiple_of(4096) - made).collect();
    parts.extend((!filling.is_empty()).then(|| (filling, 0, vec![], vec![])));
    let list: Vec<Instruction<'_>> = parts
        .iter()
        .map(|(literals, from, source, target)| Instruction { literals, from: *from, source, target })
        .collect();
    let made: Vec<u8> =
        parts.iter().flat_map(|(literals, _, _, new)| [literals.as_slice(), new].concat()).collect();
    let history = (history.0, history.1.as_slice());
    let encode = || encode_delta(&list, before.len() as u64, packing, Some(history)).unwrap();
    (!made.is_empty()).then(|| (encode(), made))
}

/// The history with these numbers, the last one made to fit, and its bytes.
fn history(source: &[u8], target: &[u8], numbers: (u64, usize, usize)) -> (History, Vec<u8>) {
    let (offset, len, back) = (if numbers.1 == 0 { 0 } else { numbers.0 }, numbers.1, numbers.2);
    let back = back.min(target.len());
    let history = History { source_offset: offset, source_len: len as u64, target_len: back as u64 };
    (history, [source_at(source, offset, len), target[target.len() - back..].to_vec()].concat())
}

/// One chunk of literals.
fn literals(start: usize, bytes: &[u8]) -> Encoded {
    let all = Instruction { literals: bytes, from: 0, source: &[], target: &[] };
    encode_delta(&[all], start as u64, Packing::zstd(1), None).unwrap()
}

/// The target as chunks of literals that end at `cuts` and at its end.
fn cut(target: &[u8], cuts: &[usize]) -> Vec<Encoded> {
    let borders: Vec<usize> = [&[0], cuts, &[target.len()]].concat();
    borders.windows(2).map(|pair| literals(pair[0], &target[pair[0]..pair[1]])).collect()
}

fn is_inside_a_block(error: &Error) -> bool {
    matches!(error, Error::Instructions { rule: "it ends inside a digest block of a file", .. })
}

/// Histories as they come: before, across and after the source's end; nothing, some or all of the target.
fn any_history() -> impl Strategy<Value = (u64, usize, usize)> {
    let offset = prop_oneof![0u64..700, Just(1 << 40), Just((1 << 63) - 1000)];
    (offset, prop_oneof![Just(0usize), 1usize..900], prop_oneof![Just(0usize), 1usize..9000])
}

/// Where the contents of a source lie that is one file.
fn whole(source: &[u8]) -> Vec<Range<usize>> {
    std::iter::once(0..source.len()).collect()
}

/// A model's chunk.
fn encoded(model: &Model, packing: Packing) -> Encoded {
    let streams = model.encode();
    encode_model(streams.regions, streams.addresses, streams.shifts, packing).unwrap()
}

/// Regions of any kind, not all of them within the source, all but some addresses existing, and any map.
fn any_model() -> impl Strategy<Value = Model> {
    let region = (0u64..60, 0usize..Kind::ALL.len(), 0u64..500, 0u64..2000);
    let segment = (0u64..3000, 0u64..6000, 0u64..5000);
    let steps = vec((0u64..3000, -5000i64..5000), 0..9);
    (vec(region, 0..4), vec(segment, 0..4), steps, 0u64..600).prop_map(|(regions, segments, steps, first)| {
        let mut end = 0;
        let regions = regions.into_iter().map(|(gap, kind, len, address)| {
            let (kind, start) = (Kind::ALL[kind], end + gap);
            end = start + len;
            Region { start, len, address, kind, link: if kind.has_link() { address / 2 } else { 0 } }
        });
        let regions = regions.collect();
        let mut end = 0;
        let segments = segments.into_iter().map(|(gap, len, address)| {
            let start = end + gap;
            end = start + len;
            Segment { start, len, address }
        });
        let spans = vec![
            Span { start: first, end: 1500, code: true },
            Span { start: 1700, end: 1 << 40, code: false },
        ];
        Model::new(regions, spans, segments.collect(), ShiftMap::new(steps)).unwrap()
    })
}

/// Bytes among which there are references.
fn any_source() -> impl Strategy<Value = Vec<u8>> {
    vec(
        prop_oneof![4 => any::<u8>(), 3 => Just(0u8), 1 => Just(0xe8), 1 => Just(0x94), 1 => Just(0x0f)],
        0..900,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn two_readers_agree(
        source in any_source(),
        model in prop::option::of(any_model()),
        dense: bool,
        chunks in vec(
            (vec((vec(0u8..4, 0..40), 0u64..700, 0usize..6000, 1usize..50, 0u8..3), 1..6), any_history()),
            1..5,
        ),
        end in vec(0u8..4, 0..40),
    ) {
        let packing = Packing { zstd: 3, dense };
        let contents = whole(&source);
        let with = |model| naive::Source { bytes: &source, contents: &contents, model };
        let moved = with(model.clone());
        let (mut encoded, mut target) = (Vec::new(), Vec::new());
        encoded.extend(model.iter().map(|model| self::encoded(model, packing)));
        for (wishes, numbers) in &chunks {
            let history = history(&source, &target, *numbers);
            if let Some((chunk, made)) = chunk(&moved, wishes, &target, history, packing) {
                encoded.push(chunk);
                target.extend(made);
            }
        }
        if !end.is_empty() {
            encoded.push(literals(target.len(), &end));
            target.extend(end);
        }
        let mut second = Vec::new();
        let mut from = with(None);
        encoded.iter().for_each(|e| naive::chunk(&e.bytes, e.chunk.kind, &mut from, &mut second, e.chunk.target));
        prop_assert!(second == target, "the second reader");
        prop_assert!(from.model == model, "the second reader's model");
        let old = image(&source);
        let patch = patch(&old, &target, &encoded);
        prop_assert!(apply(&patch, &old).unwrap() == target, "the applier");
        prop_assert!(check(&patch, &old, &Limits::default()).is_ok(), "the applier that writes nothing");
    }

    /// The whole source copied at once: the applier predicts it in tiles, the second reader byte by byte.
    #[test]
    fn what_a_model_predicts_is_the_same_byte_by_byte(
        source in any_source(),
        model in any_model(),
        before in vec(any::<u8>(), 0..40),
    ) {
        let contents = whole(&source);
        let moved = naive::Source { bytes: &source, contents: &contents, model: Some(model.clone()) };
        let all: Vec<u8> = (0..source.len()).map(|i| moved.byte(i, before.len() + i)).collect();
        let target = [&before[..], &all].concat();
        prop_assume!(!target.is_empty());
        let copy = Instruction { literals: &before, from: 0, source: &all, target: &all };
        let chunks = [encoded(&model, Packing::zstd(3)), encode_delta(&[copy], 0, Packing::zstd(3), None).unwrap()];
        let old = image(&source);
        prop_assert!(apply(&patch(&old, &target, &chunks), &old).unwrap() == target);
    }

    #[test]
    fn chunks_end_at_digest_blocks_of_their_file_or_at_its_end(
        sizes in vec(prop_oneof![1usize..9, Just(4095), Just(4096), Just(4097), 1usize..13_000], 1..6),
        cuts in vec((any::<prop::sample::Index>(), 0usize..4, 0usize..3), 0..5),
    ) {
        let contents: Vec<Vec<u8>> =
            sizes.iter().zip(0u8..).map(|(size, name)| (0..*size).map(|i| (i as u8 & 3) << 5 | name).collect()).collect();
        let target = contents.concat();
        // Near a file's start or end: so many blocks and a byte more or less from there.
        let starts: Vec<usize> = (0..=sizes.len()).map(|n| sizes[..n].iter().sum()).collect();
        let place = |(file, blocks, near): &(prop::sample::Index, usize, usize)| file.get(&starts) + blocks * 4096 + near;
        let mut cuts: Vec<usize> = cuts.iter().map(place).filter_map(|at| at.checked_sub(1)).collect();
        cuts.retain(|at| (1..target.len()).contains(at));
        cuts.sort_unstable();
        cuts.dedup();
        let legal = cuts.iter().all(|end| naive::may_end(&sizes, *end));
        let (patch, old) = tree_patch(&contents, &cut(&target, &cuts));
        match apply(&patch, &old) {
            Ok(made) => prop_assert!(legal && made == target),
            Err(error) => prop_assert!(!legal && is_inside_a_block(&error), "{error}"),
        }
    }
}

/// A chunk that ended within a digest block spoiled the digest of the whole, or stopped a debug build.
#[test]
fn a_chunk_that_ends_inside_a_digest_block_is_refused() {
    let target: Vec<u8> = (0..20_000u32).map(|i| ((i * i) >> 3) as u8).collect();
    let old = image(b"");
    let apply = |cuts: &[usize]| apply(&patch(&old, &target, &cut(&target, cuts)), &old);
    for cuts in [&[][..], &[4096], &[8192, 12_288], &[4096, 8192, 12_288, 16_384]] {
        assert!(apply(cuts).unwrap() == target, "{cuts:?}");
    }
    for cuts in [&[1][..], &[4095], &[4097], &[4096, 4097], &[4096, 19_999], &[2048, 8192]] {
        let error = apply(cuts).unwrap_err();
        assert!(is_inside_a_block(&error), "{cuts:?}: {error}");
    }
}

/// So that the properties above are about something: these literals are only small beside their history.
#[test]
fn a_history_of_source_and_target_is_used() {
    let noise = |seed: u64| -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..4096).map(|_| next()).collect()
    };
    let (source, first) = ([noise(1), noise(2)].concat(), noise(3));
    let second = [&source[5000..6000], &first[96..], &source[6000..6500]].concat();
    let (history, bytes) = history(&source, &first, (4900, 1700, 4000));
    let all = Instruction { literals: &second, from: 0, source: &[], target: &[] };
    let chunk = encode_delta(&[all], 4096, Packing::zstd(3), Some((history, &bytes))).unwrap();
    assert!(chunk.bytes.len() < 100, "{}", chunk.bytes.len());
    let chunks = [literals(0, &first), chunk];
    let target = [first, second].concat();
    let old = image(&source);
    assert!(apply(&patch(&old, &target, &chunks), &old).unwrap() == target);
    let mut second = Vec::new();
    let mut from = naive::Source { bytes: &source, contents: &whole(&source), model: None };
    chunks.iter().for_each(|e| naive::chunk(&e.bytes, e.chunk.kind, &mut from, &mut second, e.chunk.target));
    assert!(second == target);
}

/// Who raises the limit can check what he can apply: checking kept 8 MiB of the target, whatever the limit.
#[test]
fn checking_keeps_as_much_as_a_chunk_may_refer_to() {
    let first: Vec<u8> = (0..9u32 << 19).flat_map(|i| i.wrapping_mul(0x9e37_79b9).to_be_bytes()).collect();
    let second = first[first.len() - (64 << 10)..].to_vec();
    let history = History { source_offset: 0, source_len: 0, target_len: first.len() as u64 };
    let all = Instruction { literals: &second, from: 0, source: &[], target: &[] };
    let last = encode_delta(&[all], first.len() as u64, Packing::zstd(1), Some((history, &first))).unwrap();
    assert!(last.bytes.len() < 100, "{}", last.bytes.len());
    let chunks: Vec<Encoded> =
        first.chunks(4 << 20).zip(0..).map(|(part, n)| literals(n * (4 << 20), part)).chain([last]).collect();
    let (target, old) = ([first, second].concat(), image(b""));
    let patch = patch(&old, &target, &chunks);
    assert!(check(&patch, &old, &Limits::default()).is_err());
    let mut limits = Limits::default();
    limits.history = 32 << 20;
    check(&patch, &old, &limits).unwrap();
}

/// Whoever trusts anyone may be lied to about what the target is, but gets what he was told.
#[test]
fn a_changed_patch_makes_what_it_says_or_nothing() {
    let (old, target) = (image(b"the old bytes of it"), b"the new bytes of it, and more of them");
    let list =
        [Instruction { literals: b"the new", from: 7, source: b" bytes of it", target: b" bytes of it" }];
    let rest = Instruction { literals: b", and more of them", from: 0, source: &[], target: &[] };
    let chunk = encode_delta(&[list[0], rest], 0, Packing::zstd(3), None).unwrap();
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

/// The manifest does not say how far back a chunk's coder looks; memory is kept to all the same.
#[test]
fn what_a_coder_looks_back_at_counts_as_memory() {
    let source: Vec<u8> =
        (0..4u32 << 20).map(|i| (i.wrapping_mul(i | 1).wrapping_mul(0x9e37_79b9) >> 13) as u8).collect();
    let target = &source[1 << 20..][..64 << 10];
    let whole = History { source_offset: 0, source_len: source.len() as u64, target_len: 0 };
    let list = [Instruction { literals: target, from: 0, source: &[], target: &[] }];
    let chunk = encode_delta(&list, 0, Packing::zstd(3), Some((whole, &source))).unwrap();
    assert!(chunk.bytes.len() < 2000, "the coder looks back: {}", chunk.bytes.len());
    let old = image(&source);
    let patch = patch(&old, target, &[chunk]);
    let within = |memory| {
        let checked =
            siding_patch::open(patch.as_slice(), &siding_patch::Trust::anyone(), &Limits::default());
        siding_apply::check(checked.unwrap(), &old, memory, &mut siding_apply::NoProgress)
    };
    within(16 << 20).unwrap();
    let refused = within(4 << 20).unwrap_err();
    assert!(matches!(refused, Error::Memory { needed, .. } if needed > 4 << 20), "{refused}");
}
