//! The adaptive coder, decoding only, from `docs/format.md` section 4.5: one bit after the other, tables as
//! formulas.

/// A frame's streams, one after the other as `list` has them: number and length of each.
pub(crate) fn decode(coded: &[u8], list: &[(usize, u64)]) -> Vec<u8> {
    let mut lens = [0; 11];
    list.iter().for_each(|(id, len)| lens[*id] = *len as usize);
    let total: usize = lens.iter().sum();
    let bits = |n: usize| 64 - (n as u64).leading_zeros();
    let slots = bits(total).saturating_sub(4).max(bits(lens[6]) + 2).clamp(12, 16);
    let mut coder = Decoder::new(coded, slots);
    let mut out = <[Vec<u8>; 11]>::default();
    let units: [&[usize]; 8] = [&[0, 1, 2], &[3, 4], &[5], &[6], &[7], &[8], &[9], &[10]];
    for unit in units.into_iter().filter(|unit| unit.iter().any(|id| lens[*id] > 0)) {
        if unit == [5] {
            out[5] = coder.values(lens[5], &out[3], &out[4]);
        } else if ![6, 7].contains(&unit[0]) && coder.plain() == 1 {
            coder.numbers(unit, &lens, &mut out);
        } else {
            unit.iter().for_each(|id| out[*id] = coder.bytes(*id as u32, lens[*id]));
        }
    }
    assert!(coder.rest.is_empty() && coder.state == 1 << 24);
    list.iter().flat_map(|(id, _)| out[*id].clone()).collect()
}

type Slot = [u16; 16];
/// A nibble that is expected, and the trust in it; none at 0.
type Guess = (u32, usize);

struct Decoder<'a> {
    state: u64,
    rest: &'a [u8],
    bits: u32,
    slots: Vec<Slot>,
    weights: Vec<[i32; 8]>,
    rates: Vec<i32>,
    matches: [u16; 32],
}

impl<'a> Decoder<'a> {
    fn new(coded: &'a [u8], bits: u32) -> Self {
        let mut slot = [0x8000; 16];
        slot[0] = 0;
        let mut weights = [24000; 8];
        (weights[6], weights[7]) = (20000, 0);
        let matches = std::array::from_fn(|trust| (65535 - 32768 / (trust as u16 + 2)) / 16 * 16);
        let state = (0..5).map(|i| u64::from(coded[i]) << (8 * i)).sum();
        let (slots, weights) = (vec![slot; 1 << bits], vec![weights; 64 * 8]);
        Self { state, rest: &coded[5..], bits, slots, weights, rates: vec![224; 64 * 8], matches }
    }

    fn take(&mut self, start: u64, share: u64) {
        self.state = share * (self.state >> 15) + self.state % 32768 - start;
        if self.state < 1 << 24 {
            self.state = self.state << 16 | u64::from(self.rest[0]) | u64::from(self.rest[1]) << 8;
            self.rest = &self.rest[2..];
        }
    }

    fn bit(&mut self, p: u64) -> u32 {
        let one = self.state % 32768 < p;
        self.take(if one { 0 } else { p }, if one { p } else { 32768 - p });
        u32::from(one)
    }

    fn plain(&mut self) -> u64 {
        let bit = self.state % 32768 / 16384;
        self.take(bit * 16384, 16384);
        bit
    }

