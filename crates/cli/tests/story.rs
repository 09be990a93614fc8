//! The story of a device, told by the real command: what it does, and that `status` says where it stands.
#![cfg(feature = "make")]

mod common;

use common::Lab;
use serde_json::json;

#[test]
fn a_patch_is_installed_switched_to_tried_and_confirmed() {
    let lab = Lab::device();
    lab.ok("status").says(&["lib 1.0  base, no patch in use", "next restart: goes on with 1.0 in base"]);

    lab.ok("install a.siding --trust maker.pub").says(&[
        "lib 1.0 (a) is in slot a",
        "read back and compared",
        "next: `siding switch lib`",
    ]);
    assert_eq!(lab.current("lib"), lab.read("old"), "an install alone changes nothing that runs");
    lab.ok("status").says(&[
        "lib 1.0  base, no patch in use",
        "sealed, ready to switch to",
        "next restart: goes on with 1.0 in base",
        "you can: `siding switch lib` to use 1.0 (a) in a",
    ]);

    lab.ok("switch").says(&["lib: switched from 1.0 to 1.0 (a) in slot a (on trial: 3 tries)"]);
    assert_eq!(lab.current("lib"), lab.read("new-a"));
    lab.ok("status").says(&[
        "lib 1.0 (a)  on trial: 3 of 3 tries left",
        "next restart: tries 1.0 (a) in a, 2 more after that; without `siding confirm lib` then back to 1.0 in base",
        "you can: `siding confirm lib` keeps it, `siding rollback lib` goes back to 1.0 in base",
    ]);

    lab.ok("boot").says(&["lib: restart on trial with 1.0 (a) (2 left after this one)"]);
    lab.ok("status").says(&["on trial: 2 of 3 tries left", "tries 1.0 (a) in a, 1 more after that"]);

    lab.ok("confirm").says(&["lib: confirmed 1.0 (a)"]);
    lab.ok("status").says(&[
        "lib 1.0 (a)  patched, confirmed",
        "next restart: goes on with 1.0 (a) in a",
        "you can: `siding remove lib` goes back to the base",
    ]);
    lab.ok("boot").says(&["nothing is on trial"]);
    lab.ok("confirm").says(&["nothing to confirm"]);
    assert_eq!(lab.current("lib"), lab.read("new-a"));
    assert_eq!(lab.events(), ["init", "stage", "seal", "switch", "try", "confirm"]);
}

#[test]
fn the_next_letter_starts_from_the_base_and_its_way_back_is_the_letter_before() {
    let lab = Lab::device();
    lab.ok("install a.siding --trust maker.pub --switch --no-trial").says(&["active"]);
    lab.ok("install b.siding --trust maker.pub --switch --tries 1")
        .says(&["1.0 (b) is in slot b", "on trial"]);
    lab.ok("status").says(&[
        "lib 1.0 (b)  on trial: 1 of 1 tries left",
        "tries 1.0 (b) in b, 0 more after that; without `siding confirm lib` then back to 1.0 (a) in a",
    ]);
    lab.ok("rollback").says(&["rolled back from 1.0 (b) to 1.0 (a) in slot a (asked for by hand)"]);
    assert_eq!(lab.current("lib"), lab.read("new-a"));
    lab.ok("status").says(&["lib 1.0 (a)  patched, confirmed", "denied: was rolled back"]);
}

#[test]
fn during_a_trial_the_way_back_is_called_previous() {
    let lab = Lab::device();
    lab.ok("install a.siding --trust maker.pub --switch --no-trial");
    lab.ok("install b.siding --trust maker.pub --switch");
    lab.ok("status").says(&["previous"]).says_not(&["ready to switch to"]);
    assert_eq!(lab.status("lib")["ready"], json!(null));
}

#[test]
fn a_switch_without_names_never_goes_back_to_an_older_version() {
    let lab = Lab::device();
    lab.ok("install a.siding --trust maker.pub --switch --no-trial");
    lab.ok("install b.siding --trust maker.pub --switch");
    lab.ok("confirm");
    lab.ok("status").says(&["`siding remove lib` goes back to the base"]).says_not(&["`siding switch lib`"]);
    lab.ok("switch").says(&["lib runs 1.0 (b) already"]);
    lab.ok("switch lib").says(&["lib runs 1.0 (b) already"]);
    assert_eq!(lab.current("lib"), lab.read("new-b"));
}

