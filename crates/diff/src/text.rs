//! The bytes to match: old ones as a text, new ones as they will be made.

use crate::Error;
use siding_image::Image;
use siding_patch::Layout;
use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

/// A run of zeros as long as this, in bytes, is made from nothing instead of matched.
pub(crate) const ZERO_RUN: usize = 64 << 10;
/// With more old bytes than this, files that did not change are left out of the text.
const WHOLE_TREE: u64 = 256 << 20;

/// Old bytes worth matching, one after the other, and where each stretch lies in the source's flat space.
#[derive(Debug)]
pub(crate) struct Text<'a> {
    bytes: Cow<'a, [u8]>,
    stretches: Vec<Stretch>,
    flat_len: u64,
}

#[derive(Clone, Copy, Debug)]
struct Stretch {
    /// Offset in the text.
    text: usize,
    /// Offset in the flat space.
    flat: u64,
    len: usize,
}

impl<'a> Text<'a> {
    /// The text of `old` for matching `new` against.
    pub(crate) fn of(old: &'a Image, new: &Image) -> Result<Self, Error> {
        let unchanged: HashSet<_> = match old.len() > WHOLE_TREE && old.tree().is_some() {
            true => new.blobs().iter().map(|blob| blob.content.digest).collect(),
            false => HashSet::new(),
        };
        let mut parts: Vec<(u64, &[u8])> = Vec::new();
        for blob in old.blobs().iter().filter(|blob| !unchanged.contains(&blob.content.digest)) {
            let bytes = blob.bytes()?;
            let mut at = 0;
            for zeros in zero_runs(bytes, &blob.holes()?) {
                parts.push((blob.start + at as u64, &bytes[at..zeros.start]));
                at = zeros.end;
            }
            parts.push((blob.start + at as u64, &bytes[at..]));
        }
        parts.retain(|(_, bytes)| !bytes.is_empty());
        Ok(Self::join(&parts, old.len()))
    }

    fn join(parts: &[(u64, &'a [u8])], flat_len: u64) -> Self {
        let mut stretches = Vec::with_capacity(parts.len());
        let mut text = 0;
        for (flat, bytes) in parts {
            stretches.push(Stretch { text, flat: *flat, len: bytes.len() });
            text += bytes.len();
        }
        let bytes = match parts {
            [(_, only)] => Cow::Borrowed(*only),
            parts => Cow::Owned(parts.iter().flat_map(|(_, bytes)| *bytes).copied().collect()),
        };
        Self { bytes, stretches, flat_len }
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its stretches: offset in the text, offset in the flat space, length.
    pub(crate) fn stretches(&self) -> impl Iterator<Item = (usize, u64, usize)> + '_ {
        self.stretches.iter().map(|stretch| (stretch.text, stretch.flat, stretch.len))
    }

    /// Where the source's endless zeros begin.
    pub(crate) fn zeros_at(&self) -> u64 {
        self.flat_len
    }

    /// Where the text's byte `at` lies in the flat space, and how many bytes go on there without a break.
    pub(crate) fn flat(&self, at: usize) -> (u64, usize) {
        let index = self.stretches.partition_point(|stretch| stretch.text <= at) - 1;
        let stretch = &self.stretches[index];
        let within = at - stretch.text;
        (stretch.flat + within as u64, stretch.len - within)
    }
}

/// The target's flat space: a file's bytes as they are, a tree's fresh contents one after the other.
#[derive(Debug)]
pub(crate) struct Fresh<'a> {
    pub(crate) bytes: Cow<'a, [u8]>,
    /// Its long runs of zeros.
    pub(crate) zeros: Vec<Range<usize>>,
}

impl<'a> Fresh<'a> {
    pub(crate) fn of(new: &'a Image, layout: &Layout) -> Result<Self, Error> {
        let wanted: HashSet<_> = layout.fresh().iter().map(|file| file.digest).collect();
        let blobs: Vec<_> = new.blobs().iter().filter(|blob| wanted.contains(&blob.content.digest)).collect();
        let parts = blobs.iter().map(|blob| blob.bytes()).collect::<Result<Vec<_>, _>>()?;
        Ok(match (parts.as_slice(), blobs.as_slice()) {
            ([only], [blob]) => Self { bytes: Cow::Borrowed(only), zeros: zero_runs(only, &blob.holes()?) },
            (parts, _) => {
                let bytes = parts.concat();
                Self { zeros: zero_runs(&bytes, &[]), bytes: Cow::Owned(bytes) }
            }
        })
    }
}

/// Runs of at least [`ZERO_RUN`] zeros. What lies in `holes` is known to be zeros and not read.
pub(crate) fn zero_runs(bytes: &[u8], holes: &[Range<u64>]) -> Vec<Range<usize>> {
    const STEP: usize = ZERO_RUN / 2;
    static ZEROS: [u8; STEP] = [0; STEP];
    let is_hole = |from: usize, to: usize| {
        let next = holes.partition_point(|hole| hole.end <= from as u64);
        holes.get(next).is_some_and(|hole| hole.start <= from as u64 && to as u64 <= hole.end)
    };
    let is_zero = |from: usize, to: usize| is_hole(from, to) || ZEROS.starts_with(&bytes[from..to]);
    let mut runs: Vec<Range<usize>> = Vec::new();
    // A run that long contains a whole aligned step, so only those need to be looked at.
    let mut at = 0;
    while at + STEP <= bytes.len() {
        if !is_zero(at, at + STEP) {
            at += STEP;
            continue;
        }
        let floor = runs.last().map_or(0, |run| run.end);
        let before = bytes[floor..at].iter().rev().take_while(|byte| **byte == 0).count();
        let mut whole = at + STEP;
        while whole < bytes.len() && is_zero(whole, (whole + STEP).min(bytes.len())) {
            whole = (whole + STEP).min(bytes.len());
        }
        let after = bytes[whole..].iter().take_while(|byte| **byte == 0).count();
        let run = at - before..whole + after;
        at = run.end.next_multiple_of(STEP);
        if run.len() >= ZERO_RUN {
            runs.push(run);
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn zero_runs_are_maximal_and_none_is_missed(parts in proptest::collection::vec((0usize..200_000, 1usize..3000), 1..6)) {
            let mut bytes = Vec::new();
            for (zeros, ones) in parts {
                bytes.resize(bytes.len() + zeros, 0);
                bytes.resize(bytes.len() + ones, 1);
            }
            let naive: Vec<_> = {
                let (mut runs, mut at) = (Vec::new(), 0);
                for chunk in bytes.chunk_by(|a, b| a == b) {
                    if chunk[0] == 0 && chunk.len() >= ZERO_RUN { runs.push(at..at + chunk.len()); }
                    at += chunk.len();
                }
                runs
            };
            prop_assert_eq!(&zero_runs(&bytes, &[]), &naive);
            // A hole is zeros, so knowing of some changes nothing.
            let holes: Vec<_> = naive.iter().map(|run| run.start as u64 + 7..run.end as u64 - 7).collect();
            prop_assert_eq!(zero_runs(&bytes, &holes), naive);
        }
    }

    #[test]
    fn the_text_knows_where_its_stretches_lie() {
        let text = Text::join(&[(10, b"abc"), (100, b"de")], 200);
        assert_eq!(text.bytes(), b"abcde");
        assert_eq!(text.flat(0), (10, 3));
        assert_eq!(text.flat(2), (12, 1));
        assert_eq!(text.flat(3), (100, 2));
    }
}
