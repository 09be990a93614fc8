//! A store that is looked at: what it says of itself, and whether every byte is what that promises.

use super::tale::{self, Held, Line, Standing, State};
use super::workshop::Workshop;
use crate::Result;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A store and the workshop that its images are from.
pub(super) struct Device<'a> {
    pub(super) shop: &'a Workshop,
    pub(super) store: PathBuf,
}

/// What a store says of itself.
pub(super) struct Status {
    json: Value,
    pub(super) state: State,
}

impl Status {
    pub(super) fn of(json: Value) -> Self {
        let state = tale::of_status(&json);
        Self { json, state }
    }

    /// All it says, but for when things happened and where the store is.
    pub(super) fn timeless(&self) -> Value {
        fn strip(value: &mut Value) {
            match value {
                Value::Array(items) => items.iter_mut().for_each(strip),
                Value::Object(fields) => {
                    for name in ["at", "deadline", "installed_at", "path", "started", "store", "written"] {
                        fields.remove(name);
                    }
                    fields.values_mut().for_each(strip);
                }
                _ => {}
            }
        }
        let mut value = self.json.clone();
        strip(&mut value);
        value
    }
}

impl Device<'_> {
    /// Runs a verb and gives its exit code; anything but a documented one is an error.
    pub(super) fn verb(&self, line: &str) -> Result<i32> {
        let done = self.shop.run(line, &self.store)?;
        match done.code {
            Some(code @ 0..=8) if !done.err.contains("panicked") => Ok(code),
            _ => Err(format!("`{line}` ended badly: {}", done.said())),
        }
    }

    /// Runs a verb that must succeed.
    pub(super) fn ok(&self, line: &str) -> Result<()> {
        let done = self.shop.run(line, &self.store)?;
        let good = matches!(done.code, Some(0 | 4));
        if good { Ok(()) } else { Err(format!("`{line}` must succeed: {}", done.said())) }
    }

    /// What `status` says; `None` if there is no store yet.
    pub(super) fn status(&self) -> Result<Option<Status>> {
        let done = self.shop.run("status --json", &self.store)?;
        if done.code == Some(3) && done.err.contains("there is no store at") {
            return Ok(None);
        }
        Ok(Some(Status::of(parse("status", &done)?)))
    }

    /// What `log` tells, and how many of its lines it calls damaged.
    pub(super) fn log(&self) -> Result<(Vec<Line>, usize)> {
        let json = parse("log", &self.shop.run("log --json", &self.store)?)?;
        let lines = json["entries"].as_array().into_iter().flatten().map(Line::of).collect();
        Ok((lines, json["damaged_lines"].as_array().map_or(0, Vec::len)))
    }

    /// After how many lines each record write was told in full, from none to all.
    pub(super) fn borders(&self) -> Result<Vec<usize>> {
        let path = self.store.join("log");
        let text = fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        let sequence = |line: &str| serde_json::from_str::<Value>(line).map(|line| line["sequence"].as_u64());
        let sequences: Vec<_> = text.lines().map(|line| sequence(line).ok().flatten()).collect();
        let ends = (1..=sequences.len()).filter(|&at| sequences.get(at) != sequences.get(at - 1));
        Ok(std::iter::once(0).chain(ends).collect())
    }

    /// Every sealed slot holds every byte of its image, and the base does.
    pub(super) fn images_are_right(&self, state: &State) -> Result<()> {
        for (name, standing) in state {
            for (slot, held) in &standing.slots {
                let Held::Sealed(version) = held else { continue };
                let wanted = self.shop.image(name, version);
                let is_right = |dir: &PathBuf| same(&wanted, &dir.join("image"));
                let homes = self.homes(name, slot)?;
                if !homes.iter().any(|dir| is_right(dir).is_ok()) {
                    let why: Vec<String> = homes.iter().filter_map(|dir| is_right(dir).err()).collect();
                    return Err(format!("{name} in {slot} is not {version}: {}", why.join("; ")));
                }
            }
        }
        Ok(())
    }

    /// Where the image of a slot may lie: of bases there may be another one, that is to come or to go.
    fn homes(&self, name: &str, slot: &str) -> Result<Vec<PathBuf>> {
        let dir = self.store.join("components").join(name);
        let later = format!("{slot}.");
        let is_one = |name: &str| name == slot || slot == "base" && name.starts_with(&later);
        let list = fs::read_dir(&dir).map_err(|e| format!("cannot list {}: {e}", dir.display()))?;
        let names = list.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter(|name| is_one(name)).map(|name| dir.join(name)).collect())
    }

    /// `current` leads to the image that is active, whole.
    pub(super) fn current_is_right(&self, status: &Status) -> Result<()> {
        for (name, standing) in &status.state {
            let seen = self.current(status, name)?;
            let wanted = active(standing);
            if seen.as_deref() != wanted {
                return Err(format!("current of {name} leads to {seen:?}, not to {wanted:?}"));
            }
        }
        Ok(())
    }

    /// The version whose image `current` leads to, whole; `None` if the link is not there.
    pub(super) fn current(&self, status: &Status, name: &str) -> Result<Option<String>> {
        let components = status.json["components"].as_array().into_iter().flatten();
        let link = components.filter(|one| one["component"] == name).find_map(|one| one["path"].as_str());
        let link = Path::new(link.ok_or_else(|| format!("status gives no path of {name}"))?);
        if fs::symlink_metadata(link).is_err() {
            return Ok(None);
        }
        let target = link.canonicalize().map_err(|e| format!("current of {name} leads nowhere: {e}"))?;
        let versions = ["1.0", "1.0 (a)", "1.0 (b)", "1.0 (c)", "1.0 (d)", "2.0"];
        let is = |version: &&str| same(&self.shop.image(name, version), &target).is_ok();
        let version = versions.into_iter().find(is).map(|version| Some(version.to_owned()));
        version.ok_or_else(|| format!("current of {name} leads to {}, which is no image", target.display()))
    }

    /// The paths of all that is in the store, with the descriptions of trees.
    pub(super) fn names(&self) -> Result<BTreeMap<PathBuf, Option<Vec<u8>>>> {
        let facts = facts(&self.store).map_err(|e| format!("cannot list the store: {e}"))?;
        // components/NAME/SLOT/tree
        let is_description = |path: &Path| path.ends_with("tree") && path.components().count() == 4;
        let keep = |(path, fact): (PathBuf, Fact)| {
            let content = is_description(&path).then_some(fact.content);
            (path, content)
        };
        Ok(facts.into_iter().map(keep).collect())
    }
}

