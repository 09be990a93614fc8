//! The story around the core: chunk by chunk, tile by tile, file by file.
//!
//! ```text
//! chunk n + 1    read, check, decode ┐
//! chunk n        build a batch of tiles ┐
//!                write the batch before ┘   (at the same time, as far as there are threads and memory)
//! ```

use crate::clock::{Clock, Stage};
use crate::core::{Plan, Source, Tile};
use crate::output::{Made, Output, Recent, cut};
use crate::resume::resume;
use crate::{Error, memory};
use rayon::prelude::*;
use siding_image::verity::{self, BLOCK};
use siding_image::{Changes, Content, FileRef, Image, Kind, Sink};
use siding_patch::{Checked, ChunkKind, Coder, History, Layout, Manifest, Stored, Stream, Streams};
use siding_predict::Model;
use std::io::Read;

/// Learns how far the work is; for progress bars.
pub trait Progress: Send {
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
    /// Bytes that an interrupted apply had left in the sink, and that were found good.
    pub resumed: u64,
    /// Where the time went.
    pub clock: Clock,
}

/// Rebuilds the target from `source` and `patch` into `sink`, in at most about `memory` bytes of private memory.
///
/// Reads the patch sequentially and the source at random; uses rayon's current threads. Compares: the
/// source's identity with the manifest, each chunk's bytes with its signed digest before decoding it, each
/// fresh content as it was written with its signed digest. Goes on where an interrupted apply of the same patch
/// stopped, as far as `sink` remembers it and what it remembers is true.
///
/// Fails with [`Error::Memory`] if the patch needs more memory: before anything is written ([`fits`](crate::fits)),
/// but for what coders look back at, which shows when their chunk comes. On any other error the sink holds something
/// unfinished. Says nothing about what survives a power cut: the sink does, and sealing.
pub fn run<R: Read + Send>(
    patch: Checked<R>,
    source: &Image,
    sink: &mut dyn Sink,
    memory: u64,
    progress: &mut dyn Progress,
) -> Result<Report, Error> {
    let budget = memory::Budget::of(patch.manifest(), memory)?;
    let source = Source { image: source, model: None };
    let mut run = Run { patch, source, budget, clock: Clock::default(), skip: 0 };
    let (first, target) = run.target()?;
    let layout = Layout::new(run.source.image, &target);
    let made = run.patch.manifest().fresh_len();
    if made != layout.len() {
        return Err(Error::WrongLength { expected: layout.len(), got: made });
    }
    check_borders(run.patch.manifest(), &layout)?;
    sink.begin(&target, layout.fresh()).map_err(|source| Error::Sink { offset: 0, source })?;
    let mut output = Output::new(&layout, sink, progress);
    output.skip_empty()?;
    run.skip = resume(&mut output, &layout, run.patch.manifest())?;
    let resumed = output.at.written;
    let mut next = Next::of(first);
    while !matches!(next, Next::End) {
        next = run.step(next, &mut output, &layout)?;
    }
    let written = output.at.written.saturating_sub(resumed);
    Ok(Report { target, written, resumed, clock: run.clock })
}

/// Does everything [`run`] does but write: proves that the patch turns `source` into its target.
pub fn check<R: Read + Send>(
    patch: Checked<R>,
    source: &Image,
    memory: u64,
    progress: &mut dyn Progress,
) -> Result<Report, Error> {
    let keep = usize::try_from(patch.limits().history).unwrap_or(usize::MAX);
    run(patch, source, &mut Recent::keeping(keep), memory, progress)
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
    budget: memory::Budget,
    clock: Clock,
    /// So many chunks are done already, but for models, which are needed again.
    skip: u64,
}

/// The chunk that comes next, as far as it could be prepared while another was carried out.
enum Next {
    /// There is none.
    End,
    /// Its coders may refer to what the chunk before writes, or memory is short.
    Stored(Stored),
    /// Its number, the bytes it makes, and its streams.
    Decoded(usize, u64, Streams),
}

