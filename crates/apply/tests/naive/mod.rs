//! A second reader of chunks, models and deltas, written from `docs/format.md` sections 4 and 5 alone: slow, and
//! as plain as the text. It trusts what it reads; that the real one does not is tested elsewhere.
//!
//! Not its own: what Zstandard and LZMA frames hold, and what a model's finders find.
#![allow(dead_code, reason = "each test uses its own part")]

mod adaptive;

use siding_image::{Digest, Identity, Kind};
use siding_patch::{ChunkKind, ChunkRef, Encoded, ImageRef, Limits, Manifest, Stream, Trust};
use siding_predict::{Kind as Holds, Model, Region, Segment, ShiftMap, Span};
use std::ops::Range;

/// Section 4.1.
fn number(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for place in 0.. {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value += u64::from(byte % 128) << (7 * place);
        if byte < 128 {
            break;
        }
    }
    value
}

fn signed(bytes: &mut &[u8]) -> i64 {
    let n = number(bytes);
    if n & 1 == 0 { (n / 2) as i64 } else { -((n / 2) as i64) - 1 }
}

fn take<'a>(bytes: &mut &'a [u8], len: u64) -> &'a [u8] {
    let (head, tail) = bytes.split_at(len as usize);
    *bytes = tail;
    head
}

/// Section 4.3: a range of the source, zeros after its end, then the last bytes of the target so far.
fn history(chunk: &mut &[u8], source: &[u8], target_before: &[u8]) -> Vec<u8> {
    let [offset, len, back] = [(); 3].map(|()| number(chunk) as usize);
    let mut out: Vec<u8> = (offset..offset + len).map(|at| source.get(at).copied().unwrap_or(0)).collect();
    out.extend(&target_before[target_before.len() - back..]);
    out
}

/// Section 4.4, borrowed: a frame of LZMA alone in a patch of its own.
fn lzma(coded: &[u8], list: &[(usize, u64)]) -> Vec<u8> {
    let mut bytes = vec![3, list.len() as u8];
    list.iter().for_each(|(id, len)| bytes.extend([vec![*id as u8], put(*len)].concat()));
    bytes.extend([put(coded.len() as u64), coded.to_vec()].concat());
    let kind = match list[0].0 {
        0..=6 => ChunkKind::Delta,
        7 => ChunkKind::Changes,
        _ => ChunkKind::Model,
    };
    let (decoded, size) = (list.iter().map(|(_, len)| len).sum(), u64::from(kind == ChunkKind::Delta));
    let image = |kind| ImageRef {
        version: "1".parse().unwrap(),
        identity: Identity { kind, size, digest: Digest([0; 32]) },
    };
    let (stored, digest) = (bytes.len() as u64, Digest::of(&bytes));
    let chunk = ChunkRef { kind, stored, decoded, target: size, digest };
    let (of, mut patch) = (if kind == ChunkKind::Changes { Kind::Tree } else { Kind::File }, vec![]);
    let manifest = Manifest::new("borrowed".parse().unwrap(), image(of), image(of));
    siding_patch::write(&manifest, &[Encoded { chunk, bytes }], &[], &mut patch).unwrap();
    let mut checked = siding_patch::open(&patch[..], &Trust::anyone(), &Limits::default()).unwrap();
    let stored = checked.next_chunk().unwrap().unwrap();
    let none = |_: &_| -> Result<Vec<u8>, siding_patch::Error> { panic!("LZMA has no history") };
    let streams = stored.decode(none).unwrap();
    list.iter().flat_map(|(id, _)| streams.get(Stream::ALL[*id]).to_vec()).collect()
}

fn put(mut value: u64) -> Vec<u8> {
    let mut out = vec![];
    while value > 127 {
        out.push((value % 128) as u8 + 128);
        value /= 128;
    }
    out.push(value as u8);
    out
}

/// Section 4.2: the eleven streams of a chunk, by number.
pub(crate) fn streams(mut chunk: &[u8], source: &[u8], target_before: &[u8]) -> [Vec<u8>; 11] {
    let mut streams = <[Vec<u8>; 11]>::default();
    while !chunk.is_empty() {
        let (coder, count) = (chunk[0], chunk[1]);
        chunk = &chunk[2..];
        let list: Vec<(usize, u64)> =
            (0..count).map(|_| (take(&mut chunk, 1)[0] as usize, number(&mut chunk))).collect();
        let prefix = if coder == 2 { history(&mut chunk, source, target_before) } else { vec![] };
        let stored = number(&mut chunk);
        let coded = take(&mut chunk, stored);
        let mut plain = Vec::new();
        match coder {
            0 => plain.extend(coded),
            3 => plain = lzma(coded, &list),
            4 => plain = adaptive::decode(coded, &list),
            _ => {
                let mut decoder = zstd::stream::Decoder::with_ref_prefix(coded, &prefix).unwrap();
                decoder.window_log_max(31).unwrap();
                std::io::copy(&mut decoder, &mut plain).unwrap();
            }
        }
        let mut plain = plain.as_slice();
        list.iter().for_each(|(id, len)| streams[*id] = take(&mut plain, *len).to_vec());
    }
    streams
}

/// Section 5: whether a chunk may end at `end` of a flat space that is contents of these sizes.
pub(crate) fn may_end(sizes: &[usize], end: usize) -> bool {
    let mut start = 0;
    for size in sizes {
        if end <= start + size {
            return end == start + size || (end - start).is_multiple_of(4096);
        }
        start += size;
    }
    false
}

