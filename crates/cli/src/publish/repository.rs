//! The repository itself: its keys and dates, and what is published in it.

use crate::args::publish::{Added, Init, List, Pause, Refresh, ReleaseArgs, Resume, Rotate, Waves, Withdraw};
use crate::bytes::count;
use crate::failure::Failure;
use crate::keys;
use crate::output::{Reply, table};
use crate::time::now;
use serde_json::{Value, json};
use siding_repo::make::{self, Files, Keys, Objects, Role, RoleSetting, Rotation};
use siding_repo::{Release, Standing, Wave};
use std::collections::BTreeMap;

pub(crate) fn init(args: &Init) -> Result<Reply, Failure> {
    let mut settings: BTreeMap<Role, RoleSetting> =
        Role::ALL.into_iter().map(|role| (role, role.default_setting())).collect();
    for (role, (threshold, keys)) in &args.role {
        settings.entry(*role).and_modify(|setting| (setting.threshold, setting.keys) = (*threshold, *keys));
    }
    for (role, span) in &args.expires {
        settings.entry(*role).and_modify(|setting| setting.expires = *span);
    }
    let [folder] = args.keys.as_slice() else {
        return Err(Failure::usage(
            "a new repository's keys are made in one directory; --keys or SIDING_KEYS names more",
        ));
    };
    let repo = &args.repo.repo;
    make::init(&Objects::found(repo)?, folder, &settings, &mut seed, now())?;
    let text = format!(
        "{repo}: an empty repository\n{}: its keys; move root-*.pem to where no network reaches, and give devices \
         root.json",
        folder.display()
    );
    Ok(Reply::new(text, json!({ "repo": repo, "keys": folder, "root": folder.join("root.json") })))
}

pub(crate) fn rotate(args: &Rotate) -> Result<Reply, Failure> {
    let mut keys = Keys::open(&args.keys.keys)?;
    let mut rotation = Rotation {
        remove: args.remove.clone(),
        threshold: args.threshold.clone(),
        expires: args.expires.clone(),
        ..Rotation::default()
    };
    for added in &args.add {
        match added {
            Added::New(role) => rotation.make.push(*role),
            Added::Public(role, path) => rotation.add.push((*role, keys::public(path)?)),
        }
    }
    let version = make::rotate(&Objects::open(&args.repo.repo)?, &mut keys, &rotation, &mut seed, now())?;
    let text = format!("{}: root {version}, signed by the old keys and the new", args.repo.repo);
    Ok(Reply::new(text, json!({ "repo": args.repo.repo, "root": version })))
}

pub(crate) fn refresh(args: &Refresh) -> Result<Reply, Failure> {
    let keys = Keys::open(&args.keys.keys)?;
    let roles = make::refresh(&Objects::open(&args.repo.repo)?, &keys, args.all, now())?;
    let row = |(role, renewed, expires): &(Role, bool, u64)| {
        let how = if *renewed { "renewed" } else { "as it was" };
        vec![role.to_string(), how.to_owned(), format!("until {}", date(*expires))]
    };
    let rows: Vec<Vec<String>> = roles.iter().map(row).collect();
    let json = roles.iter().map(
        |(role, renewed, expires)| json!({ "role": role.to_string(), "renewed": renewed, "expires": expires }),
    );
    let json = json!({ "repo": args.repo.repo, "roles": json.collect::<Vec<_>>() });
    Ok(Reply::new(table(&rows, &[]), json))
}

pub(crate) fn list(args: &List) -> Result<Reply, Failure> {
    let files = Objects::open(&args.repo.repo)?;
    let known = !args.keys.is_empty();
    let anchor = if known { Keys::open(&args.keys)?.anchor()? } else { own_root(&files)? };
    let listed = make::list(&files, &anchor)?;
    let now = now();
    let mut text = String::new();
    if !known {
        text.push_str("checked from the repository's own root only; name a key directory with --keys\n");
    }
    for release in &listed.releases {
        let advisories = release.advisories.join(", ");
        text.push_str(&format!(
            "{}  {} ({})\n",
            release.id,
            crate::output::plain(&release.title),
            release.severity
        ));
        if !advisories.is_empty() {
            text.push_str(&format!("  {advisories}\n"));
        }
        text.push_str(&reach(release, now));
        text.push('\n');
    }
    if listed.releases.is_empty() {
        text.push_str("nothing is published yet\n");
    }
    for (role, expires) in &listed.expires {
        let late = if *expires <= now { ", which is past: `siding publish refresh`" } else { "" };
        text.push_str(&format!("  {:<10} until {}{late}\n", role.to_string(), date(*expires)));
    }
    let json = json!({
        "repo": args.repo.repo, "root": listed.root, "checked": known,
        "expires": listed.expires.iter().map(|(role, at)| (role.to_string(), json!(at))).collect::<serde_json::Map<_, _>>(),
        "releases": listed.releases.iter().map(|release| release_json(release, now)).collect::<Vec<_>>(),
    });
    Ok(Reply::new(text, json))
}

