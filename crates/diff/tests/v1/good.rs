//! Well-formed patches: what each starts from and makes, and how it was made once.

use crate::common::{described, testdata};
use crate::forge;
use siding_diff::Level;
use siding_image::Image;
use siding_patch::{
    Advisory, Encoded, ImageRef, Instruction, Layout, Manifest, PrivateKey, Severity, encode_delta,
};
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
    let tree = described(&testdata().join("ossl-tree/3.0.22"));
    let licence = fs::read(testdata().join("LICENSE.OpenSSL")).unwrap();
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
            fresh: fresh(&described(&testdata().join("ossl-tree/3.0.20")), &tree),
            signers: &[forge::BOB],
            making: Making::Diff(tree),
        },
        Case {
            name: "leaning-chunks.siding",
            source: Source::File("LICENSE.OpenSSL.copyright"),
            fresh: vec![leaning.clone()],
            signers: &[],
            making: Making::Hand(leaning, lean),
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
            component: "openssl".parse().unwrap(),
            source: image("3.0.20", source.identity()),
            target: image("3.0.20 (a)", target),
            chunks: vec![],
            epoch: if all { 7 } else { 0 },
            advisories: all.then_some(advisory).into_iter().collect(),
            restart: if all { vec!["nginx".into(), "reboot".into()] } else { vec![] },
            products: if all { vec!["example-board".into()] } else { vec![] },
            created: all.then_some(1_750_000_000),
            expires: all.then_some(u64::from(u32::MAX)),
            minimum: all.then_some([0, 1, 0]),
            notes: Default::default(),
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

/// Three chunks of literals, the second and third with coders that lean on the target so far.
fn lean(_source: &[u8], target: &[u8]) -> Vec<Encoded> {
    let third = target.len() / 3;
    let chunk = |start: usize| {
        let literals =
            Instruction { literals: &target[start..start + third], from: 0, source: &[], target: &[] };
        encode_delta(&[literals], start as u64, 19, Some(&target[..start])).unwrap()
    };
    vec![chunk(0), chunk(third), chunk(2 * third)]
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
    vec![encode_delta(&list, 0, 19, None).unwrap()]
}
