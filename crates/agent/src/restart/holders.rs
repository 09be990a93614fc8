//! Who maps files of an image that was left: all of `/proc/*/maps`, a line at a time.

use super::{Holder, Move};
use crate::Error;
use rustix::fs::{Dev, makedev};
use rustix::io::Errno;
use siding_image::{Component, FileRef, Image, Node, Tree};
use siding_run::harmless;
use siding_slot::{Slot, Snapshot};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Which files are old: those of every slot that is not moved to, and what was in such slots before. A file that the
/// new image has too, at the same path and with the same content, is not.
///
/// Holds 40 bytes for each file of the components, and the lists of their trees.
#[derive(Debug, Default)]
pub(super) struct Old {
    moved: Vec<Moved>,
    /// By device and inode: whose it is if it is old, `None` if it is known and is not.
    files: HashMap<(Dev, u64), Option<usize>>,
}

/// A component that moves, and what its slots hold.
#[derive(Debug)]
struct Moved {
    component: Component,
    /// Where its slots' images lie, without links in the path: as the kernel names mapped files.
    homes: Vec<(Slot, PathBuf)>,
    to: Slot,
    images: Vec<(Slot, Image)>,
}

/// All who hold old files, as far as may be looked.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) holders: Vec<Holder>,
    /// How many processes may not be looked at.
    pub(super) unseen: usize,
}

impl Old {
    /// Reads the seals of the slots, and looks at the files' inodes.
    pub(super) fn after(store: &Snapshot, moves: &[Move]) -> Result<Self, Error> {
        let mut old = Self::default();
        for Move { component, to } in moves {
            let held = store.state().require(component).map_err(siding_slot::Error::from)?;
            let homes = Slot::ALL.into_iter().map(|slot| (slot, home(&store.image_path(component, slot))));
            let sealed = Slot::ALL.into_iter().filter(|slot| held.image(*slot).is_some());
            // An image whose seal cannot be read is known by its path alone.
            let images = sealed.filter_map(|slot| Some((slot, store.image(component, slot).ok()?)));
            let (homes, images) = (homes.collect(), images.collect());
            let moved = Moved { component: component.clone(), homes, to: *to, images };
            old.learn(&moved);
            old.moved.push(moved);
        }
        Ok(old)
    }

    fn learn(&mut self, moved: &Moved) {
        let whose = self.moved.len();
        for (slot, image) in &moved.images {
            for path in image
                .tree()
                .map_or_else(|| vec![&b""[..]], |tree| tree.files().map(|(path, _)| path).collect())
            {
                let Some(root) = moved.root(*slot) else { continue };
                let file = if path.is_empty() { root.to_owned() } else { root.join(OsStr::from_bytes(path)) };
                let Ok(meta) = file.symlink_metadata() else { continue };
                let is_old = moved.is_old(*slot, path);
                self.files.insert((meta.dev(), meta.ino()), is_old.then_some(whose));
            }
        }
    }

    /// Whose old file a mapping is of, if it is of one.
    fn whose(&self, line: &Line<'_>) -> Option<&Component> {
        let of = |whose: usize| self.moved.get(whose).map(|moved| &moved.component);
        if let Some(known) = self.files.get(&(line.device, line.inode)) {
            return known.and_then(of);
        }
        // Gone from its slot already; or its filesystem shows another device there than here.
        self.moved.iter().find(|moved| moved.is_old_path(line.path)).map(|moved| &moved.component)
    }

    /// Who maps old files. Processes that end meanwhile, and this one, are not there.
    pub(super) fn holders(&self, proc: &Path) -> Result<Found, Error> {
        let mut found = Found::default();
        if self.moved.is_empty() {
            return Ok(found);
        }
        let io = |source| Error::Proc { path: proc.to_owned(), source };
        for entry in fs::read_dir(proc).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            if pid == std::process::id() {
                continue;
            }
            match self.holder(proc, pid) {
                Ok(holder) => found.holders.extend(holder),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => found.unseen += 1,
                // It is gone.
                Err(_) => {}
            }
        }
        found.holders.sort_by_key(|holder| holder.pid);
        Ok(found)
    }

    /// What of it a process maps, if it does.
    pub(super) fn holder(&self, proc: &Path, pid: u32) -> io::Result<Option<Holder>> {
        let dir = proc.join(pid.to_string());
        let mut maps = BufReader::with_capacity(32 << 10, File::open(dir.join("maps"))?);
        let mut holder: Option<Holder> = None;
        let mut line = Vec::new();
        loop {
            line.clear();
            match maps.read_until(b'\n', &mut line) {
                Ok(0) => return Ok(holder),
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => return Ok(None),
                Err(error) => return Err(error),
            }
            let Some(line) = Line::parse(&line) else { continue };
            let Some(component) = self.whose(&line) else { continue };
            let holder = holder.get_or_insert_with(|| Holder {
                pid,
                name: name_of(&dir),
                file: PathBuf::from(OsStr::from_bytes(line.path)),
                components: Vec::new(),
            });
            if !holder.components.contains(component) {
                holder.components.push(component.clone());
            }
        }
    }
}

