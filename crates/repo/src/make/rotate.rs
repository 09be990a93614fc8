//! The life of a repository's keys and dates: made, rotated, renewed.

use super::keys::{ANCHOR, KeyId, Keys, Role, RoleSetting, id_of, short, tuf_key, write_new};
use super::sign::{EXPIRES, SPEC, bytes, expiry, ids, next, sign, span_of, threshold};
use super::state::{State, TIMESTAMP};
use super::{Error, Files, Span};
use crate::names;
use siding_patch::PublicKey;
use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU64;
use std::path::Path;
use tough::schema::key::Key;
use tough::schema::{RoleKeys, Root, Signed};

/// The roles that sign while nobody is there.
const DAILY: [Role; 3] = [Role::Targets, Role::Snapshot, Role::Timestamp];

/// What a new root changes.
#[derive(Clone, Debug, Default)]
pub struct Rotation {
    /// Make a new key for these roles.
    pub make: Vec<Role>,
    /// Take in public keys that others made.
    pub add: Vec<(Role, PublicKey)>,
    /// Let go of keys, by the first digits of their names in the metadata.
    pub remove: Vec<(Role, String)>,
    /// How many keys must sign from now on.
    pub threshold: Vec<(Role, u64)>,
    /// For how long what a role signs holds from now on.
    pub expires: Vec<(Role, Span)>,
}

/// Makes keys in `folder`, and an empty repository signed by them. Returns the root's bytes, which devices are given.
///
/// `seed` gives 32 secret random bytes at a time. Nothing that is there is overwritten: neither keys nor a repository.
/// Once this returned, both survive a power cut; before, there is no repository, and one that was begun with the keys of
/// `folder` is gone on with.
pub fn init(
    files: &dyn Files,
    folder: &Path,
    settings: &BTreeMap<Role, RoleSetting>,
    seed: &mut dyn FnMut() -> Result<[u8; 32], String>,
    now: u64,
) -> Result<Vec<u8>, Error> {
    if let Some(bytes) = files.get(FIRST)? {
        return go_on(files, folder, bytes, now);
    }
    std::fs::create_dir_all(folder).map_err(|e| Error::local("make the key directory", folder, e))?;
    if folder.join(ANCHOR).exists() {
        let there = folder.join(ANCHOR);
        return Err(Error::Asked(format!(
            "{} is there already: these are another repository's keys",
            there.display()
        )));
    }
    names::flush_up(folder).map_err(|e| Error::local("flush", folder, e))?;
    let mut keys = Keys::open(&[folder.to_owned()])?;
    let mut root = empty_root();
    for role in Role::ALL {
        let setting = settings.get(&role).copied().unwrap_or_else(|| role.default_setting());
        for _ in 0..setting.keys {
            let key = keys.make(role, &seed().map_err(Error::Asked)?)?;
            add(&mut root, role, key)?;
        }
        set_threshold(&mut root, role, setting.threshold)?;
        set_span(&mut root, role, setting.expires);
    }
    root.expires = expiry(now, span_of(&root, Role::Root))?;
    let root = sign(Role::Root, root.clone(), &[&root], &keys)?;
    let bytes = bytes(&root)?;
    if !files.create(FIRST, bytes.clone())? {
        return Err(Error::Changed { name: FIRST.into() });
    }
    write_new(&folder.join(ANCHOR), &bytes, 0o644)?;
    State::found(files, &root.signed, &keys, now)?;
    Ok(bytes)
}

const FIRST: &str = "metadata/1.root.json";

