//! Patches with one flaw each, named for it. `docs/format.md` section 9 lists the same names.

use crate::common::meta;
use crate::forge::{
    ALICE, BOB, Chunk, EXAMPLE_NEW, EXAMPLE_OLD, Forge, Image as Listed, array, bytes as forge_bytes,
    envelope, frame, kid, lzma, number, numbers, signature_entry, signed, text, uint,
};
use crate::good;
use siding_image::{Changes, Content, Entry, FileRef, Image, Meta, Node, Tree, verity};
use std::fs;
use tempfile::TempDir;

pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// A part of what the reader says.
    pub(crate) error: &'static str,
    pub(crate) patch: Vec<u8>,
    is_tree: bool,
}

/// The images that the patches start from.
pub(crate) struct Sources {
    pub(crate) file: Image,
    pub(crate) tree: Image,
    _dir: TempDir,
}

impl Sources {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("dir")).unwrap();
        fs::write(dir.path().join("a"), b"one\n").unwrap();
        fs::write(dir.path().join("dir/b"), b"two\n").unwrap();
        let tree = Image::assume(dir.path(), Content::Tree(old_tree()));
        Self { file: good::bytes(EXAMPLE_OLD), tree, _dir: dir }
    }

    pub(crate) fn of(&self, case: &Case) -> &Image {
        if case.is_tree { &self.tree } else { &self.file }
    }
}

pub(crate) fn all() -> Vec<Case> {
    [file(), manifest(), chunk(), coded(), model(), delta(), tree(), changes()]
        .into_iter()
        .flatten()
        .collect()
}

fn case(name: &'static str, error: &'static str, patch: Vec<u8>) -> Case {
    Case { name, error, patch, is_tree: false }
}

/// The example with something changed before it is signed.
fn example(change: impl FnOnce(&mut Forge)) -> Vec<u8> {
    let mut forge = Forge::example();
    change(&mut forge);
    forge.build()
}

/// The example after it was signed, with something changed.
fn damaged(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut patch = Forge::example().build();
    change(&mut patch);
    patch
}

// ---- sections 1 and 2: the file, the envelope

fn file() -> Vec<Case> {
    let good = Forge::example();
    let manifest = good.manifest();
    let signatures = |list: Vec<Vec<u8>>| good.with_envelope(&envelope(&manifest, list));
    let (mut one, mut two) = (good.signature(ALICE, &manifest), good.signature(BOB, &manifest));
    if kid(ALICE) < kid(BOB) {
        std::mem::swap(&mut one, &mut two);
    }
    let elsewhere = |seed| {
        let other = Forge { signed_head: *b"another file", ..good.clone() };
        other.signature(seed, &manifest)
    };
    let renamed = [good.signature(ALICE, &manifest)].map(|entry| {
        let at = entry.windows(8).position(|window| window == kid(ALICE)).unwrap();
        [&entry[..at], &kid(BOB), &entry[at + 8..]].concat()
    });
    let long_form = {
        let short = envelope(&manifest, vec![good.signature(ALICE, &manifest)]);
        let at = short.windows(2).position(|window| window == [0x58, manifest.len() as u8]).unwrap();
        [&short[..at], &[0x59, 0], &short[at + 1..]].concat()
    };
    let trailed = [envelope(&manifest, vec![good.signature(ALICE, &manifest)]), vec![0]].concat();
    let malleable = {
        let entry = good.signature(ALICE, &manifest);
        let signature = with_order_added(&entry[entry.len() - 64..]);
        signature_entry(&kid(ALICE), &signature)
    };
    vec![
        case("no-patch", "not a siding patch", damaged(|p| p[5] = b'\n')),
        case("version-2", "format version 2", example(|f| (f.head[8], f.signed_head[8]) = (2, 2))),
        case("reserved-not-zero", "reserved bytes", example(|f| (f.head[10], f.signed_head[10]) = (1, 1))),
        case("cut-in-header", "ends inside the header", damaged(|p| p.truncate(15))),
        case("cut-in-envelope", "ends inside the manifest", damaged(|p| p.truncate(100))),
        case("cut-in-chunk", "ends inside chunk 0", damaged(|p| p.truncate(p.len() - 1))),
        case("something-trails", "bytes follow the last chunk", example(|f| f.trailing = vec![0])),
        case("envelope-too-long", "the limit is", damaged(|p| p[12..16].fill(0xff))),
        case("envelope-not-cose", "not a COSE_Sign message", damaged(|p| p[17] = 97)),
        case("envelope-long-form", "not canonical", good.with_envelope(&long_form)),
        case("envelope-trails", "not canonical", good.with_envelope(&trailed)),
        case("unsigned", "not signed", example(|f| f.signers = vec![])),
        case("signed-by-a-stranger", "not trusted", example(|f| f.signers = vec![3])),
        case("signed-for-another-head", "not trusted", signatures(vec![elsewhere(ALICE)])),
        case("signature-names-another-key", "not trusted", signatures(renamed.to_vec())),
        case("signature-malleable", "not trusted", signatures(vec![malleable])),
        case("signatures-descend", "not a COSE_Sign message", signatures(vec![one.clone(), two])),
        case("signature-twice", "not a COSE_Sign message", signatures(vec![one.clone(), one])),
        case("chunk-damaged", "chunk 0 is damaged", damaged(|p| *p.last_mut().unwrap() ^= 1)),
    ]
}

