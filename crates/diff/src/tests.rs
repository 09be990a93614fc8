//! Round trips through the real applier, on made-up images; real ones are in `tests/`.

use super::*;
use proptest::prelude::*;
use siding_image::{Content, FileRef, Identity, Sink};
use siding_patch::{ImageRef, Limits, Manifest, Trust};
use std::fs;
use std::io;
use tempfile::TempDir;

/// Keeps what it is given.
#[derive(Default)]
struct Memory(Vec<Vec<u8>>);

impl Sink for Memory {
    fn begin(&mut self, _target: &Content, fresh: &[FileRef]) -> io::Result<()> {
        self.0 = fresh.iter().map(|file| vec![0; file.size as usize]).collect();
        Ok(())
    }

    fn write_at(&mut self, blob: usize, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0[blob][offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn read_at(&mut self, blob: usize, offset: u64, out: &mut [u8]) -> io::Result<()> {
        out.copy_from_slice(&self.0[blob][offset as usize..][..out.len()]);
        Ok(())
    }
}

fn manifest(old: Identity, new: Identity) -> Manifest {
    let image = |version: &str, identity| ImageRef { version: version.parse().unwrap(), identity };
    Manifest::new("test".parse().unwrap(), image("1", old), image("2", new))
}

fn patch(old: &Image, new: &Image, level: Level) -> Vec<u8> {
    let delta = make(old, new, level, &|_, _, _| {}).unwrap();
    let mut out = Vec::new();
    siding_patch::write(&manifest(old.identity(), new.identity()), &delta.chunks, &[], &mut out).unwrap();
    out
}

fn apply(patch: &[u8], old: &Image) -> Vec<Vec<u8>> {
    let checked = siding_patch::open(patch, &Trust::anyone(), &Limits::default()).unwrap();
    let mut sink = Memory::default();
    siding_apply::run(checked, old, &mut sink, siding_apply::MEMORY, &mut siding_apply::NoProgress).unwrap();
    sink.0
}

fn images(old: &[u8], new: &[u8]) -> (TempDir, Image, Image) {
    let dir = tempfile::tempdir().unwrap();
    let place = |name, bytes| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        Image::open(&path).unwrap()
    };
    let (old, new) = (place("old", old), place("new", new));
    (dir, old, new)
}

fn round_trip(old: &[u8], new: &[u8]) -> usize {
    let (_dir, old, image) = images(old, new);
    let sizes = [Level::Fast, Level::Default].map(|level| {
        let patch = patch(&old, &image, level);
        assert_eq!(apply(&patch, &old), [new.to_vec()]);
        patch.len()
    });
    sizes[1]
}

/// Bytes without structure, the same on every machine.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn an_identical_image_costs_next_to_nothing() {
    let bytes = noise(1, 300_000);
    assert!(round_trip(&bytes, &bytes) < 300);
}

#[test]
fn empty_images_work_both_ways() {
    round_trip(b"", b"");
    round_trip(b"", &noise(1, 5000));
    round_trip(&noise(1, 5000), b"");
}

#[test]
fn a_moved_block_is_copied_and_not_sent() {
    let (a, b) = (noise(1, 100_000), noise(2, 100_000));
    let size = round_trip(&[a.clone(), b.clone()].concat(), &[b, noise(3, 100), a].concat());
    assert!(size < 500, "{size}");
}

#[test]
fn sparse_differences_cost_about_their_number() {
    let old = noise(1, 1 << 20);
    let mut new = old.clone();
    new.iter_mut().step_by(1000).for_each(|byte| *byte = byte.wrapping_add(3));
    let size = round_trip(&old, &new);
    assert!(size < 2500, "{size}");
}

#[test]
fn noise_costs_itself() {
    let new = noise(2, 200_000);
    let size = round_trip(&noise(1, 100_000), &new);
    assert!(size < new.len() + 500, "{size}");
}

