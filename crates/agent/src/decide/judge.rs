//! One release: what of it fits, and what becomes of it.

use super::fit::{Fit, fit};
use super::{Act, Change, Code, Decision, Leave, Situation, Way};
use crate::memory::{Failed, Memory};
use crate::policy::{Policy, RestartWhen};
use crate::source::Catalog;
use crate::view::Verdict;
use siding_image::{Component, Digest};
use siding_repo::{Item, Release, Standing};
use siding_slot::{Slot, State, date};
use std::collections::BTreeMap;

/// All there is to judge by.
pub(super) struct Judge<'a, 'c> {
    pub(super) policy: &'a Policy,
    pub(super) state: &'a State,
    pub(super) catalog: &'c Catalog,
    pub(super) situation: &'a Situation,
    pub(super) memory: &'a Memory,
}

/// A release and what of it fits.
pub(super) struct Found<'c> {
    release: &'c Release,
    /// What it would change, as far as that is known.
    changes: Vec<Change<'c>>,
    /// What the device and the release say; `None`: it may be installed.
    verdict: Option<(Verdict, Code, String)>,
}

impl<'c> Judge<'_, 'c> {
    /// What fits, and whether the release may be installed at all.
    pub(super) fn find(&self, release: &'c Release) -> Found<'c> {
        let (mut changes, mut blocked, mut active, mut past) = (Vec::new(), None, Vec::new(), 0);
        let items = match self.items(release) {
            Ok(items) => items,
            Err((code, why)) => {
                return Found { release, changes, verdict: Some((Verdict::NotForThis, code, why)) };
            }
        };
        for (component, items) in &items {
            let Some(held) = self.state.get(component) else { continue };
            match fit(component, held, items) {
                Fit::Active => active.push((*component).clone()),
                Fit::Past => past += 1,
                Fit::Needed(change) => changes.push(change),
                Fit::Blocked(code, why, change) => {
                    changes.extend(change);
                    blocked.get_or_insert((code, why));
                }
            }
        }
        let verdict = match (&release.standing, blocked) {
            (Standing::Withdrawn { reason }, _) => {
                Some((Verdict::Blocked, Code::Withdrawn, format!("it was withdrawn: {reason}")))
            }
            (_, Some((code, why))) => Some((Verdict::Blocked, code, why)),
            _ if !changes.is_empty() => match &release.standing {
                Standing::Paused { reason } => {
                    Some((Verdict::Blocked, Code::Paused, format!("it is held back: {reason}")))
                }
                _ => None,
            },
            _ if !active.is_empty() => Some(self.in_use(&active)),
            _ if past > 0 => {
                Some((Verdict::NotForThis, Code::Superseded, "what is in use is newer".to_owned()))
            }
            _ => None,
        };
        Found { release, changes, verdict }
    }

    /// The items for this device's components and product.
    fn items(&self, release: &'c Release) -> Result<BTreeMap<&'c Component, Vec<&'c Item>>, (Code, String)> {
        let values = &self.policy.values;
        if release.channel != values.channel {
            let why = format!("it is in channel {}, this device follows {}", release.channel, values.channel);
            return Err((Code::WrongChannel, why));
        }
        let here = release.items.iter().filter(|item| self.state.get(&item.component).is_some());
        let (mut items, mut others) = (BTreeMap::<_, Vec<_>>::new(), Vec::new());
        for item in here {
            let fits = |product: &String| item.products.contains(product);
            if item.products.is_empty() || values.product.as_ref().is_some_and(fits) {
                items.entry(&item.component).or_default().push(item);
            } else {
                others.extend(item.products.iter().map(String::as_str));
            }
        }
        match (items.is_empty(), others.is_empty()) {
            (false, _) => Ok(items),
            (true, true) => {
                Err((Code::NoComponent, "it is for components that this device has not".to_owned()))
            }
            (true, false) => {
                let is = values.product.as_deref().unwrap_or("not told what it is");
                Err((Code::WrongProduct, format!("it is for {}; this device is {is}", others.join(", "))))
            }
        }
    }

    fn in_use(&self, active: &[Component]) -> (Verdict, Code, String) {
        let pending = self.memory.pending.as_ref().filter(|pending| pending.boot == self.situation.boot);
        let waits =
            pending.filter(|pending| active.iter().any(|name| pending.components.contains(name.as_str())));
        if let Some(pending) = waits {
            let why = format!("it comes into use with the next restart: {}", pending.words.join(", "));
            return (Verdict::Staged, Code::Staged, why);
        }
        let on_trial = |name: &&Component| self.state.get(name).is_some_and(|held| held.trial.is_some());
        let why =
            if active.iter().any(|name| on_trial(&name)) { "it is in use, on trial" } else { "it is in use" };
        (Verdict::Installed, Code::Installed, why.to_owned())
    }

    /// What becomes of it, given all the others.
    pub(super) fn decide(&self, found: &Found<'c>, all: &[Found<'c>]) -> Decision<'c> {
        let Found { release, changes, verdict } = found;
        let decision = |verdict, code, reason: String| Decision {
            release,
            changes: changes.clone(),
            verdict,
            code,
            reason,
            when: None,
            can_install: false,
            act: None,
        };
        if let Some((verdict, code, reason)) = verdict {
            return decision(*verdict, *code, reason.clone());
        }
        if changes.is_empty() {
            return decision(Verdict::NotForThis, Code::NoComponent, "it changes nothing here".to_owned());
        }
        if let Some(newer) = all.iter().find(|other| self.replaces(other, found)) {
            let why = format!("{} replaces it", newer.release.id);
            return decision(Verdict::NotForThis, Code::Superseded, why);
        }
        if let Some((code, why)) = self.cannot(found) {
            return decision(Verdict::Blocked, code, why);
        }
        let by_hand =
            Decision { can_install: true, ..decision(Verdict::Available, Code::Off, String::new()) };
        match self.waits(found) {
            Some(Wait { verdict, code, reason, when }) => Decision { verdict, code, reason, when, ..by_hand },
            None => self.go(by_hand),
        }
    }

    /// Whether the other one brings something newer for all that this one would change, and is on its way here.
    fn replaces(&self, other: &Found<'c>, this: &Found<'c>) -> bool {
        let newer = |change: &Change<'c>| {
            let same = other.changes.iter().find(|one| one.item.component == change.item.component);
            same.is_some_and(|one| one.item.target.version > change.item.target.version)
        };
        !self.is_asked(this.release)
            && other.verdict.is_none()
            && this.changes.iter().all(newer)
            && self.cannot(other).is_none_or(|(code, _)| is_for_all(code))
            && self.waits(other).is_none_or(|wait| wait.code == Code::Off || wait.code == Code::LockedOff)
    }

    fn is_asked(&self, release: &Release) -> bool {
        self.memory.asked.contains(&release.id)
    }

    /// What forbids it, by hand too.
    fn cannot(&self, found: &Found<'c>) -> Option<(Code, String)> {
        let Situation { now, battery, mains, free, .. } = *self.situation;
        if self.catalog.expires <= now {
            let why = format!(
                "what is known of the repository held until {}; look again",
                date(self.catalog.expires)
            );
            return Some((Code::ExpiredMetadata, why));
        }
        if let Some(failed) = self.failed(found.release) {
            if failed.again.is_none() {
                return Some((Code::NeedsNewerSiding, failed.message.clone()));
            }
            if let Some(needs) = failed.needs.filter(|needs| free.is_some_and(|free| free < *needs)) {
                return Some((
                    Code::NoSpace,
                    format!("it needs {needs} bytes, {} are free", free.unwrap_or(0)),
                ));
            }
        }
        // Of what a patch makes, what is in the slot that it goes to may give room; what is fetched needs its own.
        let takes = |change: &Change<'c>| match change.way {
            Way::Ready(_) => 0,
            Way::Patch(blob) => blob.length,
            Way::Full(_) => change.item.target.size,
        };
        let needs = found.changes.iter().map(takes).fold(0, u64::saturating_add);
        if let Some(free) = free.filter(|free| *free < needs) {
            return Some((Code::NoSpace, format!("it needs {needs} bytes, {free} are free")));
        }
        let least = self.policy.values.minimum_battery;
        let low = battery.filter(|charge| *charge < least && !mains)?;
        Some((Code::BatteryLow, format!("the battery is at {low} %, and {least} % or mains are needed")))
    }

    /// What holds it up, unless a person asked for it.
    fn waits(&self, found: &Found<'c>) -> Option<Wait> {
        let (release, now) = (found.release, self.situation.now);
        if self.is_asked(release) {
            return None;
        }
        let wait = |verdict, code, reason: String, when| Some(Wait { verdict, code, reason, when });
        let unwanted = |change: &&Change<'c>| {
            self.memory
                .unwanted(&change.item.component)
                .is_some_and(|version| change.item.target.version <= version)
        };
        if let Some(change) = found.changes.iter().find(unwanted) {
            let (name, version) = (&change.item.component, &change.item.target.version);
            let why = format!("{name} {version} was removed by hand; a newer one is installed by itself");
            return wait(Verdict::Available, Code::RemovedByHand, why, None);
        }
        if !self.policy.values.automatic_install {
            return match self.policy.is_locked("automatic-install") {
                true => {
                    let why = "the administrator has locked automatic install to off".to_owned();
                    wait(Verdict::Available, Code::LockedOff, why, None)
                }
                false => wait(Verdict::Available, Code::Off, "automatic install is off".to_owned(), None),
            };
        }
        if let Err(when) = release.reaches(&self.situation.device, now) {
            let (verdict, at) = match when {
                Some(at) => (Verdict::Installing, format!("it is this device's turn on {}", date(at))),
                None => (
                    Verdict::Available,
                    "it is for a part of all devices so far, and not for this one".to_owned(),
                ),
            };
            return wait(verdict, Code::WaveNotReached, at, when);
        }
        let failed = self.failed(release).filter(|failed| failed.again.is_some_and(|again| again > now))?;
        wait(Verdict::Installing, Code::Failed, failed.message.clone(), failed.again)
    }

    /// What went wrong with this very release.
    fn failed(&self, release: &Release) -> Option<&Failed> {
        self.memory.failed.get(&release.id).filter(|failed| failed.mark == mark(release))
    }

    /// Nothing holds it up: it is brought here, and comes into use when policy says so.
    fn go(&self, decision: Decision<'c>) -> Decision<'c> {
        let values = &self.policy.values;
        let Situation { now, offset, .. } = *self.situation;
        let ready = decision.changes.iter().all(|change| matches!(change.way, Way::Ready(_)));
        let asked = self.memory.restart_asked || self.is_asked(decision.release);
        let open = asked || values.window.is_open(now, offset);
        let act = match values.restart {
            RestartWhen::Now => Act::Switch { restart: true },
            _ if asked => Act::Switch { restart: true },
            RestartWhen::Window if open => Act::Switch { restart: true },
            RestartWhen::Boot => Act::Switch { restart: false },
            RestartWhen::Window | RestartWhen::Ask => Act::Stage,
        };
        if !ready || act != Act::Stage {
            let reason = "it is installed now".to_owned();
            return Decision {
                verdict: Verdict::Installing,
                code: Code::Installing,
                reason,
                act: Some(act),
                ..decision
            };
        }
        let decision = Decision { verdict: Verdict::Staged, ..decision };
        if values.restart == RestartWhen::Window {
            let opens = values.window.opens(now, offset);
            let reason = format!("it lies ready and comes into use in the window {}", values.window);
            return Decision { code: Code::OutsideWindow, reason, when: Some(opens), ..decision };
        }
        let reason = "it lies ready and comes into use when a restart is asked for".to_owned();
        Decision { code: Code::Staged, reason, ..decision }
    }

    /// What is in use that a withdrawn release brought, and no other one stands by.
    pub(super) fn leave(&self) -> Vec<Leave<'c>> {
        let locked_off = !self.policy.values.automatic_install && self.policy.is_locked("automatic-install");
        let releases = &self.catalog.releases;
        let makes = |release: &Release, component: &Component, digest: &Digest| {
            release.items.iter().any(|item| item.component == *component && item.target.digest == *digest)
        };
        let leave = |(component, held): (&Component, &siding_slot::ComponentState)| {
            let digest = held.active_image().filter(|_| held.active != Slot::Base)?.identity.digest;
            let way_back = held.way_back()?;
            let brought = |release: &&Release| makes(release, component, &digest);
            if releases
                .iter()
                .filter(brought)
                .any(|release| !matches!(release.standing, Standing::Withdrawn { .. }))
            {
                return None;
            }
            // Of several that made the same image, the one that it is known by here.
            let version = &held.active_image()?.version;
            let by_name = |release: &&Release| {
                let is_it = |item: &Item| item.component == *component && item.target.version == *version;
                brought(release) && release.items.iter().any(is_it)
            };
            let release = releases.iter().find(by_name).or_else(|| releases.iter().find(brought))?;
            let Standing::Withdrawn { reason } = &release.standing else { return None };
            (way_back != held.active).then(|| Leave {
                component: component.clone(),
                release,
                reason: format!("release {} was withdrawn: {reason}", release.id),
            })
        };
        if locked_off { Vec::new() } else { self.state.components().filter_map(leave).collect() }
    }
}

/// What a release waits for.
struct Wait {
    verdict: Verdict,
    code: Code,
    reason: String,
    when: Option<u64>,
}

/// Whether it holds for every release alike, so that an older one is no way out.
fn is_for_all(code: Code) -> bool {
    matches!(code, Code::BatteryLow | Code::ExpiredMetadata)
}

/// What a failure is about: this release as it is, and this siding.
pub(crate) fn mark(release: &Release) -> String {
    let siding = env!("CARGO_PKG_VERSION");
    Digest::of_parts(&[&release.to_json(), siding.as_bytes()]).short()
}
