//! What every state, every step and every story must keep, as tables that read as the list of promises.

use super::model::*;
use super::*;
use crate::codec;
use crate::log::Tail;
use crate::state::Denied;
use std::collections::{BTreeSet, VecDeque};

mod follows;
mod steps;

/// A state machine that is put to the test: the real one, or one with a bug.
#[derive(Clone, Copy)]
pub(super) struct Machine {
    pub(super) decide: Decide,
    pub(super) next_boot: Foretell,
}

pub(super) type Decide = fn(&State, &Event, u64) -> Result<(State, Vec<Effect>), Refusal>;
pub(super) type Foretell = fn(&ComponentState, u64) -> NextBoot;

/// A promise in its own words, and whether it is kept.
type Promise<Of> = (&'static str, Of);

/// The machine itself.
pub(super) const RIGHT: Machine = Machine { decide: step, next_boot };

impl Machine {
    /// What an event leads to, if it is admitted.
    pub(super) fn after(&self, state: &State, event: &Event) -> Option<State> {
        (self.decide)(state, event, NOW).ok().map(|(after, _)| after)
    }

    /// What events in a row lead to, if all are admitted.
    pub(super) fn story(&self, state: &State, events: &[Event]) -> Option<State> {
        events.iter().try_fold(state.clone(), |state, event| self.after(&state, event))
    }
}

pub(super) fn only(state: &State) -> &ComponentState {
    state.get(&name("c")).unwrap()
}

type OfAState = fn(&ComponentState) -> bool;

/// True of every state.
const OF_A_STATE: &[Promise<OfAState>] = &[
    ("there is a bootable answer", |c| c.active_image().is_some()),
    ("there is a base, and one that was offered", |c| {
        let offered = |image: &SealedImage| bases().contains(image);
        c.places.is_some() || c.image(Slot::Base).is_some_and(offered)
    }),
    ("a base is not denied", |c| {
        c.image(Slot::Base).is_none_or(|base| c.denial(&base.identity.digest).is_none())
    }),
    ("two devices have no base", |c| {
        c.places.as_ref().is_none_or(|there| *there == places() && c.base == Held::Empty)
    }),
    ("what is active is not denied", |c| {
        c.active_image().is_some_and(|active| c.denial(&active.identity.digest).is_none())
    }),
    ("a base is never on trial", |c| c.trial.is_none() || c.active != Slot::Base),
    ("the way back is another slot", |c| c.previous != Some(c.active)),
    ("the way back can be booted", |c| c.way_back().is_none_or(|slot| c.image(slot).is_some())),
    ("a trial has a way back, and so has who has a base", |c| {
        c.way_back().is_some() || c.places.is_some() && c.trial.is_none()
    }),
    ("so many denials are remembered and no more", |c| c.denied.len() <= Denied::MOST),
    ("a trial has no more tries than it was granted", |c| {
        c.trial.as_ref().is_none_or(|trial| trial.tries_left <= trial.terms.tries)
    }),
];

/// Looks at every state that any sequence of events leads to, at every event in it and at what follows, until a
/// promise is broken. Gives the states, or the broken promise and where it was broken.
pub(super) fn hunt(machine: &Machine) -> Result<Vec<State>, String> {
    let events = events();
    let mut queue = VecDeque::from([started(), started_in_places()]);
    let mut seen: BTreeSet<Vec<u8>> = queue.iter().map(encoded).collect();
    let mut looked_at = Vec::new();
    while let Some(state) = queue.pop_front() {
        let nth = looked_at.len() + 1;
        if !kept_by_the_record(&state) {
            return Err(format!("the record takes every state and gives it back (state {nth})"));
        }
        for event in &events {
            let broken = |promise| format!("{promise} (state {nth}, {})", kind(event));
            let after = take(machine, &state, event).map_err(broken)?;
            queue.extend(after.map(plain).filter(|after| seen.insert(encoded(after))));
        }
        first_broken(follows::OF_WHAT_FOLLOWS, |kept| kept(machine, &state))
            .map_err(|promise| format!("{promise} (state {nth}, and what follows)"))?;
        looked_at.push(state);
        if nth > MOST_STATES {
            return Err("there are finitely many states".into());
        }
    }
    first_broken(follows::STORIES, |kept| kept(machine)).map_err(|promise| format!("{promise} (a story)"))?;
    Ok(looked_at)
}

/// The first word of an event.
fn kind(event: &Event) -> String {
    format!("{event:?}").split(' ').next().unwrap_or_default().to_lowercase()
}

/// More than there are, so that the hunt ends even for a machine that counts something up.
const MOST_STATES: usize = 50_000;

fn encoded(state: &State) -> Vec<u8> {
    codec::encode(state, &Tail::default())
}

/// Whether the record takes a state and gives it back.
fn kept_by_the_record(state: &State) -> bool {
    codec::decode(&encoded(state)).is_ok_and(|(read, _)| read == *state)
}

/// Takes one step and gives where it leads, if it is admitted and keeps every promise.
fn take(machine: &Machine, before: &State, event: &Event) -> Result<Option<State>, &'static str> {
    match (machine.decide)(before, event, NOW) {
        Ok((after, effects)) => {
            let (old, new) = (only(before), only(&after));
            first_broken(OF_A_STATE, |kept| kept(new))?;
            let taken = steps::Taken { old, event, new, effects: &effects };
            first_broken(steps::OF_A_STEP, |kept| kept(&taken))?;
            Ok(Some(after))
        }
        Err(refusal) => {
            first_broken(steps::OF_A_REFUSAL, |kept| kept(only(before), event, &refusal))?;
            Ok(None)
        }
    }
}

fn first_broken<Of: Copy>(promises: &[Promise<Of>], keeps: impl Fn(Of) -> bool) -> Result<(), &'static str> {
    match promises.iter().find(|(_, promise)| !keeps(*promise)) {
        Some((words, _)) => Err(words),
        None => Ok(()),
    }
}
