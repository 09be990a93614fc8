//! A world of files at one moment: cheap to clone, changed by copying what changes.

use super::content::Content;
use super::pages::PAGE;
use crate::disk::{Seen, SeenKind};
use rustix::io::Errno;
use siding_image::Xattrs;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Which inode; never given twice.
pub(super) type Id = usize;

/// The inode of `/`.
pub(super) const ROOT: Id = 0;

/// All inodes, with a name or without.
#[derive(Clone, Debug)]
pub(super) struct World(Arc<Vec<Option<Arc<Inode>>>>);

#[derive(Clone, Debug)]
pub(super) struct Inode {
    pub(super) body: Body,
    pub(super) meta: Meta,
    /// Which operation its time is from; what was done before that and lands later leaves the time.
    dated: i64,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    File(Arc<Content>),
    Directory(BTreeMap<Arc<OsStr>, Id>),
    Symlink(Arc<OsStr>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) modified: (i64, u32),
    pub(super) xattrs: Xattrs,
}

/// A name in a directory, whether there is anything or not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) dir: Id,
    pub(super) name: Arc<OsStr>,
}

impl World {
    /// A world with nothing but the directory `/`.
    pub(super) fn new(meta: Meta) -> Self {
        let root = Inode::new(Body::Directory(BTreeMap::new()), meta);
        Self(Arc::new(vec![Some(Arc::new(root))]))
    }

    pub(super) fn get(&self, id: Id) -> Option<&Inode> {
        self.0.get(id)?.as_deref()
    }

    /// The inode, to change it; `None` if this world never had it.
    pub(super) fn change(&mut self, id: Id) -> Option<&mut Inode> {
        Arc::make_mut(&mut self.0).get_mut(id)?.as_mut().map(Arc::make_mut)
    }

    /// Where the next new inode goes.
    pub(super) fn next(&self) -> Id {
        self.0.len()
    }

    /// Takes in an inode, without a name.
    pub(super) fn bear(&mut self, id: Id, inode: Arc<Inode>) {
        let inodes = Arc::make_mut(&mut self.0);
        inodes.resize(inodes.len().max(id + 1), None);
        inodes[id] = Some(inode);
    }

    pub(super) fn content(&self, id: Id) -> Option<&Arc<Content>> {
        match &self.get(id)?.body {
            Body::File(content) => Some(content),
            Body::Directory(_) | Body::Symlink(_) => None,
        }
    }

    pub(super) fn entries(&self, id: Id) -> Option<&BTreeMap<Arc<OsStr>, Id>> {
        match &self.get(id)?.body {
            Body::Directory(entries) => Some(entries),
            Body::File(_) | Body::Symlink(_) => None,
        }
    }

    pub(super) fn at(&self, place: &Place) -> Option<Id> {
        self.entries(place.dir)?.get(&place.name).copied()
    }

    /// Lets a name stand for an inode, or for nothing.
    pub(super) fn name(&mut self, place: &Place, id: Option<Id>, time: i64) {
        let Some(dir) = self.change(place.dir) else { return };
        if let Body::Directory(entries) = &mut dir.body {
            match id {
                Some(id) => entries.insert(place.name.clone(), id),
                None => entries.remove(&place.name),
            };
            dir.touch(time, (time, 0));
        }
    }

    /// What is at `path`; nothing on the way there may be a symbolic link.
    pub(super) fn find(&self, path: &Path) -> Result<Id, Errno> {
        match self.place(path)? {
            Some(place) => self.at(&place).ok_or(Errno::NOENT),
            None => Ok(ROOT),
        }
    }

    /// The directory and the name that `path` says; `None` for `/`.
    pub(super) fn place(&self, path: &Path) -> Result<Option<Place>, Errno> {
        const LONGEST_NAME: usize = 255;
        let mut components = path.components();
        if components.next() != Some(Component::RootDir) {
            return Err(Errno::INVAL);
        }
        let (mut dir, mut last) = (ROOT, None);
        for component in components {
            let Component::Normal(name) = component else { return Err(Errno::INVAL) };
            if let Some(above) = last.replace(name) {
                dir = *self.entries_or(dir)?.get(above).ok_or(Errno::NOENT)?;
            }
            self.entries_or(dir)?;
            if name.len() > LONGEST_NAME {
                return Err(Errno::NAMETOOLONG);
            }
        }
        Ok(last.map(|name| Place { dir, name: name.into() }))
    }

    /// The entries of a directory on the way to somewhere.
    fn entries_or(&self, id: Id) -> Result<&BTreeMap<Arc<OsStr>, Id>, Errno> {
        match self.get(id).map(|inode| &inode.body) {
            Some(Body::Directory(entries)) => Ok(entries),
            Some(Body::Symlink(_)) => Err(Errno::LOOP),
            Some(Body::File(_)) => Err(Errno::NOTDIR),
            None => Err(Errno::IO),
        }
    }

    /// Whether `id` is `above`, or somewhere below it.
    pub(super) fn is_within(&self, above: Id, id: Id) -> bool {
        above == id
            || self
                .entries(above)
                .is_some_and(|entries| entries.values().any(|child| self.is_within(*child, id)))
    }

