//! Well-formed patches: what each starts from and makes, and how it was made once.

use crate::common::{described, testdata};
use crate::forge;
use siding_diff::Level;
use siding_image::{Content, Image, Node, Tree};
use siding_patch::{
    Advisory, Encoded, History, ImageRef, Instruction, Layout, Manifest, Packing, PrivateKey, Severity,
    encode_delta, encode_model,
};
use siding_predict::{Kind, Model, Region, Segment, ShiftMap, Span};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) source: Source,
    /// The target's fresh contents, in order.
    pub(crate) fresh: Vec<Vec<u8>>,
    /// Seeds of those who sign.
    pub(crate) signers: &'static [u8],
    making: Making,
}

/// Where a source lies.
pub(crate) enum Source {
    /// At a path of `testdata/`.
    File(&'static str),
    Tree(&'static str),
    /// Nowhere: these bytes.
    Bytes(&'static [u8]),
}

enum Making {
    /// By the generator, to this target.
    Diff(Image),
    /// By hand: a target and its chunks.
    Hand(Vec<u8>, fn(&[u8], &[u8]) -> Vec<Encoded>),
    /// Without the crate's own writer.
    Forge,
}

pub(crate) fn all() -> Vec<Case> {
    let file = Image::open(&testdata().join("libssl/3.0.22/libssl.so.3")).unwrap();
    let old_tree = described(&testdata().join("ossl-tree/3.0.20"));
    let tree = later(&described(&testdata().join("ossl-tree/3.0.22")));
    let licence = fs::read(testdata().join("LICENSE.OpenSSL")).unwrap();
    let edited = [&licence[1500..], &[0; 400], b"something new\n", &licence[..1400]].concat();
    let turned = |n: usize| [&licence[n * 300..], b"!\n", &licence[..n * 300]].concat();
    let twisted: Vec<u8> = (0..14).flat_map(turned).collect();
    let leaning = [licence.clone(), licence.iter().rev().copied().collect(), licence].concat();
    let zeros = [b"begin".to_vec(), vec![0; 1_000_000], b"end".to_vec()].concat();
    vec![
        Case {
            name: "example.siding",
            source: Source::Bytes(forge::EXAMPLE_OLD),
            fresh: vec![forge::EXAMPLE_NEW.to_vec()],
            signers: &[forge::ALICE],
            making: Making::Forge,
        },
        Case {
            name: "file.siding",
            source: Source::File("libssl/3.0.20/libssl.so.3"),
            fresh: vec![file.blobs()[0].bytes().unwrap().to_vec()],
            signers: &[forge::ALICE, forge::BOB],
            making: Making::Diff(file),
        },
        Case {
            name: "tree.siding",
            source: Source::Tree("ossl-tree/3.0.20"),
            fresh: fresh(&old_tree, &tree),
            signers: &[forge::BOB],
            making: Making::Diff(tree),
        },
        Case {
            name: "metadata.siding",
            source: Source::Tree("ossl-tree/3.0.20"),
            fresh: vec![],
            signers: &[forge::ALICE],
            making: Making::Diff(later(&old_tree)),
        },
        Case {
            name: "history-of-source.siding",
            source: Source::File("LICENSE.OpenSSL"),
            fresh: vec![edited.clone()],
            signers: &[],
            making: Making::Hand(edited, after_source),
        },
        Case {
            name: "leaning-chunks.siding",
            source: Source::File("LICENSE.OpenSSL.copyright"),
            fresh: vec![leaning.clone()],
            signers: &[],
            making: Making::Hand(leaning, lean),
        },
        Case {
            name: "moved.siding",
            source: Source::Bytes(MOVES),
            fresh: vec![MOVED.to_vec()],
            signers: &[forge::BOB],
            making: Making::Hand(MOVED.to_vec(), predict),
        },
        Case {
            name: "lzma.siding",
            source: Source::File("LICENSE.OpenSSL.copyright"),
            fresh: vec![twisted.clone()],
            signers: &[],
            making: Making::Hand(twisted, densely),
        },
        Case {
            name: "zeros.siding",
            source: Source::Bytes(b"beginning to end"),
            fresh: vec![zeros.clone()],
            signers: &[],
            making: Making::Hand(zeros, from_nothing),
        },
        Case {
            name: "to-nothing.siding",
            source: Source::Bytes(b"all of this goes"),
            fresh: vec![vec![]],
            signers: &[],
            making: Making::Hand(vec![], |_, _| vec![]),
        },
    ]
}

impl Case {
    pub(crate) fn make(&self) -> Vec<u8> {
        let source = self.source.image();
        let (target, chunks) = match &self.making {
            Making::Forge => return forge::Forge::example().build(),
            Making::Diff(target) => {
                let delta = siding_diff::make(&source, target, Level::Best, &|_, _, _| {}).unwrap();
                (target.identity(), delta.chunks)
            }
            Making::Hand(target, chunks) => {
                (bytes(target).identity(), chunks(source.blobs()[0].bytes().unwrap(), target))
            }
        };
        let image = |version: &str, identity| ImageRef { version: version.parse().unwrap(), identity };
        // The most varied manifest goes with the patch that two have signed.
        let all = self.signers.len() == 2;
        let text = "A text of\ntwo lines, written for this file; it is about no real weakness.";
        let advisory = Advisory { id: "CVE-2026-0001".into(), severity: Severity::High, text: text.into() };
        let manifest = Manifest {
            epoch: if all { 7 } else { 0 },
            advisories: all.then_some(advisory).into_iter().collect(),
            restart: if all { vec!["nginx".into(), "reboot".into()] } else { vec![] },
            products: if all { vec!["example-board".into()] } else { vec![] },
            created: all.then_some(1_750_000_000),
            expires: all.then_some(u64::from(u32::MAX)),
            minimum: all.then_some([0, 1, 0]),
            notes: if all {
                BTreeMap::from([(64, b"for later readers".to_vec()), (127, vec![])])
            } else {
                BTreeMap::new()
            },
            ..Manifest::new(
                "openssl".parse().unwrap(),
                image("3.0.20", source.identity()),
                image("3.0.20 (a)", target),
            )
        };
        let keys: Vec<PrivateKey> = self.signers.iter().map(|seed| key(*seed)).collect();
        let mut out = Vec::new();
        siding_patch::write(&manifest, &chunks, &keys, &mut out).unwrap();
        out
    }
}

impl Source {
    pub(crate) fn image(&self) -> Image {
        let at = |path: &str| -> PathBuf { testdata().join(path) };
        match self {
            Self::File(path) => Image::open(&at(path)).unwrap(),
            Self::Tree(path) => described(&at(path)),
            Self::Bytes(content) => bytes(content),
        }
    }
}

/// An image of these bytes; its file goes when the process ends its map, not before.
pub(crate) fn bytes(content: &[u8]) -> Image {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), content).unwrap();
    let image = Image::open(file.path()).unwrap();
    image.blobs()[0].bytes().unwrap();
    image
}

pub(crate) fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(&[seed; 32])
}

