//! Patches of images in memory.
#![allow(dead_code, reason = "each test uses its own part")]

use siding_apply::{Error, NoProgress, Sink};
use siding_image::{Content, Entry, FileRef, Identity, Image, Kind, Meta, Node, Tree, verity};
use siding_patch::{Encoded, ImageRef, Limits, Manifest, Trust, encode_changes};
use std::io;

/// Keeps the contents it is given.
#[derive(Default)]
pub(crate) struct Memory(pub(crate) Vec<Vec<u8>>);

impl Sink for Memory {
    fn begin(&mut self, _target: &Content, fresh: &[FileRef]) -> io::Result<()> {
        self.0 = fresh.iter().map(|file| vec![0; file.size as usize]).collect();
        Ok(())
    }

    fn write_at(&mut self, blob: usize, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0[blob][offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn read_at(&mut self, blob: usize, offset: u64, out: &mut [u8]) -> io::Result<()> {
        out.copy_from_slice(&self.0[blob][offset as usize..][..out.len()]);
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
    write(old.identity(), identity, chunks)
}

fn write(old: Identity, new: Identity, chunks: &[Encoded]) -> Vec<u8> {
    let image = |version: &str, identity| ImageRef { version: version.parse().unwrap(), identity };
    let manifest = Manifest::new("test".parse().unwrap(), image("1", old), image("2", new));
    let mut out = Vec::new();
    siding_patch::write(&manifest, chunks, &[], &mut out).unwrap();
    out
}

/// A tree of files `0`, `1`, … with these contents; it lies nowhere.
fn tree(contents: &[Vec<u8>]) -> Tree {
    let file = |bytes: &Vec<u8>| FileRef { size: bytes.len() as u64, digest: verity::digest(bytes) };
    let files = contents.iter().enumerate().map(|(index, bytes)| Entry {
        path: format!("{index:03}").into_bytes(),
        node: Node::File(Meta::default(), file(bytes)),
    });
    let root = Entry { path: vec![], node: Node::Directory(Meta::default()) };
    Tree::new([root].into_iter().chain(files).collect()).unwrap()
}

/// An unsigned patch from a tree without files to one of these distinct contents, and what it is for.
pub(crate) fn tree_patch(contents: &[Vec<u8>], chunks: &[Encoded]) -> (Vec<u8>, Image) {
    let (old, new) = (tree(&[]), tree(contents));
    let changes = encode_changes(&old.changes_to(&new), siding_patch::Packing::zstd(3)).unwrap();
    let old = Image::assume("/nowhere".as_ref(), Content::Tree(old));
    let chunks = [&[changes], chunks].concat();
    (write(old.identity(), Content::Tree(new).identity(), &chunks), old)
}

/// What the patch makes, one content after the other.
pub(crate) fn apply(patch: &[u8], old: &Image) -> Result<Vec<u8>, Error> {
    let checked = siding_patch::open(patch, &Trust::anyone(), &Limits::default())?;
    let mut sink = Memory::default();
    siding_apply::run(checked, old, &mut sink, siding_apply::MEMORY, &mut NoProgress)?;
    Ok(sink.0.concat())
}

/// As [`apply`], but writes nothing.
pub(crate) fn check(patch: &[u8], old: &Image, limits: &Limits) -> Result<(), Error> {
    let checked = siding_patch::open(patch, &Trust::anyone(), limits)?;
    siding_apply::check(checked, old, siding_apply::MEMORY, &mut NoProgress).map(drop)
}
