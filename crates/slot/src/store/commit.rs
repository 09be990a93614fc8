//! How a change is made: decided whole, written in one record write, then projected and told.

use super::fit::{self, Fitted, fit};
use super::{Store, project};
use crate::builder::Builder;
use crate::checkpoint;
use crate::log::{Log, LogEntry};
use crate::record;
use crate::staging::{Target, freeze, freeze_names};
use crate::state::{Held, Slot};
use crate::step::{Effect, Event, Refusal, steps};
use crate::{Error, Kind, Result};
use siding_image::{Checkpoint, Component, Content, Image, Sink};

impl Store {
    /// Decides all of `events` in order, and makes them true in one record write. Returns what happened; if
    /// that is nothing, nothing was written.
    ///
    /// Once this returned Ok the new state survives a power cut. A cut before that leaves it or the old one.
    pub(crate) fn commit(&mut self, events: &[Event], now: u64) -> Result<Vec<LogEntry>> {
        self.alive()?;
        let (state, effects) = steps(&self.state, events, now)?;
        let entries: Vec<LogEntry> = effects.iter().filter_map(Effect::entry).cloned().collect();
        if effects.is_empty() {
            return Ok(entries);
        }
        let untold = self.untold.iter().flat_map(|(_, entries)| entries);
        let fitted = fit(state, untold.chain(&entries).cloned().collect());
        record::fits(fitted.payload.len())?;
        let done = self.carry_out(fitted, &effects);
        if let Err(error) = &done {
            self.poison.get_or_insert_with(|| error.to_string());
        }
        done.map(|()| entries)
    }

    fn carry_out(&mut self, fitted: Fitted, effects: &[Effect]) -> Result<()> {
        let before = self.record.sequence();
        self.record.write(&fitted.payload)?;
        self.snapshot.state = fitted.state;
        self.untold = vec![(before, fitted.left_out), (self.record.sequence(), fitted.carried)];
        let switched = effects.iter().filter_map(Effect::switched).cloned();
        self.behind.extend(switched);
        self.link()?;
        let discarded = effects.iter().filter_map(Effect::discarded);
        self.clear(discarded.map(|(component, slot)| (component.clone(), slot)).collect());
        self.link()?;
        self.tell()
    }

    /// Removes the files of slots that the record calls empty. Those that cannot be removed hold up nothing but a stage
    /// into their own slot, and a vacuum: no boot, no fall back. They are tried again whenever the store is opened.
    pub(super) fn clear(&mut self, slots: Vec<(Component, Slot)>) {
        for (component, slot) in slots {
            self.uncleared.retain(|(of, at, _)| (of, *at) != (&component, slot));
            if let Err(error) = project::discard(self.disk.as_ref(), &self.layout, &component, slot) {
                self.uncleared.push((component, slot, error));
            }
        }
    }

    /// Lets `current` links follow the record; those that find no room on a full disk stay behind.
    pub(super) fn link(&mut self) -> Result<()> {
        for component in std::mem::take(&mut self.behind) {
            let Some(active) = self.state.get(&component).map(|held| held.active) else { continue };
            let (disk, layout) = (self.disk.as_ref(), &self.layout);
            if !unless_full(project::set_current(disk, layout, &component, active))? {
                self.behind.insert(component);
            }
        }
        Ok(())
    }

    /// Adds to the log what it lacks. A full disk does not undo a fall back: what finds no room is told later, and
    /// the record carries it until then.
    pub(super) fn tell(&mut self) -> Result<()> {
        while let Some((sequence, entries)) = self.untold.first() {
            if !unless_full(self.log.append(*sequence, entries))? {
                return Ok(());
            }
            self.untold.remove(0);
        }
        Ok(())
    }

    /// Commits the beginning of a stage, if the record has room for its seal too, and says into which slot.
    pub(super) fn begin_stage(
        &mut self,
        component: &Component,
        target: &Target,
        retry_denied: bool,
        now: u64,
    ) -> Result<Slot> {
        self.alive()?;
        let events = target.events(component, retry_denied, now);
        let (_, effects) = steps(&self.state, &events, now)?;
        // To begin a stage is to empty one slot, after what was staged before was given up.
        let nowhere = || Refusal::SourceWouldGo { component: component.clone() };
        let (_, slot) = effects.iter().rev().find_map(Effect::discarded).ok_or_else(nowhere)?;
        let seal = Event::Seal { component: component.clone(), slot, image: target.image(now) };
        let all: Vec<Event> = events.iter().cloned().chain([seal]).collect();
        self.room_for(&all, now)?;
        self.commit(&events, now)?;
        match self.uncleared.iter().position(|(of, at, _)| (of, *at) == (component, slot)) {
            Some(kept) => Err(self.uncleared.swap_remove(kept).2),
            None => Ok(slot),
        }
    }

    /// The slot in which an interrupted stage of the same patch can be gone on with, and what it claims to have
    /// done; if the stage is admitted, and the record has room for its seal. The record says already that
    /// the slot holds nothing.
    pub(super) fn resume_stage(
        &mut self,
        component: &Component,
        target: &Target,
        retry_denied: bool,
        now: u64,
    ) -> Result<Option<(Slot, Vec<Checkpoint>)>> {
        self.alive()?;
        steps(&self.state, &target.events(component, retry_denied, now), now)?;
        let Some((slot, claims)) = self.interrupted(component, target) else { return Ok(None) };
        let lift = Vec::from_iter(target.lift(component, retry_denied));
        let seal = Event::Seal { component: component.clone(), slot, image: target.image(now) };
        self.room_for(&lift.iter().cloned().chain([seal]).collect::<Vec<_>>(), now)?;
        self.commit(&lift, now)?;
        Ok(Some((slot, claims)))
    }

