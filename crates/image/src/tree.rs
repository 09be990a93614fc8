//! A directory as a canonical list of entries, and the rules that make it safe to build.
//!
//! A [`Tree`] can only be had by [`Tree::new`], which checks every rule, or from a scan of a real directory,
//! which goes through the same door. So whoever holds a `Tree` knows: paths are relative and clean, each
//! parent is a directory of the same tree (nothing leads through a symbolic link), nothing occurs twice.
//!
//! The encoding is deterministic CBOR (RFC 8949 §4.2); `docs/format.md` section 6 is its definition.

use crate::Digest;
use minicbor::{Decoder, Encoder};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Extended attributes by name; both are bytes.
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// What every entry that is not a hard link carries beside its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits with set-uid, set-gid and sticky: the low 12 bits of `st_mode`.
    pub mode: u16,
    /// Owner, applied when running as root.
    pub uid: u32,
    /// Group, applied when running as root.
    pub gid: u32,
    /// Modification time, seconds since 1970.
    pub seconds: i64,
    /// Modification time, nanoseconds within the second.
    pub nanoseconds: u32,
    /// Extended attributes; access control lists are among them.
    pub xattrs: Xattrs,
}

/// A regular file's content: its length in bytes and its fs-verity digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileRef {
    /// Length in bytes.
    pub size: u64,
    /// fs-verity digest.
    pub digest: Digest,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Directory(Meta),
    /// A regular file.
    File(Meta, FileRef),
    /// A symbolic link with its target, which is never followed.
    Symlink(Meta, Vec<u8>),
    /// Another name of an earlier regular file, by that file's path.
    HardLink(Vec<u8>),
}

/// One path of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The path relative to the root, as bytes, `/` between names; empty for the root itself.
    pub path: Vec<u8>,
    /// What is there.
    pub node: Node,
}

/// A checked, canonical description of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    entries: Vec<Entry>,
}

/// What turns one tree's description into another's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Paths that go.
    pub removed: Vec<Vec<u8>>,
    /// Entries that come or take the place of one at the same path.
    pub put: Vec<Entry>,
    /// Which of `put`, by ascending index, are regular files that bring a content the source does not have.
    /// Each such content is named once, by its first path.
    pub fresh: Vec<usize>,
    /// Entries of the source, by ascending index, that stay what they are but get other metadata.
    pub touched: Vec<(usize, Meta)>,
}

/// A list of entries that is not a tree, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeError {
    /// The path at fault, lossily as text; empty if the encoding itself is at fault.
    pub path: String,
    /// Which rule it breaks.
    pub rule: &'static str,
}

/// The longest path in bytes (Linux' PATH_MAX with its end mark).
const MAX_PATH: usize = 4095;
/// The longest name in bytes (Linux' NAME_MAX).
const MAX_NAME: usize = 255;
/// The most that all regular files may hold in bytes, so that no offset into a tree overflows.
const MAX_SIZE: u64 = i64::MAX as u64;
/// Hashed in front of the encoding, so that a tree's digest is never that of a file.
const DOMAIN: &[u8] = b"siding tree 1\n";

impl Tree {
    /// Checks a list of entries, in any order, against every rule of `docs/format.md` section 6.
    pub fn new(mut entries: Vec<Entry>) -> Result<Self, TreeError> {
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        check(&entries)?;
        Ok(Self { entries })
    }

    /// The entries, in ascending order of their paths' bytes; the root comes first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry at `path`.
    pub fn get(&self, path: &[u8]) -> Option<&Entry> {
        self.entries.binary_search_by(|e| e.path.as_slice().cmp(path)).ok().and_then(|i| self.entries.get(i))
    }

    /// Every regular file in order of path; hard links do not count again.
    pub fn files(&self) -> impl Iterator<Item = (&[u8], FileRef)> {
        self.entries.iter().filter_map(Entry::as_file)
    }

    /// The distinct file contents in order of their first path: the flat byte space of a tree.
    pub fn contents(&self) -> Vec<(&[u8], FileRef)> {
        let mut seen = BTreeSet::new();
        self.files().filter(|(_, file)| seen.insert(file.digest)).collect()
    }

