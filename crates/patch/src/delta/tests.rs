//! However a delta is cut into steps, and wherever a walker is cloned, the same bytes come out.

use super::*;
use crate::{ChunkRef, Error, Instruction, Limits, Stored, encode_delta};
use proptest::collection::vec;
use proptest::prelude::*;

/// A wish for an instruction: literals, where from, how much, and differences every so many bytes.
type Wish = (Vec<u8>, u64, usize, usize, u8);

fn any_wishes() -> impl Strategy<Value = Vec<Wish>> {
    let literals = prop_oneof![Just(vec![]), vec(any::<u8>(), 0..20)];
    let from = prop_oneof![0u64..300, 0u64..300, Just(1 << 40), (LAST - 1000)..(LAST - 600)];
    let wish = (literals, from, prop_oneof![Just(0usize), 1usize..90], 1usize..20, 0u8..3);
    vec(wish, 0..12)
}

/// The source: some bytes, then zeros.
fn source_at(from: u64, len: usize) -> Vec<u8> {
    let byte = |at: u64| if at < 256 { (at * 7 % 251) as u8 } else { 0 };
    (0..len as u64).map(|i| byte(from + i)).collect()
}

/// Encodes the wishes at `start`; returns the decoded streams and the target.
fn made(wishes: &[Wish], start: u64) -> (Streams, Vec<u8>) {
    let parts: Vec<(Vec<u8>, Vec<u8>)> = wishes
        .iter()
        .map(|(_, from, len, every, add)| {
            let source = source_at(*from, *len);
            let mut target = source.clone();
            target.iter_mut().step_by(*every).for_each(|byte| *byte = byte.wrapping_add(*add));
            (source, target)
        })
        .collect();
    let list = wishes.iter().zip(&parts).filter(|((literals, _, len, ..), _)| literals.len() + len > 0);
    let list: Vec<Instruction<'_>> = list
        .map(|((literals, from, ..), (source, target))| Instruction { literals, from: *from, source, target })
        .collect();
    let encoded = encode_delta(&list, start, crate::Packing::zstd(3), None).unwrap();
    let target = wishes.iter().zip(&parts).flat_map(|((literals, ..), (_, t))| [literals.clone(), t.clone()]);
    let chunk: ChunkRef = encoded.chunk;
    let stored = Stored::new(0, chunk, encoded.bytes, Limits::default());
    (stored.decode(|_| Ok::<_, Error>(vec![])).unwrap(), target.collect::<Vec<_>>().concat())
}

/// Takes one step and appends what it makes; whether there was one.
fn step(walker: &mut Walker<'_>, room: usize, out: &mut Vec<u8>) -> Result<bool, Broken> {
    match walker.step(room)? {
        None => return Ok(false),
        Some(Step::Literal(bytes)) => out.extend(bytes),
        Some(Step::Copy { from, len }) => {
            let mut copied = source_at(from, len);
            walker.adjust(&mut copied)?;
            out.extend(copied);
        }
    }
    Ok(true)
}

fn run(mut walker: Walker<'_>, rooms: &[usize]) -> Result<Vec<u8>, Broken> {
    let mut out = Vec::new();
    for room in rooms.iter().cycle() {
        if !step(&mut walker, *room, &mut out)? {
            break;
        }
    }
    Ok(out)
}