fn fresh(source: &Image, target: &Image) -> Vec<Vec<u8>> {
    let layout = Layout::new(source, target.content());
    let blobs = layout.fresh().iter().map(|file| target.blob(&file.digest).unwrap());
    blobs.map(|blob| blob.bytes().unwrap().to_vec()).collect()
}

/// The tree an hour later and read-only, as if unpacked anew; its root stays as it is.
fn later(tree: &Image) -> Image {
    let mut entries = tree.tree().unwrap().entries().to_vec();
    for entry in &mut entries[1..] {
        let (Node::Directory(meta) | Node::File(meta, _)) = &mut entry.node else { unreachable!() };
        meta.seconds += 3600;
        meta.mode &= 0o555;
    }
    Image::assume(tree.root(), Content::Tree(Tree::new(entries).unwrap()))
}

/// Three chunks of literals, the second and third with coders that refer to the target so far.
fn lean(_source: &[u8], target: &[u8]) -> Vec<Encoded> {
    let chunk = |start: usize, end: usize| {
        let history = History { target_len: start as u64, ..History::default() };
        literals(target, start..end, history, &target[..start])
    };
    vec![chunk(0, 12_288), chunk(12_288, 24_576), chunk(24_576, target.len())]
}

/// Two chunks of literals with coders that refer to the source: to a range across its end with zeros after it,
/// and to a part of it with a part of the target.
fn after_source(source: &[u8], target: &[u8]) -> Vec<Encoded> {
    let len = source.len();
    let across = [&source[1000..], &[0; 500]].concat();
    let history = History { source_offset: 1000, source_len: across.len() as u64, target_len: 0 };
    let first = literals(target, 0..8192, history, &across);
    let both = [&source[len - 7000..len - 1000], &target[192..8192]].concat();
    let history = History { source_offset: len as u64 - 7000, source_len: 6000, target_len: 8000 };
    vec![first, literals(target, 8192..target.len(), history, &both)]
}

