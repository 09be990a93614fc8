//! The story around the core: chunk by chunk, tile by tile, file by file.

use crate::Error;
use crate::core::{TILE, Tile, plan};
use rayon::prelude::*;
use siding_image::verity::{self, BLOCK, Merkle};
use siding_image::{Changes, Content, Digest, FileRef, Image, Kind, Sink};
use siding_patch::{Checked, ChunkKind, History, Layout, Limits, Manifest, Stored};
use std::io::Read;
use std::time::{Duration, Instant};

/// Learns how far the work is; for progress bars.
pub trait Progress {
    /// `done` of `total` bytes of the target's fresh contents have been handed to the sink.
    fn advanced(&mut self, done: u64, total: u64);
}

/// Shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn advanced(&mut self, _done: u64, _total: u64) {}
}

/// What a moment of an apply was spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reading the patch and comparing chunk digests.
    Read,
    /// Decoding streams.
    Decode,
    /// Walking the instructions to cut tiles.
    Plan,
    /// Making tiles and hashing them.
    Build,
    /// Handing bytes to the sink.
    Write,
}

/// Time spent, by stage; wall time of the one thread that drives the work.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock([Duration; 5]);

impl Clock {
    /// All stages, in order.
    pub const STAGES: [(Stage, &'static str); 5] = [
        (Stage::Read, "read + check"),
        (Stage::Decode, "decode"),
        (Stage::Plan, "plan"),
        (Stage::Build, "gather + hash"),
        (Stage::Write, "write"),
    ];

    /// The time spent on `stage`.
    pub fn spent(&self, stage: Stage) -> Duration {
        self.0.get(stage as usize).copied().unwrap_or_default()
    }

    fn time<T>(&mut self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        if let Some(total) = self.0.get_mut(stage as usize) {
            *total += start.elapsed();
        }
        result
    }
}

/// What was done.
#[derive(Clone, Debug)]
pub struct Report {
    /// What the target is; the digests of its fresh contents were compared with what was written.
    pub target: Content,
    /// Bytes handed to the sink.
    pub written: u64,
    /// Where the time went.
    pub clock: Clock,
}

/// Tiles built at a time. Two batches of buffers exist: 4 MiB together.
const BATCH: usize = 8;

/// The most private memory that [`run`] holds at a time under `limits`, in bytes, beside the lists of a tree.
pub fn memory_bound(limits: &Limits) -> u64 {
    let coder = limits.history.saturating_add(1 << 20);
    let tiles = 2 * (BATCH as u64) * (TILE as u64);
    limits.stored.saturating_add(limits.decoded.saturating_mul(2)).saturating_add(coder).saturating_add(tiles)
}

/// Rebuilds the target from `source` and `patch` into `sink`.
///
/// Reads the patch sequentially and the source at random; uses rayon's current threads. Compares: the
/// source's identity with the manifest, each chunk's bytes with its signed digest before decoding it, each
/// fresh content as it was written with its signed digest. On an error the sink holds something unusable and
/// must be discarded. Says nothing about what survives a power cut: sealing does.
pub fn run<R: Read>(
    patch: Checked<R>,
    source: &Image,
    sink: &mut dyn Sink,
    progress: &mut dyn Progress,
) -> Result<Report, Error> {
    let mut run = Run { patch, source, clock: Clock::default() };
    let (first, target) = run.target()?;
    let layout = Layout::new(source, &target);
    let made = run.patch.manifest().fresh_len();
    if made != layout.len() {
        return Err(Error::WrongLength { expected: layout.len(), got: made });
    }
    check_borders(run.patch.manifest(), &layout)?;
    sink.begin(&target, layout.fresh()).map_err(|source| Error::Sink { offset: 0, source })?;
    let mut output = Output::new(&layout, sink, progress);
    output.skip_empty()?;
    let mut next = first;
    while let Some(chunk) = next {
        run.chunk(&chunk, &mut output)?;
        next = run.next_chunk()?;
    }
    let written = output.written;
    Ok(Report { target, written, clock: run.clock })
}

/// Does everything [`run`] does but write: proves that the patch turns `source` into its target.
pub fn check<R: Read>(
    patch: Checked<R>,
    source: &Image,
    progress: &mut dyn Progress,
) -> Result<Report, Error> {
    let keep = usize::try_from(patch.limits().history).unwrap_or(usize::MAX);
    run(patch, source, &mut Recent { keep, ..Recent::default() }, progress)
}

/// Chunks end where digest blocks do, so that only whole blocks are ever hashed: `docs/format.md` section 5.
fn check_borders(manifest: &Manifest, layout: &Layout) -> Result<(), Error> {
    let mut end = 0u64;
    for (chunk, listed) in manifest.chunks.iter().enumerate() {
        end = end.saturating_add(listed.target);
        let around = end.checked_sub(1).and_then(|last| layout.around(last));
        if around.is_some_and(|(_, file)| end < file.end && !(end - file.start).is_multiple_of(BLOCK as u64))
        {
            return Err(Error::Instructions { chunk, rule: "it ends inside a digest block of a file" });
        }
    }
    Ok(())
}

struct Run<'a, R> {
    patch: Checked<R>,
    source: &'a Image,
    clock: Clock,
}

