//! The worked example of `docs/format.md` section 10 is what this crate writes, to the byte.

mod forge;

use forge::{EXAMPLE_NEW, EXAMPLE_OLD, Forge};
use siding_image::{Identity, Kind, verity};
use siding_patch::{ImageRef, Instruction, Manifest, PrivateKey, encode_delta};
use std::fs;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The bytes in the document; each line's offset is right.
fn in_the_document() -> Vec<u8> {
    let text = fs::read_to_string(root().join("docs/format.md")).unwrap();
    let (_, block) = text.split_once("\n```hex\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let mut out = Vec::new();
    for line in block.lines() {
        let (hex, _) = line.split_once('|').unwrap();
        let (offset, bytes) = hex.split_once("  ").unwrap();
        assert_eq!(usize::from_str_radix(offset, 16), Ok(out.len()), "{line}");
        out.extend(bytes.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()));
    }
    out
}

fn written() -> Vec<u8> {
    let image = |version: &str, bytes: &[u8]| ImageRef {
        version: version.parse().unwrap(),
        identity: Identity { kind: Kind::File, size: bytes.len() as u64, digest: verity::digest(bytes) },
    };
    let manifest =
        Manifest::new("example".parse().unwrap(), image("1.0", EXAMPLE_OLD), image("1.0 (a)", EXAMPLE_NEW));
    let first =
        Instruction { literals: &[], from: 0, source: &EXAMPLE_OLD[..16], target: &EXAMPLE_NEW[..16] };
    let second = Instruction { literals: b" Bye", from: 16, source: b"\n", target: b"\n" };
    let chunk = encode_delta(&[first, second], 0, siding_patch::Packing::zstd(19), None).unwrap();
    let mut out = Vec::new();
    let key = PrivateKey::from_seed(&[forge::ALICE; 32]);
    siding_patch::write(&manifest, &[chunk], &[key], &mut out).unwrap();
    out
}

#[test]
fn the_document_the_file_and_two_writers_agree() {
    let written = written();
    assert_eq!(written, in_the_document());
    assert_eq!(written, Forge::example().build());
    assert_eq!(written, fs::read(root().join("testdata/v1/example.siding")).unwrap());
}
