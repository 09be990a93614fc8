//! Reads a directory into a [`Tree`]. Reads only; follows no symbolic link.

use crate::{Digest, Entry, Error, FileRef, Meta, Node, Tree, Xattrs, file};
use rustix::fs::{lgetxattr, llistxattr};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Describes the directory at `root`: every entry with its metadata, every file with its digest.
///
/// Fails on sockets, devices and fifos ([`Error::Unsupported`]): nothing is dropped in silence. Two names of
/// one symbolic link are kept as two links. Holes of sparse files are not part of the description; zeros are
/// made holes again when the tree is written.
pub fn scan(root: &Path) -> Result<Tree, Error> {
    scan_with(root, &mut |_| None)
}

/// As [`scan`], but a file whose digest `known` gives is not read: for files that the kernel holds to a digest.
///
/// It is asked once for each file, whatever its names, with one of them below `root`.
pub fn scan_with(root: &Path, known: &mut dyn FnMut(&Path) -> Option<Digest>) -> Result<Tree, Error> {
    let mut scan = Scan { root, known, entries: Vec::new(), first_names: HashMap::new() };
    scan.directory(Vec::new())?;
    scan.resolve_hard_links();
    Ok(Tree::new(scan.entries)?)
}

struct Scan<'a> {
    root: &'a Path,
    /// What need not be read.
    known: &'a mut dyn FnMut(&Path) -> Option<Digest>,
    entries: Vec<Entry>,
    /// For files with several names: (device, inode) → the smallest path seen, with its content.
    first_names: HashMap<(u64, u64), FirstName>,
}

struct FirstName {
    path: Vec<u8>,
    names: Vec<Vec<u8>>,
    node: Node,
}

impl Scan<'_> {
    fn directory(&mut self, path: Vec<u8>) -> Result<(), Error> {
        let full = self.full(&path);
        let meta = fs::symlink_metadata(&full).map_err(|e| Error::io("read the metadata of", &full, e))?;
        if !meta.is_dir() {
            return Err(Error::io("scan", &full, std::io::ErrorKind::NotADirectory.into()));
        }
        self.entries.push(Entry { path: path.clone(), node: Node::Directory(read_meta(&full, &meta)?) });
        for name in list(&full).map_err(|e| Error::io("list", &full, e))? {
            let child = if path.is_empty() { name } else { [path.as_slice(), b"/", &name].concat() };
            self.entry(child)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: Vec<u8>) -> Result<(), Error> {
        let full = self.full(&path);
        let meta = fs::symlink_metadata(&full).map_err(|e| Error::io("read the metadata of", &full, e))?;
        let kind = meta.file_type();
        if kind.is_dir() {
            return self.directory(path);
        }
        if kind.is_file() {
            return self.file(path, &full, &meta);
        }
        if kind.is_symlink() {
            let target = fs::read_link(&full).map_err(|e| Error::io("read the link", &full, e))?;
            let meta = Meta { mode: Meta::SYMLINK_MODE, ..read_meta(&full, &meta)? };
            let node = Node::Symlink(meta, target.into_os_string().into_vec());
            self.entries.push(Entry { path, node });
            return Ok(());
        }
        let what = match () {
            () if kind.is_socket() => "socket",
            () if kind.is_fifo() => "named pipe",
            () if kind.is_block_device() => "block device",
            () if kind.is_char_device() => "character device",
            () => "thing of an unknown kind",
        };
        Err(Error::Unsupported { path: full, what })
    }

    fn file(&mut self, path: Vec<u8>, full: &Path, meta: &Metadata) -> Result<(), Error> {
        let key = (meta.dev(), meta.ino());
        if let Some(first) = self.first_names.get_mut(&key) {
            first.names.push(path);
            return Ok(());
        }
        let content = match (self.known)(full) {
            Some(digest) => FileRef { size: meta.len(), digest },
            None => file::identify(full)?,
        };
        let node = Node::File(read_meta(full, meta)?, content);
        if meta.nlink() > 1 {
            self.first_names.insert(key, FirstName { path, names: Vec::new(), node });
        } else {
            self.entries.push(Entry { path, node });
        }
        Ok(())
    }

    /// The smallest name of a file is the file, whatever order the directory was listed in.
    fn resolve_hard_links(&mut self) {
        for first in std::mem::take(&mut self.first_names).into_values() {
            let mut names = first.names;
            names.push(first.path);
            names.sort();
            let mut names = names.into_iter();
            let Some(smallest) = names.next() else { continue };
            let links = names.map(|path| Entry { path, node: Node::HardLink(smallest.clone()) });
            self.entries.extend(links);
            self.entries.push(Entry { path: smallest, node: first.node });
        }
    }

    fn full(&self, path: &[u8]) -> PathBuf {
        if path.is_empty() { self.root.to_owned() } else { self.root.join(OsStr::from_bytes(path)) }
    }
}

/// All names in a directory, which is closed again before the first of them is looked at: open directories
/// would otherwise be as many as the tree is deep.
fn list(full: &Path) -> std::io::Result<Vec<Vec<u8>>> {
    fs::read_dir(full)?.map(|item| Ok(item?.file_name().into_vec())).collect()
}

fn read_meta(full: &Path, meta: &Metadata) -> Result<Meta, Error> {
    Ok(Meta {
        mode: (meta.mode() & 0o7777) as u16,
        uid: meta.uid(),
        gid: meta.gid(),
        seconds: meta.mtime(),
        nanoseconds: u32::try_from(meta.mtime_nsec()).unwrap_or(0),
        xattrs: read_xattrs(full).map_err(|e| Error::io("read the extended attributes of", full, e))?,
    })
}

fn read_xattrs(full: &Path) -> std::io::Result<Xattrs> {
    let names = match grow(|buffer| llistxattr(full, buffer)) {
        Ok(names) => names,
        Err(rustix::io::Errno::NOTSUP) => return Ok(Xattrs::new()),
        Err(error) => return Err(error.into()),
    };
    let mut xattrs = Xattrs::new();
    for name in names.split(|&b| b == 0).filter(|name| !name.is_empty()) {
        let value = grow(|buffer| lgetxattr(full, OsStr::from_bytes(name), buffer))?;
        xattrs.insert(name.to_vec(), value);
    }
    Ok(xattrs)
}

/// Calls with a buffer that suffices for nearly all, then with the largest the kernel allows.
fn grow(call: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    const USUAL: usize = 1024;
    const MOST: usize = 65536;
    let attempt = |size| {
        let mut buffer = vec![0u8; size];
        call(&mut buffer).map(|len| {
            buffer.truncate(len);
            buffer
        })
    };
    match attempt(USUAL) {
        Err(rustix::io::Errno::RANGE) => attempt(MOST),
        other => other,
    }
}

#[cfg(test)]
mod tests;
