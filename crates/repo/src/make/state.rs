//! What a repository says now, checked from the maker's own root on; and the one way to make it say something else.

use super::keys::{Keys, Role};
use super::sign::{SPEC, bytes, expiry, next, seconds, sign, span_of};
use super::{Error, Files};
use crate::Release;
use serde::Serialize;
use serde::de::DeserializeOwned;
use siding_image::Digest;
use std::collections::HashMap;
use std::num::NonZeroU64;
use tough::TargetName;
use tough::schema::{self, Hashes, Metafile, Root, Signed, Snapshot, Target, Targets, Timestamp};

pub(crate) const TIMESTAMP: &str = "metadata/timestamp.json";
/// So many versions may have been left by commits that were cut.
const LEFT_BEHIND: u32 = 1000;
/// No repository has more roots.
const ROOTS: u32 = 1024;

/// A repository's metadata.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) root: Signed<Root>,
    pub(crate) targets: Signed<Targets>,
    snapshot: Signed<Snapshot>,
    timestamp: Signed<Timestamp>,
    /// As it was read: only that is replaced.
    timestamp_bytes: Vec<u8>,
}

/// The targets by name.
pub(crate) type TargetMap = HashMap<TargetName, Target>;

impl State {
    /// Reads the metadata and checks who signed it. That it has expired is no reason to refuse: the maker renews it.
    pub(crate) fn load(files: &dyn Files, anchor: &[u8]) -> Result<Self, Error> {
        let root = newest_root(files, anchor)?;
        let (timestamp, timestamp_bytes): (Signed<Timestamp>, _) = vouched(files, TIMESTAMP, &root)?;
        let snapshot_meta = timestamp.signed.meta.get("snapshot.json");
        let name = format!("metadata/{}.snapshot.json", version_of(TIMESTAMP, snapshot_meta)?);
        let (snapshot, read): (Signed<Snapshot>, _) = vouched(files, &name, &root)?;
        matches(&name, snapshot_meta, &read)?;
        let targets_meta = snapshot.signed.meta.get("targets.json");
        let name = format!("metadata/{}.targets.json", version_of(&name, targets_meta)?);
        let (targets, read): (Signed<Targets>, _) = vouched(files, &name, &root)?;
        matches(&name, targets_meta, &read)?;
        Ok(Self { root, targets, snapshot, timestamp, timestamp_bytes })
    }

    /// The first metadata of a new repository. A cut leaves no `timestamp.json`, and so no repository.
    pub(crate) fn found(files: &dyn Files, root: &Root, keys: &Keys, now: u64) -> Result<(), Error> {
        let writer = Writer { files, roots: &[root], keys, now };
        let one = NonZeroU64::MIN;
        let targets = writer.targets(TargetMap::new(), one)?;
        let snapshot = writer.snapshot(targets, one)?;
        let timestamp = bytes(&writer.timestamp(snapshot, one)?)?;
        if files.create(TIMESTAMP, timestamp)? {
            return Ok(());
        }
        Err(Error::Changed { name: TIMESTAMP.to_owned() })
    }

    /// Makes the repository say that these are its targets, for readers that know any of `roots`.
    ///
    /// `None` leaves them as they are: then only what vouches for them is signed again, as far as `renew` names it.
    /// `timestamp.json` is replaced last. What a cut before that leaves behind is read by nobody.
    pub(crate) fn advance(
        &self,
        files: &dyn Files,
        roots: &[&Root],
        keys: &Keys,
        now: u64,
        targets: Option<TargetMap>,
        renew: &[Role],
    ) -> Result<(), Error> {
        let writer = Writer { files, roots, keys, now };
        // What cannot be signed at the end is not begun.
        let new_targets = targets.is_some() || renew.contains(&Role::Targets);
        let new_snapshot = new_targets || renew.contains(&Role::Snapshot);
        for (role, new) in
            [(Role::Targets, new_targets), (Role::Snapshot, new_snapshot), (Role::Timestamp, true)]
        {
            roots.iter().filter(|_| new).try_for_each(|root| keys.suffice(role, root))?;
        }
        let again = renew.contains(&Role::Targets).then(|| self.targets.signed.targets.clone());
        let targets = match targets.or(again) {
            Some(targets) => Some(writer.targets(targets, next(self.targets.signed.version))?),
            None => None,
        };
        let old = |meta: &HashMap<String, Metafile>, name: &str| {
            meta.get(name).cloned().ok_or_else(|| Error::damaged(TIMESTAMP, format!("it names no {name}")))
        };
        let snapshot = if new_snapshot {
            let targets = targets.map_or_else(|| old(&self.snapshot.signed.meta, "targets.json"), Ok)?;
            writer.snapshot(targets, next(self.snapshot.signed.version))?
        } else {
            old(&self.timestamp.signed.meta, "snapshot.json")?
        };
        let timestamp = bytes(&writer.timestamp(snapshot, next(self.timestamp.signed.version))?)?;
        files.replace(TIMESTAMP, &self.timestamp_bytes, timestamp)
    }

