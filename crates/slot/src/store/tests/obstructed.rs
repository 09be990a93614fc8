//! Stores in which something is in the way, or gone: what can be done is done, and the rest is told.

use super::*;
use crate::sim::SimDisk;
use std::os::unix::fs::PermissionsExt;

/// Two components on trial with one try.
fn on_trial(yard: &Yard) -> Store {
    let mut store = yard.store();
    store.init(&name("d"), &version("1"), 1, &yard.at("old"), NOW).unwrap();
    for component in ["c", "d"] {
        yard.stage(&mut store, component, "new", "1 (a)").unwrap();
    }
    store.switch(&[name("c"), name("d")], trial(1), NOW).unwrap();
    store
}

/// The troubles: of whom, and whether they name this file.
#[track_caller]
fn has_troubles(store: &Store, expected: &[(Option<&str>, &str)]) {
    let troubles = store.troubles();
    assert_eq!(troubles.len(), expected.len(), "{troubles:?}");
    for (trouble, (component, file)) in troubles.iter().zip(expected) {
        assert_eq!(trouble.component.as_ref().map(Component::as_str), *component, "{troubles:?}");
        assert!(trouble.what.contains(file), "{troubles:?}");
    }
}

#[test]
fn a_directory_where_a_link_should_be_holds_up_no_fall_back_and_no_other_link() {
    let yard = Yard::new();
    drop(on_trial(&yard));
    let link = yard.root().join("current/c");
    fs::remove_file(&link).unwrap();
    fs::create_dir_all(link.join("inside")).unwrap();
    open(&yard).unwrap().boot(NOW).unwrap();
    let mut store = open(&yard).unwrap();
    assert_eq!(store.boot(NOW).unwrap().len(), 2, "both fall back");
    has_troubles(&store, &[(Some("c"), "current/c")]);
    assert_eq!((active(&store, "c"), active(&store, "d")), (Slot::Base, Slot::Base));
    assert_eq!(yard.current("d"), Path::new("base/image"));
    assert!(link.join("inside").exists() && !yard.root().join("current/.c").exists());
    // What is no link leads to nothing of a slot, so that life goes on.
    assert_eq!(yard.stage(&mut store, "c", "newer", "1 (b)").unwrap(), Slot::B);
    fs::remove_dir_all(&link).unwrap();
    store.flush_current().unwrap();
    has_troubles(&store, &[]);
    assert_eq!(yard.current("c"), Path::new("base/image"));
}

#[test]
fn links_that_were_all_removed_are_made_again() {
    let yard = Yard::new();
    drop(on_trial(&yard));
    fs::remove_dir_all(yard.root().join("current")).unwrap();
    let mut store = open(&yard).unwrap();
    store.boot(NOW).unwrap();
    has_troubles(&store, &[]);
    assert_eq!((yard.current("c"), yard.current("d")), ("a/image".into(), "a/image".into()));
}

/// A file, or a link that leads nowhere, where the directory of all links should be.
#[test]
fn what_is_in_the_place_of_all_links_holds_up_no_fall_back() {
    for is_file in [true, false] {
        let yard = Yard::new();
        drop(on_trial(&yard));
        let links = yard.root().join("current");
        fs::rename(&links, yard.at("aside")).unwrap();
        match is_file {
            true => fs::write(&links, "not a directory").unwrap(),
            false => std::os::unix::fs::symlink("nowhere", &links).unwrap(),
        }
        open(&yard).unwrap().boot(NOW).unwrap();
        let mut store = open(&yard).unwrap();
        assert_eq!(store.boot(NOW).unwrap().len(), 2, "both fall back");
        assert_eq!((active(&store, "c"), active(&store, "d")), (Slot::Base, Slot::Base));
        let told = store.troubles();
        assert!(
            ["c", "d"].iter().all(|name| told.iter().any(|one| one.component == Some(name.parse().unwrap()))),
            "{told:?}"
        );
        drop(store);
        fs::remove_file(&links).unwrap();
        has_troubles(&open(&yard).unwrap(), &[]);
        assert_eq!((yard.current("c"), yard.current("d")), ("base/image".into(), "base/image".into()));
    }
}

