//! Verbs that change nothing that is in use, but perhaps where a boot loader would go back to; and commands that are
//! run while the store is held.
#![cfg(feature = "make")]

mod common;

use common::grub::{block, command, grub, list, with_grub};
use common::{Lab, noise};
use serde_json::json;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

/// With (b) in use in slot b, (a) before it in slot a, and a patch `c.siding` that is staged into a.
fn with_a_previous_slot() -> Lab {
    let lab = with_grub();
    lab.ok("install a.siding --trust maker.pub --switch --no-trial");
    lab.ok("install b.siding --trust maker.pub --switch --no-trial");
    assert_eq!(block(&lab), "b a  2");
    let mut new = lab.read("new-a");
    new.iter_mut().step_by(7).for_each(|byte| *byte ^= 0x55);
    lab.write("new-c", &new);
    lab.diff("old new-c -o c.siding --to '1.0 (c)'");
    lab
}

#[test]
fn an_install_into_the_way_back_tells_the_boot_loader() {
    let lab = with_a_previous_slot();
    list(&lab, &[grub(&lab), command(&lab)]);
    lab.ok("install c.siding --trust maker.pub").says(&[
        "in slot a",
        "grubenv follows",
        "command sh follows",
    ]);
    assert_eq!(block(&lab), "b base  2");
    lab.ok("install c.siding --trust maker.pub").says(&["was there already"]).says_not(&["follows"]);
}

#[test]
fn an_install_that_fails_has_told_the_boot_loader_too() {
    let lab = with_a_previous_slot();
    // Of several chunks, of which the last is cut off.
    lab.write("new-d", &noise(9, 3_000_000));
    lab.diff("old new-d -o d.siding --to '1.0 (d)'");
    let patch = lab.read("d.siding");
    lab.write("d.siding", &patch[..patch.len() - 8]);
    lab.run("install d.siding --trust maker.pub").ends_with(6);
    assert_eq!(lab.status("lib")["previous"], json!(null));
    assert_eq!(block(&lab), "b base  2");
}

#[test]
fn a_switch_that_is_refused_after_its_install_has_told_the_boot_loader() {
    let lab = with_a_previous_slot();
    lab.diff("old new-c -o r.siding --to '1.0 (r)' --restart nothing-knows-this");
    lab.run("install r.siding --trust maker.pub --switch --restart").ends_with(3);
    assert_eq!((lab.status("lib")["active"].as_str(), block(&lab).as_str()), (Some("b"), "b base  2"));
}

#[test]
fn an_install_that_changes_no_way_back_makes_nothing_again() {
    let lab = with_grub();
    lab.ok("project");
    list(&lab, &[grub(&lab), command(&lab)]);
    let installed = lab.json("install a.siding --trust maker.pub");
    assert_eq!((&installed["outcome"], &installed["projected"]), (&json!("applied"), &json!(null)));
    assert!(!lab.path("told").exists());
}

#[test]
fn a_way_back_that_is_condemned_on_trial_is_none_for_the_boot_loader() {
    let lab = with_grub();
    lab.ok("install a.siding --trust maker.pub --switch --no-trial");
    lab.ok("install b.siding --trust maker.pub --switch --tries 3");
    assert_eq!(block(&lab), "b a 3 2");
    let image = lab.path("store/components/lib/a/image");
    fs::set_permissions(&image, Permissions::from_mode(0o644)).unwrap();
    fs::write(&image, b"something else").unwrap();
    lab.run("verify --slot lib").ends_with(6);
    assert_eq!(block(&lab), "b a 3 2");
    lab.run("verify --slot lib --condemn").ends_with(6).says(&["the slot was emptied", "grubenv follows"]);
    assert_eq!(block(&lab), "b base 3 2");
    lab.ok("verify --slot lib --condemn").says_not(&["follows"]);
}

#[test]
fn a_vacuum_leaves_the_way_back_as_it_is() {
    let lab = with_a_previous_slot();
    let agrees = || lab.status("lib")["projections"][0]["agrees"].clone();
    lab.ok("vacuum");
    assert_eq!((block(&lab).as_str(), agrees()), ("b a  2", json!(true)));
    // What was rolled back is denied, so it was no way back any more.
    lab.ok("rollback lib");
    assert_eq!(block(&lab), "a base  3");
    lab.ok("vacuum").says(&["slot emptied in slot b"]);
    assert_eq!((block(&lab).as_str(), agrees()), ("a base  3", json!(true)));
}

#[test]
fn a_list_that_makes_no_sense_is_told_once_something_should_have_followed() {
    let lab = with_a_previous_slot();
    lab.write("store/projections.toml", b"[[projection]]\ncomponent = 'lib'\nkind = 'grab'\n");
    lab.run("install c.siding --trust maker.pub").ends_with(1).says(&["in slot a", "unknown kind \"grab\""]);
    lab.ok("install c.siding --trust maker.pub");
}

#[test]
fn a_command_that_wants_to_write_is_told_why_it_cannot() {
    let lab = Lab::device();
    let siding = env!("CARGO_BIN_EXE_siding");
    let run = |line: &str| {
        let out = lab.path("told").display().to_string();
        let line = format!("{siding} {line} >> {out} 2>&1; echo code $? back $SIDING_BACK >> {out}");
        list(&lab, &[format!("component = 'lib'\nkind = 'command'\nrun = ['sh', '-c', '{line}']")]);
        let _ = fs::remove_file(lab.path("told"));
        lab.ok("project");
        String::from_utf8(lab.read("told")).unwrap()
    };
    let refused = run("confirm");
    assert!(refused.contains("in use by another process"), "{refused}");
    assert!(
        refused.contains("this runs as a projection\u{27}s command, whose caller holds the store"),
        "{refused}"
    );
    assert!(refused.ends_with("code 8 back base\n"), "{refused}");
    let read = run("status");
    assert!(read.contains("lib 1.0") && read.ends_with("code 0 back base\n"), "{read}");
}

