//! `siding status` and `siding log`: where the device stands, and how it came there.

use crate::args::{Log, Status, StoreArgs};
use crate::boot::cmdline;
use crate::bytes::size;
use crate::failure::{Code, Failure};
use crate::output::{Paint, Reply, plain, table};
use crate::project::{Following, compared_json};
use crate::time::now;
use serde_json::{Value, json};
use siding_image::Component;
use siding_projection::{Agreement, Compared};
use siding_slot::{
    Booted, ComponentState, Held, LogEntry, NextBoot, Slot, Snapshot, Store, What, date, next_boot,
};

pub(crate) fn status(args: &Status) -> Result<Reply, Failure> {
    let store = Store::view(&args.store.store)?;
    let components = chosen(&args.components, &store)?;
    let following = Following::of(store.root());
    let mut seen = following.seen(store.state(), &cmdline(&args.started)?);
    // The order that its loader acted on at the last start is past; here it matters what it has been told since.
    seen.iter_mut().for_each(|(name, booted)| booted.turn = following.told_turn(name));
    let compared = following.compare(&store);
    let (unread, compared) = (compared.as_ref().err(), compared.as_deref().unwrap_or_default());
    let loader = |name: &Component| Loader {
        seen: seen.get(name).copied().unwrap_or_default(),
        projections: compared.iter().filter(|compared| compared.component == *name).collect(),
    };
    let text: Vec<String> =
        components.iter().map(|(name, state)| component_text(&store, name, state, &loader(name))).collect();
    let text = match text.is_empty() {
        true => "the store is empty; put a component's base in place with `siding init`".to_owned(),
        false => text.join("\n"),
    };
    let json = components.iter().map(|(name, state)| component_json(&store, name, state, &loader(name)));
    let json = json!({
        "store": args.store.store, "components": json.collect::<Vec<_>>(), "projections_unread": unread,
    });
    Ok(match crate::agent::standing(store.root()) {
        Some((more, agent)) => Reply::new(text + "\n" + &more, json).beside("agent", agent),
        None => Reply::new(text, json),
    })
}

/// What is known of what follows a component's record.
struct Loader<'a> {
    /// What was started, and which turn the boot loader has been told since.
    seen: Booted,
    projections: Vec<&'a Compared>,
}

fn chosen<'a>(
    named: &[Component],
    store: &'a Snapshot,
) -> Result<Vec<(&'a Component, &'a ComponentState)>, Failure> {
    if let Some(missing) = named.iter().find(|name| store.state().get(name).is_none()) {
        let have: Vec<_> = store.state().components().map(|(name, _)| name.as_str()).collect();
        let message = format!("the store has no component {missing}; it has: {}", have.join(", "));
        return Err(Failure::new(Code::NotForThis, message));
    }
    let wanted = |name: &Component| named.is_empty() || named.contains(name);
    Ok(store.state().components().filter(|(name, _)| wanted(name)).collect())
}

/// One component: a headline, its slots, what comes next, what can be done.
fn component_text(store: &Snapshot, name: &Component, state: &ComponentState, loader: &Loader<'_>) -> String {
    let paint = Paint::stdout();
    let version = state.active_image().map(|image| image.version.to_string()).unwrap_or_default();
    let headline = match &state.trial {
        Some(trial) if trial.failed.is_some() => paint.bad("has failed its trial: reboot to leave it"),
        Some(trial) => {
            let until = trial.terms.deadline.map(|at| format!(", until {}", date(at))).unwrap_or_default();
            let tries = format!("{} of {} tries left", trial.tries_left, trial.terms.tries);
            paint.bad(&format!("on trial: {tries}{until}"))
        }
        None if state.places.is_some() => paint.good("in use, confirmed"),
        None if state.active == Slot::Base => paint.good("base, no patch in use"),
        None => paint.good("patched, confirmed"),
    };
    let mut text = format!("{}  {headline}\n", paint.bold(&format!("{name} {version}")));
    let slots = Slot::ALL.iter().filter(|slot| state.places.is_none() || **slot != Slot::Base);
    let rows: Vec<Vec<String>> = slots.map(|slot| slot_row(store, name, state, *slot)).collect();
    text += &table(&rows, &[]);
    for (label, line) in facts(store, name, state, loader) {
        text += &format!("  {label}: {line}\n");
    }
    text
}

