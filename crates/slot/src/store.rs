//! The one that writes: carries out what the state machine decides.
//!
//! Every change goes the same way: decide ([`step`]), write the record, then the effects, then the log. Up to
//! the record write nothing has happened; after it everything has, and the effects are repeated whenever the
//! store is next opened. The first input or output error poisons the object: it no longer knows what the
//! medium holds, and every later call says so until the store is opened anew.

use crate::builder::Builder;
use crate::disk::{Disk, Real};
use crate::layout::Layout;
use crate::log::{Log, LogEntry};
use crate::record::{self, Record};
use crate::snapshot::Snapshot;
use crate::staging::{Staging, Target, freeze};
use crate::state::{Held, SealedImage, Slot, State, TrialTerms};
use crate::step::{Effect, Event, Refusal, step};
use crate::{Error, Kind, Result, codec};
use siding_image::{Component, Digest, Image, Sink, Version};
use std::fs::File;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

mod open;
mod project;

/// A store open for writing. Holds its lock until dropped; reads like a [`Snapshot`].
#[derive(Debug)]
pub struct Store {
    snapshot: Snapshot,
    pub(crate) disk: Arc<dyn Disk>,
    record: Record,
    log: Log,
    /// Entries that a full disk kept out of the log, with the record they followed from.
    untold: Vec<(u64, Vec<LogEntry>)>,
    poison: Option<String>,
    _lock: File,
}

impl Deref for Store {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}

/// What [`Store::vacuum`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// How many bytes of disk it freed, as the filesystem counts them (shared blocks count as if they were not).
    pub bytes: u64,
    /// Which slots it emptied.
    pub entries: Vec<LogEntry>,
}

impl Store {
    /// Opens the store at `root`, and makes an empty one there first if there is none.
    ///
    /// Once this returned Ok, the store survives a power cut.
    pub fn create(root: &Path) -> Result<Self> {
        Self::create_on(Arc::new(Real), root)
    }

    /// Opens the store at `root` for writing: takes its lock, makes `current` links agree with the record, and
    /// clears what an interrupted stage left.
    ///
    /// Fails with [`Error::Busy`] if another process has it. What it repairs survives a power cut once this
    /// returned Ok, and is repaired again if not.
    pub fn open(root: &Path) -> Result<Self> {
        Self::open_on(Arc::new(Real), root)
    }

    /// Reads the store at `root` without its lock and without changing anything.
    pub fn view(root: &Path) -> Result<Snapshot> {
        let layout = Layout::new(root);
        open::require_record(&layout)?;
        let newest = record::read(&Real, &layout.record())?;
        let (state, _) = open::decode(&layout, &newest)?;
        Ok(Snapshot { layout, state })
    }

    /// Copies the image at `from` into the base of a new component and makes it active.
    ///
    /// Once this returned Ok, the component and its base survive a power cut. A cut or an error before that
    /// leaves a store without the component.
    pub fn init(
        &mut self,
        component: &Component,
        version: &Version,
        epoch: u64,
        from: &Path,
        now: u64,
    ) -> Result<Vec<LogEntry>> {
        self.alive()?;
        if self.state.get(component).is_some() {
            return Err(Refusal::Exists { component: component.clone() }.into());
        }
        let source = Image::open(from)?;
        let image = Target::new(version.clone(), source.identity(), epoch).image(now);
        let event = Event::Init { component: component.clone(), image };
        self.room_for(std::slice::from_ref(&event), now)?;
        self.write_base(component, &source)?;
        self.commit(&[event], now)
    }

