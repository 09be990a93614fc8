//! The agent's work, a pass at a time: look, decide, bring, switch, restart, check, keep or leave.
//!
//! ```text
//! finish what was begun ─► look ─► decide ─┬► leave what was withdrawn ─┐
//!                                  ▲       └► stage ─► switch ─► restart ─► check ─► keep or leave
//!                                  └────────────┴───────────────────────┴──────────────┘
//! ```
//!
//! What took long to fetch is looked for once more before it is switched to: it may have been withdrawn meanwhile.
//!
//! A pass can be killed anywhere. What is installed is said by the store's record alone; what the agent meant to do is
//! noted before it does it, and found out anew in the next pass: a download goes on, a sealed image is switched to, a
//! switch gets its restarts and checks. Passes exclude each other ([`crate::memory::Turn`]).

use crate::Error;
use crate::decide::{Act, Decision, Decisions, Way, decide};
use crate::memory::{self, Memory, Told, Turn};
use crate::policy::Policy;
use crate::restart::Host;
use crate::shared::Shared;
use crate::situation::situation;
use crate::source::{Catalog, Source, SourceError};
use crate::view::Activity;
use siding_image::Component;
use siding_patch::Trust;
use siding_run::{Leftovers, run};
use siding_slot::{Snapshot, Store};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

mod look;
mod settle;
mod stage;
mod switch;
mod trouble;
pub use look::next_check;
use trouble::Trouble;

/// One who works through passes.
pub struct Agent<'a> {
    /// The store's directory.
    pub store: &'a Path,
    /// What is wanted.
    pub policy: &'a Policy,
    /// Where releases come from.
    pub source: &'a dyn Source,
    /// Whose signatures on patches count; without anybody's nothing is installed, and all else is done.
    pub trust: Option<&'a Trust>,
    /// What of the system restarts use.
    pub host: &'a Host,
    /// The clock, in seconds since 1970.
    pub clock: &'a (dyn Fn() -> u64 + Sync),
    /// How many minutes local time is ahead of UTC.
    pub offset: i32,
    /// What tells this start of the device from others.
    pub boot: String,
    /// Components of which this start of the device runs another slot than the active one.
    pub not_started: Vec<Component>,
    /// What has to follow the record; called after each record write, while the store's lock is held.
    pub follow: &'a (dyn Fn(&Snapshot) + Sync),
    /// What is shown of the work, and who may end it.
    pub shared: &'a Shared,
}

/// Whether a pass looks into the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Yes.
    Now,
    /// If its time has come, and policy lets it look by itself.
    IfDue,
    /// No: it goes by what is known.
    Not,
}

/// What came of a pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// What is new: decisions that changed, and what was done.
    pub told: Vec<Told>,
    /// Why the repository could not be read, if it could not.
    pub error: Option<SourceError>,
    /// What must restart for what is installed to be in use.
    pub restart: Vec<String>,
    /// Whether it was interrupted.
    pub interrupted: bool,
}