fn own_root(files: &Objects) -> Result<Vec<u8>, Failure> {
    let missing = || Failure::failed("this is no repository: it has no metadata/1.root.json");
    files.get("metadata/1.root.json")?.ok_or_else(missing)
}

pub(crate) fn pause(args: &Pause) -> Result<Reply, Failure> {
    let standing = Standing::Paused { reason: args.reason.clone() };
    change(&args.which, |release| match release.standing {
        Standing::Withdrawn { .. } => Err(withdrawn(release)),
        _ => {
            release.standing = standing;
            Ok(())
        }
    })
}

pub(crate) fn resume(args: &Resume) -> Result<Reply, Failure> {
    change(&args.which, |release| match release.standing {
        Standing::Withdrawn { .. } => Err(withdrawn(release)),
        _ => {
            release.standing = Standing::Active;
            Ok(())
        }
    })
}

pub(crate) fn withdraw(args: &Withdraw) -> Result<Reply, Failure> {
    change(&args.which, |release| {
        release.standing = Standing::Withdrawn { reason: args.reason.clone() };
        Ok(())
    })
}

pub(crate) fn waves(args: &Waves) -> Result<Reply, Failure> {
    let start = now();
    change(&args.which, |release| {
        release.waves = args.waves.iter().map(|wave| wave.starting(start)).collect();
        Ok(())
    })
}

fn withdrawn(release: &Release) -> String {
    format!(
        "{} was withdrawn, and devices have left it; publish what repairs it under another name",
        release.id
    )
}

fn change(
    args: &ReleaseArgs,
    alter: impl FnOnce(&mut Release) -> Result<(), String>,
) -> Result<Reply, Failure> {
    let (files, keys) = (Objects::open(&args.repo.repo)?, Keys::open(&args.keys.keys)?);
    let (release, changed) = make::change(&files, &keys, &args.id, alter, now())?;
    let how = if changed { "" } else { ", as before" };
    let text = format!("{}: {}{how}\n", release.id, reach(&release, now()).trim());
    let mut json = release_json(&release, now());
    json["changed"] = changed.into();
    Ok(Reply::new(text, json))
}

/// Whom a release reaches, in a line or two.
pub(crate) fn reach(release: &Release, now: u64) -> String {
    let items = count(release.items.len(), "item");
    match &release.standing {
        Standing::Paused { reason } => format!("  paused: {reason}\n"),
        Standing::Withdrawn { reason } => format!("  withdrawn: {reason}\n"),
        Standing::Active if release.waves.is_empty() => {
            format!("  {items} for everybody on {}\n", release.channel)
        }
        Standing::Active => {
            let later: Vec<String> = release
                .waves
                .iter()
                .filter(|wave| wave.at > now)
                .map(|wave| format!("{} % from {}", wave.percent, date(wave.at)))
                .collect();
            let then = if later.is_empty() { String::new() } else { format!(", {}", later.join(", ")) };
            format!("  {items} for {} % of {} now{then}\n", percent(&release.waves, now), release.channel)
        }
    }
}

fn percent(waves: &[Wave], now: u64) -> u8 {
    if waves.is_empty() {
        return 100;
    }
    waves.iter().filter(|wave| wave.at <= now).map(|wave| wave.percent).max().unwrap_or(0)
}

pub(crate) fn release_json(release: &Release, now: u64) -> Value {
    let (standing, reason) = match &release.standing {
        Standing::Active => ("active", None),
        Standing::Paused { reason } => ("paused", Some(reason)),
        Standing::Withdrawn { reason } => ("withdrawn", Some(reason)),
    };
    let items = release.items.iter().map(|item| {
        json!({
            "component": item.component.as_str(), "products": item.products,
            "from": item.source.version.to_string(), "to": item.target.version.to_string(), "epoch": item.epoch,
            "restart": item.restart,
            "patch_bytes": item.patch.as_ref().map(|blob| blob.length),
            "full_bytes": item.full.as_ref().map(|full| full.blob.length),
            "reverse_bytes": item.reverse.as_ref().map(|blob| blob.length),
        })
    });
    json!({
        "id": release.id, "title": release.title, "severity": release.severity.to_string(),
        "advisories": release.advisories, "channel": release.channel, "published": release.published,
        "standing": standing, "reason": reason, "percent_now": percent(&release.waves, now),
        "waves": release.waves.iter().map(|wave| json!({ "at": wave.at, "percent": wave.percent })).collect::<Vec<_>>(),
        "items": items.collect::<Vec<_>>(),
    })
}

fn seed() -> Result<[u8; 32], String> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| format!("the system has no randomness: {e}"))?;
    Ok(seed)
}

/// `2027-01-31 12:00 UTC`.
fn date(seconds: u64) -> String {
    let moment = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    moment.map_or_else(|| seconds.to_string(), |moment| moment.strftime("%Y-%m-%d %H:%M UTC").to_string())
}
