//! Walks a patch chunk by chunk and notes which bytes make what. With the old image it also makes the target's
//! bytes, in memory and only as far back as a later chunk may refer to.

use super::references::{Count, Run};
use crate::chunks;
use crate::failure::Failure;
use siding_image::{Changes, Image};
use siding_patch::{ChunkKind, Frame, History, Limits, Step, Stored, Stream, Streams, Walker};
use siding_predict::{Kind, Model};
use std::collections::BTreeMap;

/// What a walk over the chunks finds.
#[derive(Default)]
pub(super) struct Found<'a> {
    /// Where copies come from, if that is at hand.
    pub(super) old: Option<&'a Image>,
    pub(super) changes: Changes,
    pub(super) model: Option<Model>,
    /// Stored and decoded bytes by stream and coder.
    pub(super) streams: BTreeMap<(usize, &'static str), (u64, u64)>,
    /// Bytes of heads of frames.
    pub(super) heads: u64,
    /// By fresh content: what its bytes are.
    pub(super) files: Vec<Made>,
    /// By the region of the old image that copies come from, by its number; without one, what lies in none.
    /// Literals belong where the copy before them ended.
    pub(super) regions: BTreeMap<Option<usize>, Made>,
    /// What became of the references in copied bytes.
    pub(super) references: BTreeMap<Kind, Count>,
    /// Where each fresh content ends in the target's flat space.
    ends: Vec<u64>,
    /// How much of the flat space has been seen.
    at: u64,
    /// Its last bytes.
    tail: Vec<u8>,
}

/// What a stretch of the target is made of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Made {
    pub(super) bytes: u64,
    pub(super) literals: u64,
    pub(super) copied: u64,
    pub(super) changed: u64,
    pub(super) copies: u64,
    /// Its share of the stored bytes: literals share what literals take, differences what differences take,
    /// copies the rest.
    pub(super) stored: f64,
}

/// What a chunk makes, by fresh content and region.
type Parts = BTreeMap<(usize, Option<usize>), Made>;

/// Copies are looked at so many bytes at a time.
const WINDOW: usize = 64 << 10;

impl<'a> Found<'a> {
    /// Nothing yet; with `old`, references will be counted.
    pub(super) fn new(old: Option<&'a Image>) -> Self {
        Self { old, ..Self::default() }
    }

    /// Notes what `chunk` says. Chunks come in order.
    pub(super) fn look(&mut self, chunk: &Stored, limits: &Limits) -> Result<(), Failure> {
        let frames = chunk.frames()?;
        let packed: u64 = frames.iter().map(|frame| frame.stored).sum();
        self.heads += chunk.chunk().stored.saturating_sub(packed);
        frames.iter().for_each(|frame| self.count(frame));
        match chunk.chunk().kind {
            ChunkKind::Changes => self.changes.append(chunk.decode_changes()?),
            ChunkKind::Model => self.model = Some(chunks::model(chunk)?),
            ChunkKind::Delta => {
                let mut parts = self.walk(chunk, limits)?;
                share(&frames, &mut parts);
                for ((file, region), made) in parts {
                    self.files[file].add(&made);
                    self.regions.entry(region).or_default().add(&made);
                }
            }
        }
        Ok(())
    }

    /// Streams that share a frame share its stored bytes by their length.
    fn count(&mut self, frame: &Frame) {
        let all = frame.decoded().max(1);
        for (stream, len) in &frame.streams {
            let entry = self.streams.entry((*stream as usize, frame.coder.name())).or_default();
            entry.0 += frame.stored * len / all;
            entry.1 += len;
        }
    }

    fn walk(&mut self, chunk: &Stored, limits: &Limits) -> Result<Parts, Failure> {
        let streams = self.decode(chunk)?;
        let broken = |rule| Failure::from(siding_apply::Error::Instructions { chunk: chunk.index(), rule });
        let mut walker = Walker::new(&streams, self.at, chunk.chunk().target).map_err(broken)?;
        let mut parts = Parts::new();
        let mut run = Run::default();
        // Where a copy would go on that is only handed out in parts, and where the last one ended.
        let (mut goes_on, mut ended) = (None, self.at);
        loop {
            let (file, room) = self.file_at(self.at);
            let Some(step) = walker.step(room.min(WINDOW)).map_err(broken)? else { break };
            let len = match step {
                Step::Literal(bytes) => {
                    goes_on = None;
                    let made = parts.entry((file, self.region_at(ended))).or_default();
                    made.literals += bytes.len() as u64;
                    made.bytes += bytes.len() as u64;
                    self.keep(bytes, limits);
                    bytes.len()
                }
                Step::Copy { from, len } => {
                    if goes_on != Some(from) {
                        self.count_references(&mut run, true);
                        run = Run::at(from);
                        parts.entry((file, self.region_at(from))).or_default().copies += 1;
                    }
                    self.copy(&mut run, from, len)?;
                    let new = run.last(len);
                    walker.adjust(new).map_err(broken)?;
                    self.keep(run.last(len), limits);
                    self.note(&run, file, from, len, &mut parts);
                    self.count_references(&mut run, false);
                    ended = from + len as u64;
                    goes_on = Some(ended);
                    len
                }
            };
            self.at += len as u64;
        }
        self.count_references(&mut run, true);
        Ok(parts)
    }

