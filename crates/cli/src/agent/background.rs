//! `siding agent`, and `siding install` of a release.

use super::setup::Setup;
use super::{busy, code_of, offers, passed_reply, told_json, told_text, until};
use crate::args::agent::{Agent as Args, PolicyArgs};
use crate::args::{Install, InstallArgs};
use crate::failure::{Code, Failure};
use crate::output::Reply;
use crate::time::now;
use siding_agent::background::{Look, Passed};
use siding_agent::memory::{Failed, Memory};
use siding_agent::view::Verdict;
use siding_page::{Listen, PageOptions, Stop};
use siding_slot::Store;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// The loop, or one pass.
pub(crate) fn agent(args: &Args, as_json: bool) -> Result<Reply, Failure> {
    let setup = Setup::of(&args.policy)?;
    end_on_signals(&setup)?;
    if args.once {
        let passed = setup.agent(|agent| agent.pass(Look::Now))?.ok_or_else(busy)?;
        return Ok(passed_reply(&passed));
    }
    let page = page(&setup)?;
    let done = work(setup, as_json);
    if let Some((stop, serving)) = page {
        stop.now();
        let _ = serving.join();
    }
    done
}

/// Passes, one after the other, until the process is ended.
fn work(mut setup: Setup, as_json: bool) -> Result<Reply, Failure> {
    while !setup.shared.is_ending() {
        let passed = match setup.again() {
            Ok(again) => {
                setup = again;
                setup.agent(|agent| agent.pass(Look::IfDue))
            }
            // The settings make no sense: nothing is done as long as it is not known what is wanted.
            Err(failure) => Err(failure),
        };
        let worked = matches!(passed, Ok(Some(_)));
        match passed {
            Ok(Some(passed)) => say(&passed, as_json),
            // Another one is at it; it does the same.
            Ok(None) => {}
            // Whatever it is, a later pass may find it mended.
            Err(failure) => eprintln!("siding: {failure}"),
        }
        setup.shared.wait(pause(&setup, worked));
    }
    Ok(Reply::new("", serde_json::json!({ "ended": true })))
}

/// How long to wait: until the next look, but not long, since windows open, waves come and deadlines pass. A look that
/// the last pass did not come to is not waited for.
fn pause(setup: &Setup, worked: bool) -> Duration {
    const LONGEST: u64 = 300;
    const ON_TRIAL: u64 = 30;
    let on_trial =
        |store: siding_slot::Snapshot| store.state().components().any(|(_, held)| held.trial.is_some());
    let longest = if Store::view(setup.store()).is_ok_and(on_trial) { ON_TRIAL } else { LONGEST };
    let looks = worked && setup.policy.values.automatic_check;
    let next = Memory::load(setup.store()).ok().and_then(|memory| memory.next).filter(|_| looks);
    Duration::from_secs(next.map_or(longest, |next| until(next, 1)).min(longest))
}

fn say(passed: &Passed, as_json: bool) {
    for told in &passed.told {
        if as_json { println!("{}", told_json(told)) } else { println!("{}", told_text(told)) }
    }
}

/// SIGTERM and SIGINT end the work at a safe point.
fn end_on_signals(setup: &Setup) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("cannot listen to signals: {error}"));
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(failed)?;
    let shared = Arc::clone(&setup.shared);
    let wait = move || {
        if signals.forever().next().is_some() {
            shared.end();
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop).map_err(failed)
}

/// The page, if policy wants one, in a thread of its own.
fn page(setup: &Setup) -> Result<Option<(Stop, thread::JoinHandle<()>)>, Failure> {
    let Some(place) = &setup.policy.values.page else { return Ok(None) };
    let failed = |error: siding_page::Error| Failure::failed(format!("the page: {error}"));
    let listen: Listen = place.parse().map_err(failed)?;
    let bound = siding_page::bind(&listen).map_err(failed)?;
    let values = &setup.policy.values;
    let named = |options: PageOptions, name: &String| options.also_named(name);
    let options = values.page_names.iter().fold(PageOptions::default(), named);
    let options = if values.page_read_only { options.read_only() } else { options };
    let (device, stop) = (Arc::new(setup.running()), Stop::default());
    let ends = stop.clone();
    let serve = move || {
        if let Err(error) = bound.serve(device, options, &ends) {
            eprintln!("siding: the page: {error}");
        }
    };
    let serving = thread::Builder::new().name("page".to_owned()).spawn(serve);
    let serving = serving.map_err(|error| Failure::failed(format!("cannot serve the page: {error}")))?;
    Ok(Some((stop, serving)))
}

