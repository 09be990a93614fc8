//! A simulated machine: what its cache shows, what its medium has, and what is between the two.

use super::content::Content;
use super::fault::{Fault, Faults, power_off};
use super::pending::{Op, names_to_flush};
use super::world::{Body, Id, Inode, Meta, Place, World};
use crate::disk::Room;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub(super) struct Machine {
    /// What all verbs see.
    pub(super) cache: World,
    /// What a power cut leaves at least.
    pub(super) medium: World,
    /// What was done since, in order, and may be on the medium or not.
    pub(super) pending: Arc<Vec<Arc<Op>>>,
    /// Files of which the cache shows what is neither on the medium nor pending.
    strayed: BTreeSet<Id>,
    /// Files that are locked.
    pub(super) held: BTreeSet<Id>,
    pub(super) unreadable: Vec<(Id, Range<u64>)>,
    pub(super) room: Room,
    pub(super) faults: Faults,
    pub(super) is_off: bool,
    pub(super) operations: u64,
    pub(super) reads: u64,
    /// Seconds since 1970; one goes by with each operation.
    clock: i64,
    /// The machine as it was before each operation, if that is asked for.
    pub(super) moments: Option<Vec<Machine>>,
}

/// When the clock of a new machine begins: later than any time that a test sets.
pub(super) const BEGINNING: i64 = 1 << 33;

impl Machine {
    pub(super) fn new() -> Self {
        Self::with(World::new(meta(0o755, BEGINNING)), BEGINNING)
    }

    fn with(world: World, clock: i64) -> Self {
        Self {
            cache: world.clone(),
            medium: world,
            pending: Arc::default(),
            strayed: BTreeSet::new(),
            held: BTreeSet::new(),
            unreadable: Vec::new(),
            room: Room { free: u64::MAX, shares_blocks: false },
            faults: Faults::default(),
            is_off: false,
            operations: 0,
            reads: 0,
            clock,
            moments: None,
        }
    }

    /// The machine with power again, and this on its medium. Nothing of it is open and nothing planned.
    pub(super) fn after(&self, mut medium: World) -> Self {
        medium.sweep();
        let unreadable = self.unreadable.clone();
        Self { unreadable, room: self.room, ..Self::with(medium, self.clock) }
    }

    /// Another machine like this one. What is open and locked is so on this one.
    pub(super) fn twin(&self) -> Self {
        Self {
            cache: self.cache.clone(),
            medium: self.medium.clone(),
            pending: self.pending.clone(),
            strayed: self.strayed.clone(),
            held: BTreeSet::new(),
            unreadable: self.unreadable.clone(),
            faults: self.faults.clone(),
            moments: None,
            ..*self
        }
    }

    /// Whether all that is pending here still is there, a while later.
    pub(super) fn goes_on_in(&self, later: &Self) -> bool {
        let is_same = |(a, b): (&Arc<Op>, &Arc<Op>)| Arc::ptr_eq(a, b);
        self.pending.len() <= later.pending.len() && self.pending.iter().zip(&*later.pending).all(is_same)
    }

    // ---- operations and their faults

    /// Counts an operation and does it, unless something else is planned. What is done is told of the faults that
    /// it has to see to itself.
    pub(super) fn operation<T>(
        &mut self,
        act: impl FnOnce(&mut Self, Option<Fault>) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.is_off {
            return Err(power_off());
        }
        if let Some(mut moments) = self.moments.take() {
            moments.push(self.twin());
            self.moments = Some(moments);
        }
        self.operations += 1;
        self.clock += 1;
        match self.faults.at(self.operations) {
            Some(Fault::Cut { inside }) => {
                if inside {
                    // Whatever it says, nobody hears it.
                    let _ = act(self, Some(Fault::Cut { inside }));
                }
                self.is_off = true;
                Err(power_off())
            }
            Some(Fault::Fail(errno)) => Err(errno.into()),
            fault => act(self, fault),
        }
    }

    /// Counts a reading.
    pub(super) fn reading(&mut self) -> io::Result<&mut Self> {
        if self.is_off {
            return Err(power_off());
        }
        self.reads += 1;
        Ok(self)
    }

    // ---- changes

    pub(super) fn now(&self) -> i64 {
        self.clock
    }

    pub(super) fn push(&mut self, op: Op) {
        op.apply(&mut self.cache);
        Arc::make_mut(&mut self.pending).push(Arc::new(op));
    }

    /// Makes something that is new.
    pub(super) fn create(&mut self, place: Place, body: Body, mode: u32) -> Id {
        let (id, time) = (self.cache.next(), self.now());
        let inode = Arc::new(Inode::new(body, meta(mode, time)));
        self.cache.bear(id, inode.clone());
        self.medium.bear(id, inode);
        self.push(Op::Add { place, id, time });
        id
    }

    /// Writes, as much as a fault lets through.
    pub(super) fn write(
        &mut self,
        id: Id,
        offset: u64,
        bytes: &[u8],
        fault: Option<Fault>,
    ) -> io::Result<()> {
        let (bytes, error) = match fault {
            Some(Fault::ShortWrite(len, error)) => (&bytes[..len.min(bytes.len())], Some(error)),
            _ => (bytes, None),
        };
        let len = self.content(id)?.len();
        let end = offset.checked_add(bytes.len() as u64).filter(|end| i64::try_from(*end).is_ok());
        let (end, time) = (end.ok_or(Errno::FBIG)?, self.now());
        if !bytes.is_empty() {
            if end > len {
                self.push(Op::Grow { id, len: end, time });
            }
            self.push(Op::Write { id, offset, bytes: bytes.into(), time });
        }
        error.map_or(Ok(()), |error| Err(error.into()))
    }