#[test]
fn a_tree_goes_the_same_way_as_a_file() {
    let lab = Lab::tree_device();
    let current = || common::tree::facts(&lab.path("store/current/lib").canonicalize().unwrap());
    let [old, a, b] = ["old", "new-a", "new-b"].map(|name| common::tree::facts(&lab.path(name)));
    assert_eq!(current(), old);
    lab.ok("install a.siding --trust maker.pub");
    assert_eq!(current(), old);
    lab.ok("switch");
    assert_eq!(current(), a);
    lab.ok("confirm");
    lab.ok("install b.siding --trust maker.pub --switch");
    assert_eq!(current(), b);
    lab.ok("rollback --reason 'worse than before'");
    assert_eq!(current(), a);
    lab.ok("remove lib");
    assert_eq!(current(), old);
}

#[test]
fn a_rollback_keeps_its_reason_where_people_and_programs_look() {
    let lab = Lab::device();
    lab.ok("install a.siding --trust maker.pub --switch");
    lab.ok("rollback --reason 'handshakes fail: 3 of 5'")
        .says(&["lib: rolled back from 1.0 (a) to 1.0 in slot base (handshakes fail: 3 of 5)"]);
    assert_eq!(lab.current("lib"), lab.read("old"));
    lab.ok("status").says(&[
        "lib 1.0  base, no patch in use",
        "denied: was rolled back",
        "rolled back: left 1.0 (a) on 2",
        ": handshakes fail: 3 of 5",
        "next restart: goes on with 1.0 in base",
    ]);
    let status = lab.status("lib");
    assert_eq!(status["last_rollback"]["version"], "1.0 (a)");
    assert_eq!(status["last_rollback"]["reason"], "handshakes fail: 3 of 5");
    assert_eq!(status["denied"][0]["reason"], "handshakes fail: 3 of 5");
    assert_eq!(status["slots"]["a"]["denied"], true);
    assert_eq!(status["ready"], json!(null));
    assert_eq!(status["next_restart"], json!({ "does": "continues", "slot": "base" }));
    lab.ok("log").says(&["rolled back from 1.0 (a) to 1.0 in slot base (handshakes fail: 3 of 5)"]);
    let log = lab.json("log -n 1");
    assert_eq!(log["entries"].as_array().unwrap().len(), 1);
    assert_eq!(log["entries"][0]["event"], "rollback");
    assert_eq!(log["entries"][0]["reason"], "handshakes fail: 3 of 5");
}

#[test]
fn a_denied_image_is_refused_wherever_it_lies_until_it_is_to_be_tried_again() {
    let lab = Lab::device();
    lab.ok("install a.siding --trust maker.pub --switch");
    lab.ok("rollback --reason 'it hangs'");
    let denied = &["lib 1.0 (a)", "was rolled back on", "it hangs", "offer a different image"];

    // It still lies sealed in its slot.
    lab.run("install a.siding --trust maker.pub").ends_with(3).complains(denied);
    lab.run("install a.siding --trust maker.pub --switch").ends_with(3).complains(denied);
    lab.run("switch lib").ends_with(3).complains(denied);
    lab.ok("switch").says(&["lib runs 1.0 already"]);

    // And when it has left no trace but its denial.
    lab.ok("vacuum").says(&["slot emptied in slot a, which held 1.0 (a)", "freed"]);
    lab.run("install a.siding --trust maker.pub").ends_with(3).complains(denied);
    assert_eq!(lab.current("lib"), lab.read("old"));

    // Another image is welcome, and does not lift the denial.
    lab.ok("install b.siding --trust maker.pub");
    lab.run("install a.siding --trust maker.pub").ends_with(3).complains(denied);

    lab.ok("install a.siding --trust maker.pub --retry-denied --switch").says(&["active, on trial"]);
    assert_eq!(lab.current("lib"), lab.read("new-a"));
    lab.ok("log").says(&["denial of 1.0 (a) lifted (it hangs)"]);
    lab.ok("confirm");
    assert_eq!(lab.status("lib")["denied"], json!([]));
}

#[test]
fn a_denied_image_that_is_still_in_its_slot_may_be_tried_again() {
    let lab = Lab::device();
    lab.ok("install a.siding --trust maker.pub --switch");
    lab.ok("rollback");
    lab.ok("install a.siding --trust maker.pub --retry-denied --switch")
        .says(&["was there already; its bytes were checked", "active, on trial"]);
    assert_eq!(lab.current("lib"), lab.read("new-a"));
}

#[test]
fn what_was_removed_is_installed_again_without_being_rebuilt() {
    let lab = Lab::device();
    lab.ok("install a.siding --trust maker.pub --switch --no-trial");
    lab.ok("remove lib").says(&["lib: removed 1.0 (a); back to 1.0 in slot base"]);
    assert_eq!(lab.current("lib"), lab.read("old"));
    lab.ok("status").says(&["lib 1.0  base, no patch in use", "`siding switch lib` to use 1.0 (a) in a"]);
    lab.ok("remove lib").says(&["the base is active already; nothing to remove"]);
    lab.ok("install a.siding --trust maker.pub").says(&["was there already; its bytes were checked"]);
    lab.ok("switch lib");
    assert_eq!(lab.current("lib"), lab.read("new-a"));
    lab.ok("install a.siding --trust maker.pub").says(&["is active already; nothing to do"]);
}

