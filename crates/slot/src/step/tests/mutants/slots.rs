//! Bugs of what slots hold, and of which one is chosen.

use super::*;

pub(super) fn slots() -> Vec<Mutant> {
    vec![
        mutant("the active slot is staged into", |state, event, now| {
            let (stage, active) = (matches!(event, Event::BeginStage { .. }), only(state).active);
            then(state, event, now, |c| {
                if stage {
                    *c.held_mut(active) = Held::Staging;
                }
            })
        }),
        mutant("the active slot is staged into once it is none of the base", |state, event, now| {
            let (stage, active) = (matches!(event, Event::BeginStage { .. }), only(state).active);
            then(state, event, now, |c| {
                if stage && active != Slot::Base {
                    *c.held_mut(active) = Held::Staging;
                }
            })
        }),
        mutant("the base is staged into", |state, event, now| {
            let stage = matches!(event, Event::BeginStage { .. });
            then(state, event, now, |c| {
                if stage {
                    c.base = Held::Staging;
                }
            })
        }),
        mutant("the base is emptied by a vacuum", |state, event, now| {
            let spare = *event == Event::Vacuum && only(state).active != Slot::Base;
            then(state, event, now, |c| {
                if spare {
                    c.base = Held::Empty;
                }
            })
        }),
        mutant("the base is condemned", |state, event, now| match event {
            Event::Condemn { slot: Slot::Base, .. } => forced(state, event, |c| c.base = Held::Empty),
            _ => step(state, event, now),
        }),
        mutant("what is in use is condemned", |state, event, now| match event {
            Event::Condemn { slot, .. } if *slot != Slot::Base && *slot == only(state).active => {
                forced(state, event, |c| *c.held_mut(*slot) = Held::Empty)
            }
            _ => step(state, event, now),
        }),
        mutant("the way back of a trial is condemned with two devices", |state, event, now| match event {
            Event::Condemn { .. } => {
                let trial = only(state).trial.clone();
                as_if(state, event, |c| c.trial = None, |c| c.trial = trial)
            }
            _ => step(state, event, now),
        }),
        mutant("a vacuum empties the way back of a trial", |state, event, now| {
            let vacuum = *event == Event::Vacuum && only(state).trial.is_some();
            emptying(state, event, now, only(state).previous.filter(|slot| vacuum && *slot != Slot::Base))
        }),
        mutant("a vacuum leaves what was staged", |state, event, now| {
            let (vacuum, before) = (*event == Event::Vacuum, only(state).clone());
            let stays = Slot::PATCHED.into_iter().find(|slot| vacuum && *before.held(*slot) == Held::Staging);
            then(state, event, now, |c| stays.into_iter().for_each(|slot| *c.held_mut(slot) = Held::Staging))
        }),
        mutant("a vacuum leaves what is denied", |state, event, now| match event {
            Event::Vacuum => without_denials(state, event),
            _ => step(state, event, now),
        }),
        mutant("an abandon takes what is sealed", |state, event, now| {
            let abandon = matches!(event, Event::Abandon { .. });
            emptying(state, event, now, Some(!only(state).active).filter(|_| abandon))
        }),
        mutant("seal is admitted of a slot that is not staged into", |state, event, now| match event {
            Event::Seal { slot, image, .. } if *slot != Slot::Base && *slot != only(state).active => {
                forced(state, event, |c| *c.held_mut(*slot) = Held::Sealed(image.clone()))
            }
            _ => step(state, event, now),
        }),
        mutant("going on is admitted of a slot that is not staged into", |state, event, now| match event {
            Event::GoOn { .. } => forced(state, event, |_| {}),
            _ => step(state, event, now),
        }),
        mutant("a stage overwrites the only source", |state, event, now| match event {
            Event::BeginStage { component, image, .. } => step(
                state,
                &Event::BeginStage {
                    component: component.clone(),
                    image: image.clone(),
                    source: None,
                    avoid: vec![],
                },
                now,
            ),
            _ => step(state, event, now),
        }),
        mutant("a slot is called sealed once it is staged into", |state, event, now| match event {
            Event::BeginStage { image, .. } => then(state, event, now, |c| {
                let staged = Slot::PATCHED.into_iter().rfind(|slot| *c.held(*slot) == Held::Staging);
                staged.into_iter().for_each(|slot| *c.held_mut(slot) = Held::Sealed(image.clone()));
            }),
            _ => step(state, event, now),
        }),
        mutant("a slot that is staged into stays the way back", |state, event, now| {
            let (stage, previous) = (matches!(event, Event::BeginStage { .. }), only(state).previous);
            then(state, event, now, |c| {
                if stage {
                    c.previous = previous;
                }
            })
        }),
        mutant("a component is put in place twice", |state, event, now| match event {
            Event::Init { .. } => forced(state, event, |_| {}),
            _ => step(state, event, now),
        }),
    ]
}

