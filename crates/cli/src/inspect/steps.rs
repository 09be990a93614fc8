//! One delta chunk, step by step: which of its bytes belong to which file and region, and what became of the
//! references in them. With the old image it also makes the target's bytes, in memory.

use super::references::Run;
use super::walk::{Found, Made};
use crate::chunks::{Copy, Visitor, broken};
use crate::failure::Failure;
use siding_image::Image;
use siding_patch::{History, Stored};
use siding_predict::{Model, Region};
use std::collections::BTreeMap;

/// What a chunk makes, by fresh content and the start of the region that it is copied from.
pub(super) type Parts = BTreeMap<(usize, Option<u64>), Made>;

/// Copies are looked at so many bytes at a time.
const WINDOW: usize = 64 << 10;

/// A chunk that is being walked.
pub(super) struct Steps<'f, 'a> {
    found: &'f mut Found<'a>,
    parts: Parts,
    /// The copy at hand.
    run: Run,
    /// Where in the source it would go on: long ones are handed out in parts.
    goes_on: Option<u64>,
    /// Where in the source the last copy ended.
    ended: u64,
}

impl<'f, 'a> Steps<'f, 'a> {
    /// For a chunk that makes the target's bytes from `start` on.
    pub(super) fn new(found: &'f mut Found<'a>, start: u64) -> Self {
        Self { found, parts: Parts::new(), run: Run::default(), goes_on: None, ended: start }
    }

    /// What the chunk makes, once all of it was walked.
    pub(super) fn finish(mut self) -> Parts {
        self.count_references(true);
        self.parts
    }

    /// What `at` of the target has from around `from` of the source.
    fn part(&mut self, at: u64, from: u64) -> &mut Made {
        let (file, _) = self.found.file_at(at);
        let region = self.found.model.as_ref().and_then(|model| model.around(from).ok());
        self.parts.entry((file, region.map(|region| region.start))).or_default()
    }

    /// Divides a copy among the regions it comes from.
    fn note(&mut self, Copy { at, mut from, len }: Copy) {
        let changed = self.run.changed(len);
        let mut changed = changed.as_slice();
        while !changed.is_empty() {
            let room = self.found.model.as_ref().map_or(usize::MAX, |model| around(model, from).1);
            let (now, later) = changed.split_at(room.min(changed.len()));
            let made = self.part(at, from);
            made.bytes += now.len() as u64;
            made.copied += now.len() as u64;
            made.changed += now.iter().filter(|changed| **changed).count() as u64;
            from += now.len() as u64;
            changed = later;
        }
    }

    fn count_references(&mut self, all: bool) {
        let Found { old, model, references, .. } = &mut *self.found;
        if let (Some(old), Some(model)) = (*old, model) {
            self.run.count(model, |region| bytes_of(old, region), all, references);
        } else {
            self.run.clear();
        }
    }
}

impl Visitor for Steps<'_, '_> {
    fn most(&mut self, at: u64) -> usize {
        self.found.file_at(at).1.min(WINDOW)
    }

    fn literal(&mut self, at: u64, bytes: &[u8]) {
        self.goes_on = None;
        let made = self.part(at, self.ended);
        made.literals += bytes.len() as u64;
        made.bytes += bytes.len() as u64;
        self.found.tail.keep(bytes);
    }

    /// What the device has after copying, before differences; zeros without the old image.
    fn copy(&mut self, Copy { at, from, len }: Copy) -> Result<Option<&mut [u8]>, Failure> {
        if self.goes_on != Some(from) {
            self.count_references(true);
            self.run = Run::at(from);
            self.part(at, from).copies += 1;
        }
        let (old, predicted) = self.run.grow(len);
        if let Some(image) = self.found.old {
            image.read_at(from, old)?;
            predicted.copy_from_slice(old);
            if let Some(model) = &self.found.model {
                model.predict_copy(from, at, predicted, |region| bytes_of(image, region));
            }
        }
        self.run.predicted_is_new(len);
        Ok(Some(self.run.last(len)))
    }

    fn copied(&mut self, copy: Copy) {
        self.found.tail.keep(self.run.last(copy.len));
        self.note(copy);
        self.count_references(false);
        self.ended = copy.from + copy.len as u64;
        self.goes_on = Some(self.ended);
    }
}

/// The last bytes of the target, as far back as a coder may refer to.
#[derive(Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    most: usize,
}

impl Tail {
    /// Keeps the last `most` bytes at least, and none if that is 0.
    pub(super) fn of(most: u64) -> Self {
        Self { bytes: Vec::new(), most: usize::try_from(most).unwrap_or(usize::MAX) }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.most == 0 {
            return;
        }
        if self.bytes.len() / 2 > self.most {
            self.bytes.drain(..self.bytes.len() - self.most);
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// What a coder in `chunk` refers to: a range of the source, then the end of the target before the chunk.
    pub(super) fn history(&self, chunk: &Stored, old: &Image, history: &History) -> Result<Vec<u8>, Failure> {
        let len = |len: u64| usize::try_from(len).unwrap_or(usize::MAX);
        let from = self.bytes.len().checked_sub(len(history.target_len));
        let written = from.and_then(|from| self.bytes.get(from..));
        let rule = "a coder refers to more of the target than there is before the chunk";
        let written = written.ok_or_else(|| broken(chunk, rule))?;
        let mut bytes = vec![0; len(history.source_len)];
        old.read_at(history.source_offset, &mut bytes)?;
        bytes.extend_from_slice(written);
        Ok(bytes)
    }
}

/// The region around `flat` of the source, if any, and how many bytes from there on are in it, or in none.
pub(super) fn around(model: &Model, flat: u64) -> (Option<&Region>, usize) {
    let (region, room) = match model.around(flat) {
        Ok(region) => (Some(region), region.start + region.len - flat),
        Err(next) => (None, next - flat),
    };
    (region, usize::try_from(room).unwrap_or(usize::MAX).max(1))
}

fn bytes_of<'a>(image: &'a Image, region: &Region) -> Option<&'a [u8]> {
    image.slice(region.start, region.len).ok().flatten()
}
