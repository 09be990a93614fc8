//! Copying a file's bytes without tying the copy to the original.

use rustix::fs::{OFlags, ioctl_ficlone, seek};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Holes are made in units of this many bytes.
pub(crate) const BLOCK: usize = 4096;
/// How much is read at a time.
const PIECE: usize = 1 << 20;

/// Makes the first `len` bytes of `to`, which is new and reads as zeros, those of the file at `source`.
///
/// A reflink where the filesystem has them; else runs of data are read and written, holes are skipped, and
/// blocks of zeros become holes. On a device everything is written.
pub(super) fn copy(source: &Path, to: &File, len: u64, to_device: bool) -> io::Result<()> {
    let no_follow = OFlags::NOFOLLOW.bits().cast_signed();
    let from = OpenOptions::new().read(true).custom_flags(no_follow).open(source)?;
    let meta = from.metadata()?;
    if !to_device && meta.is_file() && meta.len() == len && ioctl_ficlone(to, &from).is_ok() {
        return Ok(());
    }
    let mut buffer = vec![0; PIECE];
    let mut at = 0;
    while at < len {
        let skippable = !to_device && !meta.file_type().is_block_device();
        let run = if skippable { data_run(&from, at, len)? } else { at..len };
        at = run.start;
        while at < run.end {
            let wanted = usize::try_from(run.end.saturating_sub(at)).unwrap_or(PIECE).min(PIECE);
            let piece = buffer.get_mut(..wanted).unwrap_or_default();
            from.read_exact_at(piece, at)?;
            for (offset, bytes) in written_parts(at, piece, to_device) {
                to.write_all_at(bytes, offset)?;
            }
            at = at.saturating_add(wanted as u64);
        }
    }
    Ok(())
}

/// The next run of data at or after `at`, within the first `len` bytes; empty at `len` if there is none.
fn data_run(file: &File, at: u64, len: u64) -> io::Result<std::ops::Range<u64>> {
    let start = match seek(file, rustix::fs::SeekFrom::Data(at)) {
        Ok(start) => start.min(len),
        Err(Errno::NXIO) => return Ok(len..len),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(at..len),
        Err(error) => return Err(error.into()),
    };
    let end = seek(file, rustix::fs::SeekFrom::Hole(start)).unwrap_or(len);
    Ok(start..end.min(len))
}

/// The parts of `bytes`, which belong at `offset`, that have to be written to a file that reads as zeros: all
/// but whole aligned blocks of zeros. With `all` that is all of it.
pub(crate) fn written_parts(offset: u64, bytes: &[u8], all: bool) -> Vec<(u64, &[u8])> {
    if all {
        return vec![(offset, bytes)];
    }
    let first = BLOCK.saturating_sub(usize::try_from(offset % BLOCK as u64).unwrap_or(0)).min(bytes.len());
    let (head, rest) = bytes.split_at(first);
    let blocks = std::iter::once(head).chain(rest.chunks(BLOCK));
    let mut parts: Vec<(usize, usize)> = Vec::new();
    let mut at = 0_usize;
    for block in blocks {
        let end = at.saturating_add(block.len());
        if !is_zero(block) {
            match parts.last_mut() {
                Some(last) if last.1 == at => last.1 = end,
                _ => parts.push((at, end)),
            }
        }
        at = end;
    }
    let slice = |(from, to): (usize, usize)| {
        (offset.saturating_add(from as u64), bytes.get(from..to).unwrap_or_default())
    };
    parts.into_iter().map(slice).collect()
}

fn is_zero(block: &[u8]) -> bool {
    static ZEROS: [u8; BLOCK] = [0; BLOCK];
    ZEROS.starts_with(block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blocks_of_zeros_are_left_out_and_their_neighbours_joined() {
        let mut bytes = vec![1; 5 * BLOCK];
        bytes[2 * BLOCK..3 * BLOCK].fill(0);
        let parts: Vec<_> = written_parts(0, &bytes, false).iter().map(|(o, b)| (*o, b.len())).collect();
        assert_eq!(parts, [(0, 2 * BLOCK), (3 * BLOCK as u64, 2 * BLOCK)]);
        assert_eq!(written_parts(7, &bytes, true).len(), 1);
    }

    proptest! {
        #[test]
        fn what_is_written_over_zeros_gives_the_bytes(
            offset in 0u64..10_000, runs in proptest::collection::vec((any::<bool>(), 1usize..6000), 0..6),
        ) {
            let bytes: Vec<u8> = runs.iter().flat_map(|(data, len)| vec![u8::from(*data); *len]).collect();
            let mut out = vec![0; bytes.len()];
            for (at, part) in written_parts(offset, &bytes, false) {
                out[(at - offset) as usize..][..part.len()].copy_from_slice(part);
            }
            prop_assert_eq!(out, bytes);
        }
    }
}
