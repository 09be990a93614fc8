//! What became of the references in copied bytes.

use super::steps::around;
use siding_predict::{Kind, Model, Place, Region};
use std::collections::BTreeMap;

/// How many references there are, and how their prediction turned out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// All that lie in one copy from their first byte to their last.
    pub(super) found: u64,
    /// Of these: the new image has another value than the old one.
    pub(super) changed: u64,
    /// Of the changed ones: no difference was needed.
    pub(super) predicted: u64,
    /// The map said that they change.
    pub(super) moved: u64,
    /// No difference was needed, whether anything changed or not.
    pub(super) right: u64,
}

impl Count {
    pub(super) fn wrong(&self) -> u64 {
        self.found - self.right
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.found += other.found;
        self.changed += other.changed;
        self.predicted += other.predicted;
        self.moved += other.moved;
        self.right += other.right;
    }
}

/// A copy as far as it is not counted yet: what the old image has there, what was predicted, and what came out.
#[derive(Debug, Default)]
pub(super) struct Run {
    from: u64,
    old: Vec<u8>,
    predicted: Vec<u8>,
    new: Vec<u8>,
}

/// No reference has more bytes.
const LONGEST: usize = 8;

impl Run {
    pub(super) fn at(from: u64) -> Self {
        Self { from, ..Self::default() }
    }

    /// `len` more bytes of the old image, and as many for what is predicted; zeros so far.
    pub(super) fn grow(&mut self, len: usize) -> (&mut [u8], &mut [u8]) {
        let at = self.old.len();
        self.old.resize(at + len, 0);
        self.predicted.resize(at + len, 0);
        (&mut self.old[at..], &mut self.predicted[at..])
    }

    /// The last `len` bytes come out as predicted, until differences are added to [`Run::last`].
    pub(super) fn predicted_is_new(&mut self, len: usize) {
        let at = self.predicted.len() - len;
        self.new.extend_from_slice(&self.predicted[at..]);
    }

    /// The last `len` bytes that came out.
    pub(super) fn last(&mut self, len: usize) -> &mut [u8] {
        let at = self.new.len() - len;
        &mut self.new[at..]
    }

    /// For each of the last `len` bytes whether a difference was needed.
    pub(super) fn changed(&self, len: usize) -> Vec<bool> {
        let at = self.new.len() - len;
        self.new[at..].iter().zip(&self.predicted[at..]).map(|(new, predicted)| new != predicted).collect()
    }

    /// Forgets what is there; the copy may go on.
    pub(super) fn clear(&mut self) {
        self.drain(self.old.len());
    }

    /// Counts the references in what is there and forgets it. Unless it is `all`, the last few bytes stay: a
    /// reference may go on in what the copy still brings.
    pub(super) fn count<'a>(
        &mut self,
        model: &Model,
        bytes_of: impl Fn(&Region) -> Option<&'a [u8]>,
        all: bool,
        counts: &mut BTreeMap<Kind, Count>,
    ) {
        let len = self.old.len();
        let upto = if all { len } else { len.saturating_sub(LONGEST - 1) };
        let mut at = 0;
        while at < upto {
            let flat = self.from + at as u64;
            let (region, room) = around(model, flat);
            let end = room.min(len - at) + at;
            if let Some(region) = region
                && let Some(bytes) = bytes_of(region)
            {
                let spans = model.spans_of(region.address);
                let place = Place { bytes, address: region.address, link: region.link, spans };
                let start = usize::try_from(flat - region.start).unwrap_or(usize::MAX);
                let window = start..start.saturating_add(end - at);
                region.kind.find(&place, window.clone(), &mut |page, reference| {
                    // A reference that spans two pages is the first one's.
                    let begins = reference.at >= window.start && page.contains(&reference.at);
                    let first = reference.at.wrapping_sub(window.start).wrapping_add(at);
                    if begins && first < upto && reference.end() <= window.end {
                        let field = first..first + reference.form.len();
                        counts.entry(region.kind).or_default().add(&self.judge(field));
                    }
                });
            }
            at = end;
        }
        self.drain(upto);
    }

    fn judge(&self, field: std::ops::Range<usize>) -> Count {
        let [old, predicted, new] =
            [&self.old, &self.predicted, &self.new].map(|bytes| &bytes[field.clone()]);
        let (changed, right) = (old != new, predicted == new);
        Count {
            found: 1,
            changed: changed.into(),
            predicted: (changed && right).into(),
            moved: (old != predicted).into(),
            right: right.into(),
        }
    }

    fn drain(&mut self, upto: usize) {
        self.from += upto as u64;
        for bytes in [&mut self.old, &mut self.predicted, &mut self.new] {
            bytes.drain(..upto);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use siding_predict::{Segment, ShiftMap, Span};

    /// Sixteen pointers, of which the map moves the second half by 0x20 and the target needs one more.
    #[test]
    fn a_copy_counts_the_same_in_whatever_parts_it_comes() {
        let old: Vec<u8> = (0..16u64).flat_map(|index| (0x1000 + index * 8).to_le_bytes()).collect();
        let len = old.len() as u64;
        let region = Region { start: 0, len, address: 0x1000, kind: Kind::Words64, link: 0 };
        let spans = vec![Span { start: 0x1000, end: 0x2000, code: false }];
        let segments = vec![Segment { start: 0, len, address: 0x1000 }];
        let model = Model::new(vec![region], spans, segments, ShiftMap::new(vec![(0x1040, 0x20)])).unwrap();
        let mut predicted = old.clone();
        model.predict_copy(0, 0, &mut predicted, |_| Some(&old));
        let mut new = predicted.clone();
        new[8] ^= 1;
        let count = |part: usize| {
            let (mut run, mut counts) = (Run::at(0), BTreeMap::new());
            for at in (0..old.len()).step_by(part) {
                let here = at..(at + part).min(old.len());
                let (to, guess) = run.grow(here.len());
                to.copy_from_slice(&old[here.clone()]);
                guess.copy_from_slice(&predicted[here.clone()]);
                run.predicted_is_new(here.len());
                run.last(here.len()).copy_from_slice(&new[here]);
                run.count(&model, |_| Some(&old), false, &mut counts);
            }
            run.count(&model, |_| Some(&old), true, &mut counts);
            counts[&Kind::Words64]
        };
        let whole = count(old.len());
        assert_eq!(whole, Count { found: 16, changed: 9, predicted: 8, moved: 8, right: 15 });
        assert!([1, 3, 8, 50].map(count).iter().all(|counted| *counted == whole));
    }
}
