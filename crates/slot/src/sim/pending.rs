//! What was done and not flushed, and how much of it a power cut lets through.

use super::choice::{Choice, Torn};
use super::content::SECTOR;
use super::random::Random;
use super::world::{Id, Inode, Place, ROOT, World};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

/// One thing done. It reaches the medium whole or not at all, but for a write, of which each sector does.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Write {
        id: Id,
        offset: u64,
        bytes: Arc<[u8]>,
        time: i64,
    },
    /// A write went past the end. Never makes a file shorter.
    Grow {
        id: Id,
        len: u64,
        time: i64,
    },
    SetLen {
        id: Id,
        len: u64,
        time: i64,
    },
    Set {
        id: Id,
        change: Change,
        time: i64,
    },
    Add {
        place: Place,
        id: Id,
        time: i64,
    },
    Remove {
        place: Place,
        id: Id,
        time: i64,
    },
    Rename {
        from: Place,
        to: Place,
        id: Id,
        replaced: Option<Id>,
        time: i64,
    },
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Mode(u32),
    /// Takes set-uid, set-gid and file capabilities away, except from a directory, as Linux does.
    Owner(u32, u32),
    Xattr(Vec<u8>, Vec<u8>),
    NoXattr(Vec<u8>),
    Modified(i64, u32),
}

impl Op {
    /// In how many parts it may reach the medium.
    pub(super) fn units(&self) -> usize {
        match self {
            Self::Write { offset, bytes, .. } => {
                let end = offset + bytes.len() as u64;
                (end.div_ceil(SECTOR) - offset / SECTOR) as usize
            }
            _ => 1,
        }
    }

    pub(super) fn is_write(&self) -> bool {
        matches!(self, Self::Write { .. })
    }

    /// The file whose bytes or length this is about.
    pub(super) fn data_of(&self) -> Option<Id> {
        match self {
            Self::Write { id, .. } | Self::Grow { id, .. } | Self::SetLen { id, .. } => Some(*id),
            _ => None,
        }
    }

    /// What an attribute of changes.
    pub(super) fn attribute_of(&self) -> Option<Id> {
        match self {
            Self::Set { id, .. } => Some(*id),
            _ => None,
        }
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        let places = match self {
            Self::Add { place, .. } | Self::Remove { place, .. } => [Some(place), None],
            Self::Rename { from, to, .. } => [Some(from), Some(to)],
            _ => [None, None],
        };
        places.into_iter().flatten()
    }

    /// What gets a name by this.
    fn names(&self) -> Option<Id> {
        match self {
            Self::Add { id, .. } | Self::Rename { id, .. } => Some(*id),
            _ => None,
        }
    }

    /// Does all of it, in a world that has all that went before.
    pub(super) fn apply(&self, world: &mut World) {
        match self {
            Self::Write { id, offset, bytes, time } => write(world, *id, *offset, bytes, *time),
            Self::Rename { from, to, id, time, .. } => rename(world, from, to, *id, *time),
            _ => self.apply_unit(world, 0, None),
        }
    }

    /// Does to the time of a file what this does, and not the rest.
    pub(super) fn touch(&self, world: &mut World) {
        let (Self::Write { id, time, .. } | Self::Grow { id, time, .. } | Self::SetLen { id, time, .. }) =
            self
        else {
            return;
        };
        if let Some(inode) = world.change(*id) {
            inode.touch(*time, (*time, 0));
        }
    }

    /// Does what of it reached the medium; `first` is the number of its first unit.
    pub(super) fn apply_chosen(&self, world: &mut World, first: usize, choice: &Choice) {
        let torn = choice.torn.filter(|torn| (first..first + self.units()).contains(&torn.unit));
        match (self, torn) {
            (Self::Write { id, offset, bytes, time }, None) => {
                for units in choice.runs(first..first + self.units()) {
                    let from = sector(*offset, bytes.len(), units.start - first).start;
                    let to = sector(*offset, bytes.len(), units.end - 1 - first).end;
                    write(world, *id, offset + from as u64, &bytes[from..to], *time);
                }
            }
            _ => {
                for unit in first..first + self.units() {
                    let torn = torn.filter(|torn| torn.unit == unit);
                    if torn.is_some() || choice.has(unit) {
                        self.apply_unit(world, unit - first, torn);
                    }
                }
            }
        }
    }

    /// Does one unit of it, if it makes sense in this world.
    fn apply_unit(&self, world: &mut World, unit: usize, torn: Option<Torn>) {
        match self {
            Self::Write { id, offset, bytes, time } => {
                let range = sector(*offset, bytes.len(), unit);
                let at = offset + range.start as u64;
                match torn {
                    None => write(world, *id, at, &bytes[range], *time),
                    Some(torn) => write_torn(world, *id, at, &bytes[range], *time, torn),
                }
            }
            Self::Grow { id, len, time } => {
                let len = world.content(*id).map_or(0, |content| content.len()).max(*len);
                set_len(world, *id, len, *time);
            }
            Self::SetLen { id, len, time } => set_len(world, *id, *len, *time),
            Self::Set { id, change, time } => {
                if let Some(inode) = world.change(*id) {
                    change.apply(inode, *time);
                }
            }
            Self::Add { place, id, time } => {
                if world.at(place).is_none() {
                    world.name(place, Some(*id), *time);
                }
            }
            Self::Remove { place, id, time } => {
                if world.at(place) == Some(*id) {
                    world.name(place, None, *time);
                }
            }
            Self::Rename { from, to, id, replaced, time } => {
                if can_rename(world, from, to, *id, *replaced) {
                    rename(world, from, to, *id, *time);
                }
            }
        }
    }
}

