//! Verbs that change a store.

use crate::args::{
    Boot, Confirm, Init, Install, InstallArgs, Remove, Rollback, StoreArgs, Switch, TrialArgs, Vacuum,
};
use crate::bytes::size;
use crate::failure::{Code, Failure};
use crate::forecast;
use crate::keys;
use crate::offline::reader;
use crate::output::Reply;
use crate::progress::Show;
use crate::status::{entry_json, entry_text};
use crate::time::now;
use serde_json::json;
use siding_agent::{Installed, Outcome, Request};
use siding_image::Component;
use siding_patch::Limits;
use siding_slot::{LogEntry, SealedImage, Slot, State, Store, TrialTerms};
use std::collections::BTreeSet;
use std::time::Duration;

pub(crate) fn init(args: &Init) -> Result<Reply, Failure> {
    let root = &args.store.store;
    let mut store = match Store::open(root) {
        Err(siding_slot::Error::NoStore { .. }) => Store::create(root)?,
        other => other?,
    };
    let entries = store.init(&args.component, &args.version, args.epoch, &args.image, now())?;
    let state = store.state().get(&args.component);
    let identity = state.and_then(|state| state.active_image()).map(|image| image.identity.to_string());
    let text = format!("{} {} is the base: {}", args.component, args.version, identity.unwrap_or_default());
    Ok(Reply::new(text, json_of(&entries)))
}

pub(crate) fn install(args: &Install, mut show: &Show) -> Result<Reply, Failure> {
    let TrialArgs { tries, deadline, no_trial } = args.trial;
    if !args.switch && (tries.is_some() || deadline.is_some() || no_trial) {
        return Err(Failure::usage(
            "--tries, --deadline and --no-trial are for --switch, which is not given",
        ));
    }
    if args.plan {
        return plan(&args.what);
    }
    let what = &args.what;
    let trust = keys::device_trust(&what.trust, &what.store.store)?;
    let mut store = open(&what.store)?;
    let request = Request { switch: args.switch.then(|| terms(&args.trial)), ..request(what) };
    let patch = reader(&what.patch)?;
    let done = siding_agent::install(&mut store, patch, &trust, &Limits::default(), &request, &mut show)?;
    show.finish();
    let restart = done.switched && !done.restart.is_empty();
    Ok(Reply::new(installed_text(&done, store.state()), installed_json(&done)).needs_restart(restart))
}

pub(crate) fn plan(args: &InstallArgs) -> Result<Reply, Failure> {
    let trust = keys::device_trust(&args.trust, &args.store.store)?;
    forecast::forecast(args, &trust, &request(args))
}

fn request(args: &InstallArgs) -> Request {
    Request {
        product: args.product.clone(),
        retry_denied: args.retry_denied,
        memory: args.load.memory,
        rate: args.load.rate,
        ..Request::at(now())
    }
}

fn installed_text(done: &Installed, state: &State) -> String {
    let Installed { component, version, slot, .. } = done;
    let how = match (done.outcome, &done.work) {
        (Outcome::WasActive, _) => return format!("{component} {version} is active already; nothing to do"),
        (Outcome::WasThere, _) => "was there already; its bytes were checked".to_owned(),
        (Outcome::Applied, None) => "sealed".to_owned(),
        (Outcome::Applied, Some((written, _))) if done.resumed > 0 => format!(
            "{} were there from an interrupted install, {} written, all flushed, read back and compared",
            size(done.resumed),
            size(*written)
        ),
        (Outcome::Applied, Some((written, _))) => {
            format!("{} written, flushed, read back and compared", size(*written))
        }
    };
    let mut text = format!("{component} {version} is in slot {slot}: {how}\n");
    if !done.switched {
        return text + &format!("next: `siding switch {component}`");
    }
    text += &match state.get(component).and_then(|state| state.trial.as_ref()) {
        Some(trial) => format!(
            "active, on trial: {} restarts to `siding confirm {component}`; the one after that rolls it back",
            trial.tries_left
        ),
        None => "active".to_owned(),
    };
    if !done.restart.is_empty() {
        text += &format!("\nto use it, restart: {}", done.restart.join(", "));
    }
    text
}

fn installed_json(done: &Installed) -> serde_json::Value {
    json!({
        "component": done.component.as_str(), "version": done.version.to_string(), "slot": done.slot.name(),
        "outcome": outcome(done.outcome),
        "switched": done.switched, "restart": done.restart,
        "written": done.work.as_ref().map(|(written, _)| written), "resumed": done.resumed,
    })
}

/// As JSON has it.
pub(crate) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Applied => "applied",
        Outcome::WasThere => "was-there",
        Outcome::WasActive => "was-active",
    }
}

