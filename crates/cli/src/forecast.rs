//! `siding install --plan`: what an install would do, in one screen, without writing anything.

use crate::args::InstallArgs;
use crate::bytes::{at_least, size};
use crate::device::outcome;
use crate::failure::Failure;
use crate::offline::reader;
use crate::output::{Reply, table};
use serde_json::json;
use siding_agent::{Outcome, Plan, Request};
use siding_image::verity;
use siding_patch::{Limits, Trust};
use siding_slot::{Slot, Snapshot, Store};
use std::fs::File;
use std::io::Read;
use std::time::Instant;

/// How fast dense streams decode on one core, in bytes a second: docs/decisions/0010-three-coders.md.
const DECODING: f64 = 30e6;

pub(crate) fn forecast(args: &InstallArgs, trust: &Trust, request: &Request) -> Result<Reply, Failure> {
    let patch = siding_patch::open(reader(&args.patch)?, trust, &Limits::default())?;
    let store = Store::view(&args.store.store)?;
    let plan = siding_agent::plan(&store, patch.manifest(), request)?;
    let seconds = seconds(&plan, &store).filter(|_| plan.outcome == Outcome::Applied);
    let seconds = seconds.map(|seconds| match args.load.rate {
        Some(rate) => seconds.max(plan.fresh.saturating_sub(plan.resumed) as f64 / rate as f64),
        None => seconds,
    });
    let patch = plan.patch + patch.overhead();
    Ok(Reply::new(text(&plan, patch, seconds), json(&plan, patch, seconds)))
}

/// About how long it would take: the source is read, the image is written and read back, all three are hashed; how
/// fast that goes here is tried on the beginning of the source.
fn seconds(plan: &Plan, store: &Snapshot) -> Option<f64> {
    const SAMPLE: u64 = 16 << 20;
    let source = store.image(&plan.component, plan.source?).ok()?;
    let blob = source.blobs().iter().max_by_key(|blob| blob.content.size)?;
    let mut sample = Vec::new();
    let started = Instant::now();
    File::open(blob.path()).ok()?.take(SAMPLE).read_to_end(&mut sample).ok()?;
    std::hint::black_box(verity::digest(&sample));
    let second = started.elapsed().as_secs_f64() / (sample.len() as f64).max(1.0);
    let passes = source.identity().size + plan.image + 2 * plan.fresh - plan.resumed.min(plan.fresh);
    Some(passes as f64 * second + plan.decoded as f64 / DECODING)
}

fn text(plan: &Plan, patch: u64, seconds: Option<f64>) -> String {
    let what = match plan.outcome {
        Outcome::Applied => format!("would be written to slot {}", plan.slot),
        Outcome::WasThere => format!("is in slot {} already; its bytes would be checked", plan.slot),
        Outcome::WasActive => "is active already; nothing to do".to_owned(),
    };
    let source = plan.source.map_or_else(String::new, |slot| format!(", in slot {slot}"));
    let mut rows =
        vec![vec!["starts from".into(), format!("{}{source}", plan.from)], vec!["patch".into(), size(patch)]];
    if let Some(space) = &plan.space {
        rows.push(vec![
            "image".into(),
            format!("{}, {} of it written anew", size(plan.image), size(plan.fresh)),
        ]);
        if plan.resumed > 0 {
            rows.push(vec![
                "goes on".into(),
                format!("{} are there from an install that was interrupted", size(plan.resumed)),
            ]);
        }
        let fits = if space.fits() { "" } else { "; fits only if much of it is zeros" };
        let free = format!("{} free at {}{fits}", size(space.free), space.at.display());
        rows.push(vec!["space".into(), format!("needs {}; {free}", size(space.needed))]);
        let memory = at_least(plan.memory);
        rows.push(vec!["memory".into(), format!("--memory {memory} suffices, unless coders look back")]);
    } else {
        rows.push(vec!["image".into(), size(plan.image)]);
    }
    if let Some(seconds) = seconds {
        let time = if seconds < 1.0 { "less than a second".into() } else { format!("about {seconds:.0} s") };
        rows.push(vec!["time".into(), time + " on this machine, as idle as now"]);
    }
    if !plan.advisories.is_empty() {
        rows.push(vec!["fixes".into(), plan.advisories.join(", ")]);
    }
    let restart = if plan.restart.is_empty() { "nothing".to_owned() } else { plan.restart.join(", ") };
    rows.push(vec!["restarts".into(), restart]);
    let all = format!("{} {} {what}\n{}", plan.component, plan.version, table(&rows, &[]));
    all.trim_end().to_owned()
}

fn json(plan: &Plan, patch: u64, seconds: Option<f64>) -> serde_json::Value {
    json!({
        "component": plan.component.as_str(), "from": plan.from.to_string(), "version": plan.version.to_string(),
        "outcome": outcome(plan.outcome),
        "source": plan.source.map(Slot::name), "slot": plan.slot.name(),
        "patch": patch, "image": plan.image, "fresh": plan.fresh, "resumed": plan.resumed, "memory": plan.memory,
        "space": plan.space.as_ref().map(|space| json!({
            "needed": space.needed, "free": space.free, "at": space.at, "fits": space.fits(),
        })),
        "seconds": seconds, "restart": plan.restart, "advisories": plan.advisories,
    })
}
