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
//! What is checked of every machine that comes back ("state" below, as in "a million states"):
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

use crate::sim::Effort;
use check::{Check, Depth};
use run::Run;
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
        first: Effort { all_of: 9, spread: 40, random: 55, torn: 2, seed: 1 },
        second: Effort { all_of: 4, spread: 4, random: 3, torn: 1, seed: 2 },
        one_in: 2,
    };
}

/// Cuts the power at every moment of a run, and says how many machines came back, all of them sound; or what is wrong
/// with one.
fn explore(run: &Run<'_>, how: Thoroughness) -> Result<u64, String> {
    let (next, states) = (AtomicUsize::new(0), AtomicU64::new(0));
    let work = || -> Result<(), String> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(moment) = run.moments.get(number) else { return Ok(()) };
            let mut seen = 0;
            let done = explore_moment(run, number, how, &mut seen);
            states.fetch_add(seen, Ordering::Relaxed);
            done.map_err(|why| {
                // No other moment is begun.
                next.store(run.moments.len(), Ordering::Relaxed);
                format!("cut after {} operations, in {:?}: {why}", moment.machine.operations(), moment.act)
            })?;
        }
    };
    std::thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })?;
    Ok(states.into_inner())
}

fn explore_moment(run: &Run<'_>, number: usize, how: Thoroughness, seen: &mut u64) -> Result<(), String> {
    let moment = &run.moments[number];
    let check = Check { run, moment };
    for (turn, choice) in
        (0_u64..).zip(moment.machine.choices(Effort { seed: how.first.seed ^ number as u64, ..how.first }))
    {
        let told = |why: String| format!("{why}\nwith\n{}", moment.machine.tell(&choice));
        let cut = moment.machine.cut(&choice);
        *seen += 1;
        let again = turn % how.one_in == 0;
        if again {
            cut.keep_moments();
        }
        let depth = if !again && turn % 16 == 1 { Depth::LifeGoesOn } else { Depth::Here };
        check.machine(&cut, depth).map_err(told)?;
        if again {
            for recovering in cut.decisive_moments() {
                for second in recovering.choices(Effort { seed: how.first.seed ^ turn, ..how.second }) {
                    *seen += 1;
                    check.machine(&recovering.cut(&second), Depth::Here).map_err(|why| {
                        let after = format!(
                            "{why}\nafter a second cut, {} operations into recovery, with\n",
                            recovering.operations()
                        );
                        told(after + &recovering.tell(&second))
                    })?;
                }
            }
        }
    }
    // The process alone dies, and the next one finds what it left in the cache; then the power goes.
    let left = moment.machine.clone();
    left.keep_moments();
    *seen += 1;
    check.machine(&left, Depth::Here).map_err(|why| format!("with the process dead: {why}"))?;
    for recovering in left.decisive_moments() {
        for choice in recovering.choices(Effort { seed: how.first.seed ^ number as u64, ..how.second }) {
            *seen += 1;
            check.machine(&recovering.cut(&choice), Depth::Here).map_err(|why| {
                let told = recovering.tell(&choice);
                format!(
                    "{why}\nafter a cut while the next process looks at what a dead one left, with\n{told}"
                )
            })?;
        }
    }
    Ok(())
}

/// Explores all stories and says how many states that were.
fn explore_stories(how: Thoroughness) -> u64 {
    let begun = Instant::now();
    let mut states = 0;
    for (name, story) in act::stories() {
        let run = Run::of(&story, &run::plain).unwrap();
        let moments = run.moments.len();
        let seen = explore(&run, how).unwrap_or_else(|why| panic!("{name}: {why}"));
        println!("{name}: {moments} moments, {seen} states");
        states += seen;
    }
    println!("{states} states, all sound, in {:.1} s", begun.elapsed().as_secs_f64());
    states
}

#[test]
fn a_million_states_after_a_power_cut_are_sound() {
    let states = explore_stories(Thoroughness::ORDINARY);
    assert!(states >= 1_000_000, "{states} states only");
}

/// As many as `SIDING_STATES` says, each round with other random choices: `cargo xtask simulate`.
#[test]
#[ignore = "runs for as long as it is told to"]
fn as_many_states_as_wanted_are_sound() {
    let wanted: u64 =
        std::env::var("SIDING_STATES").map_or(100_000_000, |many| many.parse().expect("a number"));
    let (mut states, mut seed) = (0, 1);
    while states < wanted {
        seed += 1;
        let first = Effort { all_of: 11, random: 400, seed: seed << 32, ..Thoroughness::ORDINARY.first };
        let second = Effort { all_of: 5, random: 10, ..Thoroughness::ORDINARY.second };
        states += explore_stories(Thoroughness { first, second, ..Thoroughness::ORDINARY });
        println!("{states} states so far");
    }
}