    /// Whether `keys` suffice to publish: what cannot be signed at the end is not begun.
    pub(crate) fn can_publish(&self, keys: &Keys) -> Result<(), Error> {
        let roles = [Role::Targets, Role::Snapshot, Role::Timestamp];
        roles.into_iter().try_for_each(|role| keys.suffice(role, &self.root.signed))
    }

    /// When what a role signed expires, in seconds since 1970.
    pub(crate) fn expires(&self, role: Role) -> u64 {
        seconds(match role {
            Role::Root => self.root.signed.expires,
            Role::Targets => self.targets.signed.expires,
            Role::Snapshot => self.snapshot.signed.expires,
            Role::Timestamp => self.timestamp.signed.expires,
        })
    }

    /// All releases, in the order of their names.
    pub(crate) fn releases(&self, files: &dyn Files) -> Result<Vec<Release>, Error> {
        let targets = self.targets.signed.targets.iter();
        let releases = targets.filter(|(name, _)| name.raw().starts_with("releases/"));
        let mut releases = releases
            .map(|(name, target)| read_release(files, name, target))
            .collect::<Result<Vec<_>, Error>>()?;
        releases.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(releases)
    }
}

fn read_release(files: &dyn Files, name: &TargetName, target: &Target) -> Result<Release, Error> {
    let path = target_path(name.raw(), target.hashes.sha256.as_ref());
    let bytes = files.get(&path)?.ok_or_else(|| Error::damaged(&path, "it is missing"))?;
    if Digest::of(&bytes).0.as_slice() != target.hashes.sha256.as_ref() {
        return Err(Error::damaged(&path, "its bytes are not the signed ones"));
    }
    Ok(Release::parse(&bytes)?)
}

/// Where a target's file lies: `targets/DIGEST.NAME`.
pub(crate) fn target_path(name: &str, sha256: &[u8]) -> String {
    let digest: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("targets/{digest}.{name}")
}

fn newest_root(files: &dyn Files, anchor: &[u8]) -> Result<Signed<Root>, Error> {
    let mut root: Signed<Root> = serde_json::from_slice(anchor)
        .map_err(|e| Error::Asked(format!("the maker's own root.json: {e}")))?;
    root.signed.verify_role(&root).map_err(|e| Error::Asked(format!("the maker's own root.json: {e}")))?;
    for _ in 0..ROOTS {
        let version = next(root.signed.version);
        let name = format!("metadata/{version}.root.json");
        let Some(bytes) = files.get(&name)? else { return Ok(root) };
        let new: Signed<Root> = serde_json::from_slice(&bytes).map_err(|e| Error::not_trusted(&name, e))?;
        for by in [&root, &new] {
            by.signed.verify_role(&new).map_err(|e| Error::not_trusted(&name, e))?;
        }
        if new.signed.version != version {
            return Err(Error::not_trusted(
                &name,
                format!("it says that it is version {}", new.signed.version),
            ));
        }
        root = new;
    }
    Err(Error::damaged("metadata", format!("it has more than {ROOTS} roots")))
}