    /// With the old image everything can be decoded; else what leans on it or on the target counts as zeros.
    fn decode(&self, chunk: &Stored) -> Result<Streams, Failure> {
        let Some(old) = self.old else { return Ok(chunk.decode_shape()?) };
        chunk.decode(|history: &History| {
            let len = |len: u64| usize::try_from(len).unwrap_or(usize::MAX);
            let rule = "a coder refers to more of the target than there is before the chunk";
            let from = self.tail.len().checked_sub(len(history.target_len));
            let written = from.and_then(|from| self.tail.get(from..));
            let written = written.ok_or(siding_apply::Error::Instructions { chunk: chunk.index(), rule })?;
            let mut bytes = vec![0; len(history.source_len)];
            old.read_at(history.source_offset, &mut bytes)?;
            bytes.extend_from_slice(written);
            Ok(bytes)
        })
    }

    /// What the device has after copying `len` bytes from `from`, before differences; zeros without the old image.
    fn copy(&self, run: &mut Run, from: u64, len: usize) -> Result<(), Failure> {
        let (old, predicted) = run.grow(len);
        if let Some(image) = self.old {
            image.read_at(from, old)?;
            predicted.copy_from_slice(old);
            if let Some(model) = &self.model {
                let bytes_of = |region: &_| bytes_of(image, region);
                model.predict_copy(from, self.at, predicted, bytes_of);
            }
        }
        run.predicted_is_new(len);
        Ok(())
    }

    /// Divides the last `len` bytes of `run` among the regions they come from.
    fn note(&self, run: &Run, file: usize, mut from: u64, len: usize, parts: &mut Parts) {
        let changed = run.changed(len);
        let mut changed = changed.as_slice();
        while !changed.is_empty() {
            let here = usize::try_from(self.room_at(from)).unwrap_or(usize::MAX).min(changed.len());
            let (now, later) = changed.split_at(here);
            let made = parts.entry((file, self.region_at(from))).or_default();
            made.bytes += here as u64;
            made.copied += here as u64;
            made.changed += now.iter().filter(|changed| **changed).count() as u64;
            from += here as u64;
            changed = later;
        }
    }

    fn count_references(&mut self, run: &mut Run, all: bool) {
        if let (Some(old), Some(model)) = (self.old, &self.model) {
            run.count(model, |region| bytes_of(old, region), all, &mut self.references);
        } else {
            run.clear();
        }
    }

    /// The number of the region around `flat`.
    fn region_at(&self, flat: u64) -> Option<usize> {
        let regions = self.model.as_ref()?.regions();
        let index = regions.partition_point(|region| region.start + region.len <= flat);
        regions.get(index).filter(|region| region.start <= flat).map(|_| index)
    }

    /// How many bytes from `flat` on are in the same region, or outside of all.
    fn room_at(&self, flat: u64) -> u64 {
        let Some(model) = &self.model else { return u64::MAX };
        match model.around(flat) {
            Ok(region) => region.start + region.len - flat,
            Err(next) => next - flat,
        }
        .max(1)
    }

    /// Keeps `bytes` of the target for coders that refer to them.
    fn keep(&mut self, bytes: &[u8], limits: &Limits) {
        let most = usize::try_from(limits.history).unwrap_or(usize::MAX);
        if self.old.is_some() {
            if self.tail.len() / 2 > most {
                self.tail.drain(..self.tail.len() - most);
            }
            self.tail.extend_from_slice(bytes);
        }
    }

    /// Which fresh content the byte at `at` belongs to, and how many more it has; one for all in a file.
    fn file_at(&mut self, at: u64) -> (usize, usize) {
        if self.ends.is_empty() {
            let mut end = 0u64;
            self.ends.extend(self.changes.fresh_files().map(|(_, file)| {
                end = end.saturating_add(file.size);
                end
            }));
            self.files.resize(self.ends.len().max(1), Made::default());
        }
        let index = self.ends.partition_point(|end| *end <= at);
        match self.ends.get(index) {
            Some(end) => (index, usize::try_from(end - at).unwrap_or(usize::MAX)),
            None => (self.files.len() - 1, usize::MAX),
        }
    }
}

impl Made {
    fn add(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.literals += other.literals;
        self.copied += other.copied;
        self.changed += other.changed;
        self.copies += other.copies;
        self.stored += other.stored;
    }
}

fn bytes_of<'a>(image: &'a Image, region: &siding_predict::Region) -> Option<&'a [u8]> {
    image.slice(region.start, region.len).ok().flatten()
}

/// Divides what a chunk's frames take among its parts.
fn share(frames: &[Frame], parts: &mut Parts) {
    let (mut literals, mut differences, mut copies) = (0.0, 0.0, 0.0);
    for frame in frames {
        for (stream, len) in &frame.streams {
            let stored = frame.stored as f64 * *len as f64 / frame.decoded().max(1) as f64;
            match stream {
                Stream::Literals => literals += stored,
                Stream::Gaps | Stream::Runs | Stream::Values => differences += stored,
                _ => copies += stored,
            }
        }
    }
    divide(parts, literals, |made| made.literals);
    divide(parts, differences, |made| made.changed);
    divide(parts, copies, |made| made.copies);
}

/// Divides `stored` bytes by a measure; by length where that is 0 everywhere.
fn divide(parts: &mut Parts, stored: f64, measure: impl Fn(&Made) -> u64) {
    let all: u64 = parts.values().map(&measure).sum();
    let length = parts.values().map(|made| made.bytes).sum::<u64>().max(1);
    for made in parts.values_mut() {
        let (part, whole) = if all > 0 { (measure(made), all) } else { (made.bytes, length) };
        made.stored += stored * part as f64 / whole as f64;
    }
}