#[test]
fn a_trial_ends_when_its_tries_are_used_up() {
    let lab = Lab::device();
    lab.ok("install a.siding --trust maker.pub");
    lab.ok("switch --tries 2").says(&["(on trial: 2 tries)"]);
    lab.ok("boot").says(&["1 left after this one"]);
    lab.ok("boot").says(&["0 left after this one"]);
    assert_eq!(lab.current("lib"), lab.read("new-a"));
    lab.ok("status")
        .says(&["0 of 2 tries left", "next restart: goes back to 1.0 in base: 2 tries were used up"]);
    assert_eq!(lab.status("lib")["next_restart"]["does"], "falls-back");
    lab.ok("boot")
        .says(&["lib: fell back from 1.0 (a) to 1.0 in slot base (2 tries were used up without a confirm)"]);
    assert_eq!(lab.current("lib"), lab.read("old"));
    lab.ok("status").says(&[
        "left 1.0 (a)",
        "2 tries were used up",
        "next restart: goes on with 1.0 in base",
    ]);
    lab.run("install a.siding --trust maker.pub").ends_with(3).complains(&["2 tries were used up"]);
}

#[test]
fn a_trial_ends_at_its_deadline() {
    let lab = Lab::device();
    lab.ok("install a.siding --trust maker.pub --switch --deadline 0");
    lab.ok("status").says(&["next restart: goes back to 1.0 in base: the deadline passed without a confirm"]);
    lab.ok("boot").says(&["fell back from 1.0 (a) to 1.0", "the deadline passed"]);
    assert_eq!(lab.current("lib"), lab.read("old"));

    lab.ok("install b.siding --trust maker.pub --switch --deadline 3600");
    lab.ok("status").says(&["3 of 3 tries left, until 2", "next restart: tries 1.0 (b)"]);
    assert!(lab.status("lib")["trial"]["deadline"].as_u64().unwrap() > 1_700_000_000);
    // A confirm in time counts, even of a trial that would have fallen back at the next restart.
    lab.ok("confirm");
    lab.ok("boot").says(&["nothing is on trial"]);
}

#[test]
fn several_components_are_switched_in_one_go() {
    let lab = Lab::device();
    lab.ok("init doc old --version 1.0");
    lab.ok("init tool old --version 1.0");
    lab.diff("old new-b -o doc.siding --component doc --to '1.0 (a)'");
    lab.diff("old new-b -o tool.siding --component tool --to '1.0 (a)'");
    for patch in ["a", "doc", "tool"] {
        lab.ok(&format!("install {patch}.siding --trust maker.pub"));
    }
    // One that cannot be switched keeps all of them where they are.
    lab.run("switch lib nothing").ends_with(3).complains(&["there is no component nothing"]);
    lab.run("switch lib lib").ends_with(2).complains(&["named twice"]);
    assert_eq!(lab.current("lib"), lab.read("old"));

    lab.ok("switch lib doc").says(&["lib: switched", "doc: switched"]).says_not(&["tool: switched"]);
    assert_eq!(lab.current("lib"), lab.read("new-a"));
    assert_eq!(lab.current("doc"), lab.read("new-b"));
    assert_eq!(lab.current("tool"), lab.read("old"));
    lab.ok("status").says(&[
        "doc 1.0 (a)  on trial",
        "lib 1.0 (a)  on trial",
        "tool 1.0  base, no patch in use",
    ]);
    lab.ok("status tool").says_not(&["lib 1.0"]);

    lab.ok("switch").says(&["tool: switched"]).says_not(&["lib: switched"]);
    lab.ok("confirm lib");
    lab.ok("rollback").says(&["doc: rolled back", "tool: rolled back"]);
    assert_eq!(lab.current("lib"), lab.read("new-a"));
    assert_eq!(lab.current("doc"), lab.read("old"));
    lab.ok("log doc").says(&["doc: rolled back"]).says_not(&["tool:", "lib:"]);
}

#[test]
fn a_patch_comes_through_a_pipe() {
    let lab = Lab::device();
    lab.piped("install - --trust maker.pub --switch", &lab.read("a.siding"))
        .ends_with(0)
        .says(&["active, on trial"]);
    assert_eq!(lab.current("lib"), lab.read("new-a"));
}