/// The same signature with the group's order added to its second half: sloppy verifiers take it.
fn with_order_added(signature: &[u8]) -> Vec<u8> {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut out = signature.to_vec();
    let mut carry = 0;
    for (byte, add) in out[32..].iter_mut().zip(ORDER) {
        carry += u32::from(*byte) + u32::from(add);
        *byte = carry as u8;
        carry >>= 8;
    }
    out
}

// ---- section 3: the manifest

fn manifest() -> Vec<Case> {
    let good = Forge::example().manifest();
    let spelled = |manifest: Vec<u8>| Forge::example().with_manifest(&manifest);
    let field = |key, value: Vec<u8>| example(move |f| f.more.push((key, value)));
    let advisory = |text_: &str| array(&[array(&[text("CVE-1"), uint(3), text(text_)])]);
    let component = text("example");
    let twice = [&[0xa5], &good[1..], &[1], &component[..]].concat();
    let swapped = {
        let first = 2 + component.len();
        // The second field: its key, and an image whose version has three letters.
        let second = first + 1 + 1 + text("1.0").len() + 1 + 1 + 34;
        [&[0xa4], &good[first..second], &good[1..first], &good[second..]].concat()
    };
    vec![
        case("field-unknown", "field 12", field(12, uint(0))),
        case("field-unknown-large", "field 65536", field(65536, uint(0))),
        case("field-unknown-before-notes", "field 63", field(63, forge_bytes(b"note"))),
        case("field-unknown-after-notes", "field 128", field(128, forge_bytes(b"note"))),
        case("note-not-bytes", "grammar", field(64, text("note"))),
        case(
            "field-missing",
            "mandatory field is missing",
            spelled([&[0xa3], &good[2 + component.len()..]].concat()),
        ),
        case("field-twice", "not canonical", spelled(twice)),
        case("fields-descend", "not canonical", spelled(swapped)),
        case("field-says-nothing", "not canonical", field(5, uint(0))),
        case("manifest-trails", "not canonical", spelled([&good[..], &[0]].concat())),
        case("manifest-indefinite", "grammar", spelled([&[0xbf], &good[1..], &[0xff]].concat())),
        case("number-long-form", "not canonical", field(5, vec![0x18, 5])),
        case("component-climbs", "grammar", example(|f| f.component = "../etc".into())),
        case("version-malformed", "grammar", example(|f| f.target.version = "1.0 (A)".into())),
        case("digest-short", "grammar", example(|f| f.target.digest.truncate(31))),
        case("severity-unknown", "grammar", field(6, array(&[array(&[text("CVE-1"), uint(5), text("")])]))),
        case("text-steers-the-terminal", "control characters", field(6, advisory("\x1b[2J"))),
        case("text-empty", "text is empty", field(7, array(&[text("")]))),
        case("kinds-differ", "different kinds", example(|f| f.target.kind = 1)),
        case("size-2-to-the-63", "2^63 or more", example(|f| f.source.size = 1 << 63)),
        case("file-has-changes", "a file none", example(|f| f.chunks.insert(0, Chunk::changes(&[0])))),
        case(
            "delta-makes-nothing",
            "at least one byte",
            example(|f| f.chunks.push(Chunk::of(1, 0, 0, vec![]))),
        ),
        case("too-little-made", "do not make the target's length", example(|f| f.target.size += 1)),
        case("target-lengths-overflow", "overflow", {
            example(|f| {
                f.chunks = vec![f.chunks[0].clone(); 2];
                f.chunks[0].target = u64::MAX;
            })
        }),
        case("chunk-kind-unknown", "chunk kind 3", example(|f| f.chunk().kind = 3)),
        case(
            "stored-too-long",
            "chunk 0, stored",
            example(|f| f.chunk().stored = (8 << 20) + (64 << 10) + 1),
        ),
        case("decoded-too-long", "chunk 0, decoded", example(|f| f.chunk().decoded = (8 << 20) + 1)),
        case("made-too-long", "chunk 0, made", {
            example(|f| {
                f.target.size = (1 << 30) + 1;
                f.chunk().target = f.target.size;
            })
        }),
    ]
}

// ---- section 4: chunks

