//! Opening a store: the lock, the record, and the repair of what an interruption left.

use super::{Freed, Store, project};
use crate::disk::{Disk, Lock};
use crate::layout::Layout;
use crate::log::{Log, Tail};
use crate::record::{self, Newest, Record};
use crate::snapshot::{Snapshot, Trouble};
use crate::state::{Held, Slot, State};
use crate::step::Event;
use crate::{Error, Result, checkpoint, codec};
use siding_image::Component;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

impl Store {
    pub(crate) fn create_on(disk: Arc<dyn Disk>, root: &Path) -> Result<Self> {
        make_root(disk.as_ref(), root)?;
        let layout = Layout::new(root);
        let lock = lock(disk.as_ref(), &layout)?;
        if !is_there(disk.as_ref(), &layout.record())? {
            make_store(disk.as_ref(), &layout)?;
        }
        Self::open_locked(disk, layout, lock)
    }

    pub(crate) fn open_on(disk: Arc<dyn Disk>, root: &Path) -> Result<Self> {
        let layout = Layout::new(root);
        require_record(disk.as_ref(), &layout)?;
        let lock = lock(disk.as_ref(), &layout)?;
        Self::open_locked(disk, layout, lock)
    }

    pub(crate) fn view_on(disk: Arc<dyn Disk>, root: &Path) -> Result<Snapshot> {
        let layout = Layout::new(root);
        require_record(disk.as_ref(), &layout)?;
        let newest = record::read(disk.as_ref(), &layout.record())?;
        let (state, tail) = decode(&layout, &newest)?;
        Ok(Snapshot { disk, layout, state, tail, troubles: Vec::new() })
    }

    fn open_locked(disk: Arc<dyn Disk>, layout: Layout, lock: Box<dyn Lock>) -> Result<Self> {
        let (record, newest) = Record::open(disk.as_ref(), &layout.record())?;
        if newest.sequence == record::FIRST {
            // The record's name may have survived a cut that those beside it did not.
            make_directories(disk.as_ref(), &layout)?;
            flush_names(disk.as_ref(), layout.root())?;
        }
        let (state, tail) = decode(&layout, &newest)?;
        let untold = tail.entries.clone();
        let mut snapshot = Snapshot { disk, layout, state, tail, troubles: Vec::new() };
        let log = snapshot.open_log();
        let behind = snapshot.state.components.keys().cloned().collect();
        let mut store = Self {
            snapshot,
            record,
            log,
            untold,
            behind,
            links_unflushed: false,
            links_unsure: true,
            uncleared: Vec::new(),
            unswept: false,
            poison: None,
            _lock: lock,
        };
        store.recover()?;
        Ok(store)
    }

    /// Makes everything agree with the record, and gives up stages that nobody is at any more and that left
    /// nothing to go on from.
    fn recover(&mut self) -> Result<()> {
        self.sweep()?;
        self.tell();
        let mut stale = Vec::new();
        for (component, held) in self.state.components() {
            let (disk, layout) = (self.disk.as_ref(), &self.layout);
            let staging = || Slot::PATCHED.into_iter().filter(|slot| *held.held(*slot) == Held::Staging);
            let path = |slot| layout.checkpoint(component, held.home(slot));
            let can_go_on = |slot| !checkpoint::read(disk, &path(slot)).is_empty();
            if staging().next().is_some() && !staging().any(can_go_on) {
                stale.push(Event::Abandon { component: component.clone() });
            }
        }
        // The one clock this crate reads, for one line of the log.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.commit(&stale, now).map(drop)
    }

    /// Removes directories of components that the record does not know, but for those that hold a whole base;
    /// counts what that frees, and names what went, what is left, and what could not go, which holds up no other.
    pub(super) fn remove_leftovers(&self, freed: &mut Freed) {
        let all = self.layout.components();
        let names = match self.disk.list(&all) {
            Ok(names) => names,
            Err(error) => return freed.failed.push(Error::io("list", &all, error)),
        };
        for name in names {
            let name = name.to_str().and_then(|name| name.parse::<Component>().ok());
            let Some(component) = name.filter(|name| self.state.get(name).is_none()) else { continue };
            if let Err(error) = self.remove_leftover(&component, freed) {
                freed.failed.push(error);
            }
        }
    }

