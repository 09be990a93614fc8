//! `siding publish`, from keys to a release that is shown, paused, given other waves and withdrawn.
#![cfg(feature = "make")]

mod common;

use common::{Lab, changed, noise};
use serde_json::{Value, json};

const RELEASE: &str = r#"
id = "r1"
title = "A weakness"
severity = "high"
advisories = ["CVE-2026-0001"]
waves = ["1% at once", "100% after 3d"]
level = "fast"
[[component]]
name = "lib"
target = { version = "1.0 (a)", image = "new" }
full = true
base = [{ version = "1.0", image = "old" }]
"#;

fn lab() -> Lab {
    let lab = Lab::new();
    let old = noise(1, 20_000);
    lab.write("new", &changed(&old, 3));
    lab.write("old", &old);
    lab.write("release.toml", RELEASE.as_bytes());
    lab.ok("publish init --repo repo --keys keys --role root=1/2 --expires timestamp=2d");
    lab
}

const COMMIT: &str = "publish commit release.toml --repo repo --keys keys --sign-with maker.key";

fn listed(lab: &Lab) -> Value {
    lab.json("publish list --repo repo --keys keys")["releases"].clone()
}

#[test]
fn a_release_from_a_file_to_what_devices_read() {
    let lab = lab();
    assert_eq!(lab.names("keys").len(), 2 + 3 + 1, "{:?}", lab.names("keys"));
    let plan = lab.json("publish plan release.toml --repo repo");
    assert_eq!(plan["jobs"].as_array().unwrap().len(), 2);
    assert_eq!(plan["jobs"][1]["from"], Value::Null, "a whole image starts from nothing");
    lab.run(COMMIT).ends_with(1).complains(&[
        "2 of 2 jobs",
        "siding publish make",
        "lib 1.0 → 1.0 (a) (patch)",
    ]);
    assert_eq!(listed(&lab), json!([]));

    for index in 0..3 {
        lab.ok(&format!("publish make release.toml --repo repo --index {index} --count 3"));
    }
    let made = lab.json("publish make release.toml --repo repo");
    assert!(made["jobs"].as_array().unwrap().iter().all(|job| job["was_there"] == true), "{made}");
    let done = lab.json(COMMIT);
    assert_eq!(
        (&done["changed"], &done["signed_files"], &done["percent_now"]),
        (&json!(true), &json!(2), &json!(1))
    );
    assert_eq!(lab.json(COMMIT)["changed"], false);

    // What was published is what `siding verify` and `siding apply` take.
    let patches = lab.names("repo/targets").into_iter().filter(|name| name.ends_with(".blobs"));
    for folder in patches {
        let file = lab.names(&format!("repo/targets/{folder}")).remove(0);
        lab.ok(&format!("verify repo/targets/{folder}/{file} --trust maker.pub --target new"));
    }
}

#[test]
fn what_is_published_is_changed_by_hand() {
    let lab = lab();
    lab.ok("publish make release.toml --repo repo");
    lab.ok(COMMIT);
    let at = "--repo repo --keys keys";
    lab.ok(&format!("publish pause r1 --reason 'looks bad' {at}")).says(&["paused: looks bad"]);
    assert_eq!(listed(&lab)[0]["standing"], "paused");
    lab.ok(&format!("publish resume r1 {at}"));
    lab.ok(&format!("publish waves r1 '25% at once' '100% after 12h' {at}")).says(&["25 %"]);
    assert_eq!(listed(&lab)[0]["waves"].as_array().unwrap().len(), 2);
    lab.ok("publish rotate --repo repo --keys keys --add timestamp --expires root=30d");
    lab.ok("publish refresh --repo repo --keys keys --all").says(&["renewed"]);
    lab.ok(&format!("publish withdraw r1 --reason 'is bad' {at}"));
    lab.run(&format!("publish resume r1 {at}")).ends_with(2).complains(&["withdrawn", "another name"]);
    assert_eq!(listed(&lab)[0]["reason"], "is bad");
    assert_eq!(lab.json("publish list --repo repo --keys keys")["root"], 2);
    lab.run(&format!("publish pause r2 --reason x {at}")).ends_with(1).complains(&["r2", "publish list"]);
}

/// A power cut between the root and what it vouches for, and one before the maker's own copy of the root.
#[test]
fn an_init_that_was_cut_is_gone_on_with_by_whoever_has_its_keys() {
    const INIT: &str = "publish init --repo repo --keys keys";
    for has_anchor in [true, false] {
        let lab = lab();
        let root = lab.read("repo/metadata/1.root.json");
        for name in ["timestamp.json", "1.snapshot.json"] {
            std::fs::remove_file(lab.path(format!("repo/metadata/{name}"))).unwrap();
        }
        if !has_anchor {
            std::fs::remove_file(lab.path("keys/root.json")).unwrap();
        }
        std::fs::create_dir(lab.path("others")).unwrap();
        lab.run("publish init --repo repo --keys others").ends_with(2).complains(&["a repository already"]);
        lab.ok(INIT);
        assert_eq!((lab.read("repo/metadata/1.root.json"), lab.read("keys/root.json")), (root.clone(), root));
        lab.ok("publish make release.toml --repo repo");
        lab.ok(COMMIT);
        lab.run(INIT).ends_with(2).complains(&["there is a repository already"]);
    }
}

