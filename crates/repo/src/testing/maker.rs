//! A maker of TUF repositories for tests: it writes JSON and signs it by itself, so that it is a second opinion on
//! what tough reads, and it can make what no maker should.

use crate::release::{Blob, FORMAT, ImageSpec, Item, Release, Standing};
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Map, Value, json};
use siding_image::{Digest, Kind};
use std::collections::BTreeMap;
use std::fmt::Write;

/// A key of the maker's.
#[derive(Clone)]
pub(crate) struct Key(SigningKey);

/// A repository as it stands, and what it is made with.
#[derive(Clone)]
pub(crate) struct Maker {
    /// Keys by role, and how many of them must sign.
    pub(crate) keys: BTreeMap<&'static str, Vec<Key>>,
    pub(crate) thresholds: BTreeMap<&'static str, u64>,
    /// Versions by role.
    pub(crate) versions: BTreeMap<&'static str, u64>,
    /// When each role expires, in seconds since 1970.
    pub(crate) expires: BTreeMap<&'static str, i64>,
    /// Targets by name.
    pub(crate) targets: BTreeMap<String, Vec<u8>>,
    /// Whether fields are added that no specification knows.
    pub(crate) extras: bool,
    /// Whether lengths and digests stand in timestamp and snapshot.
    pub(crate) digests: bool,
    /// What is served, by path.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// The first root.
    pub(crate) shipped: Vec<u8>,
}

/// What time it is in tests, and when everything expires.
pub(crate) const NOW: u64 = 1_800_000_000;
const LATER: i64 = 1_900_000_000;
const ROLES: [&str; 4] = ["root", "timestamp", "snapshot", "targets"];

impl Key {
    pub(crate) fn new(seed: u8) -> Self {
        Self(SigningKey::from_bytes(&[seed; 32]))
    }

    fn public(&self) -> Value {
        let hex = hex(self.0.verifying_key().as_bytes());
        json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": hex}})
    }

    fn id(&self) -> String {
        Digest::of(&serde_json::to_vec(&self.public()).unwrap()).to_string()
    }
}

impl Maker {
    /// One key a role, one release, everything published.
    pub(crate) fn new() -> Self {
        let mut maker = Self {
            keys: ROLES.iter().zip(1..).map(|(role, seed)| (*role, vec![Key::new(seed)])).collect(),
            thresholds: ROLES.iter().map(|role| (*role, 1)).collect(),
            versions: ROLES.iter().map(|role| (*role, 0)).collect(),
            expires: ROLES.iter().map(|role| (*role, LATER)).collect(),
            targets: BTreeMap::new(),
            extras: false,
            digests: true,
            files: BTreeMap::new(),
            shipped: Vec::new(),
        };
        maker.publish_root(&[]);
        maker.shipped = maker.files["metadata/1.root.json"].clone();
        maker.add(&release("2026-11-first"));
        maker.publish();
        maker
    }

    pub(crate) fn add(&mut self, release: &Release) {
        self.targets.insert(release.target_name(), release.to_json());
    }

    /// A further root, signed by its own keys and by these.
    pub(crate) fn publish_root(&mut self, also: &[Key]) {
        let mut keys = Map::new();
        let mut roles = Map::new();
        for role in ROLES {
            let ids: Vec<String> = self.keys[role].iter().map(Key::id).collect();
            keys.extend(self.keys[role].iter().map(|key| (key.id(), key.public())));
            roles.insert(role.to_owned(), json!({"keyids": ids, "threshold": self.thresholds[role]}));
        }
        let body = json!({"consistent_snapshot": true, "keys": keys, "roles": roles});
        let signers: Vec<Key> = self.keys["root"].iter().chain(also).cloned().collect();
        let (version, bytes) = self.sign("root", body, &signers);
        self.files.insert(format!("metadata/{version}.root.json"), bytes);
    }

    /// All other metadata anew, each with the next version.
    pub(crate) fn publish(&mut self) {
        self.publish_targets();
        self.publish_snapshot();
        self.publish_timestamp();
    }

