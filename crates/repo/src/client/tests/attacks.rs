//! Repositories, mirrors and people in the middle that are up to no good. `docs/security.md` names these tests.

use super::*;
use crate::testing::{Act, Key, Request, release};

fn expired(role: &'static str) {
    let mut bench = Bench::seen();
    bench.maker.expires.insert(role, NOW as i64);
    if role == "root" {
        bench.maker.publish_root(&[]);
    }
    bench.maker.publish();
    bench.server.serve(&bench.maker.files);
    let error = bench.refresh().unwrap_err();
    assert!(error.code() == "expired" && error.to_string().contains(role), "{error}");
    assert!(error.to_string().contains("clock"), "a wrong clock is told: {error}");
    // A second earlier it still held.
    assert_eq!(bench.client().refresh(NOW - 1).unwrap().expires, NOW);
}

#[test]
fn an_expired_timestamp_is_refused() {
    expired("timestamp");
}

#[test]
fn an_expired_root_is_refused() {
    expired("root");
}

#[test]
fn an_expired_snapshot_is_refused() {
    expired("snapshot");
}

#[test]
fn expired_targets_are_refused() {
    expired("targets");
}

#[test]
fn a_mirror_frozen_in_time_is_found_out_when_what_it_holds_expires() {
    let bench = Bench::seen();
    bench.refresh().unwrap();
    let error = bench.client().refresh(1_900_000_000).unwrap_err();
    assert_eq!(error.code(), "expired");
}

#[test]
fn an_older_timestamp_is_refused() {
    let mut bench = Bench::new();
    let old = bench.maker.files.clone();
    bench.maker.publish();
    bench.taken();
    bench.maker.files = old;
    bench.refused("rollback");
}

#[test]
fn an_older_snapshot_is_refused_even_under_a_new_timestamp() {
    let mut bench = Bench::new();
    bench.maker.publish();
    bench.taken();
    bench.maker.versions.insert("snapshot", 0);
    bench.maker.publish_snapshot();
    bench.maker.publish_timestamp();
    bench.refused("rollback");
}

#[test]
fn older_targets_are_refused_even_under_a_new_snapshot() {
    let mut bench = Bench::new();
    bench.maker.publish();
    bench.taken();
    bench.maker.versions.insert("targets", 0);
    bench.maker.publish();
    bench.refused("rollback");
}

#[test]
fn a_root_of_the_wrong_number_is_refused() {
    let mut bench = Bench::seen();
    bench.maker.versions.insert("root", 2);
    bench.maker.publish_root(&[]);
    let skipping = bench.maker.files.remove("metadata/3.root.json").unwrap();
    bench.maker.files.insert("metadata/2.root.json".to_owned(), skipping);
    bench.refused("rollback");
}

#[test]
fn too_few_signatures_are_refused() {
    for role in ["timestamp", "snapshot", "targets"] {
        let mut bench = Bench::new();
        // The root wants two of two; only one of them signs.
        bench.maker.thresholds.insert(role, 2);
        bench.maker.keys.get_mut(role).unwrap().push(Key::new(90));
        bench.maker.publish_root(&[]);
        bench.maker.keys.get_mut(role).unwrap().pop();
        bench.maker.publish();
        let error = bench.refused("not-signed");
        assert!(error.to_string().contains(role), "{error}");
        bench.maker.keys.get_mut(role).unwrap().push(Key::new(90));
        bench.maker.publish();
        bench.taken();
    }
}

#[test]
fn one_key_that_signs_twice_is_no_two_keys() {
    let mut bench = Bench::new();
    bench.maker.thresholds.insert("timestamp", 2);
    bench.maker.keys.get_mut("timestamp").unwrap().push(Key::new(90));
    bench.maker.publish_root(&[]);
    let first = bench.maker.keys["timestamp"][0].clone();
    bench.maker.keys.insert("timestamp", vec![first.clone(), first]);
    bench.maker.publish();
    bench.server.serve(&bench.maker.files);
    assert_eq!(bench.refresh().unwrap_err().fault(), Fault::Trust);
}

#[test]
fn a_stranger_s_signature_is_refused() {
    let mut bench = Bench::seen();
    bench.maker.keys.insert("timestamp", vec![Key::new(77)]);
    bench.maker.publish();
    bench.refused("not-signed");
}

#[test]
fn snapshot_and_targets_of_different_states_are_refused() {
    for digests in [true, false] {
        let mut bench = Bench::new();
        bench.maker.digests = digests;
        bench.maker.publish();
        let old = bench.maker.files[&bench.maker.path("targets")].clone();
        bench.maker.publish();
        let new = bench.maker.path("targets");
        bench.maker.files.insert(new, old);
        bench.refused(if digests { "wrong-digest" } else { "mixed" });
    }
}

