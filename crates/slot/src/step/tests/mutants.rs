//! Seeded bugs of the state machine, each of which a promise must find.
//!
//! A bug is planted around [`step`]: the event is changed before it, or the outcome after it, or what it refuses is
//! done all the same. The very same hunt finds nothing in [`step`] itself; the test beside this one runs it.

use super::promises::{Decide, Foretell};
use super::*;
use crate::state::Trial;
use std::collections::BTreeMap;

mod bases;
mod boots;
mod denials;
mod slots;
mod trials;

/// One bug, in the words of the change that would bring it.
struct Mutant {
    name: &'static str,
    machine: Machine,
}

type Outcome = Result<(State, Vec<Effect>), Refusal>;

fn mutant(name: &'static str, decide: Decide) -> Mutant {
    Mutant { name, machine: Machine { decide, ..RIGHT } }
}

fn misreads(name: &'static str, next_boot: Foretell) -> Mutant {
    Mutant { name, machine: Machine { next_boot, ..RIGHT } }
}

/// The component that an event is about, in a state or an outcome.
fn c(state: &mut State) -> &mut ComponentState {
    state.components.get_mut(&name("c")).unwrap()
}

fn altered(state: &State, alter: impl FnOnce(&mut ComponentState)) -> State {
    let mut state = state.clone();
    alter(c(&mut state));
    state
}

/// What `step` decides, changed afterwards if anything follows from the event at all.
fn then(state: &State, event: &Event, now: u64, change: impl FnOnce(&mut ComponentState)) -> Outcome {
    let (after, effects) = step(state, event, now)?;
    let after = if effects.is_empty() { after } else { altered(&after, change) };
    Ok((after, effects))
}

/// What `step` would decide in another state; `restore` puts right what was only pretended.
fn as_if(
    state: &State,
    event: &Event,
    pretend: impl FnOnce(&mut ComponentState),
    restore: impl FnOnce(&mut ComponentState),
) -> Outcome {
    step(&altered(state, pretend), event, NOW).map(|(after, effects)| (altered(&after, restore), effects))
}

fn without_deadline(state: &State, event: &Event) -> Outcome {
    let deadline = only(state).trial.as_ref().and_then(|trial| trial.terms.deadline);
    let set = |c: &mut ComponentState, to| c.trial.iter_mut().for_each(|trial| trial.terms.deadline = to);
    as_if(state, event, |c| set(c, None), |c| set(c, deadline))
}

fn without_denials(state: &State, event: &Event) -> Outcome {
    let denied = only(state).denied.clone();
    as_if(state, event, |c| c.denied.clear(), |c| c.denied = denied)
}

/// What `step` decides, and a slot is emptied with its files if it holds an image.
fn emptying(state: &State, event: &Event, now: u64, slot: Option<Slot>) -> Outcome {
    let (after, effects) = step(state, event, now)?;
    let Some(slot) = slot.filter(|slot| only(&after).image(*slot).is_some()) else {
        return Ok((after, effects));
    };
    let after = altered(&after, |c| c.empty(slot, Held::Empty));
    Ok((after, [effects, vec![Effect::DiscardSlot(name("c"), slot), logged()]].concat()))
}

fn can_roll_back(state: &State) -> bool {
    only(state).active != Slot::Base && only(state).way_back().is_some()
}

/// What `step` decides; what it refuses is done by force and logged.
fn forced(state: &State, event: &Event, force: impl FnOnce(&mut ComponentState)) -> Outcome {
    step(state, event, NOW).or_else(|_| Ok((altered(state, force), vec![logged()])))
}

fn logged() -> Effect {
    let mut entry = LogEntry::new(What::Seal, &name("c"));
    entry.at = NOW;
    Effect::Log(entry)
}

fn loader(event: &Event, change: impl Fn(&mut Booted)) -> Event {
    let Event::Boot { seen } = event else { return event.clone() };
    let mut seen = seen.clone();
    seen.values_mut().for_each(change);
    Event::Boot { seen }
}

#[test]
fn every_seeded_bug_breaks_a_promise() {
    let mutants: Vec<Mutant> = [
        trials::floors(),
        trials::trials(),
        boots::boots(),
        denials::denials(),
        denials::accounts(),
        slots::slots(),
        slots::choices(),
        bases::bases(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let found = mutants.iter().map(|mutant| (mutant.name, hunt(&mutant.machine)));
    let (found, missed): (Vec<_>, Vec<_>) = found.partition(|(_, outcome)| outcome.is_err());
    for (name, outcome) in &found {
        println!("{name}: {}", outcome.as_ref().unwrap_err());
    }
    let missed: Vec<_> = missed.iter().map(|(name, _)| name).collect();
    println!("{} of {} bugs found", found.len(), mutants.len());
    assert!(missed.is_empty() && found.len() > 50, "not found: {missed:#?}");
}
