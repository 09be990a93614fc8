//! The verbs, with the errors that Linux gives.

use super::SimDisk;
use super::fault::Fault;
use super::machine::Machine;
use super::pending::{Change, Op};
use super::world::{Body, Id, Place, ROOT};
use crate::disk::{Access, Attribute, Disk, DiskFile, Lock, Room, Seen, written_parts};
use rustix::io::Errno;
use siding_image::{Image, Tree};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file or directory that is open.
#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    id: Id,
    access: Access,
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut machine = self.machine();
        let id = match access {
            Access::New(_) | Access::Log => machine.operation(|machine, fault| {
                whole(fault)?;
                machine.open(path, access)
            }),
            _ => machine.reading()?.open(path, access),
        }?;
        Ok(Box::new(SimFile { disk: self.same(), id, access }))
    }

    fn make_directory(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.machine().operation(|machine, fault| {
            whole(fault)?;
            let place = machine.free(path)?;
            machine.create(place, Body::Directory(Default::default()), mode);
            Ok(())
        })
    }

    fn make_symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        self.machine().operation(|machine, fault| {
            whole(fault)?;
            if target.as_os_str().is_empty() {
                return Err(Errno::NOENT.into());
            }
            let place = machine.free(path)?;
            machine.create(place, Body::Symlink(target.as_os_str().into()), 0o777);
            Ok(())
        })
    }

    fn make_hard_link(&self, existing: &Path, path: &Path) -> io::Result<()> {
        self.machine().operation(|machine, fault| {
            whole(fault)?;
            let id = machine.cache.find(existing)?;
            let place = machine.free(path)?;
            if machine.cache.entries(id).is_some() {
                return Err(Errno::PERM.into());
            }
            let time = machine.now();
            machine.push(Op::Add { place, id, time });
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.machine().operation(|machine, fault| {
            whole(fault)?;
            machine.rename(from, to)
        })
    }

    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        let mut machine = self.machine();
        match machine.reading()?.cache.place(path) {
            Ok(Some(place)) => machine.remove(place),
            Ok(None) => Err(Errno::BUSY.into()),
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn set(&self, path: &Path, attribute: Attribute<'_>) -> io::Result<()> {
        self.machine().operation(|machine, fault| {
            whole(fault)?;
            let id = machine.cache.find(path)?;
            machine.set(id, attribute)
        })
    }

    fn look(&self, path: &Path) -> io::Result<Seen> {
        let mut machine = self.machine();
        let cache = &machine.reading()?.cache;
        let id = cache.find(path)?;
        Ok(cache.get(id).ok_or(Errno::NOENT)?.seen(id))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let mut machine = self.machine();
        let cache = &machine.reading()?.cache;
        let id = cache.find(path)?;
        let inode = cache.get(id).ok_or(Errno::NOENT)?;
        let other = if inode.is_symlink() { Errno::LOOP } else { Errno::NOTDIR };
        Ok(inode.names().ok_or(other)?)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        let mut machine = self.machine();
        let cache = &machine.reading()?.cache;
        match cache.get(cache.find(path)?).map(|inode| &inode.body) {
            Some(Body::Symlink(target)) => Ok(PathBuf::from(target.as_ref())),
            _ => Err(Errno::INVAL.into()),
        }
    }

    fn xattr_names(&self, path: &Path) -> io::Result<Vec<Vec<u8>>> {
        let mut machine = self.machine();
        let cache = &machine.reading()?.cache;
        let inode = cache.get(cache.find(path)?).ok_or(Errno::NOENT)?;
        Ok(inode.meta.xattrs.keys().cloned().collect())
    }

    fn scan(&self, root: &Path) -> Result<Tree, siding_image::Error> {
        self.machine().scan(root)
    }

    fn check(&self, image: &Image) -> Result<(), siding_image::Error> {
        self.machine().check(image)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let mut machine = self.machine();
        let id = match machine.reading()?.cache.find(path) {
            Err(Errno::NOENT) => machine.operation(|machine, fault| {
                whole(fault)?;
                let place = machine.free(path)?;
                Ok(machine.create(place, Body::File(Arc::default()), 0o600))
            })?,
            _ => machine.open(path, Access::Existing)?,
        };
        if machine.cache.get(id).is_some_and(|inode| inode.meta.mode & 0o077 != 0) {
            machine.operation(|machine, fault| {
                whole(fault)?;
                machine.set(id, Attribute::Mode(0o600))
            })?;
        }
        let is_free = machine.held.insert(id);
        Ok(is_free.then(|| Box::new(SimLock { disk: self.same(), id }) as Box<dyn Lock>))
    }

    fn room(&self, path: &Path) -> io::Result<Room> {
        let mut machine = self.machine();
        machine.reading()?.cache.find(path)?;
        Ok(machine.room)
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        let mut machine = self.disk.machine();
        Ok(machine.reading()?.cache.content(self.id).map_or(0, |content| content.len()))
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.machine().reading()?.read(self.id, offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.machine().operation(|machine, fault| {
            if bytes.is_empty() {
                return whole(fault);
            }
            self.may_write(Errno::BADF)?;
            machine.write(self.id, offset, bytes, fault)
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.machine().operation(|machine, fault| {
            whole(fault)?;
            self.may_write(Errno::INVAL)?;
            i64::try_from(len).map_err(|_| Errno::INVAL)?;
            let (id, time) = (self.id, machine.now());
            machine.push(Op::SetLen { id, len, time });
            Ok(())
        })
    }

    fn copy_from(&self, source: &Path, len: u64) -> io::Result<()> {
        self.disk.machine().operation(|machine, fault| {
            let source = machine.open(source, Access::Read)?;
            if len == 0 {
                return whole(fault);
            }
            self.may_write(Errno::BADF)?;
            machine.copy(source, self.id, len, fault)
        })
    }

    fn flush(&self) -> io::Result<()> {
        self.disk.machine().operation(|machine, fault| match machine.cache.entries(self.id) {
            Some(_) => machine.flush_directory(self.id, fault),
            None => {
                let data_only = matches!(self.access, Access::Existing | Access::Log);
                machine.flush_file(self.id, data_only, fault)
            }
        })
    }

    fn flush_filesystem(&self) -> io::Result<()> {
        self.disk.machine().operation(|machine, fault| machine.flush_filesystem(fault))
    }

    fn forget_cache(&self) -> io::Result<()> {
        self.disk.machine().reading()?.forget_cache(self.id)
    }

    fn is_device(&self) -> bool {
        false
    }
}

impl SimFile {
    fn may_write(&self, error: Errno) -> io::Result<()> {
        match self.access {
            Access::Existing | Access::New(_) | Access::Log => Ok(()),
            Access::Read | Access::Directory => Err(error.into()),
        }
    }
}

/// What is done whole or not at all fails whole where a write would be short.
fn whole(fault: Option<Fault>) -> io::Result<()> {
    match fault {
        Some(Fault::ShortWrite(_, error)) => Err(error.into()),
        _ => Ok(()),
    }
}

impl Machine {
    /// The place for something new.
    fn free(&self, path: &Path) -> Result<Place, Errno> {
        let place = self.cache.place(path)?.ok_or(Errno::EXIST)?;
        if self.cache.at(&place).is_some() { Err(Errno::EXIST) } else { Ok(place) }
    }

    fn open(&mut self, path: &Path, access: Access) -> io::Result<Id> {
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

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
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
    fn remove(&mut self, place: Place) -> io::Result<()> {
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

    fn set(&mut self, id: Id, attribute: Attribute<'_>) -> io::Result<()> {
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
        self.push(Op::Set { id, change });
        Ok(())
    }

    /// Runs of data come over, but for whole blocks of zeros.
    fn copy(&mut self, source: Id, to: Id, len: u64, fault: Option<Fault>) -> io::Result<()> {
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

/// A lock that is held until it is dropped, or its machine has no power.
#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    id: Id,
}

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.machine().held.remove(&self.id);
    }
}
