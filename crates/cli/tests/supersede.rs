//! A base that is superseded: what was patched on the old one goes, patches of the new one come, and everything follows.
#![cfg(feature = "make")]

mod common;

use common::Lab;
use serde_json::json;
use std::fs;

/// A device on trial with a patch of base 1.0, and another base with a patch of its own.
fn device(lab: Lab) -> Lab {
    lab.diff("new-b new-a -o next.siding --from 2.0 --to '2.0 (a)'");
    lab.ok("install a.siding --trust maker.pub --switch");
    lab
}

#[test]
fn a_new_base_takes_the_place_of_the_old_one_and_of_its_patches() {
    let lab = device(Lab::device());
    lab.run("init lib new-b --version 2.0").ends_with(3).complains(&["has a base already", "--replace"]);
    assert_eq!(lab.status("lib")["version"], "1.0 (a)");

    lab.ok("init lib new-b --version 2.0 --replace").says(&[
        "lib: base 2.0 in place of 1.0 (a), and of all that was patched on the base before",
        "(the trial ends with its base)",
        "needs a restart",
    ]);
    assert_eq!(lab.current("lib"), lab.read("new-b"));
    let status = lab.status("lib");
    assert_eq!((&status["active"], &status["version"]), (&json!("base"), &json!("2.0")));
    assert_eq!((&status["trial"], &status["previous"]), (&json!(null), &json!(null)));
    assert_eq!(
        (&status["slots"]["a"], &status["slots"]["b"]["state"]),
        (&json!({ "state": "empty" }), &json!("empty"))
    );
    assert_eq!(lab.names("store/components/lib"), ["base.1"]);
    lab.ok("status").says(&["lib 2.0  base, no patch in use", "goes on with 2.0 in base"]);
    lab.ok("boot").says(&["nothing is on trial"]);
    lab.ok("log -n 1").says(&["lib: base 2.0 in place of 1.0 (a)"]);
    assert_eq!(lab.events(), ["init", "stage", "seal", "switch", "supersede"]);
    lab.ok("verify --slot lib");

    lab.run("install a.siding --trust maker.pub").ends_with(3).complains(&["1.0"]);
    lab.ok("install next.siding --trust maker.pub --switch --no-trial").says(&["2.0 (a) is in slot a"]);
    assert_eq!(lab.current("lib"), lab.read("new-a"));
    lab.ok("remove lib").says(&["lib: removed 2.0 (a); back to 2.0 in slot base"]);
    assert_eq!(lab.current("lib"), lab.read("new-b"));
}

#[test]
fn what_cannot_supersede_a_base_says_what_to_do_and_changes_nothing() {
    let lab = device(Lab::device());
    let before = lab.status("lib");
    lab.run("init lib new-b --version 2.0 --replace --slot a=/dev/null --slot b=/dev/zero").ends_with(2);
    lab.run("init lib new-b --version 2.0 --retry-denied").ends_with(2).complains(&["--replace"]);
    lab.run("init other new-b --version 2.0 --replace")
        .ends_with(3)
        .complains(&["no component other", "siding init other"]);
    lab.run("init lib new-b --version 2.0 --replace --store nowhere")
        .ends_with(3)
        .complains(&["no store at"]);
    assert!(!lab.path("nowhere").exists());
    lab.ok("init lib old --version 3.0 --replace").says(&["1.0 [", "is the base of lib already"]);
    assert_eq!(lab.status("lib"), before);
    assert_eq!(lab.json("init lib old --version 3.0 --replace"), json!([]));

    lab.ok("rollback");
    lab.run("init lib new-a --version 2.0 --replace")
        .ends_with(3)
        .complains(&["was rolled back", "--retry-denied"]);
    lab.ok("init lib new-a --version 2.0 --replace --retry-denied --epoch 7");
    let low = lab.run("init lib new-b --version 3.0 --replace --epoch 6");
    low.ends_with(5).complains(&["security epoch 6", "confirmed epoch 7"]);
    let told = lab.json("init lib new-b --version 1.9 --replace --epoch 7");
    assert_eq!(
        (&told[0]["event"], &told[0]["from"], &told[0]["to"]),
        (&json!("supersede"), &json!("2.0"), &json!("1.9"))
    );
    assert_eq!(told[0]["reason"], "not newer than base 2.0");
}

#[test]
fn projections_follow_before_the_old_files_go() {
    let lab = device(Lab::tree_device());
    // The image before must still be there when its users are told of the new one.
    let told = lab.path("told");
    let old = lab.path("store/components/lib/a/image").display().to_string();
    let line =
        format!("echo $SIDING_SLOT $SIDING_TURN $(ls {old} | head -1) $SIDING_IMAGE > {}", told.display());
    let run = format!("[[projection]]\ncomponent = 'lib'\nkind = 'command'\nrun = ['sh', '-c', '{line}']\n");
    let first = fs::read_dir(&old).unwrap().count();
    assert!(first > 0);
    lab.write("store/projections.toml", run.as_bytes());
    lab.ok("init lib new-b --version 2.0 --replace").says(&["lib: base 2.0", "command sh follows"]);
    let text = String::from_utf8(lab.read("told")).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!((words[0], words[1], words.len()), ("base", "2", 4), "{text}");
    assert!(words[3].ends_with("store/components/lib/base.1/image"), "{text}");
    assert_eq!(lab.names("store/components/lib"), ["base.1"]);
    let facts = |path: &str| common::tree::facts(&lab.path(path).canonicalize().unwrap());
    assert_eq!(facts("store/current/lib"), facts("new-b"));
}
