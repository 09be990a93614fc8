//! Whether a machine that has power again is sound.

use super::act::{NOW, ROOT, epoch, init, name, stage, supersede};
use super::run::{Moment, Run};
use crate::disk::Disk;
use crate::layout::{Home, Layout};
use crate::log::{self, History, What};
use crate::sim::SimDisk;
use crate::{ComponentState, Error, Held, Slot, State, Store};
use siding_image::Component;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A moment of a run at which the power was cut.
#[derive(Clone, Copy)]
pub(super) struct Check<'r> {
    pub(super) run: &'r Run<'r>,
    pub(super) moment: &'r Moment,
}

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// What the machine holds.
    Here,
    /// And whether it can go on from there.
    LifeGoesOn,
}

type Checked<T = ()> = Result<T, String>;

impl Check<'_> {
    /// Opens the store on a machine and checks all there is to it.
    pub(super) fn machine(&self, machine: &SimDisk, depth: Depth) -> Checked {
        let disk = (self.run.wrap)(machine.same());
        let root = Path::new(ROOT);
        if self.run.is_undisturbed {
            self.links_lead_where_they_may(machine)?;
        }
        let store = match Store::open_on(disk.clone(), root) {
            Err(Error::NoStore { .. }) if self.moment.acknowledged == 0 => Store::create_on(disk, root),
            other => other,
        };
        let mut store = store.map_err(|error| format!("it does not open: {error}"))?;
        self.says_what_it_may(&store)?;
        holds_what_it_says(&store)?;
        match depth {
            Depth::Here => Ok(()),
            Depth::LifeGoesOn => {
                life_goes_on(&mut store)?;
                let disk = store.disk.clone();
                drop(store);
                let store =
                    Store::open_on(disk, root).map_err(|error| format!("afterwards, open: {error}"))?;
                holds_what_it_says(&store)
            }
        }
    }

    /// Who knows nothing of a store and follows its links finds what an acknowledged act left, or a later one. (After
    /// a flush of links that failed, or a process that died before it, that is so once the store was opened.)
    fn links_lead_where_they_may(&self, machine: &SimDisk) -> Checked {
        let may = || self.run.records.range(self.moment.acknowledged..=self.moment.written);
        let Some((_, (first, _))) = may().next().filter(|(number, _)| **number == self.moment.acknowledged)
        else {
            return Ok(());
        };
        for component in first.components.keys() {
            let link = link(machine, component)?;
            let leads_to =
                |state: &State| state.get(component).is_some_and(|held| link == target(component, held));
            if !may().any(|(_, (state, _))| leads_to(state)) {
                return Err(format!("unopened, current of {component} says {}", link.display()));
            }
            let leads_where =
                link.strip_prefix("..").map_or(link.clone(), |inside| Path::new(ROOT).join(inside));
            if machine.look(&leads_where).is_err() {
                return Err(format!("unopened, current of {component} leads to nothing: {}", link.display()));
            }
        }
        Ok(())
    }

    /// What [`Snapshot::log`](crate::Snapshot::log) says: how many entries it has of those of the whole run, from the
    /// first on, and what comes after these. What is the same as there is not parsed again a million times.
    fn log(&self, store: &Store) -> Checked<(usize, History)> {
        let bytes =
            store.disk.read(&Layout::new(Path::new(ROOT)).log()).map_err(|e| format!("the log: {e}"))?;
        let sure = bytes.len().min(store.tail.after as usize);
        let known = &self.run.flushed.0;
        let same = known.iter().zip(&bytes[..sure]).take_while(|(known, now)| known == now).count();
        let same = known[..same].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let lines = known[..same].iter().filter(|b| **b == b'\n').count();
        let mut rest = log::parse(&bytes[same..sure]);
        rest.entries.extend(store.tail.entries.iter().map(|numbered| numbered.entry.clone()));
        Ok((lines, rest))
    }

    /// The state is that of a record between the last acknowledged one and the newest one written; and the log has all
    /// that led to it.
    pub(super) fn says_what_it_may(&self, store: &Store) -> Checked {
        let (first, last) = (self.moment.acknowledged, self.moment.written);
        let may =
            self.run.records.range(first..=last).filter(|(_, (state, _))| is_after(state, store.state()));
        let (lines, log) = self.log(store)?;
        if !log.damaged.is_empty() {
            return Err(format!("lines of the log are damaged: {:?}", log.damaged));
        }
        let (mut may, mut known) = (may.peekable(), false);
        if may.peek().is_none() && first > 0 {
            return Err(format!("it says what no record from {first} to {last} said: {:#?}", store.state()));
        }
        known |= first == 0 && store.state().components().next().is_none();
        let entries = || self.run.flushed.1[..lines].iter().chain(&log.entries);
        for (_, (_, told)) in may {
            let mut entries = entries();
            let begins = told.iter().all(|told| entries.next() == Some(told));
            known |= begins && entries.all(|entry| entry.what == What::Abandon);
        }
        if known {
            return Ok(());
        }
        Err(format!("the log tells something else: {:#?}", entries().collect::<Vec<_>>()))
    }
}