/// What an `init` began that was cut: there is a root, and nothing that it vouches for.
fn go_on(files: &dyn Files, folder: &Path, root: Vec<u8>, now: u64) -> Result<Vec<u8>, Error> {
    let there = || {
        Error::Asked("there is a repository already; a new root is made by `siding publish rotate`".into())
    };
    // Nor is one that only lost this a beginning.
    let later = ["metadata/2.root.json", "metadata/2.targets.json", TIMESTAMP];
    for name in later {
        if files.length(name)?.is_some() {
            return Err(there());
        }
    }
    if !folder.is_dir() {
        return Err(there());
    }
    let first: Signed<Root> = serde_json::from_slice(&root).map_err(|_| there())?;
    let keys = Keys::open(&[folder.to_owned()])?;
    // Else these are not the keys that were made for it.
    Role::ALL.into_iter().try_for_each(|role| keys.suffice(role, &first.signed)).map_err(|_| there())?;
    let anchor = folder.join(ANCHOR);
    match std::fs::read(&anchor) {
        Ok(held) if held == root => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => write_new(&anchor, &root, 0o644)?,
        _ => return Err(there()),
    }
    State::found(files, &first.signed, &keys, now)?;
    Ok(root)
}

/// Publishes the next root, signed by the old one's keys and the new one's. Returns its version.
///
/// Keys that it makes survive a power cut before the root that names them is written. `keys` must have a threshold of
/// both. Where a role that signs daily gets other keys, its metadata is signed by the old
/// and the new ones first, so that it is good under either root, whenever a reader comes and whenever this is cut. If the
/// old ones are lost, readers that come between the last two writes have to come again.
pub fn rotate(
    files: &dyn Files,
    keys: &mut Keys,
    rotation: &Rotation,
    seed: &mut dyn FnMut() -> Result<[u8; 32], String>,
    now: u64,
) -> Result<NonZeroU64, Error> {
    let state = State::load(files, &keys.anchor()?)?;
    let old = &state.root.signed;
    let new = next_root(old, keys, rotation, seed, now)?;
    let version = new.version;
    let root = sign(Role::Root, new.clone(), &[old, &new], keys)?;
    let name = format!("metadata/{version}.root.json");
    let publish = |root: &Signed<Root>| match files.create(&name, bytes(root)?)? {
        true => Ok(()),
        false => Err(Error::Changed { name: name.clone() }),
    };
    let differs =
        |role: &Role| ids(old, *role) != ids(&new, *role) || threshold(old, *role) != threshold(&new, *role);
    let renewed: Vec<Role> = DAILY.into_iter().filter(differs).collect();
    if renewed.is_empty() {
        publish(&root)?;
        return Ok(version);
    }
    match state.advance(files, &[old, &new], keys, now, None, &renewed) {
        Ok(()) => publish(&root)?,
        Err(Error::TooFewKeys { .. }) if can_sign(&new, keys) => {
            publish(&root)?;
            state.advance(files, &[&new], keys, now, None, &renewed)?;
        }
        Err(error) => return Err(error),
    }
    Ok(version)
}

/// Signs again what expires, before it does: always the timestamp, and of the rest what is past half of its time or
/// `all`. Returns what was renewed, and until when each role holds now. Roles whose keys are not here stay as they are,
/// until they have expired.
pub fn refresh(files: &dyn Files, keys: &Keys, all: bool, now: u64) -> Result<Vec<(Role, bool, u64)>, Error> {
    let anchor = keys.anchor()?;
    let state = State::load(files, &anchor)?;
    let root = &state.root.signed;
    let due = |role: Role| all || state.expires(role) < now.saturating_add(span_of(root, role).0 / 2);
    let here = |role: Role| keys.suffice(role, root).is_ok();
    let mut renew = vec![Role::Timestamp];
    for role in [Role::Targets, Role::Snapshot] {
        // The targets' renewal is a change of the snapshot.
        let wanted = due(role) || renew.contains(&Role::Targets);
        if wanted && (here(role) || state.expires(role) <= now) {
            renew.push(role);
        }
    }
    if renew.contains(&Role::Targets) && !here(Role::Snapshot) && state.expires(Role::Targets) > now {
        renew.retain(|role| *role != Role::Targets);
    }
    state.advance(files, &[root], keys, now, None, &renew)?;
    let state = State::load(files, &anchor)?;
    Ok(Role::ALL.into_iter().map(|role| (role, renew.contains(&role), state.expires(role))).collect())
}

