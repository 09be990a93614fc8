//! The references of a whole text, and texts in which they are written by what they mean.

use rayon::prelude::*;
use siding_predict::{Base, Form, Model, PAGE, Place, Reference, Region, ShiftMap};
use std::ops::Range;

/// A reference at a place of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ref {
    /// Offset in the text.
    pub(crate) at: usize,
    pub(crate) target: u64,
    pub(crate) base: Base,
    pub(crate) form: Form,
    /// Whether it stands in machine code.
    pub(crate) code: bool,
}

impl Ref {
    /// Offset in the text of the byte after it.
    pub(crate) fn end(&self) -> usize {
        self.at + self.form.len()
    }
}

/// A reference as it is kept, for some tables have one every four bytes.
#[derive(Clone, Copy, Debug)]
struct Packed {
    /// Offset in its part.
    at: u16,
    form: Form,
    /// The halves of its target.
    target: [u32; 2],
    /// How far the target is from the base, or one of the two below.
    from_base: i32,
}

const _: () = assert!(size_of::<Packed>() == 16 && SHARE <= 1 << u16::BITS);

/// Counts from its place.
const PLACE: i32 = i32::MIN;
/// Counts from zero.
const ZERO: i32 = i32::MIN + 1;

impl Packed {
    /// `None` for what does not fit: a base that is 2 GiB away.
    fn new(at: usize, reference: &Reference) -> Option<Self> {
        let Reference { form, target, base, .. } = *reference;
        let from_base = match base {
            Base::Place => PLACE,
            Base::Zero => ZERO,
            Base::Address(base) => {
                let by = i32::try_from(target.wrapping_sub(base).cast_signed()).ok();
                by.filter(|by| *by > ZERO)?
            }
        };
        let half = |value: u64| (value & u64::from(u32::MAX)) as u32;
        let target = [half(target), half(target >> 32)];
        Some(Self { at: u16::try_from(at).ok()?, form, target, from_base })
    }

    fn unpack(&self, part: &Part) -> Ref {
        let Self { at, form, target: [low, high], from_base } = *self;
        let target = u64::from(low) | u64::from(high) << 32;
        let base = match from_base {
            PLACE => Base::Place,
            ZERO => Base::Zero,
            by => Base::Address(target.wrapping_add_signed(-i64::from(by))),
        };
        Ref { at: part.start + usize::from(at), target, base, form, code: part.code }
    }
}

/// The references of a text, in order and apart.
#[derive(Debug, Default)]
pub(crate) struct Refs {
    /// None is empty.
    parts: Vec<Part>,
}

/// Those of one share.
#[derive(Debug)]
struct Part {
    /// Where its share begins in the text.
    start: usize,
    code: bool,
    refs: Vec<Packed>,
}

impl Part {
    fn iter(&self) -> impl Iterator<Item = Ref> {
        self.refs.iter().map(|reference| reference.unpack(self))
    }

    /// Drops those that begin before `place`.
    fn skip_to(&mut self, place: usize) {
        let upto = self.before(place);
        self.refs.drain(..upto);
    }

    /// How many begin before `place`.
    fn before(&self, place: usize) -> usize {
        self.refs.partition_point(|reference| self.start + usize::from(reference.at) < place)
    }

    fn end(&self) -> usize {
        self.refs.last().map_or(0, |last| last.unpack(self).end())
    }
}

impl Refs {
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Those at `place` of the text and after.
    pub(crate) fn since(&self, place: usize) -> impl Iterator<Item = Ref> {
        let first = self.parts.partition_point(|part| part.end() <= place);
        let parts = &self.parts[first..];
        let before = parts.first().map_or(0, |part| part.before(place));
        let first =
            parts.iter().take(1).flat_map(move |part| part.refs[before..].iter().map(|it| it.unpack(part)));
        first.chain(parts.iter().skip(1).flat_map(Part::iter))
    }

    fn add(&mut self, mut part: Part) {
        // What reaches over the border of two shares is reported by both, if at all.
        part.skip_to(self.parts.last().map_or(0, Part::end));
        if !part.refs.is_empty() {
            self.parts.push(part);
        }
    }
}

/// One task's share, in bytes.
const SHARE: usize = 256 * PAGE;

/// A stretch of a text that lies in one region: where in the text, and where in the region.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) text: usize,
    pub(crate) region: usize,
    pub(crate) within: usize,
    pub(crate) len: usize,
}