impl<R: Read + Send> Run<'_, R> {
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

    /// Carries out one chunk, and prepares the one after it meanwhile.
    fn step(&mut self, next: Next, output: &mut Output<'_>, layout: &Layout) -> Result<Next, Error> {
        let (index, len, streams) = match next {
            Next::End => return Ok(Next::End),
            Next::Decoded(index, len, streams) => (index, len, streams),
            Next::Stored(stored) if stored.chunk().kind == ChunkKind::Model => {
                self.source.model = Some(model(&stored, &mut self.clock)?);
                drop(stored);
                return Ok(Next::of(self.next_chunk()?));
            }
            Next::Stored(stored) if (stored.index() as u64) < self.skip => {
                drop(stored);
                return Ok(Next::of(self.next_chunk()?));
            }
            Next::Stored(stored) => {
                self.budget.admit(&stored)?;
                let history = |history: &History| output.history(stored.index(), self.source.image, history);
                let streams = self.clock.time(Stage::Decode, || stored.decode(history))?;
                (stored.index(), stored.chunk().target, streams)
            }
        };
        let Self { patch, source, budget, .. } = self;
        let (source, budget) = (&*source, &*budget);
        let mut clocks = [Clock::default(), Clock::default()];
        let [builds, prepares] = &mut clocks;
        let mut work = Work { source, budget, clock: builds };
        let mut build = || work.chunk(index, len, &streams, output, layout);
        let (built, after) = match budget.ahead(index) {
            true => rayon::join(build, || Some(prepare(patch, prepares))),
            false => (build(), None),
        };
        clocks.iter().for_each(|clock| self.clock.add(clock));
        built?; // what went wrong first is told first
        output.checkpoint(index.saturating_add(1))?;
        drop(streams);
        after.unwrap_or_else(|| Ok(Next::of(self.next_chunk()?)))
    }
}

impl Next {
    /// Not looked into: it is decoded when its turn comes.
    fn of(stored: Option<Stored>) -> Self {
        stored.map_or(Self::End, Self::Stored)
    }
}

/// Reads the next chunk, and decodes it if it stands by itself.
fn prepare<R: Read>(patch: &mut Checked<R>, clock: &mut Clock) -> Result<Next, Error> {
    let Some(stored) = clock.time(Stage::Read, || patch.next_chunk())? else { return Ok(Next::End) };
    let leans = stored.frames()?.iter().any(|frame| matches!(frame.coder, Coder::ZstdAfter(_)));
    if leans || stored.chunk().kind != ChunkKind::Delta {
        return Ok(Next::Stored(stored));
    }
    let chunk = stored.index();
    let none = |_: &History| Err(Error::Instructions { chunk, rule: "no frame of it has a history" });
    let streams = clock.time(Stage::Decode, || stored.decode(none))?;
    Ok(Next::Decoded(chunk, stored.chunk().target, streams))
}

/// What moved. It comes before the first delta.
fn model(stored: &Stored, clock: &mut Clock) -> Result<Model, Error> {
    let chunk = stored.index();
    let no_history = |_: &History| Err(Error::Instructions { chunk, rule: "a model refers to a history" });
    let streams = clock.time(Stage::Decode, || stored.decode(no_history))?;
    let [regions, addresses, shifts] =
        [Stream::Regions, Stream::StepAddresses, Stream::StepShifts].map(|stream| streams.get(stream));
    Model::decode(regions, addresses, shifts).map_err(|rule| Error::Instructions { chunk, rule })
}

/// What carrying out one chunk takes.
struct Work<'a> {
    source: &'a Source<'a>,
    budget: &'a memory::Budget,
    clock: &'a mut Clock,
}

impl Work<'_> {
    /// Makes a chunk batch by batch; each is written while the next is made.
    fn chunk(
        &mut self,
        index: usize,
        len: u64,
        streams: &Streams,
        output: &mut Output<'_>,
        layout: &Layout,
    ) -> Result<(), Error> {
        let mut plan = Plan::new(index, streams, output.at.written, len)?;
        let (mut before, mut spare) = (Made::default(), Made::default());
        loop {
            let most = self.budget.batch;
            let batch = self.clock.time(Stage::Plan, || plan.batch(most, |at| cut(layout, at)))?;
            let mut writes = Clock::default();
            let clock = &mut *self.clock;
            let (written, made) = rayon::join(
                || writes.time(Stage::Write, || output.write(&before)),
                || clock.time(Stage::Build, || build(index, &batch, self.source, &mut spare)),
            );
            self.clock.add(&writes);
            written?;
            made?;
            std::mem::swap(&mut before, &mut spare);
            if batch.is_empty() {
                return Ok(());
            }
        }
    }
}

/// Makes a batch of tiles, one after the other in memory, with each one's leaf digests.
fn build(index: usize, batch: &[Tile<'_>], source: &Source<'_>, made: &mut Made) -> Result<(), Error> {
    let Made { bytes, tiles } = made;
    bytes.resize(batch.iter().map(|tile| tile.len).sum(), 0);
    let mut rest = bytes.as_mut_slice();
    let mut work: Vec<(&Tile<'_>, &mut [u8])> = Vec::with_capacity(batch.len());
    for tile in batch {
        let (now, later) = std::mem::take(&mut rest).split_at_mut(tile.len);
        work.push((tile, now));
        rest = later;
    }
    let done = work.into_par_iter().map(|(tile, out)| {
        tile.clone().build(index, source, out)?;
        Ok((tile.len, verity::leaves(out)))
    });
    *tiles = done.collect::<Result<_, Error>>()?;
    Ok(())
}
