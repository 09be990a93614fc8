//! What the agent remembers between two passes: `STORE/agent/`.
//!
//! ```text
//! state.json     looks, failures, what was removed or asked for by hand, what is being switched
//! history.jsonl  what was decided and done, and why; a line each
//! device-id      what tells this device from others
//! settings.toml  what `siding set` stored
//! ```
//!
//! None of it is needed for the device to work: the record of the store is the one truth about what is installed.

use crate::durable;
use serde::{Deserialize, Serialize};
use siding_image::{Component, Digest, Version};
use siding_lock::Lock;
use siding_repo::DeviceId;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

mod history;
pub(crate) use history::DECIDE;
pub use history::{Told, history, tell};

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Memory {
    /// When the repository was looked into last, in seconds since 1970.
    pub tried: Option<u64>,
    /// When that last succeeded.
    pub succeeded: Option<u64>,
    /// What went wrong the last time.
    pub error: Option<String>,
    /// How often it has gone wrong since it last succeeded.
    pub errors: u32,
    /// When it is looked next.
    pub next: Option<u64>,
    /// A person asked for a look, whether or not it is looked by itself.
    pub check_asked: bool,
    /// What was decided about each release when that was told last.
    pub decided: BTreeMap<String, String>,
    /// What a person removed, by component: nothing up to this version is installed again by itself.
    pub removed: BTreeMap<String, Removed>,
    /// Releases that could not be installed.
    pub failed: BTreeMap<String, Failed>,
    /// Releases that a person asked for.
    pub asked: BTreeSet<String>,
    /// A person asked for what lies ready to be used now.
    pub restart_asked: bool,
    /// A switch whose restarts and checks may not be done yet.
    pub switching: Option<Switching>,
    /// What waits for a restart.
    pub pending: Option<Pending>,
    /// What a way back needs restarted, and may not have been.
    pub owed: Option<Owed>,
    /// What all installs together took.
    pub counted: Counted,
}

/// What a person removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// The version that was in use.
    pub version: String,
    /// When, in seconds since 1970.
    pub at: u64,
}

/// A release that could not be installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Why, for programs.
    pub code: String,
    /// Why, for people.
    pub message: String,
    /// When, in seconds since 1970.
    pub at: u64,
    /// How often in a row.
    pub count: u32,
    /// When it is tried again; `None`: not before the release or siding is another one.
    pub again: Option<u64>,
    /// How many bytes must be free before, if that was why.
    pub needs: Option<u64>,
    /// The release and the siding that it is about.
    pub mark: String,
}

/// A switch under way, noted before it is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switching {
    /// Of which release.
    pub release: String,
    /// The images that come into use, by component.
    pub to: BTreeMap<String, String>,
    /// What must restart for that: the words of the images that are left and of those that come.
    #[serde(default)]
    pub words: Vec<String>,
    /// Whether only a restart of the device, or one that is asked for, brings it into use.
    #[serde(default)]
    pub waits: bool,
    /// Whether restarts follow the switch.
    #[serde(default)]
    pub restart: bool,
    /// Whether what must restart has been restarted.
    pub restarted: bool,
}

impl Switching {
    /// Which components come to another image.
    pub(crate) fn components(&self) -> Vec<Component> {
        self.to.keys().filter_map(|name| name.parse().ok()).collect()
    }
}

/// What waits for a restart of the device or of services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// In the patches' words.
    pub words: Vec<String>,
    /// The components that wait.
    pub components: BTreeSet<String>,
    /// The start of the device that it was noted in.
    pub boot: String,
}

/// A way back under way, noted before it is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    /// What must restart for it.
    pub words: Vec<String>,
    /// The images that are gone back to, by component.
    pub to: BTreeMap<String, String>,
    /// The start of the device that it was noted in.
    pub boot: String,
}

/// Numbers that only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Counted {
    /// Bytes of patches and images that were installed.
    pub fetched_bytes: u64,
    /// Bytes that these images have as a whole.
    pub full_bytes: u64,
    /// Images that were sealed.
    pub installs: u64,
    /// How long that took, from the first byte to the seal, in milliseconds.
    pub install_ms: u64,
    /// Installs that failed.
    pub failures: u64,
    /// Times that something was left because it did not work or was withdrawn.
    pub rollbacks: u64,
}