    /// The total length of all regular files, in bytes.
    pub fn size(&self) -> u64 {
        self.files().map(|(_, file)| file.size).sum()
    }

    /// The tree's identity: SHA-256 over a domain label and the canonical encoding.
    pub fn digest(&self) -> Digest {
        Digest::of_parts(&[DOMAIN, &self.encode()])
    }

    /// The canonical encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(Vec::new());
        encode_entries(&mut out, &self.entries);
        out.into_writer()
    }

    /// Reads a canonical encoding; anything else, and anything left over, is refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, TreeError> {
        let mut input = Decoder::new(bytes);
        let entries = decode_entries(&mut input).map_err(|_| TreeError::encoding())?;
        check(&entries)?;
        let tree = Self { entries };
        if tree.encode() != bytes {
            return Err(TreeError::encoding());
        }
        Ok(tree)
    }

    /// What turns `self` into `target`.
    pub fn changes_to(&self, target: &Self) -> Changes {
        let gone = |e: &&Entry| target.get(&e.path).is_none();
        let removed = self.entries.iter().filter(gone).map(|e| e.path.clone()).collect();
        let (mut put, mut touched) = (Vec::new(), Vec::new());
        for entry in &target.entries {
            let index = self.entries.binary_search_by(|e| e.path.cmp(&entry.path)).ok();
            match index.and_then(|index| Some((index, self.entries.get(index)?))) {
                Some((_, same)) if same == entry => {}
                Some((index, old)) if old.is_but_for_meta(entry) => {
                    touched.extend(entry.meta().map(|meta| (index, meta.clone())));
                }
                _ => put.push(entry.clone()),
            }
        }
        let mut seen: BTreeSet<Digest> = self.files().map(|(_, file)| file.digest).collect();
        let is_fresh = |(index, entry): (usize, &Entry)| match &entry.node {
            Node::File(_, file) if seen.insert(file.digest) => Some(index),
            _ => None,
        };
        let fresh = put.iter().enumerate().filter_map(is_fresh).collect();
        Changes { removed, put, fresh, touched }
    }

    /// The tree that `changes` make of `self`. Every rule is checked anew.
    ///
    /// There is one spelling of what leads from one tree to another, that of [`Tree::changes_to`]: paths
    /// ascend, nothing is put that is there already, `fresh` is right. Any other is refused.
    pub fn with(&self, changes: &Changes) -> Result<Self, TreeError> {
        ascend(changes.removed.iter())?;
        ascend(changes.put.iter().map(|entry| &entry.path))?;
        let mut entries: BTreeMap<&[u8], &Entry> =
            self.entries.iter().map(|e| (e.path.as_slice(), e)).collect();
        for path in &changes.removed {
            if entries.remove(path.as_slice()).is_none() {
                return Err(TreeError::at(path, "a path is removed that the source does not have"));
            }
        }
        for entry in &changes.put {
            if entries.insert(&entry.path, entry) == Some(entry) {
                return Err(TreeError::at(&entry.path, "an entry is put that the source has already"));
            }
        }
        let mut entries: BTreeMap<&[u8], Entry> =
            entries.into_iter().map(|(path, entry)| (path, entry.clone())).collect();
        for (index, meta) in &changes.touched {
            let path = self.entries.get(*index).map(|entry| entry.path.as_slice());
            let there = path.and_then(|path| entries.get_mut(path)).and_then(Entry::meta_mut);
            let no_such =
                || TreeError::at(path.unwrap_or_default(), "metadata are for an entry that has none");
            *there.ok_or_else(no_such)? = meta.clone();
        }
        let tree = Self::new(entries.into_values().collect())?;
        self.same_sizes(&tree)?;
        let right = self.changes_to(&tree);
        if right.touched != changes.touched {
            return Err(TreeError::at(b"", "the entries said to get other metadata are not those that do"));
        }
        if right.removed != changes.removed || right.put != changes.put {
            return Err(TreeError::at(b"", "a path is both removed and put"));
        }
        if right.fresh != changes.fresh {
            return Err(TreeError::at(b"", "the contents said to be fresh are not those the source lacks"));
        }
        Ok(tree)
    }

    /// A digest stands for one content, in both trees, so for one size.
    fn same_sizes(&self, other: &Self) -> Result<(), TreeError> {
        let sizes: BTreeMap<Digest, u64> = self.files().map(|(_, file)| (file.digest, file.size)).collect();
        let mut lies =
            other.files().filter(|(_, file)| sizes.get(&file.digest).is_some_and(|s| *s != file.size));
        lies.next().map_or(Ok(()), |(path, _)| Err(TreeError::at(path, "one digest has two sizes")))
    }
}

