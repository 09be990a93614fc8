//! The one that writes: carries out what the state machine decides.
//!
//! Every change goes the same way: decide ([`step`]), write the record, then the effects, then the log. Up to
//! the record write nothing has happened; after it everything has, and the effects are repeated whenever the
//! store is next opened. A full disk holds up neither: the record has its place, and a link or a log line that
//! finds no room follows with the next change, or when the store is next opened. The first input or output error poisons the object: it no longer knows what the
//! medium holds, and every later call says so until the store is opened anew.

use crate::builder::Builder;
use crate::checkpoint::Notes;
use crate::disk::{Attribute, Lock, Real};
use crate::layout::Home;
use crate::log::{Log, LogEntry, Numbered};
use crate::record::Record;
use crate::snapshot::Snapshot;
use crate::staging::{Staging, Target};
use crate::state::{Booted, Places, Slot, TrialTerms};
use crate::step::{Effect, Event, Refusal, step};
use crate::{Error, Result};
use siding_image::{Checkpoint, Component, Digest, Image, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

mod base;
mod commit;
mod fit;
mod open;
mod places;
mod project;

/// A store open for writing. Holds its lock until dropped; reads like a [`Snapshot`].
#[derive(Debug)]
pub struct Store {
    snapshot: Snapshot,
    record: Record,
    /// `None` once it could not be opened or written: then the record carries what it lacks.
    log: Option<Log>,
    /// Entries that the log does not have yet, oldest first: those that are on their way there, and those that a full
    /// disk has kept out of it.
    untold: Vec<Numbered>,
    /// Components whose `current` could not be made to follow the record so far.
    behind: BTreeSet<Component>,
    /// Whether links were changed since they were last flushed.
    links_unflushed: bool,
    /// Whether an earlier process may have left links that it did not flush.
    links_unsure: bool,
    /// Slots that the record calls empty, and bases that it does not name, whose files could not be removed, with why.
    uncleared: Vec<(Component, Home, Error)>,
    /// Whether a base was superseded, or one was written to be: what is not used any more is still there.
    unswept: bool,
    poison: Option<String>,
    _lock: Box<dyn Lock>,
}

impl Deref for Store {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}

/// What [`Store::vacuum`] did.
#[derive(Debug, Default)]
pub struct Freed {
    /// How many bytes of disk it freed, as the filesystem counts them (shared blocks count as if they were not).
    pub bytes: u64,
    /// Which slots it emptied.
    pub entries: Vec<LogEntry>,
    /// Directories that were not any component's that the record knows, and that it removed.
    pub removed: Vec<PathBuf>,
    /// Directories of components that the record does not know, and that it left because each holds a whole base.
    pub kept: Vec<PathBuf>,
    /// What could not be removed, and why. It is tried again by the next vacuum.
    pub failed: Vec<Error>,
}

impl Freed {
    /// Itself, if nothing failed; else the first that did.
    pub fn all(mut self) -> Result<Self> {
        if self.failed.is_empty() { Ok(self) } else { Err(self.failed.swap_remove(0)) }
    }
}

impl Store {
    /// Opens the store at `root`, and makes an empty one there first if there is none.
    ///
    /// Once this returned Ok, the store survives a power cut.
    pub fn create(root: &Path) -> Result<Self> {
        Self::create_on(Arc::new(Real), root)
    }

    /// Opens the store at `root` for writing: takes its lock, makes `current` links agree with the record, and
    /// clears what an interrupted stage left, unless it can be gone on with.
    ///
    /// Fails with [`Error::Busy`] if another process has it. What it repairs survives a power cut once this
    /// returned Ok, and is repaired again if not.
    pub fn open(root: &Path) -> Result<Self> {
        Self::open_on(Arc::new(Real), root)
    }

    /// As [`open`](Self::open), but while another process has the store it tries again, for up to `wait`.
    pub fn open_patiently(root: &Path, wait: Duration) -> Result<Self> {
        const POLL: Duration = Duration::from_millis(50);
        let begun = Instant::now();
        loop {
            let left = wait.saturating_sub(begun.elapsed());
            match Self::open(root) {
                Err(Error::Busy { .. }) if !left.is_zero() => std::thread::sleep(left.min(POLL)),
                other => return other,
            }
        }
    }

    /// Reads the store at `root` without its lock and without changing anything.
    pub fn view(root: &Path) -> Result<Snapshot> {
        Self::view_on(Arc::new(Real), root)
    }

    /// Copies the image at `from` into the base of a new component and makes it active.
    ///
    /// A whole base that lies there without being in the record is taken as it is if it is this image, and else
    /// refused with [`Error::StrayBase`]: it may be all that is left of a component.
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
        self.init_from(component, version, epoch, &Image::open(from)?, now)
    }

    pub(crate) fn init_from(
        &mut self,
        component: &Component,
        version: &Version,
        epoch: u64,
        source: &Image,
        now: u64,
    ) -> Result<Vec<LogEntry>> {
        let image = Target::new(version.clone(), source.identity(), epoch).image(now);
        let event = Event::Init { component: component.clone(), image };
        self.room_for(std::slice::from_ref(&event), now)?;
        self.write_base(component, source).inspect_err(|error| self.note(error))?;
        self.commit(&[event], now)
    }

    /// Copies the image at `from` into a place of its own, and makes it the component's base and active, in place of the base
    /// before and of everything that was patched on that: sealed images, what is being staged, the trial, the way
    /// back. What was denied stays denied; with `retry_denied` the denial of this image is lifted. The floor rises to the
    /// image's epoch. If the image is the base already, all of that is read: if it is what its seal says, nothing happens; if
    /// not, the image is put in place anew, and nothing else changes.
    ///
    /// Once this returned Ok, the new base survives a power cut, and is the base. A cut or an error before that leaves
    /// the component as it was, or as it is to be. The files of what was superseded go when the store is dropped, once
    /// whatever follows the record had the time to follow it, or when it is next opened.
    pub fn supersede(
        &mut self,
        component: &Component,
        version: &Version,
        epoch: u64,
        from: &Path,
        retry_denied: bool,
        now: u64,
    ) -> Result<Vec<LogEntry>> {
        self.alive()?;
        // What cannot be is refused before a byte of the image is read.
        self.state.require(component)?;
        let image = Image::open(from)?;
        self.supersede_from(
            component,
            &Target::new(version.clone(), image.identity(), epoch),
            &image,
            retry_denied,
            now,
        )
    }

    /// Makes a component of two block devices, of which that of `active` holds the image at `image` already, and makes
    /// that one active. The component has no base: a patch starts from the image in use, and the reverse patch removes
    /// it. The devices may be longer than their images. Writes to neither.
    ///
    /// Once this returned Ok, the component survives a power cut. A cut or an error before that leaves a store without
    /// it. Fails if a device is missing, is none or is not another one, or is another component's; if that of `active`
    /// holds something else; and if the other one is mounted, or somebody has it for himself.
    #[allow(
        clippy::too_many_arguments,
        reason = "each says one thing of the component, and none has a default"
    )]
    pub fn init_places(
        &mut self,
        component: &Component,
        version: &Version,
        epoch: u64,
        places: &Places,
        active: Slot,
        image: &Path,
        now: u64,
    ) -> Result<Vec<LogEntry>> {
        self.init_places_from(component, version, epoch, places, active, &Image::open(image)?, now)
    }

    #[allow(clippy::too_many_arguments, reason = "as above")]
    pub(crate) fn init_places_from(
        &mut self,
        component: &Component,
        version: &Version,
        epoch: u64,
        places: &Places,
        active: Slot,
        image: &Image,
        now: u64,
    ) -> Result<Vec<LogEntry>> {
        self.alive()?;
        let place = places::checked(self.disk.as_ref(), &self.state, component, places, active)?;
        self.disk.check(&Image::assume(&place, image.content().clone()))?;
        let (component, places) = (component.clone(), places.clone());
        let image = Target::new(version.clone(), image.identity(), epoch).image(now);
        let event = Event::InitPlaces { component: component.clone(), places, slot: active, image };
        self.room_for(std::slice::from_ref(&event), now)?;
        let dir = self.layout.component(&component);
        if let Some(base) = project::whole_bases(self.disk.as_ref(), &self.layout, &component)?.first() {
            // It may be all that is left of a component whose record rotted.
            return Err(Error::StrayBase { path: self.layout.slot(&component, *base) });
        }
        let io = |e| Error::io("make the directory", &dir, e);
        self.disk.remove_tree(&dir).and_then(|()| self.disk.make_directory(&dir, 0o755)).map_err(io)?;
        let all = self.layout.components();
        let flushed = self.disk.flush_directory(&all).map_err(|e| Error::io("flush", &all, e));
        flushed.inspect_err(|error| self.note(error))?;
        self.commit(&[event], now)
    }

    /// Durably forgets what the inactive slot holds, and opens it for writing; or goes on with an interrupted stage
    /// of the same patch ([`Target::patch`]), if there is one with a checkpoint.
    ///
    /// With `retry_denied` an image that was rolled back before may be staged again. Once this returned Ok, it
    /// survives a power cut that the slot holds nothing; what is written to the [`Staging`] is no image until
    /// it is sealed.
    pub fn stage(
        &mut self,
        component: &Component,
        target: &Target,
        retry_denied: bool,
        now: u64,
    ) -> Result<Staging<'_>> {
        let (image, component) = (target.image(now), component.clone());
        let opened = match self.resume_stage(&component, target, retry_denied, now)? {
            Some((slot, claims)) => self.reopen_slot(&component, slot, claims).map(|builder| (slot, builder)),
            None => {
                let slot = self.begin_stage(&component, target, retry_denied, now)?;
                self.open_slot(&component, slot).map(|builder| (slot, builder))
            }
        };
        let (slot, mut builder) = opened.inspect_err(|error| self.note(error))?;
        let source = target.source.and_then(|identity| self.holding(&component, &identity));
        if let Some(source) = source.and_then(|source| self.image(&component, source).ok()) {
            builder.made_from(&source);
        }
        let path = self.layout.checkpoint(&component, self.home(&component, slot));
        let notes = target.work().map(|work| Notes::new(self.disk.clone(), path, work));
        Ok(Staging { store: self, builder, component, slot, image, now, notes })
    }

    fn open_slot(&self, component: &Component, slot: Slot) -> Result<Builder> {
        let dir = self.slot_dir(component, slot);
        self.disk.make_directory(&dir, 0o700).map_err(|e| Error::io("make the directory", &dir, e))?;
        Builder::on(self.disk.clone(), &self.image_path(component, slot))
    }

    /// Opens a slot with what an interrupted stage left, which may have been killed while it was frozen.
    fn reopen_slot(&self, component: &Component, slot: Slot, claims: Vec<Checkpoint>) -> Result<Builder> {
        let home = self.home(component, slot);
        let (dir, tree) = (self.layout.slot(component, home), self.layout.tree(component, home));
        let io = |e| Error::io("open again", &dir, e);
        self.disk.refuse_mounts(&dir)?;
        self.disk.set(&dir, Attribute::Mode(0o700)).map_err(io)?;
        self.disk.remove_tree(&tree).map_err(io)?;
        Ok(Builder::resume(self.disk.clone(), &self.image_path(component, slot), claims))
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

    /// Lets the `current` links survive a power cut, too. A switch, a fall back and a removal are true once they returned,
    /// and the links lead where they should; but after a power cut they may lead to the image before until the store
    /// is next opened for writing. So this can wait; dropping the store does it too, but can say nothing of an error.
    ///
    /// Once this returned Ok they survive. It is one flush, or none if no link was changed.
    pub fn flush_current(&mut self) -> Result<()> {
        self.alive()?;
        self.link();
        self.flush_links().inspect_err(|error| self.note(error))
    }

    /// What the start of a device calls, once, before components are used: spends a try of each trial, or ends
    /// the trial and falls back. Writes nothing if nothing is on trial. If the files of the previous slot are gone, and those
    /// of the base are there, it falls back to the base.
    ///
    /// Once this returned Ok the try is spent, or the fall back done, whatever the power does.
    pub fn boot(&mut self, now: u64) -> Result<Vec<LogEntry>> {
        self.boot_with(&BTreeMap::new(), now)
    }

    /// As [`boot`](Self::boot), with what boot loaders say they did: a loader's count of tries holds if it is lower,
    /// and one that was told of the switch and started another slot has ended the trial.
    ///
    /// Once this returned Ok the try is spent, or the fall back done, whatever the power does.
    pub fn boot_with(&mut self, seen: &BTreeMap<Component, Booted>, now: u64) -> Result<Vec<LogEntry>> {
        self.leave(Event::Boot { seen: seen.clone() }, now)
    }

    /// Ends the trials of these components, whose check has failed: falls back at once, or, where the image says
    /// that it takes a reboot to leave it, marks the trial so that the next boot falls back. What is not on trial
    /// is left as it is.
    ///
    /// Once this returned Ok it survives a power cut. A cut before that leaves all of it or none.
    pub fn health_failed(&mut self, set: &[Component], reason: &str, now: u64) -> Result<Vec<LogEntry>> {
        self.leave(Event::HealthFailed { set: set.to_vec(), reason: reason.to_owned() }, now)
    }

    /// As [`health_failed`](Self::health_failed), for all trials whose deadline has passed.
    ///
    /// Once this returned Ok it survives a power cut. A cut before that leaves all of it or none.
    pub fn deadline(&mut self, now: u64) -> Result<Vec<LogEntry>> {
        self.leave(Event::Deadline, now)
    }

    /// Ends the trials of these components, and raises their floors. What is not on trial is left as it is, so
    /// confirming twice is confirming once.
    ///
    /// Once this returned Ok it survives a power cut. A cut before that leaves all of it or none.
    pub fn confirm(&mut self, set: &[Component], now: u64) -> Result<Vec<LogEntry>> {
        self.commit(&[Event::Confirm { set: set.to_vec() }], now)
    }

    /// Goes back to each component's previous slot, or its base, and denies the image it leaves. Refused with
    /// [`Error::NothingThere`] if the files of what it would go back to are gone.
    ///
    /// Once this returned Ok it survives a power cut. A cut before that leaves all of it or none.
    pub fn rollback(&mut self, set: &[Component], reason: &str, now: u64) -> Result<Vec<LogEntry>> {
        self.go_to_what_is_there(Event::Rollback { set: set.to_vec(), reason: reason.to_owned() }, now)
    }

    /// Goes back to the base of each component, and keeps the image it leaves for another time. Refused with
    /// [`Error::NothingThere`] if the files of the base are gone.
    ///
    /// Once this returned Ok it survives a power cut. A cut before that leaves all of it or none.
    pub fn remove(&mut self, set: &[Component], now: u64) -> Result<Vec<LogEntry>> {
        self.go_to_what_is_there(Event::Remove { set: set.to_vec() }, now)
    }

    /// Empties an inactive slot whose sealed image was found damaged: it is no image any more, and no way back.
    ///
    /// Once this returned Ok it survives a power cut that the slot is empty.
    pub fn condemn(
        &mut self,
        component: &Component,
        slot: Slot,
        reason: &str,
        now: u64,
    ) -> Result<Vec<LogEntry>> {
        let (component, reason) = (component.clone(), reason.to_owned());
        self.commit(&[Event::Condemn { component, slot, reason }], now)
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
    /// the store is next opened, but for what [`Freed::failed`] names.
    pub fn vacuum(&mut self, now: u64) -> Result<Freed> {
        let (_, effects) = step(&self.state, &Event::Vacuum, now)?;
        let mut bytes = 0_u64;
        for effect in &effects {
            if let Effect::DiscardSlot(component, slot) = effect {
                bytes = bytes.saturating_add(project::disk_usage(
                    self.disk.as_ref(),
                    &self.slot_dir(component, *slot),
                )?);
            }
        }
        let entries = self.commit(&[Event::Vacuum], now)?;
        let mut freed = Freed { bytes, entries, ..Freed::default() };
        self.remove_leftovers(&mut freed);
        freed.failed.iter().for_each(|error| self.note(error));
        freed.failed.extend(self.uncleared.drain(..).map(|(.., error)| error));
        Ok(freed)
    }
}

impl Drop for Store {
    /// Links that found no room are tried once more, and those that were changed are flushed; then what was superseded
    /// loses its files. If that fails it is done again when the store is next opened.
    fn drop(&mut self) {
        if self.poison.is_none() {
            let _ = match self.unswept {
                true => self.sweep(),
                false => {
                    self.link();
                    self.flush_links()
                }
            };
        }
    }
}

#[cfg(test)]
mod tests;
