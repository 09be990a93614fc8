//! What follows the record: each verb that changes it has boot loaders and commands follow, `boot` hears the loader
//! first, and what cannot follow is told while the record stands.
#![cfg(feature = "make")]

mod common;

use common::Lab;
use common::grub::{block, command, grub, list, loader, with_grub};
use serde_json::json;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

#[test]
fn every_change_is_followed_and_told() {
    let lab = with_grub();
    lab.ok("project").says(&["lib: grub ", "grubenv follows"]);
    assert_eq!(block(&lab), "base base  0");
    lab.ok("project").says(&["everything follows the record already"]);
    assert_eq!(lab.json("project"), json!({ "projected": [], "not_projected": [] }));

    lab.ok("install a.siding --trust maker.pub").says_not(&["follows"]);
    lab.ok("switch --tries 2").says(&["lib: switched", "grubenv follows"]);
    assert_eq!(block(&lab), "a base 2 1");
    lab.ok("switch").says(&["lib runs 1.0 (a) already"]).says_not(&["follows"]);

    loader(&lab, "a", Some(1));
    lab.ok("boot --cmdline cmdline").says(&["lib: restart on trial with 1.0 (a) (1 left after this one)"]);
    assert_eq!((block(&lab).as_str(), &lab.status("lib")["loader_follows"]), ("a base 1 1", &json!(true)));
    let confirmed = lab.json("confirm --cmdline cmdline");
    assert_eq!(confirmed["events"][0]["event"], "confirm");
    assert_eq!(confirmed["projected"][0]["component"], "lib");
    assert_eq!(confirmed["not_projected"], json!([]));
    assert_eq!(block(&lab), "a base  1");

    lab.ok("rollback lib").says(&["lib: rolled back", "grubenv follows"]);
    assert_eq!(block(&lab), "base base  2");
    let installed = lab.json("install b.siding --trust maker.pub --switch --no-trial");
    assert_eq!(
        (&installed["switched"], &installed["projected"][0]["component"]),
        (&json!(true), &json!("lib"))
    );
    let active = lab.status("lib")["active"].as_str().unwrap().to_owned();
    assert_eq!(block(&lab), format!("{active} base  3"));
    lab.ok("remove lib").says(&["grubenv follows"]);
    assert_eq!(block(&lab).split(' ').next(), Some("base"));
}

#[test]
fn a_command_is_told_and_runs_before_what_restarts() {
    let lab = Lab::device();
    list(&lab, &[command(&lab)]);
    lab.diff("old new-a -o r.siding --to '1.0 (a)' --restart hook");
    fs::create_dir_all(lab.path("store/restart.d")).unwrap();
    let hook = lab.path("store/restart.d/hook");
    fs::write(&hook, "#!/bin/sh\necho restarted >> told\n").unwrap();
    fs::set_permissions(&hook, Permissions::from_mode(0o755)).unwrap();
    lab.ok("install r.siding --trust maker.pub --switch --restart")
        .says(&["command sh follows", "restarted: hook"]);
    assert_eq!(lab.read("told"), b"lib a 3\nrestarted\n");
    lab.ok("boot");
    lab.ok("confirm");
    assert_eq!(lab.read("told"), b"lib a 3\nrestarted\nlib a 2\nlib a\n");
}

#[test]
fn what_cannot_follow_is_told_and_the_record_stands() {
    let lab = with_grub();
    fs::rename(lab.path("grubenv"), lab.path("aside")).unwrap();
    list(&lab, &[grub(&lab), command(&lab)]);
    lab.ok("install a.siding --trust maker.pub");
    let told =
        ["lib: switched", "grubenv does NOT follow: cannot read", "make it, or correct projections.toml"];
    lab.run("switch").ends_with(1).says(&told).says(&[
        "the record stands",
        "`siding project`",
        "command sh follows",
    ]);
    assert_eq!(
        (lab.status("lib")["active"].as_str(), lab.read("told").as_slice()),
        (Some("a"), &b"lib a 3\n"[..])
    );
    // The verb again tries again.
    let again = lab.run("switch --json").ends_with(1).json();
    assert_eq!((&again["events"], &again["not_projected"][0]["component"]), (&json!([]), &json!("lib")));
    lab.run("boot").ends_with(1).says(&["does NOT follow"]);
    fs::rename(lab.path("aside"), lab.path("grubenv")).unwrap();
    lab.ok("project").says(&["grubenv follows"]);
    assert_eq!(block(&lab), "a base 2 1");
}

