//! What of a release fits one component of this device.

use super::{Change, Code, Way};
use siding_image::Component;
use siding_repo::Item;
use siding_slot::{ComponentState, SealedImage, Slot};

/// How a release stands to a component.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fit<'c> {
    /// What it makes is in use.
    Active,
    /// What is in use is newer than all it makes.
    Past,
    /// It brings something, this way.
    Needed(Change<'c>),
    /// It would bring something, but not here. The change is what it would be, as far as that is known.
    Blocked(Code, String, Option<Change<'c>>),
}

/// Of the items for the component, the one that fits: what lies ready or has a patch from an image that is held; else
/// the whole image. Of several the newest.
pub(super) fn fit<'c>(name: &Component, held: &ComponentState, items: &[&'c Item]) -> Fit<'c> {
    let Some(active) = held.active_image() else { return Fit::Past };
    if items.iter().any(|item| item.target.identity() == active.identity) {
        return Fit::Active;
    }
    let newer: Vec<&'c Item> =
        items.iter().filter(|item| item.target.version > active.version).copied().collect();
    if newer.is_empty() {
        return Fit::Past;
    }
    let ways = newer.iter().filter_map(|item| Some((*item, way(held, active, item)?)));
    let change = |(item, way)| Change { from: active.version.clone(), item, way };
    let mut changes: Vec<Change<'c>> = ways.map(change).collect();
    changes.sort_by_key(|change| {
        let whole = matches!(change.way, Way::Full(_));
        (
            is_denied(held, change.item),
            change.item.epoch < held.floor,
            whole,
            std::cmp::Reverse(change.item.target.version.clone()),
        )
    });
    match changes.into_iter().next() {
        None => no_way(active, &newer),
        Some(change) => admitted(name, held, change),
    }
}

fn admitted<'c>(name: &Component, held: &ComponentState, change: Change<'c>) -> Fit<'c> {
    let target = &change.item.target;
    if let Some(denied) = held.denial(&target.digest) {
        let why = format!("{name} {} was rolled back here: {}", target.version, denied.reason);
        return Fit::Blocked(Code::Denied, why, Some(change));
    }
    if change.item.epoch < held.floor {
        let why = format!(
            "{name} {} has security epoch {}, this device never goes below {}",
            target.version, change.item.epoch, held.floor
        );
        return Fit::Blocked(Code::OldEpoch, why, Some(change));
    }
    if held.trial.is_some() {
        let version = held.active_image().map(|image| image.version.to_string()).unwrap_or_default();
        let why = format!("{name} is on trial with {version}; that is kept or left first");
        return Fit::Blocked(Code::OnTrial, why, Some(change));
    }
    Fit::Needed(change)
}

fn is_denied(held: &ComponentState, item: &Item) -> bool {
    held.denial(&item.target.digest).is_some()
}

fn way<'c>(held: &ComponentState, active: &SealedImage, item: &'c Item) -> Option<Way<'c>> {
    let target = item.target.identity();
    let ready = Slot::PATCHED.into_iter().find(|slot| {
        *slot != held.active
            && held.image(*slot).is_some_and(|image| {
                image.identity == target && image.version == item.target.version && image.epoch == item.epoch
            })
    });
    if let Some(slot) = ready {
        return Some(Way::Ready(slot));
    }
    if held.image(Slot::Base).is_some_and(|base| base.identity == target) {
        return None;
    }
    let source = item.source.identity();
    // Only from what stays whatever is staged next: so that staging one thing never opens a way to another.
    let lasting = [held.active, Slot::Base];
    let startable =
        lasting.iter().any(|slot| held.image(*slot).is_some_and(|image| image.identity == source));
    if let Some(patch) = item.patch.as_ref().filter(|_| startable) {
        return Some(Way::Patch(patch));
    }
    let full = item.full.as_ref()?;
    let goes_upon = match &full.minimum {
        Some(minimum) => active.version >= *minimum,
        None => active.version == item.source.version || active.version.base() == item.source.version,
    };
    goes_upon.then_some(Way::Full(&full.blob))
}

/// Nothing starts from what the device holds: it is too old for all, or another one.
fn no_way<'c>(active: &SealedImage, newer: &[&'c Item]) -> Fit<'c> {
    let least = |item: &&'c Item| {
        let minimum = item.full.as_ref().and_then(|full| full.minimum.clone());
        minimum
            .map_or_else(|| item.source.version.clone(), |minimum| minimum.min(item.source.version.clone()))
    };
    let (name, has) =
        (newer.first().map(|item| item.component.to_string()).unwrap_or_default(), &active.version);
    let oldest = newer.iter().map(least).min();
    match oldest.filter(|oldest| *has < *oldest) {
        Some(oldest) => {
            let why = format!("{name} is {has}, and this starts from {oldest} or later; install that first");
            Fit::Blocked(Code::BaseTooOld, why, None)
        }
        None => {
            let from: Vec<String> = newer
                .iter()
                .map(|item| format!("{} [{}]", item.source.version, item.source.digest.short()))
                .collect();
            let why = format!("{name} is {}, and this starts from {}", active.name(), from.join(", "));
            Fit::Blocked(Code::BaseUnknown, why, None)
        }
    }
}
