//! What happens next: the state machine of the slots, as a pure function.
//!
//! [`step`] takes the state, one event and the time, and gives the next state with its effects, or refuses and
//! says why. It does not write to disk, reads no clock and holds nothing. `docs/design.md` draws it; the tests
//! walk every reachable state with every event and check what must always be true.

use crate::log::{LogEntry, What};
use crate::state::{
    Booted, ComponentState, Fallback, Held, Places, SealedImage, Slot, State, Trial, TrialTerms, date,
};
use siding_image::{Component, Digest, Identity};
use std::collections::{BTreeMap, BTreeSet};

mod choose;
mod event;
mod refusal;
use choose::{admit, admit_ever};
pub use event::{Effect, Event};
pub use refusal::Refusal;

/// What the next start of the device will do to a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextBoot {
    /// It goes on with the active slot.
    Continues,
    /// It goes on with the active slot, on trial, and this many tries are left then.
    SpendsTry {
        /// How many are left after it.
        left: u32,
    },
    /// It gives the active slot up.
    FallsBack {
        /// And goes to this one.
        to: Slot,
        /// Why.
        reason: String,
    },
}

/// Decides; does not write to disk. An event that changes nothing gives the same state and no effects.
pub fn step(state: &State, event: &Event, now: u64) -> Result<(State, Vec<Effect>), Refusal> {
    let mut next = Step { state: state.clone(), effects: Vec::new(), now };
    match event {
        Event::Init { component, image } => next.init(component, image),
        Event::InitPlaces { component, places, slot, image } => {
            next.init_places(component, places, *slot, image)
        }
        Event::Supersede { component, image } => next.supersede(component, image),
        Event::Mend { component } => next.mend(component),
        Event::BeginStage { component, image, source, avoid } => {
            next.begin_stage(component, image, source.as_ref(), avoid)
        }
        Event::GoOn { component, slot, image, there } => next.go_on(component, *slot, image, *there),
        Event::Abandon { component } => next.abandon(component),
        Event::Seal { component, slot, image } => next.seal(component, *slot, image),
        Event::Switch { to, trial } => {
            once_each(to.iter().map(|(component, _)| component))?;
            to.iter().try_for_each(|(component, slot)| next.switch(component, *slot, *trial))
        }
        Event::Boot { seen } => next.boot(seen),
        Event::HealthFailed { set, reason } => {
            set.iter().try_for_each(|component| next.fail(component, reason))
        }
        Event::Deadline => next.deadline(),
        Event::Confirm { set } => set.iter().try_for_each(|component| next.confirm(component)),
        Event::Rollback { set, reason } => {
            once_each(set.iter())?;
            set.iter().try_for_each(|component| next.rollback(component, reason))
        }
        Event::Remove { set } => set.iter().try_for_each(|component| next.remove(component)),
        Event::Condemn { component, slot, reason } => next.condemn(component, *slot, reason),
        Event::Lift { component, digest } => next.lift(component, digest),
        Event::Vacuum => next.vacuum(),
    }?;
    Ok((next.state, next.effects))
}

/// Decides several events, one after the other; all are admitted or none.
pub(crate) fn steps(state: &State, events: &[Event], now: u64) -> Result<(State, Vec<Effect>), Refusal> {
    events.iter().try_fold((state.clone(), Vec::new()), |(state, mut effects), event| {
        let (state, more) = step(&state, event, now)?;
        effects.extend(more);
        Ok((state, effects))
    })
}

/// What [`Event::Boot`] at the time `now` would do to this component, if no boot loader counts for itself.
pub fn next_boot(component: &ComponentState, now: u64) -> NextBoot {
    choose::at_boot(component, Booted::default(), now)
}

/// A state being changed.
struct Step {
    state: State,
    effects: Vec<Effect>,
    now: u64,
}

impl Step {
    fn init(&mut self, component: &Component, image: &SealedImage) -> Result<(), Refusal> {
        if self.state.get(component).is_some() {
            return Err(Refusal::Exists { component: component.clone() });
        }
        self.state.components.insert(component.clone(), ComponentState::with_base(image.clone()));
        self.set_current(component, Slot::Base);
        self.log(LogEntry::new(What::Init, component).to(image).slot(Slot::Base));
        Ok(())
    }