pub(crate) fn switch(args: &Switch) -> Result<Reply, Failure> {
    let mut store = open(&args.store)?;
    let ready = |state: &State| names(state, |component| component.waiting().is_some());
    let set = chosen(&args.components, &store, ready, "no component has a sealed image waiting")?;
    let entries = store.switch(&set, terms(&args.trial), now())?;
    Ok(told_with_restart(&entries, &store, "nothing to switch"))
}

pub(crate) fn confirm(args: &Confirm) -> Result<Reply, Failure> {
    let mut store = open(&args.store)?;
    let set = if args.components.is_empty() { on_trial(store.state()) } else { args.components.clone() };
    Ok(told(&store.confirm(&set, now())?, "nothing is on trial; nothing to confirm"))
}

pub(crate) fn rollback(args: &Rollback) -> Result<Reply, Failure> {
    let mut store = open(&args.store)?;
    let set =
        chosen(&args.components, &store, on_trial, "nothing is on trial; name a component to roll it back")?;
    let entries = store.rollback(&set, &args.reason, now())?;
    Ok(told_with_restart(&entries, &store, "nothing to roll back"))
}

pub(crate) fn remove(args: &Remove) -> Result<Reply, Failure> {
    let mut store = open(&args.store)?;
    let entries = store.remove(&args.components, now())?;
    Ok(told_with_restart(&entries, &store, "the base is active already; nothing to remove"))
}

pub(crate) fn boot(args: &Boot) -> Result<Reply, Failure> {
    let mut store = Store::open_patiently(&args.store.store, PATIENCE)?;
    Ok(told(&store.boot(now())?, "nothing is on trial"))
}

pub(crate) fn vacuum(args: &Vacuum) -> Result<Reply, Failure> {
    let freed = open(&args.store)?.vacuum(now())?;
    let mut text = text_of(&freed.entries) + &format!("{} freed", size(freed.bytes));
    for path in &freed.kept {
        text += &format!(
            "\n{} is a base that the record does not know; `siding init` takes it over",
            path.display()
        );
    }
    let json = json!({ "freed_bytes": freed.bytes, "events": json_of(&freed.entries), "kept": freed.kept });
    Ok(Reply::new(text, json))
}

/// Opens for writing; a store that is not there is named with what to do.
fn open(args: &StoreArgs) -> Result<Store, Failure> {
    Ok(Store::open(&args.store)?)
}

/// How long `boot` waits for another process to let go of the store: a try must be spent before anything runs.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many restarts a trial gets unless told otherwise.
const TRIES: u32 = 3;

fn terms(args: &TrialArgs) -> Option<TrialTerms> {
    let deadline = args.deadline.map(|seconds| now().saturating_add(seconds));
    (!args.no_trial).then_some(TrialTerms { tries: args.tries.unwrap_or(TRIES), deadline })
}

fn chosen(
    named: &[Component],
    store: &Store,
    default: impl Fn(&State) -> Vec<Component>,
    none: &str,
) -> Result<Vec<Component>, Failure> {
    let set = if named.is_empty() { default(store.state()) } else { named.to_vec() };
    if set.is_empty() { Err(Failure::new(Code::NotForThis, none)) } else { Ok(set) }
}

fn on_trial(state: &State) -> Vec<Component> {
    names(state, |component| component.trial.is_some())
}

fn names(state: &State, wanted: impl Fn(&siding_slot::ComponentState) -> bool) -> Vec<Component> {
    state.components().filter(|(_, component)| wanted(component)).map(|(name, _)| name.clone()).collect()
}

/// What was told, with what must restart: for the image that came, or was left.
fn told_with_restart(entries: &[LogEntry], store: &Store, nothing: &str) -> Reply {
    let mut restart = BTreeSet::new();
    for entry in entries {
        let images = store.state().get(&entry.component).into_iter();
        let images = images.flat_map(|state| Slot::ALL.into_iter().filter_map(|slot| state.image(slot)));
        let concerned =
            |image: &&SealedImage| [&entry.from, &entry.to].contains(&&Some(image.version.clone()));
        restart.extend(images.filter(concerned).flat_map(|image| image.restart.clone()));
    }
    if restart.is_empty() {
        return told(entries, nothing);
    }
    let restart: Vec<String> = restart.into_iter().collect();
    let text = text_of(entries) + &format!("to use it, restart: {}", restart.join(", "));
    Reply::new(text, json_of(entries)).needs_restart(true)
}

fn told(entries: &[LogEntry], nothing: &str) -> Reply {
    let text = if entries.is_empty() { nothing.to_owned() } else { text_of(entries) };
    Reply::new(text, json_of(entries))
}

fn text_of(entries: &[LogEntry]) -> String {
    entries.iter().map(|entry| entry_text(entry) + "\n").collect()
}

fn json_of(entries: &[LogEntry]) -> serde_json::Value {
    entries.iter().map(entry_json).collect()
}
