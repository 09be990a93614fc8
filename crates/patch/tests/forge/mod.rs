//! Patches put together byte by byte from `docs/format.md` alone, so that a test can break any one rule and
//! sign the result. Shares no code with the crate's own writer, and is a second opinion on it.
#![allow(dead_code, reason = "each test uses its own part")]

use ed25519_dalek::{Signer, SigningKey};
use siding_image::{Digest, verity};

/// Two test signers by their seeds; `testdata/v1/*.pub` are their public halves.
pub(crate) const ALICE: u8 = 1;
pub(crate) const BOB: u8 = 2;

/// The head of every file of version 1.
pub(crate) const HEAD: [u8; 12] = *b"\x89SIDE\r\n\x1a\x01\0\0\0";

// ---- section 4.1: numbers

pub(crate) fn number(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value > 127 {
        out.push((value % 128) as u8 + 128);
        value /= 128;
    }
    out.push(value as u8);
    out
}

pub(crate) fn signed(value: i64) -> Vec<u8> {
    number(if value < 0 { !value as u64 * 2 + 1 } else { value as u64 * 2 })
}

pub(crate) fn numbers(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| number(*value)).collect()
}

// ---- CBOR, RFC 8949 section 3

/// The head of an item in its shortest form.
pub(crate) fn head(major: u8, value: u64) -> Vec<u8> {
    let major = major << 5;
    match value {
        0..24 => vec![major | value as u8],
        24..0x100 => vec![major | 24, value as u8],
        0x100..0x1_0000 => [&[major | 25], &(value as u16).to_be_bytes()[..]].concat(),
        0x1_0000..0x1_0000_0000 => [&[major | 26], &(value as u32).to_be_bytes()[..]].concat(),
        _ => [&[major | 27], &value.to_be_bytes()[..]].concat(),
    }
}

pub(crate) fn uint(value: u64) -> Vec<u8> {
    head(0, value)
}

pub(crate) fn bytes(bytes: &[u8]) -> Vec<u8> {
    [head(2, bytes.len() as u64), bytes.to_vec()].concat()
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    [head(3, text.len() as u64), text.as_bytes().to_vec()].concat()
}

pub(crate) fn array(items: &[Vec<u8>]) -> Vec<u8> {
    [head(4, items.len() as u64), items.concat()].concat()
}

// ---- section 4: chunks

#[derive(Clone)]
pub(crate) struct Chunk {
    pub(crate) kind: u64,
    pub(crate) stored: u64,
    pub(crate) decoded: u64,
    pub(crate) target: u64,
    pub(crate) digest: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
}

impl Chunk {
    /// A chunk of these stored bytes, listed truly.
    pub(crate) fn of(kind: u64, decoded: u64, target: u64, bytes: Vec<u8>) -> Self {
        let (stored, digest) = (bytes.len() as u64, Digest::of(&bytes).0.to_vec());
        Self { kind, stored, decoded, target, digest, bytes }
    }

    /// A delta chunk with these streams, each by its number, together in one raw frame.
    pub(crate) fn delta(target: u64, streams: &[(u8, Vec<u8>)]) -> Self {
        let plain: Vec<u8> = streams.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        let list: Vec<(u8, u64)> = streams.iter().map(|(id, bytes)| (*id, bytes.len() as u64)).collect();
        Self::of(1, plain.len() as u64, target, frame(0, &list, None, &plain))
    }

    /// A chunk of changes with this encoding.
    pub(crate) fn changes(encoding: &[u8]) -> Self {
        let len = encoding.len() as u64;
        Self::of(0, len, 0, frame(0, &[(7, len)], None, encoding))
    }

    /// A model's chunk with these streams in one raw frame; those that are empty are left out.
    pub(crate) fn model(regions: &[u8], addresses: &[u8], shifts: &[u8]) -> Self {
        let streams = [(8, regions), (9, addresses), (10, shifts)];
        let list: Vec<(u8, u64)> =
            streams.iter().filter(|(_, s)| !s.is_empty()).map(|(id, s)| (*id, s.len() as u64)).collect();
        let plain = [regions, addresses, shifts].concat();
        Self::of(2, plain.len() as u64, 0, frame(0, &list, None, &plain))
    }

