//! `siding health`: what a unit calls after a boot, and a timer for deadlines.

use crate::args::Health as Args;
use crate::change::{json_of, text_of};
use crate::failure::{Code, Failure};
use crate::output::{Reply, plain};
use crate::restarts::{failed_code, restarted_json, restarted_text};
use crate::time::now;
use serde_json::json;
use siding_agent::health::{Checks, Health, Left, deadline, health};
use siding_agent::restart::Host;
use std::time::Duration;

pub(crate) fn run(args: &Args) -> Result<Reply, Failure> {
    let root = &args.store.store;
    if args.deadline {
        return Ok(match deadline(root, &Host::here(), now())? {
            Some(left) => left_reply(&left),
            None => Reply::new("no trial is past its deadline", json!({ "health": "nothing-late" })),
        });
    }
    let checks = Checks {
        dir: args.checks.clone(),
        limit: Duration::from_secs(args.limit),
        units: args.unit.clone(),
        within: Duration::from_secs(args.within),
    };
    Ok(match health(root, &checks, &Host::here(), &now)? {
        Health::NothingOnTrial => Reply::new("nothing is on trial", json!({ "health": "nothing-on-trial" })),
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
