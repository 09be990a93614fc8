//! What an install may take of the machine, what it says beforehand, and how it goes on after an interruption.
#![cfg(feature = "make")]

mod common;

use common::{Lab, changed, noise};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

/// Of seven chunks: nothing of the new image is in the old one, and noise does not pack.
const SIZE: usize = 13_000_000;

fn large() -> Lab {
    let lab = Lab::device();
    common::clear(&lab.path("store"));
    lab.write("old", &noise(1, 100_000));
    lab.write("new-a", &noise(2, SIZE));
    lab.diff("old new-a -o a.siding --to '1.0 (a)' --level fast");
    lab.ok("init lib old --version 1.0");
    lab
}

/// How many bytes the interrupted stage in slot a has written, by its latest note: docs/design.md.
fn checkpoint(lab: &Lab) -> u64 {
    let note = lab.read("store/components/lib/a/checkpoint");
    u64::from_le_bytes(note[84..92].try_into().unwrap())
}

#[test]
fn an_install_that_was_killed_goes_on_where_it_was() {
    let lab = large();
    // A chunk takes half a dozen operations, after a dozen to begin with.
    let mut before = 0;
    for number in [20, 24, 24] {
        let mut command = lab.command("install a.siding --trust maker.pub");
        let output = command.env("SIDING_KILL_AT", number.to_string()).output().unwrap();
        assert_eq!(output.status.signal(), Some(9), "{number}");
        // Whoever looks in between disturbs nothing.
        assert_eq!(lab.status("lib")["active"], "base", "{number}");
        lab.ok("plan a.siding --trust maker.pub").says(&["would be written to slot a", "goes on"]);
        lab.ok("status").says(&["not finished; the same patch goes on from"]);
        let now = checkpoint(&lab);
        assert!(
            now > before,
            "{number}: from {before} to {now}: each goes on with what the one before has done"
        );
        before = now;
    }
    let done = lab.json("install a.siding --trust maker.pub --switch --no-trial");
    let [written, resumed] = ["written", "resumed"].map(|field| done[field].as_u64().unwrap());
    assert_eq!(written + resumed, SIZE as u64, "{done}");
    assert!(resumed == before && written < SIZE as u64 / 2, "{before} {done}");
    assert!(lab.current("lib") == lab.read("new-a"));
    lab.ok("log").says(&["going on: "]);
}

#[test]
fn another_patch_does_not_go_on_with_it() {
    let lab = large();
    lab.write("new-b", &changed(&lab.read("new-a"), 5));
    lab.diff("old new-b -o b.siding --to '1.0 (b)' --level fast");
    let mut command = lab.command("install a.siding --trust maker.pub");
    let output = command.env("SIDING_KILL_AT", "40").output().unwrap();
    assert_eq!(output.status.signal(), Some(9));
    let done = lab.json("install b.siding --trust maker.pub --switch --no-trial");
    assert_eq!(done["resumed"], 0, "{done}");
    assert!(lab.current("lib") == lab.read("new-b"));
}

#[test]
fn a_plan_says_what_an_install_would_do_and_writes_nothing() {
    let lab = Lab::device();
    let before = lab.names("store/components/lib");
    for line in ["plan a.siding --trust maker.pub", "install --plan a.siding --trust maker.pub"] {
        let says = [
            "lib 1.0 (a) would be written to slot a",
            "starts from   1.0, in slot base",
            "image         38.0 KB, 38.0 KB of it written anew",
            "space ",
            "memory ",
            "time          less than a second",
            "restarts      nothing",
        ];
        lab.ok(line).says(&says);
        let json = lab.json(line);
        assert_eq!(
            (&json["outcome"], &json["slot"], &json["source"]),
            (&"applied".into(), &"a".into(), &"base".into())
        );
        assert_eq!(json["fresh"].as_u64(), Some(lab.read("new-a").len() as u64), "{json}");
    }
    assert_eq!(lab.names("store/components/lib"), before);
    assert_eq!(lab.events(), ["init"]);
    lab.ok("install a.siding --trust maker.pub --switch");
    lab.ok("plan a.siding --trust maker.pub").says(&["is active already; nothing to do"]);
    assert_eq!(lab.json("plan a.siding --trust maker.pub")["fresh"], 0);
    lab.ok("rollback lib --reason bad");
    lab.run("plan a.siding --trust maker.pub").ends_with(3).complains(&["rolled back"]);
    lab.ok("plan a.siding --trust maker.pub --retry-denied");
}

