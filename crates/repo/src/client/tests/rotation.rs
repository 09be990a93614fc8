//! Roots that replace each other, keys that are taken back, and what follows for what was seen.

use super::*;
use crate::testing::Key;

fn rotate(bench: &mut Bench, role: &'static str, seed: u8) {
    let old = bench.maker.keys.insert(role, vec![Key::new(seed)]).unwrap();
    bench.maker.publish_root(if role == "root" { &old } else { &[] });
}

#[test]
fn a_rotated_root_is_followed() {
    let mut bench = Bench::seen();
    rotate(&mut bench, "root", 50);
    bench.taken();
    assert!(bench.known().is_some(), "the chain is on disk");
}

#[test]
fn a_chain_of_roots_is_followed_at_once_or_one_by_one() {
    let (mut once, mut each) = (Bench::seen(), Bench::seen());
    for seed in 50..58 {
        rotate(&mut once, "root", seed);
        rotate(&mut each, "root", seed);
        each.taken();
    }
    once.taken();
    assert_eq!(once.known(), each.known());
}

#[test]
fn a_root_that_the_old_keys_did_not_sign_is_refused() {
    let mut bench = Bench::seen();
    bench.maker.keys.insert("root", vec![Key::new(50)]);
    bench.maker.publish_root(&[]);
    bench.refused("not-signed");
}

#[test]
fn a_root_that_its_own_keys_did_not_sign_is_refused() {
    let mut bench = Bench::seen();
    bench.maker.thresholds.insert("root", 2);
    bench.maker.publish_root(&[]);
    bench.refused("not-signed");
}

#[test]
fn a_revoked_key_signs_nothing_any_more() {
    for role in ["timestamp", "snapshot", "targets"] {
        let mut bench = Bench::seen();
        let old = bench.maker.keys[role].clone();
        rotate(&mut bench, role, 60);
        let mut thief = bench.maker.clone();
        thief.keys.insert(role, old);
        thief.publish();
        bench.server.serve(&thief.files);
        let error = bench.refresh().unwrap_err();
        assert_eq!(error.code(), "not-signed", "{error}");
        bench.maker.publish();
        bench.taken();
    }
}

#[test]
fn a_new_root_is_kept_though_the_rest_is_refused() {
    let mut bench = Bench::seen();
    let before = bench.maker.clone();
    rotate(&mut bench, "timestamp", 60);
    bench.server.serve(&bench.maker.files);
    assert_eq!(bench.refresh().unwrap_err().code(), "not-signed");
    // Whoever holds back the new root now comes too late: the old timestamp key is no longer believed.
    bench.server.serve(&before.files);
    assert_eq!(bench.refresh().unwrap_err().code(), "not-signed");
    assert_eq!(bench.known(), None, "what the old key vouched for is not known any more");
    bench.maker.publish();
    bench.taken();
}

#[test]
fn versions_that_a_thief_drove_up_are_left_by_rotating_the_keys() {
    for role in ["timestamp", "snapshot"] {
        let mut bench = Bench::seen();
        let mut thief = bench.maker.clone();
        for stolen in ["timestamp", "snapshot", "targets"] {
            thief.versions.insert(stolen, 1_000_000);
        }
        thief.publish();
        bench.server.serve(&thief.files);
        bench.refresh().unwrap();

        bench.maker.publish();
        bench.refused("rollback");
        rotate(&mut bench, role, 60);
        // The other role's key was stolen too, but is replaced later: the count begins anew all the same.
        bench.maker.publish();
        bench.taken();
        assert!(bench.known().is_some());
        bench.maker.publish();
        let newest = bench.taken();
        assert_eq!(bench.known(), Some(newest));
        let old = bench.maker.clone();
        bench.maker.publish();
        bench.taken();
        bench.maker = old;
        bench.refused("rollback");
    }
}

#[test]
fn a_rotation_of_other_keys_forgets_no_version() {
    let mut bench = Bench::new();
    let old = bench.maker.clone();
    bench.maker.publish();
    bench.taken();
    let mut replay = old;
    replay.keys.insert("targets", vec![Key::new(60)]);
    replay.publish_root(&[]);
    replay.versions.insert("timestamp", 0);
    replay.versions.insert("snapshot", 0);
    replay.publish();
    bench.server.serve(&replay.files);
    assert_eq!(bench.refresh().unwrap_err().code(), "rollback");
}

#[test]
fn a_device_shipped_with_a_later_root_goes_on() {
    let mut bench = Bench::seen();
    rotate(&mut bench, "root", 50);
    rotate(&mut bench, "root", 51);
    bench.maker.publish();
    let newest = bench.taken();
    bench.maker.shipped = bench.maker.files["metadata/3.root.json"].clone();
    assert_eq!(bench.known(), Some(newest));
    bench.maker.publish();
    bench.taken();
}