impl Changes {
    /// The canonical encoding: `[removed, put, fresh, touched]`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(Vec::new());
        infallible(out.array(4));
        infallible(out.array(self.removed.len() as u64));
        self.removed.iter().for_each(|path| infallible(out.bytes(path)));
        encode_entries(&mut out, &self.put);
        infallible(out.array(self.fresh.len() as u64));
        self.fresh.iter().for_each(|index| infallible(out.u64(*index as u64)));
        infallible(out.array(self.touched.len() as u64));
        let mut next = 0;
        for (index, meta) in &self.touched {
            infallible(out.array(2));
            infallible(out.u64(index.saturating_sub(next) as u64));
            encode_meta(&mut out, meta);
            next = index.saturating_add(1);
        }
        out.into_writer()
    }

    /// The files whose contents the source does not have, in the order in which a patch makes them.
    ///
    /// An index that names no regular file is passed over; [`Changes::decode`] lets none through.
    pub fn fresh_files(&self) -> impl Iterator<Item = (&[u8], FileRef)> {
        self.fresh.iter().filter_map(|index| self.put.get(*index)?.as_file())
    }

    /// Adds the changes of the next part.
    pub fn append(&mut self, mut part: Self) {
        let before = self.put.len();
        self.removed.append(&mut part.removed);
        self.put.append(&mut part.put);
        self.fresh.extend(part.fresh.into_iter().map(|index| before + index));
        self.touched.append(&mut part.touched);
    }

    /// The same changes in parts of about `bytes` encoded bytes each; there is at least one part.
    #[must_use]
    pub fn split(self, bytes: usize) -> Vec<Self> {
        let mut parts = vec![Self::default()];
        let mut weight = 0;
        let mut part_for = |parts: &mut Vec<Self>, size: usize| {
            weight += size;
            if weight > bytes && weight > size {
                parts.push(Self::default());
                weight = size;
            }
            parts.len() - 1
        };
        for path in self.removed {
            let part = part_for(&mut parts, path.len() + 4);
            parts[part].removed.push(path);
        }
        let mut fresh = self.fresh.into_iter().peekable();
        for (index, entry) in self.put.into_iter().enumerate() {
            let part = part_for(&mut parts, entry.weight());
            if fresh.next_if_eq(&index).is_some() {
                let here = parts[part].put.len();
                parts[part].fresh.push(here);
            }
            parts[part].put.push(entry);
        }
        for (index, meta) in self.touched {
            let part = part_for(&mut parts, meta.weight() + 9);
            parts[part].touched.push((index, meta));
        }
        parts
    }

    /// Reads the canonical encoding. The entries' rules are checked when the changes are applied.
    pub fn decode(bytes: &[u8]) -> Result<Self, TreeError> {
        let changes = Self::read(&mut Decoder::new(bytes)).map_err(|_| TreeError::encoding())?;
        if changes.encode() != bytes {
            return Err(TreeError::encoding());
        }
        Ok(changes)
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, Bad> {
        expect(input.array()?, 4)?;
        let count = input.array()?.ok_or_else(bad)?;
        let removed = (0..count).map(|_| Ok(input.bytes()?.to_vec())).collect::<Result<_, Bad>>()?;
        let put = decode_entries(input)?;
        let count = input.array()?.ok_or_else(bad)?;
        let mut fresh = Vec::new();
        for _ in 0..count {
            let index = usize::try_from(input.u64()?).map_err(|_| bad())?;
            let ascends = fresh.last().is_none_or(|last| *last < index);
            if !ascends || put.get(index).and_then(Entry::as_file).is_none() {
                return Err(bad());
            }
            fresh.push(index);
        }
        let count = input.array()?.ok_or_else(bad)?;
        let mut touched = Vec::new();
        let mut next = 0usize;
        for _ in 0..count {
            expect(input.array()?, 2)?;
            let gap = usize::try_from(input.u64()?).map_err(|_| bad())?;
            let index = next.checked_add(gap).ok_or_else(bad)?;
            touched.push((index, decode_meta(input)?));
            next = index.checked_add(1).ok_or_else(bad)?;
        }
        Ok(Self { removed, put, fresh, touched })
    }
}

