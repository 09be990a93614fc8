//! A chunk's inside: frames, each one coder's output, that hold the named streams. `docs/format.md` section 4.

use crate::cursor::{Bad, Cursor};
use crate::{ChunkKind, ChunkRef, Error, Limits, adaptive, lzma};
use siding_image::Changes;
use zstd::zstd_safe::{DCtx, find_frame_compressed_size};

/// A named run of bytes inside a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stream {
    /// Numbers: how many literal bytes an instruction places.
    LiteralLengths = 0,
    /// Numbers: how many source bytes it then copies.
    CopyLengths = 1,
    /// Signed numbers: where from, against where the previous copy would have gone on.
    CopyOffsets = 2,
    /// Numbers: how many copied bytes stay as they are before the next run of differences.
    Gaps = 3,
    /// Numbers: how many differences the run has, less one.
    Runs = 4,
    /// The differences, added modulo 256.
    Values = 5,
    /// The literal bytes.
    Literals = 6,
    /// The canonical encoding of a tree's changes; alone in its chunk.
    Changes = 7,
    /// Numbers: a model's regions, spans and segments.
    Regions = 8,
    /// Numbers: the addresses of the steps of a model's map.
    StepAddresses = 9,
    /// Numbers: their shifts.
    StepShifts = 10,
}

impl Stream {
    /// All streams, in order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::LiteralLengths,
        Self::CopyLengths,
        Self::CopyOffsets,
        Self::Gaps,
        Self::Runs,
        Self::Values,
        Self::Literals,
        Self::Changes,
        Self::Regions,
        Self::StepAddresses,
        Self::StepShifts,
    ];

    /// The name used in `docs/format.md` and by `siding inspect`.
    pub fn name(self) -> &'static str {
        match self {
            Self::LiteralLengths => "literal-lengths",
            Self::CopyLengths => "copy-lengths",
            Self::CopyOffsets => "copy-offsets",
            Self::Gaps => "gaps",
            Self::Runs => "runs",
            Self::Values => "values",
            Self::Literals => "literals",
            Self::Changes => "changes",
            Self::Regions => "regions",
            Self::StepAddresses => "step-addresses",
            Self::StepShifts => "step-shifts",
        }
    }

    /// The kind of chunk it belongs in.
    fn kind(self) -> ChunkKind {
        match self {
            Self::Changes => ChunkKind::Changes,
            Self::Regions | Self::StepAddresses | Self::StepShifts => ChunkKind::Model,
            _ => ChunkKind::Delta,
        }
    }

    fn of_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// How a frame's bytes are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coder {
    /// As they are.
    Raw,
    /// One Zstandard frame (RFC 8878).
    Zstd,
    /// One Zstandard frame that may refer to bytes the reader has already.
    ZstdAfter(History),
    /// LZMA, as long as its streams.
    Lzma,
    /// The adaptive coder made for a delta's streams.
    Adaptive,
}

/// Bytes a coder may refer to as if they came just before its own: a range of the source's flat space, then
/// the end of what was made of the target before the chunk. `docs/format.md` section 4.3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Where the range of the source begins.
    pub source_offset: u64,
    /// How long it is, in bytes.
    pub source_len: u64,
    /// How many bytes of the target before the chunk follow it.
    pub target_len: u64,
}

impl History {
    /// The length of all of it, in bytes.
    pub fn len(&self) -> u64 {
        self.source_len.saturating_add(self.target_len)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Coder {
    /// The name used in `docs/format.md` and by `siding inspect`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Zstd => "zstd",
            Self::ZstdAfter(_) => "zstd-after",
            Self::Lzma => "lzma",
            Self::Adaptive => "adaptive",
        }
    }
}

/// One coder's output: which streams it holds, one after the other, and how long each is once decoded.
#[derive(Clone, Debug)]
pub struct Frame {
    /// How it is coded.
    pub coder: Coder,
    /// The streams in it with their decoded lengths in bytes.
    pub streams: Vec<(Stream, u64)>,
    /// Bytes it takes in the file, without its head.
    pub stored: u64,
}

impl Frame {
    /// How long its streams are together, in bytes.
    pub fn decoded(&self) -> u64 {
        self.streams.iter().map(|(_, len)| *len).fold(0, u64::saturating_add)
    }
}

/// A chunk whose stored bytes are the signed ones; not looked into yet.
#[derive(Debug)]
pub struct Stored {
    index: usize,
    chunk: ChunkRef,
    bytes: Vec<u8>,
    limits: Limits,
}

