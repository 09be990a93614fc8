//! What becomes of each release on this device, and why. Pure: reads nothing, writes nothing, knows no clock.
//!
//! ```text
//! is it for this device? ─► is it here already? ─► what brings each component there ─► does something newer replace it?
//!   ─► may it (denied, on trial, old epoch)? ─► may it now (off, wave, battery, window, space)? ─► which ones go now
//! ```
//!
//! The same arguments give the same answer; and once what an answer asks for was carried out, the next one no longer
//! asks for it. A property test tries both on random stores and catalogs.

use crate::memory::Memory;
use crate::policy::Policy;
use crate::source::Catalog;
use crate::view::Verdict;
use siding_image::{Component, Version};
use siding_repo::{Blob, DeviceId, Item, Release};
use siding_slot::{Slot, State};
use std::collections::BTreeSet;

mod code;
mod fit;
mod judge;
pub use code::Code;
pub(crate) use judge::mark;

/// What is true at the moment, beside what the device is told and holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Situation {
    /// The time, in seconds since 1970.
    pub now: u64,
    /// How many minutes local time is ahead of UTC.
    pub offset: i32,
    /// The device's name.
    pub device: DeviceId,
    /// The charge of its battery, in percent, if it has one.
    pub battery: Option<u8>,
    /// Whether it is on mains.
    pub mains: bool,
    /// How many bytes are free in the store, if that is known.
    pub free: Option<u64>,
    /// What tells this start of the device from others.
    pub boot: String,
}

/// Everything that was decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Decisions<'c> {
    /// A decision for each release, newest first.
    pub all: Vec<Decision<'c>>,
    /// Images in use that a release brought which was withdrawn since.
    pub leave: Vec<Leave<'c>>,
}

/// What becomes of a release.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<'c> {
    /// Which.
    pub release: &'c Release,
    /// What it changes here; all of it together or nothing.
    pub changes: Vec<Change<'c>>,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Why, for programs.
    pub code: Code,
    /// Why, for people.
    pub reason: String,
    /// From when on it will be installed by itself, if that is known.
    pub when: Option<u64>,
    /// Whether it may be installed by hand now.
    pub can_install: bool,
    /// What is to be done about it now.
    pub act: Option<Act>,
}

/// A component that a release brings to another image.
#[derive(Clone, Debug, PartialEq)]
pub struct Change<'c> {
    /// The version in use.
    pub from: Version,
    /// What repairs it.
    pub item: &'c Item,
    /// How.
    pub way: Way<'c>,
}

/// How a component gets its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way<'c> {
    /// It lies in this slot, sealed.
    Ready(Slot),
    /// By a patch from an image that the device holds.
    Patch(&'c Blob),
    /// As a whole.
    Full(&'c Blob),
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Bring what is not there yet into slots; do not switch.
    Stage,
    /// That, then switch; restart what must restart only if asked for.
    Switch {
        /// Whether to restart now.
        restart: bool,
    },
}

/// An image in use that is to be left.
#[derive(Clone, Debug, PartialEq)]
pub struct Leave<'c> {
    /// Of which component.
    pub component: Component,
    /// The release that brought it.
    pub release: &'c Release,
    /// Why, in one sentence.
    pub reason: String,
}

/// Decides.
pub fn decide<'c>(
    policy: &Policy,
    state: &State,
    catalog: &'c Catalog,
    situation: &Situation,
    memory: &Memory,
) -> Decisions<'c> {
    let judge = judge::Judge { policy, state, catalog, situation, memory };
    let found: Vec<judge::Found<'c>> = catalog.releases.iter().map(|release| judge.find(release)).collect();
    let mut all: Vec<Decision<'c>> = found.iter().map(|one| judge.decide(one, &found)).collect();
    all.sort_by(|a, b| (b.release.published, &b.release.id).cmp(&(a.release.published, &a.release.id)));
    one_item_for_each(&mut all, memory);
    Decisions { leave: judge.leave(), all }
}

/// Of those that could go now, some share components; then one goes, and the others wait for it. What lies ready keeps
/// its claim, or they would take each other's slots for ever.
fn one_item_for_each(all: &mut [Decision<'_>], memory: &Memory) {
    let mut order: Vec<usize> = (0..all.len()).collect();
    let key = |decision: &Decision<'_>| {
        let release = decision.release;
        (!memory.asked.contains(&release.id), std::cmp::Reverse((release.severity, release.published)))
    };
    order.sort_by_key(|at| all.get(*at).map(key));
    let mut taken = BTreeSet::new();
    for at in order {
        let claims =
            |decision: &&mut Decision<'_>| decision.act.is_some() || decision.verdict == Verdict::Staged;
        let Some(decision) = all.get_mut(at).filter(claims) else { continue };
        let mine: Vec<&Component> = decision.changes.iter().map(|change| &change.item.component).collect();
        if mine.iter().any(|component| taken.contains(*component)) {
            decision.act = None;
            decision.reason = "it follows once another release for the same component is in use".to_owned();
        } else {
            taken.extend(mine.into_iter().cloned());
        }
    }
}

impl<'c> Decisions<'c> {
    /// The decision for a release.
    pub fn of(&self, release: &str) -> Option<&Decision<'c>> {
        self.all.iter().find(|decision| decision.release.id == release)
    }

    /// What is to be done now, the most urgent first.
    pub fn due(&self) -> Vec<&Decision<'c>> {
        let mut due: Vec<&Decision<'c>> = self.all.iter().filter(|decision| decision.act.is_some()).collect();
        due.sort_by_key(|decision| {
            std::cmp::Reverse((decision.release.severity, decision.release.published))
        });
        due
    }
}

impl Decision<'_> {
    /// How many bytes there are to fetch.
    pub fn bytes(&self) -> u64 {
        let blob = |change: &Change<'_>| change.way.blob().map_or(0, |blob| blob.length);
        self.changes.iter().map(blob).fold(0, u64::saturating_add)
    }
}

impl<'c> Way<'c> {
    /// What is to be fetched for it.
    pub fn blob(self) -> Option<&'c Blob> {
        match self {
            Self::Ready(_) => None,
            Self::Patch(blob) | Self::Full(blob) => Some(blob),
        }
    }
}

#[cfg(test)]
mod tests;
