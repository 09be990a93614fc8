//! The order of an update, as types: a [`Staging`] is written, becomes a [`Sealed`], and that is switched to.

use crate::builder::Builder;
use crate::checkpoint::{Notes, Work};
use crate::disk::{Access, Attribute, Disk};
use crate::layout::{Home, Layout};
use crate::log::LogEntry;
use crate::state::{SealedImage, Slot, TrialTerms};
use crate::step::Event;
use crate::{Error, Kind, Result, Store, verify};
use siding_image::{Checkpoint, Component, Content, Digest, FileRef, Identity, Image, Sink, Version};
use std::io;
use std::path::Path;

/// What is to be staged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its version.
    pub version: Version,
    /// What it is; sealing holds the result to this.
    pub identity: Identity,
    /// Its security epoch.
    pub epoch: u64,
    /// What must restart to use it.
    pub restart: Vec<String>,
    /// The advisories it answers.
    pub advisories: Vec<String>,
    /// The image it is made from: staging never overwrites the only slot that holds it.
    pub source: Option<Identity>,
    /// The digest of the signed manifest of the patch that makes it. With it, a stage that was interrupted is gone
    /// on with when the same patch is staged again; without it, none is.
    pub patch: Option<Digest>,
}

impl Target {
    /// A target with nothing to restart, no advisories, no source and no patch.
    pub fn new(version: Version, identity: Identity, epoch: u64) -> Self {
        let (restart, advisories) = (Vec::new(), Vec::new());
        Self { version, identity, epoch, restart, advisories, source: None, patch: None }
    }

    /// What can be gone on with when it is staged again.
    pub(crate) fn work(&self) -> Option<Work> {
        self.patch.map(|patch| Work { target: self.identity.digest, patch })
    }

    /// What happens to the state machine when this is staged: what was staged before is given up, wherever.
    pub(crate) fn events(
        &self,
        component: &Component,
        retry_denied: bool,
        avoid: &[Slot],
        now: u64,
    ) -> Vec<Event> {
        let abandon = Event::Abandon { component: component.clone() };
        let (image, source, avoid) = (self.image(now), self.source, avoid.to_vec());
        let begin = Event::BeginStage { component: component.clone(), image, source, avoid };
        self.lift(component, retry_denied).into_iter().chain([abandon, begin]).collect()
    }

    pub(crate) fn lift(&self, component: &Component, retry_denied: bool) -> Option<Event> {
        let digest = self.identity.digest;
        retry_denied.then(|| Event::Lift { component: component.clone(), digest })
    }

    pub(crate) fn image(&self, now: u64) -> SealedImage {
        SealedImage {
            version: self.version.clone(),
            identity: self.identity,
            epoch: self.epoch,
            restart: self.restart.clone(),
            advisories: self.advisories.clone(),
            installed_at: now,
        }
    }
}

/// An inactive slot being written. The record says so: whatever happens now, it is not booted.
///
/// Dropped without [`seal`](Self::seal), it stays marked. If its target names its patch and a checkpoint was made,
/// the next stage of the same patch goes on with it; else it is cleared by the next stage or when the store is
/// next opened for writing.
#[derive(Debug)]
pub struct Staging<'s> {
    pub(crate) store: &'s mut Store,
    pub(crate) builder: Builder,
    pub(crate) component: Component,
    pub(crate) slot: Slot,
    pub(crate) image: SealedImage,
    pub(crate) now: u64,
    pub(crate) notes: Option<Notes>,
}

/// A slot whose bytes are on the medium and are those promised, and that is not active yet.
#[derive(Debug)]
pub struct Sealed<'s> {
    store: &'s mut Store,
    component: Component,
    slot: Slot,
}

impl<'s> Staging<'s> {
    /// Which slot is being written.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// From how many bytes of an interrupted stage this one goes on; 0 if it began anew. Known once the applier
    /// has said what it believes of what was there.
    pub(crate) fn resumed(&self) -> u64 {
        self.builder.resumed()
    }