fn slot_row(store: &Snapshot, name: &Component, state: &ComponentState, slot: Slot) -> Vec<String> {
    let mut row = vec![if slot == state.active { "▸" } else { " " }.to_owned(), slot.to_string()];
    match state.held(slot) {
        Held::Empty => row.push("empty".into()),
        Held::Staging => row.push(match store.interrupted(name, slot, None) {
            Some(bytes) => format!("not finished; the same patch goes on from {}", size(bytes)),
            None => "not finished; the next install writes it anew".into(),
        }),
        Held::Sealed(image) => {
            row.push(image.version.to_string());
            row.push(format!("[{}]", image.identity.digest.short()));
            row.push(role(state, slot));
            row.push(image.advisories.join(", "));
        }
    }
    row
}

fn role(state: &ComponentState, slot: Slot) -> String {
    let denied = state.image(slot).is_some_and(|image| state.denial(&image.identity.digest).is_some());
    let role = match () {
        () if slot == state.active => "in use",
        () if denied => "denied: was rolled back",
        () if Some(slot) == state.waiting() => "sealed, ready to switch to",
        () if Some(slot) == state.previous => "previous",
        () => "sealed",
    };
    role.to_owned()
}

/// What a person wants to know next.
fn facts(
    store: &Snapshot,
    name: &Component,
    state: &ComponentState,
    loader: &Loader<'_>,
) -> Vec<(&'static str, String)> {
    let mut facts = vec![("path", store.current_path(name).display().to_string())];
    if let Some(places) = &state.places {
        facts.push(("devices", format!("a is {}, b is {}", places.a.display(), places.b.display())));
    }
    if let Some(fallback) = &state.last_rollback {
        let left = format!("left {} on {}: {}", fallback.version, date(fallback.at), plain(&fallback.reason));
        facts.push(("rolled back", left));
    }
    if let Some(image) = state.active_image().filter(|image| !image.restart.is_empty()) {
        facts.push(("to use it, restart", image.restart.join(", ")));
    }
    for denied in &state.denied {
        if !Slot::ALL
            .iter()
            .any(|slot| state.image(*slot).is_some_and(|i| i.identity.digest == denied.digest))
        {
            let why = format!("{} since {}: {}", denied.version, date(denied.at), plain(&denied.reason));
            facts.push(("denied", why));
        }
    }
    if state.floor > 0 {
        facts.push(("security epoch", format!("never below {}", state.floor)));
    }
    facts.extend(loader_facts(state, loader));
    facts.push(("next restart", next_text(name, state)));
    // What was removed by hand is not waiting, but can be named; so can what a reverse patch made.
    let goes_back = |slot: &Slot| state.places.is_some() && state.previous != Some(*slot);
    let removed = state.ready().filter(|slot| state.active == Slot::Base || goes_back(slot));
    let hint = match (&state.trial, state.waiting().or(removed)) {
        (Some(trial), _) if trial.failed.is_some() => {
            format!("reboot, or `siding rollback {name}` to {} at once", way_back_name(state))
        }
        (Some(_), _) => {
            let way_back = way_back_name(state);
            format!("`siding confirm {name}` keeps it, `siding rollback {name}` goes back to {way_back}")
        }
        (None, Some(slot)) => format!("`siding switch {name}` to use {}", image_name(state, slot)),
        (None, None) if state.places.is_some() => match state.way_back() {
            Some(back) => {
                let back = image_name(state, back);
                format!("`siding rollback {name}` goes back to {back} and denies this one")
            }
            None => return facts,
        },
        (None, None) if state.active != Slot::Base => format!("`siding remove {name}` goes back to the base"),
        (None, None) => return facts,
    };
    facts.push(("you can", hint));
    facts
}

