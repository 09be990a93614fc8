//! The longest match of any position: a suffix array over the old bytes with a table of prefixes in front.
//!
//! Most questions are about bytes that are nowhere. A search costs some two dozen cache misses, so a set of bits says
//! first whether eight bytes occur at all, which costs one.

use crate::Error;
use libsais::SuffixArrayConstruction;

/// An index over a text.
#[derive(Debug)]
pub(crate) struct Index<'a> {
    text: &'a [u8],
    array: Array,
    /// For every key of `key_len` bytes, where its suffixes begin in the array; one more at the end.
    starts: Vec<u32>,
    key_len: usize,
    words: Words,
}

/// The runs of eight bytes that occur in a text, and by chance a few that do not.
#[derive(Debug)]
struct Words {
    bits: Vec<u64>,
    shift: u32,
}

/// Suffixes in order. Above 2 GiB an offset takes eight bytes.
#[derive(Debug)]
enum Array {
    Small(Vec<i32>),
    Large(Vec<i64>),
}

/// How far two suffixes are compared: enough to choose between them, little enough for texts that repeat.
const FAR: usize = 32 << 10;
/// From this text length on a table with three-byte keys (64 MiB) pays, and is little beside the rest.
const LONG_TEXT: usize = 32 << 20;

impl<'a> Index<'a> {
    /// Sorts the suffixes of `text`. Takes 4 bytes of memory per byte (8 above 2 GiB), up to one more
    /// and 64 MiB for what stands in front, and linear time.
    pub(crate) fn new(text: &'a [u8]) -> Result<Self, Error> {
        // The table counts in 32 bits; a text beyond that does without.
        let key_len = match text.len() {
            len if len >= u32::MAX as usize => 0,
            len if len >= LONG_TEXT => 3,
            _ => 2,
        };
        // Sorting keeps one core busy.
        let (array, (starts, words)) =
            rayon::join(|| sort(text), || (count_keys(text, key_len), Words::of(text)));
        Ok(Self { text, array: array?, starts, key_len, words })
    }

    /// As [`Index::longest`], or nothing if that is shorter than nine bytes, which is told at once mostly.
    pub(crate) fn long(&self, pattern: &[u8]) -> Option<(usize, usize)> {
        let word = pattern.first_chunk().filter(|word| self.words.may_have(word));
        word.and_then(|_| self.longest(pattern)).filter(|(_, len)| *len > WORD)
    }

    /// The longest match of a prefix of `pattern` in the text: where, and how long; lengths count to 32 KiB.
    ///
    /// Nothing shorter than three bytes is reported. Of equally long matches the same one always wins.
    pub(crate) fn longest(&self, pattern: &[u8]) -> Option<(usize, usize)> {
        let pattern = &pattern[..pattern.len().min(FAR)];
        let (mut low, mut high) = self.bucket(pattern)?;
        let mut best = (0, 0);
        let (mut low_common, mut high_common) = (self.key_len, self.key_len);
        while low < high {
            let middle = low + (high - low) / 2;
            let at = self.suffix(middle);
            let suffix = &self.text[at..];
            // Everything between two suffixes that share a prefix with the pattern shares it too.
            let known = low_common.min(high_common).min(suffix.len());
            let common = known + common_prefix(&suffix[known..], &pattern[known..]);
            if common > best.1 {
                best = (at, common);
            }
            if common == pattern.len() {
                break;
            }
            if suffix.get(common).is_none_or(|byte| *byte < pattern[common]) {
                (low, low_common) = (middle + 1, common);
            } else {
                (high, high_common) = (middle, common);
            }
        }
        (best.1 >= 3).then_some(best)
    }

    fn bucket(&self, pattern: &[u8]) -> Option<(usize, usize)> {
        if self.key_len == 0 {
            return (!pattern.is_empty()).then_some((0, self.text.len()));
        }
        if pattern.len() < self.key_len {
            return None;
        }
        let key = key(&pattern[..self.key_len]);
        let (low, high) = (self.starts[key] as usize, self.starts[key + 1] as usize);
        (low < high).then_some((low, high))
    }

    fn suffix(&self, index: usize) -> usize {
        match &self.array {
            Array::Small(array) => array[index] as usize,
            Array::Large(array) => array[index] as usize,
        }
    }
}

fn sort(text: &[u8]) -> Result<Array, Error> {
    let failed = |e: libsais::LibsaisError| Error::Index(e.to_string());
    Ok(if text.is_empty() {
        Array::Small(Vec::new())
    } else if text.len() < i32::MAX as usize {
        let sorted = SuffixArrayConstruction::for_text(text).in_owned_buffer32().single_threaded().run();
        Array::Small(sorted.map_err(failed)?.into_vec())
    } else {
        let sorted = SuffixArrayConstruction::for_text(text).in_owned_buffer64().single_threaded().run();
        Array::Large(sorted.map_err(failed)?.into_vec())
    })
}

/// The length of a word in bytes.
const WORD: usize = 8;

impl Words {
    /// Takes up to a byte of memory per byte of `text`; of words that do not occur one in four seems to, at most.
    fn of(text: &[u8]) -> Self {
        let bits = (text.len().max(64) * 8).ilog2();
        let mut words = Self { bits: vec![0; 1 << (bits - 6)], shift: u64::BITS - bits };
        for word in text.windows(WORD).filter_map(<[u8]>::first_chunk) {
            let (at, bit) = words.place(word);
            words.bits[at] |= bit;
        }
        words
    }

