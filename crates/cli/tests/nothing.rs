//! Whole images: patches from nothing, which any device can install.
#![cfg(feature = "make")]

mod common;

use common::{Lab, tree};

#[test]
fn a_whole_file_is_a_patch_from_nothing_for_any_device() {
    let lab = Lab::device();
    lab.diff("/dev/null new-b -o whole.siding --from 0 --to '1.0 (b)'");
    lab.ok("verify whole.siding --trust maker.pub --source /dev/null --target new-b");
    lab.ok("apply whole.siding /dev/null out --trust maker.pub");
    assert_eq!(lab.read("out"), lab.read("new-b"));

    // It asks for no image that the device would have to have, and says what it would take.
    lab.ok("install a.siding --trust maker.pub --switch --no-trial");
    let plan = lab.json("plan whole.siding --trust maker.pub");
    assert_eq!((&plan["slot"], &plan["source"]), (&"b".into(), &serde_json::Value::Null), "{plan}");
    assert_eq!(plan["fresh"], lab.read("new-b").len(), "{plan}");
    lab.ok("install whole.siding --trust maker.pub --switch");
    assert_eq!(lab.current("lib"), lab.read("new-b"));
    lab.ok("rollback lib --reason 'a test'");
    assert_eq!(lab.current("lib"), lab.read("new-a"));
    lab.run("install whole.siding --trust maker.pub").ends_with(3).complains(&["rolled back"]);
}

#[test]
fn a_whole_tree_is_a_patch_from_nothing_with_all_its_metadata() {
    let lab = Lab::tree_device();
    lab.diff("/dev/null new-b -o whole.siding --from 0 --to '1.0 (b)'");
    lab.ok("apply whole.siding /dev/null out --trust maker.pub");
    assert_eq!(tree::facts(&lab.path("out")), tree::facts(&lab.path("new-b")));
    lab.ok("install whole.siding --trust maker.pub --switch");
    assert_eq!(tree::facts(&lab.path("store/current/lib/")), tree::facts(&lab.path("new-b")));
}

/// The patch from one image does not pass for the patch from nothing, nor the other way round.
#[test]
fn nothing_is_one_image_among_others() {
    let lab = Lab::device();
    lab.diff("/dev/null new-a -o whole.siding --from 0 --to '1.0 (a)'");
    lab.run("apply whole.siding old out --trust maker.pub").ends_with(3).complains(&["another image"]);
    lab.run("apply a.siding /dev/null out --trust maker.pub").ends_with(3).complains(&["another image"]);
    lab.write("empty", b"");
    lab.ok("apply whole.siding empty out --trust maker.pub");
    assert_eq!(lab.read("out"), lab.read("new-a"));
}
