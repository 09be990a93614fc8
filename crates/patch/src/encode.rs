//! Writes chunks: instructions into streams, streams into frames. `docs/format.md` sections 4 and 5.

use crate::cursor::{put_number, put_signed};
use crate::stream::code;
use crate::{ChunkKind, ChunkRef, Coder, Error, History, Stream, adaptive, lzma};
use siding_image::{Changes, Digest};
use zstd::zstd_safe::{CCtx, CParameter, compress_bound};

/// One instruction of a delta: place the literals, then copy, adding the differences.
#[derive(Clone, Copy, Debug)]
pub struct Instruction<'a> {
    /// Bytes to place first.
    pub literals: &'a [u8],
    /// Where to copy from in the source's flat space; below 2^63.
    pub from: u64,
    /// What the source holds there (predicted, where prediction is in use); empty to copy nothing.
    pub source: &'a [u8],
    /// What the target holds there; as long as `source`.
    pub target: &'a [u8],
}

/// A chunk ready to be written.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// How the manifest lists it.
    pub chunk: ChunkRef,
    /// Its stored bytes.
    pub bytes: Vec<u8>,
}

/// Streams as they grow.
#[derive(Default)]
struct Builder {
    streams: [Vec<u8>; Stream::ALL.len()],
    /// Copied bytes since the last difference.
    gap: u64,
}

/// Encodes a stretch of the target that starts at `start` of its flat space.
///
/// `history` is what the literals' coder may refer to, with its bytes: that pays for
/// long literals and costs the device a look back.
pub fn encode_delta(
    instructions: &[Instruction<'_>],
    start: u64,
    packing: Packing,
    history: Option<(History, &[u8])>,
) -> Result<Encoded, Error> {
    let mut builder = Builder::default();
    let mut straight_on = start;
    let mut target = 0u64;
    for instruction in instructions {
        builder.push(instruction, &mut straight_on);
        target = target.saturating_add(instruction.len());
    }
    builder.finish(ChunkKind::Delta, target, packing, history)
}

/// Encodes changes of a tree.
pub fn encode_changes(changes: &Changes, packing: Packing) -> Result<Encoded, Error> {
    let mut builder = Builder::default();
    *builder.stream(Stream::Changes) = changes.encode();
    builder.finish(ChunkKind::Changes, 0, packing, None)
}

/// Encodes a model of what moved from its three streams: regions, addresses and shifts of the map's steps.
pub fn encode_model(
    regions: Vec<u8>,
    addresses: Vec<u8>,
    shifts: Vec<u8>,
    packing: Packing,
) -> Result<Encoded, Error> {
    let mut builder = Builder::default();
    *builder.stream(Stream::Regions) = regions;
    *builder.stream(Stream::StepAddresses) = addresses;
    *builder.stream(Stream::StepShifts) = shifts;
    builder.finish(ChunkKind::Model, 0, packing, None)
}

impl Instruction<'_> {
    /// How many bytes of the target it makes.
    pub fn len(&self) -> u64 {
        (self.literals.len() as u64).saturating_add(self.target.len() as u64)
    }

    /// Whether it makes nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Builder {
    fn stream(&mut self, stream: Stream) -> &mut Vec<u8> {
        #[allow(clippy::indexing_slicing, reason = "the array is as long as the enumeration")]
        &mut self.streams[stream as usize]
    }

    fn push(&mut self, instruction: &Instruction<'_>, straight_on: &mut u64) {
        let Instruction { literals, from, source, target } = *instruction;
        put_number(self.stream(Stream::LiteralLengths), literals.len() as u64);
        put_number(self.stream(Stream::CopyLengths), target.len() as u64);
        self.stream(Stream::Literals).extend_from_slice(literals);
        let expected = straight_on.saturating_add(literals.len() as u64);
        *straight_on = expected;
        if !target.is_empty() {
            put_signed(self.stream(Stream::CopyOffsets), from.wrapping_sub(expected).cast_signed());
            *straight_on = from.saturating_add(target.len() as u64);
        }
        self.differences(source, target);
    }

    /// Splits copied bytes into gaps that match and runs that differ.
    fn differences(&mut self, source: &[u8], target: &[u8]) {
        debug_assert_eq!(source.len(), target.len());
        if std::ptr::eq(source, target) {
            // Zeros out of nowhere: the same place, and not read, for it may be a hole of many GiB.
            self.gap = self.gap.saturating_add(target.len() as u64);
            return;
        }
        let (mut source, mut target) = (source, target);
        while !target.is_empty() {
            let same = common_prefix(source, target);
            self.gap = self.gap.saturating_add(same as u64);
            (source, target) = (tail(source, same), tail(target, same));
            let run = source.iter().zip(target).take_while(|(old, new)| old != new).count();
            if run > 0 {
                let gap = std::mem::take(&mut self.gap);
                put_number(self.stream(Stream::Gaps), gap);
                put_number(self.stream(Stream::Runs), (run as u64).saturating_sub(1));
                let values = source.iter().zip(target).take(run).map(|(old, new)| new.wrapping_sub(*old));
                self.stream(Stream::Values).extend(values);
                (source, target) = (tail(source, run), tail(target, run));
            }
        }
    }

    fn finish(
        self,
        kind: ChunkKind,
        target: u64,
        packing: Packing,
        history: Option<(History, &[u8])>,
    ) -> Result<Encoded, Error> {
        let used = Stream::ALL.into_iter().zip(&self.streams).filter(|(_, bytes)| !bytes.is_empty());
        let streams: Vec<(Stream, &[u8])> = used.map(|(stream, bytes)| (stream, bytes.as_slice())).collect();
        let decoded: usize = streams.iter().map(|(_, bytes)| bytes.len()).sum();
        let mut bytes = Vec::new();
        for stream in &streams {
            let history = history.filter(|_| stream.0 == Stream::Literals);
            bytes.extend(frame(*stream, packing, history)?);
        }
        // Small streams share statistics and one head; large ones do better each on its own.
        if decoded as u64 <= Coder::ADAPTIVE_MOST && !streams.is_empty() {
            let all = jointly(&streams, packing)?;
            if all.len() < bytes.len() {
                bytes = all;
            }
        }
        let (stored, decoded, digest) = (bytes.len() as u64, decoded as u64, Digest::of(&bytes));
        Ok(Encoded { chunk: ChunkRef { kind, stored, decoded, target, digest }, bytes })
    }
}

