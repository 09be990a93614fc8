//! Roles and their keys: Ed25519, PKCS#8 in PEM, one file each, in directories that may be on media of their own.

use super::sign::{ids, threshold};
use super::{Error, Span};
use crate::names;
use siding_patch::{PrivateKey, PublicKey};
use std::collections::HashMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use tough::schema::decoded::{Decoded, Hex};
use tough::schema::key::{Ed25519Key, Ed25519Scheme, Key};
use tough::schema::{RoleType, Root};

/// The root that the maker holds, in the first directory of keys: public, and the beginning of all checking.
pub(crate) const ANCHOR: &str = "root.json";

/// What a key may say (TUF specification, section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Which keys there are. Kept offline.
    Root,
    /// What is published.
    Targets,
    /// Which metadata goes together.
    Snapshot,
    /// What is newest. Signed most often.
    Timestamp,
}

/// How a role signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleSetting {
    /// How many of its keys must sign.
    pub threshold: u64,
    /// How many keys it has.
    pub keys: u64,
    /// For how long what it signed holds.
    pub expires: Span,
}

/// Private keys that are at hand.
#[derive(Debug, Default)]
pub struct Keys {
    pub(crate) held: Vec<Held>,
    folders: Vec<PathBuf>,
}

/// A private key, as metadata names it.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) id: KeyId,
    pub(crate) private: PrivateKey,
}

/// What metadata calls a key: the SHA-256 of its canonical JSON.
pub(crate) type KeyId = Decoded<Hex>;

impl Keys {
    /// All private keys (`*.pem`, `*.key`) in these directories, whatever they are for.
    pub fn open(folders: &[PathBuf]) -> Result<Self, Error> {
        let mut keys = Self { held: Vec::new(), folders: folders.to_vec() };
        for folder in folders {
            let failed = |e| Error::local("read the key directory", folder, e);
            let listed = fs::read_dir(folder).map_err(failed)?.map(|entry| Ok(entry?.path()));
            let mut paths = listed.collect::<std::io::Result<Vec<_>>>().map_err(failed)?;
            paths.sort();
            let is_key = |path: &&PathBuf| path.extension().is_some_and(|end| end == "pem" || end == "key");
            for path in paths.iter().filter(is_key) {
                let text = fs::read_to_string(path).map_err(|e| Error::local("read the key", path, e))?;
                if text.contains("PRIVATE KEY") {
                    let bad = |what: siding_patch::Error| Error::Draft {
                        path: path.clone(),
                        what: what.to_string(),
                    };
                    keys.hold(PrivateKey::from_pem(&text).map_err(bad)?)?;
                }
            }
        }
        Ok(keys)
    }

    /// The root to begin with, from the first directory that has one.
    pub fn anchor(&self) -> Result<Vec<u8>, Error> {
        let found = self.folders.iter().map(|folder| folder.join(ANCHOR)).find(|path| path.exists());
        let path = found.ok_or_else(|| {
            let looked = self.folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>();
            Error::Asked(format!(
                "no {ANCHOR} is in {}: `siding publish init` puts it there, and it is metadata/1.root.json of a \
                 repository that you know to be yours",
                looked.join(", ")
            ))
        })?;
        fs::read(&path).map_err(|e| Error::local("read", &path, e))
    }

    /// Makes a key of 32 secret random bytes, in the first directory. Once this returned, its file survives a power
    /// cut, as far as the directory does.
    pub(crate) fn make(&mut self, role: Role, seed: &[u8; 32]) -> Result<Key, Error> {
        let private = PrivateKey::from_seed(seed);
        let pem = private.to_pem().map_err(Error::patch("a new key"))?;
        let folder = self.folders.first().cloned().unwrap_or_default();
        let path =
            (1u32..).map(|number| folder.join(format!("{role}-{number}.pem"))).find(|path| !path.exists());
        write_new(&path.unwrap_or(folder), pem.as_bytes(), 0o600)?;
        let key = tuf_key(&private.public());
        self.hold(private)?;
        Ok(key)
    }

    /// Whether these keys suffice for what readers of this root ask of the role.
    pub(crate) fn suffice(&self, role: Role, root: &Root) -> Result<(), Error> {
        let (allowed, need) = (ids(root, role), threshold(root, role));
        let have = self.held.iter().filter(|held| allowed.contains(&held.id)).count() as u64;
        if have >= need {
            return Ok(());
        }
        Err(Error::TooFewKeys { role, need, have, keys: allowed.iter().map(short).collect() })
    }

