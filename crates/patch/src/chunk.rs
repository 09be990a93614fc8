//! A chunk's inside: frames, each one coder's output, that hold the named streams. `docs/format.md` section 4.

use crate::cursor::{Bad, Cursor};
use crate::stream::{Coder, Frame, History, Stream, Streams, code};
use crate::{ChunkRef, Error, Limits, adaptive, lzma};
use rayon::prelude::*;
use siding_image::Changes;
use zstd::zstd_safe::{DCtx, find_frame_compressed_size};

/// A chunk whose stored bytes are the signed ones; not looked into yet.
#[derive(Debug)]
pub struct Stored {
    index: usize,
    chunk: ChunkRef,
    bytes: Vec<u8>,
    limits: Limits,
}

impl Stored {
    /// The only way in: [`crate::Checked::next_chunk`], after the digest matched.
    pub(crate) fn new(index: usize, chunk: ChunkRef, bytes: Vec<u8>, limits: Limits) -> Self {
        Self { index, chunk, bytes, limits }
    }

    /// Its number in the manifest.
    pub fn index(&self) -> usize {
        self.index
    }

    /// How the manifest lists it.
    pub fn chunk(&self) -> &ChunkRef {
        &self.chunk
    }

    /// Its frames, without decoding anything.
    pub fn frames(&self) -> Result<Vec<Frame>, Error> {
        Ok(self.split()?.into_iter().map(|(frame, _)| frame).collect())
    }

    /// Decodes every stream, frames at the same time on rayon's current threads. `history` delivers the bytes that a
    /// coder may refer to, before anything is decoded.
    ///
    /// Allocates the decoded length that the manifest states, which met [`Limits::decoded`] or [`Limits::model`]
    /// before, and for each frame under way what its coder needs: LZMA that frame's length once more and 32 KiB, the
    /// adaptive coder 2.6 MiB at most, Zstandard some 100 KiB. Asks for no history longer than [`Limits::history`].
    pub fn decode<E: From<Error>>(
        &self,
        mut history: impl FnMut(&History) -> Result<Vec<u8>, E>,
    ) -> Result<Streams, E> {
        let frames = self.split()?;
        let histories = frames.iter().map(|(frame, _)| match &frame.coder {
            Coder::ZstdAfter(wanted) => history(wanted),
            _ => Ok(Vec::new()),
        });
        let histories = histories.collect::<Result<Vec<_>, E>>()?;
        let work = frames.par_iter().zip(&histories);
        let decoded = work.map(|((frame, bytes), history)| self.decode_frame(frame, bytes, history));
        Ok(self.gather(&frames, decoded.collect())?)
    }

    /// Decodes what can be decoded without the target: a frame that leans on it comes out as zeros.
    ///
    /// For showing what a patch does, never for carrying it out.
    pub fn decode_shape(&self) -> Result<Streams, Error> {
        let frames = self.split()?;
        let decoded = frames.iter().map(|(frame, bytes)| match frame.coder {
            Coder::ZstdAfter(_) => Ok(vec![vec![0; self.length(frame.decoded())?]]),
            _ => self.decode_frame(frame, bytes, &[]),
        });
        self.gather(&frames, decoded.collect())
    }

    /// The streams of frames that were decoded; of several errors the first frame's.
    fn gather(
        &self,
        frames: &[(Frame, &[u8])],
        decoded: Vec<Result<Vec<Vec<u8>>, Error>>,
    ) -> Result<Streams, Error> {
        let mut streams = Streams::default();
        for ((frame, _), parts) in frames.iter().zip(decoded) {
            let mut parts = parts?;
            if let [_] = parts.as_slice() {
                self.keep(&frame.streams, parts.pop().unwrap_or_default(), &mut streams)?;
                continue;
            }
            for (stream, part) in frame.streams.iter().zip(parts) {
                self.keep(std::slice::from_ref(stream), part, &mut streams)?;
            }
        }
        Ok(streams)
    }

    /// Decodes a chunk of changes.
    pub fn decode_changes(&self) -> Result<Changes, Error> {
        let no_history = |_: &History| Err(self.malformed("changes of a tree refer to a history"));
        Changes::decode(self.decode(no_history)?.get(Stream::Changes)).map_err(Error::Tree)
    }

    /// The frame's streams, one after the other in one piece or each by itself.
    fn decode_frame(&self, frame: &Frame, bytes: &[u8], history: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        let len = self.length(frame.decoded())?;
        let decoded = match frame.coder {
            Coder::Zstd | Coder::ZstdAfter(_) => self.decode_zstd(bytes, len, history)?,
            Coder::Raw if bytes.len() == len => bytes.to_vec(),
            Coder::Raw => return Err(self.malformed("a raw frame's length is not that of its streams")),
            Coder::Lzma => lzma::decode(bytes, len).map_err(|lzma::Bad| {
                self.malformed("an lzma frame does not decode to the length of its streams")
            })?,
            Coder::Adaptive => {
                let lens = frame.streams.iter().map(|(stream, len)| Ok((*stream, self.length(*len)?)));
                let lens = lens.collect::<Result<Vec<_>, Error>>()?;
                return adaptive::decode(bytes, &lens).map_err(|rule| self.malformed(rule));
            }
        };
        Ok(vec![decoded])
    }

