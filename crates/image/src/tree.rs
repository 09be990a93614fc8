//! A directory as a canonical list of entries, and the rules that make it safe to build.
//!
//! A [`Tree`] can only be had by [`Tree::new`], which checks every rule, or from a scan of a real directory,
//! which goes through the same door. So whoever holds a `Tree` knows: paths are relative and clean, each
//! parent is a directory of the same tree (nothing leads through a symbolic link), nothing occurs twice.
//!
//! The encoding is deterministic CBOR (RFC 8949 §4.2); `docs/format.md` section 6 is its definition.

use crate::Digest;
use codec::{decode_entries, encode_entries};
use minicbor::{Decoder, Encoder};
use rules::check;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

mod changes;
mod codec;
mod rules;
pub use changes::Changes;

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

/// A list of entries that is not a tree, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeError {
    /// The path at fault, lossily as text; empty if the encoding itself is at fault.
    pub path: String,
    /// Which rule it breaks.
    pub rule: &'static str,
}

/// Hashed in front of the encoding, so that a tree's digest is never that of a file.
const DOMAIN: &[u8] = b"siding tree 1\n";

impl Tree {
    /// Checks a list of entries, in any order, against every rule of `docs/format.md` section 6.
    pub fn new(mut entries: Vec<Entry>) -> Result<Self, TreeError> {
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        check(&entries)?;
        Ok(Self { entries })
    }

    /// One empty directory: mode 0755, owned by root, of 1970.
    pub(crate) fn nothing() -> Self {
        let meta = Meta { mode: 0o755, uid: 0, gid: 0, seconds: 0, nanoseconds: 0, xattrs: Xattrs::new() };
        Self { entries: vec![Entry { path: Vec::new(), node: Node::Directory(meta) }] }
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

#[cfg(test)]
mod tests;