#[test]
fn a_list_that_makes_no_sense_stops_what_is_new_and_never_what_goes_back() {
    let lab = Lab::device();
    lab.ok("install a.siding --trust maker.pub --switch");
    lab.write("store/projections.toml", b"[[projection]]\ncomponent = 'lib'\nkind = 'grab'\n");
    let wrong = ["projections.toml, line 3", "unknown kind \"grab\""];
    lab.run("project").ends_with(1).complains(&wrong);
    lab.run("boot").ends_with(1).says(&["lib: restart on trial", "nothing follows", wrong[0], wrong[1]]);
    lab.run("rollback").ends_with(1).says(&["lib: rolled back", wrong[0]]);
    lab.ok("install b.siding --trust maker.pub");
    lab.run("switch").ends_with(1).complains(&wrong);
    lab.run("install b.siding --trust maker.pub --switch").ends_with(1).complains(&wrong);
    lab.run("init other old --version 1").ends_with(1).complains(&wrong);
    assert_eq!(lab.status("lib")["active"], "base");
    lab.ok("status");
}

#[test]
fn a_loader_that_gave_a_trial_up_ends_it() {
    let lab = with_grub();
    lab.ok("install a.siding --trust maker.pub --switch --tries 1");
    loader(&lab, "base", Some(0));
    let gave_up = "the boot loader gave it up after 1 try and started slot base";
    lab.ok("boot --cmdline cmdline").says(&[
        "lib: fell back from 1.0 (a) to 1.0",
        gave_up,
        "grubenv follows",
    ]);
    assert_eq!(block(&lab), "base base  2");
}

#[test]
fn a_loader_that_has_not_heard_of_the_switch_is_told_and_nothing_is_judged_before_it_runs() {
    let lab = with_grub();
    lab.ok("project");
    let stale = lab.read("grubenv");
    lab.ok("install a.siding --trust maker.pub --switch");
    lab.write("cmdline", b"siding.lib=base\n");
    // The device has not restarted yet, then it does, and the power has cost what the loader was told.
    lab.run("status --cmdline cmdline")
        .says(&["running: slot base was started; restart to run 1.0 (a) in a"]);
    lab.write("grubenv", &stale);
    lab.ok("status --cmdline cmdline").says(&[
        "does not follow: grub ",
        "says slot base, back to base, turn 0; `siding project` makes it follow",
    ]);
    assert_eq!(lab.status("lib")["loader_follows"], json!(false));
    let started = lab.run("boot --cmdline cmdline --json").ends_with(4).json();
    assert_eq!(
        started["started_otherwise"],
        json!([{ "component": "lib", "started": "base", "active": "a" }])
    );
    assert_eq!(block(&lab), "a base 2 1");
    loader(&lab, "a", Some(1));
    lab.ok("boot --cmdline cmdline").says(&["(1 left after this one)"]).says_not(&["restart to run"]);
}

#[test]
fn boot_twice_in_a_start_that_had_not_heard_of_a_switch_leaves_the_trial_as_it_is() {
    let lab = with_grub();
    lab.ok("project");
    // The block cannot be written when it is switched, so the loader starts what it was told before.
    fs::rename(lab.path("grubenv"), lab.path("aside")).unwrap();
    lab.ok("install a.siding --trust maker.pub");
    lab.run("switch --tries 2").ends_with(1).says(&["lib: switched", "does NOT follow"]);
    fs::rename(lab.path("aside"), lab.path("grubenv")).unwrap();
    assert_eq!(block(&lab), "base base  0");
    lab.write("cmdline", b"siding.lib=base:0\n");
    lab.run("boot --cmdline cmdline").ends_with(4).says(&["restart to run it", "grubenv follows"]);
    assert_eq!(block(&lab), "a base 1 1");
    for _ in 0..3 {
        lab.run("boot --cmdline cmdline").ends_with(4).says(&["is counted already", "restart to run it"]);
    }
    // Nor where no note can be kept is it taken for a trial that was given up.
    let run = lab.path("run");
    fs::remove_dir_all(&run).unwrap();
    fs::write(&run, b"no directory").unwrap();
    lab.run("boot --cmdline cmdline")
        .ends_with(4)
        .says(&["lib: restart on trial", "(0 left after this one)"]);
    assert_eq!(
        (lab.status("lib")["active"].as_str(), lab.status("lib")["denied"][0].is_null()),
        (Some("a"), true)
    );
    assert_eq!(block(&lab), "a base 0 1");
}

