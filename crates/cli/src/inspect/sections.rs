//! The names of the old image's sections, by the headers of its programs. A patch does not carry them.

use crate::failure::Failure;
use siding_image::Image;
use siding_predict::{Model, Region};
use std::ops::Range;

/// Which sections lie where in the source's flat space, in order.
#[derive(Default)]
pub(super) struct Sections(Vec<(Range<u64>, String)>);

impl Sections {
    /// Those of all files in which the model has regions.
    pub(super) fn of(old: &Image, model: &Model) -> Result<Self, Failure> {
        let mut all = Vec::new();
        for blob in old.blobs() {
            let end = blob.start + blob.content.size;
            if model.around(blob.start).is_ok() || model.around(blob.start).is_err_and(|next| next < end) {
                all.extend(of_file(blob.bytes()?, blob.start));
            }
        }
        all.sort_by_key(|(range, _)| range.start);
        Ok(Self(all))
    }

    /// The names of those that a region holds, the largest first: neighbours of one kind are one region.
    pub(super) fn names(&self, region: &Region) -> Vec<&str> {
        let (start, end) = (region.start, region.start + region.len);
        let first = self.0.partition_point(|(range, _)| range.end <= start);
        let inside = self.0.iter().skip(first).take_while(|(range, _)| range.start < end);
        let mut inside: Vec<_> = inside.collect();
        inside.sort_by_key(|(range, _)| std::cmp::Reverse(range.end - range.start));
        inside.into_iter().map(|(_, name)| name.as_str()).collect()
    }
}

/// The sections of a file that starts at `start`; none of what is no program.
#[cfg(feature = "make")]
fn of_file(bytes: &[u8], start: u64) -> Vec<(Range<u64>, String)> {
    use object::read::{Object, ObjectSection};
    let Ok(file) = object::File::parse(bytes) else { return Vec::new() };
    let named = |section: object::Section<'_, '_>| {
        let (offset, len) = section.file_range().filter(|(_, len)| *len > 0)?;
        let end = offset.checked_add(len).filter(|end| *end <= bytes.len() as u64)?;
        let name = section.name().ok().filter(|name| !name.is_empty())?;
        Some((start + offset..start + end, super::show(name.as_bytes())))
    };
    file.sections().filter_map(named).collect()
}

/// A device's build reads no headers.
#[cfg(not(feature = "make"))]
fn of_file(_bytes: &[u8], _start: u64) -> Vec<(Range<u64>, String)> {
    Vec::new()
}
