//! The verbs around the agent, as a person uses them; the repository is a folder.

mod common;

use common::{Done, Lab};
use serde_json::{Value, json};
use siding_image::Digest;
use std::fs;

/// A device with a release for its component `lib`, off by default.
fn lab() -> Lab {
    let lab = Lab::device();
    fs::create_dir_all(lab.path("repo/releases")).unwrap();
    fs::create_dir_all(lab.path("repo/blobs")).unwrap();
    fs::create_dir_all(lab.path("etc")).unwrap();
    fs::create_dir_all(lab.path("store/trust")).unwrap();
    fs::copy(lab.path("maker.pub"), lab.path("store/trust/maker.pub")).unwrap();
    let mirror =
        format!("mirrors = [\"folder:{}\"]\nautomatic-install = false\n", lab.path("repo").display());
    fs::write(lab.path("etc/agent.toml"), mirror).unwrap();
    publish(&lab, "fix-a", "1.0 (a)", "a.siding", "new-a", 100);
    lab
}

fn publish(lab: &Lab, id: &str, version: &str, patch: &str, new: &str, published: u64) {
    let bytes = fs::read(lab.path(patch)).unwrap();
    fs::write(lab.path(format!("repo/blobs/{patch}")), &bytes).unwrap();
    let image = |version: &str, name: &str| {
        let image = siding_image::Image::open(&lab.path(name)).unwrap().identity();
        json!({ "version": version, "kind": "file", "size": image.size, "digest": image.digest.to_string() })
    };
    let release = json!({
        "format": 1, "id": id, "title": "A fix", "severity": "high", "advisories": ["CVE-2026-0001"],
        "channel": "stable", "published": published, "items": [{
            "component": "lib", "source": image("1.0", "old"), "target": image(version, new),
            "patch": { "name": format!("blobs/{patch}"), "length": bytes.len(), "sha256": Digest::of(&bytes).to_string() },
        }],
    });
    fs::write(lab.path(format!("repo/releases/{id}.json")), release.to_string()).unwrap();
}

/// With the settings in `etc`.
fn run(lab: &Lab, line: &str) -> Done {
    lab.finished(line, lab.command(line).env("SIDING_CONFIG", lab.path("etc")))
}

fn ok(lab: &Lab, line: &str) -> String {
    run(lab, line).ends_with(0).out
}

fn fails(lab: &Lab, code: i32, line: &str) -> String {
    run(lab, line).ends_with(code).err
}

fn said(lab: &Lab, line: &str) -> Value {
    serde_json::from_str(&ok(lab, &format!("{line} --json"))).unwrap()
}

fn code(lab: &Lab, id: &str) -> String {
    let list = said(lab, "list");
    let releases = list["releases"].as_array().unwrap().iter();
    let of = |release: &&Value| release["id"] == id;
    releases.clone().find(of).unwrap()["code"].as_str().unwrap().to_owned()
}

#[test]
fn off_lists_it_and_a_switch_turns_it_on() {
    let lab = lab();
    let checked = ok(&lab, "check");
    assert!(checked.contains("fix-a") && checked.contains("automatic install is off"), "{checked}");
    let info = ok(&lab, "info CVE-2026-0001");
    assert!(
        info.contains("A fix")
            && info.contains("from 1.0 to 1.0 (a)")
            && info.contains("siding install fix-a"),
        "{info}"
    );
    ok(&lab, "agent --once");
    assert_eq!(code(&lab, "fix-a"), "off");
    let set = ok(&lab, "set automatic-install on");
    assert!(set.contains("automatic-install") && set.contains("settings.toml"), "{set}");
    let once = said(&lab, "agent --once");
    let told: Vec<&str> =
        once["told"].as_array().unwrap().iter().map(|line| line["what"].as_str().unwrap()).collect();
    assert_eq!(told, ["decide", "install", "confirm", "decide"]);
    assert_eq!(code(&lab, "fix-a"), "installed");
    let status = ok(&lab, "status");
    assert!(
        status.contains("1.0 (a)")
            && status.contains("automatic install: on")
            && status.contains("last look: 20"),
        "{status}"
    );
    // Removed by hand it stays away.
    ok(&lab, "remove lib");
    assert_eq!(code(&lab, "fix-a"), "removed-by-hand");
    ok(&lab, "agent --once");
    assert_eq!(code(&lab, "fix-a"), "removed-by-hand");
    publish(&lab, "fix-b", "1.0 (b)", "b.siding", "new-b", 200);
    ok(&lab, "agent --once");
    assert_eq!((code(&lab, "fix-a").as_str(), code(&lab, "fix-b").as_str()), ("superseded", "installed"));
}

#[test]
fn the_administrator_locks_and_says_so() {
    let lab = lab();
    fs::write(lab.path("etc/admin.toml"), "automatic-install = true\nremoval = \"forbidden\"\n").unwrap();
    ok(&lab, "agent --once");
    assert_eq!(code(&lab, "fix-a"), "installed");
    let refused = fails(&lab, 1, "set automatic-install off");
    assert!(refused.contains("admin.toml"), "{}", refused);
    let refused = fails(&lab, 3, "remove lib");
    assert!(refused.contains("removal is forbidden"), "{}", refused);
    assert_eq!(said(&lab, "status")["components"][0]["version"], "1.0 (a)");
    fs::write(lab.path("etc/agent.toml"), "\nautomatic-instal = true\n").unwrap();
    let wrong = fails(&lab, 1, "list");
    assert!(wrong.contains("agent.toml, line 2: there is no setting"), "{}", wrong);
}

