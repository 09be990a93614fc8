//! Opening a store: the lock, the record, and the repair of what an interruption left.

use super::{Store, project};
use crate::disk::Disk;
use crate::layout::Layout;
use crate::log::{Log, LogEntry};
use crate::record::{Newest, Record};
use crate::snapshot::Snapshot;
use crate::state::{Held, Slot, State};
use crate::step::Event;
use crate::{Error, Result, checkpoint, codec};
use rustix::fs::{FlockOperation, OFlags, flock};
use siding_image::Component;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

impl Store {
    pub(crate) fn create_on(disk: Arc<dyn Disk>, root: &Path) -> Result<Self> {
        make_root(disk.as_ref(), root)?;
        let layout = Layout::new(root);
        let lock = lock(&layout)?;
        if !layout.record().exists() {
            make_store(disk.as_ref(), &layout)?;
        }
        Self::open_locked(disk, layout, lock)
    }

    pub(crate) fn open_on(disk: Arc<dyn Disk>, root: &Path) -> Result<Self> {
        let layout = Layout::new(root);
        require_record(&layout)?;
        let lock = lock(&layout)?;
        Self::open_locked(disk, layout, lock)
    }

    fn open_locked(disk: Arc<dyn Disk>, layout: Layout, lock: Lock) -> Result<Self> {
        let (record, newest) = Record::open(disk.as_ref(), &layout.record())?;
        let (state, entries) = decode(&layout, &newest)?;
        let (log, told) = Log::open(disk.as_ref(), &layout.log(), newest.sequence)?;
        let untold = vec![(newest.sequence, entries.get(told..).unwrap_or_default().to_vec())];
        let behind = state.components.keys().cloned().collect();
        let snapshot = Snapshot { layout, state };
        let mut store = Self {
            snapshot,
            disk,
            record,
            log,
            untold,
            behind,
            uncleared: Vec::new(),
            poison: None,
            _lock: lock,
        };
        store.recover()?;
        Ok(store)
    }

    /// Makes everything agree with the record, and gives up stages that nobody is at any more and that left
    /// nothing to go on from.
    fn recover(&mut self) -> Result<()> {
        self.link()?;
        let (mut stale, mut empty) = (Vec::new(), Vec::new());
        for (component, held) in self.state.components() {
            let (disk, layout) = (self.disk.as_ref(), &self.layout);
            let in_state =
                |wanted: Held| Slot::PATCHED.into_iter().filter(move |slot| *held.held(*slot) == wanted);
            empty.extend(in_state(Held::Empty).map(|slot| (component.clone(), slot)));
            let can_go_on = |slot| !checkpoint::read(disk, &layout.checkpoint(component, slot)).is_empty();
            if in_state(Held::Staging).next().is_some() && !in_state(Held::Staging).any(can_go_on) {
                stale.push(Event::Abandon { component: component.clone() });
            }
        }
        self.clear(empty);
        self.link()?;
        self.tell()?;
        // The one clock this crate reads, for one line of the log.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.commit(&stale, now).map(drop)
    }

    /// Removes directories of components that the record does not know, but for those that hold a whole base;
    /// counts what that frees, and names what is left.
    pub(super) fn remove_leftovers(&self) -> Result<(u64, Vec<PathBuf>)> {
        let all = self.layout.components();
        let io = |e| Error::io("list", &all, e);
        let (mut bytes, mut kept) = (0_u64, Vec::new());
        for item in fs::read_dir(&all).map_err(io)? {
            let item = item.map_err(io)?;
            let name = item.file_name().to_str().and_then(|name| name.parse::<Component>().ok());
            let Some(component) = name.filter(|name| self.state.get(name).is_none()) else { continue };
            let dir = self.layout.component(&component);
            if project::is_frozen(&self.layout.slot(&component, Slot::Base)) {
                kept.push(dir);
                continue;
            }
            bytes = bytes.saturating_add(project::disk_usage(&dir)?);
            self.disk.remove_tree(&dir).map_err(|e| Error::io("clear", &dir, e))?;
        }
        Ok((bytes, kept))
    }
}

pub(super) fn decode(layout: &Layout, newest: &Newest) -> Result<(State, Vec<LogEntry>)> {
    let foreign = |bad| {
        let what = format!("its payload, number {}, is whole but not a state: {bad}", newest.sequence);
        Error::damaged(&layout.record(), what)
    };
    codec::decode(&newest.payload).map_err(foreign)
}

/// Whether there is a store; a directory of components without a record is one that lost it.
pub(super) fn require_record(layout: &Layout) -> Result<()> {
    let record = layout.record();
    match fs::symlink_metadata(&record) {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            no_components(layout)?;
            Err(Error::NoStore { root: layout.root().to_owned() })
        }
        Err(error) => Err(Error::io("open", &record, error)),
    }
}

fn no_components(layout: &Layout) -> Result<()> {
    match fs::read_dir(layout.components()).map(|mut list| list.next().is_some()) {
        Ok(true) => Err(Error::damaged(&layout.record(), "it is gone, though the store holds components")),
        Ok(false) | Err(_) => Ok(()),
    }
}

/// Makes the directory and those above it that are missing. Once Ok, the names of all it made, and the
/// directory's own whoever made it, survive a power cut.
fn make_root(disk: &dyn Disk, root: &Path) -> Result<()> {
    if root.join("record").exists() {
        return Ok(());
    }
    let io = |e| Error::io("make the directory", root, e);
    let missing: Vec<&Path> = root.ancestors().take_while(|dir| !is_there(dir)).collect();
    for dir in missing.iter().rev() {
        disk.make_directory(dir, 0o755).map_err(io)?;
    }
    let first = std::iter::once(&root).filter(|_| missing.is_empty());
    first.chain(&missing).try_for_each(|dir| disk.flush_directory(parent(dir)).map_err(io))
}

fn is_there(dir: &Path) -> bool {
    dir.as_os_str().is_empty() || dir.exists()
}

fn parent(dir: &Path) -> &Path {
    dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The record comes last: with it, the rest is there.
fn make_store(disk: &dyn Disk, layout: &Layout) -> Result<()> {
    no_components(layout)?;
    let components = layout.components();
    if !components.exists() {
        disk.make_directory(&components, 0o755)
            .map_err(|e| Error::io("make the directory", &components, e))?;
    }
    Log::open(disk, &layout.log(), 0)?;
    Record::create(disk, &layout.record(), &codec::encode(&State::default(), &[]))
}

/// A lock can be taken through a descriptor that only reads, so that who may read the file may hold up a fall back.
fn tighten(file: &File) -> io::Result<()> {
    if file.metadata()?.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    match file.set_permissions(Permissions::from_mode(0o600)) {
        // Somebody else's store, opened to him by its modes.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

/// The store's lock, held until dropped.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    /// Lets go at once. Closing alone would not: a process that this one is just starting holds a copy of the
    /// descriptor until it runs its program.
    fn drop(&mut self) {
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

fn lock(layout: &Layout) -> Result<Lock> {
    let path = layout.lock();
    let mut options = OpenOptions::new();
    let no_follow = OFlags::NOFOLLOW.bits().cast_signed();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(no_follow);
    let file = options.open(&path).and_then(|file| tighten(&file).map(|()| file));
    let file = file.map_err(|e| Error::io("open the lock", &path, e))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Busy { root: layout.root().to_owned() }),
        Err(error) => Err(Error::io("lock", &path, error.into())),
    }
}