    fn init_places(
        &mut self,
        component: &Component,
        places: &Places,
        slot: Slot,
        image: &SealedImage,
    ) -> Result<(), Refusal> {
        if self.state.get(component).is_some() {
            return Err(Refusal::Exists { component: component.clone() });
        }
        let held = ComponentState::with_places(places.clone(), slot, image.clone());
        let slot = held.active;
        self.state.components.insert(component.clone(), held);
        self.set_current(component, slot);
        self.log(LogEntry::new(What::Init, component).to(image).slot(slot));
        Ok(())
    }

    /// Nothing that was made from the old base stays: neither patches nor a trial nor a way back. What was denied
    /// stays denied, and the floor stays or rises, since the new base is in use for good.
    fn supersede(&mut self, component: &Component, image: &SealedImage) -> Result<(), Refusal> {
        let held = self.get(component)?;
        let Some(base) = held.image(Slot::Base).cloned() else {
            return Err(Refusal::NothingToSupersede { component: component.clone() });
        };
        if base.identity == image.identity {
            return Ok(());
        }
        admit_ever(component, held, image)?;
        let (left, terms) = (held.active_image().cloned(), superseding(held, &base, image));
        let emptied = Slot::PATCHED.into_iter().filter(|slot| *held.held(*slot) != Held::Empty);
        let emptied: Vec<Slot> = emptied.collect();
        let (denied, floor) = (std::mem::take(&mut held.denied), held.floor.max(image.epoch));
        let (turn, generation) = (held.turn.saturating_add(1), held.generation.saturating_add(1));
        *held =
            ComponentState { denied, floor, turn, generation, ..ComponentState::with_base(image.clone()) };
        self.set_current(component, Slot::Base);
        let discard = |slot| Effect::DiscardSlot(component.clone(), slot);
        self.effects.extend(emptied.into_iter().map(discard));
        self.effects.push(Effect::DiscardBases(component.clone()));
        let entry = LogEntry::new(What::Supersede, component).from(left.as_ref()).to(image).slot(Slot::Base);
        self.log(terms.iter().fold(entry, |entry, terms| entry.reason(terms)));
        Ok(())
    }

    fn mend(&mut self, component: &Component) -> Result<(), Refusal> {
        let held = self.get(component)?;
        let Some(base) = held.image(Slot::Base).cloned() else {
            return Err(Refusal::NothingToSupersede { component: component.clone() });
        };
        held.generation = held.generation.saturating_add(1);
        if held.active == Slot::Base {
            self.set_current(component, Slot::Base);
        }
        self.effects.push(Effect::DiscardBases(component.clone()));
        self.log(LogEntry::new(What::Mend, component).to(&base).slot(Slot::Base));
        Ok(())
    }

    fn begin_stage(
        &mut self,
        component: &Component,
        image: &SealedImage,
        source: Option<&Identity>,
        avoid: &[Slot],
    ) -> Result<(), Refusal> {
        let held = self.get(component)?;
        admit(component, held, image)?;
        let Some(slot) = held.staging_slot_but(source, avoid) else {
            return Err(Refusal::SourceWouldGo { component: component.clone() });
        };
        let active = held.active_image().cloned();
        held.empty(slot, Held::Staging);
        self.effects.push(Effect::DiscardSlot(component.clone(), slot));
        self.log(LogEntry::new(What::Stage, component).from(active.as_ref()).to(image).slot(slot));
        Ok(())
    }

    fn go_on(
        &mut self,
        component: &Component,
        slot: Slot,
        image: &SealedImage,
        there: u64,
    ) -> Result<(), Refusal> {
        if *self.get(component)?.held(slot) != Held::Staging {
            return Err(Refusal::NotStaging { component: component.clone(), slot });
        }
        let entry = LogEntry::new(What::Stage, component).to(image).slot(slot);
        self.log(entry.reason(&format!("going on: {there} bytes were there")));
        Ok(())
    }