fn chunk() -> Vec<Case> {
    // A frame that places the example's target as literals: one instruction of 21 bytes.
    let plain = [&[21, 0][..], EXAMPLE_NEW].concat();
    let streams = [(0, 1), (1, 1), (6, 21)];
    let of = |decoded: u64, bytes: Vec<u8>| {
        let mut forge = Forge::example();
        forge.chunks = vec![Chunk::of(1, decoded, 21, bytes)];
        forge.build()
    };
    let raw = |streams: &[(u8, u64)], decoded| of(decoded, frame(0, streams, None, &plain));
    let zstd = zstd_frame(&plain);
    let packed = |coded: &[u8]| of(23, frame(1, &streams, None, coded));
    let after = |history| of(23, frame(2, &streams, Some(history), &zstd));
    let long = [&[2, 3, 0, 1, 1, 1, 6, 21, 0, 0, 0x81, 0, zstd.len() as u8][..], &zstd].concat();
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 0xaa][..], &zstd].concat();
    let named = [&[0x28, 0xb5, 0x2f, 0xfd, 0x21, 9][..], &zstd[5..]].concat();
    let halves = [zstd_frame(&plain[..10]), zstd_frame(&plain[10..])].concat();
    vec![
        case("coder-unknown", "coder 5", of(23, frame(5, &streams, None, &plain))),
        case("coder-reserved", "coder 16", of(23, frame(16, &streams, None, &plain))),
        case("stream-unknown", "stream 11", raw(&[(0, 1), (1, 1), (11, 21)], 23)),
        case("stream-twice", "stream occurs twice", raw(&[(0, 1), (0, 1), (6, 21)], 23)),
        case("stream-empty", "empty stream", raw(&[(0, 1), (1, 1), (2, 0), (6, 21)], 23)),
        case("frame-without-streams", "holds no stream", of(0, frame(0, &[], None, &[]))),
        case("frame-head-cut", "cut short", of(23, vec![0, 3, 0, 1])),
        case("frame-past-the-end", "past the chunk's end", {
            let mut bytes = frame(0, &streams, None, &plain);
            bytes.pop();
            of(23, bytes)
        }),
        case(
            "length-long-form",
            "not canonical",
            of(23, [&[0, 3, 0, 0x81, 0][..], &[1, 1, 6, 21, 23], &plain].concat()),
        ),
        case("decoded-length-wrong", "do not add up", raw(&streams, 24)),
        case("changes-in-a-delta", "chunk of another kind", raw(&[(0, 1), (1, 1), (7, 21)], 23)),
        case("model-stream-in-a-delta", "chunk of another kind", raw(&[(0, 1), (1, 1), (8, 21)], 23)),
        case("raw-length-wrong", "raw frame's length", of(23, frame(0, &streams, None, &plain[1..]))),
        case("zstd-damaged", "not exactly one frame", packed(&zstd[1..])),
        case("zstd-two-frames", "not exactly one frame", packed(&halves)),
        case("zstd-skippable-frame", "not exactly one frame", packed(&skippable)),
        case("zstd-trails", "not exactly one frame", packed(&[&zstd[..], &[0]].concat())),
        case("zstd-too-short", "shorter than its streams", packed(&zstd_frame(&plain[..22]))),
        case("zstd-too-long", "does not decode", packed(&zstd_frame(&[&plain[..], &[0]].concat()))),
        case("zstd-with-dictionary", "does not decode", packed(&named)),
        case("history-cut", "history is cut short", of(23, vec![2, 3, 0, 1, 1, 1, 6, 21, 5, 5])),
        case("history-long-form", "not canonical", of(23, long)),
        case("history-of-nothing", "has none", after([0, 0, 0])),
        case("history-from-nowhere", "has an offset", after([1, 0, 1])),
        case("history-before-the-target", "more of the target than there is", after([0, 0, 1])),
        case("history-past-all-addresses", "past the end of all addresses", after([i64::MAX as u64, 1, 0])),
        case("history-too-long", "the limit is", after([0, (8 << 20) + 1, 0])),
        case("histories-too-long", "the limit is", after([0, 4 << 20, (4 << 20) + 1])),
        case("chunk-ends-inside-a-block", "inside a digest block", {
            example(|f| {
                let part = |bytes: &[u8]| {
                    let len = bytes.len() as u64;
                    Chunk::delta(len, &[(0, vec![len as u8]), (1, vec![0]), (6, bytes.to_vec())])
                };
                f.chunks = vec![part(&EXAMPLE_NEW[..10]), part(&EXAMPLE_NEW[10..])];
            })
        }),
    ]
}

/// A Zstandard frame with one raw block (RFC 8878 section 3.1.1): magic, "one segment", length, block.
fn zstd_frame(plain: &[u8]) -> Vec<u8> {
    let len = plain.len() as u8;
    [&[0x28, 0xb5, 0x2f, 0xfd, 0x20, len, len << 3 | 1, len >> 5, 0], plain].concat()
}

