//! Writes a patch, and adds signatures to one. `docs/format.md` sections 1 and 2.

use crate::envelope::Envelope;
use crate::read::{check_lengths, head, read_envelope};
use crate::{Encoded, Error, Limits, Manifest, PrivateKey};
use std::io::{Read, Write};

/// Writes `manifest`, whose chunk list is replaced by that of `chunks`, signed by every key of `keys`.
///
/// Without keys the patch is unsigned. Returns the length of the file in bytes. Flushes nothing: what
/// survives a power cut is up to the owner of `out`.
pub fn write(
    manifest: &Manifest,
    chunks: &[Encoded],
    keys: &[PrivateKey],
    out: &mut impl Write,
) -> Result<u64, Error> {
    let manifest = Manifest { chunks: chunks.iter().map(|c| c.chunk).collect(), ..manifest.clone() };
    let bytes = manifest.encode();
    // A manifest that readers refuse must not be signed: `docs/format.md` section 8 says what all of them take.
    check_lengths(&Manifest::decode(&bytes)?, &Limits::default())?;
    let mut envelope = Envelope { manifest: bytes, signatures: Vec::new() };
    keys.iter().for_each(|key| sign(&mut envelope, key));
    let mut written = write_envelope(&envelope, out)?;
    for (index, chunk) in chunks.iter().enumerate() {
        out.write_all(&chunk.bytes).map_err(|e| Error::io(format!("chunk {index}"), e))?;
        written = written.saturating_add(chunk.bytes.len() as u64);
    }
    Ok(written)
}

/// Copies the patch `input` to `out` with one more signature; a signature by the same key is replaced.
///
/// Trusts nothing and checks only that the manifest is well formed: whoever signs must have verified it.
pub fn add_signature(input: &mut impl Read, key: &PrivateKey, out: &mut impl Write) -> Result<(), Error> {
    let (_, mut envelope, _) = read_envelope(input, &Limits::default())?;
    Manifest::decode(&envelope.manifest)?;
    sign(&mut envelope, key);
    write_envelope(&envelope, out)?;
    std::io::copy(input, out).map_err(|e| Error::io("the chunks", e))?;
    Ok(())
}

fn sign(envelope: &mut Envelope, key: &PrivateKey) {
    let (id, signature) = (key.public().id(), key.sign(&envelope.to_be_signed(&head())));
    envelope.signatures.retain(|(other, _)| *other != id);
    envelope.signatures.push((id, signature));
    envelope.signatures.sort();
}

fn write_envelope(envelope: &Envelope, out: &mut impl Write) -> Result<u64, Error> {
    let bytes = envelope.encode();
    let too_large = |_| Error::malformed("the manifest", "it is longer than 4 GiB");
    let len = u32::try_from(bytes.len()).map_err(too_large)?;
    let head = head();
    let parts = [head.as_slice(), &len.to_le_bytes(), &bytes];
    parts.iter().try_for_each(|part| out.write_all(part)).map_err(|e| Error::io("the header", e))?;
    Ok(parts.iter().map(|part| part.len() as u64).sum())
}
