//! A second reader of chunks and deltas, written from `docs/format.md` sections 4 and 5 alone: slow, and as
//! plain as the text. It trusts what it reads; that the real one does not is tested elsewhere.
#![allow(dead_code)] // each test uses its own part

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

/// Section 4.2: the eight streams of a chunk, by number.
pub(crate) fn streams(mut chunk: &[u8], source: &[u8], target_before: &[u8]) -> [Vec<u8>; 8] {
    let mut streams = <[Vec<u8>; 8]>::default();
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

/// Section 5: appends to `target` the bytes that one chunk makes.
pub(crate) fn chunk(stored: &[u8], source: &[u8], target: &mut Vec<u8>, len: u64) {
    let streams = streams(stored, source, target);
    let [
        mut literal_lengths,
        mut copy_lengths,
        mut copy_offsets,
        mut gaps,
        mut runs,
        mut values,
        mut literals,
        _,
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
                target.push(source.get(at as usize).copied().unwrap_or(0));
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
