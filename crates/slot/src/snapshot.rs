//! A store as it was when it was read.

use crate::checkpoint::{self, Work};
use crate::disk::{Access, Disk};
use crate::layout::{Home, Layout};
use crate::log::{self, History, Tail};
use crate::space::{self, Holes};
use crate::staging::Target;
use crate::step::steps;
use crate::{Error, Held, Refusal, Result, Slot, Space, State};
use siding_image::{Component, Content, FileRef, Identity, Image, Kind, Tree};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a store holds and says. Reads only.
///
/// [`Store::view`](crate::Store::view) takes one without the store's lock, so that a status can be shown while
/// another process writes; it then is the state before or after that process' last change, never between.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) layout: Layout,
    pub(crate) state: State,
    pub(crate) tail: Tail,
    /// What does not follow the record, by what it is: a component's link, or the log.
    pub(crate) troubles: Vec<Trouble>,
}

/// Something in a store that should follow its record and could not be made to. The record stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Whose `current` link it is; `None` for the log.
    pub component: Option<Component>,
    /// What was tried, with which file, and what the system said.
    pub what: String,
}

impl Snapshot {
    /// Where every component stands.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Where the store lies.
    pub fn root(&self) -> &Path {
        self.layout.root()
    }

    /// The slot that holds exactly this image, if one does: the active one first, then the base.
    pub fn holding(&self, component: &Component, identity: &Identity) -> Option<Slot> {
        self.state.get(component)?.holding(identity)
    }

    /// The inactive slot that holds exactly this image, sealed: to install it again costs no more than a look
    /// at its bytes ([`Image::check`]) and a switch.
    pub fn sealed_with(&self, component: &Component, identity: &Identity) -> Option<Slot> {
        let component = self.state.get(component)?;
        let holds = |slot: Slot| component.image(slot).is_some_and(|image| image.identity == *identity);
        Slot::PATCHED.into_iter().find(|slot| *slot != component.active && holds(*slot))
    }

    /// In which slot this would be staged now, or why it is not admitted; writes nothing. With `retry_denied` an image
    /// that was rolled back before is admitted.
    ///
    /// A stage may still find the record or the disk full.
    pub fn may_stage(&self, component: &Component, target: &Target, retry_denied: bool) -> Result<Slot> {
        let (next, _) = steps(&self.state, &target.events(component, retry_denied, &[], 0), 0)?;
        let held = next.require(component)?;
        let staging = Slot::PATCHED.into_iter().find(|slot| *held.held(*slot) == Held::Staging);
        Ok(staging.ok_or_else(|| Refusal::NotStaging { component: component.clone(), slot: Slot::A })?)
    }

    /// What `target` needs in `slot` if it is staged there from `source` with `fresh` bytes written anew; writes nothing.
    ///
    /// What the slot holds now counts as free: it is emptied first, or gone on with. Fails with [`Error::NoSpace`] as staging
    /// would, where even that and all that may be zeros do not suffice ([`Builder::made_from`](crate::Builder::made_from)).
    pub fn space_for(
        &self,
        component: &Component,
        slot: Slot,
        (fresh, target): (u64, &Identity),
        source: &Image,
    ) -> Result<Space> {
        let space = Space::at_least(self.disk.as_ref(), &self.layout.component(component), fresh, target)?;
        let disk = self.disk.as_ref();
        if self.state.require(component)?.places.is_some() {
            let (place, needed) = (self.image_path(component, slot), target.size);
            let len = disk.open(&place, Access::Read).and_then(|device| device.len());
            let has = len.map_err(|e| Error::io("find the length of", &place, e))?;
            return match has < needed {
                true => Err(Error::TooSmall { path: place, has, needs: needed }),
                false => Ok(Space { needed, free: has, at: place }),
            };
        }
        let there = space::taken(disk, &self.slot_dir(component, slot));
        space.admit(there, Holes::of(disk, source).in_target(target))?;
        Ok(Space { free: space.free.saturating_add(there), ..space })
    }

