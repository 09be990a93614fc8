//! One run of TUF's client workflow: tough does the verifying, this says where documents come from.

use super::store::Docs;
use crate::Error;
use crate::http::Http;
use crate::limits::NetLimits;
use futures_core::Stream;
use siding_image::Digest;
use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tough::schema::{Signed, Snapshot, Timestamp};
use tough::{
    Bytes, ExpirationEnforcement, Limits, Repository, RepositoryLoader, Transport, TransportError,
    TransportErrorKind, TransportStream, async_trait,
};
use url::Url;

/// Where documents come from.
#[derive(Debug)]
pub(super) enum Origin {
    /// The mirror, and what need not be asked for because it is held and still the same.
    Mirror(Arc<Http>, Option<Docs>),
    /// What is held, and nothing else.
    Held(Docs),
}

/// The documents that were carried, as they came.
#[derive(Debug, Default)]
pub(super) struct Carried {
    pub(super) roots: Vec<Vec<u8>>,
    pub(super) docs: BTreeMap<&'static str, Vec<u8>>,
    error: Option<Error>,
}

#[derive(Clone, Debug)]
struct Carrier {
    origin: Arc<Origin>,
    limits: Arc<NetLimits>,
    carried: Arc<Mutex<Carried>>,
}

/// Loads and verifies metadata. The datastore is tough's, a working copy. Expiry is not looked at: the caller does,
/// with its own clock.
pub(super) fn load(
    root: &[u8],
    base: &Url,
    origin: Origin,
    limits: &NetLimits,
    datastore: Option<&Path>,
) -> (Result<Repository, Error>, Carried) {
    let carried = Arc::new(Mutex::new(Carried::default()));
    let carrier =
        Carrier { origin: Arc::new(origin), limits: Arc::new(limits.clone()), carried: Arc::clone(&carried) };
    let below = |name| base.join(name).unwrap_or_else(|_| base.clone());
    let (metadata, targets) = (below("metadata/"), below("targets/"));
    let loader = RepositoryLoader::new(&root, metadata, targets)
        .transport(carrier)
        .expiration_enforcement(ExpirationEnforcement::Unsafe)
        .limits(Limits {
            max_root_size: limits.root_size,
            max_targets_size: limits.targets_size,
            max_timestamp_size: limits.timestamp_size,
            max_snapshot_size: limits.snapshot_size,
            max_root_updates: limits.roots,
        });
    let loader = match datastore {
        Some(path) => loader.datastore(path),
        None => loader,
    };
    // A thread of its own, so that it does not matter whether the caller is one of an async runtime.
    let result = std::thread::scope(|scope| {
        let work = scope.spawn(move || -> Result<Repository, Error> {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            let runtime = runtime.map_err(Error::store("start a runtime for", Path::new("tough")))?;
            runtime.block_on(loader.load()).map_err(translate)
        });
        let gone = |_| Err(Error::Setup { what: "the verifier ended without an answer".to_owned() });
        work.join().unwrap_or_else(gone)
    });
    let mut carried = std::mem::take(&mut *carried.lock().unwrap_or_else(PoisonError::into_inner));
    let result = match (result, carried.error.take()) {
        (Err(_), Some(error)) => Err(error),
        (result, _) => result,
    };
    (result, carried)
}

impl Carrier {
    fn carry(&self, url: &Url) -> Result<Vec<u8>, Error> {
        let name = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default();
        let role = match name.split_once('.') {
            Some(("timestamp", "json")) => "timestamp",
            Some((version, "root.json")) if version.parse::<u64>().is_ok() => "root",
            Some((version, "snapshot.json")) if version.parse::<u64>().is_ok() => "snapshot",
            Some((version, "targets.json")) if version.parse::<u64>().is_ok() => "targets",
            _ => {
                let why = "only root, timestamp, snapshot and targets are, with consistent snapshots; no delegations";
                return Err(Error::Malformed { what: format!("metadata {name:?}"), why: why.to_owned() });
            }
        };
        let bytes = match self.origin.as_ref() {
            Origin::Held(docs) => held(docs, role, url)?,
            Origin::Mirror(http, held) => match self.unchanged(role, held.as_ref()) {
                Some(bytes) => bytes,
                None => http.document(url, self.cap(role), None)?,
            },
        };
        let mut carried = self.carried.lock().unwrap_or_else(PoisonError::into_inner);
        if role == "root" {
            carried.roots.push(bytes.clone());
        } else {
            carried.docs.insert(role, bytes.clone());
        }
        Ok(bytes)
    }

    fn cap(&self, role: &str) -> u64 {
        match role {
            "root" => self.limits.root_size,
            "timestamp" => self.limits.timestamp_size,
            "snapshot" => self.limits.snapshot_size,
            _ => self.limits.targets_size,
        }
    }

