//! What the benches share: images to measure on, real ones and seeded ones.

use siding_diff::Level;
use siding_image::{Content, FileRef, Image, Sink};
use siding_patch::{ImageRef, Limits, Manifest, Trust};
use std::io;
use std::path::Path;
use tempfile::TempDir;

/// A pair of versions, opened, with the patch between them.
#[derive(Debug)]
pub struct Pair {
    /// What it is called in reports.
    pub name: &'static str,
    /// The source.
    pub old: Image,
    /// The target.
    pub new: Image,
    /// An unsigned patch from one to the other.
    pub patch: Vec<u8>,
    _dir: Option<TempDir>,
}

impl Pair {
    /// libssl of OpenSSL 3.0.20 and 3.0.22, from `testdata/`.
    pub fn libssl() -> Self {
        let file = |version: &str| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/libssl").join(version);
            Image::open(&path.join("libssl.so.3")).expect("testdata is part of the repository")
        };
        Self::new("libssl", file("3.0.20"), file("3.0.22"), None)
    }

    /// Bytes without structure; in the new ones every `every`-th differs.
    pub fn sprinkled(name: &'static str, len: usize, every: usize) -> Self {
        let old = noise(len);
        let mut new = old.clone();
        new.iter_mut().step_by(every).for_each(|byte| *byte = byte.wrapping_add(1));
        Self::made(name, &old, &new)
    }

    /// Bytes without structure, their order turned round in pieces of 48: tens of thousands of short copies that
    /// each go backwards, the worst that the maker makes of itself.
    pub fn scattered(name: &'static str, len: usize) -> Self {
        let old = noise(len);
        let new: Vec<u8> = old.rchunks(48).flatten().copied().collect();
        Self::made(name, &old, &new)
    }

    fn made(name: &'static str, old: &[u8], new: &[u8]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let place = |file: &str, bytes: &[u8]| {
            let path = dir.path().join(file);
            std::fs::write(&path, bytes).expect("room for a bench image");
            Image::open(&path).expect("it was just written")
        };
        let (old, new) = (place("old", old), place("new", new));
        Self::new(name, old, new, Some(dir))
    }

    fn new(name: &'static str, old: Image, new: Image, dir: Option<TempDir>) -> Self {
        let delta = siding_diff::make(&old, &new, Level::Default, &|_, _, _| {}).expect("two files");
        let image = |version: &str, image: &Image| ImageRef {
            version: version.parse().expect("a version"),
            identity: image.identity(),
        };
        let component = name.parse().expect("a component name");
        let manifest = Manifest::new(component, image("1", &old), image("2", &new));
        let mut patch = Vec::new();
        siding_patch::write(&manifest, &delta.chunks, &[], &mut patch).expect("writing to memory");
        Self { name, old, new, patch, _dir: dir }
    }

    /// Applies the patch to a sink that forgets what it is given.
    pub fn apply(&self) {
        let patch = siding_patch::open(self.patch.as_slice(), &Trust::anyone(), &Limits::default());
        let patch = patch.expect("the patch was just made");
        siding_apply::run(patch, &self.old, &mut Forget, siding_apply::MEMORY, &mut siding_apply::NoProgress)
            .expect("it applies");
    }
}

/// Takes everything, keeps nothing.
struct Forget;

impl Sink for Forget {
    fn begin(&mut self, _target: &Content, _fresh: &[FileRef]) -> io::Result<()> {
        Ok(())
    }

    fn write_at(&mut self, _blob: usize, _offset: u64, bytes: &[u8]) -> io::Result<()> {
        std::hint::black_box(bytes);
        Ok(())
    }

    fn read_at(&mut self, _blob: usize, _offset: u64, _out: &mut [u8]) -> io::Result<()> {
        Err(io::Error::other("nothing is kept"))
    }
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