/// Whether opening a store that said `before` can make it say `now`: only stages are given up by that.
fn is_after(before: &State, now: &State) -> bool {
    if before == now {
        return true;
    }
    let mut before = before.clone();
    for (component, held) in &mut before.components {
        let Some(now) = now.get(component) else { return false };
        for slot in Slot::PATCHED {
            if *held.held(slot) == Held::Staging && *now.held(slot) == Held::Empty {
                *held.held_mut(slot) = Held::Empty;
            }
        }
    }
    before == *now
}

/// Every sealed slot holds its image, every empty one nothing, and every link leads to what is active.
fn holds_what_it_says(store: &Store) -> Checked {
    let (disk, layout) = (store.disk.as_ref(), Layout::new(Path::new(ROOT)));
    for (component, held) in store.state().components() {
        for slot in Slot::ALL {
            match held.held(slot) {
                Held::Sealed(sealed) => {
                    let image =
                        store.image(component, slot).map_err(|e| format!("{component} {slot}: {e}"))?;
                    disk.check(&image).map_err(|e| format!("{component} {slot}: {e}"))?;
                    if image.identity() != sealed.identity {
                        return Err(format!("{component} {slot} is another image"));
                    }
                }
                Held::Empty if disk.look(&layout.slot(component, held.home(slot))).is_ok() => {
                    return Err(format!("{component} {slot} is empty and has files"));
                }
                Held::Empty | Held::Staging => {}
            }
        }
        let there = disk.list(&layout.component(component)).map_err(|e| format!("{component}: {e}"))?;
        let homes = there.iter().filter_map(|name| name.to_str()?.parse::<Home>().ok());
        let base = held.home(Slot::Base);
        if let Some(other) = homes.into_iter().find(|home| matches!(home, Home::Base(_)) && *home != base) {
            return Err(format!("{component} has {other} and {base}"));
        }
        let link = link(disk, component)?;
        if link != target(component, held) {
            return Err(format!("current of {component} says {}", link.display()));
        }
    }
    Ok(())
}

/// What the link of a component says.
fn link(disk: &dyn Disk, component: &Component) -> Checked<PathBuf> {
    disk.read_link(&Layout::new(Path::new(ROOT)).current(component)).map_err(|e| format!("current: {e}"))
}

/// What it should say.
fn target(component: &Component, held: &ComponentState) -> PathBuf {
    let in_store = || Layout::current_target(component, held.home(held.active));
    held.place(held.active).map_or_else(in_store, Path::to_owned)
}

/// The device boots, whatever is on trial is left, and the next patch comes and is used.
fn life_goes_on(store: &mut Store) -> Checked {
    fn told(what: &'static str) -> impl Fn(Error) -> String {
        move |error| format!("afterwards, {what}: {error}")
    }
    store.boot(NOW).map_err(told("boot"))?;
    let trials = store.state().components().filter(|(_, held)| held.trial.is_some());
    let trials: Vec<_> = trials.map(|(component, _)| component.clone()).collect();
    store.rollback(&trials, "to see whether it can", NOW).map_err(told("rollback"))?;
    if store.state().get(&name("c")).is_none() {
        init(store, "c", "1").map_err(told("init"))?;
    }
    let Some(held) = store.state().get(&name("c")) else { return Ok(()) };
    let active = held.active_image().map(|image| image.version.to_string()).unwrap_or_default();
    let is_new = |version: &&str| {
        let version: siding_image::Version = version.parse().unwrap();
        active != version.to_string() && held.denied.iter().all(|denied| denied.version != version)
    };
    let admitted = |version: &&str| epoch(version) >= held.floor;
    let some = ["1 (c)", "1 (a)", "2 (a)"].into_iter().filter(is_new).find(admitted);
    let (Some(version), is_based) = (some, held.places.is_none()) else { return Ok(()) };
    stage(store, "c", version, usize::MAX, NOW).map_err(told("stage"))?;
    store.switch(&[name("c")], None, NOW).map_err(told("switch"))?;
    let disk: Arc<dyn Disk> = store.disk.clone();
    let now = Store::view_on(disk, Path::new(ROOT)).map_err(told("view"))?;
    if now.state() != store.state() {
        return Err("afterwards, a switch is not seen".to_owned());
    }
    holds_what_it_says(store)?;
    let floor = store.state().get(&name("c")).map_or(0, |held| held.floor);
    if is_based && epoch("3") >= floor {
        supersede(store, "c", "3").map_err(told("supersede"))?;
    }
    Ok(())
}