/// Frames of the coders 3 and 4.
fn coded() -> Vec<Case> {
    let plain = [&[21, 0][..], EXAMPLE_NEW].concat();
    let packed = [&[0], &lzma(&plain)[..]].concat();
    let lzma = |name, coded: &[u8]| {
        let mut forge = Forge::example();
        forge.chunks = vec![Chunk::of(1, 23, 21, frame(3, &[(0, 1), (1, 1), (6, 21)], None, coded))];
        case(name, "lzma frame", forge.build())
    };
    let with = |properties: u8| [&[properties], &packed[1..]].concat();
    let (list, small) = adaptive_example();
    let adaptive = |name, error, coded: &[u8]| case(name, error, adaptive_patch(&list, coded).build());
    let flipped = {
        let mut coded = small.clone();
        coded[small.len() / 2] ^= 0x10;
        coded
    };
    let damaged = "too short, too long or damaged";
    vec![
        lzma("lzma-cut", &packed[..packed.len() - 1]),
        lzma("lzma-trails", &[&packed[..], &[0]].concat()),
        lzma("lzma-properties-missing", &[]),
        lzma("lzma-properties-past-224", &with(225)),
        // 4 bits of context and 1 of position.
        lzma("lzma-properties-take-five-bits", &with(4 + 9)),
        lzma("lzma-starts-wrong", &[&packed[..1], &[1], &packed[2..]].concat()),
        adaptive("adaptive-cut", damaged, &small[..small.len() - 2]),
        adaptive("adaptive-trails", damaged, &[&small[..], &[0]].concat()),
        adaptive("adaptive-flipped", damaged, &flipped),
        adaptive("adaptive-head-cut", "has no head", &small[..4]),
        adaptive(
            "adaptive-head-too-small",
            "has no head",
            &[&[0xff, 0xff, 0xff, 0, 0], &small[5..]].concat(),
        ),
        case("adaptive-in-a-large-chunk", "more than 128 KiB", {
            let mut forge = Forge::example();
            let len = (128 << 10) + 1;
            forge.chunks = vec![Chunk::of(1, len, 21, frame(4, &[(6, len)], None, &small))];
            forge.build()
        }),
    ]
}

/// Some text as literals, as the adaptive coder has them: lengths of the streams, and the coded bytes.
fn adaptive_example() -> ([(u8, u64); 3], Vec<u8>) {
    let text = adaptive_text();
    let all = siding_patch::Instruction { literals: &text, from: 0, source: &[], target: &[] };
    let packing = siding_patch::Packing { zstd: 3, dense: true };
    let chunk = siding_patch::encode_delta(&[all], 0, packing, None).unwrap();
    let list = [(0, 2), (1, 1), (6, text.len() as u64)];
    let head = 2 + 2 + 2 + 1 + number(text.len() as u64).len();
    assert_eq!(chunk.bytes[..2], [4, 3], "the adaptive coder is the best for it");
    let stored = (0..3)
        .map(|len| &chunk.bytes[head + len..])
        .find(|rest| head + number(rest.len() as u64).len() + rest.len() == chunk.bytes.len());
    (list, stored.unwrap().to_vec())
}

fn adaptive_text() -> Vec<u8> {
    fs::read(crate::testdata().join("LICENSE.OpenSSL")).unwrap()[..600].to_vec()
}

fn adaptive_patch(list: &[(u8, u64)], coded: &[u8]) -> Forge {
    let text = adaptive_text();
    let mut forge = Forge::example();
    forge.target = Listed::file("1.0 (a)", &text);
    let decoded = list.iter().map(|(_, len)| len).sum();
    forge.chunks = vec![Chunk::of(1, decoded, text.len() as u64, frame(4, list, None, coded))];
    forge
}

/// What the bad frames are made from.
pub(crate) fn good_frames() -> [(Forge, Vec<u8>); 2] {
    let plain = [&[21, 0][..], EXAMPLE_NEW].concat();
    let mut packed = Forge::example();
    let coded = [&[0], &lzma(&plain)[..]].concat();
    packed.chunks = vec![Chunk::of(1, 23, 21, frame(3, &[(0, 1), (1, 1), (6, 21)], None, &coded))];
    let (list, coded) = adaptive_example();
    [(packed, EXAMPLE_NEW.to_vec()), (adaptive_patch(&list, &coded), adaptive_text())]
}

// ---- section 4.6: models

/// The three streams, from lists.
#[derive(Clone)]
struct Parts {
    /// Kind, gap, length, space, signed address; a signed link, if its kind has one.
    regions: Vec<(u64, u64, u64, u64, i64, Option<i64>)>,
    /// Gap, length twice and one more for code.
    spans: Vec<(u64, u64)>,
    /// Gap, length, signed address.
    segments: Vec<(u64, u64, i64)>,
    addresses: Vec<u64>,
    shifts: Vec<u64>,
}

impl Parts {
    fn example() -> Self {
        Self {
            regions: vec![(1, 0, 8, 0, 4096, None), (3, 0, 9, 1, 96, Some(-7))],
            spans: vec![(4096, 17), (1 << 40, 32)],
            segments: vec![(0, 8, 4096), (4, 9, 32)],
            addresses: vec![4100, 1],
            shifts: vec![8, 8 + 32],
        }
    }

