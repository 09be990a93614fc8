//! Who stages gives way: a rollback, a confirm, a boot or a health check is not to wait for a download.
//!
//! ```text
//! the one who stages: holds lock.staging, looks at lock.wanted ─► lets go of the store, waits, goes on from its checkpoint
//! the other one:      the store is busy, and lock.staging is held ─► holds lock.wanted ─► has the store ─► lets go
//! ```
//!
//! Both are files of the store's directory that mean something only while they are locked; none of it needs to survive
//! a power cut.

use siding_lock::Lock;
use siding_slot::{Kind, Store};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long is waited for whoever has the store to let go of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Opens a store for a change that is not to wait for an install: one that is under way is asked to give way, and goes
/// on once this change is done.
///
/// Fails as [`Store::open`] does if nobody gives way: after a moment if whoever has the store never does, else after
/// 10 s.
pub fn open_at_once(store: &Path) -> siding_slot::Result<Store> {
    const MOMENT: Duration = Duration::from_millis(250);
    const POLL: Duration = Duration::from_millis(10);
    let begun = Instant::now();
    loop {
        match Store::open(store) {
            Err(error) if error.kind() == Kind::Busy && Lock::is_held(&staging(store)) => {
                // Without the note nobody gives way, and the wait may be in vain.
                let _wanted = Lock::take_within(&wanted(store), PATIENCE);
                return Store::open_patiently(store, PATIENCE);
            }
            // It has just been opened, and who did so may say next that he gives way.
            Err(error) if error.kind() == Kind::Busy && begun.elapsed() < MOMENT => std::thread::sleep(POLL),
            other => return other,
        }
    }
}

/// As [`open_at_once`], but waits for those too who do not give way.
pub fn open_soon(store: &Path) -> siding_slot::Result<Store> {
    match open_at_once(store) {
        Err(error) if error.kind() == Kind::Busy => Store::open_patiently(store, PATIENCE),
        other => other,
    }
}

/// Waits until nobody else wants the store, but not for ever; then opens it.
pub fn open_after(store: &Path) -> siding_slot::Result<Store> {
    drop(Lock::take_within(&wanted(store), PATIENCE));
    Store::open_patiently(store, PATIENCE)
}

fn staging(store: &Path) -> PathBuf {
    store.join("lock.staging")
}

fn wanted(store: &Path) -> PathBuf {
    store.join("lock.wanted")
}

/// Somebody stages, and gives way: as long as this lives.
#[derive(Debug)]
pub(crate) struct Noted(#[allow(dead_code, reason = "it is held, not read")] Lock);

impl Noted {
    /// For who has the store at `root`. Without the note nobody asks him.
    pub(crate) fn at(root: &Path) -> Option<Self> {
        Lock::take(&staging(root)).ok().flatten().map(Self)
    }

    /// Fails with [`GaveWay`] once somebody else wants the store at `root`.
    pub(crate) fn give_way(root: &Path) -> io::Result<()> {
        if Lock::is_held(&wanted(root)) { Err(io::Error::other(GaveWay)) } else { Ok(()) }
    }
}

/// An install let go of the store because somebody else wanted it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GaveWay;

impl fmt::Display for GaveWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another process wanted the store")
    }
}

impl std::error::Error for GaveWay {}

/// Whether an install ended because it gave way.
pub(crate) fn gave_way(error: &siding_apply::Error) -> bool {
    let siding_apply::Error::Sink { source, .. } = error else { return false };
    let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<GaveWay>());
    inner.is_some()
}