    // ---- flushes

    /// Brings a file to the medium: its bytes and length, and its attributes unless only data is asked for.
    pub(super) fn flush_file(&mut self, id: Id, data_only: bool, fault: Option<Fault>) -> io::Result<()> {
        match fault {
            Some(Fault::FlushFails) => return self.lose_writes(|of| of == id),
            Some(Fault::FlushLies | Fault::Cut { .. }) => return Ok(()),
            Some(Fault::ShortWrite(_, error)) => return Err(error.into()),
            _ => {}
        }
        self.settle(|_, op| op.data_of() == Some(id) || !data_only && op.attribute_of() == Some(id));
        Ok(())
    }

    /// Brings a directory to the medium: what was named, moved and removed in it, and its attributes.
    pub(super) fn flush_directory(&mut self, id: Id, fault: Option<Fault>) -> io::Result<()> {
        match fault {
            Some(Fault::FlushFails) => return Err(Errno::IO.into()),
            Some(Fault::FlushLies | Fault::Cut { .. }) => return Ok(()),
            Some(Fault::ShortWrite(_, error)) => return Err(error.into()),
            _ => {}
        }
        let names = names_to_flush(&self.pending, id, &self.cache);
        self.settle(|index, op| names.contains(&index) || op.attribute_of() == Some(id));
        Ok(())
    }

    /// Brings everything to the medium.
    pub(super) fn flush_filesystem(&mut self, fault: Option<Fault>) -> io::Result<()> {
        match fault {
            Some(Fault::FlushFails) => return self.lose_writes(|_| true),
            Some(Fault::FlushLies | Fault::Cut { .. }) => return Ok(()),
            Some(Fault::ShortWrite(_, error)) => return Err(error.into()),
            _ => {}
        }
        self.settle(|_, _| true);
        Ok(())
    }

    /// Lets some pending operations reach the medium. Of a file they are all that change its bytes, or none.
    fn settle(&mut self, reaches: impl Fn(usize, &Op) -> bool) {
        let (mut kept, mut files) = (Vec::new(), BTreeSet::new());
        for (index, op) in std::mem::take(&mut self.pending).iter().enumerate() {
            if !reaches(index, op) {
                kept.push(op.clone());
                continue;
            }
            match op.data_of().filter(|id| !self.strayed.contains(id)) {
                // The cache has just what the medium comes to have; shared, it is hashed once.
                Some(id) => {
                    op.touch(&mut self.medium);
                    files.insert(id);
                }
                None => op.apply(&mut self.medium),
            }
        }
        for id in files {
            if let (Some(inode), Some(content)) = (self.medium.change(id), self.cache.content(id)) {
                inode.body = Body::File(content.clone());
            }
        }
        self.pending = Arc::new(kept);
    }

    /// A failed flush: writes to these files never reach the medium, but lengths and names may.
    fn lose_writes(&mut self, of: impl Fn(Id) -> bool) -> io::Result<()> {
        let lost = |op: &Op| op.data_of().filter(|id| op.is_write() && of(*id));
        self.strayed.extend(self.pending.iter().filter_map(|op| lost(op)));
        Arc::make_mut(&mut self.pending).retain(|op| lost(op).is_none());
        Err(Errno::IO.into())
    }

    /// Shows what the medium has of a file, with what is still to be written.
    pub(super) fn forget_cache(&mut self, id: Id) -> io::Result<()> {
        if !self.strayed.remove(&id) {
            return Ok(());
        }
        let (len, content) = (self.content(id)?.len(), self.medium.content(id).cloned());
        if let (Some(inode), Some(content)) = (self.cache.change(id), content) {
            inode.body = Body::File(content);
        }
        self.pending.iter().filter(|op| op.data_of() == Some(id)).for_each(|op| op.apply(&mut self.cache));
        if let Some(content) = self.cache.change(id).and_then(Inode::content_mut) {
            content.set_len(len);
        }
        Ok(())
    }

    /// Flips bits on the medium. The cache goes on to show what it has.
    pub(super) fn rot(&mut self, id: Id, offset: u64, mask: u8) {
        self.strayed.insert(id);
        if let Some(content) = self.medium.change(id).and_then(Inode::content_mut) {
            content.flip(offset, mask);
        }
    }

    // ---- reading

    pub(super) fn content(&self, id: Id) -> io::Result<&Arc<Content>> {
        self.cache.content(id).ok_or_else(|| Errno::ISDIR.into())
    }

    pub(super) fn is_device(&self, id: Id) -> bool {
        self.cache.get(id).is_some_and(Inode::is_device)
    }

    pub(super) fn read(&self, id: Id, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let content = self.content(id)?;
        self.readable(id, offset..offset.saturating_add(out.len() as u64))?;
        content.read(offset, out).ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "past the end"))
    }

    /// Whether the medium gives these bytes.
    pub(super) fn readable(&self, id: Id, range: Range<u64>) -> io::Result<()> {
        let is_in = |bad: &Range<u64>| bad.start < range.end && range.start < bad.end;
        match self.unreadable.iter().any(|(of, bad)| *of == id && is_in(bad)) {
            true => Err(Errno::IO.into()),
            false => Ok(()),
        }
    }
}

/// What something new has: the owner is whoever runs the test.
fn meta(mode: u32, time: i64) -> Meta {
    let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Meta { mode: mode & 0o7777, owner, modified: (time, 0), xattrs: Default::default() }
}