impl Memory {
    /// Reads it. One that makes no sense is put aside and forgotten: what was installed is not in it.
    pub fn load(store: &Path) -> io::Result<Self> {
        let path = path(store, STATE);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            other => other?,
        };
        Ok(serde_json::from_slice(&bytes).unwrap_or_else(|_| {
            let _ = fs::rename(&path, path.with_extension("bad"));
            Self::default()
        }))
    }

    /// Changes it, if `change` does; others that do so at the same time wait. Gives what is remembered then.
    ///
    /// Once this returned Ok, it survives a power cut; a cut before that leaves the old memory or the new.
    pub fn update(store: &Path, change: impl FnOnce(&mut Self)) -> io::Result<Self> {
        let _lock = lock(store)?;
        let old = Self::load(store)?;
        let mut new = old.clone();
        change(&mut new);
        if new != old {
            let mut bytes = serde_json::to_vec_pretty(&new).map_err(io::Error::other)?;
            bytes.push(b'\n');
            durable::replace(&path(store, STATE), &bytes)?;
        }
        Ok(new)
    }

    /// Remembers that a person removed these versions, or is about to: done before it is, so that a power cut between
    /// never lets them come back by themselves.
    pub fn removed_by_hand(store: &Path, removed: &[(Component, Version)], now: u64) -> io::Result<()> {
        let note = |memory: &mut Self| {
            for (component, version) in removed {
                let version = version.to_string();
                memory.removed.insert(component.to_string(), Removed { version, at: now });
            }
        };
        Self::update(store, note).map(drop)
    }

    /// The newest version of a component that a person did not want.
    pub(crate) fn unwanted(&self, component: &Component) -> Option<Version> {
        self.removed.get(component.as_str())?.version.parse().ok()
    }
}

/// Taken by whoever changes what is kept here. It must not be asked for by who has it.
pub(crate) fn lock(store: &Path) -> io::Result<Lock> {
    const PATIENCE: Duration = Duration::from_secs(10);
    durable::make_dir(&path(store, ""))?;
    let path = path(store, "state.lock");
    let busy = || {
        let what = format!("another process has held {} for {} s", path.display(), PATIENCE.as_secs());
        io::Error::new(ErrorKind::TimedOut, what)
    };
    Lock::take_within(&path, PATIENCE)?.ok_or_else(busy)
}

/// This device's name, made at random the first time. Once this returned Ok, it survives a power cut.
pub fn device_id(store: &Path) -> io::Result<DeviceId> {
    let path = path(store, "device-id");
    // One that makes no sense is none; one that cannot be read now is not given up for another.
    let read = || match fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => Ok(None),
        Err(error) => Err(error),
    };
    if let Some(id) = read()? {
        return Ok(id);
    }
    let _lock = lock(store)?;
    if let Some(id) = read()? {
        return Ok(id);
    }
    let mut random = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let name: String = Digest::of(&random).to_string().chars().take(32).collect();
    durable::replace(&path, format!("{name}\n").as_bytes())?;
    name.parse().map_err(io::Error::other)
}

/// Held by whoever works through a pass: one agent at a time. Let go of when dropped, and when the process ends.
#[derive(Debug)]
pub struct Turn(#[allow(dead_code, reason = "it is held, not read")] Lock);

impl Turn {
    /// Takes it, or says that another agent has it for longer than a moment (`None`).
    pub fn take(store: &Path) -> io::Result<Option<Self>> {
        const MOMENT: Duration = Duration::from_secs(1);
        durable::make_dir(&path(store, ""))?;
        Ok(Lock::take_within(&path(store, "lock"), MOMENT)?.map(Self))
    }
}

const STATE: &str = "state.json";

/// Where the agent keeps what is called so.
pub(crate) fn path(store: &Path, name: &str) -> PathBuf {
    let dir = store.join("agent");
    if name.is_empty() { dir } else { dir.join(name) }
}
