//! What a stage notes about how far it has come, so that the next one can go on from there.
//!
//! ```text
//! checkpoint   ┌──────────┬────────────────────┬──────────┐
//!              │ latest   │ up to 4096         │ durable  │
//!              └──────────┴────────────────────┴──────────┘
//! entry        ┌───────┬─────────┬───────────────┬──────────────┬────────┬─────────┬────────┬─────────┐
//!              │ magic │ version │ target digest │ patch digest │ chunks │ written │ digest │ SHA-256 │
//!              │   8   │    4    │      32       │      32      │   8    │    8    │   32   │   32    │
//!              └───────┴─────────┴───────────────┴──────────────┴────────┴─────────┴────────┴─────────┘
//! ```
//!
//! Numbers are little endian; the checksum covers everything before it. An entry is a claim and no more: who
//! goes on from it reads back what it speaks of, and sealing compares the whole image. So a lost, torn or wrong
//! one costs work and nothing else, and the record need not know of any of this.

use crate::disk::{Access, Disk, DiskFile};
use crate::{Error, Kind, Result};
use siding_image::{Checkpoint, Digest};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// For which work an entry was written: another target or another patch cannot go on from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) target: Digest,
    /// Of the patch's signed manifest.
    pub(crate) patch: Digest,
}

/// The valid entries of a checkpoint file, whatever they are for. One that is missing, torn, damaged or not to be
/// read is left out.
pub(crate) fn read(disk: &dyn Disk, path: &Path) -> Vec<(Work, Checkpoint)> {
    let Ok(file) = disk.open(path, Access::Read) else { return Vec::new() };
    let entry = |place| {
        let mut bytes = [0; LEN];
        file.read_at(place, &mut bytes).ok().and_then(|()| parse(&bytes))
    };
    [LATEST, DURABLE].into_iter().filter_map(entry).collect()
}

/// The checkpoint file of a stage under way.
#[derive(Debug)]
pub(crate) struct Notes {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    work: Work,
    file: Option<Box<dyn DiskFile>>,
    /// How many bytes had been written when the durable entry was; one that an earlier stage left does not count.
    durable: u64,
    /// Whether the file's name was flushed.
    named: bool,
}

impl Notes {
    /// Notes for this work at `path`. Writes nothing yet.
    pub(crate) fn new(disk: Arc<dyn Disk>, path: PathBuf, work: Work) -> Self {
        Self { disk, path, work, file: None, durable: 0, named: false }
    }

    /// Writes the latest entry, without a flush; it survives the end of the process. Each time another
    /// [`BETWEEN`] bytes were written, also the durable one: once this returned Ok, that one and all that
    /// `flush` brings to the medium survive a power cut. `flush_names` is called once, for the file's name.
    ///
    /// A full disk only means that there is no note.
    pub(crate) fn note(
        &mut self,
        done: &Checkpoint,
        flush: impl FnOnce() -> Result<()>,
        flush_names: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let entry = encode(&self.work, done);
        if !self.write(LATEST, &entry)? || done.written.saturating_sub(self.durable) < BETWEEN {
            return Ok(());
        }
        flush()?;
        if !self.write(DURABLE, &entry)? {
            return Ok(());
        }
        let file = self.file.as_ref().map_or(Ok(()), |file| file.flush());
        file.map_err(|e| Error::io("flush", &self.path, e))?;
        if !self.named {
            flush_names()?;
            self.named = true;
        }
        self.durable = done.written;
        Ok(())
    }

    /// Removes the file: the next stage starts clean. A power cut may bring it back until the directory is
    /// flushed.
    pub(crate) fn remove(&mut self) -> Result<()> {
        self.file = None;
        self.disk.remove_tree(&self.path).map_err(|e| Error::io("remove", &self.path, e))
    }

    /// Whether there was room.
    fn write(&mut self, place: u64, entry: &[u8]) -> Result<bool> {
        match self.open().and_then(|file| file.write_at(place, entry)) {
            Ok(()) => Ok(true),
            Err(error) => match Error::io("write", &self.path, error) {
                error if error.kind() == Kind::NoSpace => Ok(false),
                error => Err(error),
            },
        }
    }

    fn open(&mut self) -> std::io::Result<&dyn DiskFile> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.disk.open(&self.path, Access::Log)?,
        };
        Ok(&**self.file.insert(file))
    }
}

