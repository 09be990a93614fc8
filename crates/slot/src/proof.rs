//! The proof: what any cut of the power, and any one failure, can do to a store.
//!
//! A *story* is a list of acts, such as "stage image 1 (a) of c" ([`act`]). It is run once on a simulated disk that is
//! stricter than reality ([`crate::sim`]), and every moment of it is kept: the machine before each operation ([`run`]).
//! At each moment the power is cut in many ways: every subset of what was not flushed, or where that is too much
//! the telling ones and random ones; sectors torn. Each machine that comes back is opened, as the device would, and checked
//! ([`check`]); and while it is opened, the power is cut again.
//!
//! ```text
//! story ─► moments ─► cut (subset of what was pending, torn sectors) ─► open ─► check
//!                                                                        └► moments ─► cut ─► open ─► check
//! ```
//!
//! What is checked of every machine that comes back ("state" below, as in "a million states"). One that looks just like
//! another of the same moment is counted, and not opened again; so is how many were different. The power is cut again in
//! half of those that differ, once in each, however many rounds there are.
//!
//! * the store opens; what it says is what it said after the last act that was acknowledged, or a later one that was under
//!   way: never older, never a mixture;
//! * every slot that it calls sealed, the base first, holds its image byte for byte; one that it calls empty, nothing;
//! * `current` of each component leads to the active slot;
//! * the log tells all that led to this state, in order, once, and nothing else;
//! * (for some of them) life goes on: a boot, a stage, a switch, another cut.
//!
//! The same is done with every operation failing in every way ([`faults`]), and with seeded bugs, each of which must
//! be found ([`mutants`]).

mod act;
mod check;
mod faults;
mod mutants;
mod run;

use crate::sim::{Effort, SimDisk};
use check::{Check, Depth};
use run::Run;
use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

/// How thoroughly a run is explored.
#[derive(Clone, Copy, Debug)]
struct Thoroughness {
    first: Effort,
    /// For cuts while the store recovers from the first one, of one in so many machines.
    second: Effort,
    one_in: u64,
}

impl Thoroughness {
    const ORDINARY: Self = Self {
        first: Effort { all_of: 12, spread: 80, random: 400, torn: 4, seed: 1 },
        second: Effort { all_of: 5, spread: 8, random: 10, torn: 1, seed: 2 },
        one_in: 2,
    };
}

/// How many machines came back, and how many of them were not like one that was looked at before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    states: u64,
    different: u64,
}

/// What was looked at of each moment of a run, and how. A machine that looks like another one of the same moment need not
/// be looked at twice: what is asked of it has the same answer.
#[derive(Default)]
struct Looked(Vec<Mutex<HashMap<u64, u8>>>);

/// A machine that was opened.
const OPENED: u8 = 1;
/// One of which the recovery was cut, too.
const CUT_AGAIN: u8 = 2;
/// One that went on.
const WENT_ON: u8 = 4;

impl Looked {
    fn of(run: &Run<'_>) -> Self {
        Self(run.moments.iter().map(|_| Mutex::default()).collect())
    }
}

/// Cuts the power at every moment of a run, and says how many machines came back, all of them sound; or what is wrong
/// with one.
fn explore(run: &Run<'_>, how: Thoroughness, looked: &Looked) -> Result<Seen, String> {
    let (next, states, different) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let work = || -> Result<(), String> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(moment) = run.moments.get(number) else { return Ok(()) };
            let looked = &mut *looked.0[number].lock().unwrap();
            let mut moment =
                Exploring { check: Check { run, moment }, number, how, looked, seen: Seen::default() };
            let done = moment.explore();
            states.fetch_add(moment.seen.states, Ordering::Relaxed);
            different.fetch_add(moment.seen.different, Ordering::Relaxed);
            done.map_err(|why| {
                // No other moment is begun.
                next.store(run.moments.len(), Ordering::Relaxed);
                let moment = &run.moments[number];
                format!("cut after {} operations, in {:?}: {why}", moment.machine.operations(), moment.act)
            })?;
        }
    };
    std::thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })?;
    Ok(Seen { states: states.into_inner(), different: different.into_inner() })
}

/// A moment whose cuts are looked at.
struct Exploring<'r> {
    check: Check<'r>,
    number: usize,
    how: Thoroughness,
    looked: &'r mut HashMap<u64, u8>,
    seen: Seen,
}