    fn abandon(&mut self, component: &Component) -> Result<(), Refusal> {
        for slot in Slot::PATCHED {
            let held = self.get(component)?;
            if *held.held(slot) == Held::Staging {
                held.empty(slot, Held::Empty);
                self.discard(component, slot, What::Abandon, None);
            }
        }
        Ok(())
    }

    fn seal(&mut self, component: &Component, slot: Slot, image: &SealedImage) -> Result<(), Refusal> {
        let held = self.get(component)?;
        if *held.held(slot) != Held::Staging {
            return Err(Refusal::NotStaging { component: component.clone(), slot });
        }
        *held.held_mut(slot) = Held::Sealed(image.clone());
        self.log(LogEntry::new(What::Seal, component).to(image).slot(slot));
        Ok(())
    }

    fn switch(
        &mut self,
        component: &Component,
        slot: Slot,
        trial: Option<TrialTerms>,
    ) -> Result<(), Refusal> {
        let now = self.now;
        let held = self.get(component)?;
        if held.active == slot {
            let version = held.active_image().map_or_else(String::new, SealedImage::name);
            return Err(Refusal::AlreadyActive { component: component.clone(), version });
        }
        let Some(image) = held.image(slot).cloned() else {
            return Err(Refusal::NotSealed { component: component.clone(), slot });
        };
        if slot == Slot::Base {
            return Err(Refusal::IsBase { component: component.clone(), version: image.name() });
        }
        admit(component, held, &image)?;
        let left = held.active_image().cloned();
        held.previous = Some(held.active);
        held.active = slot;
        held.turn = held.turn.saturating_add(1);
        let started =
            |terms: TrialTerms| Trial { terms, tries_left: terms.tries, started: now, failed: None };
        held.trial = trial.map(started);
        if trial.is_none() {
            held.floor = held.floor.max(image.epoch);
            held.last_rollback = None;
        }
        let terms = trial.map_or_else(|| "without a trial".to_owned(), describe);
        self.set_current(component, slot);
        self.log(
            LogEntry::new(What::Switch, component).from(left.as_ref()).to(&image).slot(slot).reason(&terms),
        );
        Ok(())
    }

    fn boot(&mut self, seen: &BTreeMap<Component, Booted>) -> Result<(), Refusal> {
        let components: Vec<Component> = self.state.components.keys().cloned().collect();
        for component in &components {
            let (now, seen) = (self.now, seen.get(component).copied().unwrap_or_default());
            let held = self.get(component)?;
            let image = held.active_image().cloned();
            match choose::at_boot(held, seen, now) {
                NextBoot::Continues => {}
                NextBoot::SpendsTry { left } => {
                    held.trial.iter_mut().for_each(|trial| trial.tries_left = left);
                    let entry = LogEntry::new(What::Try, component).slot(held.active);
                    self.log(entry.from(image.as_ref()).reason(&format!("{left} left after this one")));
                }
                NextBoot::FallsBack { reason, .. } => self.fall_back(component, What::FallBack, &reason)?,
            }
            self.stray(component, image.as_ref(), seen)?;
        }
        Ok(())
    }

    /// Remembers that the boot loader started a slot that nobody asked for, or that was asked for before.
    fn stray(
        &mut self,
        component: &Component,
        wanted: Option<&SealedImage>,
        seen: Booted,
    ) -> Result<(), Refusal> {
        let held = self.get(component)?;
        let Some(started) = seen.slot.filter(|slot| *slot != held.active) else { return Ok(()) };
        let why = match seen.turn.is_some_and(|turn| turn != held.turn) {
            true => format!("the boot loader started slot {started}: it has not heard of the change yet"),
            false => format!("the boot loader started slot {started}"),
        };
        let entry = LogEntry::new(What::Stray, component).from(wanted).slot(started);
        self.log(entry.reason(&why));
        Ok(())
    }

