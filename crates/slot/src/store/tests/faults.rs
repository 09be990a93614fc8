//! One fault each: a bad sector, a full disk, a crowded record.

use super::*;
use crate::disk::Disk;
use crate::log::Tail;
use crate::{State, codec, record};

fn on(yard: &Yard, rule: Rule) -> Result<Store> {
    Store::open_on(Arc::new(Failing::new(rule)), &yard.root())
}

#[test]
fn one_copy_of_the_record_that_cannot_be_read_does_not_lock_the_store() {
    for bad in [0, record::COPY as u64] {
        let yard = Yard::new();
        drop(yard.store());
        let path = yard.root().join("record");
        let rule = Rule::Reads(path.clone(), bad);
        // The newest copy is gone, or the one before it: the other is the truth, and life goes on from there.
        let mut store = on(&yard, rule).unwrap();
        if store.state().get(&name("c")).is_none() {
            store.init(&name("c"), &version("1"), 1, &yard.at("old"), NOW).unwrap();
        }
        drop(store);
        check_store(&yard, &format!("copy at {bad}"));
    }
}

#[test]
fn a_record_of_which_nothing_can_be_read_gives_the_error_of_the_medium() {
    let yard = Yard::new();
    drop(yard.store());
    let path = yard.root().join("record");
    let mut bytes = fs::read(&path).unwrap();
    bytes[..100].fill(0);
    fs::write(&path, bytes).unwrap();
    let error = on(&yard, Rule::Reads(path, record::COPY as u64)).unwrap_err();
    assert_eq!(error.kind(), Kind::Io, "{error}");
}

#[test]
fn a_disk_that_stays_full_lets_a_device_boot_fall_back_and_vacuum_and_then_the_log_catches_up() {
    let (yard, set) = (Yard::new(), [name("c")]);
    let mut store = yard.store();
    yard.stage(&mut store, "c", "new", "1 (a)").unwrap();
    store.switch(&set, None, NOW).unwrap();
    yard.stage(&mut store, "c", "newer", "1 (b)").unwrap();
    store.switch(&set, trial(1), NOW).unwrap();
    drop(store);
    let before = told(&Store::view(&yard.root()).unwrap()).len();

    let full = Arc::new(AtomicBool::new(true));
    let reopen = || on(&yard, Rule::Full(full.clone())).unwrap();
    let mut story = Vec::new();
    let mut store = reopen();
    story.extend(store.boot(NOW).unwrap());
    drop(store);
    let mut store = reopen();
    story.extend(store.boot(NOW + 1).unwrap());
    assert_eq!(active(&store, "c"), Slot::A, "fallen back");
    drop(store);
    let mut store = reopen();
    story.extend(store.rollback(&set, "nothing has room", NOW + 2).unwrap());
    assert_eq!(active(&store, "c"), Slot::Base, "and once more");
    story.extend(store.vacuum(NOW + 3).unwrap().entries);
    let in_file = || fs::read_to_string(yard.root().join("log")).unwrap().lines().count();
    assert!(in_file() <= before, "nothing could be told");
    assert_eq!(told(&store).len(), before + story.len(), "but for what the record carries");
    assert_ne!(
        fs::read_link(store.current_path(&set[0])).ok(),
        Some("../components/c/b/image".into()),
        "not what was left"
    );
    drop(store);

    drop(reopen());
    full.store(false, Ordering::Relaxed);
    let store = reopen();
    assert_eq!(store.log().unwrap().entries[before..], story);
    assert_eq!(yard.current("c"), Path::new("base/image"));
    drop(store);
    assert_eq!(Store::open(&yard.root()).unwrap().log().unwrap().entries.len(), before + story.len(), "once");
    check_store(&yard, "after a full disk");
}

#[test]
fn a_disk_that_has_room_again_is_noticed_without_opening_the_store_anew() {
    let (yard, set) = (Yard::new(), [name("c")]);
    let mut store = yard.store();
    yard.stage(&mut store, "c", "new", "1 (a)").unwrap();
    drop(store);
    let full = Arc::new(AtomicBool::new(true));
    let mut store = on(&yard, Rule::Full(full.clone())).unwrap();
    store.switch(&set, trial(1), NOW).unwrap();
    full.store(false, Ordering::Relaxed);
    store.confirm(&set, NOW).unwrap();
    assert_eq!(yard.current("c"), Path::new("a/image"));
    assert_eq!(told(&store), [What::Init, What::Stage, What::Seal, What::Switch, What::Confirm]);
}

