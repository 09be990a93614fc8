//! A story, run once, with every moment of it kept.

use super::act::{Act, ROOT, disk, perform};
use crate::disk::Disk;
use crate::layout::Layout;
use crate::log::{self, LogEntry};
use crate::sim::{Choice, SimDisk};
use crate::{State, Store, record};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// How a machine's disk looks to the program.
pub(super) type Wrap = dyn Fn(SimDisk) -> Arc<dyn Disk> + Sync;

/// As it is.
pub(super) fn plain(machine: SimDisk) -> Arc<dyn Disk> {
    Arc::new(machine)
}

/// A story that was run.
pub(super) struct Run<'w> {
    pub(super) moments: Vec<Moment>,
    /// What each record said, by its number, with all that had happened by then.
    pub(super) records: BTreeMap<u64, (State, Vec<LogEntry>)>,
    /// What all of it is in the log, as far as it was flushed, with the entries it tells.
    pub(super) flushed: (Vec<u8>, Vec<LogEntry>),
    pub(super) wrap: &'w Wrap,
    /// Whether nothing failed in it.
    pub(super) is_undisturbed: bool,
}

/// The machine before an operation.
pub(super) struct Moment {
    pub(super) machine: SimDisk,
    /// The act under way.
    pub(super) act: Option<Act>,
    /// The number of the record that the last acknowledged act left; 0 if there was none.
    pub(super) acknowledged: u64,
    /// The number of the newest record that was written so far, flushed or not.
    pub(super) written: u64,
}

impl<'w> Run<'w> {
    /// Runs a story in which nothing fails. An act that is refused ends it.
    pub(super) fn of(story: &[Act], wrap: &'w Wrap) -> Result<Self, String> {
        let mut told = vec![];
        let run = Self::on(disk(), story, wrap, |_, done| {
            told.extend(done.map_err(|error| error.to_string())?);
            Ok(true)
        })?;
        let log = run.records.last_key_value().map_or(&[][..], |(_, (_, log))| log);
        match told.iter().find(|entry| !log.contains(entry)) {
            Some(entry) => Err(format!("the log lacks {entry:?}")),
            None => Ok(run),
        }
    }

    /// Runs a story on this machine. After each act `judge` says whether it was acknowledged, or ends the story.
    pub(super) fn on(
        machine: SimDisk,
        story: &[Act],
        wrap: &'w Wrap,
        mut judge: impl FnMut(Act, crate::Result<Vec<LogEntry>>) -> Result<bool, String>,
    ) -> Result<Self, String> {
        machine.keep_moments();
        let first = machine.operations();
        let program = wrap(machine.same());
        let mut acts = vec![];
        let mut acknowledged = 0;
        for act in story {
            let done = perform(&program, *act);
            let number = || newest(&machine).map_or(0, |(number, ..)| number);
            if judge(*act, done).map_err(|why| format!("{act:?}: {why}"))? {
                acknowledged = number();
            }
            acts.push((machine.operations() - first, *act, acknowledged));
        }
        let flushed = machine.read(&Layout::new(Path::new(ROOT)).log()).unwrap_or_default();
        let flushed = (flushed.clone(), log::parse(&flushed).entries);
        let mut run = Self { moments: vec![], records: BTreeMap::new(), flushed, wrap, is_undisturbed: true };
        for machine in machine.decisive_moments() {
            let done = machine.operations() - first;
            let before = acts.iter().rev().find(|(end, ..)| *end <= done);
            let under_way = acts.iter().find(|(end, ..)| *end > done);
            let known = newest(&machine);
            let moment = Moment {
                machine,
                act: under_way.map(|(_, act, _)| *act),
                acknowledged: before.map_or(0, |(.., acknowledged)| *acknowledged),
                written: known.as_ref().map_or(0, |(number, ..)| *number),
            };
            run.records.extend(known.map(|(number, state, log)| (number, (state, log))));
            run.moments.push(moment);
        }
        Ok(run)
    }
}

/// What the newest record that the cache shows says; or would, if the machine had power.
fn newest(machine: &SimDisk) -> Option<(u64, State, Vec<LogEntry>)> {
    let layout = Layout::new(Path::new(ROOT));
    let machine = match machine.is_off() {
        true => &machine.cut(&Choice::of(0..machine.pending_len())),
        false => machine,
    };
    let number = record::read(machine, &layout.record()).ok()?.sequence;
    let snapshot = Store::view_on(Arc::new(machine.clone()), Path::new(ROOT)).ok()?;
    let log = snapshot.log().ok()?.entries;
    Some((number, snapshot.state().clone(), log))
}
