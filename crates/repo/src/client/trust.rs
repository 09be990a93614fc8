//! What is believed, and why: the chain of roots, what has expired, what was seen before. Reads and writes nothing.

use crate::Error;
use serde::{Deserialize, Serialize};
use siding_image::Digest;
use tough::schema::{Role as _, RoleType, Root, Signed, Snapshot, Targets, Timestamp};

/// The root in use, and how it came to be trusted: each one signed by the one before, and by itself.
#[derive(Clone, Debug)]
pub(super) struct Roots {
    root: Root,
    /// All after the one the device was made with, oldest first.
    later: Vec<Vec<u8>>,
    latest: Vec<u8>,
}

/// Versions of what was once verified, and under which keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) root: u64,
    pub(super) timestamp: u64,
    pub(super) snapshot: u64,
    pub(super) targets: u64,
    /// The keys of timestamp and snapshot: once they are replaced, the makers begin to count anew.
    pub(super) keys: String,
}

/// Metadata that tough has verified, beside its root.
pub(super) struct Verified<'a> {
    pub(super) root: &'a Root,
    pub(super) timestamp: &'a Timestamp,
    pub(super) snapshot: &'a Snapshot,
    pub(super) targets: &'a Targets,
}

impl Roots {
    /// Begins with the root the device was made with. Whether it has expired does not matter yet.
    pub(super) fn new(shipped: &[u8]) -> Result<Self, Error> {
        let signed = parse(shipped)?;
        verify(&signed.signed, &signed)?;
        Ok(Self { root: signed.signed, later: Vec::new(), latest: shipped.to_vec() })
    }

    /// Goes on to the next root: the next number, signed by a threshold of the old keys and of its own.
    pub(super) fn extend(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let next = parse(bytes)?;
        let (have, got) = (self.version(), next.signed.version.get());
        if have.checked_add(1) != Some(got) {
            return Err(Error::Rollback { role: "root".to_owned(), seen: have, got });
        }
        verify(&self.root, &next)?;
        verify(&next.signed, &next)?;
        self.root = next.signed;
        self.later.push(bytes.to_vec());
        self.latest = bytes.to_vec();
        Ok(())
    }

    /// The same for one that was kept: those that the device's own root has overtaken are passed over.
    pub(super) fn recall(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if parse(bytes)?.signed.version.get() <= self.version() { Ok(()) } else { self.extend(bytes) }
    }

    pub(super) fn version(&self) -> u64 {
        self.root.version.get()
    }

    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    /// The bytes of the root in use.
    pub(super) fn latest(&self) -> &[u8] {
        &self.latest
    }

    /// The bytes of all after the shipped one.
    pub(super) fn later(&self) -> &[Vec<u8>] {
        &self.later
    }
}

impl Seen {
    /// What is to be remembered once new roots were seen, and nothing else.
    pub(super) fn with_root(old: Option<Self>, root: &Root) -> Self {
        let keys = counting_keys(root);
        let old = old.unwrap_or(Self { root: 0, timestamp: 0, snapshot: 0, targets: 0, keys });
        Self { root: old.root.max(root.version.get()), ..old }
    }

    /// What is to be remembered of this metadata.
    pub(super) fn of(verified: &Verified<'_>) -> Self {
        Self {
            root: verified.root.version.get(),
            timestamp: verified.timestamp.version.get(),
            snapshot: verified.snapshot.version.get(),
            targets: verified.targets.version.get(),
            keys: counting_keys(verified.root),
        }
    }

    /// The higher of each, or what the later root counts if its keys are others.
    pub(super) fn and(self, newer: Self) -> Self {
        if self.keys != newer.keys {
            return Self { root: self.root.max(newer.root), ..newer };
        }
        Self {
            root: self.root.max(newer.root),
            timestamp: self.timestamp.max(newer.timestamp),
            snapshot: self.snapshot.max(newer.snapshot),
            targets: self.targets.max(newer.targets),
            keys: newer.keys,
        }
    }

    /// Whether metadata of these versions may follow what was seen. A new root with other timestamp or snapshot keys
    /// ends the old count (TUF specification, 5.3.11): so makers recover after a thief has spent high numbers.
    pub(super) fn allows(&self, new: &Self) -> Result<(), Error> {
        let rollback = |role: &str, seen, got| Err(Error::Rollback { role: role.to_owned(), seen, got });
        if new.root < self.root {
            return rollback("root", self.root, new.root);
        }
        if new.keys != self.keys {
            return Ok(());
        }
        if new.timestamp < self.timestamp {
            return rollback("timestamp", self.timestamp, new.timestamp);
        }
        if new.snapshot < self.snapshot {
            return rollback("snapshot", self.snapshot, new.snapshot);
        }
        if new.targets < self.targets {
            return rollback("targets", self.targets, new.targets);
        }
        Ok(())
    }
}

impl Verified<'_> {
    /// Which of it expires first, and when.
    pub(super) fn expires(&self) -> (&'static str, u64) {
        let mut first = ("root", self.root.expires());
        let others = [
            ("timestamp", self.timestamp.expires()),
            ("snapshot", self.snapshot.expires()),
            ("targets", self.targets.expires()),
        ];
        for other in others {
            if other.1 < first.1 {
                first = other;
            }
        }
        (first.0, u64::try_from(first.1.as_second()).unwrap_or(0))
    }

    /// When the first of it expires; an error if that is over.
    pub(super) fn holds(&self, now: u64) -> Result<u64, Error> {
        match self.expires() {
            (role, expired) if expired <= now => Err(Error::Expired { role, expired, now }),
            (_, expires) => Ok(expires),
        }
    }
}

/// A name for the keys of timestamp and snapshot.
pub(super) fn counting_keys(root: &Root) -> String {
    let mut text = String::new();
    for role in [RoleType::Timestamp, RoleType::Snapshot] {
        let keys = root.roles.get(&role);
        let ids = keys.iter().flat_map(|keys| &keys.keyids).map(|id| Digest::of(id).to_string());
        let mut ids: Vec<String> = ids.collect();
        ids.sort();
        ids.dedup();
        text.push_str(&format!("{role}:{};", ids.join(",")));
    }
    Digest::of(text.as_bytes()).to_string()
}

fn parse(bytes: &[u8]) -> Result<Signed<Root>, Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::Malformed { what: "a root document".to_owned(), why: error.to_string() })
}

fn verify(by: &Root, root: &Signed<Root>) -> Result<(), Error> {
    by.verify_role(root).map_err(|error| Error::NotSigned { role: "root".to_owned(), why: error.to_string() })
}