    fn streams(&self) -> [Vec<u8>; 3] {
        let mut out = number(self.regions.len() as u64);
        for (kind, gap, len, space, address, link) in &self.regions {
            out.extend([numbers(&[*kind, *gap, *len, *space]), signed(*address)].concat());
            out.extend(link.map(signed).unwrap_or_default());
        }
        out.extend(number(self.spans.len() as u64));
        self.spans.iter().for_each(|(gap, len)| out.extend(numbers(&[*gap, *len])));
        out.extend(number(self.segments.len() as u64));
        for (gap, len, address) in &self.segments {
            out.extend([numbers(&[*gap, *len]), signed(*address)].concat());
        }
        [out, numbers(&self.addresses), numbers(&self.shifts)]
    }
}

/// The example with a model ahead of it that holds these streams.
fn modelled([regions, addresses, shifts]: &[Vec<u8>; 3]) -> Forge {
    let mut forge = Forge::example();
    forge.chunks.insert(0, Chunk::model(regions, addresses, shifts));
    forge
}

/// The patch that the bad ones of models are made from.
pub(crate) fn good_model() -> Forge {
    modelled(&Parts::example().streams())
}

fn model() -> Vec<Case> {
    let good = Parts::example().streams();
    let with = |name, error, change: &dyn Fn(&mut Parts)| {
        let mut parts = Parts::example();
        change(&mut parts);
        case(name, error, modelled(&parts.streams()).build())
    };
    let forged = |name, error, change: &dyn Fn(&mut Forge)| {
        let mut forge = good_model();
        change(&mut forge);
        case(name, error, forge.build())
    };
    let bytes = |name, error, change: &dyn Fn(&mut [Vec<u8>; 3])| {
        let mut streams = good.clone();
        change(&mut streams);
        case(name, error, modelled(&streams).build())
    };
    vec![
        forged("model-twice", "not the only one", &|f| f.chunks.insert(0, f.chunks[0].clone())),
        forged("model-after-a-delta", "follows a delta chunk", &|f| f.chunks.reverse()),
        forged("model-makes-bytes", "any other none", &|f| f.chunk().target = 1),
        forged("model-too-long", "chunk 0, decoded", &|f| f.chunk().decoded = (2 << 20) + 1),
        forged("model-with-a-history", "refers to a history", &|f| {
            let stored = frame(2, &[(8, 3)], Some([0, 1, 0]), &zstd_frame(&[0; 3]));
            f.chunks[0] = Chunk::of(2, 3, 0, stored);
        }),
        forged("delta-stream-in-a-model", "chunk of another kind", &|f| {
            f.chunks[0] = Chunk::of(2, 3, 0, frame(0, &[(6, 3)], None, &[0; 3]));
        }),
        with("region-kind-unknown", "unknown kind", &|p| p.regions[0].0 = 13),
        with("region-past-all-addresses", "past the end of all addresses", &|p| p.regions[1].1 = 1 << 63),
        with("region-leaves-its-space", "region leaves its space", &|p| p.regions[0].4 = -1),
        with("region-spaces-too-many", "too many spaces", &|p| p.regions[1].3 = 1 << 16),
        with("span-of-nothing", "span is empty", &|p| p.spans[0].1 = 1),
        with("span-leaves-its-space", "span leaves its space", &|p| p.spans[1].1 = 1 << 50),
        with("span-overflows", "cut short or not canonical", &|p| p.spans[1].0 = u64::MAX),
        with("segment-past-all-addresses", "past the end of all addresses", &|p| p.segments[1].0 = 1 << 63),
        with("segment-leaves-its-space", "segment leaves its space", &|p| p.segments[0].2 = -1),
        with("step-address-twice", "one address", &|p| p.addresses[1] = 0),
        with("step-address-overflows", "overflows", &|p| p.addresses[1] = u64::MAX),
        with("step-shift-missing", "cut short", &|p| p.shifts.truncate(1)),
        with("step-shift-left-over", "left over", &|p| p.shifts.push(0)),
        bytes("regions-cut", "cut short", &|s| {
            s[0].pop();
        }),
        bytes("regions-left-over", "left over", &|s| s[0].push(0)),
        bytes("regions-long-form", "not canonical", &|s| drop(s[0].splice(..1, [0x82, 0]))),
        bytes("regions-more-than-there-are", "cut short", &|s| s[0] = number(u64::MAX)),
    ]
}

// ---- section 5: deltas

/// The seven streams, from lists.
#[derive(Clone)]
struct Streams {
    literal_lengths: Vec<u64>,
    copy_lengths: Vec<u64>,
    copy_offsets: Vec<i64>,
    gaps: Vec<u64>,
    runs: Vec<u64>,
    values: Vec<u8>,
    literals: Vec<u8>,
}

impl Streams {
    fn example() -> Self {
        Self {
            literal_lengths: vec![0, 4],
            copy_lengths: vec![16, 1],
            copy_offsets: vec![0, -4],
            gaps: vec![14],
            runs: vec![0],
            values: vec![1],
            literals: b" Bye".to_vec(),
        }
    }