/// Only at the fast level: the others try everything on what does not pack, and the cuts are the same.
#[test]
fn noise_of_several_chunks_costs_itself() {
    let new = noise(2, 9 << 20);
    let (_dir, old, image) = images(&noise(1, 100_000), &new);
    let patch = patch(&old, &image, Level::Fast);
    assert!(patch.len() < new.len() + 2048, "{}", patch.len());
    assert!(apply(&patch, &old) == [new]);
}

#[test]
fn long_runs_of_zeros_cost_nothing() {
    let zeros = vec![0; 3 << 20];
    let (a, b) = (noise(1, 70_001), noise(2, 5));
    let old = [a.as_slice(), &zeros, &b].concat();
    let new = [b.as_slice(), &zeros, &zeros, &a, &zeros].concat();
    let size = round_trip(&old, &new);
    assert!(size < 600, "{size}");
}

#[test]
fn chunks_of_dense_changes_end_at_block_borders() {
    // Found with real programs: 4 MiB of differences end anywhere, digests do not.
    let old = noise(1, 9 << 20);
    let mut new = [&noise(2, 333), &old[..]].concat();
    new.iter_mut().step_by(9).for_each(|byte| *byte = byte.wrapping_add(1));
    let (_dir, old, image) = images(&old, &new);
    let patch = patch(&old, &image, Level::Fast);
    assert!(apply(&patch, &old) == [new]);
}

#[test]
fn a_block_that_repeats_in_every_chunk_is_sent_once() {
    // It packs well, so each chunk alone looks fine; only a look back shows that it was there before.
    let block: Vec<u8> = noise(4, 60_000).iter().flat_map(|byte| [*byte, 0, 0, 0]).collect();
    let packed = zstd::bulk::compress(&block, 19).unwrap().len();
    let filler = vec![7; 4 << 20];
    let size = round_trip(b"unrelated", &[block.as_slice(), &filler, &block].concat());
    assert!(size < packed + 4096, "{size} bytes, the block alone takes {packed}");
}

#[test]
fn repeats_across_chunks_refer_to_the_target_so_far() {
    // Between them is what fills a chunk and packs at once.
    let (text, between) = (noise(5, 200_000), noise(6, 1000).repeat(4300));
    let new = [text.as_slice(), &between, &text].concat();
    let size = round_trip(b"nothing to do with it", &new);
    assert!(size < text.len() + 10_000, "{size}");
}

/// What covers are too short for, a coder still finds: new is the old's bytes in scraps.
#[test]
fn scraps_of_the_source_refer_to_it() {
    let old = noise(5, 100_000);
    let mut scraps: Vec<&[u8]> = old.chunks(12).collect();
    scraps.reverse();
    let new = scraps.concat();
    let size = round_trip(&old, &new);
    assert!(size < new.len() / 2, "{size}");
}

#[test]
fn the_same_inputs_give_the_same_bytes_with_any_number_of_threads() {
    let old = noise(1, 5 << 20);
    let mut new = [&noise(9, 777), &old[1 << 20..], &old[..1 << 20], &noise(3, 300_000)].concat();
    new.iter_mut().step_by(97).for_each(|byte| *byte ^= 0x41);
    let (_dir, old, new) = images(&old, &new);
    any_number_of_threads(&old, &new);
}

#[test]
fn the_same_programs_give_the_same_bytes_with_any_number_of_threads() {
    for folder in ["libssl", "libssl-arm64"] {
        let open = |version| Image::open(&testdata().join(folder).join(version).join("libssl.so.3")).unwrap();
        any_number_of_threads(&open("3.0.20"), &open("3.0.22"));
    }
}

#[track_caller]
fn any_number_of_threads(old: &Image, new: &Image) {
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let chunks = pool.install(|| make(old, new, Level::Default, &|_, _, _| {})).unwrap().chunks;
        chunks.into_iter().map(|encoded| (encoded.chunk, encoded.bytes)).collect::<Vec<_>>()
    };
    let one = with(1);
    for threads in [2, 3, 7] {
        assert!(with(threads) == one, "{threads} threads");
    }
}

fn testdata() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata")
}

