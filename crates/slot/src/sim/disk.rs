//! The verbs: each counted, and with the faults that are planned for it.

use super::SimDisk;
use super::machine::Machine;
use super::pending::Op;
use super::verbs::whole;
use super::world::{Body, Id};
use crate::disk::{Access, Attribute, Disk, DiskFile, Lock, Room, Seen};
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

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        self.look(path).map(|_| path.to_owned())
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
            if machine.is_device(id) {
                return Err(Errno::INVAL.into());
            }
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
                let data_only = matches!(self.access, Access::Existing | Access::Alone | Access::Log);
                machine.flush_file(self.id, data_only, fault)
            }
        })
    }

    fn flush_filesystem(&self) -> io::Result<()> {
        self.disk.machine().operation(Machine::flush_filesystem)
    }

    fn forget_cache(&self) -> io::Result<()> {
        self.disk.machine().reading()?.forget_cache(self.id)
    }

    fn is_device(&self) -> bool {
        self.disk.machine().is_device(self.id)
    }
}

impl SimFile {
    fn may_write(&self, error: Errno) -> io::Result<()> {
        match self.access {
            Access::Existing | Access::Alone | Access::New(_) | Access::Log => Ok(()),
            Access::Read | Access::Directory => Err(error.into()),
        }
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
