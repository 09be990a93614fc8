//! How a change is made: decided whole, written in one record write, then projected and told.

use super::fit::{self, Fitted, fit};
use super::{Store, places, project};
use crate::checkpoint;
use crate::layout::{Home, Layout};
use crate::log::{LogEntry, Numbered, Tail};
use crate::staging::Target;
use crate::state::{Held, Slot, State};
use crate::step::{Effect, Event, Refusal, steps};
use crate::{Error, Kind, Result, Trouble, codec, record};
use siding_image::{Checkpoint, Component};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

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
        self.make_room_to_tell();
        let fitted = self.fitted(state, &entries);
        let done = record::fits(fitted.payload.len()).and_then(|()| {
            let settles = fitted.left_out || !events.iter().all(Event::is_quick);
            self.carry_out(fitted, &entries, &effects)?;
            if settles {
                self.flush_links()?;
                self.settle();
            }
            Ok(())
        });
        if let Err(error) = &done
            && !matches!(error, Error::RecordFull { .. })
        {
            self.poison.get_or_insert_with(|| error.to_string());
        }
        done.map(|()| entries)
    }

    /// As [`commit`](Self::commit), for what somebody asked for: refused if it leads to an image that is gone.
    pub(super) fn go_to_what_is_there(&mut self, event: Event, now: u64) -> Result<Vec<LogEntry>> {
        self.alive()?;
        for (component, slot) in self.leads_to(&event, now)? {
            if let Some(what) = self.gone(&component, slot) {
                let image = self.state.get(&component).and_then(|held| held.image(slot));
                let version = image.map_or_else(String::new, |image| image.version.to_string());
                return Err(Error::NothingThere { component, slot, version, what });
            }
        }
        self.commit(&[event], now)
    }

    /// As [`commit`](Self::commit), for what may end trials by itself and is never refused: where the previous slot is
    /// gone and the base is there, it is the base that is gone back to.
    pub(super) fn leave(&mut self, event: Event, now: u64) -> Result<Vec<LogEntry>> {
        self.alive()?;
        let mut events = Vec::new();
        for (component, slot) in self.leads_to(&event, now)? {
            let has_base = self.state.get(&component).is_some_and(|held| held.image(Slot::Base).is_some());
            if slot == Slot::Base || !has_base || self.gone(&component, Slot::Base).is_some() {
                continue;
            }
            if let Some(what) = self.gone(&component, slot) {
                let reason = format!("its image is gone: {what}");
                events.push(Event::Condemn { component, slot, reason });
            }
        }
        events.push(event);
        self.commit(&events, now)
    }

    /// The slots that an event makes active.
    fn leads_to(&self, event: &Event, now: u64) -> Result<Vec<(Component, Slot)>> {
        let (next, _) = steps(&self.state, std::slice::from_ref(event), now)?;
        let active = |component| self.state.get(component).map(|held| held.active);
        let moved = next.components().filter(|(component, held)| active(component) != Some(held.active));
        Ok(moved.map(|(component, held)| (component.clone(), held.active)).collect())
    }

    /// The change as the record can hold it: with the new entries, and those before that the log may lack.
    fn fitted(&self, state: State, entries: &[LogEntry]) -> Fitted {
        let mut tail = self.tail.clone();
        tail.entries.extend(self.numbered(entries));
        fit(state, tail)
    }

    /// The entries of the next record.
    fn numbered(&self, entries: &[LogEntry]) -> impl Iterator<Item = Numbered> {
        let sequence = self.record.sequence().saturating_add(1);
        entries.iter().map(move |entry| Numbered { sequence, entry: entry.clone() })
    }

    fn carry_out(&mut self, fitted: Fitted, entries: &[LogEntry], effects: &[Effect]) -> Result<()> {
        let new: Vec<Numbered> = self.numbered(entries).collect();
        self.record.write(&fitted.payload)?;
        self.snapshot.state = fitted.state;
        self.snapshot.tail = fitted.tail;
        self.untold.extend(new);
        let switched = effects.iter().filter_map(Effect::switched).cloned();
        self.behind.extend(switched);
        self.link();
        let discarded = effects.iter().filter_map(Effect::discarded);
        let discarded: Vec<_> =
            discarded.map(|(component, slot)| (component.clone(), self.home(component, slot))).collect();
        if effects.iter().any(|effect| matches!(effect, Effect::DiscardBases(_))) {
            // What was in use until now stays until all that follows the record has followed it.
            self.unswept = true;
        } else if !discarded.is_empty() {
            self.clear(discarded)?;
            self.link();
        }
        self.tell();
        Ok(())
    }

    /// Makes everything in the store agree with the record: links, slots that it calls empty, and bases that it does not
    /// name, which were superseded, or were to come when the power went.
    ///
    /// Once this returned Ok, links survive a power cut. What is removed goes the next time, if the power brings it back.
    pub(super) fn sweep(&mut self) -> Result<()> {
        self.link();
        let (mut slots, mut bases) = (Vec::new(), Vec::new());
        self.uncleared.retain(|(.., home, _)| !matches!(home, Home::Base(_)));
        for (component, held) in self.snapshot.state.components() {
            let empty = Slot::PATCHED.into_iter().filter(|slot| *held.held(*slot) == Held::Empty);
            slots.extend(empty.map(|slot| (component.clone(), held.home(slot))));
            if held.places.is_some() {
                continue;
            }
            let named = held.home(Slot::Base);
            match project::bases(self.snapshot.disk.as_ref(), &self.snapshot.layout, component) {
                Ok(there) => {
                    let others = there.into_iter().filter(|home| *home != named);
                    bases.extend(others.map(|home| (component.clone(), home)));
                }
                // What may be there is looked for again with the next opening.
                Err(error) => self.uncleared.push((component.clone(), named, error)),
            }
        }
        if !bases.is_empty() {
            self.flush_all_links()?;
            self.say_again()?;
        }
        self.clear(slots.into_iter().chain(bases).collect())?;
        self.link();
        self.flush_links()
    }

    /// Writes the record once more as it is. If one of its copies rots, or cannot be read for a while, the other one
    /// then names the same bases: none that is removed next.
    ///
    /// Once this returned Ok, both copies survive a power cut. A cut before that leaves the one there was.
    fn say_again(&mut self) -> Result<()> {
        self.record.write(&codec::encode(&self.state, &self.tail))
    }

    /// Removes the files of slots that the record calls empty, and of bases that it does not name, once links are sure to
    /// lead elsewhere: not even after a cut does one lead to what is gone.
    ///
    /// Those that cannot be removed hold up nothing but a stage into their own slot, and a vacuum: no boot, no fall
    /// back. They are tried again whenever the store is opened.
    fn clear(&mut self, mut homes: Vec<(Component, Home)>) -> Result<()> {
        let disk = self.disk.clone();
        self.uncleared
            .retain(|(of, at, _)| !homes.iter().any(|(component, home)| (component, home) == (of, at)));
        homes.retain(|(component, home)| !matches!(disk.find(&self.layout.slot(component, *home)), Ok(None)));
        if !homes.is_empty() {
            self.flush_all_links()?;
        }
        for (component, home) in homes {
            if let Some(error) = self.leads_there(&component, home) {
                self.uncleared.push((component, home, error));
            } else if let Err(error) = project::discard(disk.as_ref(), &self.layout, &component, home) {
                self.uncleared.push((component, home, error));
            }
        }
        Ok(())
    }

    /// Lets `current` links follow the record, without a flush; those that cannot stay behind. A full disk is one reason.
    /// Any other is told ([`Snapshot::troubles`](crate::Snapshot::troubles)), and holds up no other link.
    pub(super) fn link(&mut self) {
        self.snapshot.troubles.retain(|trouble| trouble.component.is_none());
        for component in std::mem::take(&mut self.behind) {
            let Some(wanted) = self.current_target(&component) else { continue };
            let link = self.layout.current(&component);
            match project::set_current(self.disk.as_ref(), &link, &wanted) {
                Ok(set) => self.links_unflushed |= set,
                Err(error) => {
                    if error.kind() == Kind::NoSpace {
                        // It may be gone to make room for itself.
                        self.links_unflushed = true;
                    } else {
                        let what = error.to_string();
                        self.snapshot.troubles.push(Trouble { component: Some(component.clone()), what });
                    }
                    self.behind.insert(component);
                }
            }
        }
    }

    /// Why the files there must stay for now: the link of the component could not be moved, and may lead to them.
    fn leads_there(&self, component: &Component, home: Home) -> Option<Error> {
        self.stuck_at(component, &Layout::current_target(component, home))
            .then(|| Error::io("clear", &self.layout.slot(component, home), leads_there()))
    }

    /// Whether the link of the component could not be moved, and may lead there.
    fn stuck_at(&self, component: &Component, there: &Path) -> bool {
        self.behind.contains(component)
            && match self.disk.read_link(&self.layout.current(component)) {
                Ok(target) => target == there,
                // What is no link leads to nothing of ours.
                Err(error) => !matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::InvalidInput | ErrorKind::NotADirectory
                ),
            }
    }

    /// Once this returned Ok, the links that were changed survive a power cut: one flush for all of them.
    pub(super) fn flush_links(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.links_unflushed) {
            return Ok(());
        }
        let dir = self.layout.links();
        match self.disk.flush_directory(&dir).map_err(|e| (e.kind(), Error::io("flush", &dir, e))) {
            // Where there is no directory there is no link.
            Err((ErrorKind::NotFound | ErrorKind::NotADirectory, error)) => {
                let trouble = Trouble { component: None, what: error.to_string() };
                if !self.snapshot.troubles.contains(&trouble) {
                    self.snapshot.troubles.push(trouble);
                }
            }
            other => other.map_err(|(_, error)| error)?,
        }
        self.links_unsure = false;
        Ok(())
    }

    /// Once this returned Ok, so do those that an earlier process moved, which then died.
    fn flush_all_links(&mut self) -> Result<()> {
        self.links_unflushed |= self.links_unsure;
        self.flush_links()
    }

    /// What the link of a component is to say.
    fn current_target(&self, component: &Component) -> Option<PathBuf> {
        let held = self.state.get(component)?;
        let in_store = || Layout::current_target(component, held.home(held.active));
        Some(held.place(held.active).map_or_else(in_store, Path::to_owned))
    }

    /// Adds to the log what it lacks, without a flush. A full disk does not undo a fall back, nor does a log that cannot be
    /// written: what finds no room is told later, and the record carries it until then.
    pub(super) fn tell(&mut self) {
        let Some(log) = self.log.as_mut().filter(|_| !self.untold.is_empty()) else { return };
        match log.append(&self.untold) {
            Ok(()) => self.untold.clear(),
            Err(error) if error.kind() == Kind::NoSpace => {}
            Err(error) => self.lose_log(&error),
        }
    }

    /// After an error nobody knows what the log's end holds. What it may lack is told again from the record.
    fn lose_log(&mut self, error: &Error) {
        self.log = None;
        self.untold.clone_from(&self.snapshot.tail.entries);
        self.snapshot.no_log(error);
    }

    /// Before a change: if the record carries much of the log already, the log is flushed instead, so that a change
    /// stays one small write and no entry is left out of both.
    fn make_room_to_tell(&mut self) {
        /// More than a switch and what follows it up to the next stage need, for a few components.
        const MOST: usize = 16;
        if self.tail.entries.len() > MOST {
            self.settle();
        }
    }

    /// Flushes the log. What it has then, the next record need not carry; what could not be flushed it does.
    fn settle(&mut self) {
        self.tell();
        let Some(log) = self.log.as_mut() else { return };
        match log.flush() {
            Ok(()) => {
                let after = log.sure();
                self.snapshot.tail = Tail { after, entries: self.untold.clone() };
            }
            Err(error) if error.kind() == Kind::NoSpace => {
                // What was not flushed is gone from the log; the record still has it.
                let gone = self.tail.entries.iter().filter(|told| !self.untold.contains(told));
                let gone: Vec<Numbered> = gone.cloned().collect();
                self.untold.splice(..0, gone);
            }
            Err(error) => self.lose_log(&error),
        }
    }

    /// Commits the beginning of a stage, if the record has room for its seal too, and says into which slot: one that
    /// cannot be emptied only if there is no other.
    pub(super) fn begin_stage(
        &mut self,
        component: &Component,
        target: &Target,
        retry_denied: bool,
        now: u64,
    ) -> Result<Slot> {
        let slot = self.begin_stage_once(component, target, retry_denied, now)?;
        if self.uncleared_slots(component).contains(&slot) {
            // Now it is known that it cannot be emptied, which another one may be.
            let other = self.begin_stage_once(component, target, retry_denied, now)?;
            let home = self.home(component, other);
            return match self.uncleared.iter().position(|(of, at, _)| (of, *at) == (component, home)) {
                Some(kept) => Err(self.uncleared.swap_remove(kept).2),
                None => Ok(other),
            };
        }
        Ok(slot)
    }

    fn begin_stage_once(
        &mut self,
        component: &Component,
        target: &Target,
        retry_denied: bool,
        now: u64,
    ) -> Result<Slot> {
        self.alive()?;
        let events = target.events(component, retry_denied, &self.uncleared_slots(component), now);
        let (_, effects) = steps(&self.state, &events, now)?;
        // To begin a stage is to empty one slot, after what was staged before was given up.
        let nowhere = || Refusal::SourceWouldGo { component: component.clone() };
        let (_, slot) = effects.iter().rev().find_map(Effect::discarded).ok_or_else(nowhere)?;
        let seal = Event::Seal { component: component.clone(), slot, image: target.image(now) };
        let all: Vec<Event> = events.iter().cloned().chain([seal]).collect();
        self.room_for(&all, now)?;
        self.may_be_written(component, slot)?;
        self.commit(&events, now)?;
        Ok(slot)
    }

    /// The slots of a component that the record calls empty, and whose files could not be removed.
    fn uncleared_slots(&self, component: &Component) -> Vec<Slot> {
        let is_kept = |slot: &Slot| {
            let home = self.home(component, *slot);
            self.uncleared.iter().any(|(of, at, _)| (of, *at) == (component, home))
        };
        Slot::PATCHED.into_iter().filter(is_kept).collect()
    }

    /// Before the record forgets what a slot holds: a device must be there, and nobody else's, and a link that could not be
    /// moved must not lead there. Writes nothing.
    fn may_be_written(&self, component: &Component, slot: Slot) -> Result<()> {
        let Some(device) = self.state.require(component)?.place(slot) else { return Ok(()) };
        match self.stuck_at(component, device) {
            true => Err(Error::io("write", device, leads_there())),
            false => places::alone(self.disk.as_ref(), device),
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
        steps(&self.state, &target.events(component, retry_denied, &[], now), now)?;
        let Some((slot, claims)) = self.interrupted(component, target) else { return Ok(None) };
        let lift = Vec::from_iter(target.lift(component, retry_denied));
        let seal = Event::Seal { component: component.clone(), slot, image: target.image(now) };
        self.room_for(&lift.iter().cloned().chain([seal]).collect::<Vec<_>>(), now)?;
        self.may_be_written(component, slot)?;
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
            let path = self.layout.checkpoint(component, held.home(slot));
            let entries = checkpoint::read(self.disk.as_ref(), &path);
            let claims = entries.into_iter().filter(|(of, _)| *of == work).map(|(_, claim)| claim);
            (slot, claims.collect::<Vec<_>>())
        });
        claimed.find(|(_, claims)| !claims.is_empty())
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