#[test]
fn a_way_back_that_is_gone_is_not_taken_by_hand() {
    let lab = Lab::device();
    lab.ok("install a.siding --trust maker.pub --switch");
    common::clear(&lab.path("store/components/lib/base"));
    for verb in ["rollback lib", "remove lib"] {
        lab.run(verb).ends_with(6).complains(&[
            "lib cannot go to 1.0",
            "is missing",
            "siding init lib IMAGE",
        ]);
    }
    assert_eq!(lab.current("lib"), lab.read("new-a"));
    lab.ok("init lib old --version 1.0 --replace");
    lab.ok("rollback lib");
    assert_eq!(lab.current("lib"), lab.read("old"));
}

#[test]
fn what_is_in_the_way_of_a_link_or_the_log_is_told_and_everything_else_follows() {
    let lab = with_grub();
    lab.ok("install a.siding --trust maker.pub --switch --tries 1");
    let (link, log) = (lab.path("store/current/lib"), lab.path("store/log"));
    fs::remove_file(&link).unwrap();
    fs::create_dir_all(link.join("inside")).unwrap();
    fs::rename(&log, lab.path("log aside")).unwrap();
    fs::create_dir(&log).unwrap();
    let told =
        ["lib: the store does NOT follow", "current/lib", "the store does NOT follow: cannot open the log"];
    lab.run("boot").ends_with(1).says(&["lib: restart on trial with 1.0 (a)"]).says(&told);
    lab.run("boot").ends_with(1).says(&["lib: fell back from 1.0 (a) to 1.0", "grubenv follows"]).says(&told);
    assert_eq!(block(&lab).split(' ').next(), Some("base"));
    let json = lab.run("boot --json").ends_with(1).json();
    assert_eq!(json["troubles"].as_array().map(Vec::len), Some(2), "{json}");
    fs::remove_dir_all(&link).unwrap();
    fs::remove_dir(&log).unwrap();
    fs::rename(lab.path("log aside"), &log).unwrap();
    lab.ok("boot");
    assert_eq!(lab.current("lib"), lab.read("old"));
    assert_eq!(lab.events(), ["init", "stage", "seal", "switch", "try", "fall-back"]);
}

/// What is mounted in a slot is not emptied with it, whoever empties that.
#[test]
fn what_is_mounted_in_a_slot_outlives_it() {
    const SCRIPT: &str = "mount --make-rprivate / && mount --bind home \"$1\" || exit 77
        for verb in boot boot vacuum 'init lib new-b --version 2.0 --replace' vacuum; do
            echo \"== $verb\"; \"$0\" $verb 2>&1; echo \"code $?\"
        done";
    let lab = Lab::tree_device();
    lab.ok("install a.siding --trust maker.pub --switch --tries 1");
    let inside = fs::read_dir(lab.path("store/current/lib")).unwrap().map(|item| item.unwrap().path());
    let inside = inside.into_iter().find(|path| path.is_dir()).expect("a directory in the tree");
    let inside = inside.canonicalize().unwrap();
    fs::create_dir_all(lab.path("home/sub")).unwrap();
    lab.write("home/file", b"mine");
    lab.write("home/sub/file", b"mine");
    fs::set_permissions(lab.path("home"), Permissions::from_mode(0o751)).unwrap();
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "sh", "-c", SCRIPT, env!("CARGO_BIN_EXE_siding")]).arg(&inside);
    command.current_dir(lab.root()).env("SIDING_STORE", lab.path("store"));
    command.env("RUNTIME_DIRECTORY", lab.path("run"));
    let done = command.output();
    let out =
        done.as_ref().map(|done| String::from_utf8_lossy(&done.stdout).into_owned()).unwrap_or_default();
    if !out.contains("== boot") {
        eprintln!("SKIPPED: a mount namespace needs root and unshare: {done:?}");
        return;
    }
    assert!(lab.path("home/file").exists() && lab.path("home/sub/file").exists(), "{out}");
    let mode = fs::metadata(lab.path("home")).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o751, "{out}");
    assert!(out.contains("fell back from 1.0 (a) to 1.0"), "{out}");
    assert!(out.contains("something is mounted on") && out.contains("code 8"), "{out}");
    assert!(out.contains("base 2.0 in place of"), "{out}");
    // Once it is unmounted, the slot is emptied.
    lab.ok("vacuum");
    assert_eq!(lab.names("store/components/lib"), ["base.1"]);
}

#[test]
fn a_vacuum_names_what_it_removes_that_nobody_knows() {
    let lab = Lab::device();
    fs::create_dir_all(lab.path("store/components/backup/of")).unwrap();
    lab.ok("vacuum").says(&["components/backup was removed"]);
    fs::create_dir_all(lab.path("store/components/backup/of")).unwrap();
    let json = lab.json("vacuum");
    assert!(json["removed"][0].as_str().unwrap().ends_with("components/backup"), "{json}");
}