fn name_of(process: &Path) -> String {
    let name = fs::read(process.join("comm")).unwrap_or_default();
    harmless(String::from_utf8_lossy(&name).trim_end())
}

impl Moved {
    fn root(&self, slot: Slot) -> Option<&Path> {
        self.homes.iter().find(|(held, _)| *held == slot).map(|(_, home)| home.as_path())
    }

    fn image(&self, slot: Slot) -> Option<&Image> {
        self.images.iter().find(|(held, _)| *held == slot).map(|(_, image)| image)
    }

    /// Whether the file at `path` in a slot's image is not in the new image as it is there.
    fn is_old(&self, slot: Slot, path: &[u8]) -> bool {
        if slot == self.to {
            return false;
        }
        match (self.image(slot), self.image(self.to)) {
            (Some(old), Some(new)) => match (old.tree(), new.tree()) {
                (Some(old), Some(new)) => {
                    let content = content(old, path);
                    content.is_none() || content != self::content(new, path)
                }
                _ => old.identity() != new.identity(),
            },
            _ => true,
        }
    }

    /// As [`is_old`](Self::is_old), for a path as the kernel shows it.
    fn is_old_path(&self, path: &[u8]) -> bool {
        let (path, is_deleted) = match path.strip_suffix(b" (deleted)") {
            Some(path) => (path, true),
            None => (path, false),
        };
        let path = Path::new(OsStr::from_bytes(path));
        let of_slot = |(slot, home): &(Slot, PathBuf)| Some((*slot, path.strip_prefix(home).ok()?));
        match self.homes.iter().find_map(of_slot) {
            Some((slot, file)) => is_deleted || self.is_old(slot, file.as_os_str().as_bytes()),
            // A base that another one has superseded.
            None => self.is_another_base(path),
        }
    }

    /// Whether `path` lies in a base beside that of now: `base/image`, or `base.3/image`.
    fn is_another_base(&self, path: &Path) -> bool {
        let here = self.root(Slot::Base).and_then(|image| image.parent()?.parent());
        let Some(Ok(rest)) = here.map(|dir| path.strip_prefix(dir)) else { return false };
        let mut parts = rest.components().map(|part| part.as_os_str().as_bytes());
        let (home, image) = (parts.next().unwrap_or_default(), parts.next());
        let is_base = home == b"base" || home.starts_with(b"base.");
        is_base && image == Some(b"image")
    }
}

/// An image's path without links, as far as there is such a path.
fn home(image: &Path) -> PathBuf {
    let real = |dir: &Path| Some(fs::canonicalize(dir).ok()?.join(image.file_name()?));
    fs::canonicalize(image).ok().or_else(|| image.parent().and_then(real)).unwrap_or_else(|| image.to_owned())
}

fn content(tree: &Tree, path: &[u8]) -> Option<FileRef> {
    match &tree.get(path)?.node {
        Node::File(_, content) => Some(*content),
        Node::HardLink(first) => match &tree.get(first)?.node {
            Node::File(_, content) => Some(*content),
            _ => None,
        },
        Node::Directory(_) | Node::Symlink(..) => None,
    }
}

/// What a line of `maps` says of a file.
#[derive(Debug, PartialEq, Eq)]
struct Line<'a> {
    device: Dev,
    inode: u64,
    path: &'a [u8],
}

impl<'a> Line<'a> {
    /// `7f0-7f1 r-xp 00000000 fd:01 1234    /a/path`, or `None` if no file is mapped.
    fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut fields = line.splitn(6, |&byte| byte == b' ');
        let (_, _, _) = (fields.next()?, fields.next()?, fields.next()?);
        let (device, inode) = (fields.next()?, fields.next()?);
        let path = fields.next()?.trim_ascii_start();
        let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).ok();
        let (major, minor) = text(device)?.split_once(':')?;
        let hex = |digits: &str| u32::from_str_radix(digits, 16).ok();
        let inode = text(inode)?.parse().ok().filter(|inode| *inode != 0)?;
        Some(Self { device: makedev(hex(major)?, hex(minor)?), inode, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_the_kernel_writes_them() {
        let line = b"7fec0a-7fec0b r--p 00002000 fd:01 1234                       /a path/b (deleted)\n";
        let expected = Line { device: makedev(0xfd, 1), inode: 1234, path: b"/a path/b (deleted)" };
        assert_eq!(Line::parse(line), Some(expected));
        for none in [
            &b"7fec0a-7fec0b rw-p 00000000 00:00 0                          [heap]\n"[..],
            b"7fec0a-7fec0b rw-p 00000000 00:00 0 \n",
            b"",
            b"what is this",
            b"a b c d:e f g",
        ] {
            assert_eq!(Line::parse(none), None);
        }
    }
}
