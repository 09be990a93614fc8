//! A model as three streams of numbers. `docs/format.md` section 4.6 is the law.
//!
//! Seven bits a byte, lowest first, shortest form only; signed numbers as zigzag.

use crate::{Kind, Model, Region, SPACE, Segment, ShiftMap, Span};

/// The streams of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// Regions, spans, segments.
    pub regions: Vec<u8>,
    /// For each step of the map how far its address is from the last one's.
    pub addresses: Vec<u8>,
    /// For each step its shift: which of the latest ones, or how much more than the last.
    pub shifts: Vec<u8>,
}

/// The rule that a model breaks.
pub type Broken = &'static str;

const NUMBERS: Broken = "a model's stream of numbers is cut short or not canonical";

/// How many earlier shifts a step may name by their age.
const RECENT: usize = 8;

impl Model {
    /// The model as streams.
    pub fn encode(&self) -> Streams {
        let mut streams = Streams::default();
        self.encode_regions(&mut streams.regions);
        let (mut address, mut recent) = (0, Recent::default());
        for (at, shift) in self.map().steps() {
            put(&mut streams.addresses, at.wrapping_sub(address));
            put(&mut streams.shifts, recent.code(*shift));
            address = *at;
        }
        streams
    }

    fn encode_regions(&self, out: &mut Vec<u8>) {
        put(out, self.regions().len() as u64);
        let mut last = Region { start: 0, len: 0, address: 0, kind: Kind::Plain, link: 0 };
        for region in self.regions() {
            put(out, region.kind as u64);
            put(out, region.start.wrapping_sub(last.end()));
            put(out, region.len);
            put(out, (region.address / SPACE).wrapping_sub(last.address / SPACE));
            put_signed(out, distance(last.address.wrapping_add(last.len), region.address));
            if region.kind.has_link() {
                put_signed(out, distance(region.address, region.link));
            }
            last = *region;
        }
        put(out, self.spans().len() as u64);
        let mut end = 0;
        for span in self.spans() {
            put(out, span.start.wrapping_sub(end));
            put(out, span.end.wrapping_sub(span.start) << 1 | u64::from(span.code));
            end = span.end;
        }
        put(out, self.segments().len() as u64);
        let (mut end, mut address) = (0u64, 0u64);
        for segment in self.segments() {
            put(out, segment.start.wrapping_sub(end));
            put(out, segment.len);
            put_signed(out, segment.address.wrapping_sub(address).cast_signed());
            end = segment.start.wrapping_add(segment.len);
            address = segment.address.wrapping_add(segment.len);
        }
    }

    /// The model that three streams hold, if they hold one and nothing else.
    ///
    /// Takes memory and time in proportion to their lengths.
    pub fn decode(regions: &[u8], addresses: &[u8], shifts: &[u8]) -> Result<Self, Broken> {
        let mut numbers = Numbers(regions);
        let list = numbers.regions()?;
        let spans = numbers.spans()?;
        let segments = numbers.segments()?;
        numbers.end()?;
        let (mut addresses, mut shifts) = (Numbers(addresses), Numbers(shifts));
        let (mut steps, mut address, mut recent) = (Vec::new(), 0u64, Recent::default());
        while !addresses.0.is_empty() {
            let by = addresses.next()?;
            if by == 0 && !steps.is_empty() {
                return Err("two steps of the map have one address");
            }
            address = address.checked_add(by).ok_or("an address of the map overflows")?;
            steps.push((address, recent.shift(shifts.next()?)));
        }
        shifts.end()?;
        Self::new(list, spans, segments, ShiftMap::new(steps))
    }
}

fn low(address: u64) -> u64 {
    address & (SPACE - 1)
}

/// How far `to` is from `from`, each within its space.
fn distance(from: u64, to: u64) -> i64 {
    low(to).wrapping_sub(low(from)).cast_signed()
}

/// The shifts named last, the latest first.
#[derive(Default)]
struct Recent {
    shifts: Vec<i64>,
}

