//! Bugs of denials and of what is accounted for.

use super::*;

pub(super) fn denials() -> Vec<Mutant> {
    vec![
        mutant("a fall back does not deny what it left", |state, event, now| {
            let denied = only(state).denied.clone();
            let lift = matches!(event, Event::Lift { .. });
            then(state, event, now, |c| {
                if !lift {
                    c.denied = denied;
                }
            })
        }),
        mutant("a boot that falls back does not deny what it left", |state, event, now| {
            let (boot, denied) = (matches!(event, Event::Boot { .. }), only(state).denied.clone());
            then(state, event, now, |c| {
                if boot {
                    c.denied = denied;
                }
            })
        }),
        mutant("a fall back denies what it goes to", |state, event, now| {
            let (rollback, active) = (matches!(event, Event::Rollback { .. }), only(state).active);
            then(state, event, now, |c| {
                let to = c.active_image().cloned();
                if let (true, Some(to)) = (rollback && c.active != active, to) {
                    c.deny(&to, "it is bad", NOW);
                }
            })
        }),
        mutant("a remove denies what it left", |state, event, now| {
            let (remove, left) = (matches!(event, Event::Remove { .. }), only(state).active_image().cloned());
            then(state, event, now, |c| {
                if let (true, Some(left)) = (remove && c.active != only(state).active, left) {
                    c.deny(&left, "it is bad", NOW);
                }
            })
        }),
        mutant("a fall back denies without its reason", |state, event, now| {
            let rollback = matches!(event, Event::Rollback { .. });
            then(state, event, now, |c| {
                if rollback {
                    c.denied.iter_mut().for_each(|denied| denied.reason.clear());
                }
            })
        }),
        mutant("the last fall back is not remembered", |state, event, now| {
            let last = only(state).last_rollback.clone();
            then(state, event, now, |c| {
                if c.last_rollback.is_some() {
                    c.last_rollback = last;
                }
            })
        }),
        mutant("a denied image is admitted by switch", |state, event, now| match event {
            Event::Switch { .. } => without_denials(state, event),
            _ => step(state, event, now),
        }),
        mutant("a denied image is admitted by stage", |state, event, now| match event {
            Event::BeginStage { .. } => without_denials(state, event),
            _ => step(state, event, now),
        }),
        mutant("a lift lifts nothing", |state, event, now| match event {
            Event::Lift { .. } => Ok((state.clone(), vec![])),
            _ => step(state, event, now),
        }),
        mutant("a lift lifts every denial", |state, event, now| {
            let lift = matches!(event, Event::Lift { .. });
            then(state, event, now, |c| {
                if lift {
                    c.denied.clear();
                }
            })
        }),
        mutant("a confirm forgets denials", |state, event, now| {
            let confirm = matches!(event, Event::Confirm { .. });
            then(state, event, now, |c| {
                if confirm {
                    c.denied.clear();
                }
            })
        }),
    ]
}

pub(super) fn accounts() -> Vec<Mutant> {
    vec![
        mutant("the turn is not counted", |state, event, now| {
            let turn = only(state).turn;
            then(state, event, now, |c| c.turn = turn)
        }),
        mutant("the turn is not counted by a fall back", |state, event, now| {
            let (turn, boot) = (only(state).turn, matches!(event, Event::Boot { .. }));
            then(state, event, now, |c| {
                if boot {
                    c.turn = turn;
                }
            })
        }),
        mutant("every boot counts as a turn", |state, event, now| {
            let boot = matches!(event, Event::Boot { .. });
            then(state, event, now, |c| {
                if boot {
                    c.turn += 1;
                }
            })
        }),
        mutant("a switch changes something and logs nothing", |state, event, now| {
            keeping(
                state,
                event,
                now,
                |effect| !matches!(effect, Effect::Log(entry) if entry.what == What::Switch),
            )
        }),
        mutant("a confirm changes something and logs nothing", |state, event, now| {
            keeping(
                state,
                event,
                now,
                |effect| !matches!(effect, Effect::Log(entry) if entry.what == What::Confirm),
            )
        }),
        mutant("a try is spent and not logged", |state, event, now| {
            keeping(
                state,
                event,
                now,
                |effect| !matches!(effect, Effect::Log(entry) if entry.what == What::Try),
            )
        }),
        mutant("a lift is not logged", |state, event, now| {
            keeping(
                state,
                event,
                now,
                |effect| !matches!(effect, Effect::Log(entry) if entry.what == What::Lift),
            )
        }),
        mutant("a stray boot loader is not spoken of", |state, event, now| {
            keeping(
                state,
                event,
                now,
                |effect| !matches!(effect, Effect::Log(entry) if entry.what == What::Stray),
            )
        }),
        mutant("current does not follow", |state, event, now| {
            keeping(state, event, now, |effect| !matches!(effect, Effect::SetCurrent(..)))
        }),
        mutant("the files of what is emptied stay", |state, event, now| {
            keeping(state, event, now, |effect| !matches!(effect, Effect::DiscardSlot(..)))
        }),
        mutant("a confirm takes the files of the way back", |state, event, now| {
            let slot = only(state).previous.filter(|_| matches!(event, Event::Confirm { .. }));
            let (after, effects) = step(state, event, now)?;
            let files = slot.map(|slot| Effect::DiscardSlot(name("c"), slot));
            Ok((after, effects.into_iter().chain(files).collect()))
        }),
        mutant("a confirm changes where devices are", |state, event, now| {
            let confirm = matches!(event, Event::Confirm { .. });
            then(state, event, now, |c| {
                if let (true, Some(places)) = (confirm, &mut c.places) {
                    std::mem::swap(&mut places.a, &mut places.b);
                }
            })
        }),
    ]
}

/// What `step` decides, without some of the effects.
fn keeping(state: &State, event: &Event, now: u64, keep: impl Fn(&Effect) -> bool) -> Outcome {
    step(state, event, now).map(|(state, effects)| (state, effects.into_iter().filter(keep).collect()))
}
