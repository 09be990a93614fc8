//! The frozen files of format version 1, `testdata/v1/`: every good one makes what `expected.txt` says, every
//! bad one is refused for the flaw it is named for.
//!
//! `cargo test -p siding-diff --test v1 -- --ignored` writes files that do not exist yet; it never changes one.

#[path = "v1/bad.rs"]
mod bad;
#[path = "common/mod.rs"]
mod common;
#[path = "../../patch/tests/forge/mod.rs"]
mod forge;
#[path = "v1/good.rs"]
mod good;
#[path = "../../apply/tests/naive/mod.rs"]
mod naive;

use common::{Memory, contents_of, testdata};
use siding_image::{Digest, Image};
use siding_patch::{ChunkKind, Coder, Limits, PublicKey, Stream, Trust};
use std::collections::BTreeSet;
use std::fs;

/// Trusts both test signers, one of whom must have signed.
fn trust() -> Trust {
    let read = |name| fs::read_to_string(testdata().join("v1").join(name)).unwrap();
    let keys = ["alice.pub", "bob.pub"].map(|name| PublicKey::from_pem(&read(name)).unwrap());
    Trust::new(keys.into(), 1).unwrap()
}

fn attempt(patch: &[u8], source: &Image, trust: &Trust) -> Result<Vec<Vec<u8>>, String> {
    let checked = siding_patch::open(patch, trust, &Limits::default()).map_err(|e| e.to_string())?;
    let mut sink = Memory::default();
    let run =
        siding_apply::run(checked, source, &mut sink, siding_apply::MEMORY, &mut siding_apply::NoProgress);
    run.map(|_| sink.0).map_err(|e| e.to_string())
}

#[test]
fn every_good_file_makes_what_is_expected_of_it() {
    let expected = fs::read_to_string(testdata().join("v1/expected.txt")).unwrap();
    let lines: Vec<&str> = expected.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines.len(), good::all().len());
    for (line, case) in lines.iter().zip(good::all()) {
        let [name, source, target, size, file] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("not five words: {line}")
        };
        assert_eq!(name, case.name);
        let patch = fs::read(testdata().join("v1").join(name)).unwrap();
        assert_eq!(Digest::of(&patch).to_string(), file, "{name} has been changed");
        let image = case.source.image();
        assert_eq!(image.identity().digest.to_string(), source, "{name}");
        let trust = if case.signers.is_empty() { Trust::anyone() } else { trust() };
        let checked = siding_patch::open(&patch[..], &trust, &Limits::default()).unwrap();
        assert_eq!(checked.signatures(), case.signers.len(), "{name}");
        assert_eq!(checked.manifest().target.identity.digest.to_string(), target, "{name}");
        assert_eq!(checked.manifest().target.identity.size.to_string(), size, "{name}");
        let made = attempt(&patch, &image, &trust).unwrap();
        assert!(made == case.fresh, "{name} makes other bytes");
        let sizes: Vec<usize> = case.fresh.iter().map(Vec::len).collect();
        let second = by_the_second_reader(&patch, &image, &sizes);
        assert!(second == made.concat(), "{name}: two readers, two opinions");
    }
}

fn by_the_second_reader(patch: &[u8], source: &Image, sizes: &[usize]) -> Vec<u8> {
    let mut checked = siding_patch::open(patch, &Trust::anyone(), &Limits::default()).unwrap();
    let mut at = checked.overhead() as usize;
    let mut flat = vec![0; source.len() as usize];
    source.read_at(0, &mut flat).unwrap();
    let contents = contents_of(source);
    let mut from = naive::Source { bytes: &flat, contents: &contents, model: None };
    let mut target = Vec::new();
    while let Some(stored) = checked.next_chunk().unwrap() {
        let chunk = stored.chunk();
        let bytes = &patch[at..][..chunk.stored as usize];
        at += bytes.len();
        naive::chunk(bytes, chunk.kind, &mut from, &mut target, chunk.target);
        assert!(chunk.target == 0 || naive::may_end(sizes, target.len()));
    }
    target
}