#[test]
fn a_trial_that_runs_spends_one_try_a_start_where_the_loader_says_its_turn() {
    let lab = with_grub();
    lab.ok("install a.siding --trust maker.pub --switch --tries 2");
    loader(&lab, "a:1", Some(1));
    lab.ok("boot --cmdline cmdline").says(&["(1 left after this one)"]);
    lab.ok("boot --cmdline cmdline").says(&["this start of the device is counted already"]);
    // The next start: its kernel has another number, and what is in /run is gone.
    fs::remove_dir_all(lab.path("run")).unwrap();
    loader(&lab, "a:1", Some(0));
    lab.ok("boot --cmdline cmdline").says(&["(0 left after this one)"]);
    fs::remove_dir_all(lab.path("run")).unwrap();
    loader(&lab, "base:1", None);
    lab.ok("boot --cmdline cmdline").says(&["lib: fell back", "the boot loader gave it up after 2 tries"]);
    lab.ok("boot --cmdline cmdline").says(&["is counted already"]);
}

#[test]
fn what_does_not_run_yet_is_neither_confirmed_nor_rolled_back() {
    let lab = with_grub();
    lab.ok("install a.siding --trust maker.pub --switch");
    lab.write("cmdline", b"siding.lib=base\n");
    let waits = "lib: on trial, but another slot was started: restart to try it";
    lab.run("health --cmdline cmdline").ends_with(4).says(&[waits]);
    lab.run("confirm --cmdline cmdline").ends_with(4).says(&[waits]);
    assert_eq!(lab.status("lib")["trial"]["tries_left"], 3);
    lab.write("cmdline", b"siding.lib=a\n");
    lab.ok("confirm --cmdline cmdline").says(&["lib: confirmed 1.0 (a)"]);
    lab.run("boot --cmdline nowhere").ends_with(1).complains(&["cannot read nowhere"]);
}

#[test]
fn status_says_which_projections_agree_and_changes_none() {
    let lab = with_grub();
    list(&lab, &[grub(&lab), command(&lab)]);
    lab.ok("project");
    lab.ok("status").says_not(&["follow"]);
    let of = |lab: &Lab| lab.status("lib")["projections"].clone();
    let (agrees, known) = (of(&lab)[0].clone(), of(&lab)[1].clone());
    assert_eq!(
        (&agrees["agrees"], &agrees["says"], &agrees["why"]),
        (&json!(true), &json!(null), &json!(null))
    );
    assert_eq!((&known["agrees"], &known["why"]), (&json!(null), &json!("only the command itself knows")));

    let told = lab.read("grubenv");
    lab.ok("install a.siding --trust maker.pub --switch --tries 1");
    lab.write("grubenv", &told);
    lab.ok("status")
        .says(&["does not follow: grub ", "grubenv says slot base, back to base, turn 0; `siding project`"]);
    assert_eq!(
        (&of(&lab)[0]["agrees"], &of(&lab)[0]["says"]),
        (&json!(false), &json!("slot base, back to base, turn 0"))
    );
    assert_eq!(lab.read("grubenv"), told);

    list(&lab, &["component = 'lib'\nkind = 'grab'".to_owned()]);
    let status = lab.json("status");
    assert!(status["projections_unread"].as_str().unwrap().contains("unknown kind"), "{status}");
    assert_eq!(status["components"][0]["projections"], json!([]));
}

#[test]
fn a_check_that_fails_is_followed_too() {
    let lab = with_grub();
    lab.ok("install a.siding --trust maker.pub --switch");
    fs::create_dir_all(lab.path("store/health.d")).unwrap();
    lab.write("store/health.d/check", b"#!/bin/sh\nexit 1\n");
    fs::set_permissions(lab.path("store/health.d/check"), Permissions::from_mode(0o755)).unwrap();
    lab.run("health").ends_with(1).says(&["lib: fell back", "grubenv follows"]);
    assert_eq!(block(&lab), "base base  2");
}

#[test]
fn components_are_put_in_place_one_after_the_other() {
    let lab = Lab::device();
    let other = |name: &str| format!("component = '{name}'\nkind = 'command'\nrun = ['true']");
    list(&lab, &[other("lib"), other("one"), other("two")]);
    lab.ok("init one old --version 1").says(&["one: command true follows"]).says_not(&["two"]);
    lab.run("project")
        .ends_with(1)
        .says(&["two: command true does NOT follow", "has no component two; init it"]);
    let last = lab.json("init two old --version 1");
    assert_eq!((&last["events"][0]["event"], &last["not_projected"]), (&json!("init"), &json!([])));
    lab.ok("project");
}
