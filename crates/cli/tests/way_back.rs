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
