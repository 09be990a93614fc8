//! The picture of a device: made of its store, its policy, what is known of the repository, and what is remembered.
//! Reads only.

use crate::decide::{Decision, Decisions, Situation, decide};
use crate::memory::{Counted, Memory, Told};
use crate::policy::Policy;
use crate::source::Catalog;
use crate::view::{Activity, Change, Check, Happened, Installed, Offer, RolledBack, Totals, Trial, View};
use siding_image::Component;
use siding_run::harmless;
use siding_slot::{ComponentState, LogEntry, Slot, Snapshot, What};

/// What a picture is made of.
pub struct Sources<'a> {
    /// The store.
    pub store: &'a Snapshot,
    /// What is wanted.
    pub policy: &'a Policy,
    /// What is known of the repository.
    pub catalog: &'a Catalog,
    /// What is true at the moment.
    pub situation: &'a Situation,
    /// What is remembered.
    pub memory: &'a Memory,
    /// What was decided and done, oldest first.
    pub told: &'a [Told],
    /// What is being done.
    pub activity: Option<Activity>,
}

/// How many lines of history a picture has at most.
const MOST: usize = 300;

/// Takes the picture.
pub fn picture(of: &Sources<'_>) -> View {
    let Sources { store, policy, catalog, situation, memory, .. } = *of;
    let decisions = decide(policy, store.state(), catalog, situation, memory);
    // A log that cannot be read costs the history, not the picture.
    let log = store.log().map(|log| log.entries).unwrap_or_default();
    let pending = memory.pending.as_ref().filter(|pending| pending.boot == situation.boot);
    let components = store.state().components().map(|(name, held)| installed(policy, &log, name, held));
    View {
        now: situation.now,
        device: situation.device.to_string(),
        product: policy.values.product.clone(),
        components: components.collect(),
        offers: offers(&decisions),
        settings: policy.settings(),
        activity: of.activity.clone(),
        check: Check {
            tried: memory.tried,
            succeeded: memory.succeeded,
            error: memory.error.as_deref().map(harmless),
            next: memory.next.filter(|_| policy.values.automatic_check),
        },
        restart_pending: pending.map(|pending| pending.words.clone()).unwrap_or_default(),
        history: happened(&log, of.told),
        totals: Some(totals(memory)),
    }
}

/// What concerns this device: not what is for other products or components.
pub fn offers(decisions: &Decisions<'_>) -> Vec<Offer> {
    let concerns = |decision: &&Decision<'_>| {
        use crate::decide::Code;
        !matches!(decision.code, Code::WrongProduct | Code::WrongChannel | Code::NoComponent)
    };
    decisions.all.iter().filter(concerns).map(offer).collect()
}

/// A release as a person sees it.
pub fn offer(decision: &Decision<'_>) -> Offer {
    let release = decision.release;
    let change = |change: &crate::decide::Change<'_>| Change {
        component: change.item.component.to_string(),
        from: change.from.to_string(),
        to: change.item.target.version.to_string(),
    };
    Offer {
        id: release.id.clone(),
        title: harmless(&release.title),
        text: release.text.lines().map(harmless).collect::<Vec<_>>().join("\n"),
        severity: release.severity.to_string(),
        advisories: release.advisories.iter().map(|name| harmless(name)).collect(),
        published: release.published,
        changes: decision.changes.iter().map(change).collect(),
        bytes: decision.bytes(),
        verdict: decision.verdict,
        code: decision.code.word().to_owned(),
        reason: harmless(&decision.reason),
        when: decision.when,
        can_install: decision.can_install,
    }
}

fn totals(memory: &Memory) -> Totals {
    let Counted { fetched_bytes, full_bytes, installs, install_ms, failures, rollbacks } =
        memory.counted.clone();
    Totals { fetched_bytes, full_bytes, installs, install_ms, failures, rollbacks }
}

fn installed(policy: &Policy, log: &[LogEntry], name: &Component, held: &ComponentState) -> Installed {
    let image = held.active_image();
    let came = log.iter().rev().find(|entry| {
        let moves = [What::Init, What::Switch, What::FallBack, What::Rollback, What::Remove];
        entry.component == *name && moves.contains(&entry.what)
    });
    Installed {
        component: name.to_string(),
        version: image.map(|image| image.version.to_string()).unwrap_or_default(),
        base: held.image(Slot::Base).map(|image| image.version.to_string()),
        since: came.map_or_else(|| image.map_or(0, |image| image.installed_at), |entry| entry.at),
        advisories: image
            .map(|image| image.advisories.iter().map(|name| harmless(name)).collect())
            .unwrap_or_default(),
        trial: held
            .trial
            .as_ref()
            .map(|trial| Trial { tries_left: trial.tries_left, deadline: trial.terms.deadline }),
        can_remove: policy.values.removal && held.active != Slot::Base && held.places.is_none(),
        last_rollback: held.last_rollback.as_ref().map(|last| RolledBack {
            version: last.version.to_string(),
            reason: harmless(&last.reason),
            at: last.at,
        }),
    }
}

/// Both histories as one, newest first.
fn happened(log: &[LogEntry], told: &[Told]) -> Vec<Happened> {
    let stored = log.iter().rev().take(MOST).map(|entry| Happened {
        at: entry.at,
        what: entry.what.name().to_owned(),
        component: Some(entry.component.to_string()),
        text: sentence(entry),
        reason: entry.reason.as_deref().map(harmless),
        code: None,
    });
    let decided = told.iter().rev().take(MOST).map(|line| Happened {
        at: line.at,
        what: line.what.clone(),
        component: line.component.clone(),
        text: match &line.release {
            Some(release) => format!("{release}: {}", line.text),
            None => line.text.clone(),
        },
        reason: None,
        code: line.code.clone(),
    });
    let mut all: Vec<Happened> = stored.chain(decided).collect();
    all.sort_by_key(|line| std::cmp::Reverse(line.at));
    all.truncate(MOST);
    all
}

fn sentence(entry: &LogEntry) -> String {
    let version = |version: &Option<siding_image::Version>| {
        version.as_ref().map_or("–".to_owned(), ToString::to_string)
    };
    let (name, from, to) = (&entry.component, version(&entry.from), version(&entry.to));
    let about = if entry.to.is_some() { &to } else { &from };
    match entry.what {
        What::Init => format!("{name}: {about} put in place"),
        What::Stage => format!("{name}: staging {about}"),
        What::Abandon => format!("{name}: an unfinished stage was cleared"),
        What::Seal => format!("{name}: {about} lies ready, read back and compared"),
        What::Switch => format!("{name}: switched from {from} to {to}"),
        What::Try => format!("{name}: started on trial with {about}"),
        What::FallBack => format!("{name}: fell back from {from} to {to}"),
        What::Confirm => format!("{name}: {about} is kept"),
        What::Rollback => format!("{name}: rolled back from {from} to {to}"),
        What::Remove => format!("{name}: removed {from}; back to {to}"),
        What::Lift => format!("{name}: {about} may be tried again"),
        What::Vacuum => format!("{name}: a slot was emptied, which held {about}"),
        What::Supersede => format!("{name}: base {to} in place of {from}"),
        What::Mend => format!("{name}: base {about} put in place anew; what lay there was damaged or gone"),
        What::Fail => format!("{name}: {about} has failed; the next start leaves it"),
        _ => format!("{name}: {}", entry.what.name()),
    }
}