#[test]
fn a_fall_back_of_many_components_with_long_reasons_is_never_refused() {
    let yard = Yard::new();
    fs::write(yard.at("file"), b"old").unwrap();
    fs::write(yard.at("file (a)"), b"new").unwrap();
    let mut store = Store::create(&yard.root()).unwrap();
    let set: Vec<Component> = (0..60).map(|number| name(&format!("component-{number}"))).collect();
    for component in &set {
        store.init(component, &version("1"), 1, &yard.at("file"), NOW).unwrap();
        yard.stage(&mut store, component.as_str(), "file (a)", "1 (a)").unwrap();
    }
    store.switch(&set, None, NOW).unwrap();
    let long = "ü".repeat(200);
    for component in store.snapshot.state.components.values_mut() {
        let denied = |number: u8| crate::Denied {
            digest: Digest::of(&[number]),
            version: version("0"),
            reason: long.clone(),
            at: NOW,
        };
        component.denied = (0..8).map(denied).collect();
    }
    let entries = store.rollback(&set, &long, NOW).unwrap();
    assert_eq!(entries.len(), set.len());
    let state = store.state().clone();
    assert!(state.components().all(|(_, held)| held.active == Slot::Base && held.denied.len() == 9));
    drop(store);
    let store = Store::open(&yard.root()).unwrap();
    assert_eq!(*store.state(), state);
    let log = store.log().unwrap().entries;
    assert_eq!(log.iter().filter(|entry| entry.what == What::Rollback).count(), 60);
}

#[test]
fn what_is_admitted_leaves_room_for_every_way_on() {
    let most = |state: &State| fit::most_needed(state.clone());
    let yard = Yard::new();
    let mut store = yard.store();
    yard.stage(&mut store, "c", "new", "1 (a)").unwrap();
    yard.stage(&mut store, "c", "newer", "1 (b)").unwrap();
    let (limit, set) = (most(store.state()), [name("c")]);
    for slot in Slot::PATCHED {
        store.switch_to(&[(set[0].clone(), slot)], trial(u32::MAX), NOW).unwrap();
        store.rollback(&set, "", NOW).unwrap();
        assert!(codec::encode(store.state(), &Tail::default()).len() <= limit, "{slot}");
    }
}

#[test]
fn a_new_store_is_flushed_by_name_with_every_directory_above_it_that_is_new() {
    let yard = Yard::new();
    let never = || Failing::new(Rule::Once(u64::MAX, io::ErrorKind::Other));
    let create = |root: &Path| {
        let disk = never();
        let flushed = disk.flushed.clone();
        Store::create_on(Arc::new(disk), root).unwrap();
        std::mem::take(&mut *flushed.lock().unwrap())
    };
    let flushed = create(&yard.at("deep/down/store"));
    for dir in [yard.dir.clone(), yard.at("deep"), yard.at("deep/down")] {
        assert!(flushed.contains(&dir), "{dir:?} in {flushed:?}");
    }
    fs::create_dir(yard.at("made before")).unwrap();
    assert!(create(&yard.at("made before")).contains(&yard.dir));
}

#[test]
fn the_mode_of_a_frozen_file_is_flushed() {
    let yard = Yard::new();
    fs::write(yard.at("file"), b"old").unwrap();
    let disk = Failing::new(Rule::Once(u64::MAX, io::ErrorKind::Other));
    let flushed = disk.flushed.clone();
    let mut store = Store::create_on(Arc::new(disk), &yard.root()).unwrap();
    store.init(&name("f"), &version("1"), 1, &yard.at("file"), NOW).unwrap();
    let image = store.image_path(&name("f"), Slot::Base);
    let times = flushed.lock().unwrap().iter().filter(|path| **path == image).count();
    assert_eq!(times, 2, "its bytes, and then its mode");
}

