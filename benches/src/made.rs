//! Made-up pairs, the same on every machine, with the maker's patches.

use crate::Pair;
use siding_image::Image;
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

impl Pair {
    /// Bytes without structure; in the new ones every `every`-th differs.
    pub fn sprinkled(name: &'static str, len: usize, every: usize) -> Self {
        let old = noise(len);
        let new = sprinkle(&old, every);
        let (old, new, dir) = placed(&old, &new);
        Self::diffed(name, old, new, Some(dir))
    }

    /// Bytes without structure, their order turned round in pieces of 48: tens of thousands of short copies that
    /// each go backwards, the worst that the maker makes of itself.
    pub fn scattered(name: &'static str, len: usize) -> Self {
        let old = noise(len);
        let new: Vec<u8> = old.rchunks(48).flatten().copied().collect();
        let (old, new, dir) = placed(&old, &new);
        Self::diffed(name, old, new, Some(dir))
    }

    /// A tree of `count` files of 100 bytes each, of which three change.
    pub fn tiny_files(count: usize) -> Self {
        const LEN: usize = 100;
        let dir = tempfile::tempdir().expect("a temporary directory");
        let old = noise(count * LEN);
        let mut new = old.clone();
        [0, count / 2, count - 1].iter().for_each(|file| new[file * LEN + 50] ^= 1);
        let [old, new] = [("old", old), ("new", new)].map(|(name, bytes)| {
            let root = dir.path().join(name);
            tree(&root, bytes.chunks(LEN)).expect("room for a bench image");
            Image::open(&root).expect("it was just written")
        });
        Self::diffed("tiny-files", old, new, Some(dir))
    }
}

/// A directory of numbered files, all of one time.
fn tree<'a>(root: &Path, files: impl Iterator<Item = &'a [u8]>) -> std::io::Result<()> {
    fs::create_dir(root)?;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for (number, bytes) in files.enumerate() {
        let path = root.join(format!("{number:06}"));
        fs::write(&path, bytes)?;
        File::options().write(true).open(&path)?.set_modified(time)?;
    }
    File::open(root)?.set_modified(time)
}

/// The same with every `every`-th byte one more.
pub(crate) fn sprinkle(old: &[u8], every: usize) -> Vec<u8> {
    let mut new = old.to_vec();
    new.iter_mut().step_by(every).for_each(|byte| *byte = byte.wrapping_add(1));
    new
}

/// Two files, opened, and the directory they are in.
pub(crate) fn placed(old: &[u8], new: &[u8]) -> (Image, Image, TempDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let place = |file: &str, bytes: &[u8]| {
        let path = dir.path().join(file);
        fs::write(&path, bytes).expect("room for a bench image");
        Image::open(&path).expect("it was just written")
    };
    let (old, new) = (place("old", old), place("new", new));
    (old, new, dir)
}

/// Bytes without structure, the same on every machine.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}
