//! What a device is told so that it can predict: where references may stand, which addresses exist, what moved.

use crate::codec::Broken;
use crate::{Base, Form, Kind, Place, Reference, SPACE, ShiftMap};
use std::ops::Range;

/// A run of the source's flat space that is one thing: a section, or part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Where it begins in the source's flat space.
    pub start: u64,
    /// Its length in bytes.
    pub len: u64,
    /// The address of its first byte, the number of its space above bit 48.
    pub address: u64,
    /// What it holds.
    pub kind: Kind,
    /// The address of the table it refers to by number, for kinds that do: a symbol table, a string table.
    pub link: u64,
}

/// A run of the target's flat space that has addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins in the target's flat space.
    pub start: u64,
    /// Its length in bytes.
    pub len: u64,
    /// The address of its first byte, without a space.
    pub address: u64,
}

/// Addresses that exist in a file's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub start: u64,
    /// One past the last.
    pub end: u64,
    /// Whether code lies there.
    pub code: bool,
}

impl Region {
    /// Where it ends in the source's flat space.
    pub(crate) fn end(&self) -> u64 {
        self.start.saturating_add(self.len)
    }
}

impl Segment {
    fn end(&self) -> u64 {
        self.start.saturating_add(self.len)
    }
}

/// All a device needs to predict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    regions: Vec<Region>,
    segments: Vec<Segment>,
    spans: Vec<Span>,
    map: ShiftMap,
}

impl Model {
    /// A model of these parts, if each list is in order and its members apart, and addresses stay in their spaces.
    pub fn new(
        regions: Vec<Region>,
        spans: Vec<Span>,
        segments: Vec<Segment>,
        map: ShiftMap,
    ) -> Result<Self, Broken> {
        check_regions(&regions)?;
        check_segments(&segments)?;
        check_spans(&spans)?;
        Ok(Self { regions, segments, spans, map })
    }

    /// The runs of source bytes in which references are looked for.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// The runs of target bytes that have addresses.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The source's addresses that exist.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// How far what was at each old address moved.
    pub fn map(&self) -> &ShiftMap {
        &self.map
    }

    /// The same with another map.
    pub fn with_map(self, map: ShiftMap) -> Self {
        Self { map, ..self }
    }

    /// The region around `offset` of the source's flat space, or else where the next one begins.
    pub fn around(&self, offset: u64) -> Result<&Region, u64> {
        let index = self.regions.partition_point(|region| region.end() <= offset);
        match self.regions.get(index) {
            Some(region) if region.start <= offset => Ok(region),
            Some(region) => Err(region.start),
            None => Err(u64::MAX),
        }
    }

    /// The segment around `offset` of the target's flat space, or else where the next one begins.
    pub fn segment(&self, offset: u64) -> Result<&Segment, u64> {
        let index = self.segments.partition_point(|segment| segment.end() <= offset);
        match self.segments.get(index) {
            Some(segment) if segment.start <= offset => Ok(segment),
            Some(segment) => Err(segment.start),
            None => Err(u64::MAX),
        }
    }

    /// How far what is copied from `from` of the source to `to` of the target moves in terms of addresses.
    pub fn moved(&self, region: &Region, from: u64, to: u64) -> i64 {
        let old = region.address.wrapping_add(from.wrapping_sub(region.start)) & (SPACE - 1);
        let new = match self.segment(to) {
            Ok(segment) => segment.address.wrapping_add(to.wrapping_sub(segment.start)),
            Err(_) => to,
        };
        new.wrapping_sub(old).cast_signed()
    }

    /// The spans of the space in which `address` lies.
    pub fn spans_of(&self, address: u64) -> &[Span] {
        let space = address / SPACE;
        let low = self.spans.partition_point(|span| span.start / SPACE < space);
        let high = self.spans.partition_point(|span| span.start / SPACE <= space);
        self.spans.get(low..high).unwrap_or_default()
    }