    fn remove_leftover(&self, component: &Component, freed: &mut Freed) -> Result<()> {
        let dir = self.layout.component(component);
        if !project::whole_bases(self.disk.as_ref(), &self.layout, component)?.is_empty() {
            freed.kept.push(dir);
            return Ok(());
        }
        let bytes = project::disk_usage(self.disk.as_ref(), &dir)?;
        self.disk.remove_tree(&dir).map_err(|e| Error::io("clear", &dir, e))?;
        freed.bytes = freed.bytes.saturating_add(bytes);
        freed.removed.push(dir);
        Ok(())
    }
}

impl Snapshot {
    /// Opens the log, if it can be: without it the record carries what is to be told, as long as it has room.
    fn open_log(&mut self) -> Option<Log> {
        match Log::open(self.disk.as_ref(), &self.layout.log(), self.tail.after) {
            Ok(log) => {
                self.tail.after = log.sure();
                Some(log)
            }
            Err(error) => {
                self.no_log(&error);
                None
            }
        }
    }

    pub(super) fn no_log(&mut self, error: &Error) {
        self.troubles.push(Trouble { component: None, what: error.to_string() });
    }
}

pub(super) fn decode(layout: &Layout, newest: &Newest) -> Result<(State, Tail)> {
    let foreign = |bad| {
        let what = format!("its payload, number {}, is whole but not a state: {bad}", newest.sequence);
        Error::damaged(&layout.record(), what)
    };
    codec::decode(&newest.payload).map_err(foreign)
}

/// Whether there is a store; a directory of components without a record is one that lost it.
pub(super) fn require_record(disk: &dyn Disk, layout: &Layout) -> Result<()> {
    if is_there(disk, &layout.record())? {
        return Ok(());
    }
    no_components(disk, layout)?;
    Err(Error::NoStore { root: layout.root().to_owned() })
}

fn no_components(disk: &dyn Disk, layout: &Layout) -> Result<()> {
    match disk.list(&layout.components()).map(|names| names.is_empty()) {
        Ok(false) => Err(Error::damaged(&layout.record(), "it is gone, though the store holds components")),
        Ok(true) | Err(_) => Ok(()),
    }
}

/// Makes the directory and those above it that are missing. Says nothing about a power cut.
fn make_root(disk: &dyn Disk, root: &Path) -> Result<()> {
    let io = |e| Error::io("make the directory", root, e);
    let missing = root.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && disk.look(dir).is_err());
    let missing: Vec<&Path> = missing.collect();
    missing.iter().rev().try_for_each(|dir| disk.make_directory(dir, 0o755).map_err(io))
}

/// Once Ok: the names of the record and of the store's directory, and of those above it, survive a power cut.
///
/// Whoever made them may have died, or failed, before it flushed them all; so this is done again as long as the store
/// is as it was made. A directory above it that may not be read is somebody else's, and was there before.
fn flush_names(disk: &dyn Disk, root: &Path) -> Result<()> {
    let io = |dir: &Path, e| Error::io("flush", dir, e);
    disk.flush_directory(root).map_err(|e| io(root, e))?;
    for dir in root.ancestors().filter(|dir| dir.parent().is_some()).map(parent) {
        match disk.flush_directory(dir) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            other => other.map_err(|e| io(dir, e))?,
        }
    }
    Ok(())
}

fn is_there(disk: &dyn Disk, path: &Path) -> Result<bool> {
    disk.find(path).map(|seen| seen.is_some()).map_err(|e| Error::io("open", path, e))
}

fn parent(dir: &Path) -> &Path {
    dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes those directories of a store that are missing. Says nothing about a power cut.
fn make_directories(disk: &dyn Disk, layout: &Layout) -> Result<()> {
    for dir in [layout.components(), layout.links()] {
        if !is_there(disk, &dir)? {
            disk.make_directory(&dir, 0o755).map_err(|e| Error::io("make the directory", &dir, e))?;
        }
    }
    Ok(())
}

/// The record comes last; but its name may survive a cut alone, so opening looks after the rest.
fn make_store(disk: &dyn Disk, layout: &Layout) -> Result<()> {
    no_components(disk, layout)?;
    make_directories(disk, layout)?;
    Log::create(disk, &layout.log())?;
    Record::create(disk, &layout.record(), &codec::encode(&State::default(), &Tail::default()))
}

fn lock(disk: &dyn Disk, layout: &Layout) -> Result<Box<dyn Lock>> {
    let path = layout.lock();
    let lock = disk.lock(&path).map_err(|e| Error::io("take the lock", &path, e))?;
    lock.ok_or_else(|| Error::Busy { root: layout.root().to_owned() })
}