    /// Durably forgets what the inactive slot holds, and opens it for writing.
    ///
    /// With `retry_denied` an image that was rolled back before may be staged again. Once this returned Ok, it
    /// survives a power cut that the slot holds nothing; what is written to the [`Staging`] survives none until
    /// it is sealed.
    pub fn stage(
        &mut self,
        component: &Component,
        target: &Target,
        retry_denied: bool,
        now: u64,
    ) -> Result<Staging<'_>> {
        let (image, component) = (target.image(now), component.clone());
        let (source, digest) = (target.source, target.identity.digest);
        let lift = retry_denied.then(|| Event::Lift { component: component.clone(), digest });
        let begin = Event::BeginStage { component: component.clone(), image: image.clone(), source };
        let events: Vec<Event> = lift.into_iter().chain([begin]).collect();
        let entries = self.begin_stage(&component, &image, &events, now)?;
        let slot = entries.iter().rev().find_map(|entry| entry.slot).unwrap_or(Slot::A);
        let dir = self.layout.slot(&component, slot);
        self.disk.make_directory(&dir, 0o700).map_err(|e| Error::io("make the directory", &dir, e))?;
        let builder = Builder::on(self.disk.clone(), &self.layout.image(&component, slot))?;
        Ok(Staging { store: self, builder, component, slot, image, now })
    }

    /// Makes the sealed images of all these components active in one record write: for each the one that
    /// [`ready`](crate::ComponentState::ready) names.
    ///
    /// Once this returned Ok the switch survives a power cut. A cut before that leaves all of it or none.
    pub fn switch(
        &mut self,
        set: &[Component],
        trial: Option<TrialTerms>,
        now: u64,
    ) -> Result<Vec<LogEntry>> {
        let to = set.iter().map(|component| Ok((component.clone(), self.ready_slot(component)?)));
        let to = to.collect::<Result<Vec<_>>>()?;
        self.switch_to(&to, trial, now)
    }

    /// As [`switch`](Self::switch), with the slots named.
    pub fn switch_to(
        &mut self,
        to: &[(Component, Slot)],
        trial: Option<TrialTerms>,
        now: u64,
    ) -> Result<Vec<LogEntry>> {
        self.commit(&[Event::Switch { to: to.to_vec(), trial }], now)
    }

    /// What the start of a device calls, once, before components are used: spends a try of each trial, or ends
    /// the trial and falls back. Writes nothing if nothing is on trial.
    ///
    /// Once this returned Ok the try is spent, or the fall back done, whatever the power does.
    pub fn boot(&mut self, now: u64) -> Result<Vec<LogEntry>> {
        self.commit(&[Event::Boot], now)
    }

    /// Ends the trials of these components, and raises their floors. What is not on trial is left as it is, so
    /// confirming twice is confirming once.
    ///
    /// Once this returned Ok it survives a power cut. A cut before that leaves all of it or none.
    pub fn confirm(&mut self, set: &[Component], now: u64) -> Result<Vec<LogEntry>> {
        self.commit(&[Event::Confirm { set: set.to_vec() }], now)
    }

    /// Goes back to each component's previous slot, or its base, and denies the image it leaves.
    ///
    /// Once this returned Ok it survives a power cut. A cut before that leaves all of it or none.
    pub fn rollback(&mut self, set: &[Component], reason: &str, now: u64) -> Result<Vec<LogEntry>> {
        self.commit(&[Event::Rollback { set: set.to_vec(), reason: reason.to_owned() }], now)
    }

    /// Goes back to the base of each component, and keeps the image it leaves for another time.
    ///
    /// Once this returned Ok it survives a power cut. A cut before that leaves all of it or none.
    pub fn remove(&mut self, set: &[Component], now: u64) -> Result<Vec<LogEntry>> {
        self.commit(&[Event::Remove { set: set.to_vec() }], now)
    }

    /// Lets an image that was rolled back be tried again.
    ///
    /// Once this returned Ok it survives a power cut.
    pub fn lift(&mut self, component: &Component, digest: &Digest, now: u64) -> Result<Vec<LogEntry>> {
        self.commit(&[Event::Lift { component: component.clone(), digest: *digest }], now)
    }

    /// Empties inactive slots that hold nothing sealed, a denied image, or one older than the active one that
    /// is not its way back; and removes what an interrupted `init` left.
    ///
    /// Once this returned Ok it survives a power cut that the slots are empty; their files are gone, or go when
    /// the store is next opened.
    pub fn vacuum(&mut self, now: u64) -> Result<Freed> {
        let (_, effects) = step(&self.state, &Event::Vacuum, now)?;
        let mut bytes = 0_u64;
        for effect in &effects {
            if let Effect::DiscardSlot(component, slot) = effect {
                bytes = bytes.saturating_add(project::disk_usage(&self.layout.slot(component, *slot))?);
            }
        }
        let entries = self.commit(&[Event::Vacuum], now)?;
        let leftovers = self.remove_leftovers()?;
        Ok(Freed { bytes: bytes.saturating_add(leftovers), entries })
    }

    // ---- how

    /// Decides all of `events` in order, and makes them true in one record write. Returns what happened; if
    /// that is nothing, nothing was written.
    ///
    /// Once this returned Ok the new state survives a power cut. A cut before that leaves it or the old one.
    pub(crate) fn commit(&mut self, events: &[Event], now: u64) -> Result<Vec<LogEntry>> {
        self.alive()?;
        let (state, effects) = decide(&self.state, events, now)?;
        let entries: Vec<LogEntry> = effects.iter().filter_map(Effect::entry).cloned().collect();
        if effects.is_empty() {
            return Ok(entries);
        }
        let payload = codec::encode(&state, &entries);
        record::fits(payload.len())?;
        let done = self.carry_out(state, &payload, &effects, &entries);
        if let Err(error) = &done {
            self.poison = Some(error.to_string());
        }
        done.map(|()| entries)
    }

    fn carry_out(
        &mut self,
        state: State,
        payload: &[u8],
        effects: &[Effect],
        entries: &[LogEntry],
    ) -> Result<()> {
        self.record.write(payload)?;
        self.snapshot.state = state;
        effects.iter().try_for_each(|effect| self.project(effect))?;
        self.tell(entries)
    }

    fn project(&self, effect: &Effect) -> Result<()> {
        let (disk, layout) = (self.disk.as_ref(), &self.layout);
        match effect {
            Effect::SetCurrent(component, slot) => project::set_current(disk, layout, component, *slot),
            Effect::DiscardSlot(component, slot) => project::discard(disk, layout, component, *slot),
            Effect::Log(_) => Ok(()),
        }
    }

    /// Adds to the log. A full disk does not undo a fall back: what finds no room is told with the next entry,
    /// and the record carries its own until then.
    fn tell(&mut self, entries: &[LogEntry]) -> Result<()> {
        self.untold.push((self.record.sequence(), entries.to_vec()));
        while let Some((sequence, entries)) = self.untold.first() {
            match self.log.append(*sequence, entries) {
                Err(error) if error.kind() == Kind::NoSpace => return Ok(()),
                other => other?,
            }
            self.untold.remove(0);
        }
        Ok(())
    }

    fn begin_stage(
        &mut self,
        component: &Component,
        image: &SealedImage,
        events: &[Event],
        now: u64,
    ) -> Result<Vec<LogEntry>> {
        self.alive()?;
        let (state, _) = decide(&self.state, events, now)?;
        let staging = Slot::PATCHED.into_iter().find(|slot| {
            state.get(component).is_some_and(|component| *component.held(*slot) == Held::Staging)
        });
        let seal =
            staging.map(|slot| Event::Seal { component: component.clone(), slot, image: image.clone() });
        let all: Vec<Event> = events.iter().cloned().chain(seal).collect();
        self.room_for(&all, now)?;
        self.commit(events, now)
    }

    /// Whether the record has room for what these events lead to, and a quarter to spare: that is for trials,
    /// denials and reasons, so that no fall back ever finds the record full.
    fn room_for(&self, events: &[Event], now: u64) -> Result<()> {
        const LIMIT: usize = record::CAPACITY / 4 * 3;
        let (state, _) = decide(&self.state, events, now)?;
        let needed = codec::encode(&state, &[]).len();
        if needed > LIMIT { Err(Error::RecordFull { needed, limit: LIMIT }) } else { Ok(()) }
    }

    fn write_base(&self, component: &Component, source: &Image) -> Result<()> {
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
        freeze(disk, &self.layout, component, Slot::Base, Some(source.content()))?;
        let all = self.layout.components();
        disk.flush_directory(&all).map_err(|e| Error::io("flush", &all, e))
    }

    fn ready_slot(&self, component: &Component) -> Result<Slot> {
        let held = self.state.require(component)?;
        // One that is not fit is named all the same, so that the refusal says what is wrong with it.
        let unfit =
            || Slot::PATCHED.into_iter().find(|&slot| slot != held.active && held.image(slot).is_some());
        let nothing = || Refusal::NothingReady { component: component.clone() };
        Ok(held.ready().or_else(unfit).ok_or_else(nothing)?)
    }

    fn alive(&self) -> Result<()> {
        match &self.poison {
            Some(first) => Err(Error::Poisoned { first: first.clone() }),
            None => Ok(()),
        }
    }
}

/// Several events, one after the other.
fn decide(state: &State, events: &[Event], now: u64) -> Result<(State, Vec<Effect>), Refusal> {
    events.iter().try_fold((state.clone(), Vec::new()), |(state, mut effects), event| {
        let (state, more) = step(&state, event, now)?;
        effects.extend(more);
        Ok((state, effects))
    })
}

impl Effect {
    fn entry(&self) -> Option<&LogEntry> {
        match self {
            Self::Log(entry) => Some(entry),
            Self::SetCurrent(..) | Self::DiscardSlot(..) => None,
        }
    }
}

#[cfg(test)]
mod tests;
