//! What is remembered: damaged, lost, put back by somebody, and under power cuts.

use super::*;
use crate::names::flushed;
use crate::testing::release;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn damaged_metadata_is_fetched_again_and_old_one_still_refused() {
    let mut bench = Bench::new();
    let old = bench.maker.files.clone();
    bench.maker.publish();
    let newest = bench.taken();
    for damage in [&b""[..], b"{", b"{\"format\":1,\"roots\":[],\"docs\":[\"{}\",\"{}\",\"{}\"]}"] {
        fs::write(bench.store().join("metadata"), damage).unwrap();
        assert_eq!(bench.known(), None);
        bench.server.serve(&old);
        assert_eq!(bench.refresh().unwrap_err().code(), "rollback", "what was seen is not forgotten");
        assert_eq!(bench.taken(), newest);
        assert_eq!(bench.known(), Some(newest.clone()));
    }
}

#[test]
fn lost_metadata_is_fetched_again_and_old_one_still_refused() {
    let mut bench = Bench::new();
    let old = bench.maker.files.clone();
    bench.maker.publish();
    bench.taken();
    fs::remove_file(bench.store().join("metadata")).unwrap();
    bench.server.serve(&old);
    assert_eq!(bench.refresh().unwrap_err().code(), "rollback");
    bench.taken();
}

#[test]
fn every_flipped_bit_of_what_was_seen_is_found_or_does_no_harm() {
    let mut bench = Bench::new();
    let old = bench.maker.files.clone();
    bench.maker.publish();
    let newest = bench.taken();
    bench.server.serve(&old);
    let path = bench.store().join("seen");
    let seen = fs::read(&path).unwrap();
    for at in 0..seen.len() {
        let mut damaged = seen.clone();
        damaged[at] ^= 4;
        fs::write(&path, &damaged).unwrap();
        assert_eq!(bench.known().as_ref(), Some(&newest), "the metadata is whole");
        let held = bench.client().store.load(&bench.maker.shipped).unwrap();
        assert_eq!(held.seen.unwrap().timestamp, 2, "byte {at}");
    }
    assert_eq!(bench.refresh().unwrap_err().code(), "rollback");
}

#[test]
fn if_all_that_was_seen_is_lost_nothing_is_believed() {
    let bench = Bench::seen();
    let (metadata, seen) = (bench.store().join("metadata"), bench.store().join("seen"));
    fs::write(&seen, b"rot").unwrap();
    fs::write(&metadata, b"rot").unwrap();
    let error = bench.refresh().unwrap_err();
    assert_eq!(error.code(), "damaged", "{error}");
    assert_eq!(bench.client().known().unwrap_err().code(), "damaged");
    fs::remove_file(&metadata).unwrap();
    assert_eq!(bench.refresh().unwrap_err().code(), "damaged");
    fs::remove_file(&seen).unwrap();
    fs::write(&metadata, b"rot").unwrap();
    assert_eq!(bench.refresh().unwrap_err().code(), "damaged");
    fs::remove_dir_all(bench.store()).unwrap();
    bench.refresh().unwrap();
}

/// A device without a network shows what it knew, with the date until which that held.
#[test]
fn what_is_known_is_still_there_after_it_has_expired() {
    let mut bench = Bench::seen();
    let first = bench.known().unwrap();
    let old = fs::read(bench.store().join("metadata")).unwrap();
    let late = first.expires + 7 * 86_400;
    assert_eq!(bench.client().refresh(late).unwrap_err().code(), "expired");
    assert_eq!(bench.client().known().unwrap(), Some(first));

    // Everything else is checked as before.
    bench.maker.expires.insert("snapshot", 1_850_000_000);
    bench.maker.publish();
    assert_eq!(bench.taken().expires, 1_850_000_000);
    assert_eq!(bench.client().known().unwrap().unwrap().expires, 1_850_000_000, "the first of all");
    fs::write(bench.store().join("metadata"), &old).unwrap();
    assert_eq!(bench.client().known().unwrap_err().code(), "rollback");
    let changed = String::from_utf8(old).unwrap().replace("2026-11-first", "2026-11-other");
    fs::write(bench.store().join("metadata"), changed).unwrap();
    assert_eq!(bench.client().known().unwrap(), None, "what nobody signed is not shown");
}

#[test]
fn metadata_put_back_by_hand_is_not_believed() {
    let mut bench = Bench::seen();
    let old = fs::read(bench.store().join("metadata")).unwrap();
    bench.maker.publish();
    bench.taken();
    fs::write(bench.store().join("metadata"), old).unwrap();
    assert_eq!(bench.client().known().unwrap_err().code(), "rollback");
    bench.refresh().unwrap();
    assert!(bench.known().is_some());
}