    /// How many bytes an interrupted stage in `slot` says it has written, of `target` if one is given; whether that is
    /// so is found out when it is gone on with.
    pub fn interrupted(&self, component: &Component, slot: Slot, target: Option<&Target>) -> Option<u64> {
        let held = self.state.get(component)?.held(slot);
        if *held != Held::Staging {
            return None;
        }
        let path = self.layout.checkpoint(component, self.home(component, slot));
        let entries = checkpoint::read(self.disk.as_ref(), &path).into_iter();
        let of = |work: &Work| target.is_none_or(|target| target.work() == Some(*work));
        entries.filter(|(work, _)| of(work)).map(|(_, claim)| claim.written).max()
    }

    /// What staging `target` needs and what is free; writes nothing. `fresh` are the contents that would be written,
    /// the others would be copied from the source. Staging refuses only what surely cannot fit: see
    /// [`Builder::made_from`](crate::Builder::made_from).
    pub fn space(&self, component: &Component, target: &Content, fresh: &[FileRef]) -> Result<Space> {
        Space::of(self.disk.as_ref(), &self.layout.component(component), target, fresh)
    }

    /// The image in a slot, as its seal describes it; its bytes are not read yet.
    pub fn image(&self, component: &Component, slot: Slot) -> Result<Image> {
        let not_sealed = || Refusal::NotSealed { component: component.clone(), slot };
        let sealed = self.state.require(component)?.image(slot).ok_or_else(not_sealed)?;
        let content = match sealed.identity.kind {
            Kind::File => {
                Content::File(FileRef { size: sealed.identity.size, digest: sealed.identity.digest })
            }
            Kind::Tree => Content::Tree(self.tree(component, slot, &sealed.identity)?),
        };
        Ok(Image::assume(&self.image_path(component, slot), content))
    }

    fn tree(&self, component: &Component, slot: Slot, identity: &Identity) -> Result<Tree> {
        let path = self.layout.tree(component, self.home(component, slot));
        let bytes = self.disk.read(&path).map_err(|e| Error::io("read", &path, e))?;
        let tree = Tree::decode(&bytes).map_err(siding_image::Error::from)?;
        let got = tree.digest();
        if got != identity.digest {
            let expected = identity.digest;
            return Err(siding_image::Error::Differs { path, expected, got }.into());
        }
        Ok(tree)
    }

    /// Where a slot's image lies: in the store, or on its device, whatever link leads there.
    pub fn image_path(&self, component: &Component, slot: Slot) -> PathBuf {
        match self.state.get(component).and_then(|held| held.place(slot)) {
            Some(place) => self.disk.resolve(place).unwrap_or_else(|_| place.to_owned()),
            None => self.layout.image(component, self.home(component, slot)),
        }
    }

    /// Which directory of its component a slot is; of one that is not known, the one it would be.
    pub(crate) fn home(&self, component: &Component, slot: Slot) -> Home {
        let first = || match slot {
            Slot::Base => Home::Base(0),
            Slot::A => Home::A,
            Slot::B => Home::B,
        };
        self.state.get(component).map_or_else(first, |held| held.home(slot))
    }

    /// A slot's directory.
    pub(crate) fn slot_dir(&self, component: &Component, slot: Slot) -> PathBuf {
        self.layout.slot(component, self.home(component, slot))
    }

    /// What of the store could not be made to follow the record by whoever has it open for writing: links and the log.
    /// Links are tried again with the next change and when the store is next opened, the log when it is next opened.
    pub fn troubles(&self) -> &[Trouble] {
        &self.troubles
    }

    /// The link that always names the active image.
    pub fn current_path(&self, component: &Component) -> PathBuf {
        self.layout.current(component)
    }

    /// Everything that happened, oldest first, as far as the log can be read.
    pub fn log(&self) -> Result<History> {
        log::read(self.disk.as_ref(), &self.layout.log(), &self.tail)
    }
}
