//! The envelope: a manifest and its signatures. COSE_Sign (RFC 9052 §4.1) by the rules of `docs/format.md`
//! section 2; an unsigned patch has a plain byte string in its place.

use crate::{Error, KeyId};
use minicbor::data::Tag;
use minicbor::{Decoder, Encoder};

/// COSE_Sign's tag.
const COSE_SIGN: u64 = 98;
/// COSE header parameters: `alg` and `kid` (RFC 9052 §3.1), and EdDSA's number (RFC 9053 §2.2).
const ALG: u8 = 1;
const KID: u8 = 4;
const EDDSA: i8 = -8;
/// `{1: -8}`, the protected header of every signature.
const PROTECTED: [u8; 3] = [0xa1, 0x01, 0x27];
/// No sane patch has more.
const MAX_SIGNATURES: u64 = 64;

/// A manifest's bytes and who says to have signed them. Nothing is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) manifest: Vec<u8>,
    pub(crate) signatures: Vec<(KeyId, [u8; 64])>,
}

impl Envelope {
    /// What a signature covers: RFC 9052's Sig_structure with the file's fixed head as external data.
    pub(crate) fn to_be_signed(&self, head: &[u8]) -> Vec<u8> {
        let mut out = Encoder::new(Vec::new());
        let done = out.array(5).and_then(|out| {
            out.str("Signature")?.bytes(&[])?.bytes(&PROTECTED)?.bytes(head)?.bytes(&self.manifest)
        });
        debug_assert!(done.is_ok(), "writing to a Vec cannot fail");
        out.into_writer()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(Vec::new());
        let done = self.write(&mut out);
        debug_assert!(done.is_ok(), "writing to a Vec cannot fail");
        out.into_writer()
    }

    fn write(
        &self,
        out: &mut Encoder<Vec<u8>>,
    ) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
        if self.signatures.is_empty() {
            return out.bytes(&self.manifest)?.ok();
        }
        out.tag(Tag::new(COSE_SIGN))?.array(4)?.bytes(&[])?.map(0)?.bytes(&self.manifest)?;
        out.array(self.signatures.len() as u64)?;
        for (id, signature) in &self.signatures {
            out.array(3)?.bytes(&PROTECTED)?.map(1)?.u8(KID)?.bytes(&id.0)?.bytes(signature)?;
        }
        Ok(())
    }

    /// Reads an envelope; anything but the one canonical spelling is refused.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let envelope = Self::read(&mut Decoder::new(bytes))
            .map_err(|_| Error::malformed("the envelope", "it is not a COSE_Sign message of this format"))?;
        if envelope.encode() != bytes {
            return Err(Error::malformed("the envelope", "the encoding is not canonical"));
        }
        Ok(envelope)
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, minicbor::decode::Error> {
        let bad = || minicbor::decode::Error::message("not canonical");
        if input.probe().bytes().is_ok() {
            return Ok(Self { manifest: input.bytes()?.to_vec(), signatures: Vec::new() });
        }
        let is_message = input.tag()? == Tag::new(COSE_SIGN) && input.array()? == Some(4);
        let no_headers = input.bytes()?.is_empty() && input.map()? == Some(0);
        let manifest = input.bytes()?.to_vec();
        let count = input.array()?.filter(|count| (1..=MAX_SIGNATURES).contains(count)).ok_or_else(bad)?;
        if !is_message || !no_headers {
            return Err(bad());
        }
        let mut signatures = Vec::new();
        for _ in 0..count {
            let headers = input.array()? == Some(3) && input.bytes()? == PROTECTED;
            let kid = input.map()? == Some(1) && input.u8()? == KID;
            let id = KeyId(input.bytes()?.try_into().map_err(|_| bad())?);
            let signature = input.bytes()?.try_into().map_err(|_| bad())?;
            if !headers || !kid {
                return Err(bad());
            }
            if signatures.last().is_some_and(|(before, _)| *before >= id) {
                return Err(bad());
            }
            signatures.push((id, signature));
        }
        Ok(Self { manifest, signatures })
    }
}

const _: () = assert!(PROTECTED[1] == ALG && PROTECTED[2] == (-1 - EDDSA) as u8 | 0x20);

#[cfg(test)]
mod tests {
    use super::*;

    fn signed() -> Envelope {
        let signatures = vec![(KeyId([1; 8]), [2; 64]), (KeyId([3; 8]), [4; 64])];
        Envelope { manifest: b"manifest".to_vec(), signatures }
    }

    #[test]
    fn envelopes_survive() {
        let unsigned = Envelope { signatures: vec![], ..signed() };
        for envelope in [signed(), unsigned] {
            assert_eq!(Envelope::decode(&envelope.encode()).unwrap(), envelope);
        }
    }

    #[test]
    fn every_truncation_and_every_extension_is_refused() {
        let bytes = signed().encode();
        for len in 0..bytes.len() {
            assert!(Envelope::decode(&bytes[..len]).is_err(), "cut to {len}");
        }
        assert!(Envelope::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
    }

    #[test]
    fn a_flipped_byte_changes_what_is_read_or_is_refused() {
        let bytes = signed().encode();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            assert!(Envelope::decode(&bad).map_or(true, |e| e != signed()), "byte {at}");
        }
    }
}