    fn nibble(&mut self, hashes: &[u32], set: usize, (expected, mut trust): Guess) -> u32 {
        let place = |hash: u32| (hash >> (32 - self.bits)) as usize;
        let mut local = vec![];
        let mut hits = 0;
        for hash in hashes {
            let found = self.slots[place(*hash)];
            hits += usize::from(found[0] == *hash as u16);
            let mut fresh = [0x8000; 16];
            fresh[0] = *hash as u16;
            local.push(if found[0] == *hash as u16 { found } else { fresh });
        }
        let places: Vec<usize> = hashes.iter().map(|hash| place(*hash)).collect();
        let which = set * 8 + hits;
        let rate = self.rates[which];
        let mut node = 1;
        for step in (0..4).rev() {
            let mut x = [0; 8];
            local.iter().zip(&mut x).for_each(|(slot, x)| *x = stretch(slot[node]));
            let wanted = expected >> step & 1;
            if trust > 0 {
                x[6] = stretch(self.matches[trust]) * if wanted == 1 { 1 } else { -1 };
            }
            x[7] = 256;
            let dot: i32 = x.iter().zip(&self.weights[which]).map(|(x, weight)| x * weight).sum();
            let p = squash((dot >> 16).clamp(-2047, 2047));
            let bit = self.bit((p as u64 / 2).clamp(1, 32767));
            let error = (((bit as i32) * 65536 - p) * rate) >> 10;
            for (weight, x) in self.weights[which].iter_mut().zip(x) {
                *weight = (*weight + ((x * error + 8192) >> 14)).clamp(-131_071, 131_071);
            }
            local.iter_mut().for_each(|slot| slot[node] = learn(slot[node], bit));
            if trust > 0 {
                self.matches[trust] = learn(self.matches[trust], u32::from(wanted == bit));
                trust = if wanted == bit { trust } else { 0 };
            }
            node = node * 2 + bit as usize;
        }
        self.rates[which] = rate - ((rate - 80) >> 3);
        places.into_iter().zip(local).for_each(|(at, slot)| self.slots[at] = slot);
        node as u32 - 16
    }

    fn byte(&mut self, hashes: &[u32], set: usize, guess: Option<(u8, usize)>) -> u8 {
        let (byte, trust) = guess.unwrap_or((0, 0));
        let high = self.nibble(hashes, set, (u32::from(byte / 16), trust));
        let trust = if u32::from(byte / 16) == high { trust } else { 0 };
        let low = self.nibble(&deeper(hashes, high), set + 1, (u32::from(byte % 16), trust));
        (high * 16 + low) as u8
    }

    fn bytes(&mut self, id: u32, len: usize) -> Vec<u8> {
        let id = id * 8 + 0x1b00;
        let mut matches = Matches::new(len);
        let (mut out, mut r) = (vec![], 0u64);
        for i in 0..len as u32 {
            let hashes = [
                spread(id, r as u32 % 0x100),
                spread(id + 1, r as u32 % 0x1_0000),
                spread(id + 2, r as u32 % 0x100_0000),
                spread(id + 3, r as u32),
                spread(spread(id + 5, (r >> 24) as u32 % 0x100), i % 4 * 256 + r as u32 % 0x100),
            ];
            let guess = matches.guess(&out);
            let set = guess.map_or(40, |(_, trust)| if trust > 15 { 44 } else { 42 });
            let byte = self.byte(&hashes, set, guess);
            out.push(byte);
            r = r << 8 | u64::from(byte);
            matches.pass(&out, r);
        }
        out
    }

    fn values(&mut self, len: usize, mut gaps: &[u8], mut runs: &[u8]) -> Vec<u8> {
        let (mut run, mut last, mut older) = (0u64, 0u64, 0u64);
        let (mut gap, mut length, mut at, mut position) = (0, 0, 0, 0u64);
        let mut out = vec![];
        let next = |stream: &mut &[u8]| (!stream.is_empty()).then(|| super::number(stream));
        for _ in 0..len {
            (at, position) = (at + 1, position + 1);
            if at >= length {
                gap = next(&mut gaps).unwrap_or(0);
                length = next(&mut runs).unwrap_or(u64::MAX - 1) + 1;
                (at, position) = (0, position + gap);
                (run, last, older) = (0, run, last);
            }
            let a = at.min(7) as u32;
            let shape = a * 16 + length.min(15) as u32;
            let before = if at > 0 { out.last().copied().unwrap_or(0).into() } else { 0x100 };
            let same = (last >> (8 * a)) as u32 & 0xff;
            let so_far = (run as u32).wrapping_add((run >> 32) as u32);
            let hashes = [
                spread(spread(0x7a00, shape), before),
                spread(spread(0x7a01, shape), so_far ^ same << 24 ^ same.wrapping_mul(0x0101_0700)),
                spread(spread(spread(0x7a02, shape), so_far), last as u32),
                spread(spread(0x7a04, shape * 16 + (position % 4) as u32), gap.min(255) as u32),
                spread(spread(spread(0x7a05, last as u32), so_far), older as u32),
            ];
            let byte = self.byte(&hashes, 48 + 2 * a.min(2) as usize, None);
            run |= if at < 8 { u64::from(byte) << (8 * at) } else { 0 };
            out.push(byte);
        }
        out
    }

