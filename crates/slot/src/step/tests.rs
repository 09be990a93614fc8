//! Every reachable state of a small model with every event, to a fix-point; and machines with a bug, each of which must
//! break a promise.

use super::*;
use crate::state::Denied;

mod model;
mod mutants;
mod promises;
use model::*;
use promises::{Machine, RIGHT, hunt, only};

#[test]
fn every_reachable_state_with_every_event_keeps_every_promise() {
    let states = hunt(&RIGHT).unwrap();
    println!("{} states, {} events", states.len(), events().len());
    assert!(states.len() > 1000, "{} states", states.len());
    let on_trial = states.iter().map(only).filter(|c| c.trial.is_some());
    let (later, at_once): (Vec<_>, Vec<_>) = on_trial.partition(|c| c.needs_reboot());
    assert!(at_once.len() > 100 && later.len() > 100, "{} {}", at_once.len(), later.len());
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