pub(super) fn choices() -> Vec<Mutant> {
    vec![
        mutant("a set switches in part", |state, event, now| match event {
            Event::Switch { to, trial } if to.len() > 1 => {
                let one = |one: &(Component, Slot)| Event::Switch { to: vec![one.clone()], trial: *trial };
                let start = (state.clone(), Vec::new());
                Ok(to.iter().fold(start, |(state, effects), next| match step(&state, &one(next), now) {
                    Ok((state, more)) => (state, [effects, more].concat()),
                    Err(_) => (state, effects),
                }))
            }
            _ => step(state, event, now),
        }),
        mutant("a set may name a component twice", |state, event, now| match event {
            Event::Switch { to, trial } => {
                let once: BTreeMap<_, _> = to.iter().cloned().collect();
                step(state, &Event::Switch { to: once.into_iter().collect(), trial: *trial }, now)
            }
            _ => step(state, event, now),
        }),
        mutant("a switch goes to the other slot", |state, event, now| match event {
            Event::Switch { to, trial } => {
                let to = to.iter().map(|(component, slot)| (component.clone(), !*slot)).collect();
                step(state, &Event::Switch { to, trial: *trial }, now)
            }
            _ => step(state, event, now),
        }),
        mutant("a switch to a slot that holds nothing is admitted", |state, event, now| match event {
            Event::Switch { to, .. } => forced(state, event, |c| c.active = to[0].1),
            _ => step(state, event, now),
        }),
        mutant("a switch to the base is admitted", |state, event, now| match event {
            Event::Switch { to, .. } if to[0].1 == Slot::Base => {
                step(state, &Event::Remove { set: vec![name("c")] }, now)
            }
            _ => step(state, event, now),
        }),
        mutant("a switch does not keep the way back in mind", |state, event, now| {
            let switch = matches!(event, Event::Switch { .. });
            then(state, event, now, |c| {
                if switch {
                    c.previous = None;
                }
            })
        }),
        mutant(
            "a fall back goes to the base though the slot before is good",
            |state, event, now| match event {
                Event::Rollback { .. } if only(state).places.is_none() => {
                    as_if(state, event, |c| c.previous = None, |_| {})
                }
                _ => step(state, event, now),
            },
        ),
        mutant("a rollback is refused on trial", |state, event, now| match event {
            Event::Rollback { .. } if only(state).trial.is_some() => {
                Err(Refusal::OnBase { component: name("c") })
            }
            _ => step(state, event, now),
        }),
        mutant("a remove goes to the slot before", |state, event, now| match event {
            Event::Remove { .. } => {
                then(state, event, now, |c| c.active = only(state).previous.unwrap_or(c.active))
            }
            _ => step(state, event, now),
        }),
        mutant("with two devices a remove leads to an empty base", |state, event, now| match event {
            Event::Remove { .. } if only(state).places.is_some() => {
                as_if(state, event, |c| c.base = Held::Sealed(base()), |c| c.base = Held::Empty)
            }
            _ => step(state, event, now),
        }),
        mutant("a remove does not keep in mind what it removed", |state, event, now| {
            let remove = matches!(event, Event::Remove { .. });
            then(state, event, now, |c| {
                if remove {
                    c.previous = None;
                }
            })
        }),
        mutant("a remove is refused on trial", |state, event, now| match event {
            Event::Remove { .. } if only(state).trial.is_some() => {
                Err(Refusal::NoBase { component: name("c") })
            }
            _ => step(state, event, now),
        }),
        mutant("a switch without a trial is refused", |state, event, now| match event {
            Event::Switch { trial: None, .. } => Err(Refusal::NothingReady { component: name("c") }),
            _ => step(state, event, now),
        }),
        mutant("only one slot can be sealed", |state, event, now| match event {
            Event::Seal { component, slot: Slot::B, .. } => {
                Err(Refusal::NotStaging { component: component.clone(), slot: Slot::B })
            }
            _ => step(state, event, now),
        }),
        mutant("what is condemned stays", |state, event, now| match event {
            Event::Condemn { slot, .. } => {
                then(state, event, now, |c| *c.held_mut(*slot) = only(state).held(*slot).clone())
            }
            _ => step(state, event, now),
        }),
        mutant("a slot that cannot be emptied is staged into first", |state, event, now| match event {
            Event::BeginStage { component, image, source, .. } => {
                let (component, image, source) = (component.clone(), image.clone(), *source);
                step(state, &Event::BeginStage { component, image, source, avoid: vec![] }, now)
            }
            _ => step(state, event, now),
        }),
        mutant("what is in use is staged again", |state, event, now| {
            match (event, step(state, event, now)) {
                (Event::BeginStage { component, source, .. }, Err(Refusal::AlreadyActive { .. })) => {
                    let (component, image, source) = (component.clone(), image("1 (c)", 9), *source);
                    step(state, &Event::BeginStage { component, image, source, avoid: vec![] }, now)
                }
                (_, outcome) => outcome,
            }
        }),
        mutant("a component that is not known is passed over", |state, event, now| match event {
            Event::Confirm { set } => {
                let set = set.iter().filter(|component| state.get(component).is_some()).cloned().collect();
                step(state, &Event::Confirm { set }, now)
            }
            _ => step(state, event, now),
        }),
    ]
}