fn leads_there() -> io::Error {
    io::Error::other("its link still leads there, and could not be moved")
}

impl Event {
    /// Whether it only chooses between images that are there. Then the log is flushed with a later change, since the
    /// record carries its end until then; the others flush anyway, and more.
    fn is_quick(&self) -> bool {
        match self {
            Self::Switch { .. }
            | Self::Boot { .. }
            | Self::HealthFailed { .. }
            | Self::Deadline
            | Self::Confirm { .. }
            | Self::Rollback { .. }
            | Self::Remove { .. }
            | Self::Lift { .. } => true,
            Self::Init { .. }
            | Self::InitPlaces { .. }
            | Self::Supersede { .. }
            | Self::Mend { .. }
            | Self::BeginStage { .. }
            | Self::GoOn { .. }
            | Self::Abandon { .. }
            | Self::Seal { .. }
            | Self::Condemn { .. }
            | Self::Vacuum => false,
        }
    }
}

impl Effect {
    fn switched(&self) -> Option<&Component> {
        match self {
            Self::SetCurrent(component, _) => Some(component),
            Self::DiscardSlot(..) | Self::DiscardBases(_) | Self::Log(_) => None,
        }
    }

    fn discarded(&self) -> Option<(&Component, Slot)> {
        match self {
            Self::DiscardSlot(component, slot) => Some((component, *slot)),
            Self::SetCurrent(..) | Self::DiscardBases(_) | Self::Log(_) => None,
        }
    }

    fn entry(&self) -> Option<&LogEntry> {
        match self {
            Self::Log(entry) => Some(entry),
            Self::SetCurrent(..) | Self::DiscardSlot(..) | Self::DiscardBases(_) => None,
        }
    }
}