/// A decoded chunk: its streams by name.
#[derive(Debug, Default)]
pub struct Streams {
    bytes: [Vec<u8>; Stream::ALL.len()],
}

impl Streams {
    /// A stream's bytes; empty if the chunk does not have it.
    pub fn get(&self, stream: Stream) -> &[u8] {
        self.bytes.get(stream as usize).map_or(&[], Vec::as_slice)
    }

    fn put(&mut self, stream: Stream, bytes: Vec<u8>) {
        if let Some(place) = self.bytes.get_mut(stream as usize) {
            *place = bytes;
        }
    }
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

    /// Decodes every stream. `history` delivers the bytes that a coder may refer to.
    ///
    /// Allocates no more than the decoded length the manifest states, which met [`Limits::decoded`] before, and
    /// asks for no history longer than [`Limits::history`].
    pub fn decode<E: From<Error>>(
        &self,
        mut history: impl FnMut(&History) -> Result<Vec<u8>, E>,
    ) -> Result<Streams, E> {
        self.decode_with(|frame, bytes| {
            let history = match &frame.coder {
                Coder::ZstdAfter(wanted) => history(wanted)?,
                _ => Vec::new(),
            };
            Ok(self.decode_frame(frame, bytes, &history)?)
        })
    }

    /// Decodes what can be decoded without the target: a frame that leans on it comes out as zeros.
    ///
    /// For showing what a patch does, never for carrying it out.
    pub fn decode_shape(&self) -> Result<Streams, Error> {
        self.decode_with(|frame, bytes| match frame.coder {
            Coder::ZstdAfter(_) => Ok(vec![0; usize::try_from(frame.decoded()).unwrap_or(0)]),
            _ => self.decode_frame(frame, bytes, &[]),
        })
    }

    fn decode_with<E: From<Error>>(
        &self,
        mut decode: impl FnMut(&Frame, &[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<Streams, E> {
        let mut streams = Streams::default();
        for (frame, bytes) in self.split()? {
            let decoded = decode(&frame, bytes)?;
            if let [(stream, _)] = frame.streams.as_slice() {
                streams.put(*stream, decoded);
                continue;
            }
            let mut rest = Cursor::new(&decoded);
            for (stream, len) in frame.streams {
                let bytes =
                    rest.take(len).map_err(|Bad| self.malformed("a frame is shorter than its streams"))?;
                streams.put(stream, bytes.to_vec());
            }
        }
        Ok(streams)
    }

    /// Decodes a chunk of changes.
    pub fn decode_changes(&self) -> Result<Changes, Error> {
        let no_history = |_: &History| Err(self.malformed("changes of a tree refer to a history"));
        Changes::decode(self.decode(no_history)?.get(Stream::Changes)).map_err(Error::Tree)
    }

    fn decode_frame(&self, frame: &Frame, bytes: &[u8], history: &[u8]) -> Result<Vec<u8>, Error> {
        let len = usize::try_from(frame.decoded())
            .map_err(|_| self.malformed("a length does not fit this machine"))?;
        match frame.coder {
            Coder::Zstd | Coder::ZstdAfter(_) => self.decode_zstd(bytes, len, history),
            Coder::Raw if bytes.len() == len => Ok(bytes.to_vec()),
            Coder::Raw => Err(self.malformed("a raw frame's length is not that of its streams")),
            Coder::Lzma => lzma::decode(bytes, len).map_err(|lzma::Bad| {
                self.malformed("an lzma frame does not decode to the length of its streams")
            }),
            Coder::Adaptive => {
                let streams =
                    frame.streams.iter().map(|(stream, len)| Some((*stream, usize::try_from(*len).ok()?)));
                let long = || self.malformed("a length does not fit this machine");
                let streams = streams.collect::<Option<Vec<_>>>().ok_or_else(long)?;
                let parts = adaptive::decode(bytes, &streams).map_err(|rule| self.malformed(rule))?;
                Ok(parts.concat())
            }
        }
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
        if total > adaptive::MOST as u64 && frames.iter().any(|(frame, _)| frame.coder == Coder::Adaptive) {
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
            0 => Coder::Raw,
            1 => Coder::Zstd,
            2 => Coder::ZstdAfter(self.split_history(cursor)?),
            3 => Coder::Lzma,
            4 => Coder::Adaptive,
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
