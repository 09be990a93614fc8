//! Opens a patch: the only constructor of [`Checked`]. `docs/format.md` sections 1 and 2.

use crate::envelope::Envelope;
use crate::{ChunkKind, Error, FORMAT_VERSION, KeyId, Limits, Manifest, Stored, Trust};
use siding_image::Digest;
use std::io::Read;

/// The first eight bytes of a patch. The first is not text, the last three catch mangled line ends.
const MAGIC: [u8; 8] = *b"\x89SIDE\r\n\x1a";
/// Magic, version, reserved: the part of the header that signatures cover.
pub(crate) const HEAD: usize = 12;
/// The head and the envelope's length.
const HEADER: usize = 16;

/// A patch whose manifest is vouched for, and the bytes that follow it.
#[derive(Debug)]
pub struct Checked<R> {
    reader: R,
    manifest: Manifest,
    signers: Vec<KeyId>,
    signatures: usize,
    limits: Limits,
    next: usize,
    trailing: bool,
    envelope: u64,
}

/// Reads header and envelope from `reader`, checks the signatures against `trust`, parses the manifest.
///
/// Reads sequentially, and no further than the envelope's end. Fails if the bytes are no patch, if too few
/// trusted keys signed it, or if a length exceeds `limits`.
pub fn open<R: Read>(mut reader: R, trust: &Trust, limits: &Limits) -> Result<Checked<R>, Error> {
    let (head, envelope, len) = read_envelope(&mut reader, limits)?;
    let signers = trust.signers(&envelope.to_be_signed(&head), &envelope.signatures);
    let present = envelope.signatures.len();
    if signers.len() < trust.threshold() {
        if present == 0 {
            return Err(Error::Unsigned);
        }
        let named: Vec<KeyId> = envelope.signatures.iter().map(|(key, _)| *key).collect();
        let mut broken = named.clone();
        broken.retain(|key| trust.knows(*key) && !signers.contains(key));
        let (good, threshold) = (signers.len(), trust.threshold());
        return Err(Error::TooFewSignatures { good, threshold, named, broken });
    }
    let manifest = Manifest::decode(&envelope.manifest)?;
    check_lengths(&manifest, limits)?;
    let limits = limits.clone();
    Ok(Checked {
        reader,
        manifest,
        signers,
        signatures: present,
        limits,
        next: 0,
        trailing: false,
        envelope: len,
    })
}

/// Reads header and envelope; verifies nothing.
pub(crate) fn read_envelope(
    reader: &mut impl Read,
    limits: &Limits,
) -> Result<([u8; HEAD], Envelope, u64), Error> {
    let header = read_exactly(reader, HEADER as u64, || "the header".into())?;
    let (head, len) = parse_header(&header)?;
    if len > limits.envelope {
        return Err(Error::TooLarge { what: "the manifest".into(), got: len, limit: limits.envelope });
    }
    let bytes = read_exactly(reader, len, || "the manifest".into())?;
    Ok((head, Envelope::decode(&bytes)?, len))
}

/// The fixed head of every file of this format version.
pub(crate) fn head() -> [u8; HEAD] {
    let mut head = [0; HEAD];
    let fields = MAGIC.into_iter().chain(FORMAT_VERSION.to_le_bytes());
    head.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
    head
}

fn parse_header(header: &[u8]) -> Result<([u8; HEAD], u64), Error> {
    let (Some((magic, rest)), Some((head, len))) =
        (header.split_first_chunk::<8>(), header.split_first_chunk::<HEAD>())
    else {
        return Err(Error::NotAPatch);
    };
    if *magic != MAGIC {
        return Err(Error::NotAPatch);
    }
    if let Some((version, _)) = rest.split_first_chunk::<2>()
        && u16::from_le_bytes(*version) != FORMAT_VERSION
    {
        return Err(Error::Version(u16::from_le_bytes(*version)));
    }
    if *head != self::head() {
        return Err(Error::malformed("the header", "reserved bytes are not zero"));
    }
    let len = <[u8; 4]>::try_from(len).map_err(|_| Error::NotAPatch)?;
    Ok((*head, u64::from(u32::from_le_bytes(len))))
}

/// Every length that a manifest states, against the limits.
pub(crate) fn check_lengths(manifest: &Manifest, limits: &Limits) -> Result<(), Error> {
    let mut changes = 0u64;
    for (index, chunk) in manifest.chunks.iter().enumerate() {
        let decoded = if chunk.kind == ChunkKind::Model { limits.model } else { limits.decoded };
        let checks = [
            ("stored", chunk.stored, limits.stored),
            ("decoded", chunk.decoded, decoded),
            ("made", chunk.target, limits.target),
        ];
        if let Some((name, got, limit)) = checks.into_iter().find(|(_, got, limit)| got > limit) {
            return Err(Error::TooLarge { what: format!("chunk {index}, {name},"), got, limit });
        }
        if chunk.kind == ChunkKind::Changes {
            changes = changes.saturating_add(chunk.decoded);
        }
    }
    if changes > limits.changes {
        let what = "the list of changed entries".to_owned();
        return Err(Error::TooLarge { what, got: changes, limit: limits.changes });
    }
    Ok(())
}

impl<R> Checked<R> {
    /// What the patch is for.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The distinct trusted keys that signed it; empty if the trust asked for none.
    pub fn signers(&self) -> &[KeyId] {
        &self.signers
    }

    /// The limits it was opened with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How many signatures the file carries, trusted or not.
    pub fn signatures(&self) -> usize {
        self.signatures
    }

    /// How long the header and the envelope are, in bytes.
    pub fn overhead(&self) -> u64 {
        self.envelope.saturating_add(HEADER as u64)
    }
}

impl<R: Read> Checked<R> {
    /// The next chunk, its bytes compared with the signed digest; `None` after the last, once the file ended.
    pub fn next_chunk(&mut self) -> Result<Option<Stored>, Error> {
        let index = self.next;
        let Some(chunk) = self.manifest.chunks.get(index).copied() else {
            return self.expect_end().map(|()| None);
        };
        let bytes = read_exactly(&mut self.reader, chunk.stored, || format!("chunk {index}"))?;
        let got = Digest::of(&bytes);
        if got != chunk.digest {
            return Err(Error::ChunkDigest { chunk: index, expected: chunk.digest, got });
        }
        self.next = index.saturating_add(1);
        Ok(Some(Stored::new(index, chunk, bytes, self.limits.clone())))
    }

    fn expect_end(&mut self) -> Result<(), Error> {
        let mut one = Vec::new();
        let io = |e| Error::io("the end", e);
        self.reader.by_ref().take(1).read_to_end(&mut one).map_err(io)?;
        // One look decides for good: a second call must not take the end behind the extra byte for the end.
        self.trailing |= !one.is_empty();
        if self.trailing { Err(Error::Trailing) } else { Ok(()) }
    }
}

/// `len` must have met a limit before.
fn read_exactly(reader: &mut impl Read, len: u64, part: impl Fn() -> String) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
    reader.take(len).read_to_end(&mut bytes).map_err(|e| Error::io(part(), e))?;
    let got = bytes.len() as u64;
    if got < len {
        return Err(Error::Truncated { part: part(), expected: len, got });
    }
    Ok(bytes)
}
