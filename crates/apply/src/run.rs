//! The story around the core: chunk by chunk, tile by tile, file by file.
//!
//! ```text
//! chunk n + 1    read, check, decode ┐
//! chunk n        build a batch of tiles ┐
//!                write the batch before ┘   (at the same time, as far as there are threads and memory)
//! ```

use crate::clock::{Clock, Stage};
use crate::core::{Plan, Source, TILE, Tile};
use crate::output::{Made, Output, Recent, cut};
use crate::resume::resume;
use crate::{Error, memory};
use rayon::prelude::*;
use siding_image::verity::{self, BLOCK};
use siding_image::{Changes, Content, FileRef, Image, Kind, Sink};
use siding_patch::{Checked, ChunkKind, Coder, History, Layout, Manifest, Stored, Stream, Streams};
use siding_predict::Model;
use std::io::Read;
use std::ops::Range;

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

/// A patch that is about to be carried out: read as far as its first instructions, and those decoded.
///
/// Making one needs no source, so it can be done while the source is being checked.
#[derive(Debug)]
pub struct Apply<R> {
    patch: Checked<R>,
    budget: memory::Budget,
    clock: Clock,
    changes: Changes,
    model: Option<Model>,
    first: Next,
}

impl<R: Read + Send> Apply<R> {
    /// Reads and decodes what comes before the first bytes of the target, to be carried out in at most about `memory`
    /// bytes of private memory.
    ///
    /// Reads the patch sequentially; uses rayon's current threads. Compares each chunk's bytes with its signed digest
    /// before decoding it. Fails with [`Error::Memory`] if the patch needs more ([`fits`](crate::fits)).
    pub fn prepare(mut patch: Checked<R>, memory: u64) -> Result<Self, Error> {
        let budget = memory::Budget::of(patch.manifest(), memory)?;
        let is_tree = patch.manifest().target.identity.kind == Kind::Tree;
        let (mut clock, mut changes, mut model) = (Clock::default(), Changes::default(), None);
        let first = loop {
            let next = Next::of(&mut patch, &mut clock)?;
            match next {
                Next::Stored(stored) if stored.chunk().kind == ChunkKind::Changes && is_tree => {
                    changes.append(stored.decode_changes()?);
                }
                Next::Stored(stored) if stored.chunk().kind == ChunkKind::Model => {
                    model = Some(decode_model(&stored, &mut clock)?);
                }
                next => break next.decoded(&mut clock)?,
            }
        };
        Ok(Self { patch, budget, clock, changes, model, first })
    }

    /// Rebuilds the target from `source` into `sink`.
    ///
    /// Reads the rest of the patch sequentially and the source at random; uses rayon's current threads. Compares: the
    /// source's identity with the manifest, each chunk's bytes with its signed digest before decoding it, each
    /// fresh content as it was written with its signed digest. Goes on where an interrupted apply of the same patch
    /// stopped, as far as `sink` remembers it and what it remembers is true.
    ///
    /// Fails with [`Error::Memory`] if coders look back at more than there is memory for, which shows when their chunk
    /// comes. On any error but [`Error::WrongSource`] the sink may hold something unfinished. Says nothing about what
    /// survives a power cut: the sink does, and sealing.
    pub fn run(
        self,
        source: &Image,
        sink: &mut dyn Sink,
        progress: &mut dyn Progress,
    ) -> Result<Report, Error> {
        let Self { patch, budget, clock, changes, model, first } = self;
        let target = target(patch.manifest(), source, &changes)?;
        drop(changes);
        let layout = Layout::new(source, &target);
        let made = patch.manifest().fresh_len();
        if made != layout.len() {
            return Err(Error::WrongLength { expected: layout.len(), got: made });
        }
        check_borders(patch.manifest(), &layout)?;
        sink.begin(&target, layout.fresh()).map_err(|source| Error::Sink { offset: 0, source })?;
        let mut output = Output::new(&layout, sink, progress);
        output.skip_empty()?;
        let skip = resume(&mut output, &layout, patch.manifest())?;
        let resumed = output.at.written;
        let mut run = Run { patch, source: Source { image: source, model }, budget, clock, skip, start: 0 };
        let mut next = first;
        while !matches!(next, Next::End) {
            next = run.step(next, &mut output, &layout)?;
        }
        let written = output.at.written.saturating_sub(resumed);
        Ok(Report { target, written, resumed, clock: run.clock })
    }
}

