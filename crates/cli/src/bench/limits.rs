//! What the machine itself takes for the bytes of an image: moving, hashing and writing them, each alone.

use crate::failure::Failure;
use siding_image::{Image, verity};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// No apply can be faster than the slowest of these.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How many bytes they are about: a tree's contents, each once.
    pub(super) bytes: u64,
    /// Copying them in memory, on one thread.
    pub(super) memcpy: Duration,
    /// Their fs-verity digests, on all threads.
    pub(super) hash: Duration,
    /// Writing them to one file, and flushing it.
    pub(super) write: Duration,
}

impl Limits {
    /// Each limit and its name, in the reply.
    pub(super) fn named(&self) -> [(&'static str, Duration); 3] {
        [("memcpy", self.memcpy), ("sha256", self.hash), ("write", self.write)]
    }
}

/// Measures each `runs` times on the image at `path`; the medians. Writes to `scratch`, where nothing is left.
pub(super) fn measure(path: &Path, scratch: &Path, runs: u32) -> Result<Limits, Failure> {
    let image = Image::open(path)?;
    let parts = image.blobs().iter().map(siding_image::Blob::bytes).collect::<Result<Vec<&[u8]>, _>>()?;
    let bytes = image.len();
    let mut room = vec![0; usize::try_from(bytes).unwrap_or(MOST).min(MOST)];
    let memcpy = of(runs, || move_all(&parts, &mut room));
    let hash = of(runs, || hash_all(&parts));
    let mut written = Ok(());
    let write = of(runs, || {
        if written.is_ok() {
            written = write_all(&parts, scratch);
        }
    });
    written.map_err(|e| Failure::io("write", scratch, &e))?;
    std::fs::remove_file(scratch).map_err(|e| Failure::io("remove", scratch, &e))?;
    Ok(Limits { bytes, memcpy, hash, write })
}

/// Larger than any cache, and no burden.
const MOST: usize = 64 << 20;

/// The median of `runs` runs after one that is not timed.
fn of(runs: u32, mut work: impl FnMut()) -> Duration {
    work();
    let timed = (0..runs).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed()
    });
    super::median(timed.collect())
}

fn hash_all(parts: &[&[u8]]) {
    parts.iter().for_each(|part| {
        std::hint::black_box(verity::digest(part));
    });
}

fn move_all(parts: &[&[u8]], room: &mut [u8]) {
    let mut at = 0;
    for mut part in parts.iter().copied() {
        while !part.is_empty() {
            at = if at == room.len() { 0 } else { at };
            let len = part.len().min(room.len() - at);
            let (now, later) = part.split_at(len);
            room[at..at + len].copy_from_slice(now);
            (part, at) = (later, at + len);
        }
    }
    std::hint::black_box(room);
}

fn write_all(parts: &[&[u8]], path: &Path) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    file.sync_all()
}
