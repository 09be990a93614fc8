//! Verbs around the agent: `agent`, `check`, `list`, `info`, `set`, and `install` of a release.

use crate::args::agent::{Check, PolicyArgs, Set};
use crate::failure::{Code, Failure};
use crate::output::{Paint, Reply, plain, table};
use crate::time::now;
use serde_json::{Value, json};
use siding_agent::background::Passed;
use siding_agent::memory::Told;
use siding_agent::policy::{Policy, PolicyError};
use siding_slot::date;

mod background;
mod offers;
mod setup;
mod standing;
pub(crate) use background::{agent, install};
pub(crate) use offers::{info, is_release, list};
pub(crate) use setup::policy_of;
pub(crate) use standing::standing;

use setup::Setup;

/// `siding check`: a look, and what is new.
pub(crate) fn check(args: &Check) -> Result<Reply, Failure> {
    let setup = Setup::of(&args.policy)?;
    let passed = setup.look()?;
    if let Some(error) = passed.error {
        return Err(Failure::new(code_of(error.code), error));
    }
    offers::reply(&setup, false)
}

/// `siding set`.
pub(crate) fn set(args: &Set) -> Result<Reply, Failure> {
    let PolicyArgs { config, store } = &args.policy;
    let mut policy = Policy::load(config, &store.store)?;
    let value = args.value.as_deref().or(args.default.then_some(""));
    if let (Some(name), Some(value)) = (&args.name, value) {
        if value.is_empty() && !args.default {
            return Err(Failure::usage("a setting has a value; --default forgets what was set"));
        }
        policy.set(name, value)?;
    }
    let mut settings = policy.settings();
    if let Some(name) = &args.name {
        settings.retain(|setting| setting.name == *name);
        if settings.is_empty() {
            return Err(Failure::usage(format!("there is no setting {name:?}; `siding set` lists them")));
        }
    }
    let rows: Vec<Vec<String>> = settings
        .iter()
        .map(|setting| {
            let locked = if policy.is_locked(&setting.name) { ", locked" } else { "" };
            vec![setting.name.clone(), plain(&setting.value), format!("{}{locked}", plain(&setting.from))]
        })
        .collect();
    let json = settings.iter().map(|setting| {
        json!({
            "name": setting.name, "value": setting.value, "choices": setting.choices, "from": setting.from,
            "locked": policy.is_locked(&setting.name), "help": setting.help,
        })
    });
    Ok(Reply::new(table(&rows, &[]), json.collect()))
}

/// What a pass did, for people and programs.
fn passed_reply(passed: &Passed) -> Reply {
    let mut text: String = passed.told.iter().map(|told| told_text(told) + "\n").collect();
    if let Some(error) = &passed.error {
        text += &format!("the repository cannot be read: {}\n", plain(&error.message));
    }
    if passed.told.is_empty() && passed.error.is_none() {
        text += "nothing is new\n";
    }
    if !passed.restart.is_empty() {
        text += &format!("to use what is installed, restart: {}\n", passed.restart.join(", "));
    }
    let json = json!({
        "told": passed.told.iter().map(told_json).collect::<Vec<_>>(),
        "error": passed.error.as_ref().map(|error| &error.message),
        "restart": passed.restart, "interrupted": passed.interrupted,
    });
    let reply = Reply::new(text, json).needs_restart(!passed.restart.is_empty());
    let failed = passed.told.iter().filter(|told| told.what == "fail").find_map(|told| told.code.as_deref());
    match passed.error.as_ref().map(|error| error.code).or(failed) {
        Some(code) => reply.ends_with(code_of(code)),
        None => reply,
    }
}

/// The exit code for what the agent calls a failure.
fn code_of(failure: &str) -> Code {
    match failure {
        "no-space" => Code::NoSpace,
        "not-trusted" | "old-epoch" | "expired" | "rollback" | "not-signed" | "mixed" => Code::NotTrusted,
        "corrupt" | "mismatch" | "malformed" | "wrong-digest" | "wrong-length" | "damaged" => Code::Corrupt,
        "busy" => Code::Busy,
        "base-unknown" | "wrong-product" | "needs-newer-siding" | "denied" | "refused" | "no-hook" => {
            Code::NotForThis
        }
        _ => Code::Failed,
    }
}

fn told_text(told: &Told) -> String {
    let about = told.release.as_deref().map(|release| format!("{release}: ")).unwrap_or_default();
    let code = told.code.as_deref().map(|code| format!(" [{code}]")).unwrap_or_default();
    plain(&format!("{} {about}{}{code}", told.what, told.text))
}

fn told_json(told: &Told) -> Value {
    json!({
        "at": told.at, "what": told.what, "release": told.release, "component": told.component,
        "code": told.code, "text": told.text,
    })
}

fn when(at: Option<u64>) -> String {
    at.map_or_else(|| "never".to_owned(), date)
}

fn busy() -> Failure {
    Failure::new(
        Code::Busy,
        "another agent is at work on this store; try again once it is done (`siding status`)",
    )
}

impl From<PolicyError> for Failure {
    fn from(error: PolicyError) -> Self {
        match error {
            PolicyError::Value(_) => Self::usage(error),
            PolicyError::Forbidden(_) => Self::new(Code::NotForThis, error),
            error => Self::failed(error),
        }
    }
}

/// How a release is coloured on a terminal.
fn painted(code: &str, text: &str) -> String {
    let paint = Paint::stdout();
    match code {
        "installed" | "installing" => paint.good(text),
        "denied" | "withdrawn" | "failed" => paint.bad(text),
        _ => text.to_owned(),
    }
}

/// Seconds until then, at least `least`.
fn until(at: u64, least: u64) -> u64 {
    at.saturating_sub(now()).max(least)
}
