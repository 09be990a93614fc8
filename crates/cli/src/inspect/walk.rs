//! Goes through a patch chunk by chunk and adds up which bytes make what.

use super::references::Count;
use super::sections::Sections;
use super::steps::{Parts, Steps, Tail};
use crate::chunks;
use crate::failure::Failure;
use siding_image::{Changes, Image};
use siding_patch::{ChunkKind, Frame, Limits, Stored, Stream};
use siding_predict::{Kind, Model};
use std::collections::BTreeMap;

/// What a walk over the chunks finds.
#[derive(Default)]
pub(super) struct Found<'a> {
    /// Where copies come from, if that is at hand.
    pub(super) old: Option<&'a Image>,
    pub(super) changes: Changes,
    pub(super) model: Option<Model>,
    /// What the regions are called, with the old image at hand.
    pub(super) sections: Sections,
    /// Stored and decoded bytes by stream and coder.
    pub(super) streams: BTreeMap<(usize, &'static str), (u64, u64)>,
    /// Bytes of heads of frames.
    pub(super) heads: u64,
    /// By fresh content: what its bytes are.
    pub(super) files: Vec<Made>,
    /// By the start of the old image's region that copies come from; without one, what lies in none. Literals
    /// belong where the copy before them ended.
    pub(super) regions: BTreeMap<Option<u64>, Made>,
    /// What became of the references in copied bytes.
    pub(super) references: BTreeMap<Kind, Count>,
    /// Where each fresh content ends in the target's flat space.
    ends: Vec<u64>,
    /// How much of the flat space has been seen.
    at: u64,
    /// Its last bytes, with the old image at hand.
    pub(super) tail: Tail,
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

impl<'a> Found<'a> {
    /// Nothing yet; with `old`, references will be counted.
    pub(super) fn new(old: Option<&'a Image>, limits: &Limits) -> Self {
        let tail = Tail::of(if old.is_some() { limits.history } else { 0 });
        Self { old, tail, ..Self::default() }
    }

    /// Notes what `chunk` says. Chunks come in order.
    pub(super) fn look(&mut self, chunk: &Stored) -> Result<(), Failure> {
        let frames = chunk.frames()?;
        let packed: u64 = frames.iter().map(|frame| frame.stored).sum();
        self.heads += chunk.chunk().stored.saturating_sub(packed);
        frames.iter().for_each(|frame| self.count(frame));
        match chunk.chunk().kind {
            ChunkKind::Changes => self.changes.append(chunk.decode_changes()?),
            ChunkKind::Model => {
                let model = chunks::model(chunk)?;
                if let Some(old) = self.old {
                    self.sections = Sections::of(old, &model)?;
                }
                self.model = Some(model);
            }
            ChunkKind::Delta => {
                let mut parts = self.walk(chunk)?;
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

    fn walk(&mut self, chunk: &Stored) -> Result<Parts, Failure> {
        let streams = match self.old {
            Some(old) => chunk.decode(|history| self.tail.history(chunk, old, history))?,
            None => chunk.decode_shape()?,
        };
        let start = self.at;
        let mut steps = Steps::new(self, start);
        chunks::walk(chunk, &streams, start, &mut steps)?;
        let parts = steps.finish();
        self.at += chunk.chunk().target;
        Ok(parts)
    }

    /// Which fresh content the byte at `at` belongs to, and how many more it has; one for all in a file.
    pub(super) fn file_at(&mut self, at: u64) -> (usize, usize) {
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