/// Finds the references in all `pieces`, in order. `bytes_of` delivers a region's bytes.
pub(crate) fn collect<'a>(
    model: &Model,
    pieces: &[Piece],
    bytes_of: impl Fn(&Region) -> Option<&'a [u8]> + Sync,
) -> Refs {
    let shares: Vec<Piece> = pieces
        .iter()
        .flat_map(|piece| {
            (0..piece.len).step_by(SHARE).map(move |at| Piece {
                text: piece.text + at,
                within: piece.within + at,
                len: SHARE.min(piece.len - at),
                ..*piece
            })
        })
        .collect();
    let found: Vec<Part> = shares
        .par_iter()
        .map(|share| {
            let region = &model.regions()[share.region];
            let mut part = Part { start: share.text, code: region.kind.is_code(), refs: Vec::new() };
            let Some(bytes) = bytes_of(region) else { return part };
            let place = Place {
                bytes,
                address: region.address,
                link: region.link,
                spans: model.spans_of(region.address),
            };
            let window = share.within..share.within + share.len;
            let mut end = window.start;
            region.kind.find(&place, window.clone(), &mut |page: Range<usize>, reference| {
                let at = reference.at;
                let whole = page.contains(&at) && at >= end && reference.end() <= window.end;
                if let Some(packed) = Packed::new(at.wrapping_sub(share.within), &reference).filter(|_| whole)
                {
                    end = reference.end();
                    part.refs.push(packed);
                }
            });
            part.refs.shrink_to_fit();
            part
        })
        .collect();
    let mut refs = Refs::default();
    found.into_iter().for_each(|part| refs.add(part));
    refs
}

/// How a field is rewritten for comparing texts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Meaning<'a> {
    /// All that point anywhere look alike.
    Hidden,
    /// By the address they will point to once moved by the map.
    Moved(&'a ShiftMap),
    /// By the address they point to.
    Now,
}

/// A copy of `text` whose references, `refs`, are rewritten.
pub(crate) fn rewrite(text: &[u8], refs: &Refs, meaning: Meaning<'_>) -> Vec<u8> {
    let mut out = text.to_vec();
    let mut rest = out.as_mut_slice();
    let mut shares = Vec::with_capacity(refs.parts.len());
    // References are in order and apart, so none reaches into the next one's share.
    for part in refs.parts.iter().rev() {
        let (before, share) = rest.split_at_mut(part.start);
        shares.push((part, share));
        rest = before;
    }
    shares.into_par_iter().for_each(|(part, share)| {
        for reference in part.iter() {
            let at = reference.at - part.start;
            write(&reference, meaning, &mut share[at..at + reference.form.len()]);
        }
    });
    out
}

fn write(reference: &Ref, meaning: Meaning<'_>, field: &mut [u8]) {
    let old = field_value(field);
    let new = match meaning {
        Meaning::Hidden => hidden(reference.form, old),
        Meaning::Now => absolute(reference, old, 0, 0),
        Meaning::Moved(map) => {
            let base = match reference.base {
                Base::Address(base) => map.shift(base),
                _ => 0,
            };
            absolute(reference, old, map.shift(reference.target), base)
        }
    };
    let len = field.len();
    field.copy_from_slice(&new.to_le_bytes()[..len]);
}

fn absolute(reference: &Ref, old: u64, target_moved: i64, base_moved: i64) -> u64 {
    let Ref { form, target, base, .. } = *reference;
    let plain = Reference { at: 0, form, target, base };
    match plain.base {
        Base::Place => plain.absolute(old, target_moved),
        _ => plain.rewritten(old, 0, target_moved, base_moved),
    }
}

fn hidden(form: Form, old: u64) -> u64 {
    match form {
        Form::U32 | Form::Back32 | Form::U64 | Form::Number(_) => 0,
        Form::Branch26 => old & !0x03ff_ffff,
        Form::Adr | Form::Adrp => old & !0x60ff_ffe0,
        Form::Low12(_) => old & !0x003f_fc00,
        // Jumps within a function: they tell functions apart.
        Form::Branch19 | Form::Branch14 => old,
    }
}

fn field_value(field: &[u8]) -> u64 {
    field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(start: usize, refs: &[Reference]) -> Part {
        let refs = refs.iter().filter_map(|reference| Packed::new(reference.at, reference)).collect();
        Part { start, code: false, refs }
    }

    #[test]
    fn a_reference_is_kept_as_it_is() {
        let (at, form, target) = (0x7ffc, Form::Number(24), 0x7_0000_0000);
        for base in [Base::Zero, Base::Place, Base::Address(0x7_0000_1234), Base::Address(0x6_9000_0000)] {
            let part = part(0xab_0000_0000, &[Reference { at, form, target, base }]);
            let expected = Ref { at: 0xab_0000_7ffc, target, base, form, code: false };
            assert_eq!(part.iter().collect::<Vec<_>>(), [expected]);
        }
        let far = Reference { at, form, target, base: Base::Address(0x6_0000_0000) };
        assert!(part(0, &[far]).refs.is_empty());
    }

    #[test]
    fn those_since_a_place_are_found_in_whatever_part() {
        let mut refs = Refs::default();
        let reference = |at: usize| Reference { at, form: Form::U32, target: 1, base: Base::Place };
        for (start, at) in [(0, vec![0, 4, 8]), (10, vec![0, 2]), (100, vec![0])] {
            refs.add(part(start, &at.into_iter().map(reference).collect::<Vec<_>>()));
        }
        let since = |at: usize| refs.since(at).map(|reference| reference.at).collect::<Vec<_>>();
        assert_eq!(since(0), [0, 4, 8, 12, 100], "10 lies within 8");
        assert_eq!(since(5), [8, 12, 100]);
        assert_eq!(since(9), [12, 100]);
        assert_eq!(since(13), [100]);
        assert_eq!(since(101), []);
    }
}