/// `siding install ADVISORY`: a person wants it, now.
pub(crate) fn install(args: &Install, id: &str) -> Result<Reply, Failure> {
    let config = std::env::var_os("SIDING_CONFIG").filter(|named| !named.is_empty());
    let config = config.map_or_else(|| PathBuf::from(siding_agent::policy::DIR), PathBuf::from);
    let setup = Setup::of(&PolicyArgs { config, store: args.what.store.clone() })?;
    end_on_signals(&setup)?;
    let release = named(&setup, id)?;
    refuse_options_of_files(args)?;
    let offer = offers::offer(&setup, &release, args.what.retry_denied)?;
    if args.plan {
        return Ok(offers::told(&offer));
    }
    match offer.verdict {
        Verdict::Installed => {
            let text = format!("{release} is installed already; nothing to do");
            return Ok(Reply::new(text, serde_json::to_value(&offer).unwrap_or_default()));
        }
        _ if !offer.can_install && offer.verdict != Verdict::Staged => {
            return Err(Failure::new(
                Code::NotForThis,
                format!("{release} cannot be installed: {} [{}]", offer.reason, offer.code),
            ));
        }
        _ => {}
    }
    if args.what.retry_denied {
        lift(&setup, &release)?;
    }
    let ask = |memory: &mut Memory| {
        memory.asked.insert(release.clone());
        memory.failed.remove(&release);
        memory.restart_asked |= offer.verdict == Verdict::Staged;
    };
    let kept = |error: std::io::Error| Failure::io("write", &setup.store().join("agent"), &error);
    Memory::update(setup.store(), ask).map_err(kept)?;
    let Some(passed) = setup.agent(|agent| agent.pass(Look::Not))? else {
        let withdraw = |memory: &mut Memory| memory.asked.retain(|asked| *asked != release);
        Memory::update(setup.store(), withdraw).map_err(kept)?;
        return Err(busy());
    };
    if let Some(failed) = Memory::load(setup.store()).map_err(kept)?.failed.get(&release) {
        return Err(failure(&release, failed));
    }
    let after = offers::offer(&setup, &release, false)?;
    let reply = passed_reply(&passed).beside("release", serde_json::to_value(&after).unwrap_or_default());
    match after.verdict {
        Verdict::Installed | Verdict::Staged => Ok(reply),
        _ => Ok(reply.followed_by(&format!("{release}: {}\n", after.reason)).ends_with(Code::Failed)),
    }
}

/// What a release is installed with is said by the settings, and not by options that are for the file of a patch.
fn refuse_options_of_files(args: &Install) -> Result<(), Failure> {
    let InstallArgs { trust, product, load, .. } = &args.what;
    let in_environment = |name: &str| std::env::var_os(name).is_some();
    let named = [
        ("--trust", !trust.trust.is_empty() && !in_environment("SIDING_TRUST"), "trust"),
        ("--threshold", trust.threshold != 1 && !in_environment("SIDING_THRESHOLD"), "threshold"),
        ("--product", product.is_some() && !in_environment("SIDING_PRODUCT"), "product"),
        ("--rate", load.rate.is_some(), "rate"),
        ("--tries", args.trial.tries.is_some(), "trial-tries"),
        ("--deadline", args.trial.deadline.is_some(), "trial-deadline"),
        ("--no-trial", args.trial.no_trial, "trial-tries"),
        ("--no-check", args.no_check, ""),
    ];
    match named.into_iter().find(|(_, given, _)| *given) {
        None => Ok(()),
        Some((option, _, "")) => {
            Err(Failure::usage(format!("{option} is for the file of a patch, not for a release")))
        }
        Some((option, _, setting)) => Err(Failure::usage(format!(
            "{option} is for the file of a patch; for a release `{setting}` in agent.toml decides (`siding set` shows it)"
        ))),
    }
}

/// The release that is meant, after a look if it is not known yet. What names none was probably meant for a file.
fn named(setup: &Setup, name: &str) -> Result<String, Failure> {
    let none = || {
        let what = "there is no such file, and no release of that name or that repairs it";
        Failure::failed(format!("cannot open the patch {name}: {what}; `siding list --all` has all releases"))
    };
    if setup.policy.values.mirrors.is_empty() {
        return Err(none());
    }
    if let Ok(release) = offers::find(setup, name) {
        return Ok(release);
    }
    match setup.look()?.error {
        Some(error) => Err(Failure::new(code_of(error.code), error)),
        None => offers::find(setup, name).map_err(|_| none()),
    }
}

fn lift(setup: &Setup, release: &str) -> Result<(), Failure> {
    let mut store = siding_agent::open_at_once(setup.store())?;
    for (component, digest) in offers::denied(setup, store.state(), release)? {
        store.lift(&component, &digest, now())?;
    }
    Ok(())
}

fn failure(release: &str, failed: &Failed) -> Failure {
    Failure::new(code_of(&failed.code), format!("{release}: {}", failed.message))
}
