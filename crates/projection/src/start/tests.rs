use super::*;
use siding_slot::{Store, TrialTerms};

/// A store with components `rootfs` and `app`, of which these are on trial.
fn state(dir: &Path, trials: &[&str]) -> State {
    use siding_image::{Content, FileRef, Sink};
    let image = dir.join("image");
    std::fs::write(&image, b"old").expect("an image");
    let mut store = Store::create(&dir.join("store")).expect("a store");
    for name in ["rootfs", "app"] {
        let component = name.parse().expect("a name");
        store.init(&component, &"1".parse().expect("a version"), 1, &image, 0).expect("a base");
        if trials.contains(&name) {
            let file = FileRef { size: 3, digest: verity::digest(b"new") };
            let content = Content::File(file);
            let target = siding_slot::Target::new("1 (a)".parse().expect("a version"), content.identity(), 1);
            let mut staging = store.stage(&component, &target, false, 0).expect("a stage");
            staging.begin(&content, &[file]).expect("a beginning");
            staging.write_at(0, 0, b"new").expect("bytes");
            let terms = TrialTerms { tries: 2, deadline: None };
            staging.seal(None).expect("a seal").switch(Some(terms), 0).expect("a switch");
        }
    }
    store.state().clone()
}

#[test]
fn a_start_is_counted_once_it_is_noted_by_this_kernel_for_this_store() {
    let dir = tempfile::tempdir().expect("a directory");
    let (state, notes) = (state(dir.path(), &["rootfs"]), dir.path().join("run/siding"));
    let start = |store: &str, id: &str| Start::of(&dir.path().join(store), &notes, id.into());
    let cmdline = "siding.rootfs=base:0";
    assert!(!start("store", "1").is_counted(&state, cmdline));
    start("store", "1").note(&state, cmdline).expect("a note");
    assert!(start("store", "1").is_counted(&state, cmdline));
    assert!(!start("store", "2").is_counted(&state, cmdline), "another start");
    assert!(!start("run", "1").is_counted(&state, cmdline), "another store");
}

#[test]
fn without_a_turn_each_call_is_a_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let (one, notes) = (state(dir.path(), &["rootfs"]), dir.path().join("run"));
    let start = Start::of(&dir.path().join("store"), &notes, b"1".into());
    start.note(&one, "siding.rootfs=base siding.other=a:1").expect("nothing to note");
    assert!(!notes.exists());
    start.note(&one, "siding.app=base:0").expect("a note");
    assert!(!start.is_counted(&one, "siding.app=base:0 siding.rootfs=base"));
    assert!(start.is_counted(&one, "siding.rootfs=base:0"));
}

#[test]
fn a_trial_without_a_loader_is_counted_with_every_call() {
    let dir = tempfile::tempdir().expect("a directory");
    let (both, notes) = (state(dir.path(), &["rootfs", "app"]), dir.path().join("run"));
    let start = Start::of(&dir.path().join("store"), &notes, b"1".into());
    start.note(&both, "siding.rootfs=base:0").expect("a note");
    assert!(!start.is_counted(&both, "siding.rootfs=base:0"));
}
