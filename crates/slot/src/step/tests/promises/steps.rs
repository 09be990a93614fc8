//! What every step and every refusal must keep.

use super::*;
use crate::log::{LogEntry, What};
use crate::state::Trial;

/// A step that was admitted.
pub(super) struct Taken<'a> {
    pub(super) old: &'a ComponentState,
    pub(super) event: &'a Event,
    pub(super) new: &'a ComponentState,
    pub(super) effects: &'a [Effect],
}

impl Taken<'_> {
    fn chosen(&self) -> bool {
        self.old.active != self.new.active || self.superseded()
    }

    /// Whether another base came.
    fn superseded(&self) -> bool {
        self.old.generation != self.new.generation && !self.mends()
    }

    /// Whether the base is put in place anew.
    fn mends(&self) -> bool {
        matches!(self.event, Event::Mend { .. })
    }

    /// The base that is offered.
    fn offered(&self) -> Option<&SealedImage> {
        if let Event::Supersede { image, .. } = self.event { Some(image) } else { None }
    }

    /// Whether this event leaves an image because it is bad.
    fn blames(&self) -> bool {
        let (boot, rollback) =
            (matches!(self.event, Event::Boot { .. }), matches!(self.event, Event::Rollback { .. }));
        boot || rollback || matches!(self.event, Event::HealthFailed { .. } | Event::Deadline)
    }

    fn logged(&self) -> impl Iterator<Item = &LogEntry> {
        self.effects
            .iter()
            .filter_map(|effect| if let Effect::Log(entry) = effect { Some(entry) } else { None })
    }

    fn discards(&self, slot: Slot) -> bool {
        self.effects.contains(&Effect::DiscardSlot(name("c"), slot))
    }

    /// Which slots hold something else now.
    fn changed(&self) -> Vec<Slot> {
        Slot::ALL.into_iter().filter(|slot| self.old.held(*slot) != self.new.held(*slot)).collect()
    }

    /// The image that this event brings in, staged or switched to.
    fn comes(&self) -> Option<&SealedImage> {
        match self.event {
            Event::BeginStage { image, .. } => Some(image),
            Event::Switch { to, .. } => to.first().and_then(|(_, slot)| self.old.image(*slot)),
            _ => None,
        }
    }

    fn failed(&self) -> Option<&String> {
        self.new.trial.as_ref().and_then(|trial| trial.failed.as_ref())
    }
}

/// What a boot loader says of this start, if this is one.
fn booted(event: &Event) -> Option<Booted> {
    let Event::Boot { seen } = event else { return None };
    Some(seen.values().next().copied().unwrap_or_default())
}

/// What must be left at the latest by the next look at the clock.
fn late(held: &ComponentState) -> bool {
    held.trial.as_ref().is_some_and(|trial| trial.terms.deadline.is_some_and(|deadline| deadline <= NOW))
}

