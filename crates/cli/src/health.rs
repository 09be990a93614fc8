//! `siding health`: what a unit calls after a boot, and a timer for deadlines.

use crate::args::Health as Args;
use crate::boot::not_started;
use crate::change::{json_of, text_of, waiting_text};
use crate::failure::{Code, Failure};
use crate::output::{Reply, plain};
use crate::project::{Followed, Following};
use crate::restarts::{failed_code, restarted_json, restarted_text};
use crate::time::now;
use serde_json::json;
use siding_agent::health::{Checks, Health, Left, deadline, health};
use siding_agent::restart::Host;
use siding_slot::Snapshot;
use std::path::Path;
use std::time::Duration;

pub(crate) fn run(args: &Args) -> Result<Reply, Failure> {
    let root = &args.store.store;
    let (following, mut followed) = (Following::of(root), Followed::default());
    let mut follow = |store: &Snapshot| followed = following.follow(store);
    let owed = siding_agent::pay(root, &Host::here())?;
    let reply = if args.deadline { late(root, &mut follow)? } else { asked(args, &mut follow)? };
    let reply = match owed {
        Some(restarted) => {
            let text =
                format!("a way back was cut off before this was done:\n{}", restarted_text(&restarted));
            reply.followed_by(&text).beside("owed", restarted_json(&restarted))
        }
        None => reply,
    };
    Ok(followed.tell(reply))
}

fn late(root: &Path, follow: &mut dyn FnMut(&Snapshot)) -> Result<Reply, Failure> {
    Ok(match deadline(root, &Host::here(), now(), follow)? {
        Some(left) => left_reply(&left),
        None => Reply::new("no trial is past its deadline", json!({ "health": "nothing-late" })),
    })
}

fn asked(args: &Args, follow: &mut dyn FnMut(&Snapshot)) -> Result<Reply, Failure> {
    let checks = Checks {
        dir: args.checks.clone(),
        limit: Duration::from_secs(args.limit),
        units: args.unit.clone(),
        within: Duration::from_secs(args.within),
        not_started: not_started(&args.store.store, &args.started)?,
    };
    Ok(match health(&args.store.store, &checks, &Host::here(), &now, follow)? {
        Health::NothingOnTrial => Reply::new("nothing is on trial", json!({ "health": "nothing-on-trial" })),
        Health::NotStarted(components) => {
            let names: Vec<&str> = components.iter().map(siding_image::Component::as_str).collect();
            let json = json!({ "health": "not-started", "components": names });
            Reply::new(waiting_text(&components), json).ends_with(Code::Restart)
        }
        Health::FailedBefore(components) => {
            let names: Vec<&str> = components.iter().map(siding_image::Component::as_str).collect();
            let text = format!("{} failed already; reboot to leave it", names.join(", "));
            Reply::new(text, json!({ "health": "failed-before", "components": names }))
                .ends_with(Code::Restart)
        }
        Health::Good { asked, entries } => {
            let text = format!("all is well: {}\n{}", asked.join(", "), text_of(&entries));
            let json = json!({ "health": "good", "asked": asked, "events": json_of(&entries) });
            Reply::new(text, json)
        }
        Health::Bad(left) => left_reply(&left),
    })
}

/// A trial that failed ends with 1, or with 4 if something still has to be restarted to leave it.
fn left_reply(left: &Left) -> Reply {
    let reason = left.reason.as_ref().map(|reason| format!("{}\n", plain(reason))).unwrap_or_default();
    let restarts = match left.entries.is_empty() {
        true => "what was on trial was changed meanwhile; nothing was done\n".to_owned(),
        false => restarted_text(&left.restarted),
    };
    let json = json!({
        "health": if left.reason.is_some() { "bad" } else { "late" }, "reason": left.reason,
        "events": json_of(&left.entries), "restart": restarted_json(&left.restarted),
    });
    Reply::new(reason + &text_of(&left.entries) + &restarts, json).ends_with(failed_code(&left.restarted))
}
