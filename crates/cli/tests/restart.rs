//! `--restart`: what must restart is restarted, nothing else is, and who still runs old bytes is told.
#![cfg(feature = "make")]

mod common;

use common::Lab;
use common::holder::{self, Holder};
use serde_json::json;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Not a test: what the process does that [`Holder`] starts.
#[test]
fn hold_a_map() {
    holder::hold();
}

const TERM: i32 = 15;
/// So large that a file is mapped, and not read.
const MAPPED: usize = 200_000;

/// A device whose patch `r.siding` has this restart list, installed and not yet switched to.
fn device(list: &[&str]) -> Lab {
    let lab = Lab::device_of(MAPPED);
    let words: String = list.iter().map(|word| format!(" --restart '{word}'")).collect();
    lab.diff(&format!("old new-a -o r.siding --to '1.0 (a)'{words}"));
    lab.ok("install r.siding --trust maker.pub");
    lab
}

/// Puts a hook into the store: a shell script that first says how it was called.
fn hook(lab: &Lab, name: &str, script: &str) {
    let dir = lab.path("store/restart.d");
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join(name);
    let said = lab.path("said");
    let text = format!("#!/bin/sh\necho \"$* store=$SIDING_STORE\" >> {}\n{script}\n", said.display());
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
}

fn base(lab: &Lab) -> std::path::PathBuf {
    lab.path("store/components/lib/base/image")
}

#[test]
fn a_hook_restarts_what_only_the_device_knows() {
    let lab = device(&["web server"]);
    hook(&lab, "web server", "");
    lab.ok("switch --restart").says(&["lib: switched", "restarted: web server\n", "nothing runs old bytes"]);
    let said = String::from_utf8(lab.read("said")).unwrap();
    assert_eq!(said, format!("restart web server store={}\n", lab.path("store").display()));
    lab.ok("rollback --restart --reason 'no good'").says(&["restarted: web server"]);
    assert_eq!(lab.current("lib"), lab.read("old"));
}

/// The hook runs with the new image in place, and may use the store.
#[test]
fn a_hook_finds_the_switch_made_and_the_store_free() {
    let lab = device(&["web"]);
    let siding = env!("CARGO_BIN_EXE_siding");
    hook(
        &lab,
        "web",
        &format!("{siding} confirm --store \"$SIDING_STORE\" >> {} 2>&1", lab.path("said").display()),
    );
    lab.ok("switch --restart").says(&["restarted: web"]);
    let said = String::from_utf8(lab.read("said")).unwrap();
    assert!(said.contains("lib: confirmed 1.0 (a)"), "{said}");
}

#[test]
fn what_nobody_knows_to_restart_is_refused_before_a_switch_and_told_after_a_way_back() {
    let lab = device(&["web", "../escape"]);
    let missing = &["must restart, and nobody here knows how", "nothing was changed"];
    lab.run("switch --restart").ends_with(3).complains(missing);
    lab.run("install r.siding --trust maker.pub --switch --restart").ends_with(3).complains(missing);
    assert_eq!(lab.current("lib"), lab.read("old"));
    lab.run("switch").ends_with(4).says(&["to use it, restart: ../escape, web"]);
    lab.run("rollback --restart").ends_with(4).says(&[
        "lib: rolled back from 1.0 (a) to 1.0",
        "not restarted: ../escape: no hook can be named so",
        "not restarted: web: there is no executable",
    ]);
    assert_eq!(lab.current("lib"), lab.read("old"));
}

#[test]
fn a_hook_that_fails_is_told_with_what_it_said() {
    let lab = device(&["web"]);
    hook(&lab, "web", "echo 'port 80 is taken' >&2; exit 7");
    let done = lab.run("switch --restart --json").ends_with(4).json();
    let why = done["restart"]["failed"][0]["why"].as_str().unwrap();
    assert!(why.ends_with("/web: exit code 7: port 80 is taken"), "{why}");
    assert_eq!(done["restart"]["complete"], json!(false));
    assert_eq!(done["events"][0]["event"], "switch");
    assert_eq!(lab.current("lib"), lab.read("new-a"));
}

