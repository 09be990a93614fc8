//! What was made goes out in order, and is compared with what was signed.

use crate::core::TILE;
use crate::{Error, Progress};
use siding_image::verity::{BLOCK, Merkle};
use siding_image::{Checkpoint, Content, Digest, FileRef, Hasher, Image, Sink};
use siding_patch::{History, Layout};

/// A chunk may make 64 MiB out of a few bytes; so much of it is done again after a kill, and a batch.
const BETWEEN: u64 = 4 << 20;

/// Hands bytes to the sink in order and checks each content when its last byte is written.
pub(crate) struct Output<'a> {
    layout: &'a Layout,
    pub(crate) sink: &'a mut dyn Sink,
    progress: &'a mut dyn Progress,
    pub(crate) at: Position,
    /// How many bytes were written when the sink was last told.
    noted: u64,
}

/// How far the output has come, and what it will be checked by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Position {
    /// Bytes of the flat space written so far.
    pub(crate) written: u64,
    /// The content being written, and where it starts in the flat space.
    pub(crate) blob: usize,
    pub(crate) blob_start: u64,
    merkle: Merkle,
    /// Over all leaf digests so far.
    leaves: Hasher,
}

/// Tiles that were made: their bytes one after the other, and the leaf digests of each.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) bytes: Vec<u8>,
    pub(crate) tiles: Vec<(usize, Vec<Digest>)>,
}

impl<'a> Output<'a> {
    pub(crate) fn new(layout: &'a Layout, sink: &'a mut dyn Sink, progress: &'a mut dyn Progress) -> Self {
        Self { layout, sink, progress, at: Position::default(), noted: 0 }
    }

    /// Hands tiles to the sink, in order, as much at a time as goes to one content.
    pub(crate) fn write(&mut self, made: &Made) -> Result<(), Error> {
        let mut rest = made.bytes.as_slice();
        let mut tiles = made.tiles.iter();
        while !rest.is_empty() {
            let Position { blob, blob_start, written, .. } = self.at;
            // Beyond the last content there is no end; the sink refuses what goes there.
            let left = self.layout.fresh().get(blob).map_or(u64::MAX, |file| file.size);
            let left = left.saturating_sub(written.saturating_sub(blob_start));
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
            let (bytes, later) = rest.split_at_checked(len).unwrap_or((rest, &[]));
            rest = later;
            let failed = |source| Error::Sink { offset: written, source };
            self.sink.write_at(blob, written.saturating_sub(blob_start), bytes).map_err(failed)?;
            // No tile reaches from one content into the next.
            let mut pushed = 0usize;
            while pushed < len
                && let Some((len, leaves)) = tiles.next()
            {
                pushed = pushed.saturating_add(*len);
                self.at.push(self.layout, *len as u64, leaves)?;
            }
            debug_assert!(pushed == len && len > 0, "tiles end where contents end");
        }
        self.progress.advanced(self.at.written, self.layout.len());
        Ok(())
    }

    /// Tells the sink that `chunks` chunks are done, and what was written of the next one.
    pub(crate) fn checkpoint(&mut self, chunks: usize) -> Result<(), Error> {
        let done = Checkpoint { chunks: chunks as u64, written: self.at.written, digest: self.at.digest() };
        self.noted = done.written;
        self.sink.checkpoint(&done).map_err(|source| Error::Sink { offset: done.written, source })
    }

    /// The same within a chunk, once enough was written since.
    pub(crate) fn checkpoint_within(&mut self, chunks: usize) -> Result<(), Error> {
        let since = self.at.written.saturating_sub(self.noted);
        if since < BETWEEN { Ok(()) } else { self.checkpoint(chunks) }
    }

    /// Contents without a byte are complete before anything is written.
    pub(crate) fn skip_empty(&mut self) -> Result<(), Error> {
        self.at.finish_blobs(self.layout)
    }

    /// The bytes that a coder of the chunk that makes what lies from `start` on may refer to: a range of the source, then
    /// the end of what was written before `start`.
    pub(crate) fn history(
        &mut self,
        (chunk, start): (usize, u64),
        source: &Image,
        history: &History,
    ) -> Result<Vec<u8>, Error> {
        if history.target_len > start {
            let rule = "a coder refers to more of the target than there is before the chunk";
            return Err(Error::Instructions { chunk, rule });
        }
        // Both lengths met the limit on histories.
        let mut out = vec![0; usize::try_from(history.len()).unwrap_or(0)];
        let (from_source, written) = out.split_at_mut(usize::try_from(history.source_len).unwrap_or(0));
        source.read_at(history.source_offset, from_source)?;
        self.read_back(start, written)?;
        Ok(out)
    }

    /// Fills `out` with the bytes written before `end`, read back from the sink.
    fn read_back(&mut self, end: u64, out: &mut [u8]) -> Result<(), Error> {
        let mut at = end.saturating_sub(out.len() as u64);
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

impl Position {
    /// Goes past `len` more bytes of the content at hand, whose leaf digests these are.
    pub(crate) fn push(&mut self, layout: &Layout, len: u64, leaves: &[Digest]) -> Result<(), Error> {
        self.merkle.push(leaves);
        leaves.iter().for_each(|leaf| self.leaves.update(&leaf.0));
        self.written = self.written.saturating_add(len);
        self.finish_blobs(layout)
    }

    /// What a [`Checkpoint`] here has as its digest.
    pub(crate) fn digest(&self) -> Digest {
        self.leaves.clone().finish()
    }

    fn finish_blobs(&mut self, layout: &Layout) -> Result<(), Error> {
        while let Some(file) = layout.fresh().get(self.blob) {
            let end = self.blob_start.saturating_add(file.size);
            if self.written < end {
                return Ok(());
            }
            let got = std::mem::take(&mut self.merkle).finish(file.size);
            if got != file.digest {
                let part = if layout.fresh().len() == 1 {
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
}

/// The end of the tile that starts at `at`: a tile border counted from its file's start, or the file's end.
pub(crate) fn cut(layout: &Layout, at: u64) -> u64 {
    let Some((_, file)) = layout.around(at) else { return u64::MAX };
    let within = at.saturating_sub(file.start);
    let border = (within / TILE as u64).saturating_add(1).saturating_mul(TILE as u64);
    file.start.saturating_add(border).min(file.end)
}

const _: () = assert!(TILE.is_multiple_of(BLOCK));

/// A sink that keeps only what a later chunk may look back at.
#[derive(Default)]
pub(crate) struct Recent {
    /// How much that is, in bytes.
    keep: usize,
    /// Where each blob starts in the flat space.
    starts: Vec<u64>,
    /// The last bytes written, and the flat offset at which they end.
    tail: Vec<u8>,
    end: u64,
}

impl Recent {
    pub(crate) fn keeping(keep: usize) -> Self {
        Self { keep, ..Self::default() }
    }

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
