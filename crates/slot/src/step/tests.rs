//! Every reachable state of a small model with every event, to a fix-point.

use super::*;
use crate::codec;
use crate::log::Tail;
use crate::state::Denied;
use siding_image::{Kind, Version};
use std::collections::{BTreeMap, VecDeque};
use std::sync::LazyLock;

const NOW: u64 = 100;
const PASSED: Option<u64> = Some(50);
const TO_COME: Option<u64> = Some(200);

fn name(text: &str) -> Component {
    text.parse().unwrap()
}

fn image(version: &str, epoch: u64) -> SealedImage {
    let version: Version = version.parse().unwrap();
    let digest = Digest::of(version.to_string().as_bytes());
    let identity = Identity { kind: Kind::File, size: 1, digest };
    SealedImage { version, identity, epoch, restart: vec![], advisories: vec![], installed_at: NOW }
}

fn base() -> SealedImage {
    image("1", 1)
}

/// What can be staged: two supplements of rising epoch, one of the first epoch, and the base itself. To leave the second
/// takes a reboot.
fn images() -> Vec<SealedImage> {
    let restart = vec![crate::REBOOT.to_owned()];
    vec![image("1 (a)", 1), SealedImage { restart, ..image("1 (b)", 2) }, base()]
}

fn places() -> Places {
    Places { a: "/dev/a".into(), b: "/dev/b".into() }
}

fn boot() -> Event {
    Event::Boot { seen: BTreeMap::new() }
}

/// A component with three slots.
fn started() -> State {
    let event = Event::Init { component: name("c"), image: base() };
    step(&State::default(), &event, NOW).unwrap().0
}

/// A component with two devices.
fn started_in_places() -> State {
    let (component, image) = (name("c"), base());
    let event = Event::InitPlaces { component, places: places(), slot: Slot::A, image };
    step(&State::default(), &event, NOW).unwrap().0
}

/// Every event of the model, whether it is allowed or not.
fn events() -> Vec<Event> {
    let c = name("c");
    let mut events = vec![
        Event::Init { component: c.clone(), image: base() },
        Event::Abandon { component: c.clone() },
        boot(),
        Event::Confirm { set: vec![c.clone()] },
        Event::Rollback { set: vec![c.clone()], reason: "it is bad".into() },
        Event::Remove { set: vec![c.clone()] },
        Event::Vacuum,
        Event::Confirm { set: vec![name("unknown")] },
        Event::HealthFailed { set: vec![c.clone()], reason: "it is ill".into() },
        Event::Deadline,
        Event::InitPlaces { component: c.clone(), places: places(), slot: Slot::A, image: base() },
    ];
    events.extend(loaders().into_iter().map(Event::from));
    for slot in Slot::PATCHED {
        let image = images()[0].clone();
        events.push(Event::GoOn { component: c.clone(), slot, image, there: 1 });
    }
    for image in images() {
        let digest = image.identity.digest;
        events.push(Event::Lift { component: c.clone(), digest });
        for source in [None, Some(base().identity), Some(images()[0].identity)] {
            events.push(Event::BeginStage { component: c.clone(), image: image.clone(), source });
        }
        for slot in Slot::ALL {
            events.push(Event::Seal { component: c.clone(), slot, image: image.clone() });
        }
    }
    let terms = |tries, deadline| Some(TrialTerms { tries, deadline });
    let trials = [None, terms(0, None), terms(1, PASSED), terms(1, TO_COME), terms(2, None)];
    for slot in Slot::ALL {
        events.push(Event::Condemn { component: c.clone(), slot, reason: "it is damaged".into() });
    }
    for (slot, trial) in Slot::ALL.into_iter().flat_map(|slot| trials.map(|trial| (slot, trial))) {
        events.push(Event::Switch { to: vec![(c.clone(), slot)], trial });
    }
    events
}

/// What boot loaders may say: which slot they started, how many tries they have left, by which order. Orders are counted
/// from zero in each state ([`plain`]), so that there are finitely many states.
fn loaders() -> Vec<Booted> {
    let slots = [None, Some(Slot::A), Some(Slot::B)];
    let says = |(slot, tries_left, turn)| Booted { slot, tries_left, turn };
    let tries = [None, Some(0), Some(9)];
    let all = slots.into_iter().flat_map(|slot| tries.map(|tries_left| (slot, tries_left)));
    all.flat_map(|(slot, tries)| [None, Some(0), Some(7)].map(|turn| says((slot, tries, turn)))).collect()
}

impl From<Booted> for Event {
    fn from(booted: Booted) -> Self {
        Event::Boot { seen: BTreeMap::from([(name("c"), booted)]) }
    }
}