pub(super) type OfAStep = fn(&Taken<'_>) -> bool;

/// True of every step that is admitted.
pub(super) const OF_A_STEP: &[Promise<OfAStep>] = &[
    ("the floor never goes down", |t| t.new.floor >= t.old.floor),
    (
        "a confirm, a switch without a trial and a new base raise the floor to what is active, and nothing else does",
        |t| {
            let raises = match t.event {
                Event::Confirm { .. } => t.old.trial.is_some(),
                Event::Switch { trial, .. } => trial.is_none(),
                Event::Supersede { .. } => t.superseded(),
                _ => false,
            };
            let active = t.new.active_image().map_or(0, |image| image.epoch);
            t.new.floor == if raises { t.old.floor.max(active) } else { t.old.floor }
        },
    ),
    ("what changes is logged", |t| t.old == t.new || t.logged().next().is_some()),
    ("the log says where from and where to", |t| {
        let version = |held: &ComponentState| held.active_image().map(|image| image.version.clone());
        let says = |entry: &LogEntry| entry.from == version(t.old) && entry.to == version(t.new);
        !t.chosen()
            || t.logged().any(|entry| says(entry) && entry.slot == Some(t.new.active) && entry.at == NOW)
    }),
    ("each change of the active slot is counted", |t| t.new.turn == t.old.turn + u64::from(t.chosen())),
    ("current follows the active slot", |t| {
        let set: Vec<_> =
            t.effects.iter().filter(|effect| matches!(effect, Effect::SetCurrent(..))).collect();
        let follows = Effect::SetCurrent(name("c"), t.new.active);
        let moved = t.chosen() || t.mends() && t.new.active == Slot::Base;
        if moved { set == [&follows] } else { set.is_empty() }
    }),
    ("devices stay where they are", |t| t.new.places == t.old.places),
    ("a component is put in place once", |t| {
        !matches!(t.event, Event::Init { .. } | Event::InitPlaces { .. })
    }),
    (
        "who is not known is refused",
        |t| !matches!(t.event, Event::Confirm { set } if set.contains(&name("unknown"))),
    ),
    // What is active.
    ("a switch goes to the slot that was named, and keeps the way back in mind", |t| {
        let Event::Switch { to, .. } = t.event else { return true };
        to[0].1 == t.new.active && t.chosen() && t.new.previous == Some(t.old.active)
    }),
    ("a remove goes to the base, and keeps in mind what was removed", |t| {
        let left = if t.chosen() { Some(t.old.active) } else { t.old.previous };
        !matches!(t.event, Event::Remove { .. }) || t.new.active == Slot::Base && t.new.previous == left
    }),
    ("a fall back goes the way back", |t| {
        !(t.chosen() && t.blames()) || Some(t.new.active) == t.old.way_back()
    }),
    ("nothing else but a new base changes the active slot", |t| {
        let asked = matches!(t.event, Event::Switch { .. } | Event::Remove { .. });
        !t.chosen() || t.blames() || asked || t.superseded()
    }),
    ("what is not on trial is left by a rollback only", |t| {
        let asked = matches!(t.event, Event::Rollback { .. } | Event::Switch { .. } | Event::Remove { .. });
        let asked = asked || t.superseded();
        t.old.trial.is_some() || !t.chosen() || asked
    }),
    // What is denied.
    ("what was left for a reason is denied, and remembered as the last fall back", |t| {
        let Some(left) = t.old.active_image().filter(|_| t.chosen() && t.blames()) else { return true };
        let last = t.new.last_rollback.as_ref().filter(|last| last.at == NOW && last.version == left.version);
        let denied = t.new.denial(&left.identity.digest).filter(|denied| denied.at == NOW);
        denied.zip(last).is_some_and(|(denied, last)| denied.reason == last.reason)
    }),
    ("nothing else is denied, and only a lift ends a denial", |t| {
        let digests =
            |held: &ComponentState| held.denied.iter().map(|denied| denied.digest).collect::<BTreeSet<_>>();
        let mut expected = digests(t.old);
        match t.event {
            Event::Lift { digest, .. } => _ = expected.remove(digest),
            _ if t.chosen() && t.blames() => {
                expected.extend(t.old.active_image().map(|left| left.identity.digest));
            }
            _ => {}
        }
        digests(t.new) == expected
    }),
    ("what comes in is not denied", |t| {
        let comes = t.comes().or(t.offered().filter(|_| t.superseded()));
        comes.is_none_or(|image| t.old.denial(&image.identity.digest).is_none())
    }),
    ("what comes in is not below the floor", |t| {
        let comes = t.comes().or(t.offered().filter(|_| t.superseded()));
        comes.is_none_or(|image| image.epoch >= t.old.floor)
    }),
    ("what comes in is neither the base nor in use", |t| {
        let is =
            |slot, image: &SealedImage| t.old.image(slot).is_some_and(|held| held.identity == image.identity);
        t.comes().is_none_or(|image| !is(Slot::Base, image) && !is(t.old.active, image))
    }),
    // What is on trial.
    ("nothing comes in on trial", |t| t.comes().is_none() || t.old.trial.is_none()),
    ("a switch grants what was asked for", |t| {
        let Event::Switch { trial, .. } = t.event else { return true };
        let granted =
            |terms: TrialTerms| Trial { terms, tries_left: terms.tries, started: NOW, failed: None };
        t.new.trial == trial.map(granted)
    }),
    ("nothing else begins a trial or changes its terms", |t| {
        let terms = |held: &ComponentState| held.trial.as_ref().map(|trial| (trial.terms, trial.started));
        matches!(t.event, Event::Switch { .. }) || t.new.trial.is_none() || terms(t.new) == terms(t.old)
    }),
    ("a trial ends by a confirm or with its slot", |t| {
        t.old.trial.is_none()
            || t.new.trial.is_some()
            || t.chosen()
            || matches!(t.event, Event::Confirm { .. })
    }),
    ("a trial ends with its slot", |t| {
        !t.chosen() || t.new.trial.is_none() || matches!(t.event, Event::Switch { .. })
    }),
    ("a confirm ends the trial where it stands", |t| {
        let ended = t.new.trial.is_none() && !t.chosen();
        let forgotten = t.old.trial.is_none() || t.new.last_rollback.is_none();
        !matches!(t.event, Event::Confirm { .. }) || ended && forgotten
    }),
    ("a failed trial is not confirmed", |t| {
        let failed = t.old.trial.as_ref().is_some_and(|trial| trial.failed.is_some());
        !failed || !matches!(t.event, Event::Confirm { .. })
    }),
    ("a boot spends one try, and the lower count holds", |t| {
        let (Some(seen), Some(old), Some(new)) = (booted(t.event), &t.old.trial, &t.new.trial) else {
            return true;
        };
        let counted = seen.tries_left.filter(|_| seen.turn.is_none_or(|turn| turn == t.old.turn));
        Some(new.tries_left) == old.tries_left.checked_sub(1).map(|left| left.min(counted.unwrap_or(left)))
    }),
    ("a boot loader that started another slot is spoken of", |t| {
        let other = booted(t.event).and_then(|seen| seen.slot).filter(|slot| *slot != t.new.active);
        other.is_none_or(|slot| t.logged().any(|entry| entry.what == What::Stray && entry.slot == Some(slot)))
    }),
    ("a deadline that has passed ends the trial, or fails it until the boot that ends it", |t| {
        let ended = t.new.trial.is_none();
        match t.event {
            Event::Boot { .. } if late(t.old) => ended,
            Event::Deadline if late(t.old) => ended || t.failed().is_some(),
            Event::Deadline => t.old == t.new,
            _ => true,
        }
    }),
    ("a failed trial that takes a reboot is left by the next boot, for its first reason", |t| {
        let fails =
            matches!(t.event, Event::HealthFailed { .. }) || *t.event == Event::Deadline && late(t.old);
        let Some(old) = t.old.trial.as_ref().filter(|_| fails) else { return true };
        let first = old.failed.is_none() || old.failed.as_ref() == t.failed();
        let waits = t.failed().is_some() && t.new.trial.as_ref().is_some_and(|trial| trial.tries_left == 0);
        if t.old.needs_reboot() { waits && first && !t.chosen() } else { t.chosen() }
    }),
    ("nothing but that fails a trial", |t| {
        let fails = matches!(t.event, Event::HealthFailed { .. } | Event::Deadline);
        fails || t.failed().is_none() || t.old.trial == t.new.trial
    }),
    // What slots hold.
    ("only what is spare is emptied", |t| {
        t.superseded() || t.changed().into_iter().all(|slot| slot != t.old.active && slot != Slot::Base)
    }),
    ("one slot changes at a time, but for an abandon, a vacuum and a new base", |t| {
        t.changed().len() < 2 || t.superseded() || matches!(t.event, Event::Abandon { .. } | Event::Vacuum)
    }),
    ("only a slot that is staged into is sealed, with what was staged", |t| {
        let Event::Seal { slot, image, .. } = t.event else { return true };
        *t.old.held(*slot) == Held::Staging && t.new.image(*slot) == Some(image) && t.changed() == [*slot]
    }),
    ("only a slot that is staged into is gone on with", |t| {
        let Event::GoOn { slot, .. } = t.event else { return true };
        *t.old.held(*slot) == Held::Staging && t.new == t.old
    }),
    ("nothing but a seal seals, and nothing but a new base is sealed otherwise", |t| {
        let is_new_base = |slot: &Slot| *slot == Slot::Base && t.superseded();
        matches!(t.event, Event::Seal { .. })
            || t.changed().into_iter().all(|slot| t.new.image(slot).is_none() || is_new_base(&slot))
    }),
    // What a base is superseded by.
    (
        "the base changes only when another supersedes it, or it is mended, and then lies in a place of its own",
        |t| {
            let same = t.new.base == t.old.base && t.new.generation == t.old.generation;
            let next = t.new.generation == t.old.generation + 1 && t.new.base != t.old.base;
            if t.superseded() { t.offered().is_some() && next } else { same || t.mends() }
        },
    ),
    ("the base that was offered is the base, and in use", |t| {
        let offered = t.offered().map(|image| image.identity);
        let is = |slot| t.new.image(slot).map(|image| image.identity) == offered;
        offered.is_none() || is(Slot::Base) && (!t.superseded() || t.new.active == Slot::Base)
    }),
    ("nothing of what was patched on the old base stays", |t| {
        let empty = Slot::PATCHED.into_iter().all(|slot| *t.new.held(slot) == Held::Empty);
        let forgotten = t.new.previous.is_none() && t.new.trial.is_none() && t.new.last_rollback.is_none();
        !t.superseded() || empty && forgotten
    }),
    ("a base that supersedes itself changes nothing", |t| {
        let base = t.old.image(Slot::Base).map(|image| &image.identity);
        let same = t.offered().is_some_and(|image| base == Some(&image.identity));
        !same || t.new == t.old && t.effects.is_empty()
    }),
    ("the files of a base go when it is superseded or mended, and at no other time", |t| {
        t.effects.contains(&Effect::DiscardBases(name("c"))) == (t.superseded() || t.mends())
    }),
    ("a base that is mended lies elsewhere, and nothing else changes", |t| {
        let elsewhere = ComponentState { generation: t.old.generation + 1, ..t.old.clone() };
        let said = t.logged().any(|entry| entry.what == What::Mend && entry.slot == Some(Slot::Base));
        !t.mends() || *t.new == elsewhere && said
    }),
    ("a slot that cannot be emptied is staged into only if the other one must stay", |t| {
        let Event::BeginStage { source, avoid, .. } = t.event else { return true };
        let staged = *t.new.held(Slot::A) == Held::Staging && t.discards(Slot::A);
        let only = t.old.image(Slot::B).is_some_and(|image| Some(&image.identity) == source.as_ref());
        avoid[..] != [Slot::A] || !staged || t.old.active == Slot::B || only
    }),
    ("a base that is not newer, or ends a trial, is spoken of", |t| {
        let version = |held: &ComponentState| held.image(Slot::Base).map(|image| image.version.clone());
        let worth = t.old.trial.is_some() || version(t.new) <= version(t.old);
        let said = t.logged().any(|entry| entry.what == What::Supersede && entry.reason.is_some());
        !t.superseded() || said == worth
    }),
    ("files go from what is emptied, and from nothing else", |t| {
        let emptied = |slot: &Slot| t.old.held(*slot) != &Held::Empty && t.new.image(*slot).is_none();
        let seals = matches!(t.event, Event::Seal { .. });
        let gone = |slot: Slot| !seals && t.changed().contains(&slot) && emptied(&slot);
        Slot::ALL.into_iter().all(|slot| {
            (!gone(slot) || t.discards(slot)) && (!t.discards(slot) || t.new.image(slot).is_none())
        })
    }),
    ("one slot is staged into, and its files go", |t| {
        let staged = |slot: &Slot| *t.new.held(*slot) == Held::Staging && t.discards(*slot);
        !matches!(t.event, Event::BeginStage { .. })
            || Slot::PATCHED.iter().filter(|slot| staged(slot)).count() == 1
    }),
    ("staging keeps the image that the patch starts from", |t| {
        let Event::BeginStage { source: Some(source), .. } = t.event else { return true };
        t.old.holding(source).is_none() || t.new.holding(source).is_some()
    }),
    ("what was emptied is no way back", |t| {
        t.new.previous.is_none_or(|slot| !t.changed().contains(&slot) || t.new.image(slot).is_some())
    }),
    ("only what changes the active slot, empties the way back or lifts a denial changes the way back", |t| {
        let may = matches!(t.event, Event::BeginStage { .. } | Event::Condemn { .. } | Event::Lift { .. });
        may || t.chosen() || t.new.way_back() == t.old.way_back()
    }),
    ("an abandon and a vacuum leave nothing unsealed", |t| {
        let unsealed = Slot::PATCHED.into_iter().any(|slot| *t.new.held(slot) == Held::Staging);
        !unsealed || !matches!(t.event, Event::Abandon { .. } | Event::Vacuum)
    }),
    ("an abandon takes nothing sealed", |t| {
        let took = t.changed().into_iter().any(|slot| t.old.image(slot).is_some());
        !took || !matches!(t.event, Event::Abandon { .. })
    }),
    ("a vacuum leaves nothing denied", |t| {
        let denied =
            |slot| t.new.image(slot).is_some_and(|image| t.new.denial(&image.identity.digest).is_some());
        *t.event != Event::Vacuum || !Slot::PATCHED.into_iter().any(denied)
    }),
    ("what is condemned was sealed, and is empty", |t| {
        let Event::Condemn { slot, .. } = t.event else { return true };
        t.old.image(*slot).is_some() && *t.new.held(*slot) == Held::Empty
    }),
];

pub(super) type OfARefusal = fn(&ComponentState, &Event, &Refusal) -> bool;

/// True of every event that is refused: what keeps a device going, and what a person must be able to do, never is.
pub(super) const OF_A_REFUSAL: &[Promise<OfARefusal>] = &[
    ("boots, deadlines, failed checks and tidying up are never refused", |_, event, _| {
        let checks = matches!(event, Event::Boot { .. } | Event::Deadline | Event::HealthFailed { .. });
        !checks && !matches!(event, Event::Vacuum | Event::Abandon { .. } | Event::Lift { .. })
    }),
    ("a trial that has not failed can be confirmed", |old, event, refusal| {
        let failed = old.trial.as_ref().is_some_and(|trial| trial.failed.is_some());
        let unknown = matches!(refusal, Refusal::Unknown { .. });
        failed || unknown || !matches!(event, Event::Confirm { .. })
    }),
    ("who has a way back can roll back", |old, event, _| {
        let can = old.active != Slot::Base && old.way_back().is_some();
        !can || !matches!(event, Event::Rollback { .. })
    }),
    ("who has a base can go back to it", |old, event, _| {
        old.places.is_some() || !matches!(event, Event::Remove { .. })
    }),
    (
        "who has a base can have it superseded, on trial or not, by what is neither denied nor below the floor",
        |old, event, _| {
            let Event::Supersede { image, .. } = event else { return true };
            let refused = old.denial(&image.identity.digest).is_some() || image.epoch < old.floor;
            old.places.is_some() || refused
        },
    ),
    ("who has a base can have it mended", |old, event, _| {
        old.places.is_some() || !matches!(event, Event::Mend { .. })
    }),
    ("what is ready can be switched to", |old, event, _| {
        let Event::Switch { to, .. } = event else { return true };
        old.trial.is_some() || old.ready().is_none_or(|slot| to[0].1 != slot || is_base(old, slot))
    }),
    ("what is staged into can be gone on with and sealed", |old, event, _| match event {
        Event::Seal { slot, .. } | Event::GoOn { slot, .. } => *old.held(*slot) != Held::Staging,
        _ => true,
    }),
];

fn is_base(held: &ComponentState, slot: Slot) -> bool {
    let identity = |slot| held.image(slot).map(|image| &image.identity);
    identity(slot) == identity(Slot::Base)
}