/// What is to be said of what follows the record: what else runs, and which projections say something else.
fn loader_facts(state: &ComponentState, loader: &Loader<'_>) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(started) = loader.seen.slot.filter(|slot| *slot != state.active) {
        let active = image_name(state, state.active);
        facts.push(("running", format!("slot {started} was started; restart to run {active}")));
    }
    let stale = |compared: &&Compared| match &compared.agreement {
        Agreement::Stale { says } => Some(format!("{} says {}", plain(&compared.projection), plain(says))),
        _ => None,
    };
    let stale: Vec<String> = loader.projections.iter().filter_map(stale).collect();
    if !stale.is_empty() {
        facts.push(("does not follow", format!("{}; `siding project` makes it follow", stale.join("; "))));
    }
    facts
}

fn next_text(name: &Component, state: &ComponentState) -> String {
    let active = image_name(state, state.active);
    match next_boot(state, now()) {
        NextBoot::Continues => format!("goes on with {active}"),
        NextBoot::SpendsTry { left } => {
            let back = way_back_name(state);
            format!(
                "tries {active}, {left} more after that; without `siding confirm {name}` then back to {back}"
            )
        }
        NextBoot::FallsBack { to, reason } => {
            format!("goes back to {}: {}", image_name(state, to), plain(&reason))
        }
    }
}

fn way_back_name(state: &ComponentState) -> String {
    state.way_back().map_or_else(|| "nothing".to_owned(), |slot| image_name(state, slot))
}

fn image_name(state: &ComponentState, slot: Slot) -> String {
    let version = state.image(slot).map(|image| image.version.to_string()).unwrap_or_default();
    format!("{version} in {slot}")
}

fn component_json(store: &Snapshot, name: &Component, state: &ComponentState, loader: &Loader<'_>) -> Value {
    let slots: serde_json::Map<String, Value> = Slot::ALL
        .into_iter()
        .map(|slot| {
            let value = match state.held(slot) {
                Held::Empty => json!({ "state": "empty" }),
                Held::Staging => {
                    json!({ "state": "staging", "written": store.interrupted(name, slot, None).unwrap_or(0) })
                }
                Held::Sealed(image) => json!({
                    "state": "sealed", "version": image.version.to_string(), "epoch": image.epoch,
                    "digest": image.identity.digest.to_string(), "bytes": image.identity.size,
                    "kind": image.identity.kind.to_string(), "installed_at": image.installed_at,
                    "advisories": image.advisories, "restart": image.restart,
                    "denied": state.denial(&image.identity.digest).is_some(),
                }),
            };
            (slot.name().to_owned(), value)
        })
        .collect();
    let next = match next_boot(state, now()) {
        NextBoot::Continues => json!({ "does": "continues", "slot": state.active.name() }),
        NextBoot::SpendsTry { left } => {
            json!({ "does": "spends-try", "slot": state.active.name(), "tries_left": left })
        }
        NextBoot::FallsBack { to, reason } => {
            json!({ "does": "falls-back", "slot": to.name(), "reason": reason })
        }
    };
    json!({
        "devices": state.places.as_ref().map(|places| json!({ "a": places.a, "b": places.b })),
        "component": name.as_str(), "path": store.current_path(name), "active": state.active.name(),
        "version": state.active_image().map(|image| image.version.to_string()),
        "slots": slots, "ready": state.waiting().map(Slot::name), "previous": state.previous.map(Slot::name),
        "trial": state.trial.as_ref().map(|trial| json!({
            "tries": trial.terms.tries, "tries_left": trial.tries_left,
            "deadline": trial.terms.deadline, "started": trial.started,
        })),
        "next_restart": next, "epoch_floor": state.floor, "started": loader.seen.slot.map(Slot::name),
        "loader_follows": loader.seen.turn.map(|turn| turn == state.turn),
        "projections": loader.projections.iter().map(|compared| compared_json(compared)).collect::<Vec<_>>(),
        "denied": state.denied.iter().map(|denied| json!({
            "digest": denied.digest.to_string(), "version": denied.version.to_string(),
            "reason": denied.reason, "at": denied.at,
        })).collect::<Vec<_>>(),
        "last_rollback": state.last_rollback.as_ref().map(|last| json!({
            "version": last.version.to_string(), "reason": last.reason, "at": last.at,
        })),
    })
}