    /// Ends the stage so that the next one begins anew, with nothing of this one: for an apply that failed
    /// for a reason that may lie in what was written.
    ///
    /// Once this returned Ok that survives a power cut.
    pub fn give_up(mut self) -> Result<()> {
        self.forget().inspect_err(|error| self.store.note(error))
    }

    /// Removes the notes.
    fn forget(&mut self) -> Result<()> {
        let Some(notes) = &mut self.notes else { return Ok(()) };
        notes.remove()?;
        let dir = self.store.slot_dir(&self.component, self.slot);
        self.store.disk.flush_directory(&dir).map_err(|e| Error::io("flush", &dir, e))
    }

    /// Completes the image from `source` ([`Builder::finish`]), freezes it, and records it as sealed. Where the
    /// filesystem has fs-verity the kernel holds each file to its digest from then on.
    ///
    /// Once this returned Ok, the image and the fact that it is sealed survive a power cut. A cut or an error
    /// before that leaves a slot that is never switched to; after an error the next stage begins anew, unless
    /// the disk was full.
    ///
    /// Frozen means: the slot's directory is not writable, and neither is the file of a file image. The modes
    /// inside a tree are part of the image and stay what they are.
    pub fn seal(mut self, source: Option<&Image>) -> Result<Sealed<'s>> {
        let content = self.finish(source)?;
        let Self { store, component, slot, image, now, .. } = self;
        let place = store.image_path(&component, slot);
        let home = store.home(&component, slot);
        freeze(store.disk.as_ref(), &store.layout, (&component, home), &place, content.as_ref())
            .inspect_err(|error| store.note(error))?;
        store.commit(&[Event::Seal { component: component.clone(), slot, image }], now)?;
        Ok(Sealed { store, component, slot })
    }

    /// Finishes the image. Whether or not it is the right one, there is nothing to go on with then.
    fn finish(&mut self, source: Option<&Image>) -> Result<Option<Content>> {
        let content = self.builder.target().cloned();
        let expected = self.image.identity;
        let done = self.builder.finish_in_place(source).and_then(|got| match got == expected {
            true => Ok(()),
            false => Err(Error::WrongImage { expected, got }),
        });
        match done {
            Err(error) => {
                self.store.note(&error);
                if error.kind() != Kind::NoSpace {
                    // What went wrong first is what is told.
                    let _ = self.forget();
                }
                Err(error)
            }
            Ok(()) => self.forget().inspect_err(|error| self.store.note(error)).map(|()| content),
        }
    }

    /// An error of the medium is the store's, too.
    fn noted<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        done.map_err(|error| {
            let error = Error::io("write", self.builder.path(), error);
            self.store.note(&error);
            error.into()
        })
    }
}

impl Sink for Staging<'_> {
    fn begin(&mut self, target: &Content, fresh: &[FileRef]) -> io::Result<()> {
        let (expected, got) = (self.image.identity, target.identity());
        if expected != got {
            return Err(Error::WrongImage { expected, got }.into());
        }
        let begun = self.builder.begin(target, fresh);
        self.noted(begun)
    }

    fn write_at(&mut self, blob: usize, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let written = self.builder.write_at(blob, offset, bytes);
        self.noted(written)
    }

    fn read_at(&mut self, blob: usize, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let read = self.builder.read_at(blob, offset, out);
        self.noted(read)
    }

    fn checkpoints(&mut self) -> Vec<Checkpoint> {
        self.builder.checkpoints()
    }

    fn forget_from(&mut self, blob: usize, offset: u64) -> io::Result<()> {
        let first = self.resumed() == 0;
        let forgotten = self.builder.forget_from(blob, offset);
        self.noted(forgotten)?;
        let resumed = self.resumed();
        if first && resumed > 0 {
            let (component, image) = (self.component.clone(), self.image.clone());
            let event = Event::GoOn { component, slot: self.slot, image, there: resumed };
            self.store.commit(&[event], self.now)?;
        }
        Ok(())
    }

    /// Makes a note, if the target names its patch. Once this returned Ok, the end of the process leaves a stage
    /// that can be gone on with from here; a power cut leaves one that can be from the last checkpoint
    /// that was flushed, which happens once for each 64 MiB written. A full disk leaves the note out.
    fn checkpoint(&mut self, done: &Checkpoint) -> io::Result<()> {
        let Some(notes) = &mut self.notes else { return Ok(()) };
        let (store, builder) = (&self.store, &self.builder);
        let home = store.home(&self.component, self.slot);
        let names = || freeze_names(store.disk.as_ref(), &store.layout, &self.component, home);
        let noted = notes.note(done, || builder.flush(), names);
        self.noted(noted.map_err(io::Error::from))
    }
}

