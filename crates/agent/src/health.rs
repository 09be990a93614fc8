//! Whether what is on trial works: programs of the device and units of systemd say so. Good is confirmed, bad is
//! left.
//!
//! While they are asked, the store's lock is not held: they may use the store. What was changed meanwhile is neither
//! confirmed nor left.

use crate::restart::{Host, Move, Plan, Restarted};
use crate::way::open_soon;
use crate::{Error, owed};
use rustix::fs::{Access, access};
use siding_image::{Component, Digest};
use siding_run::{End, Leftovers, Ran, harmless, run};
use siding_slot::{ComponentState, LogEntry, Snapshot, State, Store};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Checks {
    /// Programs in this directory, in order of name: executable files whose name begins with no dot. The store's
    /// `health.d` if none is named.
    pub dir: Option<PathBuf>,
    /// How long each may take.
    pub limit: Duration,
    /// Units that must be active.
    pub units: Vec<String>,
    /// How long is waited for each of them.
    pub within: Duration,
    /// Components of which this start of the device runs another slot than the active one. Their trials are neither
    /// confirmed nor left: what is on trial does not run yet.
    pub not_started: Vec<Component>,
}

/// What came of it.
#[derive(Debug)]
pub enum Health {
    /// Nothing is on trial, so nothing was asked.
    NothingOnTrial,
    /// All that is on trial has failed already, and waits for the boot that leaves it; so nothing was asked.
    FailedBefore(Vec<Component>),
    /// All that could be asked about was not started yet, so nothing was asked.
    NotStarted(Vec<Component>),
    /// Everything is well.
    Good {
        /// Who said so.
        asked: Vec<String>,
        /// What was confirmed.
        entries: Vec<LogEntry>,
    },
    /// Something is not well.
    Bad(Left),
}

/// What was done about trials that failed.
#[derive(Debug)]
pub struct Left {
    /// Why, if a check said so.
    pub reason: Option<String>,
    /// What happened in the store.
    pub entries: Vec<LogEntry>,
    /// What was restarted after it.
    pub restarted: Restarted,
}

/// Asks everyone, if anything is on trial, and confirms it or leaves it.
///
/// At the first that is not well, what was on trial is rolled back and its users are restarted; an image whose patch
/// needs a reboot is left at the next one. Once this returned Ok, what it did in the store survives a power cut.
///
/// `follow` is called after the record write and before restarts, while the store's lock is held: for what has to
/// follow the record.
pub fn health(
    root: &Path,
    checks: &Checks,
    host: &Host,
    clock: &dyn Fn() -> u64,
    follow: &mut dyn FnMut(&Snapshot),
) -> Result<Health, Error> {
    let view = Store::view(root)?;
    let mut trials = trials(view.state());
    let waits = |trial: &Trial| checks.not_started.contains(&trial.component);
    let waiting: Vec<Component> = trials.extract_if(.., |trial| waits(trial)).map(|t| t.component).collect();
    if trials.is_empty() && !waiting.is_empty() {
        return Ok(Health::NotStarted(waiting));
    }
    if trials.is_empty() {
        let failed = view.state().components().filter(|(_, held)| held.trial.is_some());
        let failed: Vec<Component> = failed.map(|(name, _)| name.clone()).collect();
        return Ok(if failed.is_empty() { Health::NothingOnTrial } else { Health::FailedBefore(failed) });
    }
    match ask(&view, checks, &trials)? {
        Ok(asked) => {
            let mut store = open_soon(root)?;
            let set = unchanged(store.state(), &trials);
            let entries = store.confirm(&set, clock())?;
            follow(&store);
            Ok(Health::Good { asked, entries })
        }
        Err(reason) => {
            let store = open_soon(root)?;
            let set = unchanged(store.state(), &trials);
            let write = |store: &mut Store| store.health_failed(&set, &reason, clock());
            let left = leave(store, &set, host, write, follow)?;
            Ok(Health::Bad(Left { reason: Some(reason), ..left }))
        }
    }
}