/// At most one durable entry for each so many written bytes: each costs two flushes, and on a slow medium as much
/// time as this many bytes. What a power cut undoes is at most this and what came since.
pub(crate) const BETWEEN: u64 = 64 << 20;

const MAGIC: &[u8; 8] = b"SIDINGCP";
const VERSION: u32 = 1;
const CHECKSUM: usize = 32;
const LEN: usize = 8 + 4 + 32 + 32 + 8 + 8 + 32 + CHECKSUM;
const LATEST: u64 = 0;
/// In another block, so that writing the latest entry cannot tear it.
const DURABLE: u64 = 4096;

fn encode(work: &Work, done: &Checkpoint) -> Vec<u8> {
    let (version, chunks, written) =
        (VERSION.to_le_bytes(), done.chunks.to_le_bytes(), done.written.to_le_bytes());
    let parts: [&[u8]; 7] =
        [MAGIC, &version, &work.target.0, &work.patch.0, &chunks, &written, &done.digest.0];
    let mut entry = parts.concat();
    entry.extend_from_slice(&Digest::of(&entry).0);
    entry
}

fn parse(bytes: &[u8; LEN]) -> Option<(Work, Checkpoint)> {
    let (body, checksum) = bytes.split_last_chunk::<CHECKSUM>()?;
    if Digest::of(body).0 != *checksum {
        return None;
    }
    let rest = body.strip_prefix(MAGIC)?.strip_prefix(&VERSION.to_le_bytes())?;
    let (target, rest) = rest.split_first_chunk()?;
    let (patch, rest) = rest.split_first_chunk()?;
    let (chunks, rest) = rest.split_first_chunk()?;
    let (written, rest) = rest.split_first_chunk()?;
    let (chunks, written) = (u64::from_le_bytes(*chunks), u64::from_le_bytes(*written));
    let done = Checkpoint { chunks, written, digest: Digest(rest.try_into().ok()?) };
    Some((Work { target: Digest(*target), patch: Digest(*patch) }, done))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Real;
    use std::cell::Cell;
    use std::fs;

    fn work() -> Work {
        Work { target: Digest::of(b"target"), patch: Digest::of(b"patch") }
    }

    fn at(written: u64) -> Checkpoint {
        Checkpoint { chunks: written / 10, written, digest: Digest::of(&written.to_le_bytes()) }
    }

    #[test]
    fn entries_read_back_and_any_damage_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint");
        assert_eq!(read(&Real, &path), []);
        let mut notes = Notes::new(Arc::new(Real), path.clone(), work());
        notes.note(&at(7), || panic!("no flush"), || panic!("no flush")).unwrap();
        assert_eq!(read(&Real, &path), [(work(), at(7))]);
        let whole = fs::read(&path).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut torn = whole.clone();
            torn[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, torn).unwrap();
            assert_eq!(read(&Real, &path), [], "bit {bit}");
        }
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(read(&Real, &path), [], "cut at {cut}");
        }
        notes.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn flushes_are_bounded_by_the_bytes_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint");
        let mut notes = Notes::new(Arc::new(Real), path.clone(), work());
        let (flushes, names) = (Cell::new(0), Cell::new(0));
        for step in 1..=1000 {
            let count = |counter: &Cell<u64>| {
                counter.set(counter.get() + 1);
                Ok(())
            };
            notes.note(&at(step << 20), || count(&flushes), || count(&names)).unwrap();
            let claims: Vec<u64> = read(&Real, &path).iter().map(|(_, done)| done.written >> 20).collect();
            let durable = step / 64 * 64;
            assert_eq!(claims, if durable == 0 { vec![step] } else { vec![step, durable] });
        }
        assert_eq!((flushes.get(), names.get()), (1000 / 64, 1));
    }

    #[test]
    fn what_could_not_be_flushed_is_not_noted_as_durable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint");
        let mut notes = Notes::new(Arc::new(Real), path.clone(), work());
        let fails = || Err(Error::io("flush", Path::new("image"), std::io::Error::other("no")));
        assert!(notes.note(&at(BETWEEN), fails, || Ok(())).is_err());
        assert_eq!(read(&Real, &path), [(work(), at(BETWEEN))], "the latest only");
    }
}