impl Recent {
    /// Small numbers for known shifts, others for how much more a new one is than the latest.
    fn code(&mut self, shift: i64) -> u64 {
        let known = self.shifts.iter().position(|known| *known == shift);
        let latest = self.shifts.first().copied().unwrap_or(0);
        self.remember(shift, known);
        match known {
            Some(age) => age as u64,
            None => zigzag(shift.wrapping_sub(latest)).saturating_add(RECENT as u64),
        }
    }

    fn shift(&mut self, code: u64) -> i64 {
        let latest = self.shifts.first().copied().unwrap_or(0);
        let known = usize::try_from(code).ok().filter(|age| *age < self.shifts.len());
        let shift = match known.and_then(|age| self.shifts.get(age)) {
            Some(shift) => *shift,
            None => latest.wrapping_add(unzigzag(code.saturating_sub(RECENT as u64))),
        };
        self.remember(shift, known);
        shift
    }

    fn remember(&mut self, shift: i64, known: Option<usize>) {
        if let Some(age) = known {
            self.shifts.remove(age);
        }
        self.shifts.truncate(RECENT - 1);
        self.shifts.insert(0, shift);
    }
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, zigzag(value));
}

fn zigzag(value: i64) -> u64 {
    (value.wrapping_shl(1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg()
}

/// A stream of numbers, read front to back.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn next(&mut self) -> Result<u64, Broken> {
        let mut value = 0u64;
        for shift in (0..u64::BITS).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(NUMBERS)?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            if bits.leading_zeros() < shift || (*byte == 0 && shift > 0) {
                return Err(NUMBERS);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(NUMBERS)
    }

    fn signed(&mut self) -> Result<i64, Broken> {
        self.next().map(unzigzag)
    }

    fn end(&self) -> Result<(), Broken> {
        if self.0.is_empty() { Ok(()) } else { Err("bytes are left over in a model's stream") }
    }

    fn regions(&mut self) -> Result<Vec<Region>, Broken> {
        let mut regions = Vec::new();
        let mut last = Region { start: 0, len: 0, address: 0, kind: Kind::Plain, link: 0 };
        for _ in 0..self.next()? {
            let kind = self.next()?;
            let kind = usize::try_from(kind).ok().and_then(|kind| Kind::ALL.get(kind));
            let kind = *kind.ok_or("a model has a region of an unknown kind")?;
            let start = last.start.checked_add(last.len).and_then(|end| end.checked_add(self.next().ok()?));
            let (start, len) = (start.ok_or(NUMBERS)?, self.next()?);
            let space = (last.address / SPACE).checked_add(self.next()?).filter(|space| *space < 1 << 16);
            let space = space.ok_or("a model has too many spaces of addresses")?.wrapping_mul(SPACE);
            let after = last.address.wrapping_add(last.len);
            let address = low(after.wrapping_add_signed(self.signed()?)) | space;
            let link = match kind.has_link() {
                true => low(address.wrapping_add_signed(self.signed()?)) | space,
                false => 0,
            };
            last = Region { start, len, address, kind, link };
            regions.push(last);
        }
        Ok(regions)
    }

    fn spans(&mut self) -> Result<Vec<Span>, Broken> {
        let mut spans = Vec::new();
        let mut end = 0u64;
        for _ in 0..self.next()? {
            let start = end.checked_add(self.next()?).ok_or(NUMBERS)?;
            let len = self.next()?;
            end = start.checked_add(len >> 1).ok_or(NUMBERS)?;
            spans.push(Span { start, end, code: len & 1 == 1 });
        }
        Ok(spans)
    }

    fn segments(&mut self) -> Result<Vec<Segment>, Broken> {
        let mut segments: Vec<Segment> = Vec::new();
        let (mut end, mut address) = (0u64, 0u64);
        for _ in 0..self.next()? {
            let start = end.checked_add(self.next()?).ok_or(NUMBERS)?;
            let len = self.next()?;
            let at = low(address.wrapping_add_signed(self.signed()?));
            end = start.checked_add(len).ok_or(NUMBERS)?;
            address = at.wrapping_add(len);
            segments.push(Segment { start, len, address: at });
        }
        Ok(segments)
    }
}

#[cfg(test)]
pub(crate) mod tests;
