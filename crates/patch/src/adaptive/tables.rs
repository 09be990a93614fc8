//! The constants behind the logistic domain, all integers.

/// `65536 / (1 + e^-x)` for x = -8, -7.75 … 8.
const SQUASH: [i32; 65] = [
    22, 28, 36, 47, 60, 77, 98, 126, 162, 208, 267, 342, 439, 562, 720, 922, 1179, 1506, 1921, 2446, 3108,
    3938, 4971, 6249, 7812, 9702, 11955, 14595, 17625, 21025, 24743, 28693, 32768, 36843, 40793, 44511,
    47911, 50941, 53581, 55834, 57724, 59287, 60565, 61598, 62428, 63090, 63615, 64030, 64357, 64614, 64816,
    64974, 65097, 65194, 65269, 65328, 65374, 65410, 65438, 65459, 65476, 65489, 65500, 65508, 65514,
];

/// How far a counter moves to what came, after so many times, in 32768ths.
pub(super) const RATES: [u16; 16] =
    [21845, 13653, 9930, 7620, 6183, 5201, 4489, 3948, 3523, 3181, 2849, 2521, 2185, 1928, 1638, 1260];

/// There are at most so many slots, as a power of two: 2 MiB.
pub(super) const SLOT_BITS: u32 = 16;
/// There are at most so many places where a match may begin, as a power of two: 512 KiB.
pub(super) const PLACE_BITS: u32 = 17;
/// A match is at least so long.
pub(super) const SHORTEST: usize = 5;

/// A counter that has seen nothing: a half, never used.
pub(super) const FRESH: u16 = 0x8000;
/// Sets of weights that models may choose from.
pub(super) const SETS: usize = 64;
/// Weights at the start, in 65536ths.
pub(super) const WEIGHT_CONTEXT: i32 = 24000;
pub(super) const WEIGHT_MATCH: i32 = 20000;
/// The constant input: 1.
pub(super) const BIAS: i32 = 256;
/// How fast a set of weights moves at first and in the end.
pub(super) const RATE_FIRST: i32 = 14 << 4;
pub(super) const RATE_LAST: i32 = 5 << 4;
/// ±2: eight inputs below 2048 with weights up to this sum to less than 2³¹.
pub(super) const WEIGHT_MOST: i32 = (1 << 17) - 1;

/// The first hash of numbers, bytes and values; streams lie 8 apart.
pub(super) const HASH_NUMBERS: u32 = 0x4e00;
pub(super) const HASH_BYTES: u32 = 0x1b00;
pub(super) const HASH_VALUES: u32 = 0x7a00;
/// The first set of weights of bytes and of values; that of numbers is 0, and streams lie 4 apart, modulo 8.
pub(super) const SET_BYTES: usize = 40;
pub(super) const SET_VALUES: usize = 48;
/// A match of more trust than this has sets of its own.
pub(super) const SURE: usize = 15;
/// Odd numbers that spread what they multiply: a context's number, a hash, five bytes, a number's path.
pub(super) const SPREAD: u32 = 0x9e37_79b1;
pub(super) const SPREAD_HASH: u32 = 0x85eb_ca6b;
pub(super) const SPREAD_FIVE: u64 = 0x9e37_79b9_7f4a_7c15;
pub(super) const SPREAD_PATH: u32 = 0x2545;
/// How the same place of the run before is mixed into a value's hash.
pub(super) const SPREAD_SAME: u32 = 0x0101_0700;

/// Stretched values are 256ths and stay within this.
const REACH: i32 = 2047;

/// The probability, in 65536ths, of a stretched value.
const fn squash_slow(x: i32) -> i32 {
    let x = x + 2048;
    let (at, part) = ((x >> 6) as usize, x & 63);
    (SQUASH[at] * (64 - part) + SQUASH[at + 1] * part) >> 6
}

static SQUASHED: [u16; 4096] = {
    let mut all = [0; 4096];
    let mut i = 0;
    while i < 4096 {
        all[i] = squash_slow(i as i32 - 2048) as u16;
        i += 1;
    }
    all
};

/// Inverse of the above over the upper 12 bits of a probability.
static STRETCHED: [i16; 4096] = {
    let mut all = [0; 4096];
    let mut x = -REACH;
    let mut i = 0;
    while i < 4096 {
        while x < REACH && squash_slow(x) < i * 16 + 8 {
            x += 1;
        }
        all[i as usize] = x as i16;
        i += 1;
    }
    all
};

#[inline(always)]
pub(super) fn squash(x: i32) -> u32 {
    u32::from(SQUASHED[(x.clamp(-REACH, REACH) + 2048) as usize & 4095])
}

#[inline(always)]
pub(super) fn stretch(p: u16) -> i32 {
    i32::from(STRETCHED[usize::from(p >> 4)])
}
