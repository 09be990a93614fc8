//! `siding verify --slot`, and the look at an image before it is switched to: damage is named with what to do.
#![cfg(feature = "make")]

mod common;

use common::Lab;
use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

/// Flips a byte of a sealed file, as a medium that rots would.
fn damage(path: &Path) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 1000).unwrap();
    file.write_all_at(&[!byte[0]], 1000).unwrap();
    file.set_modified(modified).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o444)).unwrap();
}

fn image(lab: &Lab, slot: &str) -> std::path::PathBuf {
    lab.path(format!("store/components/lib/{slot}/image"))
}

#[test]
fn sealed_slots_are_what_their_seals_say_until_they_rot() {
    let lab = Lab::device();
    lab.ok("install a.siding --trust maker.pub");
    lab.ok("verify --slot lib").says(&["ok lib 1.0 in slot base", "ok lib 1.0 (a) in slot a", "as sealed"]);
    lab.ok("verify --slot all --condemn").says(&["ok lib 1.0 (a) in slot a"]);
    lab.ok("verify --slot lib:base").says_not(&["slot a"]);
    lab.run("verify --slot lib:b").ends_with(3).complains(&["slot b of lib holds no sealed image"]);
    lab.run("verify --slot nothing").ends_with(3).complains(&["there is no component nothing"]);
    lab.run("verify --slot lib:c").ends_with(2).complains(&["a slot is base, a or b"]);
    lab.run("verify --condemn a.siding").ends_with(2);
    lab.run("verify a.siding --slot lib").ends_with(2);

    damage(&image(&lab, "a"));
    lab.run("verify --slot all").ends_with(6).says(&[
        "ok lib 1.0 in slot base",
        "damaged lib 1.0 (a) in slot a",
        "components/lib/a/image has changed",
        "install its patch again",
    ]);
    let json = lab.run("verify --slot lib:a --json").ends_with(6).json();
    assert_eq!((&json["ok"], &json["slots"][0]["ok"]), (&false.into(), &false.into()));
    assert!(json["slots"][0]["file"].as_str().unwrap().ends_with("lib/a/image"), "{json}");

    lab.run("verify --slot lib --condemn").ends_with(6).says(&["the slot was emptied"]);
    assert_eq!(lab.status("lib")["slots"]["a"]["state"], "empty");
    lab.ok("verify --slot lib");
    lab.ok("log").says(&["slot emptied in slot a, which held 1.0 (a) (its image is damaged"]);
}

#[test]
fn a_damaged_image_that_is_in_use_is_never_condemned_and_its_way_out_is_told() {
    let lab = Lab::device();
    lab.ok("install a.siding --trust maker.pub --switch --no-trial");
    damage(&image(&lab, "a"));
    lab.run("verify --slot lib --condemn").ends_with(6).says(&[
        "it is in use",
        "`siding remove lib` goes back to the base",
        "`siding rollback lib` to 1.0 in base",
    ]);
    lab.ok("remove lib");
    lab.ok("install a.siding --trust maker.pub --switch").says(&["written, flushed, read back and compared"]);
    lab.ok("verify --slot lib");
}

#[test]
fn an_entry_of_a_tree_is_named_whatever_of_it_changed() {
    let lab = Lab::tree_device();
    lab.ok("install a.siding --trust maker.pub");
    lab.ok("verify --slot lib");
    let root = image(&lab, "a");
    let tree = siding_image::scan(&root).unwrap();
    let (path, _) = tree.files().find(|(_, file)| file.size > 0).unwrap();
    let name = String::from_utf8(path.to_vec()).unwrap();
    let mode = fs::metadata(root.join(&name)).unwrap().permissions();
    fs::set_permissions(root.join(&name), Permissions::from_mode(0o600)).unwrap();
    lab.run("verify --slot lib:a").ends_with(6).says(&[&name, "has another mode"]);
    fs::set_permissions(root.join(&name), mode).unwrap();
    lab.ok("verify --slot lib:a");
    fs::write(root.join("stray"), "").unwrap();
    lab.run("verify --slot lib:a").ends_with(6).says(&["stray", "does not belong there"]);
    fs::remove_file(root.join("stray")).unwrap();
    fs::remove_file(root.join(&name)).unwrap();
    lab.run("verify --slot lib:a").ends_with(6).says(&[&name, "is missing"]);
}

#[test]
fn a_damaged_image_is_not_switched_to_unless_nobody_looks() {
    let lab = Lab::device();
    lab.ok("install a.siding --trust maker.pub");
    damage(&image(&lab, "a"));
    lab.run("switch").ends_with(6).complains(&[
        "lib 1.0 (a) in slot a is damaged",
        "components/lib/a/image has changed",
        "nothing was switched",
        "install its patch again",
    ]);
    assert_eq!(lab.current("lib"), lab.read("old"));
    lab.run("install a.siding --trust maker.pub --no-check").ends_with(2).complains(&["--switch"]);
    lab.ok("install a.siding --trust maker.pub --switch --no-check").says(&["its bytes were not checked"]);
    lab.ok("remove lib");
    lab.ok("switch lib --no-check");
    lab.ok("remove lib");
    lab.ok("install a.siding --trust maker.pub --switch");
    assert_eq!(lab.current("lib"), lab.read("new-a"));
}

#[test]
fn switching_twice_is_switching_once() {
    let lab = Lab::device();
    lab.ok("switch").says(&["lib runs 1.0 already"]);
    lab.ok("install a.siding --trust maker.pub");
    lab.ok("switch lib").says(&["lib: switched"]);
    lab.ok("switch lib").says(&["lib runs 1.0 (a) already, on trial"]);
    lab.ok("switch").says(&["lib runs 1.0 (a) already, on trial"]);
    lab.ok("confirm");
    assert_eq!(lab.json("switch lib"), serde_json::json!([]));
    assert_eq!(lab.events(), ["init", "stage", "seal", "switch", "confirm"]);
}

#[test]
fn a_damaged_base_is_put_in_place_anew_by_its_own_image() {
    let lab = Lab::device();
    lab.ok("install a.siding --trust maker.pub --switch --no-trial");
    lab.ok("init lib old --version 1.0 --replace").says(&["already, and whole; nothing to do"]);
    damage(&image(&lab, "base"));
    lab.run("verify --slot lib")
        .ends_with(6)
        .says(&["`siding init lib IMAGE --version '1.0' --replace`"])
        .says_not(&["siding switch"]);
    lab.ok("init lib old --version 1.0 --replace").says(&["lib: base 1.0 put in place anew"]);
    lab.ok("verify --slot lib").says(&["ok lib 1.0 in slot base", "ok lib 1.0 (a) in slot a"]);
    assert_eq!(lab.current("lib"), lab.read("new-a"), "the patch stays in use");
    lab.ok("remove lib");
    assert_eq!(lab.current("lib"), lab.read("old"));
    // Gone altogether, and in use; what could be used instead is named.
    let base = lab.path("store/components/lib/base.1");
    common::clear(&base);
    lab.run("verify --slot lib").ends_with(6).says(&["until then `siding switch lib`"]);
    lab.ok("init lib old --version 1.0 --replace").says(&["put in place anew", "needs a restart"]);
    assert_eq!(lab.current("lib"), lab.read("old"));
}