    fn patch(&self) -> Vec<u8> {
        let offsets = self.copy_offsets.iter().flat_map(|offset| signed(*offset)).collect();
        self.patch_with(offsets)
    }

    fn patch_with(&self, offsets: Vec<u8>) -> Vec<u8> {
        let all = [
            numbers(&self.literal_lengths),
            numbers(&self.copy_lengths),
            offsets,
            numbers(&self.gaps),
            numbers(&self.runs),
            self.values.clone(),
            self.literals.clone(),
        ];
        let used: Vec<(u8, Vec<u8>)> = (0..).zip(all).filter(|(_, bytes)| !bytes.is_empty()).collect();
        let mut forge = Forge::example();
        forge.chunks = vec![Chunk::delta(EXAMPLE_NEW.len() as u64, &used)];
        forge.build()
    }
}

fn delta() -> Vec<Case> {
    let with = |name, error, change: &dyn Fn(&mut Streams)| {
        let mut streams = Streams::example();
        change(&mut streams);
        case(name, error, streams.patch())
    };
    let overlong = [signed(0), vec![0x87, 0x00]].concat();
    vec![
        with("instruction-does-nothing", "does nothing", &|s| {
            s.literal_lengths.insert(0, 0);
            s.copy_lengths.insert(0, 0);
        }),
        with("instruction-too-long", "more than the chunk's target", &|s| s.copy_lengths[1] = 2),
        with("instruction-overflows", "lengths overflow", &|s| {
            (s.literal_lengths[0], s.copy_lengths[0]) = (1 << 63, 1 << 63);
        }),
        with("instructions-cut", "cut short", &|s| s.literal_lengths.truncate(1)),
        with("instruction-left-over", "left over", &|s| s.literal_lengths.push(1)),
        with("copy-length-left-over", "left over", &|s| s.copy_lengths.push(1)),
        with("copy-offset-left-over", "left over", &|s| s.copy_offsets.push(0)),
        with("copy-offset-missing", "cut short", &|s| s.copy_offsets.truncate(1)),
        case("copy-offset-long-form", "not canonical", Streams::example().patch_with(overlong)),
        with("copy-before-the-source", "address overflows", &|s| s.copy_offsets[0] = -1),
        with("copy-past-all-addresses", "past the end of all addresses", &|s| {
            s.copy_lengths = vec![1, 16];
            s.copy_offsets = vec![i64::MAX, i64::MAX - 4];
        }),
        with("gap-left-over", "left over", &|s| {
            s.gaps.push(9);
            s.runs.push(0);
            s.values.push(1);
        }),
        with("gap-without-run", "cut short", &|s| s.gaps.push(0)),
        with("run-without-gap", "cut short", &|s| s.runs.push(0)),
        with("run-too-long", "too few differences", &|s| s.runs[0] = 1),
        with("run-past-the-copies", "left over", &|s| {
            (s.runs[0], s.values) = (3, vec![1; 4]);
        }),
        with("run-overflows", "overflows", &|s| s.runs[0] = u64::MAX),
        with("difference-left-over", "left over", &|s| s.values.push(1)),
        with("literal-missing", "too few literals", &|s| s.literals.truncate(3)),
        with("literal-left-over", "left over", &|s| s.literals.push(b'!')),
        with("target-wrong", "came out wrong", &|s| s.literals[3] = b'?'),
    ]
}

// ---- section 6: trees

fn entry(path: &str, node: Node) -> Entry {
    Entry { path: path.into(), node }
}

fn directory(path: &str) -> Entry {
    entry(path, Node::Directory(meta(0o755)))
}

fn regular(path: &str, content: &[u8]) -> Entry {
    let content = FileRef { size: content.len() as u64, digest: verity::digest(content) };
    entry(path, Node::File(meta(0o644), content))
}

fn symlink(path: &str, to: &str) -> Entry {
    entry(path, Node::Symlink(meta(0o777), to.into()))
}

fn old_tree() -> Tree {
    let hard_link = entry("dir/c", Node::HardLink(b"dir/b".to_vec()));
    let list =
        vec![directory(""), regular("a", b"one\n"), directory("dir"), regular("dir/b", b"two\n"), hard_link];
    Tree::new(list).unwrap()
}

/// From the old tree to one without `a`, with a later `dir`, another `dir/b` and a symbolic link.
fn good_changes() -> Changes {
    let put = vec![regular("dir/b", b"three\n"), symlink("link", "dir/b")];
    let touched = vec![(2, Meta { seconds: 1_750_000_001, ..meta(0o755) })];
    Changes { removed: vec![b"a".to_vec()], put, fresh: vec![0], touched }
}

/// The patch that the bad ones of trees are made from.
pub(crate) fn good_tree() -> Forge {
    tree_patch(&[&good_changes().encode()])
}

