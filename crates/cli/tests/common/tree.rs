//! Directories to patch, and everything there is to know about one.

use super::noise;
use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// A small tree with one thing of each kind; the `version` changes some of it.
pub(crate) fn small(root: &Path, version: u64) {
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::create_dir_all(root.join("empty")).unwrap();
    fs::write(root.join("same"), noise(7, 5_000)).unwrap();
    let mut tool = noise(8, 9_000);
    tool[4_000..4_010].fill(version as u8);
    fs::write(root.join("bin/tool"), tool).unwrap();
    fs::hard_link(root.join("bin/tool"), root.join("bin/tool-too")).unwrap();
    fs::write(root.join(format!("only-in-{version}")), noise(version, 300)).unwrap();
    symlink(format!("bin/{version}"), root.join("link")).unwrap();
    set_mode(&root.join("bin/tool"), 0o755);
    for (index, name) in ["bin/tool", "same", "bin", "empty", ""].into_iter().enumerate() {
        set_time(&root.join(name), 1_700_000_000 + version * 100 + index as u64, 123_456_789);
    }
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn set_time(path: &Path, seconds: u64, nanoseconds: u32) {
    let time = UNIX_EPOCH + Duration::new(seconds, nanoseconds);
    File::open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
}

/// All of a tree that a patch must keep, readable when two of them differ.
pub(crate) fn facts(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut facts = BTreeMap::new();
    let mut names = BTreeMap::new();
    walk(root, root, &mut facts, &mut names);
    facts
}

/// The first names of files with several, by inode, so that hard links show.
type Names = BTreeMap<(u64, u64), PathBuf>;

fn walk(root: &Path, path: &Path, facts: &mut BTreeMap<PathBuf, String>, names: &mut Names) {
    let meta = fs::symlink_metadata(path).unwrap();
    let relative = path.strip_prefix(root).unwrap().to_owned();
    let kind = meta.file_type();
    let what = if kind.is_symlink() {
        format!("symlink to {:?}", fs::read_link(path).unwrap())
    } else if kind.is_dir() {
        "directory".to_owned()
    } else {
        let first = names.entry((meta.dev(), meta.ino())).or_insert_with(|| relative.clone());
        let bytes = fs::read(path).unwrap();
        let digest = siding_image::Digest::of(&bytes);
        format!("file {digest} of {} bytes, {} names, first {first:?}", bytes.len(), meta.nlink())
    };
    let (mode, owner) = (meta.mode(), (meta.uid(), meta.gid()));
    let time = (meta.mtime(), meta.mtime_nsec());
    let xattrs = xattrs(path);
    facts.insert(relative, format!("{what}, {mode:o}, {owner:?}, {time:?}, {xattrs:?}"));
    if kind.is_dir() {
        let mut children: Vec<PathBuf> = fs::read_dir(path).unwrap().map(|e| e.unwrap().path()).collect();
        children.sort();
        children.iter().for_each(|child| walk(root, child, facts, names));
    }
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut list = vec![0; 4096];
    let len = rustix::fs::llistxattr(path, &mut list).unwrap_or(0);
    let names = list[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0; 4096];
            let len = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
            value.truncate(len);
            (std::ffi::OsStr::from_bytes(name).to_string_lossy().into_owned(), value)
        })
        .collect()
}
