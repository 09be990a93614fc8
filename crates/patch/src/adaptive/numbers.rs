//! The model of numbers: a size, then the bits below the leading one, in nibbles.

use super::coder::Coder;
use super::mixer::{Contexts, Guess, Mixer, deeper, spread};
use super::tables::{HASH_NUMBERS, SPREAD_PATH};

/// One stream of numbers of a group, while it is coded.
pub(super) struct Member<'a> {
    /// Its stream's number: keeps its contexts apart.
    pub(super) id: u32,
    /// Skipped while the member before it is at a zero.
    pub(super) follows: bool,
    /// What to add to a number for the position; `None` if it does not move it.
    pub(super) moves: Option<u64>,
    /// The numbers to encode; empty in a decoder.
    pub(super) plain: &'a [u64],
    /// The bytes made, and how many there shall be.
    pub(super) out: Vec<u8>,
    pub(super) len: usize,
    pub(super) past: Past,
}

/// What a stream's next number may depend on.
#[derive(Default)]
pub(super) struct Past {
    count: usize,
    last: [u64; 3],
    sizes: u32,
}

impl Past {
    fn push(&mut self, number: u64, size: u32) {
        self.count += 1;
        self.last = [number, self.last[0], self.last[1]];
        self.sizes = self.sizes << 4 | size;
    }
}

/// Codes the members in turns, a number each, until all are full. `None` if a number does not fit.
pub(super) fn code_group<C: Coder>(
    coder: &mut C,
    mixer: &mut Mixer,
    members: &mut [Member<'_>],
) -> Option<()> {
    let mut position = 0u64;
    let count = members.len();
    while members.iter().any(|member| member.out.len() < member.len) {
        for i in 0..count {
            let before = &members[(i + count - 1) % count];
            let idle = before.past.last[0] == 0 && before.out.len() < before.len;
            let (near, far) = (before.past.last[0], members[(i + 1) % count].past.last[0]);
            let member = &mut members[i];
            if member.out.len() == member.len || (member.follows && idle) {
                continue;
            }
            let number = member.plain.get(member.past.count).copied().unwrap_or(0);
            let number = code_number(coder, mixer, member, [near, far], position as u32, number);
            put(&mut member.out, number, member.len)?;
            if let Some(more) = member.moves {
                position = position.wrapping_add(number).wrapping_add(more);
            }
        }
    }
    Some(())
}

fn code_number<C: Coder>(
    coder: &mut C,
    mixer: &mut Mixer,
    member: &mut Member<'_>,
    neighbours: [u64; 2],
    position: u32,
    number: u64,
) -> u64 {
    let hashes = member.hashes(neighbours, position);
    let mut nibbles = Nibbles { coder, mixer, hashes, set: (member.id as usize & 7) * 4 };
    let top = 63 - (number | 1).leading_zeros();
    let first = nibbles.code(&hashes, 0, if number < 8 { number as u32 } else { (top + 5).min(15) });
    let mut value = u64::from(first);
    if first >= 8 {
        let (exponent, path) = nibbles.exponent(first, top);
        value = nibbles.below(exponent, path, number);
    }
    member.past.push(value, first);
    value
}

impl Member<'_> {
    /// The contexts of the next number, given the last numbers of the streams before and after this one.
    fn hashes(&self, neighbours: [u64; 2], position: u32) -> [u32; 6] {
        let id = self.id.wrapping_mul(8) + HASH_NUMBERS;
        let [a, b, _] = self.past.last.map(|number| number.min(0xffff_ffff) as u32);
        let [near, far] = neighbours.map(|number| number.min(0xffff_ffff) as u32);
        let sizes = self.past.sizes;
        [
            spread(spread(id, near.min(15)), sizes & 15),
            spread(spread(id + 1, near), a),
            spread(spread(id + 2, size(near)), sizes & 0xfff),
            spread(spread(id + 3, position & 15), near.min(15)),
            spread(spread(spread(id + 4, a), b), near),
            spread(spread(id + 5, near), far),
        ]
    }
}

/// The nibbles of one number.
struct Nibbles<'a, C> {
    coder: &'a mut C,
    mixer: &'a mut Mixer,
    hashes: [u32; 6],
    set: usize,
}

impl<C: Coder> Nibbles<'_, C> {
    fn code(&mut self, hashes: &[u32; 6], set: usize, nibble: u32) -> u32 {
        let contexts = Contexts { hashes, set: self.set + set, guess: Guess::default() };
        self.mixer.nibble(self.coder, &contexts, nibble & 15)
    }

    /// Where a number's leading one is (`top`, when encoding), and the path so far, after a first nibble from
    /// 8 on: that says it up to 9, a second one up to 24, two more the rest.
    fn exponent(&mut self, first: u32, top: u32) -> (u32, u32) {
        if first < 15 {
            return (first - 5, first);
        }
        let more = self.code(&deeper(&self.hashes, first), 1, top.wrapping_sub(10).min(15));
        let path = first * 16 + more;
        if more < 15 {
            return (10 + more, path);
        }
        let high = self.code(&deeper(&self.hashes, path), 1, top.wrapping_sub(25) >> 4);
        let low = self.code(&deeper(&self.hashes, path * 16 + high), 1, top.wrapping_sub(25));
        let exponent = (25 + high * 16 + low).min(63);
        (exponent, exponent << 8)
    }

    /// The number, from the `left` bits below its leading one.
    fn below(&mut self, mut left: u32, size: u32, number: u64) -> u64 {
        let (mut value, mut path) = (1, size);
        while left > 0 {
            let now = left.min(4);
            left -= now;
            let mask = (1 << now) - 1;
            let mut hashes = deeper(&self.hashes, path.wrapping_mul(64) + left);
            hashes[3] = spread(self.hashes[3], size.wrapping_mul(64) + left + 1);
            let set = if value == 1 { 2 } else { 3 };
            let bits = self.code(&hashes, set, (number >> left) as u32 & mask) & mask;
            value = value << now | u64::from(bits);
            path = path.wrapping_mul(SPREAD_PATH).wrapping_add(bits + 1);
        }
        value
    }
}

fn size(number: u32) -> u32 {
    32 - number.leading_zeros()
}

/// Appends a number as `docs/format.md` section 4.1 says, if that is no longer than `len` then.
fn put(out: &mut Vec<u8>, mut number: u64, len: usize) -> Option<()> {
    let bytes = (63 - (number | 1).leading_zeros() as usize) / 7 + 1;
    if out.len() + bytes > len {
        return None;
    }
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
    Some(())
}