impl Op {
    /// What it is, in words.
    pub(super) fn tell(&self, world: &World) -> String {
        let path = |id: &Id| world.path(*id);
        let place = |place: &Place| format!("{}/{}", path(&place.dir), place.name.display());
        match self {
            Self::Write { id, offset, bytes, .. } => {
                format!("write {} from {offset}, {} bytes", path(id), bytes.len())
            }
            Self::Grow { id, len, .. } => format!("grow {} to {len}", path(id)),
            Self::SetLen { id, len, .. } => format!("set the length of {} to {len}", path(id)),
            Self::Set { id, change, .. } => format!("set {} of {}", change.tell(), path(id)),
            Self::Add { place: at, id, .. } => format!("name {} inode {id}", place(at)),
            Self::Remove { place: at, id, .. } => format!("remove {}, inode {id}", place(at)),
            Self::Rename { from, to, id, .. } => {
                format!("rename {} to {}, inode {id}", place(from), place(to))
            }
        }
    }
}

/// The part of a write that goes to its sector number `unit`.
fn sector(offset: u64, len: usize, unit: usize) -> Range<usize> {
    let start = (offset / SECTOR + unit as u64) * SECTOR;
    let from = start.saturating_sub(offset) as usize;
    from..((start + SECTOR - offset) as usize).min(len)
}

fn write(world: &mut World, id: Id, offset: u64, bytes: &[u8], time: i64) {
    let Some(inode) = world.change(id) else { return };
    inode.touch(time, (time, 0));
    if let Some(content) = inode.content_mut() {
        content.write(offset, bytes);
    }
}

/// The first bytes of a sector are new; the others are what they were, or nothing anybody wrote.
fn write_torn(world: &mut World, id: Id, offset: u64, bytes: &[u8], time: i64, torn: Torn) {
    let (landed, lost) = bytes.split_at(torn.bytes.min(bytes.len()));
    write(world, id, offset, landed, time);
    if torn.garbage {
        let mut random = Random::new(offset ^ torn.bytes as u64);
        let garbage: Vec<u8> = lost.iter().map(|_| random.next() as u8).collect();
        write(world, id, offset + landed.len() as u64, &garbage, time);
    }
}

fn set_len(world: &mut World, id: Id, len: u64, time: i64) {
    let Some(inode) = world.change(id) else { return };
    inode.touch(time, (time, 0));
    if let Some(content) = inode.content_mut() {
        content.set_len(len);
    }
}

fn rename(world: &mut World, from: &Place, to: &Place, id: Id, time: i64) {
    world.name(from, None, time);
    world.name(to, Some(id), time);
}

/// Whether a rename makes sense where what went before it may be missing: nothing may vanish by it, so the new name
/// must be one that can be seen, and no directory goes into itself.
fn can_rename(world: &World, from: &Place, to: &Place, id: Id, replaced: Option<Id>) -> bool {
    let there = world.at(to);
    let is_possible = world.at(from) == Some(id) && (there.is_none() || there == replaced);
    is_possible && (from.dir == to.dir || world.is_within(ROOT, to.dir) && !world.is_within(id, to.dir))
}

impl Change {
    fn tell(&self) -> String {
        match self {
            Self::Mode(mode) => format!("mode {mode:04o}"),
            Self::Owner(user, group) => format!("owner {user}:{group}"),
            Self::Xattr(name, value) => format!("{}={}", name.escape_ascii(), value.escape_ascii()),
            Self::NoXattr(name) => format!("no {}", name.escape_ascii()),
            Self::Modified(seconds, nanoseconds) => format!("time {seconds}.{nanoseconds:09}"),
        }
    }

    fn apply(&self, inode: &mut Inode, time: i64) {
        let is_directory = inode.is_directory();
        let meta = &mut inode.meta;
        match self {
            Self::Mode(mode) => meta.mode = *mode,
            Self::Owner(user, group) => {
                meta.owner = (*user, *group);
                if !is_directory {
                    meta.xattrs.remove(b"security.capability".as_slice());
                    let set_gid = if meta.mode & 0o010 != 0 { 0o2000 } else { 0 };
                    meta.mode &= !(0o4000 | set_gid);
                }
            }
            Self::Xattr(name, value) => drop(meta.xattrs.insert(name.clone(), value.clone())),
            Self::NoXattr(name) => drop(meta.xattrs.remove(name)),
            Self::Modified(seconds, nanoseconds) => inode.touch(time, (*seconds, *nanoseconds)),
        }
    }
}

/// Which operations a flush of the directory `dir` brings to the medium: those on its names, and with each one
/// all before it on the same names. With a move from one directory to another come all names that directories
/// got before it, lest what is moved vanish with a directory that nobody can find.
pub(super) fn names_to_flush(pending: &[Arc<Op>], dir: Id, cache: &World) -> BTreeSet<usize> {
    let (mut taken, mut places, mut with_directories) = (BTreeSet::new(), BTreeSet::new(), false);
    for (index, op) in pending.iter().enumerate().rev() {
        let of_directory = with_directories && op.names().is_some_and(|id| cache.entries(id).is_some());
        if of_directory || op.places().any(|place| place.dir == dir || places.contains(place)) {
            taken.insert(index);
            places.extend(op.places().cloned());
            with_directories |= matches!(&**op, Op::Rename { from, to, .. } if from.dir != to.dir);
        }
    }
    taken
}