#[test]
fn a_release_is_installed_by_hand_and_what_is_no_release_is_named() {
    let lab = lab();
    let unknown = fails(&lab, 1, "install nothing-such");
    assert!(unknown.contains("no release of that name"), "{}", unknown);
    let done = ok(&lab, "install CVE-2026-0001");
    assert!(done.contains("switched to lib 1.0 (a)"), "{}", done);
    assert_eq!(code(&lab, "fix-a"), "installed");
    assert!(ok(&lab, "install fix-a").contains("installed already"));
    // Rolled back it is not offered again, unless a person insists.
    ok(&lab, "rollback lib --reason broken");
    assert_eq!(code(&lab, "fix-a"), "denied");
    assert!(fails(&lab, 3, "install fix-a").contains("was rolled back here: broken"));
    ok(&lab, "install fix-a --retry-denied");
    assert_eq!(code(&lab, "fix-a"), "installed");
}

#[test]
fn a_plan_for_a_release_installs_nothing() {
    let lab = lab();
    ok(&lab, "check");
    let plan = ok(&lab, "install fix-a --plan");
    assert!(plan.contains("from 1.0 to 1.0 (a)"), "{plan}");
    assert_eq!(said(&lab, "status")["components"][0]["version"], "1.0");
    for (option, setting) in [
        ("--trust maker.pub", "trust"),
        ("--no-trial", "trial-tries"),
        ("--rate 2M", "rate"),
        ("--no-check", "for the file of a patch"),
    ] {
        let refused = fails(&lab, 2, &format!("install fix-a {option}"));
        assert!(refused.contains(setting), "{refused}");
    }
    assert_eq!(said(&lab, "status")["components"][0]["version"], "1.0");
}

#[test]
fn a_denial_stays_if_the_release_cannot_be_installed_anyway() {
    let lab = lab();
    ok(&lab, "set automatic-install on");
    ok(&lab, "agent --once");
    ok(&lab, "rollback lib --reason bad");
    assert_eq!(code(&lab, "fix-a"), "denied");
    let release = fs::read_to_string(lab.path("repo/releases/fix-a.json")).unwrap();
    let paused =
        release.replacen('{', "{\"standing\":{\"is\":\"paused\",\"reason\":\"it is looked into\"},", 1);
    fs::write(lab.path("repo/releases/fix-a.json"), paused).unwrap();
    ok(&lab, "check");
    assert_eq!(code(&lab, "fix-a"), "denied");
    let refused = fails(&lab, 3, "install fix-a --retry-denied");
    assert!(refused.contains("it is looked into"), "{refused}");
    assert_eq!(code(&lab, "fix-a"), "denied", "it would come back by itself");
    fs::write(lab.path("repo/releases/fix-a.json"), release).unwrap();
    ok(&lab, "install fix-a --retry-denied");
    assert_eq!(code(&lab, "fix-a"), "installed");
}

#[test]
fn what_is_kept_is_not_rolled_back_where_removal_is_forbidden() {
    let lab = lab();
    ok(&lab, "set automatic-install on");
    ok(&lab, "agent --once");
    fs::write(lab.path("etc/admin.toml"), "removal = \"forbidden\"\n").unwrap();
    let refused = fails(&lab, 3, "rollback lib");
    assert!(refused.contains("removal is forbidden"), "{refused}");
    assert_eq!(said(&lab, "status")["components"][0]["version"], "1.0 (a)");
}

#[test]
fn one_pass_says_by_its_exit_code_what_failed() {
    let lab = lab();
    ok(&lab, "set automatic-install on");
    fs::remove_file(lab.path("store/trust/maker.pub")).unwrap();
    let done = run(&lab, "agent --once").ends_with(5);
    assert!(done.out.contains("not-trusted"), "{}", done.out);
    fs::remove_dir_all(lab.path("repo")).unwrap();
    run(&lab, "agent --once").ends_with(1);
}

/// A person who asks for something older does not get back what lies between.
#[test]
fn an_older_release_that_is_asked_for_stays() {
    let lab = lab();
    publish(&lab, "fix-b", "1.0 (b)", "b.siding", "new-b", 200);
    ok(&lab, "set automatic-install on");
    ok(&lab, "agent --once");
    assert_eq!(said(&lab, "status")["components"][0]["version"], "1.0 (b)");
    ok(&lab, "remove lib");
    ok(&lab, "install fix-a");
    ok(&lab, "agent --once");
    assert_eq!(said(&lab, "status")["components"][0]["version"], "1.0 (a)");
    assert_eq!(code(&lab, "fix-b"), "removed-by-hand");
}

#[test]
fn locks_do_not_vanish_with_a_slip() {
    let lab = lab();
    ok(&lab, "set automatic-install on");
    ok(&lab, "agent --once");
    fs::write(lab.path("etc/admin.toml"), "removal = \"forbidden\"\n").unwrap();
    fails(&lab, 1, "init lib new-b --version 2.0 --replace");
    let line = "remove lib";
    let nowhere = lab.finished(line, lab.command(line).env("SIDING_CONFIG", lab.path("nowhere")));
    nowhere.ends_with(1).complains(&["SIDING_CONFIG", "nowhere"]);
    fs::remove_file(lab.path("etc/admin.toml")).unwrap();
    std::os::unix::fs::symlink(lab.path("nowhere"), lab.path("etc/admin.toml")).unwrap();
    assert!(fails(&lab, 1, "remove lib").contains("admin.toml"));
    assert_eq!(said(&lab, "status")["components"][0]["version"], "1.0 (a)");
}
