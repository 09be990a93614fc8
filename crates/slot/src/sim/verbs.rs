//! What the verbs do to a machine, with the errors that Linux gives.

use super::fault::Fault;
use super::machine::Machine;
use super::pending::{Change, Op};
use super::world::{Body, Id, Place, ROOT};
use crate::disk::{Access, Attribute, written_parts};
use rustix::io::Errno;
use std::io;
use std::path::Path;
use std::sync::Arc;

impl Machine {
    /// The place for something new.
    pub(super) fn free(&self, path: &Path) -> Result<Place, Errno> {
        let place = self.cache.place(path)?.ok_or(Errno::EXIST)?;
        if self.cache.at(&place).is_some() { Err(Errno::EXIST) } else { Ok(place) }
    }

    pub(super) fn open(&mut self, path: &Path, access: Access) -> io::Result<Id> {
        let found = match (self.cache.find(path), access) {
            (Err(Errno::NOENT), Access::New(mode)) => {
                let place = self.free(path)?;
                return Ok(self.create(place, Body::File(Arc::default()), mode));
            }
            (Err(Errno::NOENT), Access::Log) => {
                let place = self.free(path)?;
                return Ok(self.create(place, Body::File(Arc::default()), 0o644));
            }
            (Ok(_), Access::New(_)) => return Err(Errno::EXIST.into()),
            (found, _) => found?,
        };
        match (self.cache.get(found).map(|inode| &inode.body), access) {
            (Some(Body::Directory(_)), Access::Read | Access::Directory) => Ok(found),
            (Some(Body::Directory(_)), _) => Err(Errno::ISDIR.into()),
            (_, Access::Directory) => Err(Errno::NOTDIR.into()),
            (Some(Body::Symlink(_)), _) => Err(Errno::LOOP.into()),
            (Some(Body::File(_)), _) => Ok(found),
            (None, _) => Err(Errno::IO.into()),
        }
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let from = self.cache.place(from)?.ok_or(Errno::BUSY)?;
        let to = self.cache.place(to)?.ok_or(Errno::BUSY)?;
        let id = self.cache.at(&from).ok_or(Errno::NOENT)?;
        let replaced = self.cache.at(&to);
        if replaced == Some(id) {
            return Ok(());
        }
        let is_directory = self.cache.entries(id).is_some();
        if is_directory && self.cache.is_within(id, to.dir) {
            return Err(Errno::INVAL.into());
        }
        match replaced.map(|replaced| (self.cache.entries(replaced), is_directory)) {
            Some((Some(entries), true)) if entries.is_empty() => {}
            Some((None, true)) => return Err(Errno::NOTDIR.into()),
            Some((Some(_), false)) if !self.cache.is_within(replaced.unwrap_or(ROOT), from.dir) => {
                return Err(Errno::ISDIR.into());
            }
            Some((Some(_), _)) => return Err(Errno::NOTEMPTY.into()),
            Some((None, false)) | None => {}
        }
        let time = self.now();
        self.push(Op::Rename { from, to, id, replaced, time });
        Ok(())
    }

    /// Removes what has this name and all that is below, one operation for each.
    pub(super) fn remove(&mut self, place: Place) -> io::Result<()> {
        let Some(id) = self.cache.at(&place) else { return Ok(()) };
        if let Some(entries) = self.cache.entries(id) {
            let names: Vec<_> = entries.keys().cloned().collect();
            self.operation(|machine, fault| {
                whole(fault)?;
                machine.set(id, Attribute::Mode(0o700))
            })?;
            names.into_iter().try_for_each(|name| self.remove(Place { dir: id, name }))?;
        }
        self.operation(|machine, fault| {
            whole(fault)?;
            let time = machine.now();
            machine.push(Op::Remove { place, id, time });
            Ok(())
        })
    }

    pub(super) fn set(&mut self, id: Id, attribute: Attribute<'_>) -> io::Result<()> {
        let inode = self.cache.get(id).ok_or(Errno::NOENT)?;
        let change = match attribute {
            Attribute::Mode(_) if inode.is_symlink() => return Err(Errno::LOOP.into()),
            Attribute::Mode(mode) => Change::Mode(mode & 0o7777),
            Attribute::Owner(user, group) => Change::Owner(user, group),
            Attribute::Xattr(name, value) => {
                check_name(name, inode.is_symlink())?;
                Change::Xattr(name.to_vec(), value.to_vec())
            }
            Attribute::NoXattr(name) => {
                check_name(name, inode.is_symlink())?;
                if !inode.meta.xattrs.contains_key(name) {
                    return Err(Errno::NODATA.into());
                }
                Change::NoXattr(name.to_vec())
            }
            Attribute::Modified(_, nanoseconds) if nanoseconds >= 1_000_000_000 => {
                return Err(Errno::INVAL.into());
            }
            Attribute::Modified(seconds, nanoseconds) => Change::Modified(seconds, nanoseconds),
        };
        let time = self.now();
        self.push(Op::Set { id, change, time });
        Ok(())
    }

    /// Runs of data come over, but for whole blocks of zeros.
    pub(super) fn copy(&mut self, source: Id, to: Id, len: u64, fault: Option<Fault>) -> io::Result<()> {
        let content = self.content(source)?.clone();
        let (mut left, error) = match fault {
            Some(Fault::ShortWrite(bytes, error)) => (bytes, Some(error)),
            _ => (usize::MAX, None),
        };
        for run in content.runs(len) {
            self.readable(source, run.clone())?;
            let mut bytes = vec![0; (run.end - run.start) as usize];
            content.read(run.start, &mut bytes).ok_or(Errno::IO)?;
            for (offset, part) in written_parts(run.start, &bytes, false) {
                let part = &part[..part.len().min(left)];
                left -= part.len();
                self.write(to, offset, part, None)?;
            }
        }
        error.map_or(Ok(()), |error| Err(error.into()))
    }
}

/// As Linux has it: names have a prefix, and symbolic links have no attributes of users.
fn check_name(name: &[u8], of_symlink: bool) -> Result<(), Errno> {
    const PREFIXES: [&[u8]; 4] = [b"user.", b"trusted.", b"security.", b"system."];
    match PREFIXES.iter().any(|prefix| name.starts_with(prefix) && name.len() > prefix.len()) {
        false if name.is_empty() || name.len() > 255 => Err(Errno::RANGE),
        false => Err(Errno::OPNOTSUPP),
        true if of_symlink && name.starts_with(b"user.") => Err(Errno::PERM),
        true => Ok(()),
    }
}

/// What is done whole or not at all fails whole where a write would be short.
pub(super) fn whole(fault: Option<Fault>) -> io::Result<()> {
    match fault {
        Some(Fault::ShortWrite(_, error)) => Err(error.into()),
        _ => Ok(()),
    }
}
