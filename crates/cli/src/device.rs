//! Verbs that put images into a store: init, install, plan; and the one that frees them: vacuum.

use crate::args::{Init, Install, InstallArgs, TrialArgs, Vacuum};
use crate::bytes::size;
use crate::change::{json_of, open, terms, text_of, told};
use crate::failure::Failure;
use crate::forecast;
use crate::keys;
use crate::offline::reader;
use crate::output::{Reply, plain};
use crate::progress::Show;
use crate::project::{Followed, Following};
use crate::restarts::{Restarts, change};
use crate::time::now;
use serde_json::json;
use siding_agent::restart::Move;
use siding_agent::{Installed, Outcome, Request};
use siding_image::Image;
use siding_patch::Limits;
use siding_slot::{Places, SealedImage, Slot, State, Store, What};
use std::path::PathBuf;

pub(crate) fn init(args: &Init) -> Result<Reply, Failure> {
    if args.replace {
        return supersede(args);
    }
    let (root, places) = (&args.store.store, places(&args.slot)?);
    let mut store = match Store::open(root) {
        Err(siding_slot::Error::NoStore { .. }) => Store::create(root)?,
        other => other?,
    };
    let following = Following::checked(root)?;
    let Init { component, image, version, epoch, .. } = args;
    let entries = match &places {
        None => store.init(component, version, *epoch, image, now())?,
        Some(places) => {
            let active = args.active.parse().map_err(|wrong: String| Failure::usage(wrong))?;
            store.init_places(component, version, *epoch, places, active, image, now())?
        }
    };
    let state = store.state().get(&args.component);
    let identity = state.and_then(|state| state.active_image()).map(|image| image.identity.to_string());
    let is = match &places {
        None => "the base".to_owned(),
        Some(_) => format!("in use, in slot {}, as it was found there", args.active),
    };
    let text = format!("{component} {version} is {is}: {}", identity.unwrap_or_default());
    let followed = following.follow(&store).so_far(store.state());
    Ok(followed.tell(Reply::new(text, json_of(&entries))))
}

/// Another base for a component that has one. What follows the record has followed it before the files of what was
/// superseded go.
fn supersede(args: &Init) -> Result<Reply, Failure> {
    let Init { component, image, version, epoch, retry_denied, .. } = args;
    let store = open(&args.store)?;
    // Another base drops the patch in use; its own image mends it, and drops nothing.
    let held = store.state().get(component);
    let base = held.and_then(|held| held.image(Slot::Base)).map(|base| base.identity);
    let mends = || Image::open(image).is_ok_and(|image| Some(image.identity()) == base);
    if held.is_some_and(|held| held.active != Slot::Base) && !mends() {
        crate::agent::policy_of(store.root())?.may_remove(component)?;
    }
    let following = Following::checked(store.root())?;
    let moves = [Move { component: component.clone(), to: Slot::Base }];
    let write = |store: &mut Store| store.supersede(component, version, *epoch, image, *retry_denied, now());
    let changed = change(store, &moves, Restarts::Tell, &following, write)?;
    let base = changed.state.get(component).and_then(|held| held.image(Slot::Base));
    let name = base.map_or_else(String::new, SealedImage::name);
    if changed.entries.iter().any(|entry| entry.what == What::Mend) {
        // What runs is what ran, but for the damage.
        let on_base = changed.state.get(component).is_some_and(|held| held.active == Slot::Base);
        let restart = if on_base { "what still runs the damaged one needs a restart\n" } else { "" };
        return Ok(changed.followed.tell(told(&changed.entries, "").followed_by(restart)));
    }
    let reply =
        changed.reply(&format!("{name} is the base of {component} already, and whole; nothing to do"));
    if changed.entries.is_empty() {
        return Ok(reply);
    }
    Ok(reply.followed_by("what still runs the image before needs a restart to use this one\n"))
}

/// The two devices, if any is named.
fn places(named: &[(Slot, PathBuf)]) -> Result<Option<Places>, Failure> {
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    match named {
        [] => Ok(None),
        [(Slot::A, a), (Slot::B, b)] | [(Slot::B, b), (Slot::A, a)] => {
            Ok(Some(Places { a: absolute(a), b: absolute(b) }))
        }
        _ => Err(Failure::usage("a component of two devices has each once: --slot a=DEVICE --slot b=DEVICE")),
    }
}

