//! The longest match of any position: a suffix array over the old bytes with a table of prefixes in front.

use crate::Error;
use libsais::SuffixArrayConstruction;

/// An index over a text.
#[derive(Debug)]
pub struct Index<'a> {
    text: &'a [u8],
    array: Array,
    /// For every key of `key_len` bytes, where its suffixes begin in the array; one more at the end.
    starts: Vec<u32>,
    key_len: usize,
}

/// Suffixes in order. Above 2 GiB an offset takes eight bytes.
#[derive(Debug)]
enum Array {
    Small(Vec<i32>),
    Large(Vec<i64>),
}

/// How far two suffixes are compared: enough to choose between them, little enough for texts that repeat.
const FAR: usize = 32 << 10;
/// From this text length on a table with three-byte keys (64 MiB) pays.
const LONG_TEXT: usize = 4 << 20;

impl<'a> Index<'a> {
    /// Sorts the suffixes of `text`. Takes 4 bytes of memory per byte (8 above 2 GiB) and linear time.
    pub fn new(text: &'a [u8]) -> Result<Self, Error> {
        let failed = |e: libsais::LibsaisError| Error::Index(e.to_string());
        let array = if text.is_empty() {
            Array::Small(Vec::new())
        } else if text.len() < i32::MAX as usize {
            let sorted = SuffixArrayConstruction::for_text(text).in_owned_buffer32().single_threaded().run();
            Array::Small(sorted.map_err(failed)?.into_vec())
        } else {
            let sorted = SuffixArrayConstruction::for_text(text).in_owned_buffer64().single_threaded().run();
            Array::Large(sorted.map_err(failed)?.into_vec())
        };
        // The table counts in 32 bits; a text beyond that does without.
        let key_len = match text.len() {
            len if len >= u32::MAX as usize => 0,
            len if len >= LONG_TEXT => 3,
            _ => 2,
        };
        Ok(Self { text, array, starts: count_keys(text, key_len), key_len })
    }

    /// The longest match of a prefix of `pattern` in the text: where, and how long; lengths count to 32 KiB.
    ///
    /// Nothing shorter than three bytes is reported. Of equally long matches the same one always wins.
    pub fn longest(&self, pattern: &[u8]) -> Option<(usize, usize)> {
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
pub(crate) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let len = a.len().min(b.len());
    let (a, b) = (&a[..len], &b[..len]);
    const WORD: usize = 16;
    let words = a.chunks_exact(WORD).zip(b.chunks_exact(WORD)).take_while(|(a, b)| a == b).count();
    let start = words * WORD;
    start + a[start..].iter().zip(&b[start..]).take_while(|(a, b)| a == b).count()
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