    /// Rewrites `out`, which holds the source's bytes from `from` on, as they will read once copied to `to`.
    ///
    /// `bytes_of` delivers all bytes of a region, or nothing if they cannot be had: then its references stay.
    pub fn predict_copy<'a>(
        &self,
        mut from: u64,
        mut to: u64,
        mut out: &mut [u8],
        bytes_of: impl Fn(&Region) -> Option<&'a [u8]>,
    ) {
        while !out.is_empty() {
            let region = self.around(from);
            let source_end = match region {
                Ok(region) => region.end(),
                Err(next) => next,
            };
            let target_end = match self.segment(to) {
                Ok(segment) => segment.end(),
                Err(next) => next,
            };
            let room = source_end.saturating_sub(from).min(target_end.saturating_sub(to));
            let len = usize::try_from(room).unwrap_or(usize::MAX).clamp(1, out.len());
            let (now, later) = out.split_at_mut(len);
            if let Ok(region) = region
                && let Some(bytes) = bytes_of(region)
            {
                let at = usize::try_from(from.saturating_sub(region.start)).unwrap_or(usize::MAX);
                let moved = self.moved(region, from, to);
                self.predict(region, bytes, at..at.saturating_add(len), moved, now);
            }
            (out, from, to) = (later, from.saturating_add(len as u64), to.saturating_add(len as u64));
        }
    }

    /// Rewrites `out`, which holds the bytes `window` of a region, as they will read once moved by `moved`.
    ///
    /// `bytes` are all the region's bytes. Whatever the window, a byte comes out the same. Takes time in
    /// proportion to the window, and a page's at least.
    pub fn predict(&self, region: &Region, bytes: &[u8], window: Range<usize>, moved: i64, out: &mut [u8]) {
        let place =
            Place { bytes, address: region.address, link: region.link, spans: self.spans_of(region.address) };
        // What is nearby mostly moved as far as the place: what points there stays, and nothing need be looked up.
        let (shift, near) = self.map.around(place.at(window.start));
        let near = if shift == moved { near } else { 0..0 };
        region.kind.find(&place, window.clone(), &mut |page: Range<usize>, reference: Reference| {
            if reference.base == Base::Place
                && near.contains(&reference.target)
                && reference.form == Form::U32
            {
                return;
            }
            // A page answers for its own bytes only.
            let limits = page.start.max(window.start)..page.end.min(window.end);
            self.write(&place, reference, limits, window.start, moved, out);
        });
    }

    #[inline]
    fn write(
        &self,
        place: &Place<'_>,
        reference: Reference,
        limits: Range<usize>,
        start: usize,
        moved: i64,
        out: &mut [u8],
    ) {
        let Reference { at, form, .. } = reference;
        let new = if form == Form::U32 && reference.base == Base::Place {
            // Nearly all there is in code.
            let by = self.map.shift(reference.target).wrapping_sub(moved);
            if by == 0 {
                return;
            }
            let Some(old) = place.u32(at) else { return };
            u64::from(old).wrapping_add_signed(by)
        } else {
            let wide = form.len() == 8;
            let old = if wide { place.u64(at) } else { place.u32(at).map(u64::from) };
            let Some(old) = old else { return };
            let new = reference.predicted(old, place.at(at), moved, &self.map);
            if new == old {
                return;
            }
            new
        };
        let bytes = new.to_le_bytes();
        // All four at once, but where a window or a page cuts the field.
        if form == Form::U32
            && limits.start <= at
            && reference.end() <= limits.end
            && let Some(out) = out.get_mut(at.saturating_sub(start)..)
            && let (Some(out), Some(low)) = (out.first_chunk_mut::<4>(), bytes.first_chunk())
        {
            *out = *low;
            return;
        }
        for (byte, at) in bytes.into_iter().zip(at..reference.end()) {
            if limits.contains(&at)
                && let Some(out) = out.get_mut(at.saturating_sub(start))
            {
                *out = byte;
            }
        }
    }
}

fn check_regions(regions: &[Region]) -> Result<(), Broken> {
    let (mut end, mut space) = (0, 0);
    for region in regions {
        let last = region.address.checked_add(region.len.saturating_sub(1));
        if last.is_none_or(|last| last / SPACE != region.address / SPACE) {
            return Err("a region leaves its space of addresses");
        }
        let linked = if region.kind.has_link() { region.address / SPACE } else { 0 };
        if region.link / SPACE != linked || (region.link > 0 && !region.kind.has_link()) {
            return Err("a region's link leaves its space of addresses");
        }
        if region.address / SPACE < space {
            return Err("spaces of addresses are not in the order of regions");
        }
        space = region.address / SPACE;
        end = apart(end, region.start, region.len)?;
    }
    Ok(())
}

fn check_segments(segments: &[Segment]) -> Result<(), Broken> {
    let mut end = 0;
    for segment in segments {
        let last = segment.address.checked_add(segment.len.saturating_sub(1));
        if last.is_none_or(|last| last >= SPACE) {
            return Err("a segment leaves its space of addresses");
        }
        end = apart(end, segment.start, segment.len)?;
    }
    Ok(())
}

fn check_spans(spans: &[Span]) -> Result<(), Broken> {
    let mut end = 0;
    for span in spans {
        let last = span.end.saturating_sub(1);
        if span.start < end || span.end <= span.start {
            return Err("a span is empty, or not after the one ahead of it");
        }
        if last / SPACE != span.start / SPACE {
            return Err("a span leaves its space of addresses");
        }
        end = span.end;
    }
    Ok(())
}

/// Where a run ends that must begin no earlier than `end`.
fn apart(end: u64, start: u64, len: u64) -> Result<u64, Broken> {
    match start.checked_add(len) {
        Some(next) if start >= end && next <= i64::MAX as u64 => Ok(next),
        _ => Err("parts of a model overlap or reach past the end of all addresses"),
    }
}

#[cfg(test)]
mod tests;