/// How hard to pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packing {
    /// Zstandard's level, for what it is best for.
    pub zstd: i32,
    /// Whether to try the slower coders.
    pub dense: bool,
}

impl Packing {
    /// Zstandard alone, at this level.
    pub const fn zstd(level: i32) -> Self {
        Self { zstd: level, dense: false }
    }
}

/// What goes into one frame, and the smallest that was found for it.
struct Best {
    coder: u8,
    history: Option<History>,
    bytes: Vec<u8>,
}

impl Best {
    fn offer(&mut self, coder: u8, history: Option<History>, bytes: Vec<u8>) {
        if bytes.len() < self.bytes.len() {
            *self = Self { coder, history, bytes };
        }
    }

    /// The frame: its head and its bytes.
    fn frame(self, streams: &[(Stream, &[u8])]) -> Vec<u8> {
        let mut out = vec![self.coder, u8::try_from(streams.len()).unwrap_or(u8::MAX)];
        for (stream, bytes) in streams {
            out.push(*stream as u8);
            put_number(&mut out, bytes.len() as u64);
        }
        if let Some(history) = self.history {
            let numbers = [history.source_offset, history.source_len, history.target_len];
            numbers.iter().for_each(|number| put_number(&mut out, *number));
        }
        put_number(&mut out, self.bytes.len() as u64);
        out.extend(self.bytes);
        out
    }
}

/// All streams in one frame or, if the adaptive coder is to work for both, in two that a device decodes at the same time:
/// the differences and the rest hardly share statistics and take about as long. Two may be larger by a 48th.
fn jointly(streams: &[(Stream, &[u8])], packing: Packing) -> Result<Vec<u8>, Error> {
    /// So many bytes of each take a device some 0.6 ms: another thread is awake by then.
    const WORTH_A_THREAD: usize = 2 << 10;
    const TWO_COST: usize = 48;
    let all = together(streams, packing)?;
    let adaptive = all.coder == code::ADAPTIVE;
    let all = all.frame(streams);
    let differs = |(stream, _): &(Stream, _)| matches!(stream, Stream::Gaps | Stream::Runs | Stream::Values);
    let (differences, rest): (Vec<_>, Vec<_>) = streams.iter().copied().partition(differs);
    let long =
        |part: &[(Stream, &[u8])]| part.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() >= WORTH_A_THREAD;
    if !adaptive || !long(&differences) || !long(&rest) {
        return Ok(all);
    }
    let mut two = together(&differences, packing)?.frame(&differences);
    two.extend(together(&rest, packing)?.frame(&rest));
    Ok(if two.len() <= all.len().saturating_add(all.len() / TWO_COST) { two } else { all })
}

