//! The canonical encoding of entries: deterministic CBOR. `docs/format.md` section 6.

use super::{Entry, FileRef, Meta, Node, Xattrs};
use crate::Digest;
use minicbor::{Decoder, Encoder};

const DIRECTORY: u8 = 0;
const FILE: u8 = 1;
const SYMLINK: u8 = 2;
const HARD_LINK: u8 = 3;

pub(super) type Out = Encoder<Vec<u8>>;
pub(super) type Bad = minicbor::decode::Error;

/// Writing to a `Vec` cannot fail.
pub(super) fn infallible<T>(result: Result<T, minicbor::encode::Error<std::convert::Infallible>>) {
    debug_assert!(result.is_ok());
}

pub(super) fn encode_entries(out: &mut Out, entries: &[Entry]) {
    infallible(out.array(entries.len() as u64));
    entries.iter().for_each(|entry| encode_entry(out, entry));
}

fn encode_entry(out: &mut Out, entry: &Entry) {
    let (kind, fields) = match &entry.node {
        Node::Directory(_) => (DIRECTORY, 3),
        Node::File(..) => (FILE, 5),
        Node::Symlink(..) => (SYMLINK, 4),
        Node::HardLink(_) => (HARD_LINK, 3),
    };
    infallible(out.array(fields));
    infallible(out.bytes(&entry.path));
    infallible(out.u8(kind));
    match &entry.node {
        Node::Directory(meta) => encode_meta(out, meta),
        Node::File(meta, file) => {
            encode_meta(out, meta);
            infallible(out.u64(file.size));
            infallible(out.bytes(&file.digest.0));
        }
        Node::Symlink(meta, target) => {
            encode_meta(out, meta);
            infallible(out.bytes(target));
        }
        Node::HardLink(to) => infallible(out.bytes(to)),
    }
}

pub(super) fn encode_meta(out: &mut Out, meta: &Meta) {
    infallible(out.array(if meta.xattrs.is_empty() { 5 } else { 6 }));
    infallible(out.u16(meta.mode));
    infallible(out.u32(meta.uid));
    infallible(out.u32(meta.gid));
    infallible(out.i64(meta.seconds));
    infallible(out.u32(meta.nanoseconds));
    if !meta.xattrs.is_empty() {
        infallible(out.array(meta.xattrs.len() as u64));
        for (name, value) in &meta.xattrs {
            infallible(out.array(2));
            infallible(out.bytes(name));
            infallible(out.bytes(value));
        }
    }
}

pub(super) fn decode_entries(input: &mut Decoder<'_>) -> Result<Vec<Entry>, Bad> {
    let count = input.array()?.ok_or_else(bad)?;
    // Grown as entries are read, never by the stated count: the input's own length bounds the memory.
    (0..count).map(|_| decode_entry(input)).collect()
}

fn decode_entry(input: &mut Decoder<'_>) -> Result<Entry, Bad> {
    let fields = input.array()?.ok_or_else(bad)?;
    let path = input.bytes()?.to_vec();
    let node = match (input.u8()?, fields) {
        (DIRECTORY, 3) => Node::Directory(decode_meta(input)?),
        (FILE, 5) => {
            let meta = decode_meta(input)?;
            let size = input.u64()?;
            let digest = Digest(input.bytes()?.try_into().map_err(|_| bad())?);
            Node::File(meta, FileRef { size, digest })
        }
        (SYMLINK, 4) => Node::Symlink(decode_meta(input)?, input.bytes()?.to_vec()),
        (HARD_LINK, 3) => Node::HardLink(input.bytes()?.to_vec()),
        _ => return Err(bad()),
    };
    Ok(Entry { path, node })
}

pub(super) fn decode_meta(input: &mut Decoder<'_>) -> Result<Meta, Bad> {
    let fields = input.array()?.ok_or_else(bad)?;
    let mut meta = Meta {
        mode: input.u16()?,
        uid: input.u32()?,
        gid: input.u32()?,
        seconds: input.i64()?,
        nanoseconds: input.u32()?,
        xattrs: Xattrs::new(),
    };
    match fields {
        5 => {}
        6 => {
            for _ in 0..input.array()?.ok_or_else(bad)? {
                expect(input.array()?, 2)?;
                let name = input.bytes()?.to_vec();
                let value = input.bytes()?.to_vec();
                meta.xattrs.insert(name, value);
            }
        }
        _ => return Err(bad()),
    }
    Ok(meta)
}

pub(super) fn expect(got: Option<u64>, wanted: u64) -> Result<(), Bad> {
    if got == Some(wanted) { Ok(()) } else { Err(bad()) }
}

pub(super) fn bad() -> Bad {
    Bad::message("not canonical")
}