/// The state with its count of orders begun anew and all its reasons alike: what follows depends on the one only by
/// comparison, and on the others not at all.
fn plain(mut state: State) -> State {
    for c in state.components.values_mut() {
        c.turn = 0;
        let denied = c.denied.iter_mut().map(|denied| &mut denied.reason);
        let last = c.last_rollback.iter_mut().map(|last| &mut last.reason);
        let failed = c.trial.iter_mut().filter_map(|trial| trial.failed.as_mut());
        denied.chain(last).chain(failed).for_each(|reason| "a reason".clone_into(reason));
    }
    state
}

/// All states that any sequence of events leads to.
fn reachable() -> &'static [State] {
    static STATES: LazyLock<Vec<State>> = LazyLock::new(explore);
    &STATES
}

fn explore() -> Vec<State> {
    let mut seen = BTreeMap::new();
    let mut queue = VecDeque::from([started(), started_in_places()]);
    while let Some(state) = queue.pop_front() {
        if seen.insert(codec::encode(&state, &Tail::default()), state.clone()).is_some() {
            continue;
        }
        queue.extend(events().iter().filter_map(|event| Some(plain(step(&state, event, NOW).ok()?.0))));
    }
    seen.into_values().collect()
}

fn only(state: &State) -> &ComponentState {
    state.get(&name("c")).unwrap()
}

fn always_true(state: &State) {
    let c = only(state);
    assert!(c.active_image().is_some(), "there is a bootable answer");
    match &c.places {
        None => assert_eq!(c.image(Slot::Base), Some(&base()), "the base is what it was"),
        Some(there) => assert!(*there == places() && c.base == Held::Empty, "there never is a base"),
    }
    let active = c.active_image().unwrap();
    assert!(c.denial(&active.identity.digest).is_none(), "what is active is not denied");
    assert!(c.trial.is_none() || c.active != Slot::Base, "a base is never on trial");
    assert!(c.previous != Some(c.active), "the way back is another slot");
    assert!(c.way_back().is_none_or(|slot| c.image(slot).is_some()), "the way back can be booted");
    assert!(c.way_back().is_some() || c.places.is_some() && c.trial.is_none(), "a trial has a way back");
    assert!(c.denied.len() <= Denied::MOST);
    codec::decode(&codec::encode(state, &Tail::default())).expect("the record accepts it");
}

fn always_true_of_a_step(before: &State, event: &Event, after: &State, effects: &[Effect]) {
    let (old, new) = (only(before), only(after));
    assert!(new.floor >= old.floor, "the floor never goes down");
    assert!(before == after || !effects.is_empty(), "what changes is logged");
    let chosen = old.active != new.active;
    assert_eq!(new.turn, old.turn + u64::from(chosen), "each change of the active slot is counted");
    assert_eq!(new.places, old.places);
    let blamed = matches!(
        event,
        Event::Rollback { .. } | Event::Boot { .. } | Event::HealthFailed { .. } | Event::Deadline
    );
    if chosen && blamed {
        let left = old.active_image().unwrap().identity.digest;
        assert!(new.denial(&left).is_some(), "what was left for a reason is denied");
    }
    if let Event::Confirm { .. } = event {
        assert!(old.trial.as_ref().is_none_or(|trial| trial.failed.is_none()), "a failed trial is no good");
    }
    assert_eq!(chosen, effects.contains(&Effect::SetCurrent(name("c"), new.active)), "current follows");
    for slot in Slot::ALL {
        let emptied = old.image(slot).is_some() && new.image(slot).is_none();
        assert!(!emptied || effects.contains(&Effect::DiscardSlot(name("c"), slot)), "files go");
        assert!(!emptied || slot != old.active && slot != Slot::Base, "only what is spare is emptied");
    }
    if let (Some(trial), false) = (&new.trial, new.trial == old.trial) {
        assert!(
            matches!(
                event,
                Event::Switch { .. } | Event::Boot { .. } | Event::HealthFailed { .. } | Event::Deadline
            ),
            "{trial:?}"
        );
    }
    if matches!(event, Event::BeginStage { .. }) {
        assert!(old.trial.is_none(), "the way back stays while on trial");
    }
}

#[test]
fn every_reachable_state_with_every_event_keeps_every_promise() {
    let (states, events) = (reachable(), events());
    assert!(states.len() > 1000, "{} states", states.len());
    println!("{} states, {} events", states.len(), events.len());
    for state in states {
        always_true(state);
        for event in &events {
            if let Ok((after, effects)) = step(state, event, NOW) {
                always_true_of_a_step(state, event, &after, &effects);
            }
        }
    }
}

