//! Verbs that change what is in use: switch, confirm, roll back, remove.

use crate::args::{Confirm, Remove, Rollback, StoreArgs, Switch, TrialArgs};
use crate::boot::not_started;
use crate::failure::{Code, Failure};
use crate::output::Reply;
use crate::project::Following;
use crate::restarts::{Restarts, change};
use crate::status::{entry_json, entry_text};
use crate::time::now;
use siding_agent::check_for_switch;
use siding_agent::restart::Move;
use siding_image::Component;
use siding_slot::{ComponentState, LogEntry, Slot, State, Store, TrialTerms};

pub(crate) fn switch(args: &Switch) -> Result<Reply, Failure> {
    let store = open(&args.store)?;
    let following = Following::checked(store.root())?;
    let Choice { to, in_use } = choose(&args.components, store.state())?;
    if to.is_empty() {
        let reply = Reply::new(in_use_text(store.state(), &in_use), json_of(&[]));
        return Ok(following.follow(&store).tell(reply));
    }
    if !args.no_check {
        to.iter().try_for_each(|(component, slot)| check_for_switch(&store, component, *slot))?;
    }
    let moves = to.iter().map(|(component, to)| Move { component: component.clone(), to: *to });
    let restarts = if args.restart { Restarts::Forward } else { Restarts::Tell };
    let write = |store: &mut Store| store.switch_to(&to, terms(&args.trial), now());
    let changed = change(store, &moves.collect::<Vec<_>>(), restarts, &following, write)?;
    Ok(changed.reply("").after(in_use_text(&changed.state, &in_use)))
}

/// What a switch is to do.
struct Choice {
    /// Where each goes that goes somewhere.
    to: Vec<(Component, Slot)>,
    /// What stays, since it is the newest there is.
    in_use: Vec<Component>,
}

/// Without names, all that wait. A name alone also brings back what was removed by hand, and what cannot be switched
/// to is refused when it is tried; but nothing that is in use is left for something older.
fn choose(named: &[Component], state: &State) -> Result<Choice, Failure> {
    let mut choice = Choice { to: Vec::new(), in_use: Vec::new() };
    if named.is_empty() {
        for (component, held) in state.components() {
            match held.waiting() {
                Some(slot) => choice.to.push((component.clone(), slot)),
                None => choice.in_use.push(component.clone()),
            }
        }
        // Others are not worth a word then.
        choice.in_use.retain(|_| choice.to.is_empty());
        return Ok(choice);
    }
    for component in named {
        let held = state.require(component).map_err(siding_slot::Error::from)?;
        match newest(held) {
            Some(slot) => choice.to.push((component.clone(), slot)),
            None if held.active == Slot::Base => {
                let component = component.clone();
                return Err(siding_slot::Error::from(siding_slot::Refusal::NothingReady { component }).into());
            }
            None => choice.in_use.push(component.clone()),
        }
    }
    Ok(choice)
}

/// The inactive slot that a component goes to when it is named. One that is denied or below the floor counts too, so
/// that the refusal says what is wrong with it.
fn newest(held: &ComponentState) -> Option<Slot> {
    let version = |slot: Slot| held.image(slot).map(|image| image.version.clone());
    let other =
        || Slot::PATCHED.into_iter().filter(|slot| *slot != held.active).max_by_key(|slot| version(*slot));
    let slot = held.ready().or_else(other).filter(|slot| held.image(*slot).is_some())?;
    // Where there is no base, what is older goes back: it was installed for that by a reverse patch.
    let goes_back = || held.places.is_some() && held.ready() == Some(slot) && held.previous != Some(slot);
    let is_newer = held.active == Slot::Base || version(slot) > version(held.active) || goes_back();
    (is_newer && held.trial.is_none()).then_some(slot)
}

fn in_use_text(state: &State, components: &[Component]) -> String {
    let line = |component: &Component| {
        let held = state.get(component)?;
        let trial = if held.trial.is_some() { ", on trial" } else { "" };
        Some(format!("{component} runs {} already{trial}\n", held.active_image()?.version))
    };
    let text: String = components.iter().filter_map(line).collect();
    if text.is_empty() && state.components().next().is_none() {
        return "the store is empty; nothing to switch".to_owned();
    }
    text
}