impl<R: Read> Run<'_, R> {
    fn next_chunk(&mut self) -> Result<Option<Stored>, Error> {
        let patch = &mut self.patch;
        Ok(self.clock.time(Stage::Read, || patch.next_chunk())?)
    }

    /// What the target is, and the first delta chunk. For a tree that is in the chunks of changes.
    fn target(&mut self) -> Result<(Option<Stored>, Content), Error> {
        let Manifest { source, target, .. } = self.patch.manifest().clone();
        let (expected, got) = (source.identity, self.source.identity());
        if expected != got {
            return Err(Error::WrongSource { expected, got });
        }
        let mut next = self.next_chunk()?;
        if target.identity.kind == Kind::File {
            let file = FileRef { size: target.identity.size, digest: target.identity.digest };
            return Ok((next, Content::File(file)));
        }
        let mut changes = Changes::default();
        let mut total = 0u64;
        while let Some(chunk) = next.take_if(|stored| stored.chunk().kind == ChunkKind::Changes) {
            total = total.saturating_add(chunk.chunk().decoded);
            let limit = self.patch.limits().changes;
            if total > limit {
                let what = "the list of changed files".to_owned();
                return Err(siding_patch::Error::TooLarge { what, got: total, limit }.into());
            }
            changes.append(chunk.decode_changes()?);
            next = self.next_chunk()?;
        }
        let old = self.source.tree().ok_or(Error::WrongSource { expected, got })?;
        let tree = old.with(&changes).map_err(siding_patch::Error::Tree)?;
        let content = Content::Tree(tree);
        let made = content.identity();
        if made != target.identity {
            let (expected, got) = (target.identity.digest, made.digest);
            return Err(Error::WrongTarget { part: "the tree's list of entries".into(), expected, got });
        }
        Ok((next, content))
    }

    fn chunk(&mut self, stored: &Stored, output: &mut Output<'_>) -> Result<(), Error> {
        let source = self.source;
        let history = |history: &History| output.history(stored.index(), source, history);
        let streams = self.clock.time(Stage::Decode, || stored.decode(history))?;
        let (index, start, len) = (stored.index(), output.written, stored.chunk().target);
        let tiles =
            self.clock.time(Stage::Plan, || plan(index, &streams, start, len, |at| output.cut(at)))?;
        let mut current: Vec<Vec<u8>> = Vec::new();
        for batch in tiles.chunks(BATCH) {
            current.resize_with(BATCH, Vec::new);
            let leaves = self.clock.time(Stage::Build, || build(index, batch, self.source, &mut current))?;
            self.clock.time(Stage::Write, || output.write(batch, &current, &leaves))?;
        }
        Ok(())
    }
}

/// Makes a batch of tiles in `buffers`; returns each one's leaf digests.
fn build(
    index: usize,
    batch: &[Tile<'_>],
    source: &Image,
    buffers: &mut [Vec<u8>],
) -> Result<Vec<Vec<Digest>>, Error> {
    let work = batch.par_iter().zip(buffers.par_iter_mut());
    work.map(|(tile, buffer)| {
        buffer.resize(tile.len, 0);
        tile.clone().build(index, source, buffer)?;
        Ok(verity::leaves(buffer))
    })
    .collect()
}

/// Hands bytes to the sink in order and checks each content when its last byte is written.
struct Output<'a> {
    layout: &'a Layout,
    sink: &'a mut dyn Sink,
    progress: &'a mut dyn Progress,
    /// Bytes of the flat space written so far.
    written: u64,
    /// The content being written, and where it starts in the flat space.
    blob: usize,
    blob_start: u64,
    merkle: Merkle,
}

impl<'a> Output<'a> {
    fn new(layout: &'a Layout, sink: &'a mut dyn Sink, progress: &'a mut dyn Progress) -> Self {
        Self { layout, sink, progress, written: 0, blob: 0, blob_start: 0, merkle: Merkle::new() }
    }

    /// The end of the tile that starts at `at`: a tile border counted from its file's start, or the file's end.
    fn cut(&self, at: u64) -> u64 {
        let Some((_, file)) = self.layout.around(at) else { return u64::MAX };
        let within = at.saturating_sub(file.start);
        let border = (within / TILE as u64).saturating_add(1).saturating_mul(TILE as u64);
        file.start.saturating_add(border).min(file.end)
    }

