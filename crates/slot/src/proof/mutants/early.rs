//! Bugs by which a base that was superseded loses its files too early.

use crate::disk::Disk;
use crate::layout::{Home, Layout};
use crate::sim::SimDisk;
use crate::state::{Slot, State};
use crate::{codec, record};
use siding_image::Component;
use std::io;
use std::path::Path;

/// When: while this is so still.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    RecordUnwritten,
    LinksUnflushed,
    OneCopyOld,
}

impl When {
    /// A copy of the record is about to be written.
    pub(super) fn record_comes(self, below: &SimDisk, path: &Path, copy: &[u8]) -> io::Result<()> {
        let known =
            record::read(below, path).ok().and_then(|newest| state(&newest.payload)).unwrap_or_default();
        let mut coming = State::default();
        record::rewritten(copy, |payload| {
            coming = state(payload).unwrap_or_default();
            None
        });
        for (component, held) in coming.components() {
            let generation = |state: &State| state.get(component).map_or(0, |held| held.generation);
            let is_known = generation(&known) == held.generation;
            if self == (if is_known { Self::OneCopyOld } else { Self::RecordUnwritten }) {
                drop_base_before(below, path, component, held.home(Slot::Base))?;
            }
        }
        Ok(())
    }

    /// The link of a component was moved.
    pub(super) fn link_came(self, below: &SimDisk, link: &Path) -> io::Result<()> {
        let (Self::LinksUnflushed, Ok(target)) = (self, below.read_link(link)) else { return Ok(()) };
        let home = target.parent().and_then(|dir| dir.file_name()?.to_str()?.parse().ok());
        let component = link.file_name().and_then(|name| name.to_str()?.parse::<Component>().ok());
        let (Some(home), Some(component), Some(links)) = (home, component, link.parent()) else {
            return Ok(());
        };
        drop_base_before(below, links, &component, home)
    }
}

fn state(payload: &[u8]) -> Option<State> {
    codec::decode(payload).ok().map(|(state, _)| state)
}

/// Removes the base before this one; `beside` lies in the store's directory.
fn drop_base_before(below: &SimDisk, beside: &Path, component: &Component, home: Home) -> io::Result<()> {
    let before = |generation: u64| generation.checked_sub(1).map(Home::Base);
    let (Home::Base(generation), Some(root)) = (home, beside.parent()) else { return Ok(()) };
    before(generation).map_or(Ok(()), |home| below.remove_tree(&Layout::new(root).slot(component, home)))
}
