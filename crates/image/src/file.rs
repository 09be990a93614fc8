//! Reads files to know what they are: opens them without waiting, hashes them in bounded memory.

use crate::verity::{BLOCK, Merkle, leaves, zero_leaf};
use crate::{Digest, Error, FileRef};
use rayon::prelude::*;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;

/// How much one task reads and hashes at a time; what a thread holds.
const TASK: usize = 16 * BLOCK;
/// How much is hashed before the digests are folded into the tree, in order.
const BATCH: u64 = 64 * TASK as u64;

/// Opens a regular file or block device for reading and finds its length in bytes.
///
/// Does not wait for the other end, should this be a named pipe; that is refused.
pub(crate) fn open(path: &Path) -> Result<(File, u64), Error> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| Error::io("open", path, e.into()))?;
    let mut file = File::from(file);
    let len = byte_length(&mut file).map_err(|e| Error::io("find the length of", path, e))?;
    Ok((file, len))
}

/// A block device's length is where its end is; its metadata says 0.
fn byte_length(file: &mut File) -> io::Result<u64> {
    let meta = file.metadata()?;
    if meta.file_type().is_block_device() {
        return file.seek(SeekFrom::End(0));
    }
    if !meta.is_file() {
        return Err(io::Error::other("neither a regular file nor a block device"));
    }
    Ok(meta.len())
}

/// Reads a whole file and says what it is.
///
/// Reads it, rather than mapping it, so that a file that shrinks meanwhile is an error and memory stays bounded:
/// a quarter of a MiB a thread. Holes are not read.
pub(crate) fn identify(path: &Path) -> Result<FileRef, Error> {
    let (file, size) = open(path)?;
    let digest = digest(&file, size).map_err(|e| Error::io("read", path, e))?;
    Ok(FileRef { size, digest })
}

/// Compares a file's content with what it should be. A block device may be larger than the image on it.
pub(crate) fn check(path: &Path, expected: FileRef) -> Result<(), Error> {
    let (file, len) = open(path)?;
    let is_device = file.metadata().is_ok_and(|meta| meta.file_type().is_block_device());
    let size = if is_device { len.min(expected.size) } else { len };
    let got = digest(&file, size).map_err(|e| Error::io("read", path, e))?;
    if got == expected.digest {
        return Ok(());
    }
    Err(Error::Differs { path: path.to_owned(), expected: expected.digest, got })
}

/// The fs-verity digest of a file's first `len` bytes, read and hashed on all of rayon's threads.
fn digest(file: &File, len: u64) -> io::Result<Digest> {
    let mut tree = Merkle::new();
    let mut start = 0;
    while start < len {
        let end = len.min(start.saturating_add(BATCH));
        tree.push(&batch(file, start, end)?);
        start = end;
    }
    Ok(tree.finish(len))
}

fn batch(file: &File, start: u64, end: u64) -> io::Result<Vec<Digest>> {
    let blocks = usize::try_from((end - start).div_ceil(BLOCK as u64)).unwrap_or(0);
    if is_hole(file, start, end) {
        return Ok(vec![zero_leaf(); blocks]);
    }
    let mut out = vec![Digest([0; 32]); blocks];
    let tasks = out.par_chunks_mut(TASK / BLOCK).enumerate();
    tasks.try_for_each_init(Vec::new, |buffer, (index, digests)| {
        let from = start + (index * TASK) as u64;
        buffer.resize(usize::try_from(end - from).unwrap_or(TASK).min(TASK), 0);
        file.read_exact_at(buffer, from)?;
        digests.copy_from_slice(&leaves(buffer));
        io::Result::Ok(())
    })?;
    Ok(out)
}

/// The ranges of a file of `len` bytes that its filesystem knows to be nothing but zeros, in order.
pub(crate) fn holes(path: &Path) -> Result<Vec<std::ops::Range<u64>>, Error> {
    use rustix::fs::{SeekFrom::Data, SeekFrom::Hole, seek};
    let (file, len) = open(path)?;
    let mut holes = Vec::new();
    let mut at = 0;
    while at < len {
        // Where the filesystem does not say, there is data up to the end.
        let hole = seek(&file, Hole(at)).unwrap_or(len).min(len);
        let data = match seek(&file, Data(hole)) {
            Ok(data) => data.min(len),
            Err(_) => len,
        };
        if hole < data {
            holes.push(hole..data);
        }
        at = data;
    }
    Ok(holes)
}

/// Whether the filesystem knows that there is nothing but zeros; where it does not say, they are read.
fn is_hole(file: &File, start: u64, end: u64) -> bool {
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(start)) {
        Ok(data) => data >= end,
        Err(error) => error == rustix::io::Errno::NXIO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verity;
    use std::io::Write;

    #[test]
    fn reading_a_file_gives_the_digest_of_its_bytes() {
        for size in [0, 1, 4096, 4097, TASK - 1, TASK, TASK + 1, BATCH as usize + 4097] {
            let bytes: Vec<u8> = (0..size).map(|i| (i * 7 + i / 4096) as u8).collect();
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(&bytes).unwrap();
            let expected = FileRef { size: size as u64, digest: verity::digest(&bytes) };
            assert_eq!(identify(file.path()).unwrap(), expected, "{size} bytes");
            check(file.path(), expected).unwrap();
        }
    }

    #[test]
    fn holes_count_as_zeros_at_the_end_too() {
        let mut bytes = vec![0; 3 * BATCH as usize + 17];
        bytes[BATCH as usize + 5] = 1;
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all_at(&[1], BATCH + 5).unwrap();
        file.as_file().set_len(bytes.len() as u64).unwrap();
        assert_eq!(identify(file.path()).unwrap().digest, verity::digest(&bytes));
    }

    #[test]
    fn holes_are_where_nothing_was_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mib = 1 << 20;
        file.as_file().write_all_at(&[1], 3 * mib).unwrap();
        file.as_file().set_len(9 * mib).unwrap();
        let holes = holes(file.path()).unwrap();
        let zeros: u64 = holes.iter().map(|hole| hole.end - hole.start).sum();
        // A filesystem without holes has none to tell of; one with them may round to its blocks.
        assert!(zeros == 0 || zeros > 8 * mib, "{holes:?}");
        assert!(!holes.iter().any(|hole| hole.contains(&(3 * mib))), "{holes:?}");
    }

    #[test]
    fn a_file_that_grew_or_shrank_is_not_the_same() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let expected = FileRef { size: 3, digest: verity::digest(b"abc") };
        for bytes in [&b"ab"[..], b"abcd"] {
            std::fs::write(file.path(), bytes).unwrap();
            assert!(check(file.path(), expected).is_err());
        }
    }
}