pub(crate) fn install(args: &Install, mut show: &Show) -> Result<Reply, Failure> {
    let TrialArgs { tries, deadline, no_trial } = args.trial;
    if !args.switch && (tries.is_some() || deadline.is_some() || no_trial || args.no_check || args.restart) {
        return Err(Failure::usage(
            "--tries, --deadline, --no-trial, --no-check and --restart are for --switch, which is not given",
        ));
    }
    if args.plan {
        return plan(&args.what);
    }
    let what = &args.what;
    let trust = keys::device_trust(&what.trust, &what.store.store)?;
    let mut store = Store::open(&what.store.store)?;
    let following = if args.switch { Following::checked(store.root())? } else { Following::of(store.root()) };
    let before = store.state().clone();
    // What restarts is prepared between the seal and the switch.
    let switch = (args.switch && !args.restart).then(|| terms(&args.trial));
    let request = Request { switch, check: !args.no_check, ..request(what) };
    let done = loop {
        let (patch, limits) = (reader(&what.patch)?, Limits::default());
        match siding_agent::install(&mut store, patch, &trust, &limits, &request, &mut show) {
            Err(siding_agent::Error::GaveWay) => {
                drop(store);
                store = siding_agent::open_after(&what.store.store)?;
            }
            done => break done,
        }
    };
    if done.is_err() || args.restart {
        // What comes next may fail, and the slot that was written may have been the way back.
        let followed = Store::view(store.root()).map(|now| following.follow_since(&before, &now));
        let untold = followed.ok().filter(|followed| done.is_err() && !followed.is_complete());
        if let Some(followed) = untold {
            eprintln!("siding: {}", plain(followed.text().trim_end()));
        }
    }
    let done = done?;
    show.finish();
    if args.restart && done.outcome != Outcome::WasActive {
        return switched_and_restarted(store, &following, done, args);
    }
    let restart = done.switched && !done.restart.is_empty();
    let text = installed_text(&done, store.state(), request.check);
    let reply = Reply::new(text, installed_json(&done)).needs_restart(restart);
    let followed =
        if args.switch { following.follow(&store) } else { following.follow_since(&before, &store) };
    Ok(followed.tell(reply))
}

fn switched_and_restarted(
    store: Store,
    following: &Following,
    mut done: Installed,
    args: &Install,
) -> Result<Reply, Failure> {
    let to = [(done.component.clone(), done.slot)];
    let moves = [Move { component: done.component.clone(), to: done.slot }];
    let write = |store: &mut Store| store.switch_to(&to, terms(&args.trial), now());
    let changed = change(store, &moves, Restarts::Forward, following, write)?;
    // What must restart is told by what was restarted.
    (done.switched, done.restart) = (true, Vec::new());
    let text = installed_text(&done, &changed.state, !args.no_check) + "\n" + &changed.restart_text();
    let mut json = installed_json(&done);
    json["restart"] = changed.restart_json();
    Ok(changed.followed.tell(Reply::new(text, json).needs_restart(changed.needs_restart())))
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
        // What comes through a pipe cannot be read again.
        gives_way: args.patch.is_file(),
        ..Request::at(now())
    }
}

fn installed_text(done: &Installed, state: &State, checked: bool) -> String {
    let Installed { component, version, slot, .. } = done;
    let how = match (done.outcome, &done.work) {
        (Outcome::WasActive, _) => return format!("{component} {version} is active already; nothing to do"),
        (Outcome::WasThere, _) if !checked => "was there already; its bytes were not checked".to_owned(),
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
    let was_left = state.get(component).is_some_and(|held| held.previous == Some(*slot));
    if !done.switched && was_left {
        return text + "it was in use before; next: the same with --switch, to go back to it";
    }
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

/// Nothing has to follow: it empties no slot that is in use, and no way back that was not denied.
pub(crate) fn vacuum(args: &Vacuum) -> Result<Reply, Failure> {
    let mut store = Store::open(&args.store.store)?;
    let freed = store.vacuum(now())?;
    let mut text = text_of(&freed.entries) + &format!("{} freed", size(freed.bytes));
    for path in &freed.removed {
        text += &format!(
            "\n{} was removed: the record knows no such component",
            plain(&path.display().to_string())
        );
    }
    for path in &freed.kept {
        text += &format!(
            "\n{} is a base that the record does not know; `siding init` takes it over",
            path.display()
        );
    }
    for error in &freed.failed {
        text += &format!("\nNOT removed: {}", plain(&error.to_string()));
    }
    let failed: Vec<String> = freed.failed.iter().map(ToString::to_string).collect();
    let json = json!({
        "freed_bytes": freed.bytes, "events": json_of(&freed.entries), "kept": freed.kept, "removed": freed.removed,
        "failed": failed,
    });
    let reply = Followed::in_store(&store).tell(Reply::new(text, json));
    Ok(match freed.failed.into_iter().next().map(Failure::from) {
        Some(failure) => reply.ends_with(failure.code),
        None => reply,
    })
}
