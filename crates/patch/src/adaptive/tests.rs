use super::*;
use crate::cursor::put_number;
use proptest::collection::vec;
use proptest::prelude::*;

fn lens(streams: &[(Stream, Vec<u8>)]) -> Vec<(Stream, usize)> {
    streams.iter().map(|(stream, bytes)| (*stream, bytes.len())).collect()
}

fn encoded(streams: &[(Stream, Vec<u8>)]) -> Vec<u8> {
    encode(&streams.iter().map(|(stream, bytes)| (*stream, &bytes[..])).collect::<Vec<_>>())
}

/// Round trip, then everything that must be refused: every truncation, every trailing byte.
fn check(streams: &[(Stream, Vec<u8>)]) -> Vec<u8> {
    let frame = encoded(streams);
    let plain: Vec<_> = streams.iter().map(|(_, bytes)| bytes.clone()).collect();
    assert_eq!(decode(&frame, &lens(streams)), Ok(plain));
    frame
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    numbers.iter().for_each(|number| put_number(&mut bytes, *number));
    bytes
}

/// A delta's streams as they look: 300 runs in a pattern, and some code.
fn typical() -> Vec<(Stream, Vec<u8>)> {
    let pick = |i: u64| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % 50;
    let text = |i: u64| b"push mov call ret lea"[(pick(i) % 21) as usize];
    vec![
        (Stream::LiteralLengths, numbers(&[3, 0, 70, 9])),
        (Stream::CopyLengths, numbers(&[900, 20000, 1 << 40, 0])),
        (Stream::CopyOffsets, numbers(&[0, 7, 1 << 20])),
        (Stream::Gaps, numbers(&(0..300).map(pick).collect::<Vec<_>>())),
        (Stream::Runs, numbers(&(0..300).map(|i| pick(i) % 3).collect::<Vec<_>>())),
        (Stream::Values, (0..600).map(|i| [4, 0, 0xfe][i % 3]).collect()),
        (Stream::Literals, (0..400).map(text).collect()),
    ]
}

#[test]
fn numbers_at_every_edge_survive() {
    let edges: Vec<u64> =
        (0..64).flat_map(|b| [(1u64 << b) - 1, 1 << b, (1 << b) + 1]).chain([u64::MAX]).collect();
    for stream in [Stream::LiteralLengths, Stream::CopyOffsets, Stream::Gaps, Stream::Runs] {
        check(&[(stream, numbers(&edges))]);
    }
}

#[test]
fn nothing_at_all_is_a_frame() {
    check(&[]);
}

#[test]
fn a_typical_delta_gets_small() {
    let streams = typical();
    let plain: usize = streams.iter().map(|(_, bytes)| bytes.len()).sum();
    let frame = check(&streams);
    assert!(frame.len() * 2 < plain, "{} of {plain}", frame.len());
}

#[test]
fn every_truncation_and_any_trailing_byte_is_refused() {
    let streams = typical();
    let frame = check(&streams);
    for len in 0..frame.len() {
        assert!(decode(&frame[..len], &lens(&streams)).is_err(), "{len} of {}", frame.len());
    }
    for more in [&[0][..], &[0xff], &[0, 0], &frame] {
        let long = [&frame, more].concat();
        assert!(decode(&long, &lens(&streams)).is_err(), "{} more", more.len());
    }
}

#[test]
fn a_stream_listed_twice_is_refused() {
    let lens = [(Stream::Values, 1), (Stream::Values, 1)];
    assert!(decode(&encode(&[(Stream::Values, &[7])]), &lens).is_err());
}

#[test]
fn a_flipped_bit_never_panics() {
    let streams = typical();
    let frame = encoded(&streams);
    for bit in 0..frame.len() * 8 {
        let mut bad = frame.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        if let Ok(out) = decode(&bad, &lens(&streams)) {
            assert!(out.iter().zip(&streams).all(|(out, (_, plain))| out.len() == plain.len()));
        }
    }
}

#[test]
fn the_model_is_small() {
    const { assert!(MEMORY < 3 << 20) }
}

/// Streams of numbers, of bytes that are no numbers, and mixtures of both.
fn any_stream() -> impl Strategy<Value = Vec<u8>> {
    let small = vec(0u64..200, 0..80).prop_map(|all| numbers(&all));
    let wide = vec((any::<u64>(), 0u32..64).prop_map(|(n, shift)| n >> shift), 0..40);
    prop_oneof![small, wide.prop_map(|all| numbers(&all)), vec(any::<u8>(), 0..300), vec(0u8..3, 0..300)]
}

proptest! {
    #[test]
    fn any_streams_survive(bytes in vec(any_stream(), Stream::ALL.len()), used: u16) {
        let used = |i: usize| used >> i & 1 == 1;
        let streams: Vec<_> = Stream::ALL.into_iter().zip(bytes).filter(|(s, _)| used(*s as usize)).collect();
        check(&streams);
    }

    #[test]
    fn garbage_never_panics(
        bytes in vec(any::<u8>(), 0..400),
        lens in vec(0usize..2000, Stream::ALL.len()),
    ) {
        let lens: Vec<_> = Stream::ALL.into_iter().zip(lens).collect();
        if let Ok(out) = decode(&bytes, &lens) {
            prop_assert!(out.iter().zip(&lens).all(|(out, (_, len))| out.len() == *len));
        }
    }

    #[test]
    fn truncated_frames_are_refused(bytes in vec(any_stream(), Stream::ALL.len()), cut in 1usize..30, extra: u8) {
        let streams: Vec<_> = Stream::ALL.into_iter().zip(bytes).collect();
        let mut frame = encoded(&streams);
        prop_assert!(decode(&frame[..frame.len().saturating_sub(cut)], &lens(&streams)).is_err());
        frame.push(extra);
        prop_assert!(decode(&frame, &lens(&streams)).is_err());
    }
}
