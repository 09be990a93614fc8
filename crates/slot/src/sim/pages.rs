//! Pages in groups, so that a copy of a large file with one change shares all but a group and a page.

use siding_image::{Digest, verity};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// How much is shared and counted as taken; a leaf of the digest.
pub(super) const PAGE: usize = verity::BLOCK;
/// How many pages are in a group.
const GROUP: u64 = 16;

/// The pages of a file that are no holes, by their numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Pages(BTreeMap<u64, Arc<Group>>);

type Group = [Option<Arc<Page>>; GROUP as usize];

#[derive(Clone, Debug)]
pub(super) struct Page {
    bytes: [u8; PAGE],
    /// Taken back by every change.
    leaf: OnceLock<Digest>,
}

impl Pages {
    pub(super) fn get(&self, number: u64) -> Option<&Page> {
        self.0.get(&(number / GROUP))?[(number % GROUP) as usize].as_deref()
    }

    /// Puts bytes into a page, which is one of zeros if there was none.
    pub(super) fn write(&mut self, number: u64, within: usize, bytes: &[u8]) {
        let range = within..within + bytes.len();
        // What is the same stays shared.
        if self.get(number).is_none_or(|page| page.bytes[range.clone()] != *bytes) {
            let group = Arc::make_mut(self.0.entry(number / GROUP).or_default());
            let page = group[(number % GROUP) as usize].get_or_insert_with(|| zeros().clone());
            if page.bytes[range.clone()] != *bytes {
                let page = Arc::make_mut(page);
                page.leaf.take();
                page.bytes[range].copy_from_slice(bytes);
            }
        }
    }

    /// Makes holes of all pages from this one on.
    pub(super) fn truncate(&mut self, number: u64) {
        self.0.split_off(&number.div_ceil(GROUP));
        if let Some(group) = self.0.get_mut(&(number / GROUP)) {
            Arc::make_mut(group)[(number % GROUP) as usize..].fill(None);
        }
    }

    /// The numbers of all pages, in order.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        let numbers = |(group, pages): (&u64, &Arc<Group>)| {
            let first = group * GROUP;
            let pages = pages.clone();
            (0..GROUP).filter(move |page| pages[*page as usize].is_some()).map(move |page| first + page)
        };
        self.0.iter().flat_map(numbers)
    }
}

impl Page {
    pub(super) fn bytes(&self) -> &[u8; PAGE] {
        &self.bytes
    }

    pub(super) fn leaf(&self) -> Digest {
        *self.leaf.get_or_init(|| verity::leaves(&self.bytes)[0])
    }
}

/// The page of zeros that all files share.
pub(super) fn zeros() -> &'static Arc<Page> {
    static ZEROS: OnceLock<Arc<Page>> = OnceLock::new();
    ZEROS.get_or_init(|| Arc::new(Page { bytes: [0; PAGE], leaf: OnceLock::new() }))
}