    fn numbers(&mut self, unit: &[usize], lens: &[usize; 11], out: &mut [Vec<u8>; 11]) {
        // Of each stream of the unit: its last two numbers and their sizes.
        let mut past = vec![(0u64, 0u64, 0u32); unit.len()];
        let (mut position, count) = (0u64, unit.len());
        while unit.iter().any(|id| out[*id].len() < lens[*id]) {
            for (i, id) in unit.iter().enumerate() {
                let (before, after) = ((i + count - 1) % count, (i + 1) % count);
                let near = past[before].0;
                let idle = *id == 2 && near == 0 && out[unit[before]].len() < lens[unit[before]];
                if out[*id].len() == lens[*id] || idle {
                    continue;
                }
                let small = |n: u64| n.min(0xffff_ffff) as u32;
                let (a, b, sizes) = past[i];
                let context = [small(a), small(b), small(near), small(past[after].0), sizes, position as u32];
                let (number, size) = self.number(*id, context);
                past[i] = (number, a, sizes << 4 | size);
                out[*id].extend(super::put(number));
                position = match id {
                    0 | 1 | 3 => position.wrapping_add(number),
                    4 => position.wrapping_add(number).wrapping_add(1),
                    _ => position,
                };
            }
        }
    }

    fn number(&mut self, id: usize, [a, b, near, far, sizes, position]: [u32; 6]) -> (u64, u32) {
        let set = id % 8 * 4;
        let id = id as u32 * 8 + 0x4e00;
        let hashes = [
            spread(spread(id, near.min(15)), sizes % 16),
            spread(spread(id + 1, near), a),
            spread(spread(id + 2, 32 - near.leading_zeros()), sizes % 4096),
            spread(spread(id + 3, position % 16), near.min(15)),
            spread(spread(spread(id + 4, a), b), near),
            spread(spread(id + 5, near), far),
        ];
        let none = (0, 0);
        let first = self.nibble(&hashes, set, none);
        if first < 8 {
            return (first.into(), first);
        }
        let (mut left, mut path) = (first - 5, first);
        if first == 15 {
            let more = self.nibble(&deeper(&hashes, 15), set + 1, none);
            (left, path) = (10 + more, 15 * 16 + more);
            if more == 15 {
                let high = self.nibble(&deeper(&hashes, path), set + 1, none);
                let low = self.nibble(&deeper(&hashes, path * 16 + high), set + 1, none);
                left = (25 + high * 16 + low).min(63);
                path = left * 256;
            }
        }
        let (mut value, size) = (1u64, path);
        while left > 0 {
            let now = left.min(4);
            left -= now;
            let mut deep = deeper(&hashes, path.wrapping_mul(64) + left);
            deep[3] = spread(hashes[3], size.wrapping_mul(64) + left + 1);
            let bits = self.nibble(&deep, set + if value == 1 { 2 } else { 3 }, none) % (1 << now);
            value = value << now | u64::from(bits);
            path = path.wrapping_mul(0x2545).wrapping_add(bits + 1);
        }
        (value, first)
    }
}

