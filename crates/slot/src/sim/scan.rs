//! Reading whole trees and whole images of a simulated machine.

use super::machine::Machine;
use super::world::{Body, Id, Inode};
use rustix::io::Errno;
use siding_image::{Digest, Entry, Error, FileRef, Image, Meta, Node, Tree};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

impl Machine {
    /// What `siding_image::scan` says of a directory.
    pub(super) fn scan(&mut self, root: &Path) -> Result<Tree, Error> {
        let failed = |source| Error::Io { doing: "read the metadata of", path: root.to_owned(), source };
        let machine = self.reading().map_err(failed)?;
        let id = machine.cache.find(root).map_err(|e| failed(e.into()))?;
        if machine.cache.entries(id).is_none() {
            return Err(Error::Io { doing: "scan", path: root.to_owned(), source: Errno::NOTDIR.into() });
        }
        let mut scan = Scan { machine, root, entries: Vec::new(), files: BTreeMap::new() };
        scan.entry(Vec::new(), id)?;
        Ok(Tree::new(scan.finish()?)?)
    }

    /// What [`Image::check`] says of an image.
    pub(super) fn check(&mut self, image: &Image) -> Result<(), Error> {
        image.blobs().iter().try_for_each(|blob| {
            let (path, expected) = (blob.path(), blob.content.digest);
            let failed = |doing, source| Error::Io { doing, path: path.to_owned(), source };
            let machine = self.reading().map_err(|e| failed("open", e))?;
            let id = machine.cache.find(path).map_err(|e| failed("open", e.into()))?;
            match machine.cache.get(id).map(|inode| &inode.body) {
                Some(Body::Symlink(_)) | None => return Err(failed("open", Errno::LOOP.into())),
                Some(Body::Directory(_)) => {
                    let source = io::Error::other("neither a regular file nor a block device");
                    return Err(failed("find the length of", source));
                }
                Some(Body::File(_)) => {}
            }
            let got = match machine.is_device(id) {
                true => machine.beginning(path, id, blob.content.size)?,
                false => machine.identify(path, id)?.digest,
            };
            if got == expected {
                Ok(())
            } else {
                Err(Error::Differs { path: path.to_owned(), expected, got })
            }
        })
    }

    /// The digest of the first bytes of a device.
    fn beginning(&self, path: &Path, id: Id, size: u64) -> Result<Digest, Error> {
        let mut bytes = vec![0; size as usize];
        let read = self.read(id, 0, &mut bytes);
        read.map_err(|source| Error::Io { doing: "read", path: path.to_owned(), source })?;
        Ok(siding_image::verity::digest(&bytes))
    }

    fn identify(&self, path: &Path, id: Id) -> Result<FileRef, Error> {
        let failed = |source| Error::Io { doing: "read", path: path.to_owned(), source };
        let content = self.content(id).map_err(failed)?;
        self.readable(id, 0..content.len()).map_err(failed)?;
        Ok(FileRef { size: content.len(), digest: content.digest() })
    }
}

struct Scan<'a> {
    machine: &'a Machine,
    root: &'a Path,
    entries: Vec<Entry>,
    /// The names of each file.
    files: BTreeMap<Id, Vec<Vec<u8>>>,
}

impl Scan<'_> {
    fn entry(&mut self, path: Vec<u8>, id: Id) -> Result<(), Error> {
        let Some(inode) = self.machine.cache.get(id) else { return Ok(()) };
        match &inode.body {
            Body::File(_) => self.files.entry(id).or_default().push(path),
            Body::Symlink(target) => {
                let meta = Meta { mode: Meta::SYMLINK_MODE, ..meta(inode) };
                self.entries.push(Entry { path, node: Node::Symlink(meta, target.as_bytes().to_vec()) });
            }
            Body::Directory(entries) => {
                for (name, id) in entries {
                    let name = name.as_bytes();
                    let child =
                        if path.is_empty() { name.to_vec() } else { [&path, &b"/"[..], name].concat() };
                    self.entry(child, *id)?;
                }
                self.entries.push(Entry { path, node: Node::Directory(meta(inode)) });
            }
        }
        Ok(())
    }

    /// The smallest name of a file is the file.
    fn finish(mut self) -> Result<Vec<Entry>, Error> {
        for (id, mut names) in std::mem::take(&mut self.files) {
            names.sort();
            let mut names = names.into_iter();
            let (Some(inode), Some(first)) = (self.machine.cache.get(id), names.next()) else { continue };
            let links = names.map(|path| Entry { path, node: Node::HardLink(first.clone()) });
            self.entries.extend(links);
            let content = self.machine.identify(&self.full(&first), id)?;
            self.entries.push(Entry { path: first, node: Node::File(meta(inode), content) });
        }
        Ok(self.entries)
    }

    fn full(&self, path: &[u8]) -> PathBuf {
        self.root.join(OsStr::from_bytes(path))
    }
}

fn meta(inode: &Inode) -> Meta {
    let from = &inode.meta;
    Meta {
        mode: from.mode as u16,
        uid: from.owner.0,
        gid: from.owner.1,
        seconds: from.modified.0,
        nanoseconds: from.modified.1,
        xattrs: from.xattrs.clone(),
    }
}
