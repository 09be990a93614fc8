//! Real files there and back, beside other opinions and other tools.

mod common;
#[path = "../../apply/tests/naive/mod.rs"]
mod naive;

use common::{Memory, contents_of, described, testdata};
use siding_apply::NoProgress;
use siding_diff::Level;
use siding_image::{Image, Node};
use siding_patch::{ImageRef, Layout, Limits, Manifest, Trust};
use std::fs;
use std::ops::Range;
use zstd::zstd_safe::{CCtx, CParameter, compress_bound};

fn patch(old: &Image, new: &Image, level: Level) -> Vec<u8> {
    let delta = siding_diff::make(old, new, level, &|_, _, _| {}).unwrap();
    let image = |version: &str, image: &Image| ImageRef {
        version: version.parse().unwrap(),
        identity: image.identity(),
    };
    let manifest = Manifest::new("openssl".parse().unwrap(), image("3.0.20", old), image("3.0.20 (a)", new));
    let mut out = Vec::new();
    siding_patch::write(&manifest, &delta.chunks, &[], &mut out).unwrap();
    out
}

fn apply(patch: &[u8], old: &Image) -> Vec<Vec<u8>> {
    let checked = siding_patch::open(patch, &Trust::anyone(), &Limits::default()).unwrap();
    let mut sink = Memory::default();
    siding_apply::run(checked, old, &mut sink, siding_apply::MEMORY, &mut NoProgress).unwrap();
    sink.0
}

/// What the second reader makes of a patch to contents of these sizes.
fn naively(patch: &[u8], old: &[u8], contents: &[Range<usize>], sizes: &[usize]) -> Vec<u8> {
    let mut checked = siding_patch::open(patch, &Trust::anyone(), &Limits::default()).unwrap();
    let mut at = checked.overhead() as usize;
    let mut out = Vec::new();
    let mut source = naive::Source { bytes: old, contents, model: None };
    while let Some(stored) = checked.next_chunk().unwrap() {
        let chunk = stored.chunk();
        let bytes = &patch[at..][..chunk.stored as usize];
        naive::chunk(bytes, chunk.kind, &mut source, &mut out, chunk.target);
        assert!(chunk.target == 0 || naive::may_end(sizes, out.len()), "a chunk ends where none may");
        at += chunk.stored as usize;
    }
    out
}

fn zstd(new: &[u8], prefix: &[u8]) -> usize {
    let mut context = CCtx::create();
    let parameters = [
        CParameter::CompressionLevel(19),
        CParameter::WindowLog(24),
        CParameter::EnableLongDistanceMatching(!prefix.is_empty()),
    ];
    for parameter in parameters {
        context.set_parameter(parameter).unwrap();
    }
    context.ref_prefix(prefix).unwrap();
    let mut out = Vec::with_capacity(compress_bound(new.len()));
    context.compress2(&mut out, new).unwrap()
}

/// The promise: never larger than the better of zstd alone and zstd with the old as prefix, plus 2 KiB.
#[track_caller]
fn small_enough(patch: usize, old: &[u8], new: &[u8]) {
    let (alone, after) = (zstd(new, &[]), zstd(new, old));
    println!("patch {patch}, zstd -19 {alone}, after old {after}");
    assert!(patch <= alone.min(after) + 2048, "{patch} > min({alone}, {after}) + 2 KiB");
}

#[test]
fn a_library_after_a_security_update() {
    let open =
        |version: &str| Image::open(&testdata().join("libssl").join(version).join("libssl.so.3")).unwrap();
    let images = [open("3.0.20"), open("3.0.22")];
    for (old, new) in [(&images[0], &images[1]), (&images[1], &images[0])] {
        let (old_bytes, new_bytes) = (old.blobs()[0].bytes().unwrap(), new.blobs()[0].bytes().unwrap());
        for level in [Level::Fast, Level::Default] {
            let patch = patch(old, new, level);
            assert!(apply(&patch, old) == [new_bytes], "{level:?}");
            assert!(
                naively(&patch, old_bytes, &contents_of(old), &[new_bytes.len()]) == new_bytes,
                "{level:?}: the second reader"
            );
            if level != Level::Fast {
                small_enough(patch.len(), old_bytes, new_bytes);
            }
        }
    }
}

