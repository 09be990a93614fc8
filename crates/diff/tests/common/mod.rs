//! What the tests of this folder share.
#![allow(dead_code, reason = "each test uses its own part")]

use siding_image::{Content, Entry, FileRef, Image, Meta, Node, Sink, Tree, verity};
use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub(crate) fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata")
}

/// Where an image's contents lie in its flat space.
pub(crate) fn contents_of(image: &Image) -> Vec<Range<usize>> {
    let mut end = 0;
    let sizes = image.blobs().iter().map(|blob| blob.bytes().unwrap().len());
    let ranges = sizes.map(|size| {
        end += size;
        end - size..end
    });
    ranges.collect()
}

/// Keeps what it is given.
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

pub(crate) fn meta(mode: u16) -> Meta {
    Meta { mode, seconds: 1_750_000_000, ..Meta::default() }
}

/// The tree at `root` with the contents it has and the same modes, owners and times in every working copy.
pub(crate) fn described(root: &Path) -> Image {
    let mut entries = vec![Entry { path: vec![], node: Node::Directory(meta(0o755)) }];
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let node = if path.is_dir() {
                folders.push(path.clone());
                Node::Directory(meta(0o755))
            } else {
                let bytes = fs::read(&path).unwrap();
                Node::File(meta(0o644), FileRef { size: bytes.len() as u64, digest: verity::digest(&bytes) })
            };
            let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
            entries.push(Entry { path: name, node });
        }
    }
    Image::assume(root, Content::Tree(Tree::new(entries).unwrap()))
}