    /// The trial of a component has failed: it is left at once, or by the next boot if only a boot can.
    fn fail(&mut self, component: &Component, reason: &str) -> Result<(), Refusal> {
        let reason = shorten(reason);
        let held = self.get(component)?;
        let needs_reboot = held.needs_reboot();
        let (slot, image) = (held.active, held.active_image().cloned());
        match &mut held.trial {
            None => Ok(()),
            Some(_) if !needs_reboot => self.fall_back(component, What::FallBack, reason),
            Some(trial) if trial.failed.is_some() => Ok(()),
            Some(trial) => {
                (trial.failed, trial.tries_left) = (Some(reason.to_owned()), 0);
                let entry = LogEntry::new(What::Fail, component).from(image.as_ref()).slot(slot);
                self.log(entry.reason(reason));
                Ok(())
            }
        }
    }

    fn deadline(&mut self) -> Result<(), Refusal> {
        let now = self.now;
        let late = |held: &ComponentState| {
            let deadline = held.trial.as_ref().and_then(|trial| trial.terms.deadline);
            deadline.filter(|deadline| now >= *deadline).map(choose::passed)
        };
        let late = self.state.components().filter_map(|(name, held)| Some((name.clone(), late(held)?)));
        let late: Vec<(Component, String)> = late.collect();
        late.iter().try_for_each(|(component, reason)| self.fail(component, reason))
    }

    fn confirm(&mut self, component: &Component) -> Result<(), Refusal> {
        let held = self.get(component)?;
        let version = held.active_image().map_or_else(String::new, SealedImage::name);
        match held.trial.take() {
            None => return Ok(()),
            Some(Trial { failed: Some(reason), .. }) => {
                return Err(Refusal::Failed { component: component.clone(), version, reason });
            }
            Some(_) => {}
        }
        held.last_rollback = None;
        let image = held.active_image().cloned();
        held.floor = held.floor.max(image.as_ref().map_or(0, |image| image.epoch));
        let entry = LogEntry::new(What::Confirm, component).slot(held.active);
        self.log(entry.from(image.as_ref()));
        Ok(())
    }

    fn rollback(&mut self, component: &Component, reason: &str) -> Result<(), Refusal> {
        if self.get(component)?.active == Slot::Base {
            return Err(Refusal::OnBase { component: component.clone() });
        }
        self.fall_back(component, What::Rollback, reason)
    }

    fn fall_back(&mut self, component: &Component, what: What, reason: &str) -> Result<(), Refusal> {
        let reason = shorten(reason);
        let now = self.now;
        let held = self.get(component)?;
        let to = held.way_back().ok_or_else(|| Refusal::NoWayBack { component: component.clone() })?;
        let left = held.active_image().cloned();
        if let Some(image) = &left {
            held.deny(image, reason, now);
            let version = image.version.clone();
            held.last_rollback = Some(Fallback { version, reason: reason.to_owned(), at: now });
        }
        self.leave(component, to, what, Some(reason))
    }

    fn remove(&mut self, component: &Component) -> Result<(), Refusal> {
        let held = self.get(component)?;
        let left = held.active;
        if left == Slot::Base {
            return Ok(());
        }
        if held.image(Slot::Base).is_none() {
            return Err(Refusal::NoBase { component: component.clone() });
        }
        self.leave(component, Slot::Base, What::Remove, None)?;
        // Kept in mind, so that a switch meant for others does not bring it back.
        self.get(component)?.previous = Some(left);
        Ok(())
    }

    /// Makes `to` active, with no trial and no further way back than the base.
    fn leave(
        &mut self,
        component: &Component,
        to: Slot,
        what: What,
        reason: Option<&str>,
    ) -> Result<(), Refusal> {
        let held = self.get(component)?;
        let left = held.active_image().cloned();
        held.active = to;
        held.turn = held.turn.saturating_add(1);
        held.previous = None;
        held.trial = None;
        let mut entry = LogEntry::new(what, component).from(left.as_ref()).slot(to);
        if let Some(image) = held.image(to) {
            entry = entry.to(image);
        }
        self.set_current(component, to);
        self.log(reason.iter().fold(entry, |entry, reason| entry.reason(reason)));
        Ok(())
    }

