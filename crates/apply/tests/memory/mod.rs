//! Patches of files in memory.

use siding_apply::{Error, NoProgress, Sink};
use siding_image::{Content, FileRef, Identity, Image, Kind, verity};
use siding_patch::{Encoded, ImageRef, Limits, Manifest, Trust};
use std::io;

/// Keeps the one file it is given.
#[derive(Default)]
struct Memory(Vec<u8>);

impl Sink for Memory {
    fn begin(&mut self, _target: &Content, fresh: &[FileRef]) -> io::Result<()> {
        self.0 = vec![0; fresh.iter().map(|file| file.size as usize).sum()];
        Ok(())
    }

    fn write_at(&mut self, _blob: usize, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn read_at(&mut self, _blob: usize, offset: u64, out: &mut [u8]) -> io::Result<()> {
        out.copy_from_slice(&self.0[offset as usize..][..out.len()]);
        Ok(())
    }
}

pub(crate) fn image(content: &[u8]) -> Image {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    let image = Image::open(file.path()).unwrap();
    // Mapped now, so that the file may go.
    image.blobs()[0].bytes().unwrap();
    image
}

/// An unsigned patch from `old` to `target` with these chunks.
pub(crate) fn patch(old: &Image, target: &[u8], chunks: &[Encoded]) -> Vec<u8> {
    let identity = Identity { kind: Kind::File, size: target.len() as u64, digest: verity::digest(target) };
    let image = |version: &str, identity| ImageRef { version: version.parse().unwrap(), identity };
    let manifest = Manifest {
        component: "test".parse().unwrap(),
        source: image("1", old.identity()),
        target: image("2", identity),
        chunks: vec![],
        epoch: 0,
        advisories: vec![],
        restart: vec![],
        products: vec![],
        created: None,
        expires: None,
        minimum: None,
        notes: Default::default(),
    };
    let mut out = Vec::new();
    siding_patch::write(&manifest, chunks, &[], &mut out).unwrap();
    out
}

pub(crate) fn apply(patch: &[u8], old: &Image) -> Result<Vec<u8>, Error> {
    let checked = siding_patch::open(patch, &Trust::anyone(), &Limits::default())?;
    let mut sink = Memory::default();
    siding_apply::run(checked, old, &mut sink, &mut NoProgress)?;
    Ok(sink.0)
}
