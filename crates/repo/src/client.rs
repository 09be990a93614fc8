//! The device's side: what is published, verified, and the bytes of it.

mod download;
mod known;
mod load;
mod mirrors;
mod store;
#[cfg(test)]
mod tests;
mod trust;

pub use download::Download;

use crate::clock::{Clock, Monotonic};
use crate::http::Http;
use crate::limits::NetLimits;
use crate::release::{Blob, Malformed, Release};
use crate::{Error, Fault};
use load::{Carried, Origin};
use mirrors::{Mirrors, target_url};
use siding_image::Digest;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use store::{Docs, Held, Store};
use tough::Repository;
use trust::{Seen, Verified};
use url::Url;

/// Where a repository is, and what a device trusts at first.
#[derive(Clone, Debug)]
pub struct Options {
    /// Addresses under which `metadata/` and `targets/` lie: `https:`, `http:`, or `file:` for a folder.
    pub mirrors: Vec<Url>,
    /// The root document that the device was made with.
    pub root: Vec<u8>,
    /// A directory of the client's own.
    pub datastore: PathBuf,
    /// What may be taken from the network.
    pub net: NetLimits,
    /// How the client names itself to servers.
    pub user_agent: String,
}

/// A device's view of its repository.
#[derive(Debug)]
pub struct Client {
    mirrors: Arc<Mirrors>,
    root: Vec<u8>,
    store: Store,
    limits: NetLimits,
    http: Arc<Http>,
    clock: Arc<dyn Clock>,
    skipped: Mutex<Vec<Malformed>>,
}

/// What is published, as far as this device can read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    /// All releases, by name.
    pub releases: Vec<Release>,
    /// Counts what was published: the version of TUF's snapshot.
    pub version: u64,
    /// When the first of the metadata expires or did, in seconds since 1970.
    pub expires: u64,
}

impl Client {
    /// Reads nothing but the root and the certificates yet.
    pub fn new(options: Options) -> Result<Self, Error> {
        Self::with_clock(options, Arc::new(Monotonic::new()))
    }

    fn with_clock(options: Options, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let Options { mirrors, root, datastore, net, user_agent } = options;
        trust::Roots::new(&root)?;
        Ok(Self {
            mirrors: Arc::new(Mirrors::new(mirrors)?),
            root,
            store: Store::new(datastore),
            http: Arc::new(Http::new(&net, &user_agent, Arc::clone(&clock))?),
            limits: net,
            clock,
            skipped: Mutex::default(),
        })
    }

    /// Asks the mirrors in turn for what is published now, until one has metadata that can be trusted. `now`, in
    /// seconds since 1970, decides what has expired. Once Ok, what was verified survives a power cut; after an error or a cut,
    /// what was known before still is, but for new roots, which are kept as soon as they are signed.
    pub fn refresh(&self, now: u64) -> Result<Catalog, Error> {
        let _lock = self.store.lock()?;
        let mut tried = Vec::new();
        for (i, mirror) in self.mirrors.in_order() {
            let held = self.store.load(&self.root)?;
            match self.refresh_from(mirror, &held, now) {
                Ok(catalog) => return Ok(catalog),
                Err(error) if error.fault() == Fault::Device => return Err(error),
                Err(error) => tried.push(error),
            }
            self.mirrors.failed(i);
        }
        Err(Error::of_mirrors("the repository's metadata", tried))
    }