pub(crate) fn log(args: &Log) -> Result<Reply, Failure> {
    let StoreArgs { store } = &args.store;
    let view = Store::view(store)?;
    chosen(&args.components, &view)?;
    let history = view.log()?;
    let wanted = |entry: &&LogEntry| args.components.is_empty() || args.components.contains(&entry.component);
    let entries: Vec<&LogEntry> = history.entries.iter().filter(wanted).collect();
    let newest = entries.len().saturating_sub(args.number.unwrap_or(usize::MAX));
    let entries = entries.get(newest..).unwrap_or_default();
    let mut text: String =
        entries.iter().map(|entry| format!("{}  {}\n", date(entry.at), entry_text(entry))).collect();
    if !history.damaged.is_empty() {
        let lines: Vec<String> = history.damaged.iter().map(ToString::to_string).collect();
        text += &format!("lines of the log that cannot be read: {}\n", lines.join(", "));
    }
    let json = json!({
        "entries": entries.iter().map(|entry| entry_json(entry)).collect::<Vec<_>>(), "damaged_lines": history.damaged,
    });
    Ok(Reply::new(text, json))
}

/// One thing that happened, in a sentence.
pub(crate) fn entry_text(entry: &LogEntry) -> String {
    let name = &entry.component;
    let version =
        |version: &Option<siding_image::Version>| version.as_ref().map_or("–".into(), ToString::to_string);
    let (from, to) = (version(&entry.from), version(&entry.to));
    let about = entry.to.as_ref().or(entry.from.as_ref()).map_or("–".into(), ToString::to_string);
    let slot = entry.slot.map(|slot| format!(" in slot {slot}")).unwrap_or_default();
    let sentence = match entry.what {
        What::Init if entry.slot.is_some_and(|slot| slot != Slot::Base) => {
            format!("{name}: {about} taken over as it lies{slot}")
        }
        What::Init => format!("{name}: base {about} put in place"),
        What::Stage => format!("{name}: staging {about}{slot}"),
        What::Abandon => format!("{name}: unfinished stage{slot} cleared"),
        What::Seal => format!("{name}: sealed {about}{slot}"),
        What::Switch => format!("{name}: switched from {from} to {to}{slot}"),
        What::Try => format!("{name}: restart on trial with {about}"),
        What::FallBack => format!("{name}: fell back from {from} to {to}{slot}"),
        What::Confirm => format!("{name}: confirmed {about}"),
        What::Rollback => format!("{name}: rolled back from {from} to {to}{slot}"),
        What::Remove => format!("{name}: removed {from}; back to {to}{slot}"),
        What::Lift => format!("{name}: denial of {about} lifted"),
        What::Supersede => {
            format!("{name}: base {to} in place of {from}, and of all that was patched on the base before")
        }
        What::Mend => format!("{name}: base {about} put in place anew: what lay there was damaged or gone"),
        What::Vacuum => format!("{name}: slot emptied{slot}, which held {about}"),
        _ => format!("{name}: {}", entry.what.name()),
    };
    match &entry.reason {
        Some(reason) => format!("{sentence} ({})", plain(reason)),
        None => sentence,
    }
}

pub(crate) fn entry_json(entry: &LogEntry) -> Value {
    json!({
        "at": entry.at, "event": entry.what.name(), "component": entry.component.as_str(),
        "from": entry.from.as_ref().map(ToString::to_string), "to": entry.to.as_ref().map(ToString::to_string),
        "slot": entry.slot.map(Slot::name), "reason": entry.reason,
    })
}