impl Sealed<'_> {
    /// Which slot it is.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Makes the slot active, on trial or (without terms) for good.
    ///
    /// Once this returned Ok the switch survives a power cut. A cut before that leaves it done or not done.
    pub fn switch(self, trial: Option<TrialTerms>, now: u64) -> Result<Vec<LogEntry>> {
        self.store.switch_to(&[(self.component, self.slot)], trial, now)
    }
}

/// Has the kernel hold the image to its digests where it can, writes the description of a tree beside it, takes
/// write permissions away, and flushes the names.
///
/// Once this returned Ok, all of that survives a power cut; the image itself does since its builder finished.
pub(crate) fn freeze(
    disk: &dyn Disk,
    layout: &Layout,
    (component, home): (&Component, Home),
    image: &Path,
    content: Option<&Content>,
) -> Result<()> {
    let dir = layout.slot(component, home);
    disk.refuse_mounts(&dir)?;
    match content {
        Some(Content::Tree(tree)) => {
            verify::protect_tree(disk, image, tree)?;
            let path = layout.tree(component, home);
            let io = |e| Error::io("write", &path, e);
            let (bytes, file) = (tree.encode(), disk.open(&path, Access::New(0o444)).map_err(io)?);
            file.write_at(0, &bytes).and_then(|()| file.flush()).map_err(io)?;
            file.forget_cache().map_err(|e| Error::io("read back", &path, e))?;
            let got = disk.read(&path).map_err(|e| Error::io("read back", &path, e))?;
            if got != bytes {
                let (expected, got) = (Digest::of(&bytes).to_string(), Digest::of(&got).to_string());
                return Err(Error::NotAsWritten { path, what: "SHA-256", expected, got });
            }
        }
        // A device has its modes from the system.
        Some(Content::File(_)) | None if disk.look(image).is_ok_and(|there| there.is_block_device()) => {}
        Some(Content::File(_)) | None => {
            let io = |e| Error::io("freeze", image, e);
            let seen = disk.look(image).map_err(io)?;
            if let Some(Content::File(file)) = content.filter(|_| seen.is_file()) {
                // Before the mode, which may forbid it; what is flushed below is this, too.
                verify::protect(disk, image, file.digest)?;
            }
            let mode = seen.mode & 0o555;
            // Opened before, since the mode may forbid it after; flushed after, so that the mode lasts.
            let file = disk.open(image, Access::Read).map_err(io)?;
            disk.set(image, Attribute::Mode(mode)).and_then(|()| file.flush()).map_err(io)?;
        }
    }
    let io = |e| Error::io("freeze", &dir, e);
    disk.set(&dir, Attribute::Mode(0o555)).map_err(io)?;
    freeze_names(disk, layout, component, home)
}

/// Once Ok: the mode and the names of a slot's directory, and its own name, survive a power cut.
pub(crate) fn freeze_names(
    disk: &dyn Disk,
    layout: &Layout,
    component: &Component,
    home: Home,
) -> Result<()> {
    [layout.slot(component, home), layout.component(component)]
        .iter()
        .try_for_each(|dir| disk.flush_directory(dir).map_err(|e| Error::io("flush", dir, e)))
}
