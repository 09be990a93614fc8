//! Restarts what must restart after a change of what is in use, and nothing else; then says who still runs old bytes.
//!
//! ```text
//! prepare: who maps what is left, which hooks there are ─► the record write ─► carry out: units, hooks, processes ─► look again
//! ```
//!
//! All that takes long is done before the record write, so that as little time as possible lies between it and the
//! restarts. What the words of a patch's `restart` list mean is defined in `docs/restart.md`. Nothing here changes a
//! store.

use crate::Error;
use siding_image::Component;
use siding_run::{Leftovers, run};
use siding_slot::{Slot, Snapshot, State};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

mod holders;
mod processes;
mod words;
use holders::{Found, Old};
use processes::{Doomed, doom, end, wait};
use words::{Word, is_hook_name};

/// A component that is to move to another slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Which component.
    pub component: Component,
    /// To which slot.
    pub to: Slot,
}

/// What of the system a restart uses.
#[derive(Clone, Debug)]
pub struct Host {
    /// Where processes are listed.
    pub proc: PathBuf,
    /// The program that restarts units; `None` where there is no systemd, and hooks do it.
    pub systemctl: Option<PathBuf>,
}

impl Host {
    /// The system this runs on.
    pub fn here() -> Self {
        let has_systemd = Path::new("/run/systemd/system").is_dir();
        Self { proc: "/proc".into(), systemctl: has_systemd.then(|| "systemctl".into()) }
    }
}

/// A process that maps files of an image that was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its name, without control characters.
    pub name: String,
    /// The first such file, as the kernel names it: with ` (deleted)` at its end if it is gone from its slot.
    pub file: PathBuf,
    /// Of which components.
    pub components: Vec<Component>,
}

/// Something that could not be restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// What, in the words of the list.
    pub what: String,
    /// Why.
    pub why: String,
}

/// What was restarted, and what is left to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restarted {
    /// Units that were restarted where they ran.
    pub units: Vec<String>,
    /// Names whose hooks were run.
    pub hooks: Vec<String>,
    /// Processes that were asked to end.
    pub ended: Vec<Holder>,
    /// What could not be restarted.
    pub failed: Vec<Failed>,
    /// Whether only a reboot does the rest.
    pub reboot: bool,
    /// Who still runs old bytes.
    pub still: Vec<Holder>,
    /// How many processes may not be looked at; none for root.
    pub unseen: usize,
}

impl Restarted {
    /// What carrying out a plan did, or that there was none.
    pub fn by(plan: Result<Plan, Error>) -> Self {
        match plan {
            Ok(plan) => plan.carry_out(),
            Err(error) => {
                let what = "anything: who runs what could not be found out".to_owned();
                Self { failed: vec![Failed { what, why: error.to_string() }], ..Self::default() }
            }
        }
    }

    /// Whether nothing is left to restart.
    pub fn is_complete(&self) -> bool {
        !self.reboot && self.failed.is_empty() && self.still.is_empty()
    }
}

/// What must restart if these components move: the words of the images they leave and of those they come to.
pub fn restart_list(state: &State, moves: &[Move]) -> Vec<String> {
    let mut list = BTreeSet::new();
    for Move { component, to } in moves {
        list.extend(words_of(state, component, *to));
    }
    list.into_iter().collect()
}

fn words_of(state: &State, component: &Component, to: Slot) -> BTreeSet<String> {
    let Some(held) = state.get(component) else { return BTreeSet::new() };
    let images = [held.active, to].into_iter().filter_map(|slot| held.image(slot));
    images.flat_map(|image| image.restart.iter().cloned()).collect()
}

/// A restart that is ready to be carried out.
#[derive(Debug)]
pub struct Plan {
    host: Host,
    root: PathBuf,
    old: Old,
    reboot: bool,
    units: Vec<String>,
    hooks: Vec<Hook>,
    /// Components whose old files nobody may go on mapping.
    by_process: BTreeSet<Component>,
    doomed: Vec<Doomed>,
}

#[derive(Debug)]
struct Hook {
    name: String,
    /// Where it lies, or what is wrong with it.
    path: Result<PathBuf, String>,
}

impl Plan {
    /// Finds out what there is to restart if these components move, who maps what is left, and which hooks there are.
    /// Changes nothing.
    pub fn prepare(store: &Snapshot, moves: &[Move], host: &Host) -> Result<Self, Error> {
        Self::prepare_with(store, moves, &[], host)
    }