    fn entry(&self) -> Vec<u8> {
        let numbers = [self.kind, self.stored, self.decoded, self.target].map(uint);
        array(&[numbers.to_vec(), vec![bytes(&self.digest)]].concat())
    }
}

/// A frame: coder, streams with their lengths, the history's three numbers if the coder has one, the coded bytes.
pub(crate) fn frame(coder: u8, streams: &[(u8, u64)], history: Option<[u64; 3]>, coded: &[u8]) -> Vec<u8> {
    let mut out = vec![coder, streams.len() as u8];
    streams.iter().for_each(|(id, len)| out.extend([vec![*id], number(*len)].concat()));
    out.extend(history.map(|history| numbers(&history)).unwrap_or_default());
    [out, number(coded.len() as u64), coded.to_vec()].concat()
}

/// LZMA's data for these bytes, all as literals, with no bits of context: properties, then a range coder's output.
pub(crate) fn lzma(plain: &[u8]) -> Vec<u8> {
    let mut coder = Lzma { low: 0, range: u32::MAX, out: vec![0] };
    let (mut is_match, mut tree) = (1024, [1024; 256]);
    for byte in plain {
        coder.bit(&mut is_match, 0);
        let mut node = 1;
        for place in (0..8).rev() {
            let bit = byte >> place & 1;
            coder.bit(&mut tree[node], bit);
            node = node * 2 + usize::from(bit);
        }
    }
    (0..4).for_each(|_| coder.shift());
    coder.out
}

/// A range coder that keeps all it has written, so that a carry is an addition.
struct Lzma {
    low: u32,
    range: u32,
    out: Vec<u8>,
}

impl Lzma {
    fn bit(&mut self, zero: &mut u32, bit: u8) {
        let bound = (self.range >> 11) * *zero;
        if bit == 0 {
            self.range = bound;
            *zero += (2048 - *zero) >> 5;
        } else {
            self.range -= bound;
            *zero -= *zero >> 5;
            let (low, carry) = self.low.overflowing_add(bound);
            self.low = low;
            for byte in self.out.iter_mut().rev().take_while(|_| carry) {
                *byte = byte.wrapping_add(1);
                if *byte != 0 {
                    break;
                }
            }
        }
        if self.range < 1 << 24 {
            self.range <<= 8;
            self.shift();
        }
    }

    fn shift(&mut self) {
        self.out.push((self.low >> 24) as u8);
        self.low <<= 8;
    }
}

// ---- section 3: the manifest

#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) version: String,
    pub(crate) kind: u64,
    pub(crate) size: u64,
    pub(crate) digest: Vec<u8>,
}

impl Image {
    pub(crate) fn file(version: &str, content: &[u8]) -> Self {
        let digest = verity::digest(content).0.to_vec();
        Self { version: version.into(), kind: 0, size: content.len() as u64, digest }
    }

    fn encode(&self) -> Vec<u8> {
        array(&[text(&self.version), uint(self.kind), uint(self.size), bytes(&self.digest)])
    }
}

/// A patch that may lie about anything.
#[derive(Clone)]
pub(crate) struct Forge {
    pub(crate) head: [u8; 12],
    /// What signatures are made over in place of `head`.
    pub(crate) signed_head: [u8; 12],
    pub(crate) component: String,
    pub(crate) source: Image,
    pub(crate) target: Image,
    pub(crate) chunks: Vec<Chunk>,
    /// Fields after the first four, by key.
    pub(crate) more: Vec<(u64, Vec<u8>)>,
    /// Who signs, in this order; nobody for an unsigned patch.
    pub(crate) signers: Vec<u8>,
    /// After the last chunk.
    pub(crate) trailing: Vec<u8>,
}

impl Forge {
    pub(crate) fn new(source: Image, target: Image, chunks: Vec<Chunk>) -> Self {
        Self {
            head: HEAD,
            signed_head: HEAD,
            component: "example".into(),
            source,
            target,
            chunks,
            more: vec![],
            signers: vec![ALICE],
            trailing: vec![],
        }
    }