#[test]
fn a_plan_is_refused_as_the_install_would_be() {
    let lab = Lab::device();
    lab.diff("new-a new-b -o other.siding --from 1.1 --to 1.2");
    lab.diff("old new-a -o stranger.siding --component more");
    lab.ok("keygen stranger");
    for (line, code) in [
        ("other.siding --trust maker.pub", 3),
        ("stranger.siding --trust maker.pub", 3),
        ("a.siding --trust stranger.pub", 5),
        ("a.siding --trust maker.pub --memory 1M", 1),
    ] {
        let (plan, install) = (lab.run(&format!("plan {line}")), lab.run(&format!("install {line}")));
        assert_eq!((plan.code, install.code), (Some(code), Some(code)), "{plan} {install}");
        assert_eq!(plan.err, install.err, "{line}");
    }
    assert_eq!(lab.events(), ["init"], "no slot was touched for what is refused");
    lab.run("plan a.siding --trust maker.pub --switch").ends_with(2);
}

#[test]
fn limits_are_kept_to_and_odd_ones_refused() {
    let lab = Lab::device();
    lab.run("apply a.siding old out --trust maker.pub --memory 1M")
        .ends_with(1)
        .complains(&["bytes of memory to carry out, but 1048576 are allowed"]);
    assert!(!lab.path("out").exists());
    lab.ok("apply a.siding old out --trust maker.pub --memory 8M --nice --rate 100M --threads 1");
    assert!(lab.read("out") == lab.read("new-a"));
    for odd in ["--memory 0", "--memory many", "--rate -1", "--rate 0"] {
        lab.run(&format!("apply a.siding old more --trust maker.pub {odd}")).ends_with(2);
    }
    lab.ok("install a.siding --trust maker.pub --switch --memory 8M --nice --rate 100M");
    assert!(lab.current("lib") == lab.read("new-a"));
}

/// A slow install holds nobody up: what must not wait has the store, and the install goes on from its checkpoint.
#[test]
fn a_rollback_does_not_wait_for_an_install() {
    let lab = Lab::device_of(400_000);
    lab.write("big", &noise(77, 500_000));
    lab.diff("old big -o big.siding --to '1.0 (c)'");
    lab.diff("old new-a -o other.siding --component other --to '1.0 (a)'");
    lab.ok("init other old --version 1.0");
    lab.ok("install other.siding --trust maker.pub --switch");
    let slow = "install big.siding --trust maker.pub --rate 20K";
    let mut install = lab.command(slow).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until_staging(&lab);
    lab.ok("confirm other");
    lab.ok("rollback other --reason bad").says(&["rolled back"]);
    // It goes on by itself.
    wait_until_staging(&lab);
    assert!(install.try_wait().unwrap().is_none());
    lab.run("install b.siding --trust maker.pub").ends_with(8);
    install.kill().unwrap();
    install.wait().unwrap();
    lab.ok("install big.siding --trust maker.pub --switch");
    assert!(lab.current("lib") == lab.read("big"));
    assert!(lab.current("other") == lab.read("old"));
}

/// Until somebody holds the lock that says that he gives way.
fn wait_until_staging(lab: &Lab) {
    let is_held = || {
        let Ok(file) = std::fs::File::open(lab.path("store/lock.staging")) else { return false };
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockShared).is_err()
    };
    while !is_held() {
        std::thread::yield_now();
    }
}