    /// As [`prepare`](Self::prepare), with these words too: for components that have moved already, whose images that
    /// were left the record may not know any more.
    pub fn prepare_with(
        store: &Snapshot,
        moves: &[Move],
        more: &[String],
        host: &Host,
    ) -> Result<Self, Error> {
        let more: Vec<Word> = more.iter().map(|word| Word::parse(word)).collect();
        let mut words: BTreeSet<Word> = more.iter().cloned().collect();
        let mut by_process = BTreeSet::new();
        for Move { component, to } in moves {
            let of_it = words_of(store.state(), component, *to);
            let of_it: Vec<Word> = of_it.iter().map(|word| Word::parse(word)).collect();
            if of_it.contains(&Word::Process) || more.contains(&Word::Process) {
                by_process.insert(component.clone());
            }
            words.extend(of_it);
        }
        let old = Old::after(store, moves)?;
        let mut plan = Self {
            host: host.clone(),
            root: store.root().to_owned(),
            old,
            reboot: words.contains(&Word::Reboot),
            units: Vec::new(),
            hooks: Vec::new(),
            by_process,
            doomed: Vec::new(),
        };
        for word in words {
            match word {
                Word::Reboot | Word::Process => {}
                Word::Unit(name) if host.systemctl.is_some() => plan.units.push(name),
                Word::Unit(name) | Word::Name(name) => plan.hooks.push(Hook::find(&plan.root, name)),
            }
        }
        if !plan.by_process.is_empty() {
            let Found { holders, .. } = plan.old.holders(&host.proc)?;
            plan.doomed = plan.doom(holders);
        }
        Ok(plan)
    }

    /// Refuses if there is a word that nobody here knows how to restart; for where it is not yet too late to ask.
    pub fn require_hooks(&self) -> Result<(), Error> {
        let missing = |hook: &Hook| Some((hook.name.clone(), hook.path.clone().err()?));
        match self.hooks.iter().find_map(missing) {
            Some((name, why)) => Err(Error::NoHook { name, why }),
            None => Ok(()),
        }
    }

    /// Restarts, waits for it, and looks who still runs old bytes. Give the store's lock back before: what starts
    /// anew may use the store.
    pub fn carry_out(mut self) -> Restarted {
        let mut done = Restarted { reboot: self.reboot, ..Restarted::default() };
        self.restart_units(&mut done);
        for hook in &self.hooks {
            let run = hook.path.clone().and_then(|path| hook.run(&path, &self.root));
            match run {
                Ok(()) => done.hooks.push(hook.name.clone()),
                Err(why) => done.failed.push(Failed { what: hook.name.clone(), why }),
            }
        }
        done.ended = end(std::mem::take(&mut self.doomed), PATIENCE);
        let mut found = self.look(&mut done);
        if !found.holders.is_empty() {
            // A hook may return while what it ended is still ending.
            wait(&self.old, &self.host.proc, found.holders, GRACE);
            found = self.look(&mut done);
        }
        // Those that began between the first look and the record write.
        let late = self.doom(found.holders.clone());
        let late: Vec<Doomed> = late
            .into_iter()
            .filter(|late| done.ended.iter().all(|asked| asked.pid != late.holder.pid))
            .collect();
        if !late.is_empty() {
            done.ended.extend(end(late, PATIENCE));
            found = self.look(&mut done);
        }
        (done.still, done.unseen) = (found.holders, found.unseen);
        done
    }

    fn restart_units(&self, done: &mut Restarted) {
        let Some(systemctl) = self.host.systemctl.as_ref().filter(|_| !self.units.is_empty()) else { return };
        let mut command = Command::new(systemctl);
        command.args(["try-restart", "--"]).args(&self.units);
        let ran = run(command, LIMIT, Leftovers::Keep);
        if ran.is_good() {
            done.units.clone_from(&self.units);
        } else {
            let what = self.units.join(" ");
            done.failed.push(Failed { what, why: format!("systemctl try-restart: {ran}") });
        }
    }

    fn doom(&self, holders: Vec<Holder>) -> Vec<Doomed> {
        let is_meant = |holder: &Holder| holder.components.iter().any(|of| self.by_process.contains(of));
        doom(&self.old, &self.host.proc, holders.into_iter().filter(is_meant).collect())
    }

    fn look(&self, done: &mut Restarted) -> Found {
        self.old.holders(&self.host.proc).unwrap_or_else(|error| {
            done.failed
                .push(Failed { what: "the look at who runs old bytes".to_owned(), why: error.to_string() });
            Found::default()
        })
    }
}

impl Hook {
    fn find(store: &Path, name: String) -> Self {
        if !is_hook_name(&name) {
            return Self { name, path: Err("no hook can be named so".to_owned()) };
        }
        let path = store.join(HOOKS).join(&name);
        let there = rustix::fs::access(&path, rustix::fs::Access::EXEC_OK);
        let path = match there {
            Ok(()) if path.is_file() => Ok(path),
            Ok(()) => Err(format!("{} is no file", path.display())),
            Err(error) => Err(format!("there is no executable {}: {error}", path.display())),
        };
        Self { name, path }
    }

    fn run(&self, path: &Path, store: &Path) -> Result<(), String> {
        let mut command = Command::new(path);
        command.arg("restart").arg(&self.name).env("SIDING_STORE", store);
        let ran = run(command, LIMIT, Leftovers::Keep);
        if ran.is_good() { Ok(()) } else { Err(format!("{}: {ran}", path.display())) }
    }
}

/// Where a store has its hooks.
const HOOKS: &str = "restart.d";
/// How long a hook, or all units together, may take.
const LIMIT: Duration = Duration::from_secs(90);
/// How long is waited for processes that somebody else may have asked to end.
const GRACE: Duration = Duration::from_secs(1);
/// How long is waited for processes that were asked to end.
const PATIENCE: Duration = Duration::from_secs(10);
