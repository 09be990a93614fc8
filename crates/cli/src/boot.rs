//! `siding boot`: what the start of a device calls, before components are used.

use crate::args::{Boot, StartedArgs};
use crate::change::told;
use crate::failure::Failure;
use crate::output::{Reply, plain};
use crate::project::Following;
use crate::time::now;
use serde_json::{Value, json};
use siding_image::Component;
use siding_projection::{Projections, Start};
use siding_slot::{Booted, Slot, State, Store};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Hears the boot loaders first, then changes the record, then tells them what has changed. A start that was counted
/// already changes nothing in the record.
pub(crate) fn boot(args: &Boot) -> Result<Reply, Failure> {
    let cmdline = cmdline(&args.started)?;
    let mut store = siding_agent::open_soon(&args.store.store)?;
    let following = Following::of(store.root());
    let seen = following.seen(store.state(), &cmdline);
    let start = Start::here(store.root(), &notes());
    let counted = start.as_ref().is_some_and(|start| start.is_counted(store.state(), &cmdline));
    let (entries, nothing) = match counted {
        true => (Vec::new(), "this start of the device is counted already"),
        false => (store.boot_with(&seen, now())?, "nothing is on trial"),
    };
    // Without the note another call in this start counts once more, and that is all.
    drop(start.map(|start| start.note(store.state(), &cmdline)));
    let followed = following.follow(&store);
    let strays = strays(store.state(), &seen);
    let mut reply = told(&entries, nothing);
    if !strays.is_empty() {
        let text: String = strays.iter().map(Stray::text).collect();
        reply =
            reply.followed_by(&text).beside("started_otherwise", strays.iter().map(Stray::json).collect());
    }
    Ok(followed.tell(reply.needs_restart(!strays.is_empty())))
}

/// What the kernel was started with. A system that has no such file was started by no boot loader.
pub(crate) fn cmdline(args: &StartedArgs) -> Result<String, Failure> {
    // No kernel takes a longer one.
    const MOST: u64 = 1 << 20;
    let read = |path: &Path| {
        let mut bytes = Vec::new();
        File::open(path)?.take(MOST).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    match &args.cmdline {
        Some(path) => read(path).map_err(|error| Failure::io("read", path, &error)),
        None => Ok(read(Path::new("/proc/cmdline")).unwrap_or_default()),
    }
}

/// Where it is noted that a start was counted: a directory that no restart leaves anything in.
fn notes() -> PathBuf {
    let named = std::env::var_os("RUNTIME_DIRECTORY").filter(|named| !named.is_empty());
    named.map_or_else(|| PathBuf::from("/run/siding"), PathBuf::from)
}

/// Components of which this start of the device runs another slot than the active one, as the kernel's command line
/// says: their active image has not been tried out by it.
pub(crate) fn not_started(root: &Path, args: &StartedArgs) -> Result<Vec<Component>, Failure> {
    let view = Store::view(root)?;
    let seen = Projections::default().seen(view.state(), &cmdline(args)?);
    Ok(strays(view.state(), &seen).into_iter().map(|stray| stray.component).collect())
}

/// A component of which the boot loader started another slot than the one that is active now.
pub(crate) struct Stray {
    component: Component,
    started: Slot,
    active: Slot,
    version: String,
}

pub(crate) fn strays(state: &State, seen: &BTreeMap<Component, Booted>) -> Vec<Stray> {
    let stray = |(component, booted): (&Component, &Booted)| {
        let held = state.get(component)?;
        let started = booted.slot.filter(|slot| *slot != held.active)?;
        let version = held.active_image().map(|image| image.version.to_string()).unwrap_or_default();
        Some(Stray { component: component.clone(), started, active: held.active, version })
    };
    seen.iter().filter_map(stray).collect()
}

impl Stray {
    fn text(&self) -> String {
        let Self { component, started, active, version } = self;
        format!(
            "{component}: slot {started} was started, {} in slot {active} is active: restart to run it\n",
            plain(version)
        )
    }

    fn json(&self) -> Value {
        json!({ "component": self.component.as_str(), "started": self.started.name(), "active": self.active.name() })
    }
}
