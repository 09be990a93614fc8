//! What a device remembers of its repository, on disk.
//!
//! ```text
//! DATASTORE/
//!   lock               held with flock by whoever refreshes; nobody else may open it
//!   metadata           all metadata that was verified last, as it was signed; replaced whole
//!   seen               the highest versions; replaced whole, after `metadata`
//!   releases/DIGEST    release documents that `metadata` names
//!   work/              where a refresh is at work; means nothing
//! ```
//!
//! A file is written beside its place, flushed, renamed, and its directory flushed: a power cut leaves the old one or
//! the new one. Before the first is written, the names of the directories above are flushed too. `metadata` is
//! believed only as far as its signatures go, each time it is read; `seen` guards against an older one once it is lost.

use super::trust::{Roots, Seen, Verified};
use crate::Error;
use crate::names;
use rustix::fs::{FlockOperation, OFlags, flock};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use siding_image::Digest;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tough::schema::{Role, Root, Signed, Snapshot, Targets, Timestamp};

/// The directory.
#[derive(Debug)]
pub(super) struct Store {
    root: PathBuf,
    #[cfg(test)]
    pub(super) power: std::sync::Arc<crate::testing::Power>,
}

/// What was found there.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) roots: Roots,
    pub(super) docs: Option<Docs>,
    pub(super) seen: Option<Seen>,
}

/// Timestamp, snapshot and targets, as they were signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Docs {
    pub(super) timestamp: Vec<u8>,
    pub(super) snapshot: Vec<u8>,
    pub(super) targets: Vec<u8>,
}

/// The right to change the datastore, until it is dropped.
#[derive(Debug)]
pub(super) struct Lock(File);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OnDisk {
    format: u32,
    roots: Vec<String>,
    docs: Option<[String; 3]>,
}

impl Store {
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root,
            #[cfg(test)]
            power: std::sync::Arc::default(),
        }
    }

    /// Makes the directory if there is none, and waits for nobody. Once Ok, the directory survives a power cut.
    pub(super) fn lock(&self) -> Result<Lock, Error> {
        let releases = self.root.join("releases");
        fs::create_dir_all(&releases).map_err(Error::store("make", &releases))?;
        let path = self.root.join("lock");
        let mut options = fs::OpenOptions::new();
        options.create(true).append(true).mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        let file = options.open(&path).map_err(Error::store("open", &path))?;
        tighten(&file).map_err(Error::store("change the mode of", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => self.flush_names().map(|()| Lock(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Busy { path: self.root.clone() }),
            Err(error) => Err(Error::store("lock", &path)(error.into())),
        }
    }

    /// Until something is kept, nothing says that the directory's own name was ever flushed.
    fn flush_names(&self) -> Result<(), Error> {
        if self.root.join("seen").exists() {
            return Ok(());
        }
        names::flush_up(&self.root).map_err(Error::store("flush the way to", &self.root))
    }

    /// What is held, as far as it is signed. Damaged metadata is as good as none, as long as what was seen is known; if
    /// that is lost too, nothing may be believed any more.
    pub(super) fn load(&self, shipped: &[u8]) -> Result<Held, Error> {
        let path = self.root.join("metadata");
        let seen = self.seen();
        let mut roots = Roots::new(shipped)?;
        let Some(bytes) = self.read(&path)? else { return Ok(Held { roots, docs: None, seen: seen? }) };
        let lost = |why: String| match &seen {
            Ok(Some(seen)) => Ok(seen.clone()),
            Ok(None) => Err(Error::Damaged { path: path.clone(), why }),
            Err(error) => Err(Error::Damaged { path: path.clone(), why: format!("{why}; {error}") }),
        };
        let docs = match recall(&mut roots, &bytes) {
            Ok(docs) => docs,
            Err(why) => return Ok(Held { roots: Roots::new(shipped)?, docs: None, seen: Some(lost(why)?) }),
        };
        let Some(docs) = docs else { return Ok(Held { roots, docs: None, seen: seen? }) };
        let Some(signed) = docs.seen(roots.root()) else {
            let seen = lost("it is not signed by its root's keys".to_owned())?;
            return Ok(Held { roots, docs: None, seen: Some(seen) });
        };
        let seen = seen.ok().flatten().map_or(signed.clone(), |seen| seen.and(signed));
        Ok(Held { roots, docs: Some(docs), seen: Some(seen) })
    }

    /// Puts what was verified in the place of what was. Once Ok, it survives a power cut; a cut before leaves the old.
    pub(super) fn commit(&self, roots: &Roots, docs: Option<&Docs>, seen: &Seen) -> Result<(), Error> {
        let text = |bytes: &Vec<u8>| {
            String::from_utf8(bytes.clone())
                .map_err(|error| Error::Malformed { what: "metadata".to_owned(), why: error.to_string() })
        };
        let docs = docs.map(|docs| Ok([text(&docs.timestamp)?, text(&docs.snapshot)?, text(&docs.targets)?]));
        let on_disk = OnDisk {
            format: 1,
            roots: roots.later().iter().map(text).collect::<Result<_, _>>()?,
            docs: docs.transpose()?,
        };
        self.replace("metadata", &serde_json::to_vec(&on_disk).unwrap_or_default())?;
        self.replace("seen", &seal(seen))
    }

    /// A release document that is held; none if there is none, or another.
    pub(super) fn release(&self, digest: &Digest) -> Option<Vec<u8>> {
        let bytes = fs::read(self.release_path(digest)).ok()?;
        (Digest::of(&bytes) == *digest).then_some(bytes)
    }

    pub(super) fn release_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("releases").join(digest.to_string())
    }

    /// Keeps a release document. Once Ok, it survives a power cut.
    pub(super) fn keep_release(&self, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        self.replace(&format!("releases/{digest}"), bytes)
    }

    /// Lets go of all release documents but these. What cannot be removed stays: it does no harm.
    pub(super) fn forget_releases_but(&self, keep: &[Digest]) {
        let keep: Vec<String> = keep.iter().map(ToString::to_string).collect();
        let Ok(entries) = fs::read_dir(self.root.join("releases")) else { return };
        for entry in entries.flatten() {
            if !keep.iter().any(|name| entry.file_name() == name.as_str()) {
                fs::remove_file(entry.path()).ok();
            }
        }
    }

    /// An empty directory to work in.
    pub(super) fn work(&self) -> Result<PathBuf, Error> {
        let path = self.root.join("work");
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::store("empty", &path)(error));
            }
            _ => {}
        }
        fs::create_dir(&path).map_err(Error::store("make", &path))?;
        Ok(path)
    }

    fn seen(&self) -> Result<Option<Seen>, Error> {
        let path = self.root.join("seen");
        let Some(bytes) = self.read(&path)? else { return Ok(None) };
        let damaged = || Error::Damaged { path, why: "its check value is another".to_owned() };
        unseal(&bytes).map(Some).ok_or_else(damaged)
    }

    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, Error> {
        match fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::store("read", path)(error)),
        }
    }

    /// Once Ok, the file has these bytes and a power cut changes nothing about it; a cut before leaves the old file.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.root.join(name);
        let beside = path.with_extension("new");
        self.step(&path, &beside, bytes)?;
        let mut file = File::create(&beside).map_err(Error::store("make", &beside))?;
        self.step(&path, &beside, bytes)?;
        file.write_all(bytes).map_err(Error::store("write", &beside))?;
        self.step(&path, &beside, bytes)?;
        file.sync_all().map_err(Error::store("flush", &beside))?;
        self.step(&path, &beside, bytes)?;
        fs::rename(&beside, &path).map_err(Error::store("rename", &beside))?;
        self.step(&path, &beside, bytes)?;
        let directory = path.parent().unwrap_or(&self.root);
        names::flush(directory).map_err(Error::store("flush", directory))
    }

    /// Where a test may cut the power.
    #[cfg(test)]
    fn step(&self, path: &Path, beside: &Path, bytes: &[u8]) -> Result<(), Error> {
        self.power.step(path, beside, bytes).map_err(Error::store("write", path))
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "only tests cut the power")]
    fn step(&self, _: &Path, _: &Path, _: &[u8]) -> Result<(), Error> {
        Ok(())
    }
}