pub(crate) fn confirm(args: &Confirm) -> Result<Reply, Failure> {
    let mut store = open(&args.store)?;
    let (mut set, mut waiting) = (args.components.clone(), Vec::new());
    if set.is_empty() {
        let not_started = not_started(store.root(), &args.started)?;
        (waiting, set) = on_trial(store.state()).into_iter().partition(|name| not_started.contains(name));
    }
    let following = Following::of(store.root());
    let entries = store.confirm(&set, now())?;
    let reply = if waiting.is_empty() {
        told(&entries, "nothing is on trial; nothing to confirm")
    } else {
        told(&entries, "").followed_by(&waiting_text(&waiting)).needs_restart(true)
    };
    Ok(following.follow(&store).tell(reply))
}

/// What is on trial, and was not started yet.
pub(crate) fn waiting_text(components: &[Component]) -> String {
    let line =
        |name: &Component| format!("{name}: on trial, but another slot was started: restart to try it\n");
    components.iter().map(line).collect()
}

pub(crate) fn rollback(args: &Rollback) -> Result<Reply, Failure> {
    let store = open(&args.store)?;
    let set = if args.components.is_empty() { on_trial(store.state()) } else { args.components.clone() };
    if set.is_empty() {
        let message = "nothing is on trial; name a component to roll it back";
        return Err(Failure::new(Code::NotForThis, message));
    }
    // To leave what works, and was kept, is to remove it.
    let kept: Vec<Component> = set.iter().filter(|name| is_kept(store.state(), name)).cloned().collect();
    if !kept.is_empty() {
        let policy = crate::agent::policy_of(store.root())?;
        let by_hand = siding_agent::Removal { policy: &policy, set: &kept, now: now() };
        by_hand.allowed().map_err(|why| Failure::new(Code::NotForThis, why))?;
    }
    let moves = moves(store.state(), &set, ComponentState::way_back);
    let write = |store: &mut Store| store.rollback(&set, &args.reason, now());
    let following = Following::of(store.root());
    Ok(change(store, &moves, back(args.restart), &following, write)?.reply("nothing to roll back"))
}

pub(crate) fn remove(args: &Remove) -> Result<Reply, Failure> {
    let store = open(&args.store)?;
    let policy = crate::agent::policy_of(store.root())?;
    let by_hand = siding_agent::Removal { policy: &policy, set: &args.components, now: now() };
    // What a person removes does not come back by itself, and stays if the administrator says so.
    by_hand.allowed().map_err(|why| Failure::new(Code::NotForThis, why))?;
    by_hand.note(&store)?;
    let moves = moves(store.state(), &args.components, |_| Some(Slot::Base));
    let write = |store: &mut Store| store.remove(&args.components, now());
    let following = Following::of(store.root());
    let changed = change(store, &moves, back(args.restart), &following, write)?;
    Ok(changed.reply("the base is active already; nothing to remove"))
}

/// Whether a patch is in use, and was confirmed.
fn is_kept(state: &State, component: &Component) -> bool {
    state.get(component).is_some_and(|held| held.active != Slot::Base && held.trial.is_none())
}

/// Where these components go that go anywhere.
fn moves(state: &State, set: &[Component], to: impl Fn(&ComponentState) -> Option<Slot>) -> Vec<Move> {
    let moving = set.iter().filter_map(|component| {
        let held = state.get(component)?;
        let to = to(held).filter(|to| *to != held.active)?;
        Some(Move { component: component.clone(), to })
    });
    moving.collect()
}

fn back(restart: bool) -> Restarts {
    if restart { Restarts::Back } else { Restarts::Tell }
}

/// Opens for a change that does not wait for an install; a store that is not there is named with what to do.
pub(crate) fn open(args: &StoreArgs) -> Result<Store, Failure> {
    Ok(siding_agent::open_at_once(&args.store)?)
}

/// How many restarts a trial gets unless told otherwise.
const TRIES: u32 = 3;

pub(crate) fn terms(args: &TrialArgs) -> Option<TrialTerms> {
    let deadline = args.deadline.map(|seconds| now().saturating_add(seconds));
    (!args.no_trial).then_some(TrialTerms { tries: args.tries.unwrap_or(TRIES), deadline })
}

pub(crate) fn on_trial(state: &State) -> Vec<Component> {
    let on_trial = state.components().filter(|(_, component)| component.trial.is_some());
    on_trial.map(|(name, _)| name.clone()).collect()
}

/// What happened, or that nothing did.
pub(crate) fn told(entries: &[LogEntry], nothing: &str) -> Reply {
    let text = if entries.is_empty() { nothing.to_owned() } else { text_of(entries) };
    Reply::new(text, json_of(entries))
}

pub(crate) fn text_of(entries: &[LogEntry]) -> String {
    entries.iter().map(|entry| entry_text(entry) + "\n").collect()
}

pub(crate) fn json_of(entries: &[LogEntry]) -> serde_json::Value {
    entries.iter().map(entry_json).collect()
}
