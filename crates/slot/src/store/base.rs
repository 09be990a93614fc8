//! Writing bases: each into a directory of its own, in which nothing lies that the record names.
//!
//! A base that the record names is never written. It is superseded by one that was written beside it, flushed, read
//! back, compared and frozen while the record knew nothing of it; then one record write names that instead.

use super::{Store, project};
use crate::builder::Builder;
use crate::layout::Home;
use crate::log::LogEntry;
use crate::staging::{Target, freeze, freeze_names};
use crate::state::Slot;
use crate::step::{Event, steps};
use crate::{Error, Result};
use siding_image::{Component, Content, Image, Sink};

impl Store {
    pub(crate) fn supersede_from(
        &mut self,
        component: &Component,
        target: &Target,
        source: &Image,
        retry_denied: bool,
        now: u64,
    ) -> Result<Vec<LogEntry>> {
        self.alive()?;
        let event = match self.base_to_mend(component, target) {
            true => Event::Mend { component: component.clone() },
            false => Event::Supersede { component: component.clone(), image: target.image(now) },
        };
        let events = Vec::from_iter(target.lift(component, retry_denied).into_iter().chain([event]));
        let (next, effects) = steps(&self.state, &events, now)?;
        if effects.is_empty() {
            return Ok(Vec::new());
        }
        self.room_for(&events, now)?;
        let home = next.require(component)?.home(Slot::Base);
        self.write_next_base(component, home, source).inspect_err(|error| self.note(error))?;
        self.commit(&events, now)
    }

    /// Whether the image that is offered is the base, and what lies there is not what its seal says.
    fn base_to_mend(&self, component: &Component, target: &Target) -> bool {
        let base = self.state.get(component).and_then(|held| held.image(Slot::Base));
        let same = base.is_some_and(|base| base.identity == target.identity);
        same && self.verify(component, Slot::Base).is_err()
    }

    /// Writes and freezes a base beside the one that the record names.
    ///
    /// Once this returned Ok, it survives a power cut; but it goes when the store is next opened or dropped, unless the
    /// record names it by then.
    fn write_next_base(&mut self, component: &Component, home: Home, source: &Image) -> Result<()> {
        if home == self.home(component, Slot::Base) {
            return Err(Error::damaged(&self.layout.record(), "its count of bases is at its end"));
        }
        // What is there is what an attempt before this one left.
        project::discard(self.disk.as_ref(), &self.layout, component, home)?;
        self.unswept = true;
        self.fill_base(component, home, source)
    }

    /// Writes and freezes the base of a component that the record does not know, or finds it there.
    ///
    /// Once this returned Ok, the base survives a power cut.
    pub(super) fn write_base(&self, component: &Component, source: &Image) -> Result<()> {
        const FIRST: Home = Home::Base(0);
        let whole = project::whole_bases(self.disk.as_ref(), &self.layout, component)?;
        match whole.iter().find(|home| **home != FIRST).or(whole.first()) {
            Some(&FIRST) => self.find_base(component, FIRST, source)?,
            Some(other) => return Err(Error::StrayBase { path: self.layout.slot(component, *other) }),
            None => self.write_first_base(component, FIRST, source)?,
        }
        freeze_names(self.disk.as_ref(), &self.layout, component, FIRST)?;
        let all = self.layout.components();
        self.disk.flush_directory(&all).map_err(|e| Error::io("flush", &all, e))
    }

    /// A frozen base without a record is what an `init` left that was interrupted at its end, or what is left of a
    /// component whose record rotted. It is never overwritten.
    fn find_base(&self, component: &Component, home: Home, source: &Image) -> Result<()> {
        let path = self.layout.image(component, home);
        let same = self.disk.check(&Image::assume(&path, source.content().clone())).is_ok();
        let described = match source.content() {
            Content::Tree(tree) => {
                let described = self.disk.read(&self.layout.tree(component, home));
                described.is_ok_and(|bytes| bytes == tree.encode())
            }
            Content::File(_) => true,
        };
        let stray = || Error::StrayBase { path: self.layout.slot(component, home) };
        (same && described).then_some(()).ok_or_else(stray)
    }

    fn write_first_base(&self, component: &Component, home: Home, source: &Image) -> Result<()> {
        let (disk, dir) = (self.disk.as_ref(), self.layout.component(component));
        // What is here without being in the record is what an interrupted `init` left.
        disk.remove_tree(&dir).map_err(|e| Error::io("clear", &dir, e))?;
        disk.make_directory(&dir, 0o755).map_err(|e| Error::io("make the directory", &dir, e))?;
        self.fill_base(component, home, source)
    }

    fn fill_base(&self, component: &Component, home: Home, source: &Image) -> Result<()> {
        let (disk, slot) = (self.disk.as_ref(), self.layout.slot(component, home));
        disk.make_directory(&slot, 0o700).map_err(|e| Error::io("make the directory", &slot, e))?;
        let path = self.layout.image(component, home);
        let mut builder = Builder::on(self.disk.clone(), &path)?;
        builder.begin(source.content(), &[]).map_err(|e| Error::io("write", &path, e))?;
        builder.finish(Some(source))?;
        freeze(disk, &self.layout, (component, home), &path, Some(source.content()))
    }
}