    fn keep(&self, list: &[(Stream, u64)], bytes: Vec<u8>, streams: &mut Streams) -> Result<(), Error> {
        streams.put(list, bytes).ok_or_else(|| self.malformed("a frame is shorter than its streams"))
    }

    fn length(&self, len: u64) -> Result<usize, Error> {
        usize::try_from(len).map_err(|_| self.malformed("a length does not fit this machine"))
    }

    fn decode_zstd(&self, bytes: &[u8], len: usize, history: &[u8]) -> Result<Vec<u8>, Error> {
        if !is_one_zstd_frame(bytes) {
            return Err(self.malformed("its zstd data is not exactly one frame"));
        }
        let mut out = Vec::new();
        let memory = |_| self.malformed("it needs more memory than there is");
        out.try_reserve_exact(len).map_err(memory)?;
        let mut context = DCtx::create();
        let done = context.ref_prefix(history).and_then(|_| context.decompress(&mut out, bytes));
        match done {
            Ok(got) if got == len => Ok(out),
            Ok(_) => Err(self.malformed("a zstd frame is shorter than its streams")),
            Err(_) => Err(self.malformed("a zstd frame does not decode to the length of its streams")),
        }
    }

    /// Takes the chunk apart and checks every rule of section 4.2 that needs no decoding.
    fn split(&self) -> Result<Vec<(Frame, &[u8])>, Error> {
        let mut cursor = Cursor::new(&self.bytes);
        let mut frames = Vec::new();
        let mut seen = [false; Stream::ALL.len()];
        let mut total = 0u64;
        while !cursor.is_empty() {
            let (frame, bytes) = self.split_frame(&mut cursor)?;
            for (stream, len) in &frame.streams {
                let seen = seen.get_mut(*stream as usize);
                if seen.is_none_or(|seen| std::mem::replace(seen, true)) {
                    return Err(self.malformed("a stream occurs twice"));
                }
                if stream.kind() != self.chunk.kind {
                    return Err(self.malformed("a stream is in a chunk of another kind"));
                }
                total = total.saturating_add(*len);
            }
            frames.push((frame, bytes));
        }
        if total != self.chunk.decoded {
            return Err(self.malformed("its streams' lengths do not add up to the signed decoded length"));
        }
        if total > Coder::ADAPTIVE_MOST && frames.iter().any(|(frame, _)| frame.coder == Coder::Adaptive) {
            return Err(self.malformed("an adaptive frame is in a chunk of more than 128 KiB"));
        }
        Ok(frames)
    }

    fn split_frame<'a>(&'a self, cursor: &mut Cursor<'a>) -> Result<(Frame, &'a [u8]), Error> {
        let short = |Bad| self.malformed("a frame's head is cut short or not canonical");
        let code = cursor.byte().map_err(short)?;
        let count = cursor.byte().map_err(short)?;
        let mut streams = Vec::new();
        for _ in 0..count {
            let code = cursor.byte().map_err(short)?;
            let stream = Stream::of_code(code).ok_or_else(|| self.unknown("stream", code))?;
            let len = cursor.number().map_err(short)?;
            if len == 0 {
                return Err(self.malformed("an empty stream is listed"));
            }
            streams.push((stream, len));
        }
        if streams.is_empty() {
            return Err(self.malformed("a frame holds no stream"));
        }
        let coder = match code {
            code::RAW => Coder::Raw,
            code::ZSTD => Coder::Zstd,
            code::ZSTD_AFTER => Coder::ZstdAfter(self.split_history(cursor)?),
            code::LZMA => Coder::Lzma,
            code::ADAPTIVE => Coder::Adaptive,
            coder => return Err(self.unknown("coder", coder)),
        };
        let stored = cursor.number().map_err(short)?;
        let bytes =
            cursor.take(stored).map_err(|Bad| self.malformed("a frame reaches past the chunk's end"))?;
        Ok((Frame { coder, streams, stored }, bytes))
    }

    fn split_history(&self, cursor: &mut Cursor<'_>) -> Result<History, Error> {
        let mut number =
            || cursor.number().map_err(|Bad| self.malformed("a history is cut short or not canonical"));
        let history = History { source_offset: number()?, source_len: number()?, target_len: number()? };
        if history.is_empty() {
            return Err(self.malformed("a coder with history has none"));
        }
        if history.source_len == 0 && history.source_offset != 0 {
            return Err(self.malformed("an empty range of the source has an offset"));
        }
        if history.source_offset.saturating_add(history.source_len) > i64::MAX as u64 {
            return Err(self.malformed("a history reaches past the end of all addresses"));
        }
        if history.len() > self.limits.history {
            let what = format!("the history of chunk {}", self.index);
            return Err(Error::TooLarge { what, got: history.len(), limit: self.limits.history });
        }
        Ok(history)
    }

    fn unknown(&self, what: &'static str, number: u8) -> Error {
        Error::Unknown { part: format!("chunk {}", self.index), what, number: number.into() }
    }

    fn malformed(&self, rule: &'static str) -> Error {
        Error::malformed(format!("chunk {}", self.index), rule)
    }
}

/// Whether `bytes` are one Zstandard frame and nothing else: the library alone would also take several, and
/// skip over foreign ones.
fn is_one_zstd_frame(bytes: &[u8]) -> bool {
    const MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
    bytes.starts_with(&MAGIC) && find_frame_compressed_size(bytes).is_ok_and(|len| len == bytes.len())
}