impl Entry {
    fn as_file(&self) -> Option<(&[u8], FileRef)> {
        match &self.node {
            Node::File(_, file) => Some((&self.path, *file)),
            _ => None,
        }
    }

    /// The entry's metadata; a hard link has those of the file it names.
    pub fn meta(&self) -> Option<&Meta> {
        match &self.node {
            Node::Directory(meta) | Node::File(meta, _) | Node::Symlink(meta, _) => Some(meta),
            Node::HardLink(_) => None,
        }
    }

    fn meta_mut(&mut self) -> Option<&mut Meta> {
        match &mut self.node {
            Node::Directory(meta) | Node::File(meta, _) | Node::Symlink(meta, _) => Some(meta),
            Node::HardLink(_) => None,
        }
    }

    /// Whether the other is the same but for its metadata.
    fn is_but_for_meta(&self, other: &Self) -> bool {
        match (&self.node, &other.node) {
            (Node::Directory(_), Node::Directory(_)) => true,
            (Node::File(_, a), Node::File(_, b)) => a == b,
            (Node::Symlink(_, a), Node::Symlink(_, b)) => a == b,
            _ => false,
        }
    }

    /// About how many bytes the encoding takes; never less.
    fn weight(&self) -> usize {
        let node = match &self.node {
            Node::Directory(_) | Node::File(..) => 0,
            Node::Symlink(_, target) => target.len(),
            Node::HardLink(to) => to.len(),
        };
        self.path.len() + node + self.meta().map_or(0, Meta::weight) + 64
    }
}

impl Meta {
    /// The mode of every symbolic link: Linux has no other, and what other systems have must not count.
    pub const SYMLINK_MODE: u16 = 0o777;

    /// About how many bytes the encoding takes; never less.
    fn weight(&self) -> usize {
        let xattr = |(name, value): (&Vec<u8>, &Vec<u8>)| name.len() + value.len() + 16;
        self.xattrs.iter().map(xattr).sum::<usize>() + 48
    }
}

// ---- the rules

/// Changes name each path once, in ascending order.
fn ascend<'a>(paths: impl Iterator<Item = &'a Vec<u8>> + Clone) -> Result<(), TreeError> {
    let mut pairs = paths.clone().zip(paths.skip(1));
    match pairs.find(|(before, after)| before >= after) {
        None => Ok(()),
        Some((before, after)) if before == after => Err(TreeError::at(after, "a path occurs twice")),
        Some((_, after)) => Err(TreeError::at(after, "paths are out of order")),
    }
}

