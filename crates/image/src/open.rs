//! An image on disk, opened for reading.

use crate::{Digest, Error, FileRef, Map, Tree, file, map, scan, verity};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Whether an image is one file (or block device) or a tree of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A file or a block device: one run of bytes.
    File,
    /// A directory.
    Tree,
}

/// What an image is, wherever it lies: two images are the same if and only if their identities are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// File or tree.
    pub kind: Kind,
    /// Length in bytes; for a tree the sum over its regular files.
    pub size: u64,
    /// A file's fs-verity digest, or a tree's digest over its canonical encoding.
    pub digest: Digest,
}

/// One run of bytes in an image: the file itself, or one distinct content of a tree.
#[derive(Debug)]
pub struct Blob {
    /// Its length and digest.
    pub content: FileRef,
    /// Where it starts in the image's flat space.
    pub start: u64,
    path: PathBuf,
    map: OnceLock<Map>,
}

/// What an image is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// One run of bytes.
    File(FileRef),
    /// A tree of files.
    Tree(Tree),
}

/// An image on disk: its identity, and its bytes as one flat space.
///
/// The flat space is the file's bytes, or a tree's distinct file contents in order of first path, one after
/// the other. Past its end it reads as zeros without limit (`docs/format.md` section 5): that is how patches
/// make runs of zeros from nothing.
#[derive(Debug)]
pub struct Image {
    root: PathBuf,
    content: Content,
    identity: Identity,
    blobs: Vec<Blob>,
    by_digest: HashMap<Digest, usize>,
}

impl Identity {
    /// What [`Image::nothing`] is.
    pub fn nothing(kind: Kind) -> Self {
        Image::nothing(kind).identity()
    }

    /// Whether it is that of [`Image::nothing`].
    pub fn is_nothing(&self) -> bool {
        self.size == 0 && *self == Self::nothing(self.kind)
    }
}

impl Image {
    /// Opens what lies at `root` and computes its identity, reading every byte.
    ///
    /// A symbolic link at `root` itself is followed; none inside a tree is.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let meta = fs::metadata(root).map_err(|e| Error::io("open", root, e))?;
        if meta.is_dir() {
            let real = fs::canonicalize(root).map_err(|e| Error::io("resolve", root, e))?;
            return Ok(Self::assume(&real, Content::Tree(scan(&real)?)));
        }
        Ok(Self::assume(root, Content::File(file::identify(root)?)))
    }

    /// Opens what lies at `root` as the image `content` says it is, reading nothing yet.
    ///
    /// For a slot whose seal vouches for it. [`Image::check`] makes sure.
    pub fn assume(root: &Path, content: Content) -> Self {
        let identity = content.identity();
        let mut start = 0;
        let mut blob = |path: PathBuf, content: FileRef| {
            let blob = Blob { content, start, path, map: OnceLock::new() };
            start += content.size;
            blob
        };
        let blobs: Vec<Blob> = match &content {
            Content::File(file) => vec![blob(root.to_owned(), *file)],
            Content::Tree(tree) => {
                let contents = tree.contents().into_iter();
                contents.map(|(path, file)| blob(root.join(OsStr::from_bytes(path)), file)).collect()
            }
        };
        let by_digest = blobs.iter().enumerate().map(|(index, blob)| (blob.content.digest, index)).collect();
        Self { root: root.to_owned(), content, identity, blobs, by_digest }
    }

    /// No image at all, of this kind: an empty file, or a tree of one empty directory. A patch that starts from it holds
    /// the whole of its target (`docs/format.md` section 3), and every device has it.
    pub fn nothing(kind: Kind) -> Self {
        let content = match kind {
            Kind::File => Content::File(FileRef { size: 0, digest: verity::digest(&[]) }),
            Kind::Tree => Content::Tree(Tree::nothing()),
        };
        let identity = content.identity();
        Self { root: PathBuf::new(), content, identity, blobs: Vec::new(), by_digest: HashMap::new() }
    }

    /// Reads everything again and compares it with the identity; says which file differs.
    ///
    /// For a tree this compares the contents, not the metadata.
    pub fn check(&self) -> Result<(), Error> {
        self.blobs.iter().try_for_each(|blob| file::check(&blob.path, blob.content))
    }

    /// Where the image lies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What it is.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// What it is made of.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Its description, if it is a tree.
    pub fn tree(&self) -> Option<&Tree> {
        match &self.content {
            Content::Tree(tree) => Some(tree),
            Content::File(_) => None,
        }
    }

    /// Its runs of bytes, in order.
    pub fn blobs(&self) -> &[Blob] {
        &self.blobs
    }

    /// The run of bytes with this digest.
    pub fn blob(&self, digest: &Digest) -> Option<&Blob> {
        self.by_digest.get(digest).and_then(|index| self.blobs.get(*index))
    }

    /// The length of the flat space in bytes, before its endless zeros.
    pub fn len(&self) -> u64 {
        self.blobs.last().map_or(0, |blob| blob.start + blob.content.size)
    }

    /// Whether the flat space is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes `offset..offset + len` of the flat space, if they lie in one file.
    pub fn slice(&self, offset: u64, len: u64) -> Result<Option<&[u8]>, Error> {
        let index = self.blobs.partition_point(|blob| blob.start + blob.content.size <= offset);
        let Some(blob) = self.blobs.get(index).filter(|blob| blob.start <= offset) else { return Ok(None) };
        let at = usize::try_from(offset - blob.start).unwrap_or(usize::MAX);
        let end = usize::try_from(len).ok().and_then(|len| at.checked_add(len));
        let Some(end) = end else { return Ok(None) };
        Ok(blob.bytes()?.get(at..end))
    }

    /// Fills `out` from the flat space at `offset`; past the end come zeros.
    pub fn read_at(&self, mut offset: u64, mut out: &mut [u8]) -> Result<(), Error> {
        let mut index = self.blobs.partition_point(|blob| blob.start + blob.content.size <= offset);
        while !out.is_empty() {
            let Some(blob) = self.blobs.get(index) else {
                out.fill(0);
                return Ok(());
            };
            let within = offset - blob.start;
            let len = usize::try_from(blob.content.size - within).unwrap_or(usize::MAX).min(out.len());
            let (now, later) = out.split_at_mut(len);
            blob.read_at(within, now)?;
            out = later;
            offset += len as u64;
            index += 1;
        }
        Ok(())
    }
}