#[test]
fn bsdiff_agrees() {
    let paths =
        ["3.0.20", "3.0.22"].map(|version| testdata().join("libssl").join(version).join("libssl.so.3"));
    let [old, new] = paths.each_ref().map(|path| fs::read(path).unwrap());
    let mut stream = Vec::new();
    bsdiff::diff(&old, &new, &mut stream).unwrap();
    let mut theirs = Vec::new();
    bsdiff::patch(&old, &mut stream.as_slice(), &mut theirs).unwrap();
    let [old, new] = paths.each_ref().map(|path| Image::open(path).unwrap());
    assert!(apply(&patch(&old, &new, Level::Fast), &old) == [theirs]);
}

#[test]
fn a_tree_after_a_security_update() {
    let trees = ["3.0.20", "3.0.22"].map(|version| described(&testdata().join("ossl-tree").join(version)));
    for (old, new) in [(&trees[0], &trees[1]), (&trees[1], &trees[0])] {
        let patch = patch(old, new, Level::Default);
        let wanted: Vec<Vec<u8>> = Layout::new(old, new.content())
            .fresh()
            .iter()
            .map(|file| new.blob(&file.digest).unwrap().bytes().unwrap().to_vec())
            .collect();
        assert!(apply(&patch, old) == wanted);
        let sizes: Vec<usize> = wanted.iter().map(Vec::len).collect();
        let mut flat = vec![0; old.len() as usize];
        old.read_at(0, &mut flat).unwrap();
        assert!(naively(&patch, &flat, &contents_of(old), &sizes) == wanted.concat(), "the second reader");
        small_enough(patch.len(), &flat, &wanted.concat());
    }
}

#[test]
fn metadata_alone_needs_no_delta() {
    let old = described(&testdata().join("ossl-tree/3.0.20"));
    let entries = old.tree().unwrap().entries().to_vec().into_iter().map(|mut entry| {
        if let Node::File(meta, _) = &mut entry.node {
            meta.mode = 0o755;
        }
        entry
    });
    let tree = siding_image::Tree::new(entries.collect()).unwrap();
    let new = Image::assume(old.root(), siding_image::Content::Tree(tree));
    let patch = patch(&old, &new, Level::Default);
    assert!(apply(&patch, &old).is_empty());
    assert!(patch.len() < 1000, "{}", patch.len());
}

/// A device that spares 8 MiB can use any patch, unless much more moved than in any program at hand or coders look back.
#[test]
fn what_is_made_is_carried_out_in_8_mib() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: Vec<u8>| {
        fs::write(dir.path().join(name), bytes).unwrap();
        Image::open(&dir.path().join(name)).unwrap()
    };
    let mut state = 1u64;
    let mut byte = |values: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % values
    };
    let old = write("old", vec![0; 4096]);
    // What no coder makes smaller, and what LZMA makes a little smaller than others do.
    for (name, values) in [("noise", 256), ("few", 40)] {
        let new = write(name, (0..5 << 20).map(|_| byte(values) as u8).collect());
        let patch = patch(&old, &new, Level::Default);
        let checked = siding_patch::open(patch.as_slice(), &Trust::anyone(), &Limits::default()).unwrap();
        let chunks = checked.manifest().chunks.len();
        assert!(chunks > 1, "{name}");
        siding_apply::check(checked, &old, 8 << 20, &mut NoProgress).unwrap();
    }
}

/// What takes the adaptive coder long is in two frames, so that two threads decode it; what does not is in one.
#[test]
fn a_device_decodes_a_small_patch_on_two_threads() {
    let open =
        |version: &str| Image::open(&testdata().join("libssl").join(version).join("libssl.so.3")).unwrap();
    let (old, new) = (open("3.0.20"), open("3.0.22"));
    let patch = patch(&old, &new, Level::Default);
    let mut checked = siding_patch::open(patch.as_slice(), &Trust::anyone(), &Limits::default()).unwrap();
    let mut frames = Vec::new();
    while let Some(stored) = checked.next_chunk().unwrap() {
        let coders = stored.frames().unwrap().into_iter().map(|frame| frame.coder.name());
        frames.push(coders.collect::<Vec<_>>());
    }
    assert_eq!(frames, [vec!["adaptive"], vec!["adaptive"; 2]], "the model, then the delta");
    assert!(apply(&patch, &old) == [new.blobs()[0].bytes().unwrap()]);
}