    /// Release documents that the last refresh or [`Client::known`] left out of the catalog, because this siding
    /// cannot read them: they are signed, and probably for later devices.
    pub fn skipped(&self) -> Vec<Malformed> {
        self.skipped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins to read a blob, front to back: first what an earlier download left in `part`, then from the mirrors, by
    /// byte range from there. What arrives is appended to `part`, as fast as it arrives and no faster than `rate`
    /// bytes a second, while the reader is still at what came before. The length is exact, and the SHA-256 of all is
    /// compared at the end, before the reader is told that it is the end; if it is wrong, `part` is emptied.
    ///
    /// So bytes are read before that is known: each chunk of a patch is checked by its own signed digest before it is
    /// used. What `part` holds may not survive a power cut as it was; who finds it wrong before the end says so with
    /// [`Client::refuse`].
    pub fn fetch(&self, blob: &Blob, part: &Path, rate: Option<u64>) -> Result<Download, Error> {
        if blob.length > self.limits.blob_size {
            return Err(Error::TooLong { what: blob.name.clone(), limit: self.limits.blob_size });
        }
        let line = download::Line {
            mirrors: Arc::clone(&self.mirrors),
            http: Arc::clone(&self.http),
            clock: Arc::clone(&self.clock),
            whole: self.limits.download,
            least: self.limits.least_rate.saturating_mul(self.limits.window.as_secs()).max(1),
            rate,
        };
        Download::begin(line, blob, part)
    }

    /// What was read of a blob is wrong: `part` is removed, and those mirrors that served any of it are asked last for
    /// it as long as the client lives. Says whether it is worthwhile to fetch it again at once: there is a mirror that
    /// has not served wrong bytes of it.
    ///
    /// Without it, one mirror that serves wrong bytes would keep a device from a release that the others have.
    pub fn refuse(&self, blob: &Blob, part: &Path) -> Result<bool, Error> {
        let had = match std::fs::metadata(part) {
            Ok(found) => found.len() > 0,
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(Error::store("look at", part)(error)),
        };
        match std::fs::remove_file(part) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::store("remove", part)(error));
            }
            _ => {}
        }
        self.mirrors.blame(&blob.sha256);
        let (blamed, all) = self.mirrors.blamed(&blob.sha256);
        Ok((had || blamed > 0) && blamed < all)
    }

    fn refresh_from(&self, mirror: &Url, held: &Held, now: u64) -> Result<Catalog, Error> {
        let work = self.store.work()?;
        if let Some(docs) = &held.docs {
            for (name, bytes) in [("timestamp.json", &docs.timestamp), ("snapshot.json", &docs.snapshot)] {
                let path = work.join(name);
                std::fs::write(&path, bytes).map_err(Error::store("write", &path))?;
            }
        }
        let origin = Origin::Mirror(Arc::clone(&self.http), held.docs.clone());
        let (repository, carried) =
            load::load(held.roots.latest(), mirror, origin, &self.limits, Some(&work));
        let mut roots = held.roots.clone();
        // tough has checked these already, up to the one that it refused.
        let good = carried.roots.iter().take_while(|root| roots.extend(root).is_ok()).count();
        let new = Held { roots, docs: None, seen: held.seen.clone() };
        let accepted = repository.and_then(|repository| self.accept(mirror, &repository, &new, carried, now));
        match accepted {
            Err(error) if good > 0 => {
                self.keep_roots(held, new)?;
                Err(error)
            }
            other => other,
        }
    }

    /// Everything that tough does not look at, then into place.
    fn accept(
        &self,
        mirror: &Url,
        repository: &Repository,
        held: &Held,
        mut carried: Carried,
        now: u64,
    ) -> Result<Catalog, Error> {
        let verified = verified(repository);
        let new = Seen::of(&verified);
        if let Some(seen) = &held.seen {
            seen.allows(&new)?;
        }
        let expires = verified.holds(now)?;
        let mut digests = Vec::new();
        let mut room = self.limits.releases_size;
        let releases = self.releases(repository, |name, digest| {
            digests.push(*digest);
            let bytes = match self.store.release(digest) {
                Some(bytes) => bytes,
                None => self.fetch_release(mirror, name, digest)?,
            };
            let limit = self.limits.releases_size;
            let too_long = || Error::TooLong { what: "all releases together".to_owned(), limit };
            room = room.checked_sub(bytes.len() as u64).ok_or_else(too_long)?;
            Ok(bytes)
        })?;
        let mut take = |role| carried.docs.remove(role).unwrap_or_default();
        let docs =
            Docs { timestamp: take("timestamp"), snapshot: take("snapshot"), targets: take("targets") };
        let seen = held.seen.clone().map_or(new.clone(), |old| old.and(new));
        self.store.commit(&held.roots, Some(&docs), &seen)?;
        self.store.forget_releases_but(&digests);
        Ok(Catalog { releases, version: repository.snapshot().signed.version.get(), expires })
    }

    /// Reads all release documents, each through `bytes`, which has compared it with its signed digest.
    fn releases(
        &self,
        repository: &Repository,
        mut bytes: impl FnMut(&str, &Digest) -> Result<Vec<u8>, Error>,
    ) -> Result<Vec<Release>, Error> {
        let targets = &repository.targets().signed.targets;
        let mut found: Vec<_> = targets.iter().filter(|(name, _)| is_release(name.raw())).collect();
        found.sort_by_key(|(name, _)| name.raw());
        let (limit, got) = (self.limits.releases, found.len() as u64);
        if got > limit {
            return Err(Error::TooMany { what: "releases", limit, got });
        }
        let (mut releases, mut skipped) = (Vec::new(), Vec::new());
        for (name, target) in found {
            let name = name.raw();
            let Ok(digest) = <[u8; 32]>::try_from(&target.hashes.sha256[..]) else {
                let why = "its digest has not 32 bytes".to_owned();
                return Err(Error::Malformed { what: name.to_owned(), why });
            };
            if target.length > self.limits.release_size {
                return Err(Error::TooLong { what: name.to_owned(), limit: self.limits.release_size });
            }
            let document = bytes(name, &Digest(digest))?;
            if document.len() as u64 != target.length {
                let why = format!("{} bytes were signed, it has {}", target.length, document.len());
                return Err(Error::Malformed { what: name.to_owned(), why });
            }
            match Release::parse(&document) {
                Ok(release) if release.target_name() == name => releases.push(release),
                Ok(release) => {
                    let what = format!("it is stored as {name}");
                    skipped.push(Malformed { id: release.id, what });
                }
                Err(Malformed { id, what }) if id.is_empty() => {
                    skipped.push(Malformed { id: name.to_owned(), what });
                }
                Err(malformed) => skipped.push(malformed),
            }
        }
        *self.skipped.lock().unwrap_or_else(PoisonError::into_inner) = skipped;
        Ok(releases)
    }

    fn fetch_release(&self, mirror: &Url, name: &str, digest: &Digest) -> Result<Vec<u8>, Error> {
        let url = target_url(mirror, name, digest)?;
        let bytes = self.http.document(&url, self.limits.release_size, None)?;
        let got = Digest::of(&bytes);
        if got != *digest {
            let (expected, got) = (digest.to_string(), got.to_string());
            return Err(Error::WrongDigest { what: crate::http::place(&url).to_string(), expected, got });
        }
        self.store.keep_release(digest, &bytes)?;
        Ok(bytes)
    }

    /// New roots are believed even if nothing else of the refresh is: they may take the trust from what is known.
    fn keep_roots(&self, held: &Held, new: Held) -> Result<(), Error> {
        let root = new.roots.root();
        let keys_stay = trust::counting_keys(root) == trust::counting_keys(held.roots.root());
        let docs = held.docs.as_ref().filter(|docs| keys_stay && docs.seen(root).is_some());
        let seen = Seen::with_root(new.seen, root);
        self.store.commit(&new.roots, docs, &seen)
    }
}

fn verified(repository: &Repository) -> Verified<'_> {
    Verified {
        root: &repository.root().signed,
        timestamp: &repository.timestamp().signed,
        snapshot: &repository.snapshot().signed,
        targets: &repository.targets().signed,
    }
}

fn is_release(name: &str) -> bool {
    name.starts_with("releases/") && name.ends_with(".json")
}