    /// What is held, if it is by digest what the document before it names.
    fn unchanged(&self, role: &str, held: Option<&Docs>) -> Option<Vec<u8>> {
        let held = held?;
        let carried = self.carried.lock().unwrap_or_else(PoisonError::into_inner);
        let (bytes, named) = match role {
            "snapshot" => {
                let above: Signed<Timestamp> = serde_json::from_slice(carried.docs.get("timestamp")?).ok()?;
                (&held.snapshot, above.signed.meta.get("snapshot.json")?.hashes.clone()?)
            }
            "targets" => {
                let above: Signed<Snapshot> = serde_json::from_slice(carried.docs.get("snapshot")?).ok()?;
                (&held.targets, above.signed.meta.get("targets.json")?.hashes.clone()?)
            }
            _ => return None,
        };
        (Digest::of(bytes).0 == *named.sha256).then(|| bytes.clone())
    }
}

fn held(docs: &Docs, role: &str, url: &Url) -> Result<Vec<u8>, Error> {
    match role {
        "timestamp" => Ok(docs.timestamp.clone()),
        "snapshot" => Ok(docs.snapshot.clone()),
        "targets" => Ok(docs.targets.clone()),
        _ => Err(Error::NotFound { at: crate::http::place(url) }),
    }
}

#[async_trait]
impl Transport for Carrier {
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        // Errors go into the stream: an error from here would let tough take an unreachable root for the last one.
        let item = self.carry(&url).map(Bytes::from).map_err(|error| {
            let missing = matches!(error, Error::NotFound { .. });
            let kind = if missing { TransportErrorKind::FileNotFound } else { TransportErrorKind::Other };
            let mut carried = self.carried.lock().unwrap_or_else(PoisonError::into_inner);
            carried.error = Some(error.clone());
            TransportError::new_with_cause(kind, url, error)
        });
        if item.is_ok() {
            self.carried.lock().unwrap_or_else(PoisonError::into_inner).error = None;
        }
        Ok(Box::pin(Once(Some(item))))
    }
}

struct Once(Option<Result<Bytes, TransportError>>);

impl Stream for Once {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.take())
    }
}

/// What tough says, in our words.
fn translate(error: tough::error::Error) -> Error {
    use tough::error::Error as Tough;
    let rollback = |role: &str, seen, got| Error::Rollback { role: role.to_owned(), seen, got };
    match error {
        Tough::OlderMetadata { role, current_version, new_version, .. } => {
            rollback(&role.to_string(), current_version, new_version)
        }
        Tough::OlderSnapshotInTimestamp { snapshot_new, snapshot_old, .. } => {
            rollback("snapshot", snapshot_old, snapshot_new)
        }
        Tough::SnapshotRoleRollback { role, old_role_version, new_role_version, .. } => {
            rollback(role.trim_end_matches(".json"), old_role_version, new_role_version)
        }
        Tough::SnapshotRoleMissing { role, old_version, new_version } => {
            rollback(&format!("snapshot (which no longer lists {role})"), old_version, new_version)
        }
        Tough::VersionMismatch { role, fetched, expected, .. } => {
            Error::Mixed { role: role.to_string(), expected, got: fetched }
        }
        Tough::VerifyMetadata { role, source, .. } => {
            Error::NotSigned { role: role.to_string(), why: source.to_string() }
        }
        Tough::MaxUpdatesExceeded { max_root_updates, .. } => Error::TooMany {
            what: "new roots",
            limit: max_root_updates,
            got: max_root_updates.saturating_add(1),
        },
        Tough::ParseMetadata { role, source, .. } => {
            Error::Malformed { what: format!("the repository's {role} metadata"), why: source.to_string() }
        }
        Tough::Transport { source, url, .. } => of_transport(&source, &url),
        other => Error::Malformed { what: "the repository's metadata".to_owned(), why: other.to_string() },
    }
}

/// What tough found in the bytes it was handed: a digest or a length that was not signed.
fn of_transport(error: &TransportError, url: &Url) -> Error {
    let inner = std::error::Error::source(error);
    if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<Error>()) {
        return error.clone();
    }
    let what = crate::http::place(url).to_string();
    match inner.and_then(|inner| inner.downcast_ref()) {
        Some(tough::error::Error::HashMismatch { calculated, expected, .. }) => {
            Error::WrongDigest { what, expected: expected.clone(), got: calculated.clone() }
        }
        Some(tough::error::Error::MaxSizeExceeded { max_size, .. }) => {
            Error::TooLong { what, limit: *max_size }
        }
        _ => Error::Malformed { what, why: error.to_string() },
    }
}
