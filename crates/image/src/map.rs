//! A file's bytes, read-only: the one place where files are mapped, and the one of a library with `unsafe`.
#![allow(unsafe_code, reason = "mapping a file is a promise that nobody shortens it")]

use crate::{Error, file};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A read-only view of a whole regular file or block device.
///
/// The kernel may drop the pages at will, so a map costs address space, not private memory. But a process may have only
/// so many maps (65,530 is usual on Linux), and trees have more files: those below 64 KiB are read instead.
#[derive(Debug)]
pub struct Map(Bytes);

/// Files below this length, in bytes, are read.
pub(crate) const SMALL: u64 = 64 << 10;

#[derive(Debug)]
enum Bytes {
    Read(Vec<u8>),
    Mapped(memmap2::Mmap),
}

impl Map {
    /// Maps the file or block device at `path`.
    ///
    /// Symbolic links are followed. Fails if it is neither a file nor a block device, or cannot be read.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let (file, len) = file::open(path)?;
        Self::of_file(&file, len).map_err(|e| Error::io("map", path, e))
    }

    fn of_file(file: &File, len: u64) -> std::io::Result<Self> {
        if len < SMALL {
            let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
            file.read_exact_at(&mut bytes, 0)?;
            return Ok(Self(Bytes::Read(bytes)));
        }
        let len = usize::try_from(len).map_err(|_| std::io::ErrorKind::FileTooLarge)?;
        // SAFETY: the map is private and read-only. What is left is that nobody shortens or rewrites the
        // file while it is mapped. The slot store guarantees that for slots: a sealed slot is frozen and its
        // lock is held; for files named on a command line it is the caller's, as docs/design.md ("what is
        // assumed of the medium") says: a file cut short ends the process by SIGBUS, before anything is
        // sealed, and bytes changed under us fail the digest of the result.
        let map = unsafe { memmap2::MmapOptions::new().len(len).map(file)? };
        Ok(Self(Bytes::Mapped(map)))
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Bytes::Read(bytes) => bytes,
            Bytes::Mapped(map) => map,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_maps_to_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(Map::open(file.path()).unwrap().as_slice(), b"");
    }

    #[test]
    fn a_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Map::open(dir.path()).is_err());
    }

    /// Opening a pipe waits for a writer, for ever if there is none.
    #[test]
    fn a_named_pipe_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
        let error = Map::open(&path).unwrap_err().to_string();
        assert!(error.contains("neither a regular file nor a block device"), "{error}");
    }
}
