//! `siding list` and `siding info`: releases, and what becomes of them here.

use super::setup::Setup;
use super::{painted, when};
use crate::args::agent::{Info, List};
use crate::bytes::size;
use crate::failure::{Code, Failure};
use crate::output::{Reply, plain, table};
use crate::time::{now, offset};
use serde_json::json;
use siding_agent::decide::{Code as Why, decide};
use siding_agent::memory::Memory;
use siding_agent::source::{Catalog, Source};
use siding_agent::view::Offer;
use siding_image::{Component, Digest};
use siding_slot::{Event, State, Store, date, step};
use std::path::Path;

pub(crate) fn list(args: &List) -> Result<Reply, Failure> {
    reply(&Setup::of(&args.policy)?, args.all)
}

/// What is known of the repository, as a table.
pub(super) fn reply(setup: &Setup, all: bool) -> Result<Reply, Failure> {
    let offers = offers(setup, all, None)?;
    let memory = memory(setup)?;
    let rows: Vec<Vec<String>> = offers.iter().map(row).collect();
    let mut text = match (offers.is_empty(), memory.succeeded) {
        (true, None) => "nothing is known of the repository yet; look with `siding check`\n".to_owned(),
        (true, Some(_)) => "no release is for this device\n".to_owned(),
        (false, _) => table(&rows, &[]),
    };
    text += &format!("looked {}", when(memory.succeeded));
    if let Some(error) = &memory.error {
        text += &format!("; tried {}: {}", when(memory.tried), plain(error));
    }
    Ok(Reply::new(text, json!({ "releases": offers, "looked": memory.succeeded, "error": memory.error })))
}

fn row(offer: &Offer) -> Vec<String> {
    let changes: Vec<String> =
        offer.changes.iter().map(|change| format!("{} {}", change.component, change.to)).collect();
    vec![
        offer.id.clone(),
        offer.severity.clone(),
        changes.join(", "),
        painted(&offer.code, &offer.code),
        plain(&offer.reason),
    ]
}

pub(crate) fn info(args: &Info) -> Result<Reply, Failure> {
    let setup = Setup::of(&args.policy)?;
    Ok(told(&offer(&setup, &find(&setup, &args.advisory)?, false)?))
}

/// All that is known of a release.
pub(super) fn told(offer: &Offer) -> Reply {
    let mut text = format!("{}  {}\n", offer.id, plain(&offer.title));
    if !offer.text.is_empty() {
        text += &format!("{}\n", offer.text.lines().map(plain).collect::<Vec<_>>().join("\n"));
    }
    let mut rows = vec![
        ("severity", offer.severity.clone()),
        ("repairs", plain(&offer.advisories.join(", "))),
        ("published", date(offer.published)),
    ];
    let change = |change: &siding_agent::view::Change| {
        ("changes", format!("{} from {} to {}", change.component, change.from, change.to))
    };
    rows.extend(offer.changes.iter().map(change));
    rows.push(("to fetch", size(offer.bytes)));
    rows.push(("here", format!("{}: {}", painted(&offer.code, &offer.code), plain(&offer.reason))));
    rows.extend(offer.when.map(|at| ("by itself", format!("from {} on", date(at)))));
    if offer.can_install {
        rows.push(("you can", format!("`siding install {}`", offer.id)));
    }
    for (label, line) in rows.iter().filter(|(_, line)| !line.is_empty()) {
        text += &format!("  {label}: {line}\n");
    }
    Reply::new(text, serde_json::to_value(offer).unwrap_or_default())
}

/// The release that is called so, or the newest one that repairs what is called so.
pub(super) fn find(setup: &Setup, name: &str) -> Result<String, Failure> {
    let all = offers(setup, true, None)?;
    let called = all.iter().find(|offer| offer.id == name);
    let repairs =
        || all.iter().find(|offer| offer.advisories.iter().any(|one| one.eq_ignore_ascii_case(name)));
    let found = called.or_else(repairs).map(|offer| offer.id.clone());
    let none = || {
        format!("there is no release {name:?}, and none repairs something of that name; `siding list --all`")
    };
    found.ok_or_else(|| Failure::new(Code::NotForThis, none()))
}

/// What becomes of a release; or what would if its images had not been rolled back here.
pub(super) fn offer(setup: &Setup, id: &str, retry_denied: bool) -> Result<Offer, Failure> {
    let found = offers(setup, true, retry_denied.then_some(id))?.into_iter().find(|offer| offer.id == id);
    found.ok_or_else(|| Failure::new(Code::NotForThis, format!("there is no release {id:?} any more")))
}

/// What is known without a look; as if nothing of `lifted` had been rolled back here.
fn offers(setup: &Setup, all: bool, lifted: Option<&str>) -> Result<Vec<Offer>, Failure> {
    let known = setup.source.known().map_err(Failure::failed)?;
    let catalog = known.unwrap_or_else(Catalog::empty);
    let store = Store::view(setup.store())?;
    let situation = siding_agent::situation(setup.store(), &setup.policy, now(), offset(now()))
        .map_err(|error| Failure::io("read", &setup.store().join("agent"), &error))?;
    let mut state = store.state().clone();
    for (component, digest) in lifted.map_or_else(|| Ok(vec![]), |id| denied(setup, &state, id))? {
        state = step(&state, &Event::Lift { component, digest }, now()).map_err(siding_slot::Error::from)?.0;
    }
    let decisions = decide(&setup.policy, &state, &catalog, &situation, &memory(setup)?);
    let elsewhere = [Why::WrongProduct, Why::WrongChannel, Why::NoComponent];
    let wanted = decisions.all.iter().filter(|decision| all || !elsewhere.contains(&decision.code));
    Ok(wanted.map(siding_agent::offer).collect())
}

/// What a release makes and was rolled back here.
pub(super) fn denied(
    setup: &Setup,
    state: &State,
    release: &str,
) -> Result<Vec<(Component, Digest)>, Failure> {
    let known = setup.source.known().map_err(Failure::failed)?.unwrap_or_default();
    let items = known.releases.iter().filter(|one| one.id == release).flat_map(|one| &one.items);
    let denied = items.filter(|item| {
        state.get(&item.component).is_some_and(|held| held.denial(&item.target.digest).is_some())
    });
    Ok(denied.map(|item| (item.component.clone(), item.target.digest)).collect())
}

fn memory(setup: &Setup) -> Result<Memory, Failure> {
    Memory::load(setup.store()).map_err(|error| Failure::io("read", &setup.store().join("agent"), &error))
}

/// Whether what `install` is given names a release and no file.
pub(crate) fn is_release(what: &Path) -> Option<&str> {
    let name = what.to_str().filter(|name| *name != "-" && !name.contains('/'))?;
    let is_file = what.exists() || what.extension().is_some_and(|end| end == "siding");
    (!is_file).then_some(name)
}