impl Blob {
    /// The bytes, mapped when first asked for.
    pub fn bytes(&self) -> Result<&[u8], Error> {
        let map = match self.map.get() {
            Some(map) => map,
            None => {
                let map = Map::open(&self.path)?;
                self.map.get_or_init(|| map)
            }
        };
        let size = usize::try_from(self.content.size).unwrap_or(usize::MAX);
        // A block device may be larger than the image on it; anything shorter is not this image.
        map.as_slice().get(..size).ok_or_else(|| Error::Differs {
            path: self.path.clone(),
            expected: self.content.digest,
            got: verity::digest(map.as_slice()),
        })
    }

    /// Fills `out` from `offset` on, which lie within it. What is small is not kept in memory for that.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        if self.content.size < map::SMALL && self.map.get().is_none() {
            let (file, _) = file::open(&self.path)?;
            return file.read_exact_at(out, offset).map_err(|e| Error::io("read", &self.path, e));
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        out.copy_from_slice(&self.bytes()?[start..][..out.len()]);
        Ok(())
    }

    /// The ranges, in order, that the filesystem knows to be nothing but zeros without reading them.
    pub fn holes(&self) -> Result<Vec<Range<u64>>, Error> {
        file::holes(&self.path)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Content {
    /// The identity of an image with this content.
    pub fn identity(&self) -> Identity {
        match self {
            Self::File(file) => Identity { kind: Kind::File, size: file.size, digest: file.digest },
            Self::Tree(tree) => Identity { kind: Kind::Tree, size: tree.size(), digest: tree.digest() },
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::File => "file",
            Self::Tree => "tree",
        })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({} bytes)", self.kind, self.digest.short(), self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_flat_space_of_a_tree_holds_each_content_once_and_ends_in_zeros() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("b"), b"two").unwrap();
        fs::write(dir.path().join("a"), b"one").unwrap();
        fs::write(dir.path().join("c"), b"one").unwrap();
        let image = Image::open(dir.path()).unwrap();
        assert_eq!(image.len(), 6);
        let mut out = [9u8; 8];
        image.read_at(0, &mut out).unwrap();
        assert_eq!(&out, b"onetwo\0\0");
        image.read_at(u64::MAX - 8, &mut out).unwrap();
        assert_eq!(out, [0; 8]);
    }

    /// A process may have only some 65,000 maps, and a tree more files.
    #[test]
    fn small_files_take_no_map() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..100u32 {
            fs::write(dir.path().join(number.to_string()), number.to_le_bytes().repeat(50)).unwrap();
        }
        fs::write(dir.path().join("large"), vec![7; 100_000]).unwrap();
        let image = Image::open(dir.path()).unwrap();
        let mut all = vec![0; image.len() as usize];
        image.read_at(0, &mut all).unwrap();
        let bytes: Vec<&[u8]> = image.blobs().iter().map(|blob| blob.bytes().unwrap()).collect();
        assert_eq!(bytes.concat(), all);
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let of_it = maps.lines().filter(|line| line.contains(dir.path().to_str().unwrap()));
        assert_eq!(of_it.count(), 1);
    }

    #[test]
    fn a_changed_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("good"), b"1").unwrap();
        fs::write(dir.path().join("bad"), b"2").unwrap();
        let tree = scan(dir.path()).unwrap();
        fs::write(dir.path().join("bad"), b"3").unwrap();
        let error = Image::assume(dir.path(), Content::Tree(tree)).check().unwrap_err().to_string();
        assert!(error.contains("/bad has changed"), "{error}");
    }

    #[test]
    fn a_shortened_file_is_an_error_and_not_a_crash() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let content = Content::File(FileRef { size: 10, digest: Digest::of(b"") });
        assert!(Image::assume(file.path(), content).check().is_err());
    }

    proptest! {
        #[test]
        fn reading_anywhere_equals_the_concatenation(
            files in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..6),
            offset in 0u64..120, len in 0usize..120,
        ) {
            let dir = tempfile::tempdir().unwrap();
            for (i, bytes) in files.iter().enumerate() {
                fs::write(dir.path().join(format!("{i}")), bytes).unwrap();
            }
            let image = Image::open(dir.path()).unwrap();
            let mut flat: Vec<u8> = image.blobs().iter().flat_map(|b| b.bytes().unwrap().to_vec()).collect();
            prop_assert_eq!(flat.len() as u64, image.len());
            flat.resize(400, 0);
            let mut out = vec![1u8; len];
            image.read_at(offset, &mut out).unwrap();
            prop_assert_eq!(&out[..], &flat[offset as usize..][..len]);
            if let Some(slice) = image.slice(offset, len as u64).unwrap() {
                prop_assert_eq!(slice, &out[..]);
            }
        }
    }
}