/// Section 4.6: the model that a chunk holds.
pub(crate) fn model(stored: &[u8]) -> Model {
    let streams = streams(stored, &[], &[]);
    let [mut list, mut addresses, mut shifts] = [8, 9, 10].map(|id: usize| streams[id].as_slice());
    const SPACE: u64 = 1 << 48;
    let add = |a: u64, by: i64| a.wrapping_add_signed(by) % SPACE;
    let (mut regions, mut end, mut space, mut after) = (vec![], 0, 0, 0);
    for _ in 0..number(&mut list) {
        let kind = Holds::ALL[number(&mut list) as usize];
        let start = end + number(&mut list);
        let len = number(&mut list);
        space += number(&mut list);
        let address = add(after, signed(&mut list));
        let linked = [3, 4, 11, 12].contains(&(kind as u8));
        let link = if linked { add(address, signed(&mut list)) + space * SPACE } else { 0 };
        regions.push(Region { start, len, address: address + space * SPACE, kind, link });
        (end, after) = (start + len, address + len);
    }
    let (mut spans, mut end) = (vec![], 0);
    for _ in 0..number(&mut list) {
        let start = end + number(&mut list);
        let len = number(&mut list);
        end = start + len / 2;
        spans.push(Span { start, end, code: len % 2 == 1 });
    }
    let (mut segments, mut end, mut after) = (vec![], 0, 0);
    for _ in 0..number(&mut list) {
        let start = end + number(&mut list);
        let len = number(&mut list);
        let address = add(after, signed(&mut list));
        segments.push(Segment { start, len, address });
        (end, after) = (start + len, address + len);
    }
    let (mut steps, mut at, mut recent) = (vec![], 0, Vec::<i64>::new());
    while !addresses.is_empty() {
        at += number(&mut addresses);
        let code = number(&mut shifts) as usize;
        let shift = if code < recent.len() {
            recent.remove(code)
        } else {
            let code = code.saturating_sub(8);
            let more = if code.is_multiple_of(2) { (code / 2) as i64 } else { -((code / 2) as i64) - 1 };
            recent.first().unwrap_or(&0) + more
        };
        recent.insert(0, shift);
        recent.truncate(8);
        steps.push((at, shift));
    }
    assert!(list.is_empty() && shifts.is_empty());
    Model::new(regions, spans, segments, ShiftMap::new(steps)).unwrap()
}

/// What copies read: the source, zeros after its end, and a model of what moves in it.
pub(crate) struct Source<'a> {
    pub(crate) bytes: &'a [u8],
    /// Where its contents lie; a file is one.
    pub(crate) contents: &'a [Range<usize>],
    pub(crate) model: Option<Model>,
}

impl<'a> Source<'a> {
    /// Section 5.1: the byte at `from` once it is copied to `to`. One byte at a time.
    pub(crate) fn byte(&self, from: usize, to: usize) -> u8 {
        let mut byte = [self.bytes.get(from).copied().unwrap_or(0)];
        let lies = |region: &Region| -> Option<&'a [u8]> {
            let all = region.start as usize..(region.start + region.len) as usize;
            let within = |content: &&Range<usize>| content.start <= all.start && all.end <= content.end;
            self.contents.iter().find(within).map(|_| &self.bytes[all.clone()])
        };
        if let Some(model) = &self.model {
            model.predict_copy(from as u64, to as u64, &mut byte, lies);
        }
        byte[0]
    }
}

/// Any chunk but one of changes: takes in a model, or appends to `target` what a delta makes.
pub(crate) fn chunk(stored: &[u8], kind: ChunkKind, source: &mut Source<'_>, target: &mut Vec<u8>, len: u64) {
    match kind {
        ChunkKind::Changes => {}
        ChunkKind::Model => source.model = Some(model(stored)),
        ChunkKind::Delta => delta(stored, source, target, len),
    }
}

/// Section 5: appends to `target` the bytes that one chunk makes.
fn delta(stored: &[u8], source: &Source<'_>, target: &mut Vec<u8>, len: u64) {
    let streams = streams(stored, source.bytes, target);
    let [
        mut literal_lengths,
        mut copy_lengths,
        mut copy_offsets,
        mut gaps,
        mut runs,
        mut values,
        mut literals,
        ..,
    ] = streams.each_ref().map(Vec::as_slice);
    let end = target.len() as u64 + len;
    let mut at = target.len() as u64;
    let mut copied: Vec<usize> = Vec::new(); // where in the target the copied bytes lie
    while (target.len() as u64) < end {
        let literal = number(&mut literal_lengths);
        let copy = number(&mut copy_lengths);
        target.extend(take(&mut literals, literal));
        at += literal;
        if copy > 0 {
            at = (at as i64 + signed(&mut copy_offsets)) as u64;
            for _ in 0..copy {
                copied.push(target.len());
                target.push(source.byte(at as usize, target.len()));
                at += 1;
            }
        }
    }
    let mut place = 0;
    while !gaps.is_empty() {
        place += number(&mut gaps) as usize;
        for _ in 0..=number(&mut runs) {
            let byte = &mut target[copied[place]];
            *byte = byte.wrapping_add(take(&mut values, 1)[0]);
            place += 1;
        }
    }
    for left in [literal_lengths, copy_lengths, copy_offsets, gaps, runs, values, literals] {
        assert!(left.is_empty());
    }
}