#[test]
fn a_switch_says_what_must_restart_in_words_and_in_its_exit_code() {
    let lab = Lab::device();
    lab.diff("old new-b -o restart.siding --to '1.0 (c)' --restart nginx --restart reboot");
    lab.ok("install restart.siding --trust maker.pub").says_not(&["to use it, restart"]);
    lab.run("switch").ends_with(4).says(&["to use it, restart: nginx, reboot"]);
    assert_eq!(lab.current("lib"), lab.read("new-b"));
    lab.run("rollback").ends_with(4);
    lab.run("install restart.siding --trust maker.pub --retry-denied --switch")
        .ends_with(4)
        .says(&["to use it, restart: nginx, reboot"]);
    assert_eq!(lab.status("lib")["slots"]["a"]["restart"], json!(["nginx", "reboot"]));
}

#[test]
fn two_stores_know_nothing_of_each_other() {
    let lab = Lab::device();
    lab.ok("init lib old --version 1.0 --store second");
    lab.ok("install a.siding --trust maker.pub --switch --store second");
    lab.ok("status").says(&["lib 1.0  base, no patch in use"]).says_not(&["(a)"]);
    lab.ok("status --store second").says(&["lib 1.0 (a)  on trial"]);
    lab.ok("rollback --store second --reason 'bad here'");
    // What one denies, the other may take.
    lab.ok("install a.siding --trust maker.pub --switch --no-trial");
    assert_eq!(lab.current("lib"), lab.read("new-a"));
    assert_eq!(lab.read("second/current/lib"), lab.read("old"));
}

#[test]
fn the_steps_that_make_no_sense_are_refused_with_what_to_do() {
    let lab = Lab::device();
    lab.run("switch lib").ends_with(3).complains(&["install a patch first"]);
    lab.run("rollback lib").ends_with(3).complains(&["runs its base", "nothing before that"]);
    lab.run("rollback").ends_with(3).complains(&["nothing is on trial"]);
    lab.run("remove nothing").ends_with(3).complains(&["no component nothing"]);
    lab.run("status nothing").ends_with(3).complains(&["no component nothing", "it has: lib"]);
    lab.run("init lib new-a --version 2.0").ends_with(3).complains(&["has a base already"]);
    lab.ok("install a.siding --trust maker.pub --switch");
    lab.run("install b.siding --trust maker.pub")
        .ends_with(3)
        .complains(&["on trial with 1.0 (a)", "confirm it or roll it back"]);
    assert_eq!(lab.current("lib"), lab.read("new-a"));
}

#[test]
fn the_same_image_under_another_manifest_is_recorded_as_that_says() {
    let lab = Lab::device();
    lab.ok("install a.siding --trust maker.pub --switch");
    lab.ok("rollback");
    lab.ok("diff old new-a -o again.siding --key maker.key --component lib --from 1.0 --to '1.0 (z)' --epoch 7 --restart web");
    lab.run("install again.siding --trust maker.pub").ends_with(3).complains(&["--retry-denied"]);
    lab.run("install again.siding --trust maker.pub --retry-denied --switch")
        .ends_with(4)
        .says(&["1.0 (z)", "web"]);
    lab.ok("confirm");
    assert_eq!(lab.status("lib")["version"], "1.0 (z)");
    assert_eq!(lab.status("lib")["epoch_floor"], 7);
}

#[test]
fn a_reason_cannot_drive_the_terminal() {
    let lab = Lab::device();
    lab.ok("install a.siding --trust maker.pub --switch");
    lab.ok("rollback --reason 'red \u{1b}[31m and\nmore'").says(&["red \\u{1b}[31m and\\nmore"]);
    for verb in ["status", "log"] {
        lab.ok(verb).says(&["red \\u{1b}[31m and\\nmore"]).says_not(&["\u{1b}"]);
    }
}

#[test]
fn terms_of_a_trial_that_mean_nothing_are_usage_errors() {
    let lab = Lab::device();
    for terms in ["--tries 2", "--deadline 60", "--no-trial"] {
        let line = format!("install a.siding --trust maker.pub {terms}");
        lab.run(&line).ends_with(2).complains(&["--switch, which is not given"]);
    }
    lab.run("switch --tries 0").ends_with(2);
    lab.run("status --threads 100000").ends_with(2);
    lab.run("rollback --reason ''").ends_with(2);
}

#[test]
fn a_pipe_needs_no_more_words_once_the_device_knows_whom_to_trust() {
    let lab = Lab::device();
    let patch = lab.read("a.siding");
    lab.piped("install -", &patch).ends_with(2).complains(&["nobody is trusted yet", "store/trust"]);
    std::fs::create_dir(lab.path("store/trust")).unwrap();
    std::fs::copy(lab.path("maker.pub"), lab.path("store/trust/maker.pub")).unwrap();
    lab.piped("install -", &patch).ends_with(0).says(&["lib 1.0 (a) is in slot a"]);
}
