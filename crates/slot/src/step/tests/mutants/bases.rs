//! Bugs of bases that are superseded.

use super::*;

pub(super) fn bases() -> Vec<Mutant> {
    vec![
        mutant("a trial outlives its base", |state, event, now| {
            superseded(state, event, now, |c, old| c.trial = old.trial.clone())
        }),
        mutant("slot a outlives its base", |state, event, now| {
            superseded(state, event, now, |c, old| c.a = old.a.clone())
        }),
        mutant("what is sealed in slot b outlives its base", |state, event, now| {
            superseded(state, event, now, |c, old| {
                if matches!(old.b, Held::Sealed(_)) {
                    c.b = old.b.clone();
                }
            })
        }),
        mutant("what is being staged outlives its base", |state, event, now| {
            superseded(state, event, now, |c, old| {
                if old.a == Held::Staging {
                    c.a = Held::Staging;
                }
            })
        }),
        mutant("a patch stays in use when its base is superseded", |state, event, now| {
            superseded(state, event, now, |c, old| {
                (c.active, c.a, c.b) = (old.active, old.a.clone(), old.b.clone());
            })
        }),
        mutant("the way back outlives its base", |state, event, now| {
            superseded(state, event, now, |c, old| c.previous = old.previous)
        }),
        mutant("the last fall back outlives its base", |state, event, now| {
            superseded(state, event, now, |c, old| c.last_rollback = old.last_rollback.clone())
        }),
        mutant("denials are forgotten with their base", |state, event, now| {
            superseded(state, event, now, |c, _| c.denied.clear())
        }),
        mutant("the floor begins anew with a base", |state, event, now| {
            superseded(state, event, now, |c, _| c.floor = 0)
        }),
        mutant("a new base does not raise the floor", |state, event, now| {
            superseded(state, event, now, |c, old| c.floor = old.floor)
        }),
        mutant("a new base is no turn", |state, event, now| {
            superseded(state, event, now, |c, old| c.turn = old.turn)
        }),
        mutant("a new base is written over the old one", |state, event, now| {
            superseded(state, event, now, |c, old| c.generation = old.generation)
        }),
        mutant("a base that is superseded stays the base", |state, event, now| {
            superseded(state, event, now, |c, old| c.base = old.base.clone())
        }),
        mutant("current stays with the old base", |state, event, now| {
            without(state, event, now, |effect| matches!(effect, Effect::SetCurrent(..)))
        }),
        mutant("the files of the old base stay", |state, event, now| {
            without(state, event, now, |effect| matches!(effect, Effect::DiscardBases(_)))
        }),
        mutant("the files of what was patched stay", |state, event, now| {
            without(state, event, now, |effect| matches!(effect, Effect::DiscardSlot(..)))
        }),
        mutant("the files of the base go with those of a patch", |state, event, now| {
            let (after, mut effects) = step(state, event, now)?;
            if effects.iter().any(|effect| matches!(effect, Effect::DiscardSlot(..))) {
                effects.push(Effect::DiscardBases(name("c")));
            }
            Ok((after, effects))
        }),
        mutant("a new base is not logged", |state, event, now| {
            without(state, event, now, |effect| matches!(effect, Effect::Log(_)))
        }),
        mutant("an older base comes without a word", |state, event, now| {
            let (after, mut effects) = step(state, event, now)?;
            for effect in &mut effects {
                if let Effect::Log(entry) = effect {
                    entry.reason = entry.reason.take().filter(|_| entry.what != What::Supersede);
                }
            }
            Ok((after, effects))
        }),
        mutant("a denied image may become the base", |state, event, now| match event {
            Event::Supersede { .. } => without_denials(state, event),
            _ => step(state, event, now),
        }),
        mutant("a base below the floor is admitted", |state, event, now| match event {
            Event::Supersede { .. } => {
                let floor = only(state).floor;
                as_if(state, event, |c| c.floor = 0, |c| c.floor = c.floor.max(floor))
            }
            _ => step(state, event, now),
        }),
        mutant("no base is superseded on trial", |state, event, now| match event {
            Event::Supersede { .. } if only(state).trial.is_some() => {
                Err(Refusal::OnBase { component: name("c") })
            }
            _ => step(state, event, now),
        }),
        mutant("a base supersedes itself, and takes its patches along", |state, event, now| match event {
            Event::Supersede { image: same, .. }
                if *only(state).held(Slot::Base) == Held::Sealed(same.clone()) =>
            {
                let another = |c: &mut ComponentState| c.base = Held::Sealed(image("9", 0));
                as_if(state, event, another, |_| {})
            }
            _ => step(state, event, now),
        }),
        mutant("a base that is mended takes its patches along", |state, event, now| match event {
            Event::Mend { .. } => then(state, event, now, |c| c.a = Held::Empty),
            _ => step(state, event, now),
        }),
        mutant("a base is mended where it lies", |state, event, now| match event {
            Event::Mend { .. } => then(state, event, now, |c| c.generation = only(state).generation),
            _ => step(state, event, now),
        }),
        mutant("current stays with the base that was damaged", |state, event, now| match event {
            Event::Mend { .. } => {
                without(state, event, now, |effect| matches!(effect, Effect::SetCurrent(..)))
            }
            _ => step(state, event, now),
        }),
        mutant("what is staged supersedes the base", |state, event, now| match event {
            Event::Seal { component, image, .. } if only(state).places.is_none() => {
                let (component, image) = (component.clone(), image.clone());
                step(state, &Event::Supersede { component, image }, now)
            }
            _ => step(state, event, now),
        }),
        mutant("a component of two devices gets a base", |state, event, now| match event {
            Event::Supersede { image, .. } if only(state).places.is_some() => {
                forced(state, event, |c| (c.base, c.active) = (Held::Sealed(image.clone()), Slot::Base))
            }
            _ => step(state, event, now),
        }),
        mutant("init supersedes what is there", |state, event, now| match event {
            Event::Init { component, .. } if only(state).places.is_none() => {
                let (component, image) = (component.clone(), super::super::bases()[0].clone());
                step(state, &Event::Supersede { component, image }, now)
            }
            _ => step(state, event, now),
        }),
    ]
}

/// What `step` decides; if a base was superseded, changed afterwards, knowing what was before.
fn superseded(
    state: &State,
    event: &Event,
    now: u64,
    change: impl FnOnce(&mut ComponentState, &ComponentState),
) -> Outcome {
    let (after, effects) = step(state, event, now)?;
    let came = only(&after).generation != only(state).generation;
    let after = if came { altered(&after, |c| change(c, only(state))) } else { after };
    Ok((after, effects))
}

/// What `step` decides; if a base was superseded, without these effects.
fn without(state: &State, event: &Event, now: u64, left_out: fn(&Effect) -> bool) -> Outcome {
    let (after, mut effects) = step(state, event, now)?;
    effects.retain(|effect| only(&after).generation == only(state).generation || !left_out(effect));
    Ok((after, effects))
}