#[test]
fn a_file_and_a_tree_do_not_mix() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"x").unwrap();
    let (file, tree) = (Image::open(&file).unwrap(), Image::open(dir.path()).unwrap());
    let error = make(&file, &tree, Level::Fast, &|_, _, _| {}).unwrap_err().to_string();
    assert!(error.contains("old is a file and new is a tree"), "{error}");
}

/// New bytes as people make them: pieces of old, moved, repeated, sprinkled with changes, and some news.
fn edited() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let old = proptest::collection::vec(any::<u8>(), 0..3000);
    let edits = proptest::collection::vec((any::<u16>(), any::<u16>(), 0u8..4, any::<u8>()), 0..12);
    (old, edits).prop_map(|(old, edits)| {
        let mut new = Vec::new();
        for (a, b, kind, byte) in edits {
            let (a, b) = (a as usize % (old.len() + 1), b as usize % (old.len() + 1));
            let mut piece = old[a.min(b)..a.max(b)].to_vec();
            match kind {
                0 => {}
                1 => piece.iter_mut().step_by(29).for_each(|b| *b = b.wrapping_add(byte)),
                2 => piece = vec![byte; a],
                _ => piece.reverse(),
            }
            new.extend(piece);
        }
        (old, new)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn any_pair_round_trips((old, new) in edited()) {
        round_trip(&old, &new);
    }

    #[test]
    fn the_naive_applier_and_bsdiff_agree((old, new) in edited()) {
        let mut stream = Vec::new();
        bsdiff::diff(&old, &new, &mut stream).unwrap();
        let mut theirs = Vec::new();
        bsdiff::patch(&old, &mut stream.as_slice(), &mut theirs).unwrap();
        let (_dir, old_image, new_image) = images(&old, &new);
        let ours = apply(&patch(&old_image, &new_image, Level::Default), &old_image);
        prop_assert_eq!(&ours[..], [theirs]);
    }
}

#[test]
fn a_target_that_is_no_program_is_not_predicted() {
    let read = |version| fs::read(testdata().join("libssl").join(version).join("libssl.so.3")).unwrap();
    let (old, mut new) = (read("3.0.20"), read("3.0.22"));
    new[0] ^= 1;
    let (_dir, old, target) = images(&old, &new);
    assert_eq!(apply(&patch(&old, &target, Level::Default), &old), [new]);
}

fn library(version: &str) -> Image {
    Image::open(&testdata().join("libssl").join(version).join("libssl.so.3")).unwrap()
}

#[test]
fn a_model_too_large_for_a_reader_loses_its_weakest_steps() {
    let (old, new) = (library("3.0.20"), library("3.0.22"));
    let layout = Layout::new(&old, new.content());
    let (text, fresh) = (text::Text::of(&old, &new).unwrap(), text::Fresh::of(&new, &layout).unwrap());
    let job = Job { old: &old, new: &new, layout: &layout, text: &text, fresh: &fresh };
    let steps = [1 << 20, 300, 200, 10].map(|limit| {
        let found = matching::find(&job, Level::Fast, limit, &|_, _, _| {}).unwrap();
        let Streams { regions, addresses, shifts } = found.model.encode();
        let steps = found.model.map().steps().len();
        let len = regions.len() + addresses.len() + shifts.len();
        assert!(steps == 0 || len as u64 <= limit, "{len} of {limit}");
        steps
    });
    assert!(steps[0] > steps[1] && steps[1] > steps[2] && steps[2] > steps[3], "{steps:?}");
    assert_eq!(steps[3], 0, "then nothing is predicted");
}

#[test]
fn best_is_never_larger_than_default() {
    // Found on libraries with damaged section tables, of which the full search made half as much again.
    let (old, new) = (library("3.0.20"), library("3.0.22"));
    for (old, new) in [(&old, &new), (&new, &old)] {
        let [default, best] = [Level::Default, Level::Best].map(|level| patch(old, new, level));
        assert!(best.len() <= default.len(), "{} and {}", best.len(), default.len());
        assert_eq!(apply(&best, old), [new.blobs()[0].bytes().unwrap()]);
    }
}