/// Leaves what is on trial beyond its deadline; `None` if nothing is.
///
/// Once this returned Ok, what it did in the store survives a power cut. `follow` is called as by [`health`].
pub fn deadline(
    root: &Path,
    host: &Host,
    now: u64,
    follow: &mut dyn FnMut(&Snapshot),
) -> Result<Option<Left>, Error> {
    let is_late = |held: &ComponentState| {
        held.trial.as_ref().and_then(|trial| trial.terms.deadline).is_some_and(|deadline| deadline <= now)
    };
    let late = |state: &State| -> Vec<Component> {
        state.components().filter(|(_, held)| is_late(held)).map(|(name, _)| name.clone()).collect()
    };
    if late(Store::view(root)?.state()).is_empty() {
        return Ok(None);
    }
    let store = open_soon(root)?;
    let set = late(store.state());
    let left = leave(store, &set, host, |store| store.deadline(now), follow)?;
    Ok((!left.entries.is_empty()).then_some(left))
}

/// Changes the store so that components are left, has everything follow it, and restarts their users.
///
/// Once this returned Ok, the change survives a power cut. `follow` is called as by [`health`].
pub(crate) fn leave_by(
    root: &Path,
    set: &[Component],
    host: &Host,
    write: impl FnOnce(&mut Store) -> siding_slot::Result<Vec<LogEntry>>,
    follow: &mut dyn FnMut(&Snapshot),
) -> Result<Left, Error> {
    leave(open_soon(root)?, set, host, write, follow)
}

/// One trial, as it was when it was asked about.
struct Trial {
    component: Component,
    digest: Digest,
    started: u64,
    /// Which of its tries it was.
    which: String,
}

fn trials(state: &State) -> Vec<Trial> {
    let trial = |(component, held): (&Component, &ComponentState)| {
        let (trial, image) = (held.trial.as_ref()?, held.active_image()?);
        if trial.failed.is_some() {
            return None;
        }
        let tries = trial.terms.tries;
        let which = match tries.saturating_sub(trial.tries_left) {
            0 => "before its first restart".to_owned(),
            done => format!("on try {done} of {tries}"),
        };
        let digest = image.identity.digest;
        Some(Trial { component: component.clone(), digest, started: trial.started, which })
    };
    state.components().filter_map(trial).collect()
}

/// Those that are still on the very trial that was asked about.
fn unchanged(state: &State, trials: &[Trial]) -> Vec<Component> {
    let is_same = |trial: &&Trial| {
        state.get(&trial.component).is_some_and(|held| {
            held.trial.as_ref().is_some_and(|now| now.started == trial.started)
                && held.active_image().is_some_and(|image| image.identity.digest == trial.digest)
        })
    };
    trials.iter().filter(is_same).map(|trial| trial.component.clone()).collect()
}

/// Prepares restarts for those that are left at once, writes, has everything follow, gives the store back, and restarts.
fn leave(
    mut store: Store,
    set: &[Component],
    host: &Host,
    write: impl FnOnce(&mut Store) -> siding_slot::Result<Vec<LogEntry>>,
    follow: &mut dyn FnMut(&Snapshot),
) -> Result<Left, Error> {
    let held = set.iter().filter_map(|component| Some((component, store.state().get(component)?)));
    let (later, now): (Vec<_>, Vec<_>) = held.partition(|(_, held)| held.needs_reboot());
    let to = |(component, held): &(&Component, &ComponentState)| {
        held.way_back().map(|to| Move { component: (*component).clone(), to })
    };
    let moves: Vec<Move> = now.iter().filter_map(to).collect();
    let reboot = !later.is_empty();
    // To leave a bad image matters more than to restart its users.
    let plan = (!moves.is_empty()).then(|| Plan::prepare(&store, &moves, host));
    if plan.is_some() {
        owed::note(&store, &moves);
    }
    let root = store.root().to_owned();
    let entries = write(&mut store)?;
    follow(&store);
    drop(store);
    let restarted = match plan {
        Some(plan) if !entries.is_empty() => Restarted::by(plan),
        _ => Restarted::default(),
    };
    if !moves.is_empty() {
        owed::forget(&root);
    }
    let reboot = restarted.reboot || reboot && !entries.is_empty();
    Ok(Left { reason: None, entries, restarted: Restarted { reboot, ..restarted } })
}