#[test]
fn the_lock_can_be_opened_by_its_owner_only() {
    let yard = Yard::new();
    drop(yard.store());
    let lock = yard.root().join("lock");
    let mode = || fs::metadata(&lock).unwrap().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    Real.set(&lock, Attribute::Mode(0o644)).unwrap();
    drop(Store::open(&yard.root()).unwrap());
    assert_eq!(mode(), 0o600);
}

#[test]
fn a_patient_opening_waits_for_whoever_has_the_store() {
    let yard = Yard::new();
    let store = yard.store();
    let short = Store::open_patiently(&yard.root(), Duration::from_millis(60));
    assert_eq!(short.unwrap_err().kind(), Kind::Busy);
    let root = yard.root();
    let waiting = std::thread::spawn(move || Store::open_patiently(&root, Duration::from_secs(60)).map(drop));
    std::thread::sleep(Duration::from_millis(120));
    drop(store);
    waiting.join().unwrap().unwrap();
}

#[test]
fn a_whole_base_that_the_record_does_not_know_is_never_removed() {
    let yard = Yard::new();
    drop(yard.store());
    let (record, dir) = (yard.root().join("record"), yard.root().join("components/c"));
    // The copy that init wrote rots.
    let mut bytes = fs::read(&record).unwrap();
    bytes[record::COPY..][..100].fill(0);
    fs::write(&record, bytes).unwrap();
    let mut store = Store::open(&yard.root()).unwrap();
    assert_eq!(store.state().get(&name("c")), None);
    assert_eq!(store.vacuum(NOW).unwrap().kept, std::slice::from_ref(&dir));
    let other = store.init(&name("c"), &version("1"), 1, &yard.at("new"), NOW).unwrap_err();
    assert!(matches!(other, Error::StrayBase { .. }), "{other}");
    let inode = || fs::metadata(dir.join("base/image/LICENCE")).unwrap().ino();
    let before = inode();
    store.init(&name("c"), &version("1"), 1, &yard.at("old"), NOW).unwrap();
    assert_eq!(inode(), before, "taken as it is");
    drop(store);
    check_store(&yard, "a base taken back");
}

#[test]
fn a_stage_is_written_where_the_state_machine_says_though_another_was_given_up() {
    let (yard, c) = (Yard::new(), name("c"));
    let mut store = yard.store();
    assert_eq!(store.stage(&c, &yard.target("new", "1 (a)"), false, NOW).unwrap().slot(), Slot::A);
    // `a` is emptied first, and is then the one to be staged into.
    assert_eq!(yard.stage(&mut store, "c", "newer", "1 (b)").unwrap(), Slot::A);
    assert!(store.image(&c, Slot::A).unwrap().check().is_ok());
    assert_eq!(store.stage(&c, &yard.target("new", "1 (a)"), false, NOW).unwrap().slot(), Slot::B);
    assert_eq!(yard.stage(&mut store, "c", "new", "1 (a)").unwrap(), Slot::B);
    assert!(store.image(&c, Slot::B).unwrap().check().is_ok());
}

#[test]
fn whether_a_stage_would_be_admitted_can_be_asked_without_writing() {
    let (yard, c) = (Yard::new(), name("c"));
    let mut store = yard.store();
    let (new, newer) = (yard.target("new", "1 (a)"), yard.target("newer", "1 (b)"));
    let asks = |store: &Store, target: &Target, retry| {
        let before = store.record.sequence();
        let answer = store.may_stage(&c, target, retry).map_err(|error| error.kind());
        assert_eq!(store.record.sequence(), before);
        answer
    };
    assert_eq!(asks(&store, &new, false), Ok(Slot::A));
    assert_eq!(asks(&store, &yard.target("old", "1"), false), Err(Kind::Refused), "the base");
    yard.stage(&mut store, "c", "new", "1 (a)").unwrap();
    store.switch(std::slice::from_ref(&c), trial(1), NOW).unwrap();
    assert_eq!(asks(&store, &newer, false), Err(Kind::Refused), "on trial");
    store.rollback(std::slice::from_ref(&c), "no", NOW).unwrap();
    assert_eq!(asks(&store, &new, false), Err(Kind::Denied));
    assert_eq!(asks(&store, &new, true), Ok(Slot::B));
    let low = Target { epoch: 0, ..newer };
    assert_eq!(asks(&store, &low, false), Err(Kind::Refused), "below the floor");
}
