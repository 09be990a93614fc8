//! Bugs of boots and of what is told before them.

use super::*;

pub(super) fn boots() -> Vec<Mutant> {
    vec![
        mutant("a boot does not spend a try", |state, event, now| {
            let left = only(state).trial.as_ref().map(|trial| trial.tries_left);
            let boot = matches!(event, Event::Boot { .. });
            then(state, event, now, |c| {
                if let (true, Some(trial), Some(left)) = (boot, &mut c.trial, left) {
                    trial.tries_left = left;
                }
            })
        }),
        mutant("the last try is never used up", |state, event, now| match event {
            Event::Boot { .. } if only(state).trial.as_ref().is_some_and(|trial| trial.tries_left == 0) => {
                Ok((state.clone(), vec![]))
            }
            _ => step(state, event, now),
        }),
        mutant("a boot loader that has not heard of the switch is believed", |state, event, now| {
            step(state, &loader(event, |booted| booted.turn = None), now)
        }),
        mutant("a boot loader that gave up is not believed", |state, event, now| {
            step(state, &loader(event, |booted| booted.slot = None), now)
        }),
        mutant("a boot loader that gave up is not believed, but spoken of", |state, event, now| {
            let other = only(state).trial.as_ref().is_some_and(|trial| trial.tries_left > 0);
            step(
                state,
                &loader(event, |booted| {
                    if other && booted.slot.is_some() {
                        booted.turn = Some(1000);
                    }
                }),
                now,
            )
        }),
        mutant("the boot loader's lower count is ignored", |state, event, now| {
            step(state, &loader(event, |booted| booted.tries_left = None), now)
        }),
        mutant("the boot loader's count is taken though it is higher", |state, event, now| {
            let Event::Boot { seen } = event else { return step(state, event, now) };
            let count = seen.values().find_map(|booted| booted.tries_left);
            then(state, event, now, |c| {
                if let (Some(trial), Some(count)) = (&mut c.trial, count) {
                    trial.tries_left = count;
                }
            })
        }),
        mutant("a boot falls back without a trial", |state, event, now| match event {
            Event::Boot { .. } if only(state).trial.is_none() && can_roll_back(state) => {
                step(state, &Event::Rollback { set: vec![name("c")], reason: "it is bad".into() }, now)
            }
            _ => step(state, event, now),
        }),
        mutant("a boot is refused", |state, event, now| match event {
            Event::Boot { .. } if only(state).trial.is_some() => {
                Err(Refusal::OnBase { component: name("c") })
            }
            _ => step(state, event, now),
        }),
        mutant("a boot ends a trial that has tries left", |state, event, now| {
            let (boot, active) = (matches!(event, Event::Boot { .. }), only(state).active);
            then(state, event, now, |c| c.trial = c.trial.take().filter(|_| !boot || c.active != active))
        }),
        mutant("a boot forgets the deadline", |state, event, now| {
            let boot = matches!(event, Event::Boot { .. });
            let forget = |trial: &mut Trial| trial.terms.deadline = trial.terms.deadline.filter(|_| !boot);
            then(state, event, now, |c| c.trial.iter_mut().for_each(forget))
        }),
        mutant("a boot that spends a try fails the trial", |state, event, now| {
            let why = matches!(event, Event::Boot { .. }).then(|| "it is ill".to_owned());
            then(state, event, now, |c| {
                c.trial.iter_mut().for_each(|trial| trial.failed = why.clone().or(trial.failed.take()));
            })
        }),
        misreads("next_boot never sees a deadline", |c, _| next_boot(c, 0)),
        misreads("next_boot counts a try too few", |c, now| match next_boot(c, now) {
            NextBoot::SpendsTry { left } => NextBoot::SpendsTry { left: left + 1 },
            other => other,
        }),
        misreads("next_boot says that nothing happens", |_, _| NextBoot::Continues),
        misreads("next_boot names another slot", |c, now| match next_boot(c, now) {
            NextBoot::FallsBack { reason, .. } => NextBoot::FallsBack { to: c.active, reason },
            other => other,
        }),
        misreads("next_boot names another reason", |c, now| match next_boot(c, now) {
            NextBoot::FallsBack { to, .. } => NextBoot::FallsBack { to, reason: String::new() },
            other => other,
        }),
    ]
}
