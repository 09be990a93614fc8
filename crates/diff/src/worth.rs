//! What predictions are worth, region by region; what does no good is not predicted.
//!
//! The maker knows what a copy becomes on the device and what it should. A region whose predictions put more bytes
//! wrong than right is a guess that failed: numbers taken for offsets, a table of a form no finder knows. A device
//! that does not hear of it leaves its bytes as they are. Nor need it hear of a region without effect, which saves
//! most of what the model of a large tree says: few of its files change.

use crate::cover::Cover;
use rayon::prelude::*;
use siding_predict::{Kind, Model, Region};
use std::ops::Range;

/// How many bytes the predictions of each region put right in these covers, less those they put wrong.
///
/// `text` is what covers refer to; `bytes_of` delivers a region's bytes.
pub(crate) fn worth<'a>(
    model: &Model,
    covers: &[Cover],
    text: &[u8],
    fresh: &[u8],
    bytes_of: impl Fn(&Region) -> Option<&'a [u8]> + Sync,
) -> Vec<i64> {
    let parts: Vec<(&Cover, Range<usize>)> = covers.iter().flat_map(parts).collect();
    let judged = parts.into_par_iter().flat_map_iter(|(cover, part)| {
        let from = cover.from + part.start as u64;
        let old = cover.text.map_or(&[][..], |at| &text[at + part.start..at + part.end]);
        let new = &fresh[cover.new + part.start..cover.new + part.end];
        let mut predicted = old.to_vec();
        model.predict_copy(from, (cover.new + part.start) as u64, &mut predicted, &bytes_of);
        overlaps(model, from..from + old.len() as u64)
            .map(|(region, range)| {
                let range = (range.start - from) as usize..(range.end - from) as usize;
                (region, gain(&old[range.clone()], &predicted[range.clone()], &new[range]))
            })
            .collect::<Vec<_>>()
    });
    let mut worth = vec![0; model.regions().len()];
    judged.collect::<Vec<_>>().into_iter().for_each(|(region, gain)| worth[region] += gain);
    worth
}

/// A cover's parts, small enough to be looked at by the way.
fn parts(cover: &Cover) -> impl Iterator<Item = (&Cover, Range<usize>)> {
    const PART: usize = 256 << 10;
    let len = if cover.text.is_some() { cover.len } else { 0 };
    (0..len).step_by(PART).map(move |at| (cover, at..(at + PART).min(len)))
}

fn gain(old: &[u8], predicted: &[u8], new: &[u8]) -> i64 {
    if old == predicted {
        return 0;
    }
    let each = old.iter().zip(predicted).zip(new);
    each.map(|((old, predicted), new)| i64::from(predicted == new) - i64::from(old == new)).sum()
}

/// The regions that have bytes in `range` of the flat space, and which.
pub(crate) fn overlaps(model: &Model, range: Range<u64>) -> impl Iterator<Item = (usize, Range<u64>)> + '_ {
    let first = model.regions().partition_point(|region| region.start + region.len <= range.start);
    let upto = range.end;
    model.regions().iter().enumerate().skip(first).take_while(move |(_, region)| region.start < upto).map(
        move |(index, region)| {
            let start = region.start.max(range.start);
            (index, start..(region.start + region.len).min(upto))
        },
    )
}

/// The same model, but what regions hold that are not `kept` is taken for plain.
pub(crate) fn plain_but(model: Model, kept: impl Fn(usize, &Region) -> bool) -> Model {
    let plain = |(index, region): (usize, &Region)| match kept(index, region) {
        true => *region,
        false => Region { kind: Kind::Plain, link: 0, ..*region },
    };
    let regions = model.regions().iter().enumerate().map(plain).collect();
    rebuilt(&model, regions)
}

/// The same model, but of its regions only those that the device needs: the ones that are worth something.
pub(crate) fn needed(model: Model, worth: &[i64]) -> Model {
    let regions =
        model.regions().iter().zip(worth).filter(|(_, worth)| **worth > 0).map(|(region, _)| *region);
    rebuilt(&model, regions.collect())
}

fn rebuilt(model: &Model, regions: Vec<Region>) -> Model {
    let (spans, segments) = (model.spans().to_vec(), model.segments().to_vec());
    // Parts of what has been checked pass again.
    let rebuilt = Model::new(regions, spans, segments, model.map().clone());
    rebuilt.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use siding_predict::{Segment, ShiftMap, Span};

    #[test]
    fn a_region_whose_predictions_are_wrong_is_not_needed() {
        // A jump, whose target moved; then a number that looks like one; then neither.
        let region =
            |start: u64| Region { start, len: 4, address: 0x1000 + start, kind: Kind::Jumps, link: 0 };
        let span = Span { start: 0x1000, end: 0x2000, code: true };
        let map = ShiftMap::new(vec![(0x1200, 0x20)]);
        let old = [0, 3, 0, 0, 0, 3, 0, 0, 1, 0, 0, 0];
        let new = [0x20, 3, 0, 0, 0, 3, 0, 0, 1, 0, 0, 0];
        let bytes_of = |region: &Region| old.get(region.start as usize..)?.get(..region.len as usize);
        let segment = Segment { start: 0, len: 12, address: 0x1000 };
        let regions = [0, 4, 8].map(region).to_vec();
        let model = Model::new(regions, vec![span], vec![segment], map).unwrap();
        let covers = [Cover { new: 0, len: 12, from: 0, text: Some(0) }];
        let worth = worth(&model, &covers, &old, &new, bytes_of);
        assert_eq!(worth, [1, -1, 0]);
        let model = needed(model, &worth);
        assert_eq!(model.regions(), [region(0)]);
        let mut predicted = old;
        model.predict_copy(0, 0, &mut predicted, bytes_of);
        assert_eq!(predicted, new);
    }
}