#[test]
fn what_a_commit_would_refuse_is_said_before_the_work() {
    let lab = lab();
    lab.write("keys/junk.pem", &noise(5, 300));
    lab.ok("publish make release.toml --repo repo");
    let tuf = "publish commit release.toml --repo repo --keys keys --sign-with keys/targets-1.pem";
    lab.run(tuf).ends_with(2).complains(&["signs this repository's targets metadata", "siding keygen"]);
    assert_eq!(listed(&lab), json!([]));
    lab.ok(COMMIT);
    lab.write("new", &lab.read("old"));
    for verb in ["plan", "make"] {
        let done = lab.run(&format!("publish {verb} release.toml --repo repo"));
        done.ends_with(2).complains(&["new: it has the bytes of", "old"]);
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let lab = lab();
    lab.run("publish init --repo repo --keys keys")
        .ends_with(2)
        .complains(&["there is a repository already"]);
    lab.run("publish init --repo other --keys keys").ends_with(2).complains(&["another repository's keys"]);
    lab.run("publish plan release.toml --repo nowhere").ends_with(1).complains(&["nowhere"]);
    lab.run("publish make release.toml --repo repo --index 3 --count 3")
        .ends_with(2)
        .complains(&["count from 0"]);
    let mut command = lab.command("publish make release.toml --repo repo --json");
    command.env("JOB_COMPLETION_INDEX", "1").env("JOB_COMPLETIONS", "2");
    let done = lab.finished("make, by Kubernetes", &mut command).ends_with(0).json();
    assert_eq!((&done["index"], &done["count"]), (&json!(1), &json!(2)));
    for (from, to, said) in [
        ("title", "titel", "titel"),
        ("\"old\"", "\"gone\"", "gone"),
        ("\"fast\"", "\"slow\"", "fast, default or best"),
        ("\"r1\"", "\"r/1\"", "r/1"),
    ] {
        lab.write("bad.toml", RELEASE.replace(from, to).as_bytes());
        let done = lab.run("publish plan bad.toml --repo repo");
        assert!(done.code != Some(0) && done.err.contains(said), "{done}");
    }
    lab.write("keys/root.json", b"{}");
    lab.run("publish refresh --repo repo --keys keys").ends_with(2).complains(&["root.json"]);
}

/// A device whose first mirror serves other bytes than were signed gets its release from the second one.
#[test]
fn a_mirror_that_serves_other_bytes_does_not_keep_a_device_from_its_release() {
    let lab = lab();
    lab.ok("publish make release.toml --repo repo");
    lab.ok("publish commit release.toml --repo repo --keys keys --sign-with maker.key");
    lab.ok("publish waves r1 '100% at once' --repo repo --keys keys");
    let bad = lab.path("bad");
    copy_folder(&lab.path("repo"), &bad);
    for folder in lab.names("bad/targets").into_iter().filter(|name| name.ends_with(".blobs")) {
        for file in lab.names(&format!("bad/targets/{folder}")) {
            let path = format!("bad/targets/{folder}/{file}");
            let mut bytes = std::fs::read(lab.path(&path)).unwrap();
            let near_the_end = bytes.len() - 10;
            bytes[near_the_end] ^= 1;
            lab.write(&path, &bytes);
        }
    }
    lab.ok("init lib old --version 1.0");
    std::fs::create_dir_all(lab.path("etc")).unwrap();
    let at = |name: &str| format!("file://{}", lab.path(name).display());
    let settings = format!(
        "mirrors = [{:?}, {:?}]\nroot = {:?}\ntrust = {:?}\n",
        at("bad"),
        at("repo"),
        lab.path("repo/metadata/1.root.json"),
        lab.path("trust")
    );
    lab.write("etc/agent.toml", settings.as_bytes());
    std::fs::create_dir_all(lab.path("trust")).unwrap();
    std::fs::copy(lab.path("maker.pub"), lab.path("trust/maker.pub")).unwrap();
    let line = "agent --once --json";
    let done = lab.finished(line, lab.command(line).env("SIDING_CONFIG", lab.path("etc"))).ends_with(0);
    let told: Value = serde_json::from_str(&done.out).unwrap();
    assert!(told["told"].to_string().contains("install"), "{told}");
    assert_eq!(lab.json("status")["components"][0]["version"], "1.0 (a)", "{told}");
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copy_folder(&path, &to),
            false => drop(std::fs::copy(&path, &to).unwrap()),
        }
    }
}
