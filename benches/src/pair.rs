//! A pair of versions, and carrying its patch out without a disk.

use siding_apply::Report;
use siding_diff::Level;
use siding_image::{Content, FileRef, Image, Sink};
use siding_patch::{ChunkKind, Encoded, ImageRef, Limits, Manifest, Stored, Stream, Trust};
use siding_predict::Model;
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
    /// libssl of OpenSSL 3.0.20 and 3.0.22 for x86-64, from `testdata/`.
    pub fn libssl() -> Self {
        Self::testdata("libssl")
    }

    /// The same for AArch64.
    pub fn libssl_arm64() -> Self {
        Self::testdata("libssl-arm64")
    }

    fn testdata(name: &'static str) -> Self {
        let file = |version: &str| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata").join(name).join(version);
            Image::open(&path.join("libssl.so.3")).expect("testdata is part of the repository")
        };
        Self::diffed(name, file("3.0.20"), file("3.0.22"), None)
    }

    /// With the maker's patch.
    pub(crate) fn diffed(name: &'static str, old: Image, new: Image, dir: Option<TempDir>) -> Self {
        let delta = siding_diff::make(&old, &new, Level::Default, &|_, _, _| {}).expect("two of a kind");
        Self::with(name, old, new, &delta.chunks, dir)
    }

    /// With a patch of these chunks.
    pub(crate) fn with(
        name: &'static str,
        old: Image,
        new: Image,
        chunks: &[Encoded],
        dir: Option<TempDir>,
    ) -> Self {
        let image = |version: &str, image: &Image| ImageRef {
            version: version.parse().expect("a version"),
            identity: image.identity(),
        };
        let component = name.parse().expect("a component name");
        let manifest = Manifest::new(component, image("1", &old), image("2", &new));
        let mut patch = Vec::new();
        siding_patch::write(&manifest, chunks, &[], &mut patch).expect("writing to memory");
        Self { name, old, new, patch, _dir: dir }
    }

    /// Applies the patch to a sink that forgets what it is given.
    pub fn apply(&self) -> Report {
        carry_out(&self.patch, &self.old)
    }

    /// The target's bytes, if it is a file.
    pub fn target(&self) -> &[u8] {
        self.new.blobs()[0].bytes().expect("the new image")
    }

    /// The patch's chunks of instructions, checked, not decoded.
    pub fn deltas(&self) -> Vec<Stored> {
        self.chunks().into_iter().filter(|stored| stored.chunk().kind == ChunkKind::Delta).collect()
    }

    /// What the patch says moved.
    pub fn model(&self) -> Option<Model> {
        let stored = self.chunks().into_iter().find(|stored| stored.chunk().kind == ChunkKind::Model)?;
        let streams = stored.decode(|_| Err(siding_patch::Error::Unsigned)).expect("no history");
        let [regions, addresses, shifts] =
            [Stream::Regions, Stream::StepAddresses, Stream::StepShifts].map(|stream| streams.get(stream));
        Some(Model::decode(regions, addresses, shifts).expect("the maker's model"))
    }

    fn chunks(&self) -> Vec<Stored> {
        let mut patch = open(&self.patch);
        std::iter::from_fn(|| patch.next_chunk().expect("the patch was just made")).collect()
    }
}

/// Applies `patch` to a sink that forgets what it is given. A function of its own so that its instructions can be
/// counted without those around it.
#[inline(never)]
pub fn carry_out(patch: &[u8], old: &Image) -> Report {
    siding_apply::run(open(patch), old, &mut Forget, siding_apply::MEMORY, &mut siding_apply::NoProgress)
        .expect("it applies")
}

fn open(patch: &[u8]) -> siding_patch::Checked<&[u8]> {
    siding_patch::open(patch, &Trust::anyone(), &Limits::default()).expect("the patch was just made")
}

/// Takes everything, keeps nothing.
#[derive(Debug)]
pub struct Forget;

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