#[test]
fn processes_that_map_old_files_are_ended_if_the_patch_says_so_and_others_live() {
    let lab = device(&["process"]);
    let old = Holder::of(&lab.path("store/components/lib/base/image"));
    let mut other = Holder::of(&lab.path("old"));
    let pid = old.pid();
    let done = lab.ok("switch --restart").says(&["restarted: process ", "nothing runs old bytes"]);
    assert!(done.out.contains(&format!("process {pid} (")), "{done}");
    assert_eq!(old.signal(), Some(TERM));
    assert!(other.runs(), "what maps something else is left alone");
    // The other way round: the patched image is the old one now.
    let new = Holder::of(&lab.path("store/components/lib/a/image"));
    lab.ok("remove lib --restart").says(&["restarted: process "]);
    assert_eq!(new.signal(), Some(TERM));
}

#[test]
fn who_still_runs_old_bytes_is_told_by_number_name_and_file() {
    let lab = device(&[]);
    let mut old = Holder::of(&base(&lab));
    let done = lab.run("switch --restart --json").ends_with(4).json();
    let still = &done["restart"]["still"][0];
    assert_eq!(still["pid"], json!(old.pid()));
    assert!(still["file"].as_str().unwrap().ends_with("lib/base/image"), "{done}");
    assert_eq!(still["components"], json!(["lib"]));
    assert!(!still["name"].as_str().unwrap().is_empty());
    assert!(old.runs(), "nothing asked for its end");
    lab.run("rollback --restart").ends_with(0).says(&["nothing runs old bytes"]);
}

#[test]
fn bytes_that_are_gone_from_their_slot_are_old_too() {
    let lab = Lab::device_of(MAPPED);
    lab.ok("install a.siding --trust maker.pub --switch --no-trial");
    let old = Holder::of(&lab.path("store/components/lib/a/image"));
    lab.ok("install b.siding --trust maker.pub --switch --no-trial");
    lab.diff("old new-a -o c.siding --to '1.0 (c)' --epoch 1");
    lab.run("install c.siding --trust maker.pub --switch --restart").ends_with(4).says(&[
        "active, on trial",
        "still runs old bytes: ",
        "lib/a/image (deleted)",
        "restart these to use it",
    ]);
    assert_eq!(lab.status("lib")["active"], "a");
    drop(old);
}

#[test]
fn a_reboot_is_told_and_not_done() {
    let lab = device(&["reboot", "web"]);
    hook(&lab, "web", "");
    lab.run("switch --restart").ends_with(4).says(&["restarted: web", "reboot to use it"]);
    let done = lab.run("rollback --restart --json").ends_with(4).json();
    assert_eq!(done["restart"]["reboot"], json!(true));
}

#[test]
fn without_systemd_a_hook_restarts_a_unit() {
    if Path::new("/run/systemd/system").exists() {
        return;
    }
    let lab = device(&["web.service"]);
    hook(&lab, "web.service", "");
    lab.ok("switch --restart").says(&["restarted: web.service"]);
    assert!(lab.read("said").starts_with(b"restart web.service"));
}

/// In a tree most files stay as they are; who maps only those runs nothing old.
#[test]
fn who_maps_only_what_did_not_change_goes_on() {
    let lab = Lab::quick_with_trees();
    lab.diff("old new -o r.siding --to '1.0 (a)' --restart process");
    lab.ok("init lib old --version 1.0");
    let slot = lab.path("store/components/lib/base/image");
    let (mut same, changed) = (Holder::of(&slot.join("same")), Holder::of(&slot.join("changed")));
    lab.ok("install r.siding --trust maker.pub --switch --restart").says(&["nothing runs old bytes"]);
    assert_eq!(changed.signal(), Some(TERM));
    assert!(same.runs());
}

#[test]
fn nothing_restarts_where_nothing_changed() {
    let lab = device(&["web"]);
    lab.ok("remove lib --restart").says(&["the base is active already"]);
    hook(&lab, "web", "");
    lab.ok("switch lib --restart");
    lab.ok("switch lib --restart").says(&["lib runs 1.0 (a) already, on trial"]).says_not(&["restarted"]);
    lab.run("install r.siding --trust maker.pub --restart").ends_with(2).complains(&["--switch"]);
}