#[test]
fn a_device_that_a_stuck_link_still_leads_to_is_not_written() {
    let disk = SimDisk::new();
    let (c, root) = (name("c"), Path::new("/store"));
    let places = Places { a: "/a".into(), b: "/b".into() };
    for device in [&places.a, &places.b] {
        disk.make_device(device, 8192).unwrap();
    }
    let bytes = disk.read(&places.a).unwrap();
    let file = FileRef { size: bytes.len() as u64, digest: verity::digest(&bytes) };
    let image = Image::assume(&places.a, Content::File(file));
    let mut store = Store::create_on(Arc::new(disk.same()), root).unwrap();
    store.init_places_from(&c, &version("1"), 1, &places, Slot::A, &image, NOW).unwrap();
    // As if the link could not be moved back from the other device.
    let link = store.layout.current(&c);
    disk.remove_tree(&link).and_then(|()| disk.make_symlink(&places.b, &link)).unwrap();
    store.behind.insert(c.clone());
    let other = Identity { digest: verity::digest(b"another"), ..image.identity() };
    let sequence = store.record.sequence();
    let refused = store.stage(&c, &Target::new(version("2"), other, 1), false, NOW).unwrap_err().to_string();
    assert!(refused.contains("cannot write /b") && refused.contains("still leads there"), "{refused}");
    assert_eq!(store.record.sequence(), sequence, "nothing was changed");
}

#[test]
fn a_log_that_cannot_be_opened_holds_up_nothing_and_is_told_later() {
    let yard = Yard::new();
    drop(on_trial(&yard));
    let (log, aside) = (yard.root().join("log"), yard.at("log aside"));
    fs::rename(&log, &aside).unwrap();
    fs::create_dir(&log).unwrap();
    for _ in 0..2 {
        let mut store = open(&yard).unwrap();
        assert_eq!(store.boot(NOW).unwrap().len(), 2);
        has_troubles(&store, &[(None, "store/log")]);
    }
    let mut store = open(&yard).unwrap();
    assert_eq!((active(&store, "d"), yard.current("d")), (Slot::Base, "base/image".into()));
    // More than the record carries without a flush of the log.
    for round in 0..20 {
        store.switch(&[name("c")], None, NOW).unwrap_err();
        store.lift(&name("c"), &yard.image("new").identity().digest, NOW).unwrap();
        store.switch(&[name("c")], None, NOW).unwrap();
        store.rollback(&[name("c")], &format!("round {round}"), NOW).unwrap();
    }
    drop(store);
    fs::remove_dir(&log).unwrap();
    fs::rename(&aside, &log).unwrap();
    let store = open(&yard).unwrap();
    has_troubles(&store, &[]);
    let history = store.log().unwrap();
    assert_eq!(history.damaged, Vec::<usize>::new());
    let count = |what| history.entries.iter().filter(|entry| entry.what == what).count();
    assert_eq!((count(What::Try), count(What::FallBack), count(What::Rollback)), (2, 2, 20));
}

#[test]
fn a_link_that_still_leads_to_a_slot_keeps_its_files() {
    let yard = Yard::new();
    drop(on_trial(&yard));
    let links = yard.root().join("current");
    let disk = Arc::new(Failing::new(Rule::Links(links.join(".c"))));
    let again = || Store::open_on(disk.clone(), &yard.root()).unwrap();
    again().boot(NOW).unwrap();
    let mut store = again();
    store.boot(NOW).unwrap();
    has_troubles(&store, &[(Some("c"), "current/c")]);
    assert_eq!((active(&store, "c"), yard.current("c")), (Slot::Base, "a/image".into()), "it is stuck");
    assert_eq!(yard.current("d"), Path::new("base/image"));
    let told = store.vacuum(NOW).and_then(Freed::all).unwrap_err().to_string();
    assert!(told.contains("components/c/a") && told.contains("still leads there"), "{told}");
    assert!(links.join("c/LICENCE").exists(), "a link never leads to what is gone");
    assert_eq!(yard.stage(&mut store, "c", "newer", "1 (b)").unwrap(), Slot::B, "the other slot is free");
    drop(store);
    let mut store = open(&yard).unwrap();
    has_troubles(&store, &[]);
    store.vacuum(NOW).unwrap();
    assert!(!yard.root().join("components/c/a").exists());
}

