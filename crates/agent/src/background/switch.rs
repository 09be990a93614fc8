//! The switch to what a release brought, and the way back from one that was withdrawn.

use super::{Agent, Trouble, kept};
use crate::Error;
use crate::decide::{Decision, Leave};
use crate::health;
use crate::memory::{Memory, Pending, Switching, Told};
use crate::restart::{Move, Plan, Restarted, restart_list};
use crate::way::open_soon;
use siding_image::Component;
use siding_slot::{REBOOT, Slot, Store, TrialTerms};
use std::collections::BTreeSet;

impl Agent<'_> {
    /// Makes all of a release's images active in one record write, and restarts what must restart.
    ///
    /// What is meant to happen is noted before: killed after the record write, the next pass goes on with restarts
    /// and checks. Once this returned Ok, the switch survives a power cut.
    pub(super) fn switch(
        &self,
        decision: &Decision<'_>,
        to: &[(Component, Slot)],
        restart: bool,
        told: &mut Vec<Told>,
    ) -> Result<(), Trouble> {
        let id = &decision.release.id;
        let mut store = open_soon(self.store)?;
        let moves: Vec<Move> =
            to.iter().map(|(component, to)| Move { component: component.clone(), to: *to }).collect();
        let words = restart_list(store.state(), &moves);
        // Without a word there is nothing to wait for.
        let restart = restart || words.is_empty();
        let plan = if restart { Some(Plan::prepare(&store, &moves, self.host)?) } else { None };
        plan.iter().try_for_each(Plan::require_hooks)?;
        let waits = !restart || words.iter().any(|word| word == REBOOT);
        let digests = decision
            .changes
            .iter()
            .map(|change| (change.item.component.to_string(), change.item.target.digest.to_string()));
        let (release, to_digests) = (id.clone(), digests.collect());
        let switching = Switching { release, to: to_digests, words, waits, restart, restarted: false };
        let noted = Some(switching.clone());
        Memory::update(self.store, |memory| memory.switching = noted).map_err(kept)?;
        self.show("switching", Some(id), None);
        store.switch_to(to, self.terms(waits), (self.clock)())?;
        (self.follow)(&store);
        drop(store);
        let names: Vec<String> = decision
            .changes
            .iter()
            .map(|change| format!("{} {}", change.item.component, change.item.target.version))
            .collect();
        told.push(self.line("install", id, &format!("switched to {}", names.join(", "))));
        self.note_switched(&switching)?;
        let count = |memory: &mut Memory| {
            memory.failed.remove(id);
            // Who asked for it by hand wants it again. One that came by itself may be left again, and then what was
            // removed before it must not come back in its place.
            if memory.asked.remove(id) {
                for change in &decision.changes {
                    // Who asks for something older does not want back what is between.
                    if memory
                        .unwanted(&change.item.component)
                        .is_none_or(|removed| removed <= change.item.target.version)
                    {
                        memory.removed.remove(change.item.component.as_str());
                    }
                }
            }
        };
        Memory::update(self.store, count).map_err(kept)?;
        match plan {
            Some(plan) => Ok(self.restart(plan, id, &switching.components(), told)?),
            None => Ok(()),
        }
    }

    /// A switch that was noted was made. What only a restart of the device, or one that is asked for, brings into use
    /// is not tried out before.
    pub(super) fn note_switched(&self, switching: &Switching) -> Result<(), Error> {
        let components = switching.to.keys().cloned().collect();
        let pending = Pending { words: switching.words.clone(), components, boot: self.boot.clone() };
        let note = |memory: &mut Memory| {
            if switching.waits {
                memory.pending = Some(merged(memory.pending.take(), pending));
            }
            memory.switching = memory.switching.take().filter(|switching| switching.restart);
        };
        Memory::update(self.store, note).map(drop).map_err(kept)
    }

    /// Restarts for these components; what could not be started again speaks against those of them that are on trial.
    pub(super) fn restart(
        &self,
        plan: Plan,
        release: &str,
        components: &[Component],
        told: &mut Vec<Told>,
    ) -> Result<(), Error> {
        self.show("restarting", Some(release), None);
        let restarted = plan.carry_out();
        if restarted != (Restarted { unseen: restarted.unseen, ..Restarted::default() }) {
            told.push(self.line("restart", release, &restarted_text(&restarted)));
        }
        if let Some(failed) = restarted.failed.first() {
            let reason = format!("{} was not restarted: {}", failed.what, failed.why);
            self.leave_trial(release, components, &reason, told)?;
        }
        let done = |memory: &mut Memory| {
            memory.switching.iter_mut().for_each(|switching| switching.restarted = true);
        };
        Memory::update(self.store, done).map(drop).map_err(kept)
    }

    /// On which terms to switch. A deadline would pass before what waits for a restart was ever tried.
    fn terms(&self, waits: bool) -> Option<TrialTerms> {
        let values = &self.policy.values;
        let deadline =
            values.trial_deadline.filter(|_| !waits).map(|seconds| (self.clock)().saturating_add(seconds));
        (values.trial_tries > 0).then_some(TrialTerms { tries: values.trial_tries, deadline })
    }

    /// Goes back from an image whose release was withdrawn. It is denied: only a different one comes after it.
    pub(super) fn leave(&self, leave: &Leave<'_>, told: &mut Vec<Told>) -> Result<(), Error> {
        let set = [leave.component.clone()];
        let write = |store: &mut Store| store.rollback(&set, &leave.reason, (self.clock)());
        let left = health::leave_by(self.store, &set, self.host, write, &mut |store| (self.follow)(store))?;
        let line = self.line("leave", &leave.release.id, &leave.reason);
        let (component, code) = (Some(leave.component.to_string()), Some("withdrawn".to_owned()));
        told.push(Told { component, code, ..line });
        self.note_left(&left.restarted, &set)
    }

    /// Counts, and notes what only a restart of the device leaves.
    pub(super) fn note_left(&self, restarted: &Restarted, set: &[Component]) -> Result<(), Error> {
        let components: BTreeSet<String> = set.iter().map(ToString::to_string).collect();
        let pending = Pending { words: vec![REBOOT.to_owned()], components, boot: self.boot.clone() };
        let note = |memory: &mut Memory| {
            memory.counted.rollbacks = memory.counted.rollbacks.saturating_add(1);
            if restarted.reboot {
                memory.pending = Some(merged(memory.pending.take(), pending));
            }
        };
        Memory::update(self.store, note).map(drop).map_err(kept)
    }
}

/// Both wait for the same restart, unless the device was started in between.
fn merged(before: Option<Pending>, mut now: Pending) -> Pending {
    if let Some(before) = before.filter(|before| before.boot == now.boot) {
        now.components.extend(before.components);
        now.words.extend(before.words);
        now.words.sort();
        now.words.dedup();
    }
    now
}

pub(super) fn restarted_text(done: &Restarted) -> String {
    let ended = done.ended.iter().map(|holder| format!("process {} ({})", holder.pid, holder.name));
    let names: Vec<String> = done.units.iter().chain(&done.hooks).cloned().chain(ended).collect();
    let mut text = if names.is_empty() {
        "nothing was restarted".to_owned()
    } else {
        format!("restarted {}", names.join(", "))
    };
    for failed in &done.failed {
        text += &format!("; not restarted: {}: {}", failed.what, failed.why);
    }
    if done.reboot {
        text += "; the device must restart";
    }
    if !done.still.is_empty() {
        text += &format!("; {} processes still run old bytes", done.still.len());
    }
    text
}