fn next_root(
    old: &Root,
    keys: &mut Keys,
    rotation: &Rotation,
    seed: &mut dyn FnMut() -> Result<[u8; 32], String>,
    now: u64,
) -> Result<Root, Error> {
    let mut new = Root { version: next(old.version), ..old.clone() };
    for (role, id) in &rotation.remove {
        remove(&mut new, *role, id)?;
    }
    for (role, key) in &rotation.add {
        add(&mut new, *role, tuf_key(key))?;
    }
    for (role, span) in &rotation.expires {
        set_span(&mut new, *role, *span);
    }
    // What cannot be is refused before a key is made.
    let made = |role: Role| rotation.make.iter().filter(|made| **made == role).count() as u64;
    for role in Role::ALL {
        let wanted =
            rotation.threshold.iter().rev().find(|(of, _)| *of == role).map(|(_, threshold)| *threshold);
        check_threshold(
            role,
            wanted.unwrap_or(threshold(&new, role)),
            ids(&new, role).len() as u64 + made(role),
        )?;
    }
    for role in &rotation.make {
        let key = keys.make(*role, &seed().map_err(Error::Asked)?)?;
        add(&mut new, *role, key)?;
    }
    for (role, threshold) in &rotation.threshold {
        set_threshold(&mut new, *role, *threshold)?;
    }
    // A key that no role has is none of the repository's.
    let used: Vec<KeyId> = Role::ALL.into_iter().flat_map(|role| ids(&new, role).to_vec()).collect();
    new.keys.retain(|id, _| used.contains(id));
    new.expires = expiry(now, span_of(&new, Role::Root))?;
    Ok(new)
}

fn empty_root() -> Root {
    let expires = jiff::Timestamp::UNIX_EPOCH;
    Root {
        spec_version: SPEC.to_owned(),
        consistent_snapshot: true,
        version: NonZeroU64::MIN,
        expires,
        keys: HashMap::new(),
        roles: HashMap::new(),
        _extra: HashMap::new(),
    }
}

fn role_keys(root: &mut Root, role: Role) -> &mut RoleKeys {
    let none = || RoleKeys { keyids: Vec::new(), threshold: NonZeroU64::MIN, _extra: HashMap::new() };
    root.roles.entry(role.kind()).or_insert_with(none)
}

fn add(root: &mut Root, role: Role, key: Key) -> Result<(), Error> {
    let id = id_of(&key)?;
    let keys = &mut role_keys(root, role).keyids;
    if !keys.contains(&id) {
        keys.push(id.clone());
    }
    root.keys.insert(id, key);
    Ok(())
}

fn remove(root: &mut Root, role: Role, id: &str) -> Result<(), Error> {
    let hex = |id: &KeyId| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let keys = &mut role_keys(root, role).keyids;
    let is = |key: &KeyId| hex(key).starts_with(id);
    if id.is_empty() || keys.iter().filter(|key| is(key)).count() != 1 {
        let there: Vec<String> = keys.iter().map(short).collect();
        return Err(Error::Asked(format!(
            "{id:?} names no key, or not only one, of the role {role}; its keys are {}",
            there.join(", ")
        )));
    }
    keys.retain(|key| !is(key));
    Ok(())
}

fn set_threshold(root: &mut Root, role: Role, threshold: u64) -> Result<(), Error> {
    let keys = role_keys(root, role);
    keys.threshold = check_threshold(role, threshold, keys.keyids.len() as u64)?;
    Ok(())
}

fn check_threshold(role: Role, threshold: u64, keys: u64) -> Result<NonZeroU64, Error> {
    NonZeroU64::new(threshold).filter(|threshold| threshold.get() <= keys).ok_or_else(|| {
        Error::Asked(format!("{role}: a threshold of {threshold} of {keys} keys; it may be 1 to {keys}"))
    })
}

fn set_span(root: &mut Root, role: Role, span: Span) {
    let spans = root._extra.entry(EXPIRES.to_owned()).or_insert_with(|| serde_json::json!({}));
    if let Some(spans) = spans.as_object_mut() {
        spans.insert(role.to_string(), span.to_string().into());
    }
}

/// Whether the keys suffice for all that is signed daily.
fn can_sign(root: &Root, keys: &Keys) -> bool {
    DAILY.iter().all(|role| keys.suffice(*role, root).is_ok())
}