fn check(entries: &[Entry]) -> Result<(), TreeError> {
    let mut directories: BTreeSet<&[u8]> = BTreeSet::new();
    let mut files: BTreeSet<&[u8]> = BTreeSet::new();
    let mut sizes: BTreeMap<Digest, u64> = BTreeMap::new();
    let mut total = 0u64;
    let mut previous: Option<&[u8]> = None;
    for entry in entries {
        let path = entry.path.as_slice();
        let fail = |rule| Err(TreeError::at(path, rule));
        match previous {
            None if !path.is_empty() || !matches!(entry.node, Node::Directory(_)) => {
                return fail("the first entry is not the root directory");
            }
            Some(before) if before == path => return fail("a path occurs twice"),
            Some(before) if before > path => return fail("paths are out of order"),
            _ => {}
        }
        if previous.is_some() {
            check_path(path).map_err(|rule| TreeError::at(path, rule))?;
            if !directories.contains(parent(path)) {
                return fail("its parent is not a directory of the tree");
            }
        }
        match &entry.node {
            Node::Directory(_) => drop(directories.insert(path)),
            Node::File(_, file) => {
                files.insert(path);
                if sizes.insert(file.digest, file.size).is_some_and(|size| size != file.size) {
                    return fail("one digest has two sizes");
                }
                total = total.saturating_add(file.size);
                if total > MAX_SIZE {
                    return fail("the files' sizes sum to 2^63 or more");
                }
            }
            Node::Symlink(_, target)
                if target.is_empty() || target.contains(&0) || target.len() > MAX_PATH =>
            {
                return fail("a symbolic link's target is 1 to 4095 bytes without NUL");
            }
            Node::HardLink(to) if !files.contains(to.as_slice()) => {
                return fail("a hard link must name an earlier regular file");
            }
            Node::Symlink(..) | Node::HardLink(_) => {}
        }
        check_meta(entry).map_err(|rule| TreeError::at(path, rule))?;
        previous = Some(path);
    }
    if previous.is_none() {
        return Err(TreeError::at(b"", "there is no root directory"));
    }
    Ok(())
}

fn check_path(path: &[u8]) -> Result<(), &'static str> {
    if path.len() > MAX_PATH {
        return Err("a path is longer than 4095 bytes");
    }
    if path.contains(&0) {
        return Err("a path contains NUL");
    }
    path.split(|&b| b == b'/').try_for_each(|name| match name {
        b"" => Err("a path is absolute, or has an empty name in it"),
        b"." | b".." => Err("a path contains . or .."),
        name if name.len() > MAX_NAME => Err("a name is longer than 255 bytes"),
        _ => Ok(()),
    })
}

fn check_meta(entry: &Entry) -> Result<(), &'static str> {
    let (Node::Directory(meta) | Node::File(meta, _) | Node::Symlink(meta, _)) = &entry.node else {
        return Ok(());
    };
    if meta.mode > 0o7777 {
        return Err("a mode has more than 12 bits");
    }
    if matches!(entry.node, Node::Symlink(..)) && meta.mode != Meta::SYMLINK_MODE {
        return Err("a symbolic link's mode is 0777");
    }
    if meta.nanoseconds >= 1_000_000_000 {
        return Err("nanoseconds reach a second");
    }
    if meta.xattrs.keys().any(|name| name.is_empty() || name.contains(&0) || name.len() > MAX_NAME) {
        return Err("an extended attribute's name is 1 to 255 bytes without NUL");
    }
    Ok(())
}

/// The path without its last name; the root's for a name in the root.
fn parent(path: &[u8]) -> &[u8] {
    let cut = path.iter().rposition(|&b| b == b'/').unwrap_or(0);
    path.get(..cut).unwrap_or_default()
}

impl TreeError {
    fn at(path: &[u8], rule: &'static str) -> Self {
        Self { path: String::from_utf8_lossy(path).into_owned(), rule }
    }

    fn encoding() -> Self {
        Self::at(b"", "the encoding is not canonical")
    }
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(self.rule)
        } else {
            write!(f, "{:?}: {}", self.path, self.rule)
        }
    }
}

impl std::error::Error for TreeError {}

// ---- the encoding

const DIRECTORY: u8 = 0;
const FILE: u8 = 1;
const SYMLINK: u8 = 2;
const HARD_LINK: u8 = 3;

type Out = Encoder<Vec<u8>>;
type Bad = minicbor::decode::Error;

/// Writing to a `Vec` cannot fail.
fn infallible<T>(result: Result<T, minicbor::encode::Error<std::convert::Infallible>>) {
    debug_assert!(result.is_ok());
}