    /// Every path with its inode, a directory before what is in it.
    pub(super) fn paths(&self) -> Vec<(PathBuf, Id)> {
        let mut paths = vec![(PathBuf::from("/"), ROOT)];
        let mut next = 0;
        while let Some((path, id)) = paths.get(next).cloned() {
            let entries = self.entries(id).into_iter().flatten();
            paths.extend(entries.map(|(name, id)| (path.join(&**name), *id)));
            next += 1;
        }
        paths
    }

    /// Its first path in words.
    pub(super) fn path(&self, id: Id) -> String {
        let path = self.paths().into_iter().find(|(_, of)| *of == id).map(|(path, _)| path);
        path.map_or_else(|| format!("(inode {id}, without a name)"), |path| path.display().to_string())
    }

    /// Drops what has no name, if that is worth it. For a world in which nothing is open.
    pub(super) fn sweep(&mut self) {
        const WORTH: usize = 256;
        if self.0.len() < WORTH {
            return;
        }
        let mut kept = vec![None; self.0.len()];
        for (_, id) in self.paths() {
            kept[id] = self.0.get(id).cloned().flatten();
        }
        let len = kept.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        kept.truncate(len);
        self.0 = Arc::new(kept);
    }
}

impl Inode {
    pub(super) fn new(body: Body, meta: Meta) -> Self {
        let dated = meta.modified.0;
        Self { body, meta, dated }
    }

    /// Gives it the time that the operation `dated` gave it.
    pub(super) fn touch(&mut self, dated: i64, modified: (i64, u32)) {
        if dated >= self.dated {
            (self.dated, self.meta.modified) = (dated, modified);
        }
    }

    pub(super) fn seen(&self, id: Id) -> Seen {
        let (kind, len, taken) = match &self.body {
            Body::File(content) if self.is_device() => (SeenKind::BlockDevice, 0, content.taken()),
            Body::File(content) => (SeenKind::File, content.len(), content.taken()),
            Body::Directory(_) => (SeenKind::Directory, 0, PAGE as u64),
            Body::Symlink(target) => (SeenKind::Symlink, target.len() as u64, 0),
        };
        Seen { kind, mode: self.meta.mode, owner: self.meta.owner, len, taken, id: (0, id as u64) }
    }

    /// A block device is a file with this attribute, whose length stays what it is.
    pub(super) fn is_device(&self) -> bool {
        self.meta.xattrs.contains_key(super::DEVICE)
    }

    pub(super) fn is_directory(&self) -> bool {
        matches!(self.body, Body::Directory(_))
    }

    pub(super) fn is_symlink(&self) -> bool {
        matches!(self.body, Body::Symlink(_))
    }

    pub(super) fn content_mut(&mut self) -> Option<&mut Content> {
        match &mut self.body {
            Body::File(content) => Some(Arc::make_mut(content)),
            Body::Directory(_) | Body::Symlink(_) => None,
        }
    }

    /// The names in it, if it is a directory.
    pub(super) fn names(&self) -> Option<Vec<OsString>> {
        match &self.body {
            Body::Directory(entries) => Some(entries.keys().map(|name| name.as_ref().to_owned()).collect()),
            Body::File(_) | Body::Symlink(_) => None,
        }
    }
}

/// What tells one world from another: everything that can be seen of it, but for the numbers of inodes.
pub(super) type Picture = BTreeMap<PathBuf, (Meta, Vec<u8>, PathBuf)>;

impl World {
    /// Every path with its attributes, its content (a digest, a target), and the first of its names.
    pub(super) fn picture(&self) -> Picture {
        let mut first: BTreeMap<Id, PathBuf> = BTreeMap::new();
        let mut picture = Picture::new();
        for (path, id) in self.paths() {
            let Some(inode) = self.get(id) else { continue };
            let content = match &inode.body {
                Body::File(content) => content.digest().0.to_vec(),
                Body::Directory(_) => b"directory".to_vec(),
                Body::Symlink(target) => [b"-> ", target.as_bytes()].concat(),
            };
            let first = first.entry(id).or_insert_with(|| path.clone()).clone();
            picture.insert(path, (inode.meta.clone(), content, first));
        }
        picture
    }
}

impl World {
    /// Hashes what can be seen, but for times from `beginning` on and the numbers of inodes. Two worlds that look
    /// alike give the same.
    pub(super) fn fingerprint(&self, beginning: i64) -> u64 {
        let (mut hasher, mut numbers) = (DefaultHasher::new(), BTreeMap::new());
        self.hash_below(ROOT, beginning, &mut hasher, &mut numbers);
        hasher.finish()
    }

    fn hash_below(
        &self,
        id: Id,
        beginning: i64,
        hasher: &mut DefaultHasher,
        numbers: &mut BTreeMap<Id, usize>,
    ) {
        let new = numbers.len();
        let number = *numbers.entry(id).or_insert(new);
        number.hash(hasher);
        let Some(inode) = self.get(id).filter(|_| number == new) else { return };
        let Meta { mode, owner, modified, xattrs } = &inode.meta;
        (mode, owner, xattrs, Some(modified).filter(|time| time.0 < beginning)).hash(hasher);
        match &inode.body {
            Body::File(content) => (0, content.digest().0).hash(hasher),
            Body::Symlink(target) => (1, target).hash(hasher),
            Body::Directory(entries) => {
                (2, entries.len()).hash(hasher);
                for (name, id) in entries {
                    name.hash(hasher);
                    self.hash_below(*id, beginning, hasher, numbers);
                }
            }
        }
    }
}