    fn may_have(&self, word: &[u8; WORD]) -> bool {
        let (at, bit) = self.place(word);
        self.bits[at] & bit != 0
    }

    fn place(&self, word: &[u8; WORD]) -> (usize, u64) {
        let hash = u64::from_le_bytes(*word).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift;
        ((hash >> 6) as usize, 1 << (hash & 63))
    }
}

fn key(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |key, byte| key << 8 | usize::from(*byte))
}

/// A suffix shorter than a key counts as if zeros followed: it sorts first among those that really have them.
fn count_keys(text: &[u8], key_len: usize) -> Vec<u32> {
    if key_len == 0 {
        return Vec::new();
    }
    let keys = 1 << (8 * key_len);
    let mut starts = vec![0u32; keys + 1];
    let mut key = 0;
    // Runs `key_len - 1` bytes past the end with zeros, so every suffix is counted once.
    for (i, byte) in text.iter().copied().chain(std::iter::repeat_n(0, key_len - 1)).enumerate() {
        key = (key << 8 | usize::from(byte)) & (keys - 1);
        if i + 1 >= key_len {
            starts[key + 1] += 1;
        }
    }
    for i in 1..starts.len() {
        starts[i] += starts[i - 1];
    }
    starts
}

/// How many leading bytes agree.
#[inline]
pub(crate) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let mut at = 0;
    while let (Some(a), Some(b)) = (a[at..].first_chunk(), b[at..].first_chunk()) {
        let differ = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differ != 0 {
            return at + (differ.trailing_zeros() / 8) as usize;
        }
        at += WORD;
    }
    at + a[at..].iter().zip(&b[at..]).take_while(|(a, b)| a == b).count()
}

/// How many trailing bytes agree.
#[inline]
pub(crate) fn common_suffix(mut a: &[u8], mut b: &[u8]) -> usize {
    let mut count = 0;
    while let (Some((rest, last)), Some((other, same))) = (a.split_last_chunk(), b.split_last_chunk()) {
        let differ = u64::from_le_bytes(*last) ^ u64::from_le_bytes(*same);
        if differ != 0 {
            return count + (differ.leading_zeros() / 8) as usize;
        }
        (a, b, count) = (rest, other, count + WORD);
    }
    count + a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sorting with the standard library: slow, and surely right.
    fn naive_array(text: &[u8]) -> Vec<i32> {
        let mut array: Vec<i32> = (0..text.len() as i32).collect();
        array.sort_by_key(|&i| &text[i as usize..]);
        array
    }

    fn array(text: &[u8]) -> Vec<i32> {
        match Index::new(text).unwrap().array {
            Array::Small(array) => array,
            Array::Large(_) => unreachable!(),
        }
    }

    fn naive_longest(text: &[u8], pattern: &[u8]) -> usize {
        (0..text.len()).map(|at| common_prefix(&text[at..], pattern)).max().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn the_library_sorts_as_the_definition_says(text in proptest::collection::vec(0u8..4, 0..400)) {
            prop_assert_eq!(array(&text), naive_array(&text));
        }

        #[test]
        fn bytes_of_all_values_sort_too(text in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert_eq!(array(&text), naive_array(&text));
        }

        #[test]
        fn the_longest_match_is_the_longest(
            text in proptest::collection::vec(0u8..3, 0..300),
            pattern in proptest::collection::vec(0u8..3, 0..60),
        ) {
            let expected = naive_longest(&text, &pattern);
            match Index::new(&text).unwrap().longest(&pattern) {
                Some((at, len)) => {
                    prop_assert_eq!(len, expected);
                    prop_assert_eq!(&text[at..at + len], &pattern[..len]);
                }
                None => prop_assert!(expected < 3),
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_long_is_found_at_once_too(
            text in proptest::collection::vec(0u8..3, 0..300),
            pattern in proptest::collection::vec(0u8..3, 0..60),
        ) {
            let index = Index::new(&text).unwrap();
            prop_assert_eq!(index.long(&pattern), index.longest(&pattern).filter(|(_, len)| *len > WORD));
        }

        #[test]
        fn ends_that_agree_are_counted_to_the_byte(
            same in proptest::collection::vec(any::<u8>(), 0..70),
            left in proptest::collection::vec(0u8..128, 0..20),
            right in proptest::collection::vec(128u8.., 0..20),
        ) {
            prop_assert_eq!(common_prefix(&[&same[..], &left].concat(), &[&same[..], &right].concat()), same.len());
            prop_assert_eq!(common_suffix(&[&left[..], &same].concat(), &[&right[..], &same].concat()), same.len());
        }
    }

    #[test]
    fn texts_that_repeat_sort_right() {
        let periodic: Vec<u8> = b"abcabcab".iter().copied().cycle().take(5000).collect();
        let fibonacci =
            (0..14).fold((b"a".to_vec(), b"b".to_vec()), |(a, b), _| (b.clone(), [b, a].concat())).1;
        for text in [vec![0; 3000], vec![255; 3000], periodic, fibonacci] {
            assert_eq!(array(&text), naive_array(&text));
        }
    }

    #[test]
    fn the_large_table_finds_what_the_small_one_finds() {
        let text = crate::tests::noise(7, LONG_TEXT + 12);
        let index = Index::new(&text).unwrap();
        assert_eq!(index.key_len, 3);
        for at in [0, 1, 4095, LONG_TEXT / 2, text.len() - 40] {
            assert_eq!(index.longest(&text[at..at + 40]), Some((at, 40)));
        }
        assert_eq!(index.longest(b""), None);
        assert_eq!(index.longest(&[1, 2]), None);
    }
}