/// A patch with these parts of changes that promises what the good changes make.
fn tree_patch(parts: &[&[u8]]) -> Forge {
    let listed = |version: &str, tree: &Tree| Listed {
        version: version.into(),
        kind: 1,
        size: tree.size(),
        digest: tree.digest().0.to_vec(),
    };
    let (old, new) = (old_tree(), old_tree().with(&good_changes()).unwrap());
    let delta = Chunk::delta(6, &[(0, vec![6]), (1, vec![0]), (6, b"three\n".to_vec())]);
    let chunks = parts.iter().map(|part| Chunk::changes(part)).chain([delta]).collect();
    Forge::new(listed("1.0", &old), listed("1.0 (a)", &new), chunks)
}

/// From the old tree to one with two new files; a chunk ends 4096 bytes after the start, in the second of them.
fn two_files() -> Forge {
    let (one, two) = (b"short\n".to_vec(), vec![b'2'; 5000]);
    let put = vec![regular("x", &one), regular("y", &two)];
    let changes = Changes { put, fresh: vec![0, 1], ..Changes::default() };
    let flat = [one, two].concat();
    let part = |bytes: &[u8]| {
        let len = bytes.len() as u64;
        Chunk::delta(len, &[(0, numbers(&[len])), (1, vec![0]), (6, bytes.to_vec())])
    };
    let mut forge = tree_patch(&[&changes.encode()]);
    let new = old_tree().with(&changes).unwrap();
    (forge.target.size, forge.target.digest) = (new.size(), new.digest().0.to_vec());
    forge.chunks.truncate(1);
    forge.chunks.extend([part(&flat[..4096]), part(&flat[4096..])]);
    forge
}

fn tree_case(name: &'static str, error: &'static str, forge: &Forge) -> Case {
    Case { name, error, patch: forge.build(), is_tree: true }
}

/// The good changes with something changed.
fn changed(name: &'static str, error: &'static str, change: impl FnOnce(&mut Changes)) -> Case {
    let mut changes = good_changes();
    change(&mut changes);
    tree_case(name, error, &tree_patch(&[&changes.encode()]))
}

/// The good changes with one more entry, in its place.
fn put(name: &'static str, error: &'static str, entry: Entry) -> Case {
    changed(name, error, |changes| {
        let at = changes.put.partition_point(|other| other.path < entry.path);
        changes.put.insert(at, entry);
        changes.fresh = changes.fresh.iter().map(|index| index + usize::from(at <= *index)).collect();
    })
}

fn tree() -> Vec<Case> {
    let with_meta = |change: &dyn Fn(&mut Meta)| {
        let mut meta = meta(0o755);
        change(&mut meta);
        entry("x", Node::Directory(meta))
    };
    let sized = |path: &str, size| {
        entry(path, Node::File(meta(0o644), FileRef { size, digest: verity::digest(path.as_bytes()) }))
    };
    let lie = entry("x", Node::File(meta(0o644), FileRef { size: 5, digest: verity::digest(b"two\n") }));
    let folders = |count: usize| vec!["d"; count].join("/");
    let long: String = folders(2048) + "/d";
    vec![
        put("path-climbs", ". or ..", regular("dir/../x", b"one\n")),
        put("path-absolute", "absolute", regular("/etc/passwd", b"one\n")),
        put("path-with-nul", "NUL", regular("x\0", b"one\n")),
        put("path-too-long", "longer than 4095", directory(&long)),
        put("name-too-long", "longer than 255", directory(&"x".repeat(256))),
        put("parent-missing", "parent is not a directory", regular("x/y", b"one\n")),
        put("path-through-a-symlink", "parent is not a directory", regular("link/y", b"one\n")),
        put("symlink-with-a-mode", "mode is 0777", entry("x", Node::Symlink(meta(0o755), b"dir".to_vec()))),
        put("symlink-empty", "symbolic link's target", symlink("x", "")),
        put("hard-link-to-nothing", "earlier regular file", entry("x", Node::HardLink(b"y".to_vec()))),
        put(
            "hard-link-to-a-later-file",
            "earlier regular file",
            entry("dir/a", Node::HardLink(b"dir/b".to_vec())),
        ),
        put("mode-too-large", "more than 12 bits", with_meta(&|m| m.mode = 0o10000)),
        put("nanoseconds-too-large", "reach a second", with_meta(&|m| m.nanoseconds = 1_000_000_000)),
        put(
            "attribute-without-name",
            "attribute's name",
            with_meta(&|m| drop(m.xattrs.insert(vec![], vec![]))),
        ),
        put("one-digest-two-sizes", "two sizes", lie),
        changed("tree-too-large", "2^63 or more", |c| {
            c.put.extend([sized("x", 1 << 62), sized("y", 1 << 62)]);
            c.fresh.extend([2, 3]);
        }),
        changed("root-removed", "not the root directory", |c| c.removed.insert(0, vec![])),
        changed("folder-removed-under-its-files", "parent is not a directory", |c| {
            *c = Changes { removed: vec![b"dir".to_vec()], ..Changes::default() };
        }),
    ]
}

