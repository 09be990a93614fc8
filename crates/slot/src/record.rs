//! The two-copy record: how one overwrite and one flush change a state, whatever happens in between.
//!
//! ```text
//! record   ┌──────────────────────────────┬──────────────────────────────┐
//!          │ copy 0             (256 KiB) │ copy 1             (256 KiB) │
//!          └──────────────────────────────┴──────────────────────────────┘
//! copy     ┌───────┬─────────┬────────┬──────────┬─────────────┬─────────┬───────────
//!          │ magic │ version │ length │ sequence │ payload     │ SHA-256 │ zeros, to the next 4 KiB
//!          │   8   │    4    │   4    │    8     │   length    │   32    │
//!          └───────┴─────────┴────────┴──────────┴─────────────┴─────────┴───────────
//! ```
//!
//! Numbers are little endian; the checksum covers everything before it. A write goes over the copy that is
//! *not* the newest valid one, so the newest stays as it is until the write is on the medium. `docs/design.md`
//! goes through what a power cut can leave, case by case.
//!
//! What is read here may be damaged in any way; it is parsed once, without indexing.

use crate::disk::{Access, Disk, DiskFile};
use crate::{Error, Result};
use siding_image::Digest;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"SIDING\r\n";
const VERSION: u32 = 1;
const HEADER: usize = 24;
const CHECKSUM: usize = 32;
/// The length of a copy in bytes, and of two that do not share a block.
pub(crate) const COPY: usize = 256 * 1024;
/// The number of the record that a store is made with.
pub(crate) const FIRST: u64 = 1;
/// Writes are whole blocks of this many bytes, so that no write reads first.
const BLOCK: usize = 4096;
/// The longest payload in bytes: a state of well over a hundred components.
pub(crate) const CAPACITY: usize = COPY - HEADER - CHECKSUM;

/// What a record says: its payload, and the how-many-eth it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Newest {
    pub(crate) sequence: u64,
    pub(crate) payload: Vec<u8>,
}

/// A record open for writing.
#[derive(Debug)]
pub(crate) struct Record {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    sequence: u64,
    /// Which copy the next write goes over.
    older: Index,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Index {
    Zero,
    One,
}

impl Record {
    /// Makes a record file with both copies in place and the first holding `payload`.
    ///
    /// It is made beside `path` and renamed. A cut leaves no record at `path`, or this one; once the directory is
    /// flushed, this one.
    pub(crate) fn create(disk: &dyn Disk, path: &Path, payload: &[u8]) -> Result<()> {
        let aside = path.with_extension("new");
        let io = |e| Error::io("create the record", path, e);
        disk.remove_tree(&aside).map_err(io)?;
        let file = disk.open(&aside, Access::New(0o644)).map_err(io)?;
        // Real zeros and not a hole: overwriting must never need a new block.
        file.write_at(0, &vec![0; 2 * COPY]).map_err(io)?;
        file.write_at(0, &seal(FIRST, payload)?).map_err(io)?;
        file.flush().map_err(io)?;
        disk.rename(&aside, path).map_err(io)
    }

    /// Opens the record for writing: brings what the medium holds to light, and takes the newest valid copy.
    ///
    /// An earlier process may have been killed between its write and its flush, or have died of a failed
    /// flush. Then the cache shows a copy that the medium may lack, and overwriting the other one would risk
    /// both. So the file is flushed and read past the cache before anything is believed.
    pub(crate) fn open(disk: &dyn Disk, path: &Path) -> Result<(Self, Newest)> {
        let io = |e| Error::io("open the record", path, e);
        let file = disk.open(path, Access::Existing).map_err(io)?;
        file.flush().map_err(io)?;
        file.forget_cache().map_err(io)?;
        let (newest, index) = read_copies(file.as_ref(), path)?;
        let older = if index == Index::Zero { Index::One } else { Index::Zero };
        Ok((Self { file, path: path.to_owned(), sequence: newest.sequence, older }, newest))
    }