/// Where five bytes stood before.
struct Matches {
    bits: u32,
    places: Vec<u32>,
    at: usize,
    len: usize,
}

impl Matches {
    fn new(len: usize) -> Self {
        let bits = (64 - (len as u64).leading_zeros()).clamp(10, 17);
        Self { bits, places: vec![0; 1 << bits], at: 0, len: 0 }
    }

    fn guess(&self, out: &[u8]) -> Option<(u8, usize)> {
        let trust = if self.len < 16 { self.len } else { (14 + self.len / 8).min(31) };
        (self.len > 0).then(|| (out[self.at], trust))
    }

    fn pass(&mut self, out: &[u8], r: u64) {
        let holds = self.len > 0 && out[self.at] == out[out.len() - 1];
        (self.len, self.at) = if holds { ((self.len + 1).min(65535), self.at + 1) } else { (0, self.at) };
        if out.len() < 5 {
            return;
        }
        let slot = (r % (1 << 40)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - self.bits);
        let place = &mut self.places[slot as usize];
        let check = (r as u32).wrapping_mul(0x9e37_79b1) >> 24 << 24;
        if self.len == 0 && *place > 0 && *place >> 24 << 24 == check {
            let at = (*place % (1 << 24)) as usize;
            let same = (0..at.min(32)).take_while(|i| out[at - 1 - i] == out[out.len() - 1 - i]).count();
            (self.at, self.len) = if same >= 5 { (at, same) } else { (self.at, 0) };
        }
        *place = check | out.len() as u32;
    }
}

fn spread(seed: u32, value: u32) -> u32 {
    let mixed = (seed ^ value.wrapping_mul(0x9e37_79b1)).wrapping_mul(0x85eb_ca6b);
    mixed ^ mixed >> 15
}

fn deeper(hashes: &[u32], path: u32) -> Vec<u32> {
    hashes.iter().map(|hash| spread(*hash, path.wrapping_add(1))).collect()
}

fn learn(counter: u16, bit: u32) -> u16 {
    let (p, count) = (i32::from(counter / 16 * 16), counter % 16);
    let target = if bit == 1 { 65535 } else { 0 };
    let p = p + (((target - p) * RATES[usize::from(count)]) >> 15);
    p as u16 / 16 * 16 + (count + 1).min(15)
}

fn squash(x: i32) -> i32 {
    let (at, part) = ((x + 2048) as usize / 64, (x + 2048) % 64);
    (SQUASH[at] * (64 - part) + SQUASH[at + 1] * part) / 64
}

/// The least x from −2047 to 2047 that squashes to the middle of the counter's step, or else 2047.
fn stretch(counter: u16) -> i32 {
    let wanted = i32::from(counter / 16) * 16 + 8;
    let (mut low, mut high) = (-2047i32, 2047);
    while low < high {
        let middle = (low + high).div_euclid(2);
        (low, high) = if squash(middle) < wanted { (middle + 1, high) } else { (low, middle) };
    }
    low
}

const RATES: [i32; 16] =
    [21845, 13653, 9930, 7620, 6183, 5201, 4489, 3948, 3523, 3181, 2849, 2521, 2185, 1928, 1638, 1260];

const SQUASH: [i32; 65] = [
    22, 28, 36, 47, 60, 77, 98, 126, 162, 208, 267, 342, 439, 562, 720, 922, 1179, 1506, 1921, 2446, 3108,
    3938, 4971, 6249, 7812, 9702, 11955, 14595, 17625, 21025, 24743, 28693, 32768, 36843, 40793, 44511,
    47911, 50941, 53581, 55834, 57724, 59287, 60565, 61598, 62428, 63090, 63615, 64030, 64357, 64614, 64816,
    64974, 65097, 65194, 65269, 65328, 65374, 65410, 65438, 65459, 65476, 65489, 65500, 65508, 65514,
];