/// What the good files are there to show: otherwise a maker's change could quietly leave a part of the format out.
#[test]
fn the_good_files_use_what_there_is() {
    let mut used = BTreeSet::new();
    for case in good::all() {
        let patch = fs::read(testdata().join("v1").join(case.name)).unwrap();
        let mut checked = siding_patch::open(&patch[..], &Trust::anyone(), &Limits::default()).unwrap();
        used.extend((!checked.manifest().notes.is_empty()).then_some("notes"));
        while let Some(stored) = checked.next_chunk().unwrap() {
            for frame in stored.frames().unwrap() {
                used.insert(frame.coder.name());
                used.extend(frame.streams.iter().map(|(stream, _)| stream.name()));
                let Coder::ZstdAfter(history) = frame.coder else { continue };
                used.insert(match (history.source_len > 0, history.target_len > 0) {
                    (true, true) => "history of both",
                    (true, false) => "history of the source",
                    (false, _) => "history of the target",
                });
            }
            if stored.chunk().kind == ChunkKind::Changes {
                let changes = stored.decode_changes().unwrap();
                let lists = [
                    ("removed", changes.removed.len()),
                    ("put", changes.put.len()),
                    ("fresh", changes.fresh.len()),
                    ("touched", changes.touched.len()),
                ];
                used.extend(lists.iter().filter(|(_, len)| *len > 0).map(|(name, _)| *name));
            }
        }
    }
    let parts = ["notes", "raw", "zstd", "zstd-after", "lzma", "adaptive", "put", "fresh", "touched"];
    let histories = ["history of both", "history of the source", "history of the target"];
    let streams = Stream::ALL.map(Stream::name);
    for part in parts.iter().chain(&histories).chain(&streams) {
        assert!(used.contains(part), "no good file has {part}");
    }
}

#[test]
fn every_bad_file_is_refused_for_its_flaw() {
    let (trust, sources) = (trust(), bad::Sources::new());
    for case in bad::all() {
        let name = case.name;
        let patch = fs::read(testdata().join(format!("v1/bad/{name}.siding"))).expect(name);
        assert!(patch == case.patch, "{name} has been changed, or what makes it has");
        match attempt(&patch, sources.of(&case), &trust) {
            Ok(_) => panic!("{name} is taken"),
            Err(error) => assert!(error.contains(case.error), "{name}: {error}"),
        }
    }
}

/// What the bad files are made from is good; so each is refused for nothing but its flaw.
#[test]
fn the_bad_files_differ_from_good_ones() {
    let (trust, sources) = (trust(), bad::Sources::new());
    assert_eq!(
        attempt(&forge::Forge::example().build(), &sources.file, &trust).unwrap(),
        [forge::EXAMPLE_NEW]
    );
    assert_eq!(attempt(&bad::good_model().build(), &sources.file, &trust).unwrap(), [forge::EXAMPLE_NEW]);
    for (forge, target) in bad::good_frames() {
        assert_eq!(attempt(&forge.build(), &sources.file, &trust).unwrap(), [target]);
    }
    assert_eq!(attempt(&bad::good_tree().build(), &sources.tree, &trust).unwrap(), [b"three\n"]);
}

#[test]
fn the_folder_and_the_document_list_exactly_these_files() {
    let listed: BTreeSet<String> = bad::all().iter().map(|case| case.name.to_owned()).collect();
    assert_eq!(listed.len(), bad::all().len(), "a name occurs twice");
    let folder = fs::read_dir(testdata().join("v1/bad")).unwrap();
    let there = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let there: BTreeSet<String> =
        there.map(|name| name.strip_suffix(".siding").unwrap().to_owned()).collect();
    assert_eq!(there, listed);
    let document = fs::read_to_string(testdata().join("../docs/format.md")).unwrap();
    let (_, section) = document.split_once("\n## 9 ").unwrap();
    let (section, _) = section.split_once("\n## 10 ").unwrap();
    let words = section.split('`').skip(1).step_by(2);
    let named: BTreeSet<String> =
        words.filter_map(|word| Some(word.strip_prefix("bad/")?.to_owned())).collect();
    assert_eq!(named, listed);
}

#[test]
#[ignore = "writes testdata/v1"]
fn write_what_is_missing() {
    let v1 = testdata().join("v1");
    fs::create_dir_all(v1.join("bad")).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = v1.join(name);
        if !path.exists() {
            fs::write(&path, bytes).unwrap();
        }
    };
    for (name, seed) in [("alice.pub", forge::ALICE), ("bob.pub", forge::BOB)] {
        write(name, good::key(seed).public().to_pem().unwrap().as_bytes());
    }
    let mut expected = String::from(
        "# patch · digest of its source · digest and size of its target · SHA-256 of the patch file\n",
    );
    for case in good::all() {
        write(case.name, &case.make());
        let patch = fs::read(v1.join(case.name)).unwrap();
        let checked = siding_patch::open(&patch[..], &Trust::anyone(), &Limits::default()).unwrap();
        let (source, target) = (checked.manifest().source.identity, checked.manifest().target.identity);
        let (name, size, file) = (case.name, target.size, Digest::of(&patch));
        expected += &format!("{name} {} {} {size} {file}\n", source.digest, target.digest);
    }
    fs::write(v1.join("expected.txt"), expected).unwrap();
    bad::all().iter().for_each(|case| write(&format!("bad/{}.siding", case.name), &case.patch));
}