/// Asks units, then programs: who was asked if all is well, or what is not.
fn ask(view: &Snapshot, checks: &Checks, trials: &[Trial]) -> Result<Result<Vec<String>, String>, Error> {
    let dir = checks.dir.clone().unwrap_or_else(|| view.root().join("health.d"));
    let programs = programs(&dir, checks.dir.is_some())?;
    if programs.is_empty() && checks.units.is_empty() {
        return Err(Error::NoChecks { dir });
    }
    let which = which(trials);
    for unit in &checks.units {
        if let Some(state) = not_active(unit, checks.within) {
            let within = checks.within.as_secs_f64();
            return Ok(Err(format!(
                "unit {} {which} was not active within {within} s: {state}",
                shown(unit)
            )));
        }
    }
    let components: Vec<&str> = trials.iter().map(|trial| trial.component.as_str()).collect();
    for program in &programs {
        let mut command = Command::new(program);
        command.env("SIDING_STORE", view.root()).env("SIDING_TRIAL", components.join(" "));
        let ran = run(command, checks.limit, Leftovers::Kill);
        if !ran.is_good() {
            return Ok(Err(format!("health check {} failed {which}: {ran}", name_of(program))));
        }
    }
    let units = checks.units.iter().map(|unit| shown(unit));
    Ok(Ok(units.chain(programs.iter().map(|program| name_of(program))).collect()))
}

/// On which try, said once if it is the same for all.
fn which(trials: &[Trial]) -> String {
    match trials {
        [first, rest @ ..] if rest.iter().all(|trial| trial.which == first.which) => first.which.clone(),
        all => {
            let each = all.iter().map(|trial| format!("{} {}", trial.component, trial.which));
            format!("({})", each.collect::<Vec<_>>().join(", "))
        }
    }
}

/// The executable files of a directory whose names begin with no dot, in order of name.
fn programs(dir: &Path, must_be: bool) -> Result<Vec<PathBuf>, Error> {
    let io = |source| Error::Checks { dir: dir.to_owned(), source };
    let list = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound && !must_be => return Ok(Vec::new()),
        other => other.map_err(io)?,
    };
    let mut programs = Vec::new();
    for entry in list {
        let path = entry.map_err(io)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.is_file() && access(&path, Access::EXEC_OK).is_ok() {
            programs.push(path);
        }
    }
    programs.sort();
    // A program is run where it is, not looked for where programs are.
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    Ok(programs.into_iter().map(absolute).collect())
}

/// What systemd says of a unit that is not active for so long; `None` once it is.
fn not_active(unit: &str, within: Duration) -> Option<String> {
    const POLL: Duration = Duration::from_millis(250);
    const ONE_ANSWER: Duration = Duration::from_secs(10);
    let begun = Instant::now();
    loop {
        let mut command = Command::new("systemctl");
        command.args(["is-active", "--", unit]);
        let ran = run(command, ONE_ANSWER, Leftovers::Kill);
        let left = within.saturating_sub(begun.elapsed());
        match ran.end {
            End::Code(0) => return None,
            End::Code(_) | End::Limit(_) if !left.is_zero() => std::thread::sleep(left.min(POLL)),
            End::Code(_) if !ran.said.is_empty() => return Some(ran.said),
            _ => return Some(format!("systemctl is-active: {}", Ran { said: String::new(), ..ran })),
        }
    }
}

fn name_of(program: &Path) -> String {
    shown(&program.file_name().unwrap_or_default().to_string_lossy())
}

/// A name for a reason, which has not room for all of a long one.
fn shown(name: &str) -> String {
    const MOST: usize = 48;
    harmless(&name.chars().take(MOST).collect::<String>())
}