    fn hold(&mut self, private: PrivateKey) -> Result<(), Error> {
        let key = tuf_key(&private.public());
        let id = id_of(&key)?;
        if self.held.iter().all(|held| held.id != id) {
            self.held.push(Held { id, private });
        }
        Ok(())
    }
}

/// Writes a file where none is. Once this returned, it survives a power cut, as far as its directory does.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let failed = |e| Error::local("make", path, e);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    let folder = path.parent().unwrap_or(path);
    names::flush(folder).map_err(|e| Error::local("flush", folder, e))
}

pub(crate) fn tuf_key(public: &PublicKey) -> Key {
    Key::Ed25519 {
        keyval: Ed25519Key { public: public.to_bytes().to_vec().into(), _extra: HashMap::new() },
        scheme: Ed25519Scheme::Ed25519,
        _extra: HashMap::new(),
    }
}

pub(crate) fn id_of(key: &Key) -> Result<KeyId, Error> {
    key.key_id().map_err(|e| Error::Asked(format!("a key has no name: {e}")))
}

/// The first digits of a key's name, to show it by.
pub(crate) fn short(id: &KeyId) -> String {
    id.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

impl Role {
    /// All of them, in the order in which they vouch for each other.
    pub const ALL: [Self; 4] = [Self::Root, Self::Targets, Self::Snapshot, Self::Timestamp];

    pub(crate) fn kind(self) -> RoleType {
        match self {
            Self::Root => RoleType::Root,
            Self::Targets => RoleType::Targets,
            Self::Snapshot => RoleType::Snapshot,
            Self::Timestamp => RoleType::Timestamp,
        }
    }

    /// What is good where nothing else is asked for: the root by two of three keys, and for a year.
    pub fn default_setting(self) -> RoleSetting {
        const DAY: u64 = 86_400;
        let (threshold, keys, days) = match self {
            Self::Root => (2, 3, 365),
            Self::Targets => (1, 1, 90),
            Self::Snapshot => (1, 1, 30),
            Self::Timestamp => (1, 1, 7),
        };
        RoleSetting { threshold, keys, expires: Span(days * DAY) }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Root => "root",
            Self::Targets => "targets",
            Self::Snapshot => "snapshot",
            Self::Timestamp => "timestamp",
        })
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.to_string() == text);
        found.ok_or_else(|| format!("a role is root, targets, snapshot or timestamp; got {text:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::make::{Files, Objects, Rotation, init, rotate};
    use crate::names::flushed;
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;

    /// A repository that looks, before it takes a root, at which names were flushed since keys were made.
    struct Watched {
        files: Objects,
        flushed: RefCell<Vec<Vec<PathBuf>>>,
    }

    impl Files for Watched {
        fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
            self.files.get(name)
        }

        fn length(&self, name: &str) -> Result<Option<u64>, Error> {
            self.files.length(name)
        }

        fn create(&self, name: &str, bytes: Vec<u8>) -> Result<bool, Error> {
            if name.ends_with("root.json") {
                self.flushed.borrow_mut().push(flushed());
            }
            self.files.create(name, bytes)
        }

        fn replace(&self, name: &str, old: &[u8], new: Vec<u8>) -> Result<(), Error> {
            self.files.replace(name, old, new)
        }
    }

    /// A root whose private keys a power cut took away could never be replaced.
    #[test]
    fn private_keys_and_their_names_are_flushed_before_a_root_names_them() {
        const NOW: u64 = 1_800_000_000;
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let folder = top.join("media/keys");
        let files = Objects::found(top.join("repo").to_str().unwrap()).unwrap();
        let watched = Watched { files, flushed: RefCell::default() };
        let count = Cell::new(0_u8);
        let mut seeds = || {
            count.set(count.get() + 1);
            Ok([count.get(); 32])
        };
        flushed();
        init(&watched, &folder, &BTreeMap::new(), &mut seeds, NOW).unwrap();
        assert_eq!(flushed(), [folder.as_path()], "root.json comes after the repository's root");
        let mut keys = Keys::open(std::slice::from_ref(&folder)).unwrap();
        let rotation = Rotation { make: vec![Role::Timestamp], ..Rotation::default() };
        rotate(&watched, &mut keys, &rotation, &mut seeds, NOW).unwrap();
        let seen = watched.flushed.borrow();
        assert_eq!(seen.len(), 2);
        for above in [&folder, &top.join("media"), &top] {
            assert!(seen[0].contains(above), "{}", above.display());
        }
        let keys_made = |flushed: &[PathBuf]| flushed.iter().filter(|path| **path == folder).count();
        assert_eq!(keys_made(&seen[0]), 1 + 6, "the folder itself, then after each key");
        assert_eq!(seen[1], [folder.as_path()]);
    }
}