#[test]
fn a_snapshot_of_another_state_is_refused() {
    for digests in [true, false] {
        let mut bench = Bench::new();
        bench.maker.digests = digests;
        bench.maker.publish();
        let old = bench.maker.files[&bench.maker.path("snapshot")].clone();
        bench.maker.publish();
        let new = bench.maker.path("snapshot");
        bench.maker.files.insert(new, old);
        bench.refused(if digests { "wrong-digest" } else { "mixed" });
    }
}

#[test]
fn a_release_with_other_bytes_is_refused() {
    let mut bench = Bench::new();
    bench.maker.add(&release("2026-12-second"));
    bench.maker.publish();
    let path = bench.maker.files.keys().find(|path| path.contains("second")).unwrap().clone();
    bench.maker.files.get_mut(&path).unwrap()[9] ^= 1;
    bench.refused("wrong-digest");
}

#[test]
fn a_release_of_another_length_is_refused() {
    let mut bench = Bench::new();
    let path = bench.maker.files.keys().find(|path| path.contains("releases/")).unwrap().clone();
    bench.maker.files.get_mut(&path).unwrap().push(b'\n');
    bench.refused("wrong-digest");
    bench.maker.files.get_mut(&path).unwrap().truncate(10);
    bench.refused("wrong-digest");
}

#[test]
fn endless_metadata_is_given_up() {
    for name in ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json", "first.json"] {
        let mut bench = Bench::new();
        bench.limits.targets_size = 100_000;
        bench.server.on(move |request: &Request| match request.path.ends_with(name) {
            true => Act::Endless("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned()),
            false => Act::Serve,
        });
        assert_eq!(bench.refresh().unwrap_err().code(), "too-long", "{name}");
    }
}

#[test]
fn more_than_there_may_be_is_refused() {
    let mut bench = Bench::new();
    bench.maker.add(&release("2026-12-second"));
    bench.maker.publish();
    bench.limits.releases = 1;
    bench.refused("too-many");
    bench.limits = NetLimits { releases: 2, release_size: 100, ..bench.limits };
    bench.refused("too-long");
    bench.limits = NetLimits { release_size: 1 << 20, releases_size: 1_500, ..bench.limits };
    bench.refused("too-long");
    bench.limits = NetLimits { releases_size: 1 << 20, roots: 3, ..bench.limits };
    (0..3).for_each(|_| bench.maker.publish_root(&[]));
    bench.server.serve(&bench.maker.files);
    assert_eq!(bench.refresh().unwrap_err().code(), "too-many");
}

#[test]
fn metadata_that_trickles_is_given_up() {
    let bench = Bench::new();
    bench.server.on(|request: &Request| match request.path.ends_with("timestamp.json") {
        true => {
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 60000\r\nConnection: close\r\n\r\n";
            Act::Stall(head.to_owned(), vec![b' '; 100])
        }
        false => Act::Serve,
    });
    let clock = Arc::new(Hand::ticking(std::time::Duration::from_secs(40)));
    let client = Client::with_clock(bench.options(), clock).unwrap();
    let error = client.refresh(NOW).unwrap_err();
    assert_eq!(error.code(), "slow", "{error}");
}

#[test]
fn a_root_that_cannot_be_fetched_is_not_taken_for_the_last_one() {
    let bench = Bench::seen();
    bench.server.on(|request: &Request| match request.path.ends_with("2.root.json") {
        true => Act::HangUp,
        false => Act::Serve,
    });
    assert_eq!(bench.refresh().unwrap_err().code(), "network");
}

#[test]
fn what_nobody_knows_yet_is_passed_over_but_signed() {
    let mut bench = Bench::new();
    bench.maker.extras = true;
    bench.maker.publish_root(&[]);
    bench.maker.publish();
    assert_eq!(bench.taken().version, 2);
    let timestamp = bench.maker.files.get_mut("metadata/timestamp.json").unwrap();
    let text = String::from_utf8(timestamp.clone()).unwrap().replace("x-later", "x-laxer");
    *timestamp = text.into_bytes();
    bench.refused("not-signed");
}

#[test]
fn what_is_no_metadata_is_refused() {
    for wrong in [&b""[..], b"{}", b"\xff\xfe", b"[1,2", b"{\"signed\":{},\"signatures\":[]}"] {
        let mut bench = Bench::seen();
        bench.maker.files.insert("metadata/timestamp.json".to_owned(), wrong.to_vec());
        bench.refused("malformed");
    }
}

#[test]
fn a_bad_mirror_does_not_stop_a_good_one() {
    let bench = Bench::new();
    let mut bad = bench.maker.clone();
    bad.files.insert("metadata/timestamp.json".to_owned(), b"{}".to_vec());
    let bad = Server::new(&bad.files);
    let mirrors = vec![bad.url(), bench.server.url()];
    let client = Client::new(Options { mirrors, ..bench.options() }).unwrap();
    client.refresh(NOW).unwrap();
    assert!(!bad.log().is_empty());
    client.refresh(NOW).unwrap();
    assert!(bad.log().is_empty(), "it is set back for the rest of the run");
}
