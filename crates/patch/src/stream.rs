//! What a chunk's frames hold and how they are coded: names, and a decoded chunk's bytes by name.
//! `docs/format.md` section 4.2.

use crate::ChunkKind;
use std::ops::Range;

/// A named run of bytes inside a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    pub(crate) fn kind(self) -> ChunkKind {
        match self {
            Self::Changes => ChunkKind::Changes,
            Self::Regions | Self::StepAddresses | Self::StepShifts => ChunkKind::Model,
            _ => ChunkKind::Delta,
        }
    }

    pub(crate) fn of_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// The coders' numbers in a frame's head.
pub(crate) mod code {
    pub(crate) const RAW: u8 = 0;
    pub(crate) const ZSTD: u8 = 1;
    pub(crate) const ZSTD_AFTER: u8 = 2;
    pub(crate) const LZMA: u8 = 3;
    pub(crate) const ADAPTIVE: u8 = 4;
}

/// How a frame's bytes are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    /// Only a chunk of at most so many bytes, once decoded, may have adaptive frames.
    pub const ADAPTIVE_MOST: u64 = 128 << 10;

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

/// A decoded chunk: its streams by name.
#[derive(Debug, Default)]
pub struct Streams {
    /// Decoded bytes, of one stream or of several.
    buffers: Vec<Vec<u8>>,
    /// In which buffer each stream is, and where.
    places: [(usize, Range<usize>); Stream::ALL.len()],
}

impl Streams {
    /// A stream's bytes; empty if the chunk does not have it.
    pub fn get(&self, stream: Stream) -> &[u8] {
        let place = self.places.get(stream as usize);
        place.and_then(|(buffer, range)| self.buffers.get(*buffer)?.get(range.clone())).unwrap_or_default()
    }

    /// Keeps `bytes`, in which the streams of `list` stand one after the other; `None` if they do not fit.
    pub(crate) fn put(&mut self, list: &[(Stream, u64)], bytes: Vec<u8>) -> Option<()> {
        let mut start = 0usize;
        for (stream, len) in list {
            let end = start.checked_add(usize::try_from(*len).ok()?).filter(|end| *end <= bytes.len())?;
            *self.places.get_mut(*stream as usize)? = (self.buffers.len(), start..end);
            start = end;
        }
        self.buffers.push(bytes);
        Some(())
    }
}