/// Reads a metadata file that the root's keys must have signed.
fn vouched<T>(files: &dyn Files, name: &str, root: &Signed<Root>) -> Result<(Signed<T>, Vec<u8>), Error>
where
    T: schema::Role + Serialize + DeserializeOwned,
{
    let missing = || {
        Error::damaged(
            name,
            "there is none: this is no repository, or not the whole of one; see `siding publish init`",
        )
    };
    let bytes = files.get(name)?.ok_or_else(missing)?;
    let signed: Signed<T> = serde_json::from_slice(&bytes).map_err(|e| Error::not_trusted(name, e))?;
    root.signed.verify_role(&signed).map_err(|e| Error::not_trusted(name, e))?;
    Ok((signed, bytes))
}

fn version_of(name: &str, meta: Option<&Metafile>) -> Result<NonZeroU64, Error> {
    meta.map(|meta| meta.version).ok_or_else(|| Error::damaged(name, "it does not name what it vouches for"))
}

fn matches(name: &str, meta: Option<&Metafile>, bytes: &[u8]) -> Result<(), Error> {
    let hashes = meta.and_then(|meta| meta.hashes.as_ref());
    match hashes {
        Some(hashes) if hashes.sha256.as_ref() != Digest::of(bytes).0.as_slice() => {
            Err(Error::not_trusted(name, "it is not the one that the metadata above it names"))
        }
        _ => Ok(()),
    }
}

/// Writes metadata, each under a name where nothing is.
struct Writer<'a> {
    files: &'a dyn Files,
    roots: &'a [&'a Root],
    keys: &'a Keys,
    now: u64,
}

impl Writer<'_> {
    fn targets(&self, targets: TargetMap, version: NonZeroU64) -> Result<Metafile, Error> {
        let expires = self.expires(Role::Targets)?;
        let content = |version| Targets {
            spec_version: SPEC.to_owned(),
            version,
            expires,
            targets: targets.clone(),
            delegations: None,
            _extra: HashMap::new(),
        };
        self.put(Role::Targets, version, content)
    }

    fn snapshot(&self, targets: Metafile, version: NonZeroU64) -> Result<Metafile, Error> {
        let expires = self.expires(Role::Snapshot)?;
        let content = |version| {
            let mut snapshot = Snapshot::new(SPEC.to_owned(), version, expires);
            snapshot.meta.insert("targets.json".to_owned(), targets.clone());
            snapshot
        };
        self.put(Role::Snapshot, version, content)
    }

    fn timestamp(&self, snapshot: Metafile, version: NonZeroU64) -> Result<Signed<Timestamp>, Error> {
        let mut timestamp = Timestamp::new(SPEC.to_owned(), version, self.expires(Role::Timestamp)?);
        timestamp.meta.insert("snapshot.json".to_owned(), snapshot);
        sign(Role::Timestamp, timestamp, self.roots, self.keys)
    }

    /// Takes the first version from this one on that nobody has: one may be left of a commit that was cut.
    fn put<T>(
        &self,
        role: Role,
        first: NonZeroU64,
        content: impl Fn(NonZeroU64) -> T,
    ) -> Result<Metafile, Error>
    where
        T: schema::Role + Serialize,
    {
        let mut version = first;
        for _ in 0..LEFT_BEHIND {
            let bytes = bytes(&sign(role, content(version), self.roots, self.keys)?)?;
            let meta = metafile(version, &bytes);
            if self.files.create(&format!("metadata/{version}.{role}.json"), bytes)? {
                return Ok(meta);
            }
            version = next(version);
        }
        Err(Error::damaged(
            "metadata",
            format!("{LEFT_BEHIND} versions of {role} after {first} are left of commits"),
        ))
    }

    fn expires(&self, role: Role) -> Result<jiff::Timestamp, Error> {
        // The newest root decides.
        let span = self.roots.last().map_or(role.default_setting().expires, |root| span_of(root, role));
        expiry(self.now, span)
    }
}

fn metafile(version: NonZeroU64, bytes: &[u8]) -> Metafile {
    let sha256 = Digest::of(bytes).0.to_vec().into();
    let hashes = Some(Hashes { sha256, _extra: HashMap::new() });
    Metafile { version, length: Some(bytes.len() as u64), hashes, _extra: HashMap::new() }
}