#[test]
fn nobody_goes_back_to_what_is_gone_by_hand_but_a_boot_does_if_it_must() {
    let (yard, c) = (Yard::new(), [name("c")]);
    let mut store = on_trial(&yard);
    let base = yard.root().join("components/c/base");
    let aside = yard.at("base aside");
    Real.set(&base, Attribute::Mode(0o755)).unwrap();
    fs::rename(&base, &aside).unwrap();
    let sequence = store.record.sequence();
    for error in [store.rollback(&c, "bad", NOW).unwrap_err(), store.remove(&c, NOW).unwrap_err()] {
        let (kind, text) = (error.kind(), error.to_string());
        assert_eq!(kind, Kind::Corrupt, "{text}");
        assert!(text.contains("is missing") && text.contains("siding init c IMAGE"), "{text}");
    }
    assert_eq!((store.record.sequence(), active(&store, "c")), (sequence, Slot::A), "nothing was changed");
    // Gone in part is gone: its description, or its directory.
    fs::create_dir_all(base.join("image")).unwrap();
    assert!(store.rollback(&c, "bad", NOW).is_err());
    fs::remove_dir_all(&base).unwrap();
    store.boot(NOW).unwrap();
    assert_eq!(store.boot(NOW).unwrap().len(), 2, "there is no choice");
    assert_eq!(active(&store, "c"), Slot::Base);

    // The image that is the base's mends it, and nothing else changes.
    let entries = store.supersede(&c[0], &version("1"), 1, &yard.at("old"), false, NOW).unwrap();
    assert_eq!(entries.iter().map(|entry| entry.what).collect::<Vec<_>>(), [What::Mend]);
    assert_eq!(yard.current("c"), Path::new("base.1/image"));
    store.verify(&c[0], Slot::Base).unwrap();
    let again = store.supersede(&c[0], &version("1"), 1, &yard.at("old"), false, NOW).unwrap();
    assert_eq!(again, [], "once it is whole there is nothing to do");
}

#[test]
fn a_fall_back_goes_to_the_base_where_the_slot_before_is_gone() {
    let (yard, c) = (Yard::new(), name("c"));
    let mut store = yard.store();
    yard.stage(&mut store, "c", "new", "1 (a)").unwrap();
    store.switch(std::slice::from_ref(&c), None, NOW).unwrap();
    yard.stage(&mut store, "c", "newer", "1 (b)").unwrap();
    store.switch(std::slice::from_ref(&c), trial(0), NOW).unwrap();
    let image = yard.root().join("components/c/a/image");
    Real.set(image.parent().unwrap(), Attribute::Mode(0o755)).unwrap();
    fs::rename(&image, yard.at("aside")).unwrap();
    let refused = store.rollback(std::slice::from_ref(&c), "bad", NOW).unwrap_err().to_string();
    assert!(refused.contains("--slot c:a --condemn"), "{refused}");
    let entries = store.boot(NOW).unwrap();
    assert_eq!(entries.iter().map(|entry| entry.what).collect::<Vec<_>>(), [What::Vacuum, What::FallBack]);
    assert_eq!((active(&store, "c"), yard.current("c")), (Slot::Base, "base/image".into()));
}

#[test]
fn a_base_is_mended_under_a_patch_that_stays_in_use() {
    let (yard, c) = (Yard::new(), name("c"));
    let mut store = yard.store();
    yard.stage(&mut store, "c", "new", "1 (a)").unwrap();
    store.switch(std::slice::from_ref(&c), trial(2), NOW).unwrap();
    let file = yard.root().join("components/c/base/image/LICENCE");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&file, "not the same in all").unwrap();
    let before = store.state().get(&c).unwrap().clone();
    store.supersede(&c, &version("1"), 1, &yard.at("old"), false, NOW).unwrap();
    let after = store.state().get(&c).unwrap().clone();
    assert_eq!(after, crate::ComponentState { generation: 1, ..before });
    drop(store);
    let components = yard.root().join("components/c");
    assert!(!components.join("base").exists() && components.join("base.1").exists());
    let mut store = open(&yard).unwrap();
    store.verify(&c, Slot::Base).unwrap();
    store.remove(std::slice::from_ref(&c), NOW).unwrap();
    assert_eq!(yard.current("c"), Path::new("base.1/image"));
}

#[test]
fn a_vacuum_names_what_it_removes_of_what_nobody_knows() {
    let yard = Yard::new();
    let mut store = yard.store();
    let all = yard.root().join("components");
    fs::create_dir_all(all.join("backup/of mine")).unwrap();
    let freed = store.vacuum(NOW).unwrap();
    assert_eq!((freed.removed, freed.kept), (vec![all.join("backup")], vec![]));
    assert!(!all.join("backup").exists());
}