    pub(crate) fn publish_targets(&mut self) {
        let mut targets = Map::new();
        for (name, bytes) in self.targets.clone() {
            let digest = Digest::of(&bytes).to_string();
            targets.insert(name.clone(), json!({"length": bytes.len(), "hashes": {"sha256": digest}}));
            self.files.insert(format!("targets/{digest}.{name}"), bytes);
        }
        let (version, bytes) =
            self.sign("targets", json!({"targets": targets}), &self.keys["targets"].clone());
        self.files.insert(format!("metadata/{version}.targets.json"), bytes);
    }

    pub(crate) fn publish_snapshot(&mut self) {
        let meta = self.meta("targets");
        let body = json!({"meta": {"targets.json": meta}});
        let (version, bytes) = self.sign("snapshot", body, &self.keys["snapshot"].clone());
        self.files.insert(format!("metadata/{version}.snapshot.json"), bytes);
    }

    pub(crate) fn publish_timestamp(&mut self) {
        let meta = self.meta("snapshot");
        let body = json!({"meta": {"snapshot.json": meta}});
        let (_, bytes) = self.sign("timestamp", body, &self.keys["timestamp"].clone());
        self.files.insert("metadata/timestamp.json".to_owned(), bytes);
    }

    pub(crate) fn path(&self, role: &str) -> String {
        format!("metadata/{}.{role}.json", self.versions[role])
    }

    fn meta(&self, role: &str) -> Value {
        let bytes = &self.files[&self.path(role)];
        let version = self.versions[role];
        if self.digests {
            let digest = Digest::of(bytes).to_string();
            json!({"version": version, "length": bytes.len(), "hashes": {"sha256": digest}})
        } else {
            json!({"version": version})
        }
    }

    fn sign(&mut self, role: &'static str, mut body: Value, keys: &[Key]) -> (u64, Vec<u8>) {
        let version = self.versions.get_mut(role).unwrap();
        *version += 1;
        let fields = body.as_object_mut().unwrap();
        fields.insert("_type".to_owned(), json!(role));
        fields.insert("spec_version".to_owned(), json!("1.0.34"));
        fields.insert("version".to_owned(), json!(*version));
        let expires = jiff::Timestamp::from_second(self.expires[role]).unwrap();
        fields.insert("expires".to_owned(), json!(expires.to_string()));
        if self.extras {
            fields.insert("x-later".to_owned(), json!({"a": [1, null, "b"]}));
        }
        // Without preserving order, serde_json sorts fields, so this is canonical JSON for plain text.
        let message = serde_json::to_vec(&body).unwrap();
        let signatures: Vec<Value> = keys
            .iter()
            .map(|key| json!({"keyid": key.id(), "sig": hex(&key.0.sign(&message).to_bytes())}))
            .collect();
        (*version, serde_json::to_vec_pretty(&json!({"signed": body, "signatures": signatures})).unwrap())
    }
}

/// A release that names one blob.
pub(crate) fn release(id: &str) -> Release {
    let image = |version: &str, fill: u8| ImageSpec {
        version: version.parse().unwrap(),
        kind: Kind::File,
        size: 1,
        digest: Digest([fill; 32]),
    };
    let patch = Blob { name: "blobs/a.siding".to_owned(), length: 5, sha256: Digest::of(b"patch") };
    Release {
        format: FORMAT,
        id: id.to_owned(),
        title: "A repair".to_owned(),
        text: String::new(),
        severity: "high".parse().unwrap(),
        advisories: vec!["CVE-2026-0001".to_owned()],
        channel: "stable".to_owned(),
        published: NOW - 1,
        standing: Standing::Active,
        waves: Vec::new(),
        items: vec![Item {
            component: "webkit".parse().unwrap(),
            products: Vec::new(),
            source: image("1.0", 1),
            target: image("1.0 (a)", 2),
            epoch: 0,
            restart: Vec::new(),
            patch: Some(patch),
            full: None,
            reverse: None,
        }],
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