#[test]
fn a_damaged_release_document_is_fetched_again() {
    let bench = Bench::seen();
    let file = fs::read_dir(bench.store().join("releases")).unwrap().next().unwrap().unwrap().path();
    fs::write(&file, b"rot").unwrap();
    let error = bench.client().known().unwrap_err();
    assert_eq!(error.code(), "incomplete");
    let said = error.to_string();
    assert!(said.contains("the next refresh") && said.contains(file.to_str().unwrap()), "{said}");
    assert!(!said.contains("remove"), "what was seen guards against older metadata: {said}");
    let catalog = bench.refresh().unwrap();
    assert_eq!(bench.known(), Some(catalog));
    fs::remove_file(&file).unwrap();
    assert_eq!(bench.client().known().unwrap_err().code(), "incomplete");
    let catalog = bench.refresh().unwrap();
    assert_eq!(bench.known(), Some(catalog));
}

#[test]
fn who_looks_while_another_refreshes_sees_the_old_or_the_new() {
    let mut bench = Bench::seen();
    let client = bench.client();
    let before = client.store.load(&bench.maker.shipped).unwrap();
    // Meanwhile another process lets go of the documents that this one is about to read.
    bench.maker.targets.clear();
    bench.maker.add(&release("2026-12-second"));
    bench.maker.publish();
    let newest = bench.taken();
    assert_eq!(client.known_from(before).unwrap(), Some(newest));
}

#[test]
fn what_is_no_longer_published_is_let_go() {
    let mut bench = Bench::seen();
    bench.maker.targets.clear();
    bench.maker.add(&release("2026-12-second"));
    bench.maker.publish();
    assert_eq!(bench.taken().releases.len(), 1);
    assert_eq!(fs::read_dir(bench.store().join("releases")).unwrap().count(), 1);
}

/// Cuts the power at each step of a refresh, losing what was not flushed or not.
fn cuts(prepare: impl Fn(&mut Bench)) -> usize {
    for step in 1.. {
        for torn in [false, true] {
            let mut bench = Bench::seen();
            let old = bench.known();
            prepare(&mut bench);
            bench.server.serve(&bench.maker.files);
            let client = bench.client();
            client.store.power.cut_after(step, torn);
            let outcome = client.refresh(NOW);
            drop(client);
            let after = bench.client().known().unwrap();
            let Ok(new) = outcome else {
                let newest = bench.refresh().unwrap_or_else(|error| panic!("step {step}, {torn}: {error}"));
                assert!(
                    after.is_none() || after == old || after.as_ref() == Some(&newest),
                    "step {step}, {torn}"
                );
                assert_eq!(bench.known(), Some(newest), "step {step}, {torn}");
                continue;
            };
            assert_eq!(after, Some(new), "once Ok it is there");
            if torn {
                return step;
            }
        }
    }
    0
}

#[test]
fn a_power_cut_at_each_step_leaves_the_old_or_the_new() {
    let steps = cuts(|bench| {
        bench.maker.add(&release("2026-12-second"));
        bench.maker.publish();
    });
    assert_eq!(steps, 3 * 5 + 1, "a release, the metadata, what was seen: five steps each");
}

#[test]
fn a_power_cut_while_a_root_is_rotated_leaves_a_device_that_goes_on() {
    let steps = cuts(|bench| {
        bench.maker.keys.insert("timestamp", vec![crate::testing::Key::new(60)]);
        bench.maker.publish_root(&[]);
        bench.maker.publish();
    });
    assert_eq!(steps, 2 * 5 + 1);
}

/// If a power cut took the directory's name, it would take all that guards against older metadata at once.
#[test]
fn names_on_the_way_to_the_datastore_are_flushed_before_anything_is_kept() {
    let bench = Bench::new();
    let top = bench.folder.path().canonicalize().unwrap();
    let datastore = top.join("store/agent/repository");
    let client = Client::new(Options { datastore: datastore.clone(), ..bench.options() }).unwrap();
    // As one that was killed left them.
    fs::create_dir_all(datastore.join("releases")).unwrap();
    flushed();
    client.store.power.cut_after(1, false);
    client.refresh(NOW).unwrap_err();
    let names = flushed();
    for above in datastore.ancestors().take(4) {
        assert!(names.iter().any(|path| path == above), "{}: {names:?}", above.display());
    }
    let client = Client::new(Options { datastore: datastore.clone(), ..bench.options() }).unwrap();
    client.refresh(NOW).unwrap();
    flushed();
    client.refresh(NOW).unwrap();
    assert!(!flushed().contains(&top), "only the first time");
}

#[test]
fn nobody_else_may_open_the_lock() {
    let bench = Bench::seen();
    let lock = bench.store().join("lock");
    let mode = || fs::metadata(&lock).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o644)).unwrap();
    bench.refresh().unwrap();
    assert_eq!(mode(), 0o600, "one that an earlier siding made is closed too");
}