    /// Which record the newest valid one is, counted from 1.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Writes `payload` over the older copy and flushes.
    ///
    /// Once this returned Ok, the payload survives a power cut. A cut before that leaves this payload or the
    /// one before it, whole. After an error the object must not be used again: what the medium holds is
    /// unknown until the record is opened anew.
    pub(crate) fn write(&mut self, payload: &[u8]) -> Result<()> {
        let exhausted = || Error::damaged(&self.path, "its sequence number is at its end");
        let sequence = self.sequence.checked_add(1).ok_or_else(exhausted)?;
        let copy = seal(sequence, payload)?;
        self.file.write_at(self.older.offset(), &copy).map_err(|e| Error::io("write", &self.path, e))?;
        self.file.flush().map_err(|e| Error::io("flush", &self.path, e))?;
        self.sequence = sequence;
        self.older = if self.older == Index::Zero { Index::One } else { Index::Zero };
        Ok(())
    }
}

/// Reads a record without opening it for writing. A writer at work may be overwriting one copy at a time, so
/// finding none valid is believed only when it stays so.
pub(crate) fn read(disk: &dyn Disk, path: &Path) -> Result<Newest> {
    const ATTEMPTS: usize = 5;
    let io = |e| Error::io("open the record", path, e);
    let file = disk.open(path, Access::Read).map_err(io)?;
    let mut attempts = (1..=ATTEMPTS).map(|_| read_copies(file.as_ref(), path).map(|(newest, _)| newest));
    let first = attempts.next().unwrap_or_else(|| Err(Error::damaged(path, "it was not read")));
    first.or_else(|error| attempts.find_map(Result::ok).ok_or(error))
}

/// Whether a payload of this length may be written.
pub(crate) fn fits(len: usize) -> Result<()> {
    if len > CAPACITY { Err(Error::RecordFull { needed: len, limit: CAPACITY }) } else { Ok(()) }
}

fn read_copies(file: &dyn DiskFile, path: &Path) -> Result<(Newest, Index)> {
    // A copy that cannot be read, or that the file is too short for, is as one that is torn: the other may be whole.
    let mut failed = None;
    let mut read = |index: Index| {
        read_copy(file, index).map_or_else(
            |error| {
                if error.kind() != std::io::ErrorKind::UnexpectedEof {
                    failed.get_or_insert(error);
                }
                Copy::Invalid
            },
            |copy| parse(&copy),
        )
    };
    match (read(Index::Zero), read(Index::One)) {
        (Copy::Valid(zero), Copy::Valid(one)) if zero.sequence > one.sequence => Ok((zero, Index::Zero)),
        (Copy::Valid(zero), Copy::Valid(one)) if zero.sequence < one.sequence => Ok((one, Index::One)),
        (Copy::Valid(_), Copy::Valid(_)) => Err(Error::damaged(path, "its two copies claim the same number")),
        (Copy::Foreign(version), _) | (_, Copy::Foreign(version)) => {
            Err(Error::NewerRecord { path: path.to_owned(), version })
        }
        (Copy::Valid(zero), Copy::Invalid) => Ok((zero, Index::Zero)),
        (Copy::Invalid, Copy::Valid(one)) => Ok((one, Index::One)),
        (Copy::Invalid, Copy::Invalid) => Err(match (failed, file.len()) {
            (Some(error), _) => Error::io("read", path, error),
            (None, Ok(len)) if len < 2 * COPY as u64 => {
                let what = format!("it has {len} bytes of {}, and no whole copy in them", 2 * COPY);
                Error::damaged(path, what)
            }
            (None, _) => Error::damaged(path, "neither of its two copies is whole"),
        }),
    }
}

/// One copy. What cannot be read is tried again: to do without the newest copy is to undo the last change.
fn read_copy(file: &dyn DiskFile, index: Index) -> std::io::Result<Vec<u8>> {
    const RETRIES: usize = 3;
    let again = || (0..RETRIES).find_map(|_| read_copy_once(file, index).ok());
    read_copy_once(file, index).or_else(|error| again().ok_or(error))
}

/// One copy, as far as it says that it goes: its first block, and the others if there are any.
fn read_copy_once(file: &dyn DiskFile, index: Index) -> std::io::Result<Vec<u8>> {
    let mut copy = vec![0; BLOCK];
    file.read_at(index.offset(), &mut copy)?;
    let length = copy.get(12..16).and_then(|length| length.try_into().ok()).map_or(0, u32::from_le_bytes);
    let len = usize::try_from(length).unwrap_or(COPY).saturating_add(HEADER + CHECKSUM);
    if let Some(more) = len.min(COPY).checked_sub(BLOCK).filter(|more| *more > 0) {
        let mut rest = vec![0; more];
        file.read_at(index.offset().saturating_add(BLOCK as u64), &mut rest)?;
        copy.append(&mut rest);
    }
    Ok(copy)
}

#[derive(Debug, PartialEq, Eq)]
enum Copy {
    Valid(Newest),
    /// Whole, and of a version that is not ours.
    Foreign(u32),
    /// Never written, torn, damaged or not to be read.
    Invalid,
}

fn parse(copy: &[u8]) -> Copy {
    parse_whole(copy).unwrap_or(Copy::Invalid)
}

fn parse_whole(copy: &[u8]) -> Option<Copy> {
    let (header, rest) = copy.split_at_checked(HEADER)?;
    let (magic, numbers) = header.split_at_checked(MAGIC.len())?;
    let (version, numbers) = numbers.split_first_chunk::<4>()?;
    let (length, sequence) = numbers.split_first_chunk::<4>()?;
    let sequence = u64::from_le_bytes(sequence.try_into().ok()?);
    let (payload, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    let checksum = rest.first_chunk::<CHECKSUM>()?;
    if magic != MAGIC || Digest::of_parts(&[header, payload]).0 != *checksum {
        return None;
    }
    let version = u32::from_le_bytes(*version);
    if version != VERSION {
        return Some(Copy::Foreign(version));
    }
    Some(Copy::Valid(Newest { sequence, payload: payload.to_vec() }))
}

/// One copy as it is written: whole blocks.
fn seal(sequence: u64, payload: &[u8]) -> Result<Vec<u8>> {
    fits(payload.len())?;
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut copy = Vec::with_capacity(COPY);
    copy.extend_from_slice(MAGIC);
    copy.extend_from_slice(&VERSION.to_le_bytes());
    copy.extend_from_slice(&length.to_le_bytes());
    copy.extend_from_slice(&sequence.to_le_bytes());
    copy.extend_from_slice(payload);
    let checksum = Digest::of(&copy);
    copy.extend_from_slice(&checksum.0);
    copy.resize(copy.len().next_multiple_of(BLOCK), 0);
    Ok(copy)
}

/// A copy with another payload under the same number, for tests that plant bugs; `None` if it is no copy, or if there is
/// to be no other payload.
#[cfg(test)]
pub(crate) fn rewritten(copy: &[u8], payload: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let length = u32::from_le_bytes(copy.get(12..16)?.try_into().ok()?);
    let sequence = u64::from_le_bytes(copy.get(16..HEADER)?.try_into().ok()?);
    let old = copy.get(HEADER..HEADER.checked_add(usize::try_from(length).ok()?)?)?;
    seal(sequence, &payload(old)?).ok()
}

impl Index {
    fn offset(self) -> u64 {
        match self {
            Self::Zero => 0,
            Self::One => COPY as u64,
        }
    }
}

#[cfg(test)]
mod tests;
