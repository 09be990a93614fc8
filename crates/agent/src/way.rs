//! Who stages gives way: a rollback, a confirm, a boot or a health check is not to wait for a download.
//!
//! ```text
//! the one who stages: holds lock.staging, looks at lock.wanted ─► lets go of the store, waits, goes on from its checkpoint
//! the other one:      the store is busy, and lock.staging is held ─► holds lock.wanted ─► has the store ─► lets go
//! ```
//!
//! Both are files of the store's directory that mean something only while they are locked; none of it needs to survive
//! a power cut.

use crate::durable;
use rustix::fs::{FlockOperation, flock};

use siding_image::{Checkpoint, Content, FileRef, Sink};
use siding_slot::{Kind, Store};
use std::fmt;
use std::fs::File;
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
            Err(error) if error.kind() == Kind::Busy && is_held(&staging(store)) => {
                // Without the note nobody gives way, and the wait may be in vain.
                let _wanted = durable::lock(&wanted(store), PATIENCE);
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
    drop(durable::lock(&wanted(store), PATIENCE));
    Store::open_patiently(store, PATIENCE)
}

fn staging(store: &Path) -> PathBuf {
    store.join("lock.staging")
}

fn wanted(store: &Path) -> PathBuf {
    store.join("lock.wanted")
}

/// Whether somebody has a lock; one that cannot be looked at is nobody's.
fn is_held(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| {
        matches!(flock(&file, FlockOperation::NonBlockingLockShared), Err(rustix::io::Errno::WOULDBLOCK))
    })
}

/// Somebody stages, and gives way: as long as this lives.
#[derive(Debug)]
pub(crate) struct Noted(#[allow(dead_code, reason = "it is held, not read")] File);

impl Noted {
    /// For who has the store at `root`. Without the note nobody asks him.
    pub(crate) fn at(root: &Path) -> Option<Self> {
        durable::lock(&staging(root), Duration::ZERO).ok().flatten().map(Self)
    }
}

/// A sink whose writes fail with [`GaveWay`] once somebody else wants the store.
#[derive(Debug)]
pub(crate) struct Yielding<S> {
    sink: S,
    /// Who wants the store says so here; `None` if this does not give way.
    wanted: Option<PathBuf>,
    /// How much is written between two looks.
    piece: usize,
}

impl<S> Yielding<S> {
    /// Gives way for the store at `root` if this is noted. A sink that writes only so many bytes a second gets a quarter of
    /// these at once, so that nobody waits for long.
    pub(crate) fn new(sink: S, root: &Path, noted: Option<&Noted>, rate: Option<u64>) -> Self {
        let piece = rate.map_or(usize::MAX, |rate| usize::try_from(rate / 4).unwrap_or(usize::MAX));
        Self { sink, wanted: noted.map(|_| wanted(root)), piece: piece.max(4096) }
    }

    fn is_wanted(&self) -> bool {
        self.wanted.as_deref().is_some_and(is_held)
    }
}

impl<S: Sink> Sink for Yielding<S> {
    fn begin(&mut self, target: &Content, fresh: &[FileRef]) -> io::Result<()> {
        self.sink.begin(target, fresh)
    }

    fn write_at(&mut self, blob: usize, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut at = offset;
        for piece in bytes.chunks(self.piece) {
            if self.is_wanted() {
                return Err(io::Error::other(GaveWay));
            }
            self.sink.write_at(blob, at, piece)?;
            at = at.saturating_add(piece.len() as u64);
        }
        Ok(())
    }

    fn read_at(&mut self, blob: usize, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.sink.read_at(blob, offset, out)
    }

    fn checkpoints(&mut self) -> Vec<Checkpoint> {
        self.sink.checkpoints()
    }

    fn forget_from(&mut self, blob: usize, offset: u64) -> io::Result<()> {
        self.sink.forget_from(blob, offset)
    }

    fn checkpoint(&mut self, done: &Checkpoint) -> io::Result<()> {
        self.sink.checkpoint(done)
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