impl Agent<'_> {
    /// Works through one pass; `None` if another agent is at it.
    ///
    /// Once this returned, all that it did survives a power cut. What could not be done is noted with its reason and
    /// tried again later; an error is of the store or of what the agent keeps itself.
    pub fn pass(&self, look: Look) -> Result<Option<Passed>, Error> {
        let Some(_turn) = Turn::take(self.store).map_err(kept)? else { return Ok(None) };
        let mut told = Vec::new();
        let done = self.work(look, &mut told);
        self.shared.show(None);
        // What was done is told, whatever happened after it.
        let written = self.tell(&mut told);
        self.call_hook(&told);
        let error = done.and_then(|error| written.map(|()| error))?;
        let memory = Memory::load(self.store).map_err(kept)?;
        let pending = memory.pending.filter(|pending| pending.boot == self.boot);
        let restart = pending.map(|pending| pending.words).unwrap_or_default();
        Ok(Some(Passed { told, error, restart, interrupted: self.shared.is_ending() }))
    }

    /// Looks into the repository, and tells what became of what: installs nothing. `None` if another agent is at it.
    pub fn check(&self) -> Result<Option<Passed>, Error> {
        let Some(_turn) = Turn::take(self.store).map_err(kept)? else { return Ok(None) };
        let mut told = Vec::new();
        let looked = self.look(Look::Now, &mut told);
        self.shared.show(None);
        let (catalog, error) = looked?;
        if let Some(catalog) = &catalog {
            let view = Store::view(self.store)?;
            told.extend(self.decide(&view, catalog)?.all.iter().map(|decision| self.decided(decision)));
        }
        self.tell(&mut told)?;
        Ok(Some(Passed { told, error, ..Passed::default() }))
    }

    fn work(&self, look: Look, told: &mut Vec<Told>) -> Result<Option<SourceError>, Error> {
        self.settle(told)?;
        let (catalog, error) = self.look(look, told)?;
        let Some(mut catalog) = catalog else { return Ok(error) };
        let (mut error, mut last, mut stuck) = (error, Vec::new(), BTreeSet::new());
        for _ in 0..MOST {
            self.tell(told)?;
            let view = Store::view(self.store)?;
            let decisions = self.decide(&view, &catalog)?;
            // What is about to be done is told before; what became of the others, at the end.
            last = decisions.all.iter().map(|decision| self.decided(decision)).collect();
            if self.shared.is_ending() {
                break;
            }
            if let Some(leave) = decisions.leave.iter().find(|leave| !stuck.contains(&leave.component)) {
                match self.leave(leave, told) {
                    // There is nowhere to go; that keeps no other component waiting.
                    Err(Error::Slot(error @ siding_slot::Error::NothingThere { .. })) => {
                        let line = self.line("fail", &leave.release.id, &error.to_string());
                        told.push(Told { code: Some("corrupt".to_owned()), ..line });
                        stuck.insert(leave.component.clone());
                    }
                    left => left?,
                }
                continue;
            }
            let Some(decision) = decisions.due().first().copied().cloned() else { break };
            told.push(self.decided(&decision));
            self.tell(told)?;
            match self.carry_out(&decision, look, told) {
                Ok(Came::Done) => {}
                Ok(Came::Late) => {
                    let (newer, failed) = self.look(Look::Now, told)?;
                    catalog = newer.unwrap_or(catalog);
                    error = failed;
                }
                Err(trouble) if trouble.interrupted => break,
                Err(trouble) => self.note_trouble(decision.release, trouble, told)?,
            }
        }
        self.forget_asked(&catalog)?;
        self.sweep_parts(&catalog);
        told.extend(last);
        self.tell(told)?;
        Ok(error)
    }

    fn decide<'c>(&self, view: &Snapshot, catalog: &'c Catalog) -> Result<Decisions<'c>, Error> {
        let now = (self.clock)();
        let situation = situation(self.store, self.policy, now, self.offset).map_err(kept)?;
        let situation = crate::decide::Situation { boot: self.boot.clone(), ..situation };
        let memory = Memory::load(self.store).map_err(kept)?;
        Ok(decide(self.policy, view.state(), catalog, &situation, &memory))
    }

    /// Brings everything that a release changes, then switches if it is time.
    fn carry_out(&self, decision: &Decision<'_>, look: Look, told: &mut Vec<Told>) -> Result<Came, Trouble> {
        let mut to = Vec::new();
        for change in &decision.changes {
            to.push((change.item.component.clone(), self.bring(decision, change)?));
        }
        let switch = match decision.act {
            Some(Act::Switch { .. }) if look != Look::Not && self.was_late(decision)? => {
                return Ok(Came::Late);
            }
            Some(Act::Switch { restart }) => self.switch(decision, &to, restart, told),
            Some(Act::Stage) => {
                told.push(self.line("stage", decision.release.id.as_str(), "it lies ready"));
                return Ok(Came::Done);
            }
            None => return Ok(Came::Done),
        };
        switch?;
        self.settle(told)?;
        Ok(Came::Done)
    }

    /// Whether something of it was fetched, and so long after the last look that it may have been withdrawn since.
    fn was_late(&self, decision: &Decision<'_>) -> Result<bool, Trouble> {
        const LONG: u64 = 60;
        if decision.changes.iter().all(|change| matches!(change.way, Way::Ready(_))) {
            return Ok(false);
        }
        let looked = Memory::load(self.store).map_err(kept)?.tried;
        Ok(looked.is_none_or(|looked| (self.clock)() >= looked.saturating_add(LONG)))
    }

    /// What was asked for by hand and is done, or cannot be, is no longer asked for.
    fn forget_asked(&self, catalog: &Catalog) -> Result<(), Error> {
        let memory = Memory::load(self.store).map_err(kept)?;
        if memory.asked.is_empty() && !memory.restart_asked || self.shared.is_ending() {
            return Ok(());
        }
        let view = Store::view(self.store)?;
        let decisions = self.decide(&view, catalog)?;
        let due = |id: &String| decisions.of(id).is_some_and(|decision| decision.act.is_some());
        let keep = |memory: &mut Memory| {
            memory.asked.retain(due);
            memory.restart_asked = false;
        };
        Memory::update(self.store, keep).map(drop).map_err(kept)
    }

    fn decided(&self, decision: &Decision<'_>) -> Told {
        let line = self.line(memory::DECIDE, &decision.release.id, &decision.reason);
        Told { code: Some(decision.code.word().to_owned()), ..line }
    }

    fn line(&self, what: &str, release: &str, text: &str) -> Told {
        let release = Some(release.to_owned()).filter(|release| !release.is_empty());
        Told { at: (self.clock)(), what: what.to_owned(), release, text: text.to_owned(), ..Told::default() }
    }

    /// Writes what is not written yet; of decisions, what is new.
    fn tell(&self, told: &mut Vec<Told>) -> Result<(), Error> {
        let new = told.split_off(told.partition_point(|line| line.written));
        told.extend(memory::tell(self.store, new).map_err(kept)?);
        Ok(())
    }

    /// Runs the hook that policy names, once for each thing that was done; whatever becomes of it.
    fn call_hook(&self, told: &[Told]) {
        const LIMIT: Duration = Duration::from_secs(30);
        let Some(hook) = &self.policy.values.hook else { return };
        for line in
            told.iter().filter(|line| ["install", "stage", "leave", "fail"].contains(&line.what.as_str()))
        {
            let mut command = Command::new(hook);
            command
                .env("SIDING_STORE", self.store)
                .env("SIDING_WHAT", &line.what)
                .env("SIDING_TEXT", &line.text);
            command.env("SIDING_RELEASE", line.release.as_deref().unwrap_or_default());
            command.env("SIDING_CODE", line.code.as_deref().unwrap_or_default());
            run(command, LIMIT, Leftovers::Keep);
        }
    }

    fn show(&self, what: &str, release: Option<&str>, component: Option<&Component>) {
        self.shared.show(Some(Activity {
            what: what.to_owned(),
            release: release.map(str::to_owned),
            component: component.map(ToString::to_string),
            done: 0,
            total: 0,
            since: (self.clock)(),
        }));
    }
}

/// What came of a release.
enum Came {
    /// What it asked for.
    Done,
    /// It was brought, but that took so long that it is decided anew after another look.
    Late,
}

/// More steps than any device needs in a pass; what is left is for the next one.
const MOST: usize = 64;

/// What the agent keeps itself cannot be read or written.
pub(crate) fn kept(source: io::Error) -> Error {
    Error::Memory { source }
}
