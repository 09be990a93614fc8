//! The bytes of a simulated file: pages that are shared until they are written, holes, and digests that are
//! reckoned once.

use super::pages::{PAGE, Page, Pages, zeros};
use siding_image::{Digest, verity};
use std::ops::Range;
use std::sync::OnceLock;

/// What reaches a medium whole, or torn.
pub(super) const SECTOR: u64 = 512;

/// A file's bytes. What is beyond its length in its last page is zeros.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    len: u64,
    pages: Pages,
    /// Taken back by every change.
    digest: OnceLock<Digest>,
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// How many bytes of the medium it takes; a hole takes none.
    pub(super) fn taken(&self) -> u64 {
        (self.pages.numbers().count() * PAGE) as u64
    }

    /// Fills `out` from `offset`; `None` if that is past the end.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> Option<()> {
        let end = offset.checked_add(out.len() as u64).filter(|end| *end <= self.len || out.is_empty())?;
        for (page, within, part) in parts(offset..end) {
            let part = &mut out[part];
            match self.pages.get(page) {
                Some(page) => part.copy_from_slice(&page.bytes()[within..within + part.len()]),
                None => part.fill(0),
            }
        }
        Some(())
    }

    /// Puts `bytes` at `offset`, and makes the file as long as that takes.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        self.digest.take();
        self.len = self.len.max(end);
        for (page, within, part) in parts(offset..end) {
            self.pages.write(page, within, &bytes[part]);
        }
    }

    /// Cuts or grows it; what is new is a hole.
    pub(super) fn set_len(&mut self, len: u64) {
        self.digest.take();
        if len < self.len {
            self.pages.truncate(len.div_ceil(PAGE as u64));
            let (last, within) = (len / PAGE as u64, (len % PAGE as u64) as usize);
            if within > 0 && self.pages.get(last).is_some() {
                self.pages.write(last, within, &[0; PAGE][within..]);
            }
        }
        self.len = len;
    }

    /// Flips the bits of `mask` in the byte at `offset`, if the file has one there.
    pub(super) fn flip(&mut self, offset: u64, mask: u8) {
        if offset < self.len {
            self.digest.take();
            let (page, within) = (offset / PAGE as u64, (offset % PAGE as u64) as usize);
            let byte = self.pages.get(page).map_or(0, |page| page.bytes()[within]);
            self.pages.write(page, within, &[byte ^ mask]);
        }
    }

    /// The runs of data within the first `len` bytes, in order.
    pub(super) fn runs(&self, len: u64) -> Vec<Range<u64>> {
        let end = len.min(self.len);
        let mut runs: Vec<Range<u64>> = Vec::new();
        for page in self.pages.numbers() {
            let (from, to) = (page * PAGE as u64, (page + 1) * PAGE as u64);
            match runs.last_mut() {
                Some(last) if last.end == from => last.end = to,
                _ => runs.push(from..to),
            }
        }
        let clipped = runs.into_iter().map(|run| run.start..run.end.min(end));
        clipped.filter(|run| run.start < run.end).collect()
    }

    /// What an image says of a file with these bytes. Only pages that changed since are hashed.
    pub(super) fn digest(&self) -> Digest {
        *self.digest.get_or_init(|| {
            let mut tree = verity::Merkle::new();
            for page in 0..self.len.div_ceil(PAGE as u64) {
                tree.push(&[self.pages.get(page).map_or_else(|| zeros().leaf(), Page::leaf)]);
            }
            tree.finish(self.len)
        })
    }
}

/// A range of a file, page by page: which page, where in it, and which part of the range.
fn parts(range: Range<u64>) -> impl Iterator<Item = (u64, usize, Range<usize>)> {
    let (start, page) = (range.start, PAGE as u64);
    let pages = if range.is_empty() { 0..0 } else { start / page..range.end.div_ceil(page) };
    pages.map(move |number| {
        let (from, to) = (start.max(number * page), range.end.min((number + 1) * page));
        (number, (from % page) as usize, (from - start) as usize..(to - start) as usize)
    })
}