impl Exploring<'_> {
    fn explore(&mut self) -> Result<(), String> {
        let moment = self.check.moment;
        let seed = self.how.first.seed ^ self.number as u64;
        for (turn, choice) in (0_u64..).zip(moment.machine.choices(Effort { seed, ..self.how.first })) {
            let cut = moment.machine.cut(&choice);
            let looks = match turn {
                turn if turn % self.how.one_in == 0 => CUT_AGAIN,
                turn if turn % 16 == 1 => WENT_ON,
                _ => OPENED,
            };
            self.look(&cut, looks, self.how.first.seed ^ turn)
                .map_err(|why| format!("{why}\nwith\n{}", moment.machine.tell(&choice)))?;
        }
        // The process alone dies, and the next one finds what it left in the cache; then the power goes.
        let left = moment.machine.clone();
        self.seen.states += 1;
        self.check_and_cut(&left, seed).map_err(|why| format!("with the process dead: {why}"))
    }

    /// A machine that came back; how it is looked at, unless one like it was.
    fn look(&mut self, machine: &SimDisk, looks: u8, seed: u64) -> Result<(), String> {
        self.seen.states += 1;
        let known = self.looked.entry(machine.fingerprint()).or_insert(0);
        let before = std::mem::replace(known, *known | looks | OPENED);
        self.seen.different += u64::from(before == 0);
        if before & looks != 0 || before != 0 && looks == OPENED {
            return Ok(());
        }
        match looks {
            CUT_AGAIN => self.check_and_cut(machine, seed),
            WENT_ON => self.check.machine(machine, Depth::LifeGoesOn),
            _ => self.check.machine(machine, Depth::Here),
        }
    }

    /// Checks a machine, and cuts the power while its store is opened.
    fn check_and_cut(&mut self, machine: &SimDisk, seed: u64) -> Result<(), String> {
        machine.keep_moments();
        self.check.machine(machine, Depth::Here)?;
        for recovering in machine.decisive_moments() {
            for second in recovering.choices(Effort { seed, ..self.how.second }) {
                self.look(&recovering.cut(&second), OPENED, seed).map_err(|why| {
                    let (operations, told) = (recovering.operations(), recovering.tell(&second));
                    format!("{why}\nafter a cut {operations} operations into recovery, with\n{told}")
                })?;
            }
        }
        Ok(())
    }
}

/// Explores all stories and says how many states that were.
fn explore_stories(how: Thoroughness, looked: &mut BTreeMap<&'static str, Looked>) -> Seen {
    let begun = Instant::now();
    let mut all = Seen::default();
    for (name, story) in act::stories() {
        let run = Run::of(&story, &run::plain).unwrap();
        let looked = looked.entry(name).or_insert_with(|| Looked::of(&run));
        let seen = explore(&run, how, looked).unwrap_or_else(|why| panic!("{name}: {why}"));
        println!(
            "{name}: {} moments, {} states, {} different",
            run.moments.len(),
            seen.states,
            seen.different
        );
        all = Seen { states: all.states + seen.states, different: all.different + seen.different };
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{} states, {} different, all sound, in {seconds:.1} s", all.states, all.different);
    all
}

#[test]
fn a_million_states_after_a_power_cut_are_sound() {
    let seen = explore_stories(Thoroughness::ORDINARY, &mut BTreeMap::new());
    assert!(seen.states >= 1_000_000, "{seen:?} only");
}

/// As many as `SIDING_STATES` says, each round with other random choices: `cargo xtask simulate`.
#[test]
#[ignore = "runs for as long as it is told to"]
fn as_many_states_as_wanted_are_sound() {
    let wanted: u64 =
        std::env::var("SIDING_STATES").map_or(100_000_000, |many| many.parse().expect("a number"));
    let (mut all, mut seed, mut looked) = (Seen::default(), 1, BTreeMap::new());
    while all.states < wanted {
        seed += 1;
        let first = Effort { all_of: 14, random: 4000, seed: seed << 32, ..Thoroughness::ORDINARY.first };
        let second = Effort { all_of: 8, random: 40, ..Thoroughness::ORDINARY.second };
        let seen = explore_stories(Thoroughness { first, second, ..Thoroughness::ORDINARY }, &mut looked);
        all = Seen { states: all.states + seen.states, different: all.different + seen.different };
        println!("{} states so far, {} different", all.states, all.different);
    }
}
