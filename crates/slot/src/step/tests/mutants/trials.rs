//! Bugs of trials: how they begin, what they raise, how they end.

use super::*;

pub(super) fn floors() -> Vec<Mutant> {
    vec![
        mutant("the floor is raised by a switch on trial", |state, event, now| {
            let switch = matches!(event, Event::Switch { .. });
            then(state, event, now, |c| {
                if switch {
                    raise(c);
                }
            })
        }),
        mutant("the floor is not raised by a confirm", |state, event, now| {
            let floor = only(state).floor;
            let confirm = matches!(event, Event::Confirm { .. });
            then(state, event, now, |c| {
                if confirm {
                    c.floor = floor;
                }
            })
        }),
        mutant("the floor is not raised by a switch without a trial", |state, event, now| {
            let floor = only(state).floor;
            let switch = matches!(event, Event::Switch { .. });
            then(state, event, now, |c| {
                if switch {
                    c.floor = floor;
                }
            })
        }),
        mutant("the floor goes down with a fall back", |state, event, now| {
            let rollback = matches!(event, Event::Rollback { .. });
            then(state, event, now, |c| {
                if rollback {
                    c.floor = 0;
                    raise(c);
                }
            })
        }),
        mutant("the floor is not looked at", |state, event, _| {
            let floor = only(state).floor;
            as_if(state, event, |c| c.floor = 0, |c| c.floor = c.floor.max(floor))
        }),
    ]
}

fn raise(c: &mut ComponentState) {
    c.floor = c.floor.max(c.active_image().map_or(0, |image| image.epoch));
}

pub(super) fn trials() -> Vec<Mutant> {
    vec![
        mutant("a confirm does not end the trial", |state, event, now| {
            let (confirm, trial) = (matches!(event, Event::Confirm { .. }), only(state).trial.clone());
            then(state, event, now, |c| {
                if confirm {
                    c.trial = trial;
                }
            })
        }),
        mutant("staging is admitted on trial", |state, event, now| match event {
            Event::BeginStage { .. } => {
                let trial = only(state).trial.clone();
                as_if(state, event, |c| c.trial = None, |c| c.trial = trial)
            }
            _ => step(state, event, now),
        }),
        mutant("switching is admitted on trial", |state, event, now| match event {
            Event::Switch { .. } => as_if(state, event, |c| c.trial = None, |_| {}),
            _ => step(state, event, now),
        }),
        mutant("a failed trial can be confirmed", |state, event, now| match event {
            Event::Confirm { .. } => {
                as_if(state, event, |c| c.trial.iter_mut().for_each(|trial| trial.failed = None), |_| {})
            }
            _ => step(state, event, now),
        }),
        mutant("no trial can be confirmed", |state, event, now| match event {
            Event::Confirm { .. } if only(state).trial.is_some() => {
                Err(Refusal::OnBase { component: name("c") })
            }
            _ => step(state, event, now),
        }),
        mutant("a failed check on an image that takes a reboot falls back at once", |state, event, now| {
            match event {
                Event::HealthFailed { set, reason } if only(state).trial.is_some() => {
                    step(state, &Event::Rollback { set: set.clone(), reason: reason.clone() }, now)
                }
                _ => step(state, event, now),
            }
        }),
        mutant("a failed check is not acted on", |state, event, now| match event {
            Event::HealthFailed { .. } => Ok((state.clone(), vec![])),
            _ => step(state, event, now),
        }),
        mutant("a failed check leaves what is not on trial", |state, event, now| match event {
            Event::HealthFailed { set, reason } if can_roll_back(state) => {
                step(state, &Event::Rollback { set: set.clone(), reason: reason.clone() }, now)
            }
            _ => step(state, event, now),
        }),
        mutant("a trial that has failed stays as it was", |state, event, now| {
            let trial = only(state).trial.clone();
            then(state, event, now, |c| {
                if c.trial.as_ref().is_some_and(|trial| trial.failed.is_some()) {
                    c.trial = trial;
                }
            })
        }),
        mutant("the last failure is kept instead of the first", |state, event, now| match event {
            Event::HealthFailed { .. } => {
                as_if(state, event, |c| c.trial.iter_mut().for_each(|trial| trial.failed = None), |_| {})
            }
            _ => step(state, event, now),
        }),
        mutant("the deadline is ignored", |state, event, now| match event {
            Event::Deadline | Event::Boot { .. } => without_deadline(state, event),
            _ => step(state, event, now),
        }),
        mutant("the deadline is looked at by a boot only", |state, event, now| match event {
            Event::Deadline => Ok((state.clone(), vec![])),
            _ => step(state, event, now),
        }),
        mutant("the deadline is looked at by its timer only", |state, event, now| match event {
            Event::Boot { .. } => without_deadline(state, event),
            _ => step(state, event, now),
        }),
        mutant("a deadline passes before its time", |state, event, now| match event {
            Event::Deadline => {
                let trial = only(state).trial.clone();
                let early = |c: &mut ComponentState| {
                    c.trial
                        .iter_mut()
                        .for_each(|trial| trial.terms.deadline = trial.terms.deadline.and(PASSED));
                };
                let restore = |c: &mut ComponentState| {
                    c.trial.iter_mut().zip(trial).for_each(|(trial, was)| trial.terms = was.terms);
                };
                as_if(state, event, early, restore)
            }
            _ => step(state, event, now),
        }),
        mutant("a trial has one try more than it was granted", |state, event, now| {
            let switch = matches!(event, Event::Switch { .. });
            then(state, event, now, |c| {
                if switch {
                    c.trial.iter_mut().for_each(|trial| trial.tries_left += 1);
                }
            })
        }),
        mutant("a switch forgets the trial", |state, event, now| match event {
            Event::Switch { to, .. } => step(state, &Event::Switch { to: to.clone(), trial: None }, now),
            _ => step(state, event, now),
        }),
        mutant("a remove leaves the trial standing", |state, event, now| {
            let (remove, trial) = (matches!(event, Event::Remove { .. }), only(state).trial.clone());
            then(state, event, now, |c| {
                if remove {
                    c.trial = trial;
                }
            })
        }),
    ]
}
