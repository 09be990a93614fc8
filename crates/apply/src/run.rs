//! The story around the core: chunk by chunk, tile by tile, file by file.

use crate::Error;
use crate::clock::{Clock, Stage};
use crate::core::{Plan, Source, Tile};
use crate::output::{Output, Recent};
use rayon::prelude::*;
use siding_image::verity::{self, BLOCK};
use siding_image::{Changes, Content, Digest, FileRef, Image, Kind, Sink};
use siding_patch::{Checked, ChunkKind, History, Layout, Manifest, Stored, Stream};
use siding_predict::Model;
use std::io::Read;

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
    let source_image = source;
    let source = Source { image: source, model: None };
    let mut run = Run { patch, source, clock: Clock::default() };
    let (first, target) = run.target()?;
    let layout = Layout::new(source_image, &target);
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
        match chunk.chunk().kind {
            ChunkKind::Model => run.model(&chunk)?,
            _ => run.chunk(&chunk, &mut output)?,
        }
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
    run(patch, source, &mut Recent::keeping(keep), progress)
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
    source: Source<'a>,
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
        let (expected, got) = (source.identity, self.source.image.identity());
        if expected != got {
            return Err(Error::WrongSource { expected, got });
        }
        let mut next = self.next_chunk()?;
        if target.identity.kind == Kind::File {
            let file = FileRef { size: target.identity.size, digest: target.identity.digest };
            return Ok((next, Content::File(file)));
        }
        let mut changes = Changes::default();
        while let Some(chunk) = next.take_if(|stored| stored.chunk().kind == ChunkKind::Changes) {
            changes.append(chunk.decode_changes()?);
            next = self.next_chunk()?;
        }
        let old = self.source.image.tree().ok_or(Error::WrongSource { expected, got })?;
        let tree = old.with(&changes).map_err(siding_patch::Error::Tree)?;
        let content = Content::Tree(tree);
        let made = content.identity();
        if made != target.identity {
            let (expected, got) = (target.identity.digest, made.digest);
            return Err(Error::WrongTarget { part: "the tree's list of entries".into(), expected, got });
        }
        Ok((next, content))
    }

    /// What moved. It comes before the first delta.
    fn model(&mut self, stored: &Stored) -> Result<(), Error> {
        let chunk = stored.index();
        let no_history =
            |_: &History| Err(Error::Instructions { chunk, rule: "a model refers to a history" });
        let streams = self.clock.time(Stage::Decode, || stored.decode(no_history))?;
        let [regions, addresses, shifts] =
            [Stream::Regions, Stream::StepAddresses, Stream::StepShifts].map(|stream| streams.get(stream));
        let model = Model::decode(regions, addresses, shifts);
        self.source.model = Some(model.map_err(|rule| Error::Instructions { chunk, rule })?);
        Ok(())
    }

    fn chunk(&mut self, stored: &Stored, output: &mut Output<'_>) -> Result<(), Error> {
        let source = self.source.image;
        let history = |history: &History| output.history(stored.index(), source, history);
        let streams = self.clock.time(Stage::Decode, || stored.decode(history))?;
        let (index, start, len) = (stored.index(), output.written, stored.chunk().target);
        let mut plan = Plan::new(index, &streams, start, len)?;
        let mut bytes = Vec::new();
        loop {
            let batch = self.clock.time(Stage::Plan, || plan.batch(|at| output.cut(at)))?;
            if batch.is_empty() {
                return Ok(());
            }
            let leaves = self.clock.time(Stage::Build, || build(index, &batch, &self.source, &mut bytes))?;
            self.clock.time(Stage::Write, || output.write(&batch, &bytes, &leaves))?;
        }
    }
}

/// Makes a batch of tiles in `bytes`, one after the other; returns each one's leaf digests.
fn build(
    index: usize,
    batch: &[Tile<'_>],
    source: &Source<'_>,
    bytes: &mut Vec<u8>,
) -> Result<Vec<Vec<Digest>>, Error> {
    bytes.resize(batch.iter().map(|tile| tile.len).sum(), 0);
    let mut rest = bytes.as_mut_slice();
    let mut work: Vec<(&Tile<'_>, &mut [u8])> = Vec::with_capacity(batch.len());
    for tile in batch {
        let (now, later) = std::mem::take(&mut rest).split_at_mut(tile.len);
        work.push((tile, now));
        rest = later;
    }
    let made = work.into_par_iter().map(|(tile, out)| {
        tile.clone().build(index, source, out)?;
        Ok(verity::leaves(out))
    });
    made.collect()
}
