//! Whether a tree that was read back is the one that was to be written.

use super::below;
use crate::{Error, Result};
use siding_image::{Entry, Meta, Node, Tree};
use std::path::Path;

/// Compares entry by entry and names the first difference. Owners, and attributes that only root can set, are
/// compared only if `as_root`; labels that the system itself gave (`security.`) are let pass.
pub(crate) fn compare(root: &Path, target: &Tree, got: &Tree, as_root: bool) -> Result<()> {
    // A directory's time changes with what is in it, so what is there or not says more and comes first.
    if let Some(entry) = target.entries().iter().find(|entry| got.get(&entry.path).is_none()) {
        return differs(root, entry, "presence", "an entry", "nothing");
    }
    if let Some(entry) = got.entries().iter().find(|entry| target.get(&entry.path).is_none()) {
        return differs(root, entry, "presence", "nothing", "an entry");
    }
    let read = target.entries().iter().filter_map(|entry| Some((entry, got.get(&entry.path)?)));
    let mut differing = read.filter_map(|(entry, read)| Some((entry, difference(entry, read, as_root)?)));
    match differing.next() {
        Some((entry, (what, expected, got))) => differs(root, entry, what, &expected, &got),
        None => Ok(()),
    }
}

/// Whether setting an attribute of this name takes root.
pub(super) fn needs_root(name: &[u8]) -> bool {
    name.starts_with(b"trusted.") || name.starts_with(b"security.")
}

type Difference = (&'static str, String, String);

fn difference(target: &Entry, got: &Entry, as_root: bool) -> Option<Difference> {
    let (wanted, read) = match (&target.node, &got.node) {
        (Node::Directory(wanted), Node::Directory(read)) => (wanted, read),
        (Node::File(wanted, content), Node::File(read, found)) => {
            if content != found {
                return Some(("content", content.digest.to_string(), found.digest.to_string()));
            }
            (wanted, read)
        }
        (Node::Symlink(wanted, to), Node::Symlink(read, found)) => {
            if to != found {
                return Some(("target", show(to), show(found)));
            }
            (wanted, read)
        }
        (Node::HardLink(to), Node::HardLink(found)) => {
            return (to != found).then(|| ("first name", show(to), show(found)));
        }
        (wanted, read) => return Some(("type", kind(wanted).to_owned(), kind(read).to_owned())),
    };
    let is_link = matches!(target.node, Node::Symlink(..));
    difference_of_meta(wanted, read, as_root, is_link)
}

fn difference_of_meta(wanted: &Meta, read: &Meta, as_root: bool, is_link: bool) -> Option<Difference> {
    // A symbolic link's mode cannot be set, and means nothing.
    if !is_link && wanted.mode != read.mode {
        return Some(("mode", format!("{:04o}", wanted.mode), format!("{:04o}", read.mode)));
    }
    let time = |meta: &Meta| format!("{}.{:09}", meta.seconds, meta.nanoseconds);
    if time(wanted) != time(read) {
        return Some(("modification time", time(wanted), time(read)));
    }
    let owner = |meta: &Meta| format!("{}:{}", meta.uid, meta.gid);
    if as_root && owner(wanted) != owner(read) {
        return Some(("owner", owner(wanted), owner(read)));
    }
    difference_of_xattrs(wanted, read, as_root)
}

fn difference_of_xattrs(wanted: &Meta, read: &Meta, as_root: bool) -> Option<Difference> {
    let shown = |value: Option<&Vec<u8>>| value.map_or_else(|| "none".to_owned(), |value| show(value));
    let set = wanted.xattrs.iter().filter(|(name, _)| as_root || !needs_root(name));
    for (name, value) in set {
        if read.xattrs.get(name) != Some(value) {
            let expected = format!("{}={}", show(name), show(value));
            return Some(("extended attribute", expected, shown(read.xattrs.get(name))));
        }
    }
    let unwanted = |name: &&Vec<u8>| !wanted.xattrs.contains_key(*name) && !needs_root(name);
    let extra = read.xattrs.keys().find(unwanted)?;
    Some(("extended attribute", format!("no {}", show(extra)), shown(read.xattrs.get(extra))))
}

fn kind(node: &Node) -> &'static str {
    match node {
        Node::Directory(_) => "a directory",
        Node::File(..) => "a file",
        Node::Symlink(..) => "a symbolic link",
        Node::HardLink(_) => "a hard link",
    }
}

/// Bytes for a person: long ones cut, odd ones escaped.
fn show(bytes: &[u8]) -> String {
    const MOST: usize = 80;
    let end = if bytes.len() > MOST { "…" } else { "" };
    format!("\"{}{end}\"", bytes.get(..MOST).unwrap_or(bytes).escape_ascii())
}

fn differs(root: &Path, entry: &Entry, what: &'static str, expected: &str, got: &str) -> Result<()> {
    let path = below(root, &entry.path);
    Err(Error::NotAsWritten { path, what, expected: expected.to_owned(), got: got.to_owned() })
}