/// One frame for all streams in whichever coding is smallest.
fn together(streams: &[(Stream, &[u8])], packing: Packing) -> Result<Best, Error> {
    let plain = streams.iter().flat_map(|(_, bytes)| *bytes).copied().collect::<Vec<u8>>();
    let packed = compress(&plain, packing.zstd, &[])?;
    let mut best = Best { coder: code::RAW, history: None, bytes: plain };
    best.offer(code::ZSTD, None, packed);
    if packing.dense {
        best.offer(code::ADAPTIVE, None, adaptive::encode(streams));
    }
    Ok(best)
}

/// One stream's frame in whichever coding is smallest, but LZMA only where it pays.
fn frame(
    stream: (Stream, &[u8]),
    packing: Packing,
    history: Option<(History, &[u8])>,
) -> Result<Vec<u8>, Error> {
    let (name, plain) = stream;
    let mut best = Best { coder: code::RAW, history: None, bytes: plain.to_vec() };
    let mut slow = if packing.dense { smallest_lzma(name, plain)? } else { None };
    let hardly_packs = |packed: &Vec<u8>| packed.len() > plain.len().saturating_sub(plain.len() / 8);
    if plain.len() < SMALL || history.is_some() || slow.as_ref().is_none_or(hardly_packs) {
        let packed = compress(plain, packing.zstd, &[])?;
        slow = slow.filter(|slow| slow.len() <= packed.len().saturating_sub(packed.len() / LZMA_SAVES));
        best.offer(code::ZSTD, None, packed);
    }
    if let Some(slow) = slow {
        best.offer(code::LZMA, None, slow);
    }
    if let Some((history, bytes)) = history.filter(|(history, _)| !history.is_empty()) {
        best.offer(code::ZSTD_AFTER, Some(history), compress(plain, packing.zstd, bytes)?);
    }
    Ok(best.frame(&[stream]))
}

fn smallest_lzma(stream: Stream, plain: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let mut best = None::<Vec<u8>>;
    for properties in properties(stream) {
        let packed = lzma::encode(plain, *properties).map_err(|e| Error::io("a frame", e))?;
        best = best.filter(|best| best.len() <= packed.len()).or(Some(packed));
    }
    Ok(best)
}

/// A stream below so many bytes is packed in every way. Above, Zstandard at a high level costs a maker much, and
/// does not come near LZMA unless there is little to gain.
const SMALL: usize = 64 << 10;

/// LZMA must save this part of what Zstandard makes: a device decodes it some ten times slower.
const LZMA_SAVES: usize = 64;

/// LZMA's properties that may suit a stream: bits of literal context, literal position, position.
fn properties(stream: Stream) -> &'static [[u32; 3]] {
    match stream {
        Stream::Literals => &[[3, 0, 0], [0, 2, 2]],
        Stream::Values => &[[0, 0, 0]],
        Stream::Changes => &[[3, 0, 0]],
        _ => &[[1, 0, 0]],
    }
}

fn compress(plain: &[u8], level: i32, history: &[u8]) -> Result<Vec<u8>, Error> {
    let failed = |code| Error::io("a frame", std::io::Error::other(zstd::zstd_safe::get_error_name(code)));
    let mut context = CCtx::create();
    context.set_parameter(CParameter::CompressionLevel(level)).map_err(failed)?;
    context.set_parameter(CParameter::ChecksumFlag(false)).map_err(failed)?;
    if !history.is_empty() {
        // The window must reach back over the whole history.
        context
            .set_parameter(CParameter::WindowLog(window_log(plain.len().saturating_add(history.len()))))
            .map_err(failed)?;
        context.ref_prefix(history).map_err(failed)?;
    }
    let mut out = Vec::with_capacity(compress_bound(plain.len()));
    context.compress2(&mut out, plain).map_err(failed)?;
    Ok(out)
}

fn window_log(len: usize) -> u32 {
    len.next_power_of_two().trailing_zeros().clamp(10, 27)
}

fn tail(bytes: &[u8], from: usize) -> &[u8] {
    bytes.get(from..).unwrap_or_default()
}

/// How many leading bytes agree; whole words at a time, because most bytes do.
fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    const WORD: usize = 32;
    let words = a.chunks_exact(WORD).zip(b.chunks_exact(WORD)).take_while(|(a, b)| a == b).count();
    let start = words.saturating_mul(WORD);
    let rest = tail(a, start).iter().zip(tail(b, start)).take_while(|(a, b)| a == b).count();
    start.saturating_add(rest)
}