#[test]
fn a_trial_ends_after_at_most_one_boot_more_than_it_has_tries() {
    for state in reachable() {
        let Some(trial) = &only(state).trial else { continue };
        let boots = (0..=trial.tries_left).try_fold(state.clone(), |state, _| {
            let (next, _) = step(&state, &boot(), NOW).unwrap();
            only(&next).trial.is_some().then_some(next)
        });
        assert_eq!(boots, None, "still on trial after {} boots", trial.tries_left + 1);
    }
}

#[test]
fn a_trial_ends_whatever_its_boot_loader_says() {
    for state in reachable() {
        let Some(trial) = &only(state).trial else { continue };
        for loader in loaders() {
            let boot = Event::from(loader);
            let boots = (0..=trial.tries_left).try_fold(state.clone(), |state, _| {
                let (next, _) = step(&state, &boot, NOW).unwrap();
                only(&next).trial.is_some().then_some(next)
            });
            assert_eq!(boots, None, "{loader:?}: still on trial after {} boots", trial.tries_left + 1);
        }
    }
}

#[test]
fn a_boot_loader_that_gave_the_trial_up_has_ended_it_unless_it_had_not_heard_of_it() {
    for state in reachable() {
        let Some(trial) = &only(state).trial else { continue };
        let other = !only(state).active;
        for turn in [None, Some(only(state).turn), Some(only(state).turn + 1)] {
            let booted = Booted { slot: Some(other), tries_left: Some(0), turn };
            let (after, _) = step(state, &Event::from(booted), NOW).unwrap();
            let heard = turn != Some(only(state).turn + 1);
            let spent = trial.tries_left == 0 || trial.failed.is_some() || trial.terms.deadline == PASSED;
            assert_eq!(only(&after).trial.is_none(), heard || spent, "{trial:?} {booted:?}");
            if let Some(left) = &only(&after).trial {
                assert_eq!(left.tries_left, trial.tries_left - 1, "the boot is counted all the same");
            }
        }
    }
}

#[test]
fn a_failed_check_falls_back_at_once_or_by_the_next_boot_if_only_that_can() {
    let ill = Event::HealthFailed { set: vec![name("c")], reason: "it is ill".into() };
    let (mut at_once, mut later) = (0, 0);
    for state in reachable().iter().filter(|state| only(state).trial.is_some()) {
        let before = only(state).trial.as_ref().unwrap().failed.clone();
        let (after, _) = step(state, &ill, NOW).unwrap();
        if !only(state).needs_reboot() {
            at_once += 1;
            assert!(only(&after).trial.is_none() && only(&after).active != only(state).active);
            continue;
        }
        later += 1;
        let failed = only(&after).trial.as_ref().unwrap().failed.clone();
        assert_eq!(failed, before.or(Some("it is ill".into())), "the first failure is kept");
        let (booted, _) = step(&after, &boot(), NOW).unwrap();
        assert_eq!(only(&booted).last_rollback.as_ref().map(|last| last.reason.clone()), failed);
    }
    assert!(at_once > 100 && later > 100, "{at_once} {later}");
}

#[test]
fn next_boot_says_what_boot_does() {
    for state in reachable() {
        let (after, effects) = step(state, &boot(), NOW).unwrap();
        match next_boot(only(state), NOW) {
            NextBoot::Continues => assert!(after == *state && effects.is_empty()),
            NextBoot::SpendsTry { left } => assert_eq!(only(&after).trial.as_ref().unwrap().tries_left, left),
            NextBoot::FallsBack { to, reason } => {
                assert_eq!(only(&after).active, to);
                assert_eq!(only(&after).last_rollback.as_ref().unwrap().reason, reason);
            }
        }
    }
}

#[test]
fn what_is_done_twice_is_done_once() {
    let set = vec![name("c")];
    let events = [
        Event::Confirm { set: set.clone() },
        Event::Remove { set: set.clone() },
        Event::HealthFailed { set, reason: "it is ill".into() },
        Event::Deadline,
        Event::Vacuum,
        Event::Abandon { component: name("c") },
        Event::Lift { component: name("c"), digest: images()[0].identity.digest },
    ];
    for (state, event) in reachable().iter().flat_map(|state| events.iter().map(move |event| (state, event)))
    {
        match step(state, event, NOW) {
            Ok((once, _)) => assert_eq!(step(&once, event, NOW).unwrap(), (once, vec![]), "{event:?}"),
            Err(Refusal::Failed { .. } | Refusal::NoBase { .. }) => {}
            Err(refusal) => panic!("{event:?}: {refusal}"),
        }
    }
}