proptest! {
    #[test]
    fn any_split_into_steps_gives_the_same(wishes in any_wishes(), start in 0u64..1000, rooms in vec(1usize..50, 1..8)) {
        let (streams, target) = made(&wishes, start);
        let walker = Walker::new(&streams, start, target.len() as u64).unwrap();
        prop_assert_eq!(&run(walker.clone(), &[usize::MAX]).unwrap(), &target);
        prop_assert_eq!(&run(walker, &rooms).unwrap(), &target);
    }

    #[test]
    fn a_clone_at_any_border_goes_on_alike(wishes in any_wishes(), cut in any::<prop::sample::Index>(), room in 1usize..40) {
        let (streams, target) = made(&wishes, 5);
        let cut = cut.index(target.len() + 1);
        let mut walker = Walker::new(&streams, 5, target.len() as u64).unwrap();
        // One walker skips to the border, as a plan does; another makes every byte up to it.
        let mut skipped = walker.clone();
        let mut left = cut;
        while left > 0 {
            left -= match skipped.step(left).unwrap().unwrap() {
                Step::Literal(bytes) => bytes.len(),
                Step::Copy { len, .. } => {
                    skipped.skip_adjust(len).unwrap();
                    len
                }
            };
        }
        let mut before = Vec::new();
        while before.len() < cut {
            step(&mut walker, room.min(cut - before.len()), &mut before).unwrap();
        }
        prop_assert_eq!(&before[..], &target[..cut]);
        prop_assert_eq!(run(skipped, &[room]).unwrap(), &target[cut..]);
        prop_assert_eq!(run(walker.clone(), &[usize::MAX]).unwrap(), &target[cut..]);
    }

    #[test]
    fn another_start_or_length_is_noticed_or_makes_as_much(wishes in any_wishes(), more in 1u64..5) {
        let (streams, target) = made(&wishes, 0);
        let len = target.len() as u64;
        let longer = Walker::new(&streams, 0, len + more).and_then(|walker| run(walker, &[64]));
        prop_assert!(longer.is_err(), "more was made than there is");
        if let Some(shorter) = len.checked_sub(more) {
            let shorter = Walker::new(&streams, 0, shorter).and_then(|walker| run(walker, &[64]));
            prop_assert!(shorter.is_err(), "something was left");
        }
    }
}

fn streams(list: &[(Stream, &[u8])]) -> Streams {
    let mut frame = vec![0, list.len() as u8];
    list.iter().for_each(|(stream, bytes)| frame.extend([*stream as u8, bytes.len() as u8]));
    let plain: Vec<u8> = list.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
    frame.push(plain.len() as u8);
    let decoded = plain.len() as u64;
    let bytes = [frame, plain].concat();
    let digest = siding_image::Digest::of(&bytes);
    let chunk =
        ChunkRef { kind: crate::ChunkKind::Delta, stored: bytes.len() as u64, decoded, target: 1, digest };
    Stored::new(0, chunk, bytes, Limits::default()).decode(|_| Ok::<_, Error>(vec![])).unwrap()
}

#[test]
fn one_byte_more_in_any_stream_is_left_over() {
    let good: [(Stream, &[u8]); 7] = [
        (Stream::LiteralLengths, &[1]),
        (Stream::CopyLengths, &[2]),
        (Stream::CopyOffsets, &[0]),
        (Stream::Gaps, &[1]),
        (Stream::Runs, &[0]),
        (Stream::Values, &[9]),
        (Stream::Literals, b"x"),
    ];
    let read =
        |list: &[(Stream, &[u8])]| Walker::new(&streams(list), 0, 3).and_then(|walker| run(walker, &[64]));
    assert_eq!(read(&good).unwrap(), [b'x', source_at(1, 1)[0], source_at(2, 1)[0].wrapping_add(9)]);
    for at in 0..good.len() {
        let mut more = good;
        let longer = [good[at].1, &[1]].concat();
        more[at].1 = &longer;
        assert!(read(&more).is_err(), "{:?}", good[at].0);
        let mut less = good.to_vec();
        less.remove(at);
        assert!(read(&less).is_err(), "without {:?}", good[at].0);
    }
}

#[test]
fn no_room_is_no_step() {
    let streams =
        streams(&[(Stream::LiteralLengths, &[1]), (Stream::CopyLengths, &[0]), (Stream::Literals, b"x")]);
    let mut walker = Walker::new(&streams, 0, 1).unwrap();
    assert_eq!(walker.step(0), Ok(None));
    assert_eq!(walker.step(1), Ok(Some(Step::Literal(b"x"))));
    assert_eq!(walker.step(1), Ok(None));
    assert_eq!(walker.step(1), Ok(None), "asking again changes nothing");
}
