//! A medium in memory, and a file that is made to hold just that, again and again.
//!
//! Mounting changes the file. So before each mount all of it that is not a hole is compared with what it should
//! hold, and only what differs is written.

use super::blocklog::Entry;
use super::cuts::{Cut, Sectors};
use super::filesystem::Grain;
use crate::Result;
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const PAGE: usize = 4096;
/// How much is read and compared at once, in pages.
const RUN: usize = 256;

type Page = Option<Arc<[u8]>>;

/// What a medium holds, page by page; `None` is zeros.
#[derive(Clone)]
pub(super) struct Pages(Vec<Page>);

impl Pages {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let failed = |e| format!("cannot read {}: {e}", path.display());
        let bytes = std::fs::read(path).map_err(failed)?;
        Ok(Self(bytes.chunks(PAGE).map(page).collect()))
    }

    fn get(&self, number: usize) -> Option<&[u8]> {
        self.0.get(number).and_then(Option::as_deref)
    }

    /// Lets a write reach the medium, or some of its sectors.
    fn apply(&mut self, at: u64, bytes: &[u8], sectors: &Sectors, grain: &Grain) {
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        let mut done = 0;
        while done < bytes.len() {
            let (number, within) = ((start + done) / PAGE, (start + done) % PAGE);
            let length =
                (PAGE - within).min(bytes.len() - done).min(grain.unit - (start + done) % grain.unit);
            let survives = match sectors {
                Sectors::All => true,
                Sectors::Some(bits) => (bits >> (grain.unit_of(start + done) % 64)) & 1 == 1,
            };
            let part = bytes.get(done..done + length).unwrap_or_default();
            if let (true, Some(slot)) = (survives, self.0.get_mut(number)) {
                let mut whole = slot.as_deref().map_or_else(|| vec![0; PAGE], <[u8]>::to_vec);
                if let Some(place) = whole.get_mut(within..within + length) {
                    place.copy_from_slice(part);
                }
                *slot = page(&whole);
            }
            done += length;
        }
    }
}

fn page(bytes: &[u8]) -> Page {
    bytes.iter().any(|byte| *byte != 0).then(|| Arc::from(bytes))
}

/// The log being let happen, up to one cut after the other.
pub(super) struct Replay<'a> {
    entries: &'a [Entry],
    /// How many of them have happened.
    done: usize,
    pages: Pages,
    grain: Grain,
    file: File,
    pub(super) path: PathBuf,
}

impl<'a> Replay<'a> {
    /// A file at `path` for a medium that held `pages` before the first entry.
    pub(super) fn new(entries: &'a [Entry], pages: Pages, grain: Grain, path: PathBuf) -> Result<Self> {
        let failed = |e| format!("cannot make {}: {e}", path.display());
        let file =
            File::options().read(true).write(true).create(true).truncate(true).open(&path).map_err(failed)?;
        file.set_len((pages.0.len() * PAGE) as u64).map_err(failed)?;
        Ok(Self { entries, done: 0, pages, grain, file, path })
    }

    /// Makes the file what the cut leaves. Cuts come in order.
    pub(super) fn cut(&mut self, cut: &Cut) -> Result<()> {
        while self.done < cut.flushed {
            if let Some(Entry::Write { at, bytes, .. }) = self.entries.get(self.done) {
                self.pages.apply(*at, bytes, &Sectors::All, &self.grain);
            }
            self.done += 1;
        }
        let mut pages = self.pages.clone();
        for (number, sectors) in &cut.survivors {
            if let Some(Entry::Write { at, bytes, .. }) = self.entries.get(*number) {
                pages.apply(*at, bytes, sectors, &self.grain);
            }
        }
        self.sync(&pages).map_err(|e| format!("cannot write {}: {e}", self.path.display()))
    }

    fn sync(&self, pages: &Pages) -> io::Result<()> {
        let mut compared = vec![false; pages.0.len()];
        for (from, to) in self.data()? {
            for run in (from..to).step_by(RUN) {
                let run = run..(run + RUN).min(to);
                let empty = run.clone().all(|number| pages.get(number).is_none());
                let (at, length) = ((run.start * PAGE) as u64, run.len() * PAGE);
                if empty && run.len() == RUN {
                    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                    fallocate(&self.file, punch, at, length as u64)?;
                    continue;
                }
                let mut there = vec![0; length];
                self.file.read_exact_at(&mut there, at)?;
                for (number, there) in run.zip(there.chunks(PAGE)) {
                    let wanted = pages.get(number).unwrap_or(&[0; PAGE]);
                    if wanted != there {
                        self.file.write_all_at(wanted, (number * PAGE) as u64)?;
                    }
                    compared.get_mut(number).into_iter().for_each(|one| *one = true);
                }
            }
        }
        for (number, page) in pages.0.iter().enumerate() {
            if let (Some(wanted), Some(false)) = (page, compared.get(number)) {
                self.file.write_all_at(wanted, (number * PAGE) as u64)?;
            }
        }
        Ok(())
    }

    /// The pages of the file that are not holes.
    fn data(&self) -> io::Result<Vec<(usize, usize)>> {
        let (mut runs, mut at) = (Vec::new(), 0);
        loop {
            let from = match seek(&self.file, SeekFrom::Data(at)) {
                Err(rustix::io::Errno::NXIO) => return Ok(runs),
                other => other?,
            };
            at = seek(&self.file, SeekFrom::Hole(from))?;
            let number = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
            runs.push((number(from) / PAGE, number(at).div_ceil(PAGE)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_what_the_cut_leaves_whatever_it_held_before() {
        let dir = tempfile::tempdir().unwrap();
        let entries: Vec<Entry> = (0..40_u64)
            .map(|n| Entry::Write {
                at: n * 1536,
                bytes: vec![1 + n as u8; 1024 + 512 * (n as usize % 9)],
                durable: false,
            })
            .collect();
        let (pages, grain) = (Pages(vec![None; 1024]), Grain { unit: 512, whole: 1024..2048 });
        let mut replay = Replay::new(&entries, pages, grain, dir.path().join("image")).unwrap();
        let mut plain = vec![0_u8; 1024 * PAGE];
        for (sent, entry) in entries.iter().enumerate() {
            let survivors = vec![(sent, Sectors::Some(0x5555_5555_5555_5555))];
            replay.cut(&Cut { sent: sent + 1, flushed: sent, survivors }).unwrap();
            let mut wanted = plain.clone();
            let Entry::Write { at, bytes, .. } = entry else { continue };
            for (offset, byte) in bytes.iter().enumerate().map(|(o, b)| (*at as usize + o, b)) {
                if offset / 512 % 2 == 0 || (1024..2048).contains(&offset) {
                    wanted[offset] = *byte;
                }
                plain[offset] = *byte;
            }
            assert!(std::fs::read(dir.path().join("image")).unwrap() == wanted, "{sent}");
            // What a mount would do.
            replay.file.write_all_at(&[9; 10_000], 3_000_000 - sent as u64 * 1000).unwrap();
        }
    }
}