/// [`Apply::prepare`] and [`Apply::run`] one after the other, for a source that was checked before.
pub fn run<R: Read + Send>(
    patch: Checked<R>,
    source: &Image,
    sink: &mut dyn Sink,
    memory: u64,
    progress: &mut dyn Progress,
) -> Result<Report, Error> {
    Apply::prepare(patch, memory)?.run(source, sink, progress)
}

/// Does everything [`run`] does but write: proves that the patch turns `source` into its target.
///
/// Keeps what later chunks may look back at, up to twice [`Limits::history`](siding_patch::Limits::history), beside
/// `memory`.
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

/// What the target is. For a tree that is in the changes.
fn target(manifest: &Manifest, source: &Image, changes: &Changes) -> Result<Content, Error> {
    let (expected, got) = (manifest.source.identity, source.identity());
    if expected != got {
        return Err(Error::WrongSource { expected, got });
    }
    let target = manifest.target.identity;
    if target.kind == Kind::File {
        return Ok(Content::File(FileRef { size: target.size, digest: target.digest }));
    }
    let old = source.tree().ok_or(Error::WrongSource { expected, got })?;
    let content = Content::Tree(old.with(changes).map_err(siding_patch::Error::Tree)?);
    let made = content.identity();
    if made != target {
        let (expected, got) = (target.digest, made.digest);
        return Err(Error::WrongTarget { part: "the tree's list of entries".into(), expected, got });
    }
    Ok(content)
}

struct Run<'a, R> {
    patch: Checked<R>,
    source: Source<'a>,
    budget: memory::Budget,
    clock: Clock,
    /// So many chunks are done already.
    skip: u64,
    /// Where in the target's flat space the next chunk begins.
    start: u64,
}

/// The chunk that comes next, as far as it could be prepared while another was carried out.
#[derive(Debug)]
enum Next {
    /// There is none.
    End,
    /// Its coders may refer to what the chunk before writes, or memory is short.
    Stored(Stored),
    /// Its number, the bytes it makes, and its streams.
    Decoded(usize, u64, Streams),
}

impl<R: Read + Send> Run<'_, R> {
    /// Carries out one chunk, and prepares the one after it meanwhile.
    fn step(&mut self, next: Next, output: &mut Output<'_>, layout: &Layout) -> Result<Next, Error> {
        let (index, len, streams) = match next {
            Next::End => return Ok(Next::End),
            next if next.index() < self.skip => {
                self.start = self.start.saturating_add(next.target());
                drop(next);
                return Next::of(&mut self.patch, &mut self.clock);
            }
            Next::Decoded(index, len, streams) => (index, len, streams),
            Next::Stored(stored) => {
                self.budget.admit(&stored)?;
                let place = (stored.index(), self.start);
                let history = |history: &History| output.history(place, self.source.image, history);
                let streams = self.clock.time(Stage::Decode, || stored.decode(history))?;
                (stored.index(), stored.chunk().target, streams)
            }
        };
        let start = self.start;
        self.start = start.saturating_add(len);
        let Self { patch, source, budget, .. } = self;
        let (source, budget) = (&*source, &*budget);
        let mut clocks = [Clock::default(), Clock::default()];
        let [builds, prepares] = &mut clocks;
        let mut work = Work { source, budget, clock: builds };
        let mut build = || work.chunk(index, start..start.saturating_add(len), &streams, output, layout);
        let (built, after) = match budget.ahead(index) {
            true => {
                rayon::join(build, || Some(Next::of(patch, prepares).and_then(|next| next.decoded(prepares))))
            }
            false => (build(), None),
        };
        clocks.iter().for_each(|clock| self.clock.add(clock));
        built?; // what went wrong first is told first
        output.checkpoint(index.saturating_add(1))?;
        drop(streams);
        after.unwrap_or_else(|| Next::of(&mut self.patch, &mut self.clock))
    }
}

