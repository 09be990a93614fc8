//! What several steps in a row must keep.

use super::*;

pub(super) type OfWhatFollows = fn(&Machine, &State) -> bool;

/// True of every state, whatever is done next.
pub(super) const OF_WHAT_FOLLOWS: &[Promise<OfWhatFollows>] = &[
    (
        "a trial ends after at most one boot more than it has tries, whatever its boot loader says",
        a_trial_ends,
    ),
    ("a boot loader that gave a trial up has ended it, unless it had not heard of it", a_loader_is_believed),
    ("a failed check falls back at once, or by the next boot if only that can", a_failed_check_falls_back),
    ("next_boot says what boot does", next_boot_says),
    ("what is done twice is done once", twice_is_once),
];

pub(super) type OfAMachine = fn(&Machine) -> bool;

/// True of a machine: what takes more than one component or a certain order.
pub(super) const STORIES: &[Promise<OfAMachine>] = &[
    ("a set switches whole or not at all", a_set_switches_whole),
    ("a denied image is refused with the reason until it is lifted", denied_until_lifted),
];

fn a_trial_ends(machine: &Machine, state: &State) -> bool {
    let Some(trial) = &only(state).trial else { return true };
    [boot()].into_iter().chain(loaders().into_iter().map(Event::from)).all(|boot| {
        let mut state = state.clone();
        (0..=trial.tries_left).any(|_| {
            let Some(next) = machine.after(&state, &boot) else { return false };
            state = next;
            only(&state).trial.is_none()
        })
    })
}

fn a_loader_is_believed(machine: &Machine, state: &State) -> bool {
    let c = only(state);
    let Some(trial) = &c.trial else { return true };
    [None, Some(c.turn), Some(c.turn + 1)].into_iter().all(|turn| {
        let booted = Booted { slot: Some(!c.active), tries_left: Some(0), turn };
        let Some(after) = machine.after(state, &Event::from(booted)) else { return false };
        let heard = turn != Some(c.turn + 1);
        let spent = trial.tries_left == 0 || trial.failed.is_some() || trial.terms.deadline == PASSED;
        match &only(&after).trial {
            None => heard || spent,
            // The boot is counted all the same.
            Some(left) => !heard && !spent && left.tries_left + 1 == trial.tries_left,
        }
    })
}

fn a_failed_check_falls_back(machine: &Machine, state: &State) -> bool {
    let c = only(state);
    let Some(trial) = &c.trial else { return true };
    let Some(after) = machine.after(state, &ill()) else { return false };
    let left = |state: &State, reason: &str| {
        let last = only(state).last_rollback.as_ref();
        only(state).trial.is_none()
            && only(state).active != c.active
            && last.is_some_and(|last| last.reason == reason)
    };
    if !c.needs_reboot() {
        return left(&after, "it is ill");
    }
    let first = trial.failed.as_deref().unwrap_or("it is ill");
    machine.after(&after, &boot()).is_some_and(|booted| left(&booted, first))
}

pub(super) fn ill() -> Event {
    Event::HealthFailed { set: vec![name("c")], reason: "it is ill".into() }
}

fn next_boot_says(machine: &Machine, state: &State) -> bool {
    let Ok((after, effects)) = (machine.decide)(state, &boot(), NOW) else { return false };
    let c = only(&after);
    match (machine.next_boot)(only(state), NOW) {
        NextBoot::Continues => after == *state && effects.is_empty(),
        NextBoot::SpendsTry { left } => c.trial.as_ref().is_some_and(|trial| trial.tries_left == left),
        NextBoot::FallsBack { to, reason } => {
            c.active == to
                && c.trial.is_none()
                && c.last_rollback.as_ref().is_some_and(|last| last.reason == reason)
        }
    }
}

fn twice_is_once(machine: &Machine, state: &State) -> bool {
    let set = vec![name("c")];
    let events = [
        Event::Confirm { set: set.clone() },
        Event::Remove { set },
        ill(),
        Event::Deadline,
        Event::Vacuum,
        Event::Abandon { component: name("c") },
        Event::Lift { component: name("c"), digest: images()[0].identity.digest },
        Event::Supersede { component: name("c"), image: bases()[0].clone() },
    ];
    events.iter().all(|event| match (machine.decide)(state, event, NOW) {
        Ok((once, _)) => (machine.decide)(&once, event, NOW) == Ok((once, vec![])),
        Err(refusal) => {
            let nothing = matches!(refusal, Refusal::NoBase { .. } | Refusal::NothingToSupersede { .. });
            nothing || matches!(refusal, Refusal::Failed { .. })
        }
    })
}

fn a_set_switches_whole(machine: &Machine) -> bool {
    let (c, d, image) = (name("c"), name("d"), images()[0].clone());
    let stage = |component: &Component| {
        let (component, image) = (component.clone(), image.clone());
        Event::BeginStage { component, image, source: None, avoid: vec![] }
    };
    let seal = |component: &Component| {
        let (component, image) = (component.clone(), image.clone());
        Event::Seal { component, slot: Slot::A, image }
    };
    let second = Event::Init { component: d.clone(), image: base() };
    let switch = |to: [&Component; 2]| Event::Switch {
        to: to.map(|component| (component.clone(), Slot::A)).to_vec(),
        trial: None,
    };
    let Some(half) = machine.story(&started(), &[second, stage(&c), stage(&d), seal(&c)]) else {
        return false;
    };
    let Some(ready) = machine.after(&half, &seal(&d)) else { return false };
    let not_sealed = Refusal::NotSealed { component: d.clone(), slot: Slot::A };
    let refused = |order| (machine.decide)(&half, &switch(order), NOW) == Err(not_sealed.clone());
    let Ok((after, effects)) = (machine.decide)(&ready, &switch([&c, &d]), NOW) else { return false };
    let twice = (machine.decide)(&ready, &switch([&c, &c]), NOW);
    refused([&c, &d])
        && refused([&d, &c])
        && after.components().all(|(_, component)| component.active == Slot::A)
        && effects.len() == 4
        && twice == Err(Refusal::Twice { component: c.clone() })
}

fn denied_until_lifted(machine: &Machine) -> bool {
    let (c, good) = (name("c"), images()[0].clone());
    let stage = Event::BeginStage { component: c.clone(), image: good.clone(), source: None, avoid: vec![] };
    let switch = Event::Switch { to: vec![(c.clone(), Slot::A)], trial: None };
    let story = [
        stage.clone(),
        Event::Seal { component: c.clone(), slot: Slot::A, image: good.clone() },
        switch.clone(),
        Event::Rollback { set: vec![c.clone()], reason: "it is bad".into() },
    ];
    let Some(state) = machine.story(&started(), &story) else { return false };
    let refused = |event: &Event| {
        let refusal = (machine.decide)(&state, event, NOW).err();
        matches!(refusal, Some(Refusal::Denied { denied, .. }) if denied.reason == "it is bad")
    };
    let lift = Event::Lift { component: c, digest: good.identity.digest };
    let lifted = machine.after(&state, &lift);
    refused(&stage)
        && refused(&switch)
        && lifted.is_some_and(|lifted| machine.after(&lifted, &switch).is_some())
}