    pub(super) fn interrupted(
        &self,
        component: &Component,
        target: &Target,
    ) -> Option<(Slot, Vec<Checkpoint>)> {
        let (work, held) = (target.work()?, self.state.get(component)?);
        let staging = Slot::PATCHED.into_iter().filter(|slot| *held.held(*slot) == Held::Staging);
        let mut claimed = staging.map(|slot| {
            let entries = checkpoint::read(self.disk.as_ref(), &self.layout.checkpoint(component, slot));
            let claims = entries.into_iter().filter(|(of, _)| *of == work).map(|(_, claim)| claim);
            (slot, claims.collect::<Vec<_>>())
        });
        claimed.find(|(_, claims)| !claims.is_empty())
    }

    /// Adds a line to the log that follows from no change of the record; a full disk leaves it out.
    pub(crate) fn tell_at_once(&mut self, entry: LogEntry) -> Result<()> {
        unless_full(self.log.append(Log::NO_RECORD, &[entry])).map(drop)
    }

    /// Whether the record has room for what these events lead to, and for every way on from there that is not
    /// asked whether there is room: switches, trials, and fall backs with empty reasons. A quarter is left for
    /// the reasons.
    pub(super) fn room_for(&self, events: &[Event], now: u64) -> Result<()> {
        const LIMIT: usize = record::CAPACITY / 4 * 3;
        let (state, _) = steps(&self.state, events, now)?;
        let needed = fit::most_needed(state);
        if needed > LIMIT { Err(Error::RecordFull { needed, limit: LIMIT }) } else { Ok(()) }
    }

    /// Writes and freezes the base of a component that the record does not know, or finds it there.
    ///
    /// Once this returned Ok, the base survives a power cut.
    pub(super) fn write_base(&self, component: &Component, source: &Image) -> Result<()> {
        if project::is_frozen(&self.layout.slot(component, Slot::Base)) {
            self.find_base(component, source)?;
        } else {
            self.write_new_base(component, source)?;
        }
        freeze_names(self.disk.as_ref(), &self.layout, component, Slot::Base)?;
        let all = self.layout.components();
        self.disk.flush_directory(&all).map_err(|e| Error::io("flush", &all, e))
    }

    /// A frozen base without a record is what an `init` left that was interrupted at its end, or what is left of a
    /// component whose record rotted. It is never overwritten.
    fn find_base(&self, component: &Component, source: &Image) -> Result<()> {
        let path = self.layout.image(component, Slot::Base);
        let same = Image::open(&path).is_ok_and(|image| image.identity() == source.identity());
        let described = match source.content() {
            Content::Tree(tree) => std::fs::read(self.layout.tree(component, Slot::Base))
                .is_ok_and(|bytes| bytes == tree.encode()),
            Content::File(_) => true,
        };
        let stray = || Error::StrayBase { path: self.layout.slot(component, Slot::Base) };
        (same && described).then_some(()).ok_or_else(stray)
    }

    fn write_new_base(&self, component: &Component, source: &Image) -> Result<()> {
        let (disk, dir) = (self.disk.as_ref(), self.layout.component(component));
        let slot = self.layout.slot(component, Slot::Base);
        // What is here without being in the record is what an interrupted `init` left.
        disk.remove_tree(&dir).map_err(|e| Error::io("clear", &dir, e))?;
        disk.make_directory(&dir, 0o755).map_err(|e| Error::io("make the directory", &dir, e))?;
        disk.make_directory(&slot, 0o700).map_err(|e| Error::io("make the directory", &slot, e))?;
        let path = self.layout.image(component, Slot::Base);
        let mut builder = Builder::on(self.disk.clone(), &path)?;
        builder.begin(source.content(), &[]).map_err(|e| Error::io("write", &path, e))?;
        builder.finish(Some(source))?;
        freeze(disk, &self.layout, component, Slot::Base, Some(source.content()))
    }

    pub(super) fn ready_slot(&self, component: &Component) -> Result<Slot> {
        let held = self.state.require(component)?;
        // One that is not fit is named all the same, so that the refusal says what is wrong with it.
        let unfit =
            || Slot::PATCHED.into_iter().find(|&slot| slot != held.active && held.image(slot).is_some());
        let nothing = || Refusal::NothingReady { component: component.clone() };
        Ok(held.ready().or_else(unfit).ok_or_else(nothing)?)
    }

    /// After an error of the medium this object is of no more use, whichever call met it.
    pub(crate) fn note(&mut self, error: &Error) {
        if error.is_of_the_medium() {
            self.poison.get_or_insert_with(|| error.to_string());
        }
    }

    pub(super) fn alive(&self) -> Result<()> {
        match &self.poison {
            Some(first) => Err(Error::Poisoned { first: first.clone() }),
            None => Ok(()),
        }
    }
}

/// Whether it was done; a full disk only puts it off.
fn unless_full(done: Result<()>) -> Result<bool> {
    match done {
        Err(error) if error.kind() == Kind::NoSpace => Ok(false),
        other => other.map(|()| true),
    }
}

impl Effect {
    fn switched(&self) -> Option<&Component> {
        match self {
            Self::SetCurrent(component, _) => Some(component),
            Self::DiscardSlot(..) | Self::Log(_) => None,
        }
    }

    fn discarded(&self) -> Option<(&Component, Slot)> {
        match self {
            Self::DiscardSlot(component, slot) => Some((component, *slot)),
            Self::SetCurrent(..) | Self::Log(_) => None,
        }
    }

    fn entry(&self) -> Option<&LogEntry> {
        match self {
            Self::Log(entry) => Some(entry),
            Self::SetCurrent(..) | Self::DiscardSlot(..) => None,
        }
    }
}