fn encode_entries(out: &mut Out, entries: &[Entry]) {
    infallible(out.array(entries.len() as u64));
    entries.iter().for_each(|entry| encode_entry(out, entry));
}

fn encode_entry(out: &mut Out, entry: &Entry) {
    let (kind, fields) = match &entry.node {
        Node::Directory(_) => (DIRECTORY, 3),
        Node::File(..) => (FILE, 5),
        Node::Symlink(..) => (SYMLINK, 4),
        Node::HardLink(_) => (HARD_LINK, 3),
    };
    infallible(out.array(fields));
    infallible(out.bytes(&entry.path));
    infallible(out.u8(kind));
    match &entry.node {
        Node::Directory(meta) => encode_meta(out, meta),
        Node::File(meta, file) => {
            encode_meta(out, meta);
            infallible(out.u64(file.size));
            infallible(out.bytes(&file.digest.0));
        }
        Node::Symlink(meta, target) => {
            encode_meta(out, meta);
            infallible(out.bytes(target));
        }
        Node::HardLink(to) => infallible(out.bytes(to)),
    }
}

fn encode_meta(out: &mut Out, meta: &Meta) {
    infallible(out.array(if meta.xattrs.is_empty() { 5 } else { 6 }));
    infallible(out.u16(meta.mode));
    infallible(out.u32(meta.uid));
    infallible(out.u32(meta.gid));
    infallible(out.i64(meta.seconds));
    infallible(out.u32(meta.nanoseconds));
    if !meta.xattrs.is_empty() {
        infallible(out.array(meta.xattrs.len() as u64));
        for (name, value) in &meta.xattrs {
            infallible(out.array(2));
            infallible(out.bytes(name));
            infallible(out.bytes(value));
        }
    }
}

fn decode_entries(input: &mut Decoder<'_>) -> Result<Vec<Entry>, Bad> {
    let count = input.array()?.ok_or_else(bad)?;
    // Grown as entries are read, never by the stated count: the input's own length bounds the memory.
    (0..count).map(|_| decode_entry(input)).collect()
}

fn decode_entry(input: &mut Decoder<'_>) -> Result<Entry, Bad> {
    let fields = input.array()?.ok_or_else(bad)?;
    let path = input.bytes()?.to_vec();
    let node = match (input.u8()?, fields) {
        (DIRECTORY, 3) => Node::Directory(decode_meta(input)?),
        (FILE, 5) => {
            let meta = decode_meta(input)?;
            let size = input.u64()?;
            let digest = Digest(input.bytes()?.try_into().map_err(|_| bad())?);
            Node::File(meta, FileRef { size, digest })
        }
        (SYMLINK, 4) => Node::Symlink(decode_meta(input)?, input.bytes()?.to_vec()),
        (HARD_LINK, 3) => Node::HardLink(input.bytes()?.to_vec()),
        _ => return Err(bad()),
    };
    Ok(Entry { path, node })
}

fn decode_meta(input: &mut Decoder<'_>) -> Result<Meta, Bad> {
    let fields = input.array()?.ok_or_else(bad)?;
    let mut meta = Meta {
        mode: input.u16()?,
        uid: input.u32()?,
        gid: input.u32()?,
        seconds: input.i64()?,
        nanoseconds: input.u32()?,
        xattrs: Xattrs::new(),
    };
    match fields {
        5 => {}
        6 => {
            for _ in 0..input.array()?.ok_or_else(bad)? {
                expect(input.array()?, 2)?;
                let name = input.bytes()?.to_vec();
                let value = input.bytes()?.to_vec();
                meta.xattrs.insert(name, value);
            }
        }
        _ => return Err(bad()),
    }
    Ok(meta)
}

fn expect(got: Option<u64>, wanted: u64) -> Result<(), Bad> {
    if got == Some(wanted) { Ok(()) } else { Err(bad()) }
}

fn bad() -> Bad {
    Bad::message("not canonical")
}

#[cfg(test)]
mod tests;