/// The version that is active.
pub(super) fn active(standing: &Standing) -> Option<&str> {
    match standing.slots.get(&standing.active) {
        Some(Held::Sealed(version)) => Some(version),
        _ => None,
    }
}

fn parse(verb: &str, done: &super::workshop::Done) -> Result<Value> {
    let json = serde_json::from_str(&done.out).ok().filter(|_| done.code == Some(0));
    json.ok_or_else(|| format!("`{verb} --json` must answer: {}", done.said()))
}

/// Compares two images: the bytes of files; for trees also types, links, modes, owners and times.
fn same(wanted: &Path, got: &Path) -> Result<()> {
    let read = |path: &Path| facts(path).map_err(|e| format!("{}: {e}", path.display()));
    let (wanted, got) = (read(wanted)?, read(got)?);
    if wanted == got {
        return Ok(());
    }
    let differs = wanted.iter().find(|(path, fact)| got.get(*path) != Some(fact)).map(|(path, _)| path);
    let differs = differs.or_else(|| got.keys().find(|path| !wanted.contains_key(*path)));
    Err(format!("it differs at {:?}", differs.cloned().unwrap_or_default()))
}

#[derive(PartialEq, Eq)]
struct Fact {
    /// A file's bytes, or where a link leads.
    content: Vec<u8>,
    mode: u32,
    owner: (u32, u32),
    time: (i64, i64),
    links: u64,
}

fn facts(root: &Path) -> std::io::Result<BTreeMap<PathBuf, Fact>> {
    let mut facts = BTreeMap::new();
    let mut todo = vec![PathBuf::new()];
    let is_tree = root.is_dir();
    while let Some(relative) = todo.pop() {
        let path = if relative.as_os_str().is_empty() { root.to_owned() } else { root.join(&relative) };
        let meta = fs::symlink_metadata(&path)?;
        let mut fact = Fact { content: vec![], mode: 0, owner: (0, 0), time: (0, 0), links: 0 };
        if meta.is_symlink() {
            fact.content = fs::read_link(&path)?.into_os_string().into_encoded_bytes();
        } else if meta.is_dir() {
            for item in fs::read_dir(&path)? {
                todo.push(relative.join(item?.file_name()));
            }
        } else {
            fact.content = fs::read(&path)?;
        }
        // The owner and mode of a file image are the store's business, and the time of a link is nobody's.
        if is_tree && !meta.is_symlink() {
            fact.mode = meta.mode();
            fact.owner = (meta.uid(), meta.gid());
            fact.time = (meta.mtime(), meta.mtime_nsec());
            fact.links = if meta.is_dir() { 0 } else { meta.nlink() };
        }
        facts.insert(relative, fact);
    }
    Ok(facts)
}