#[test]
fn denied_images_are_refused_with_the_reason_until_lifted() {
    let refused = |state: &State, event: &Event| matches!(step(state, event, NOW), Err(Refusal::Denied { denied, .. }) if denied.reason == "it is bad");
    let (good, c) = (images()[0].clone(), name("c"));
    let stage = Event::BeginStage { component: c.clone(), image: good.clone(), source: None };
    let switch = Event::Switch { to: vec![(c.clone(), Slot::A)], trial: None };
    let story = [
        stage.clone(),
        Event::Seal { component: c.clone(), slot: Slot::A, image: good.clone() },
        switch.clone(),
        Event::Rollback { set: vec![c.clone()], reason: "it is bad".into() },
    ];
    let state = story.iter().fold(started(), |state, event| step(&state, event, NOW).unwrap().0);
    assert!(refused(&state, &stage) && refused(&state, &switch));
    let lift = Event::Lift { component: c, digest: good.identity.digest };
    let (lifted, _) = step(&state, &lift, NOW).unwrap();
    assert!(step(&lifted, &switch, NOW).is_ok());
}

#[test]
fn a_set_switches_whole_or_not_at_all() {
    let mut state = started();
    let second = Event::Init { component: name("d"), image: base() };
    state = step(&state, &second, NOW).unwrap().0;
    for component in [name("c"), name("d")] {
        let image = images()[0].clone();
        let stage = Event::BeginStage { component: component.clone(), image: image.clone(), source: None };
        state = step(&state, &stage, NOW).unwrap().0;
        if component == name("c") {
            state = step(&state, &Event::Seal { component, slot: Slot::A, image }, NOW).unwrap().0;
        }
    }
    let both = |c, d| Event::Switch { to: vec![(name("c"), c), (name("d"), d)], trial: None };
    let not_sealed = Refusal::NotSealed { component: name("d"), slot: Slot::A };
    assert_eq!(step(&state, &both(Slot::A, Slot::A), NOW), Err(not_sealed));
    let seal = Event::Seal { component: name("d"), slot: Slot::A, image: images()[0].clone() };
    state = step(&state, &seal, NOW).unwrap().0;
    let (after, effects) = step(&state, &both(Slot::A, Slot::A), NOW).unwrap();
    assert!(after.components().all(|(_, c)| c.active == Slot::A));
    assert_eq!(effects.len(), 4);
    let twice = Event::Switch { to: vec![(name("c"), Slot::A), (name("c"), Slot::A)], trial: None };
    assert_eq!(step(&state, &twice, NOW), Err(Refusal::Twice { component: name("c") }));
}

#[test]
fn the_slot_to_stage_into_is_the_least_useful_one() {
    let sealed = |version: &str| Held::Sealed(image(version, 1));
    let with = |active, a: Held, b: Held| {
        let mut c = ComponentState::with_base(base());
        (c.active, c.a, c.b) = (active, a, b);
        c
    };
    let picks = |c: &ComponentState| c.staging_slot(Some(&base().identity));
    assert_eq!(picks(&with(Slot::Base, Held::Empty, Held::Empty)), Some(Slot::A));
    assert_eq!(picks(&with(Slot::Base, sealed("1 (a)"), Held::Empty)), Some(Slot::B));
    assert_eq!(picks(&with(Slot::Base, sealed("1 (a)"), Held::Staging)), Some(Slot::B));
    assert_eq!(picks(&with(Slot::Base, sealed("1 (b)"), sealed("1 (a)"))), Some(Slot::B));
    assert_eq!(picks(&with(Slot::A, sealed("1 (a)"), sealed("1 (b)"))), Some(Slot::B));
    assert_eq!(picks(&with(Slot::B, sealed("1 (c)"), sealed("1 (b)"))), Some(Slot::A));
    let mut denied = with(Slot::Base, sealed("1 (a)"), sealed("1 (b)"));
    denied.deny(&image("1 (b)", 1), "bad", NOW);
    assert_eq!(picks(&denied), Some(Slot::B));
}

#[test]
fn the_only_slot_that_holds_the_source_is_never_overwritten() {
    let mut c = ComponentState::with_base(base());
    c.a = Held::Sealed(images()[0].clone());
    c.b = Held::Sealed(images()[1].clone());
    assert_eq!(c.staging_slot(Some(&images()[0].identity)), Some(Slot::B));
    c.active = Slot::B;
    assert_eq!(c.staging_slot(Some(&images()[0].identity)), None);
    assert_eq!(c.staging_slot(Some(&images()[1].identity)), Some(Slot::A));
}

#[test]
fn denials_are_bounded_and_reasons_cut_at_a_character() {
    let mut c = ComponentState::with_base(base());
    for n in 0..20 {
        c.deny(&image(&format!("1.{n}"), 1), "bad", n);
    }
    assert_eq!((c.denied.len(), c.denied[0].at), (Denied::MOST, 4));
    assert_eq!(shorten(&"é".repeat(300)).len(), LONGEST_REASON);
    assert_eq!(shorten(&format!("x{}", "é".repeat(300))).len(), LONGEST_REASON - 1);
}
