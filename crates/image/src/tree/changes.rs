//! What turns one tree's description into another's. `docs/format.md` section 6.2.

use super::codec::{self, Bad, bad, expect, infallible};
use super::rules::ascend;
use super::{Entry, FileRef, Meta, Node, Tree, TreeError};
use crate::Digest;
use minicbor::{Decoder, Encoder};
use std::collections::{BTreeMap, BTreeSet};

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

impl Tree {
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
        codec::encode_entries(&mut out, &self.put);
        infallible(out.array(self.fresh.len() as u64));
        self.fresh.iter().for_each(|index| infallible(out.u64(*index as u64)));
        infallible(out.array(self.touched.len() as u64));
        let mut next = 0;
        for (index, meta) in &self.touched {
            infallible(out.array(2));
            infallible(out.u64(index.saturating_sub(next) as u64));
            codec::encode_meta(&mut out, meta);
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
        let put = codec::decode_entries(input)?;
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
            touched.push((index, codec::decode_meta(input)?));
            next = index.checked_add(1).ok_or_else(bad)?;
        }
        Ok(Self { removed, put, fresh, touched })
    }
}