/// Whoever can open the file, if only to read, could hold the lock for ever, and so stop all refreshes.
fn tighten(file: &File) -> io::Result<()> {
    if file.metadata()?.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    match file.set_permissions(Permissions::from_mode(0o600)) {
        // Somebody else's datastore, opened to this user by its modes.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

impl Drop for Lock {
    /// Lets go at once. Closing alone would not: a process that this one is just starting holds a copy of the
    /// descriptor until it runs its program.
    fn drop(&mut self) {
        flock(&self.0, FlockOperation::Unlock).ok();
    }
}

impl Docs {
    /// Their versions, if a root vouches for all of them.
    pub(super) fn seen(&self, root: &Root) -> Option<Seen> {
        let timestamp = signed::<Timestamp>(root, &self.timestamp)?;
        let snapshot = signed::<Snapshot>(root, &self.snapshot)?;
        let targets = signed::<Targets>(root, &self.targets)?;
        Some(Seen::of(&Verified { root, timestamp: &timestamp, snapshot: &snapshot, targets: &targets }))
    }
}

fn signed<T: Role + DeserializeOwned>(root: &Root, bytes: &[u8]) -> Option<T> {
    let signed: Signed<T> = serde_json::from_slice(bytes).ok()?;
    root.verify_role(&signed).ok()?;
    Some(signed.signed)
}

/// Roots that follow the shipped one, and the documents that go with the last.
fn recall(roots: &mut Roots, bytes: &[u8]) -> Result<Option<Docs>, String> {
    let on_disk: OnDisk = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if on_disk.format != 1 {
        return Err(format!("format {} is not known", on_disk.format));
    }
    for root in &on_disk.roots {
        roots.recall(root.as_bytes()).map_err(|error| error.to_string())?;
    }
    let docs = on_disk.docs.map(|docs| docs.map(String::into_bytes));
    Ok(docs.map(|[timestamp, snapshot, targets]| Docs { timestamp, snapshot, targets }))
}

/// The text, and its digest before it.
fn seal(seen: &Seen) -> Vec<u8> {
    let text = serde_json::to_string(seen).unwrap_or_default();
    format!("{} {text}\n", Digest::of(text.as_bytes())).into_bytes()
}

fn unseal(bytes: &[u8]) -> Option<Seen> {
    let (digest, text) = std::str::from_utf8(bytes).ok()?.trim_end().split_once(' ')?;
    let text = (digest.parse() == Ok(Digest::of(text.as_bytes()))).then_some(text)?;
    serde_json::from_str(text).ok()
}