    fn condemn(&mut self, component: &Component, slot: Slot, reason: &str) -> Result<(), Refusal> {
        let held = self.get(component)?;
        let Some(image) = held.image(slot).cloned() else {
            return Err(Refusal::NotSealed { component: component.clone(), slot });
        };
        let (component, version) = (component.clone(), image.name());
        if slot == held.active {
            return Err(Refusal::AlreadyActive { component, version });
        }
        if slot == Slot::Base {
            return Err(Refusal::IsBase { component, version });
        }
        if held.trial.is_some() && held.places.is_some() {
            return Err(Refusal::IsWayBack { component, slot });
        }
        held.empty(slot, Held::Empty);
        self.effects.push(Effect::DiscardSlot(component.clone(), slot));
        let entry = LogEntry::new(What::Vacuum, &component).from(Some(&image)).slot(slot);
        self.log(entry.reason(shorten(reason)));
        Ok(())
    }

    fn lift(&mut self, component: &Component, digest: &Digest) -> Result<(), Refusal> {
        let held = self.get(component)?;
        let Some(denied) = held.denial(digest).cloned() else { return Ok(()) };
        held.denied.retain(|denied| denied.digest != *digest);
        let mut entry = LogEntry::new(What::Lift, component).reason(&denied.reason);
        entry.from = Some(denied.version);
        self.log(entry);
        Ok(())
    }

    fn vacuum(&mut self) -> Result<(), Refusal> {
        let components: Vec<Component> = self.state.components.keys().cloned().collect();
        for (component, slot) in components.iter().flat_map(|c| Slot::PATCHED.map(|slot| (c, slot))) {
            let held = self.get(component)?;
            if held.is_spare(slot) {
                let image = held.image(slot).cloned();
                held.empty(slot, Held::Empty);
                self.discard(component, slot, What::Vacuum, image.as_ref());
            }
        }
        Ok(())
    }

    fn get(&mut self, component: &Component) -> Result<&mut ComponentState, Refusal> {
        let unknown = || Refusal::Unknown { component: component.clone() };
        self.state.components.get_mut(component).ok_or_else(unknown)
    }

    fn set_current(&mut self, component: &Component, slot: Slot) {
        self.effects.push(Effect::SetCurrent(component.clone(), slot));
    }

    fn discard(&mut self, component: &Component, slot: Slot, what: What, image: Option<&SealedImage>) {
        self.effects.push(Effect::DiscardSlot(component.clone(), slot));
        self.log(LogEntry::new(what, component).from(image).slot(slot));
    }

    fn log(&mut self, mut entry: LogEntry) {
        entry.at = self.now;
        self.effects.push(Effect::Log(entry));
    }
}

fn once_each<'a>(mut set: impl Iterator<Item = &'a Component>) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    match set.find(|component| !seen.insert(*component)) {
        Some(component) => Err(Refusal::Twice { component: component.clone() }),
        None => Ok(()),
    }
}

/// What is worth a word of a base that comes: that it is not the newer one, and that it ends a trial.
fn superseding(held: &ComponentState, base: &SealedImage, image: &SealedImage) -> Option<String> {
    let older = (image.version <= base.version).then(|| format!("not newer than base {}", base.version));
    let trial = held.trial.as_ref().map(|_| "the trial ends with its base".to_owned());
    let words: Vec<String> = older.into_iter().chain(trial).collect();
    (!words.is_empty()).then(|| words.join("; "))
}

fn describe(terms: TrialTerms) -> String {
    let tries = match terms.tries {
        1 => "on trial: 1 try".to_owned(),
        tries => format!("on trial: {tries} tries"),
    };
    match terms.deadline {
        Some(deadline) => format!("{tries}, until {}", date(deadline)),
        None => tries,
    }
}

/// The longest reason the record keeps, in bytes: a health check's last line, not its whole output.
const LONGEST_REASON: usize = 400;

fn shorten(reason: &str) -> &str {
    let end = (0..=reason.len().min(LONGEST_REASON)).rev().find(|&end| reason.is_char_boundary(end));
    reason.get(..end.unwrap_or(0)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
