//! What a switch began is brought to its end: restarts, checks, keeping or leaving.

use super::switch::restarted_text;
use super::{Agent, kept};
use crate::health::{self, Checks, Health, health};
use crate::memory::{Memory, Pending, Told};
use crate::restart::{Move, Plan};
use crate::way::open_soon;
use crate::{Error, owed};
use siding_image::Component;
use siding_slot::{REBOOT, Snapshot, Store};
use std::collections::BTreeSet;
use std::time::Duration;

impl Agent<'_> {
    /// Restarts what an interrupted way back left to do, leaves what is past its deadline, goes on with a switch that was
    /// interrupted, and asks about what this agent has put on trial.
    pub(super) fn settle(&self, told: &mut Vec<Told>) -> Result<(), Error> {
        if let Some(restarted) = owed::pay(self.store, self.host)? {
            told.push(self.line("restart", "", &restarted_text(&restarted)));
        }
        let follow = &mut |store: &Snapshot| (self.follow)(store);
        if let Some(left) = health::deadline(self.store, self.host, (self.clock)(), follow)? {
            let set: Vec<Component> = left.entries.iter().map(|entry| entry.component.clone()).collect();
            let why = left.entries.iter().find_map(|entry| entry.reason.clone()).unwrap_or_default();
            told.push(Told { code: Some("deadline".to_owned()), ..self.line("leave", "", &why) });
            self.note_left(&left.restarted, &set)?;
        }
        self.go_on(told)?;
        self.restart_asked(told)?;
        self.ask(told)
    }

    /// A switch that was noted: its restarts, if it was made. If it was not, it is decided anew.
    fn go_on(&self, told: &mut Vec<Told>) -> Result<(), Error> {
        let memory = Memory::load(self.store).map_err(kept)?;
        let Some(switching) = memory.switching.filter(|switching| !switching.restarted) else {
            return Ok(());
        };
        let view = Store::view(self.store)?;
        let moved = |(component, digest): (&String, &String)| {
            let component: Component = component.parse().ok()?;
            let held = view.state().get(&component)?;
            let active = held.active_image().filter(|image| image.identity.digest.to_string() == *digest);
            active.map(|_| Move { component: component.clone(), to: held.active })
        };
        let moves: Vec<Move> = switching.to.iter().filter_map(moved).collect();
        if moves.len() != switching.to.len() {
            return Memory::update(self.store, |memory| memory.switching = None).map(drop).map_err(kept);
        }
        {
            // What follows is told under the lock, so that nobody tells it something newer before.
            let store = open_soon(self.store)?;
            (self.follow)(&store);
        }
        self.note_switched(&switching)?;
        if !switching.restart {
            return Ok(());
        }
        let plan = Plan::prepare_with(&view, &moves, &switching.words, self.host)?;
        self.restart(plan, &switching.release, &switching.components(), told)
    }

    /// A person wants what waits for a restart to be used now. The device itself is not restarted.
    fn restart_asked(&self, told: &mut Vec<Told>) -> Result<(), Error> {
        let memory = Memory::load(self.store).map_err(kept)?;
        let Some(pending) =
            memory.pending.filter(|pending| memory.restart_asked && pending.boot == self.boot)
        else {
            return Ok(());
        };
        let view = Store::view(self.store)?;
        let moves = view.state().components().filter(|(name, _)| pending.components.contains(name.as_str()));
        let moves: Vec<Move> =
            moves.map(|(name, held)| Move { component: name.clone(), to: held.active }).collect();
        let reboot = |word: &String| word == REBOOT;
        let words: Vec<String> = pending.words.iter().filter(|word| !reboot(word)).cloned().collect();
        if !words.is_empty() {
            let plan = Plan::prepare_with(&view, &moves, &words, self.host)?;
            let components: Vec<Component> = moves.into_iter().map(|one| one.component).collect();
            self.restart(plan, "", &components, told)?;
        }
        let done = |memory: &mut Memory| {
            memory.restart_asked = false;
            if let Some(pending) = memory.pending.as_mut().filter(|pending| pending.words.iter().any(reboot))
            {
                pending.words.retain(reboot);
            } else {
                // From now on it is tried out.
                memory.pending =
                    memory.pending.take().map(|pending| Pending { boot: String::new(), ..pending });
            }
        };
        Memory::update(self.store, done).map(drop).map_err(kept)
    }

    /// Asks about what this agent put on trial and what runs by now, and keeps it or leaves it.
    fn ask(&self, told: &mut Vec<Told>) -> Result<(), Error> {
        let memory = Memory::load(self.store).map_err(kept)?;
        let view = Store::view(self.store)?;
        let waits = |component: &Component| {
            memory.pending.as_ref().is_some_and(|pending| {
                pending.boot == self.boot && pending.components.contains(component.as_str())
            })
        };
        let mine = |component: &Component| {
            let name = component.as_str();
            memory.switching.as_ref().is_some_and(|switching| switching.to.contains_key(name))
                || memory.pending.as_ref().is_some_and(|pending| pending.components.contains(name))
        };
        let on_trial = view
            .state()
            .components()
            .filter(|(_, held)| held.trial.as_ref().is_some_and(|trial| trial.failed.is_none()));
        let (ready, rest): (Vec<_>, Vec<_>) = on_trial.partition(|(name, held)| {
            let untried =
                held.needs_reboot() && held.trial.as_ref().is_some_and(|t| t.tries_left == t.terms.tries);
            mine(name) && !waits(name) && !untried && !self.not_started.contains(name)
        });
        if !ready.is_empty() {
            let release = memory.switching.as_ref().map_or("", |switching| switching.release.as_str());
            let names: Vec<Component> = ready.iter().map(|(name, _)| (*name).clone()).collect();
            let others = rest.iter().map(|(name, _)| (*name).clone()).collect();
            self.check_health(release, &names, others, told)?;
        }
        // Those that were not asked about are asked about once they run.
        let later = rest.iter().map(|(name, _)| *name).filter(|name| mine(name) && !waits(name));
        let later: BTreeSet<String> = later.map(ToString::to_string).collect();
        let runs_another = later.iter().any(|name| self.not_started.iter().any(|one| one.as_str() == name));
        let over = |memory: &mut Memory| {
            memory.switching = None;
            memory.pending = match memory.pending.take() {
                pending if later.is_empty() => pending.filter(|pending| pending.boot == self.boot),
                pending => Some(self.asked_later(pending, later, runs_another)),
            };
        };
        if memory.switching.is_some() || memory.pending.is_some_and(|pending| pending.boot != self.boot) {
            Memory::update(self.store, over).map_err(kept)?;
        }
        Ok(())
    }

    /// What waits, with these too: for the next start of the device if this one runs another slot of theirs, or for
    /// this one to be counted.
    fn asked_later(&self, before: Option<Pending>, later: BTreeSet<String>, next_start: bool) -> Pending {
        let before = before.unwrap_or_else(|| Pending {
            words: Vec::new(),
            components: BTreeSet::new(),
            boot: String::new(),
        });
        if before.boot == self.boot {
            let components = before.components.into_iter().chain(later).collect();
            return Pending { components, ..before };
        }
        let boot = if next_start { self.boot.clone() } else { String::new() };
        Pending { words: vec![REBOOT.to_owned()], components: later, boot }
    }

    fn check_health(
        &self,
        release: &str,
        names: &[Component],
        not_started: Vec<Component>,
        told: &mut Vec<Told>,
    ) -> Result<(), Error> {
        self.show("checking health", Some(release), None);
        let limit = Duration::from_secs(30);
        let checks = Checks { dir: None, limit, units: Vec::new(), within: Duration::ZERO, not_started };
        let follow = &mut |store: &Snapshot| (self.follow)(store);
        match health(self.store, &checks, self.host, self.clock, follow) {
            Ok(Health::Good { asked, .. }) => {
                told.push(self.line("confirm", release, &format!("it works, says {}", asked.join(", "))));
            }
            Ok(Health::Bad(left)) => {
                let reason = left.reason.clone().unwrap_or_default();
                let line = self.line("leave", release, &reason);
                told.push(Told { code: Some("unhealthy".to_owned()), ..line });
                self.note_left(&left.restarted, names)?;
            }
            Ok(_) => {}
            // Nobody is there to ask: that all was restarted has to do.
            Err(Error::NoChecks { .. }) => {
                let mut store = open_soon(self.store)?;
                let entries = store.confirm(names, (self.clock)())?;
                (self.follow)(&store);
                if !entries.is_empty() {
                    told.push(self.line("confirm", release, "it is kept; there is no health check to ask"));
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Leaves those of these components that are on trial.
    pub(super) fn leave_trial(
        &self,
        release: &str,
        components: &[Component],
        reason: &str,
        told: &mut Vec<Told>,
    ) -> Result<(), Error> {
        let view = Store::view(self.store)?;
        let on_trial = |name: &&Component| view.state().get(name).is_some_and(|held| held.trial.is_some());
        let set: Vec<Component> = components.iter().filter(on_trial).cloned().collect();
        if set.is_empty() {
            return Ok(());
        }
        let write = |store: &mut Store| store.health_failed(&set, reason, (self.clock)());
        let left = health::leave_by(self.store, &set, self.host, write, &mut |store| (self.follow)(store))?;
        if !left.entries.is_empty() {
            let line = self.line("leave", release, reason);
            told.push(Told { code: Some("not-restarted".to_owned()), ..line });
            self.note_left(&left.restarted, &set)?;
        }
        Ok(())
    }
}