fn literals(target: &[u8], range: std::ops::Range<usize>, history: History, bytes: &[u8]) -> Encoded {
    let start = range.start as u64;
    let all = Instruction { literals: &target[range], from: 0, source: &[], target: &[] };
    encode_delta(&[all], start, Packing::zstd(19), Some((history, bytes))).unwrap()
}

/// A call of 1340 at 1100, and at 4010 its address; see `docs/prediction.md`.
const MOVES: &[u8] = b"\xe8\x3b\x02\0\0\xc3\x90\x90\x40\x13\0\0\0\0\0\0";
/// The same 4 bytes on, where everything from 1200 on moved by 20 and from 4000 on by 1000.
const MOVED: &[u8] = b"new!\xe8\x5b\x02\0\0\xc3\x90\x90\x60\x13\0\0\0\0\0\0";

/// A model, and a copy that needs no difference.
fn predict(_source: &[u8], target: &[u8]) -> Vec<Encoded> {
    let region = |start, address, kind| Region { start, len: 8, address, kind, link: 0 };
    let segment = |start, address| Segment { start, len: 8, address };
    let model = Model::new(
        vec![region(0, 0x1100, Kind::X86_64), region(8, 0x4010, Kind::Words64)],
        vec![
            Span { start: 0x1000, end: 0x3000, code: true },
            Span { start: 0x4000, end: 0x4100, code: false },
        ],
        vec![segment(4, 0x1100), segment(12, 0x5010)],
        ShiftMap::new(vec![(0x1200, 0x20), (0x4000, 0x1000)]),
    );
    let streams = model.unwrap().encode();
    let copied = &target[4..];
    let all = Instruction { literals: &target[..4], from: 0, source: copied, target: copied };
    let packing = Packing::zstd(19);
    vec![
        encode_model(streams.regions, streams.addresses, streams.shifts, packing).unwrap(),
        encode_delta(&[all], 0, packing, None).unwrap(),
    ]
}

/// One chunk of literals, too large for the adaptive coder.
fn densely(_source: &[u8], target: &[u8]) -> Vec<Encoded> {
    let all = Instruction { literals: target, from: 0, source: &[], target: &[] };
    vec![encode_delta(&[all], 0, Packing { zstd: 19, dense: true }, None).unwrap()]
}

/// Copies from both sides of the source's end.
fn from_nothing(source: &[u8], target: &[u8]) -> Vec<Encoded> {
    let copy = |from: u64, source, target| Instruction { literals: &[], from, source, target };
    let zeros = &target[5..target.len() - 3];
    let list = [
        copy(0, &source[..5], &target[..5]),
        copy(1 << 62, zeros, zeros),
        copy(13, &source[13..], &target[target.len() - 3..]),
    ];
    vec![encode_delta(&list, 0, Packing::zstd(19), None).unwrap()]
}