impl Next {
    /// Read and checked, and not looked into.
    fn of<R: Read>(patch: &mut Checked<R>, clock: &mut Clock) -> Result<Self, Error> {
        let stored = clock.time(Stage::Read, || patch.next_chunk())?;
        Ok(stored.map_or(Self::End, Self::Stored))
    }

    /// Decoded, if it stands by itself.
    fn decoded(self, clock: &mut Clock) -> Result<Self, Error> {
        let Self::Stored(stored) = self else { return Ok(self) };
        let leans = stored.frames()?.iter().any(|frame| matches!(frame.coder, Coder::ZstdAfter(_)));
        if leans || stored.chunk().kind != ChunkKind::Delta {
            return Ok(Self::Stored(stored));
        }
        let chunk = stored.index();
        let none =
            |_: &History| Err(Error::Instructions { chunk, rule: "it refers to a history it does not name" });
        let streams = clock.time(Stage::Decode, || stored.decode(none))?;
        Ok(Self::Decoded(chunk, stored.chunk().target, streams))
    }

    /// The chunk's number in the manifest.
    fn index(&self) -> u64 {
        match self {
            Self::End => u64::MAX,
            Self::Stored(stored) => stored.index() as u64,
            Self::Decoded(index, ..) => *index as u64,
        }
    }

    /// How many bytes of the target it makes.
    fn target(&self) -> u64 {
        match self {
            Self::End => 0,
            Self::Stored(stored) => stored.chunk().target,
            Self::Decoded(_, target, _) => *target,
        }
    }
}

/// What moved. It comes before the first delta.
fn decode_model(stored: &Stored, clock: &mut Clock) -> Result<Model, Error> {
    let chunk = stored.index();
    let no_history = |_: &History| Err(Error::Instructions { chunk, rule: "a model refers to a history" });
    let streams = clock.time(Stage::Decode, || stored.decode(no_history))?;
    let [regions, addresses, shifts] =
        [Stream::Regions, Stream::StepAddresses, Stream::StepShifts].map(|stream| streams.get(stream));
    Model::decode(regions, addresses, shifts).map_err(|rule| Error::Instructions { chunk, rule })
}

/// A chunk is made in some four batches, so that what is written overlaps with what is made, but of no fewer bytes.
const LEAST: usize = 4 * TILE;

/// What carrying out one chunk takes.
struct Work<'a> {
    source: &'a Source<'a>,
    budget: &'a memory::Budget,
    clock: &'a mut Clock,
}

impl Work<'_> {
    /// Makes what is not there yet of a chunk, which lies at `place` of the target's flat space, batch by batch; each is
    /// written while the next is made.
    fn chunk(
        &mut self,
        index: usize,
        place: Range<u64>,
        streams: &Streams,
        output: &mut Output<'_>,
        layout: &Layout,
    ) -> Result<(), Error> {
        let len = place.end.saturating_sub(place.start);
        let mut plan = Plan::new(index, streams, place.start, len)?;
        self.clock.time(Stage::Plan, || plan.skip_to(output.at.written))?;
        let (mut before, mut spare) = (Made::default(), Made::default());
        let quarter = usize::try_from(len / 4).unwrap_or(usize::MAX);
        let most = quarter.max(LEAST).min(self.budget.batch);
        loop {
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
            if output.at.written < place.end {
                output.checkpoint_within(index)?;
            }
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
