//! The rules that make a list of entries a tree. `docs/format.md` section 6.1.

use super::{Entry, Meta, Node, TreeError};
use crate::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// The longest path in bytes (Linux' PATH_MAX with its end mark).
pub(super) const MAX_PATH: usize = 4095;
/// The longest name in bytes (Linux' NAME_MAX).
const MAX_NAME: usize = 255;
/// The most that all regular files may hold in bytes, so that no offset into a tree overflows.
const MAX_SIZE: u64 = i64::MAX as u64;

/// Changes name each path once, in ascending order.
pub(super) fn ascend<'a>(paths: impl Iterator<Item = &'a Vec<u8>> + Clone) -> Result<(), TreeError> {
    let mut pairs = paths.clone().zip(paths.skip(1));
    match pairs.find(|(before, after)| before >= after) {
        None => Ok(()),
        Some((before, after)) if before == after => Err(TreeError::at(after, "a path occurs twice")),
        Some((_, after)) => Err(TreeError::at(after, "paths are out of order")),
    }
}

pub(super) fn check(entries: &[Entry]) -> Result<(), TreeError> {
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