    fn write(
        &mut self,
        tiles: &[Tile<'_>],
        buffers: &[Vec<u8>],
        leaves: &[Vec<Digest>],
    ) -> Result<(), Error> {
        for ((tile, bytes), leaves) in tiles.iter().zip(buffers).zip(leaves) {
            debug_assert_eq!(tile.start, self.written);
            let within = self.written.saturating_sub(self.blob_start);
            let failed = |source| Error::Sink { offset: tile.start, source };
            self.sink.write_at(self.blob, within, bytes).map_err(failed)?;
            self.merkle.push(leaves);
            self.written = self.written.saturating_add(bytes.len() as u64);
            self.finish_blobs()?;
        }
        self.progress.advanced(self.written, self.layout.len());
        Ok(())
    }

    /// Contents without a byte are complete before anything is written.
    fn skip_empty(&mut self) -> Result<(), Error> {
        self.finish_blobs()
    }

    fn finish_blobs(&mut self) -> Result<(), Error> {
        while let Some(file) = self.layout.fresh().get(self.blob) {
            let end = self.blob_start.saturating_add(file.size);
            if self.written < end {
                return Ok(());
            }
            let got = std::mem::take(&mut self.merkle).finish(file.size);
            if got != file.digest {
                let part = if self.layout.fresh().len() == 1 {
                    "the target".into()
                } else {
                    format!("new file {}", self.blob)
                };
                return Err(Error::WrongTarget { part, expected: file.digest, got });
            }
            self.blob = self.blob.saturating_add(1);
            self.blob_start = end;
        }
        Ok(())
    }

    /// The bytes a coder may refer to: a range of the source, then the end of what was written.
    fn history(&mut self, chunk: usize, source: &Image, history: &History) -> Result<Vec<u8>, Error> {
        if history.target_len > self.written {
            let rule = "a coder refers to more of the target than there is before the chunk";
            return Err(Error::Instructions { chunk, rule });
        }
        // Both lengths met the limit on histories.
        let mut out = vec![0; usize::try_from(history.len()).unwrap_or(0)];
        let (from_source, written) = out.split_at_mut(usize::try_from(history.source_len).unwrap_or(0));
        source.read_at(history.source_offset, from_source)?;
        self.read_back(written)?;
        Ok(out)
    }

    /// Fills `out` with the last bytes written, read back from the sink.
    fn read_back(&mut self, out: &mut [u8]) -> Result<(), Error> {
        let mut at = self.written.saturating_sub(out.len() as u64);
        let mut rest = out;
        while let Some((blob, file)) = self.layout.around(at).filter(|_| !rest.is_empty()) {
            let here = usize::try_from(file.end.saturating_sub(at)).unwrap_or(usize::MAX).min(rest.len());
            let (now, later) = std::mem::take(&mut rest).split_at_mut(here);
            let failed = |source| Error::Sink { offset: at, source };
            self.sink.read_at(blob, at.saturating_sub(file.start), now).map_err(failed)?;
            (rest, at) = (later, file.end);
        }
        Ok(())
    }
}

const _: () = assert!(TILE.is_multiple_of(BLOCK));

/// A sink that keeps only what a later chunk may look back at.
#[derive(Default)]
struct Recent {
    /// How much that is, in bytes.
    keep: usize,
    /// Where each blob starts in the flat space.
    starts: Vec<u64>,
    /// The last bytes written, and the flat offset at which they end.
    tail: Vec<u8>,
    end: u64,
}

impl Recent {
    fn start(&self, blob: usize) -> std::io::Result<u64> {
        self.starts.get(blob).copied().ok_or_else(|| std::io::Error::other("no such content"))
    }
}

impl Sink for Recent {
    fn begin(&mut self, _target: &Content, fresh: &[FileRef]) -> std::io::Result<()> {
        let mut start = 0u64;
        for file in fresh {
            self.starts.push(start);
            start = start.saturating_add(file.size);
        }
        Ok(())
    }

    fn write_at(&mut self, blob: usize, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        if self.tail.len() / 2 > self.keep {
            self.tail.drain(..self.tail.len() - self.keep);
        }
        self.tail.extend_from_slice(bytes);
        self.end = self.start(blob)?.saturating_add(offset).saturating_add(bytes.len() as u64);
        Ok(())
    }

    fn read_at(&mut self, blob: usize, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        let back = self.end.saturating_sub(self.start(blob)?.saturating_add(offset));
        let from = usize::try_from(back).ok().and_then(|back| self.tail.len().checked_sub(back));
        let kept = from.and_then(|from| self.tail.get(from..)?.get(..out.len()));
        out.copy_from_slice(kept.ok_or_else(|| std::io::Error::other("that far back nothing is kept"))?);
        Ok(())
    }
}
