//! A small model: one component with three slots or two devices, three images, four bases, and every event.

use super::*;
use siding_image::{Kind, Version};

pub(super) const NOW: u64 = 100;
pub(super) const PASSED: Option<u64> = Some(50);
pub(super) const TO_COME: Option<u64> = Some(200);

pub(super) fn name(text: &str) -> Component {
    text.parse().unwrap()
}

pub(super) fn image(version: &str, epoch: u64) -> SealedImage {
    let version: Version = version.parse().unwrap();
    let digest = Digest::of(version.to_string().as_bytes());
    let identity = Identity { kind: Kind::File, size: 1, digest };
    SealedImage { version, identity, epoch, restart: vec![], advisories: vec![], installed_at: NOW }
}

pub(super) fn base() -> SealedImage {
    image("1", 1)
}

/// What may supersede the base: a newer one, an older one of a lower epoch, one that was a supplement, and itself.
pub(super) fn bases() -> Vec<SealedImage> {
    vec![image("2", 2), image("0", 0), images()[0].clone(), base()]
}

/// What can be staged: two supplements of rising epoch, one of the first epoch, and the base itself. To leave the
/// second takes a reboot.
pub(super) fn images() -> Vec<SealedImage> {
    let restart = vec![crate::REBOOT.to_owned()];
    vec![image("1 (a)", 1), SealedImage { restart, ..image("1 (b)", 2) }, base()]
}

pub(super) fn places() -> Places {
    Places { a: "/dev/a".into(), b: "/dev/b".into() }
}

pub(super) fn boot() -> Event {
    Event::Boot { seen: BTreeMap::new() }
}

/// A component with three slots.
pub(super) fn started() -> State {
    let event = Event::Init { component: name("c"), image: base() };
    step(&State::default(), &event, NOW).unwrap().0
}

/// A component with two devices.
pub(super) fn started_in_places() -> State {
    let (component, image) = (name("c"), base());
    let event = Event::InitPlaces { component, places: places(), slot: Slot::A, image };
    step(&State::default(), &event, NOW).unwrap().0
}

/// Every event of the model, whether it is allowed or not.
pub(super) fn events() -> Vec<Event> {
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
        Event::Mend { component: c.clone() },
        Event::InitPlaces { component: c.clone(), places: places(), slot: Slot::A, image: base() },
    ];
    let supersede = |image| Event::Supersede { component: c.clone(), image };
    events.extend(bases().into_iter().map(supersede));
    events.extend(loaders().into_iter().map(Event::from));
    for slot in Slot::PATCHED {
        let image = images()[0].clone();
        events.push(Event::GoOn { component: c.clone(), slot, image, there: 1 });
    }
    for image in images() {
        let digest = image.identity.digest;
        events.push(Event::Lift { component: c.clone(), digest });
        for source in [None, Some(base().identity), Some(images()[0].identity)] {
            let (component, image) = (c.clone(), image.clone());
            events.push(Event::BeginStage { component, image, source, avoid: vec![] });
        }
        for avoid in [vec![Slot::A], vec![Slot::A, Slot::B]] {
            let (component, image) = (c.clone(), image.clone());
            events.push(Event::BeginStage { component, image, source: Some(base().identity), avoid });
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

/// What boot loaders may say: which slot they started, how many tries they have left, by which order. Orders are
/// counted from zero in each state ([`plain`]), so that there are finitely many states.
pub(super) fn loaders() -> Vec<Booted> {
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

/// The state with its counts of orders and of bases begun anew and all its reasons alike: what follows depends on the
/// first only by comparison, and on the others not at all.
pub(super) fn plain(mut state: State) -> State {
    for c in state.components.values_mut() {
        (c.turn, c.generation) = (0, 0);
        let denied = c.denied.iter_mut().map(|denied| &mut denied.reason);
        let last = c.last_rollback.iter_mut().map(|last| &mut last.reason);
        let failed = c.trial.iter_mut().filter_map(|trial| trial.failed.as_mut());
        denied.chain(last).chain(failed).for_each(|reason| "a reason".clone_into(reason));
    }
    state
}