fn changes() -> Vec<Case> {
    let good = good_changes().encode();
    let part = |removed: &[&str], put: &[Entry], fresh: &[usize]| {
        let removed = removed.iter().map(|path| path.as_bytes().to_vec()).collect();
        Changes { removed, put: put.to_vec(), fresh: fresh.to_vec(), touched: vec![] }.encode()
    };
    let [first, second] = [0, 1].map(|at| good_changes().put[at].clone());
    let again = Changes { touched: good_changes().touched, ..Changes::default() }.encode();
    let with_history = {
        let len = good.len() as u64;
        let stored = frame(2, &[(7, len)], Some([0, 1, 0]), &zstd_frame(&good));
        let mut forge = good_tree();
        forge.chunks[0] = Chunk::of(0, len, 0, stored);
        forge
    };
    let unordered = [part(&["a"], &[second], &[]), part(&[], &[first], &[0])];
    let tree = |name, error, change: &dyn Fn(&mut Forge)| {
        let mut forge = good_tree();
        change(&mut forge);
        tree_case(name, error, &forge)
    };
    vec![
        changed("removed-but-absent", "does not have", |c| c.removed.push(b"b".to_vec())),
        changed("removed-twice", "path occurs twice", |c| c.removed.push(b"a".to_vec())),
        changed("removed-descend", "out of order", |c| c.removed = vec![b"dir/b".to_vec(), b"a".to_vec()]),
        changed("removed-and-put", "both removed and put", |c| {
            c.put.insert(0, regular("a", b"two\n"));
            c.fresh = vec![1];
        }),
        changed("put-twice", "path occurs twice", |c| c.put.push(symlink("link", "elsewhere"))),
        changed("put-descend", "out of order", |c| {
            c.put.reverse();
            c.fresh = vec![1];
        }),
        put("put-what-is-there", "has already", directory("")),
        tree_case("parts-descend", "out of order", &tree_patch(&[&unordered[0], &unordered[1]])),
        changed("fresh-missing", "said to be fresh", |c| c.fresh.clear()),
        changed("fresh-but-had", "said to be fresh", |c| {
            c.put.push(regular("x", b"two\n"));
            c.fresh.push(2);
        }),
        changed("fresh-named-twice", "said to be fresh", |c| {
            c.put.push(regular("x", b"three\n"));
            c.fresh.push(2);
        }),
        changed("fresh-not-a-file", "not canonical", |c| c.fresh.push(1)),
        changed("fresh-descend", "not canonical", |c| {
            c.put.push(regular("x", b"four\n"));
            c.fresh = vec![2, 0];
        }),
        changed("touched-but-absent", "has none", |c| c.touched.push((5, meta(0o700)))),
        changed("touched-but-removed", "has none", |c| c.touched.insert(0, (1, meta(0o600)))),
        changed("touched-hard-link", "has none", |c| c.touched.push((4, meta(0o600)))),
        changed("touched-as-it-was", "those that do", |c| c.touched.insert(0, (0, meta(0o755)))),
        changed("touched-and-put", "those that do", |c| c.touched.push((3, meta(0o600)))),
        changed("touched-mode-too-large", "more than 12 bits", |c| c.touched[0].1.mode = 0o10000),
        changed("touched-left-out", "came out wrong", |c| c.touched.clear()),
        put("put-for-its-metadata", "those that do", entry("", Node::Directory(meta(0o700)))),
        tree_case("parts-touch-twice", "those that do", &tree_patch(&[&good, &again])),
        tree_case("changes-with-a-history", "refer to a history", &with_history),
        tree_case("chunk-ends-at-a-block-of-another-file", "inside a digest block", &two_files()),
        tree_case("changes-trail", "not canonical", &tree_patch(&[&[&good[..], &[0]].concat()])),
        tree_case("changes-cut", "not canonical", &tree_patch(&[&good[..good.len() - 1]])),
        tree("tree-without-changes", "at least one chunk of changes", &|f| drop(f.chunks.remove(0))),
        tree("changes-after-delta", "follows a chunk of another kind", &|f| {
            f.chunks.push(f.chunks[0].clone());
        }),
        tree("changes-make-bytes", "any other none", &|f| f.chunk().target = 1),
        tree("changes-after-a-model", "follows a chunk of another kind", &|f| {
            f.chunks.insert(0, Chunk::model(&[0, 0, 0], &[], &[]));
        }),
        tree("tree-makes-too-much", "more than the target", &|f| f.chunks[1].target = 1000),
        tree("tree-makes-too-little", "new files need 6", &|f| f.chunks[1].target = 5),
        tree("tree-digest-wrong", "list of entries came out wrong", &|f| f.target.digest[0] ^= 1),
        tree("new-file-wrong", "came out wrong", &|f| {
            f.chunks[1] = Chunk::delta(6, &[(0, vec![6]), (1, vec![0]), (6, b"Three\n".to_vec())]);
        }),
        tree("source-another", "for another image", &|f| f.source.digest[0] ^= 1),
    ]
}