    /// The patch of `docs/format.md` section 10.
    pub(crate) fn example() -> Self {
        let streams = [
            (0, numbers(&[0, 4])),
            (1, numbers(&[16, 1])),
            (2, [signed(0), signed(-4)].concat()),
            (3, numbers(&[14])),
            (4, numbers(&[0])),
            (5, vec![1]),
            (6, b" Bye".to_vec()),
        ];
        let (old, new) = (Image::file("1.0", EXAMPLE_OLD), Image::file("1.0 (a)", EXAMPLE_NEW));
        Self::new(old, new, vec![Chunk::delta(EXAMPLE_NEW.len() as u64, &streams)])
    }

    /// The first chunk, to be changed.
    pub(crate) fn chunk(&mut self) -> &mut Chunk {
        &mut self.chunks[0]
    }

    pub(crate) fn manifest(&self) -> Vec<u8> {
        let chunks: Vec<Vec<u8>> = self.chunks.iter().map(Chunk::entry).collect();
        let mut fields = vec![
            (1, text(&self.component)),
            (2, self.source.encode()),
            (3, self.target.encode()),
            (4, array(&chunks)),
        ];
        fields.extend(self.more.clone());
        let items: Vec<u8> =
            fields.iter().flat_map(|(key, value)| [uint(*key), value.clone()].concat()).collect();
        [head(5, fields.len() as u64), items].concat()
    }

    /// The whole file.
    pub(crate) fn build(&self) -> Vec<u8> {
        self.with_manifest(&self.manifest())
    }

    /// The whole file with another manifest, signed as it is.
    pub(crate) fn with_manifest(&self, manifest: &[u8]) -> Vec<u8> {
        let signatures = self.signers.iter().map(|seed| self.signature(*seed, manifest)).collect();
        self.with_envelope(&envelope(manifest, signatures))
    }

    /// The whole file with another envelope.
    pub(crate) fn with_envelope(&self, envelope: &[u8]) -> Vec<u8> {
        let len = (envelope.len() as u32).to_le_bytes();
        let chunks: Vec<u8> = self.chunks.iter().flat_map(|chunk| chunk.bytes.clone()).collect();
        [&self.head[..], &len, envelope, &chunks, &self.trailing].concat()
    }

    /// One signer's entry in the envelope.
    pub(crate) fn signature(&self, seed: u8, manifest: &[u8]) -> Vec<u8> {
        let signature = key(seed).sign(&to_be_signed(&self.signed_head, manifest)).to_bytes();
        signature_entry(&kid(seed), &signature)
    }
}

pub(crate) const EXAMPLE_OLD: &[u8] = b"Hello, siding 1.\n";
pub(crate) const EXAMPLE_NEW: &[u8] = b"Hello, siding 2. Bye\n";

// ---- section 2: the envelope

/// The envelope around `manifest`; without signatures its unsigned form.
pub(crate) fn envelope(manifest: &[u8], signatures: Vec<Vec<u8>>) -> Vec<u8> {
    if signatures.is_empty() {
        return bytes(manifest);
    }
    let message = array(&[bytes(b""), vec![0xa0], bytes(manifest), array(&signatures)]);
    [vec![0xd8, 98], message].concat()
}

pub(crate) fn signature_entry(kid: &[u8], signature: &[u8]) -> Vec<u8> {
    array(&[bytes(&[0xa1, 1, 0x27]), [vec![0xa1, 4], bytes(kid)].concat(), bytes(signature)])
}

pub(crate) fn to_be_signed(head: &[u8], manifest: &[u8]) -> Vec<u8> {
    array(&[text("Signature"), bytes(b""), bytes(&[0xa1, 1, 0x27]), bytes(head), bytes(manifest)])
}

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub(crate) fn kid(seed: u8) -> Vec<u8> {
    Digest::of(key(seed).verifying_key().as_bytes()).0[..8].to_vec()
}
