//! Bases that are superseded, on real files.

use super::*;
use std::os::unix::fs::PermissionsExt;

const fn base(generation: u64) -> Home {
    Home::Base(generation)
}

impl Yard {
    fn supersede(
        &self,
        store: &mut Store,
        component: &str,
        of: &str,
        as_version: &str,
    ) -> Result<Vec<LogEntry>> {
        store.supersede(&name(component), &version(as_version), 2, &self.at(of), false, NOW)
    }

    fn has(&self, component: &str, home: Home) -> bool {
        Layout::new(&self.root()).slot(&name(component), home).exists()
    }
}

#[test]
fn a_base_is_superseded_with_all_that_was_patched_on_it() {
    let (yard, c) = (Yard::new(), name("c"));
    let mut store = yard.store();
    yard.stage(&mut store, "c", "new", "1 (a)").unwrap();
    store.switch(std::slice::from_ref(&c), trial(2), NOW).unwrap();
    let entries = yard.supersede(&mut store, "c", "newer", "2").unwrap();
    assert_eq!(entries.iter().map(|entry| entry.what).collect::<Vec<_>>(), [What::Supersede]);
    let (from, to) = (entries[0].from.as_ref(), entries[0].to.as_ref());
    assert_eq!((from, to, entries[0].slot), (Some(&version("1 (a)")), Some(&version("2")), Some(Slot::Base)));
    assert_eq!(entries[0].reason.as_deref(), Some("the trial ends with its base"));
    let held = store.state().get(&c).unwrap().clone();
    assert_eq!((held.active, held.generation, held.floor, held.turn), (Slot::Base, 1, 2, 2));
    assert_eq!((&held.a, &held.b, &held.trial, held.previous), (&Held::Empty, &Held::Empty, &None, None));
    assert_eq!(yard.current("c"), Path::new("base.1/image"));
    assert!(yard.has("c", base(0)) && yard.has("c", Home::A), "whoever follows the record has time to");
    drop(store);
    assert!(!yard.has("c", base(0)) && !yard.has("c", Home::A) && yard.has("c", base(1)));

    let mut store = Store::open(&yard.root()).unwrap();
    assert_eq!(
        store.verify(&c, Slot::Base).unwrap().enforced + store.verify(&c, Slot::Base).unwrap().read,
        2
    );
    let root = store.image_path(&c, Slot::Base);
    assert_eq!(&scan(&root).unwrap(), yard.image("newer").tree().unwrap());
    assert_eq!(store.boot(NOW).unwrap(), vec![], "nothing is on trial");

    // Patches of the new base go on from there, and removing one leads back to it.
    let refused = store.stage(&c, &yard.target("newer", "2 (a)"), false, NOW).unwrap_err();
    assert!(refused.to_string().contains("runs") && refused.kind() == Kind::Refused, "{refused}");
    assert_eq!(yard.stage(&mut store, "c", "new", "2 (a)").unwrap(), Slot::A);
    store.switch(std::slice::from_ref(&c), None, NOW).unwrap();
    store.remove(std::slice::from_ref(&c), NOW).unwrap();
    assert_eq!((active(&store, "c"), yard.current("c")), (Slot::Base, "base.1/image".into()));

    // And again, with a patch that is there for another time.
    yard.supersede(&mut store, "c", "old", "1.9").unwrap();
    let told = store.log().unwrap().entries;
    assert_eq!(told.last().unwrap().reason.as_deref(), Some("not newer than base 2"));
    drop(store);
    assert!(yard.has("c", base(2)) && !yard.has("c", base(1)) && !yard.has("c", Home::A));
    assert_eq!(Store::view(&yard.root()).unwrap().state().get(&c).unwrap().generation, 2);
}

#[test]
fn what_cannot_supersede_a_base_leaves_no_trace() {
    let (yard, c) = (Yard::new(), name("c"));
    let mut store = yard.store();
    yard.stage(&mut store, "c", "new", "1 (a)").unwrap();
    store.switch(std::slice::from_ref(&c), None, NOW).unwrap();
    let before = store.state().clone();
    assert_eq!(yard.supersede(&mut store, "c", "old", "7").unwrap(), vec![], "it is the base already");
    let unknown = yard.supersede(&mut store, "d", "newer", "2").unwrap_err();
    assert!(unknown.kind() == Kind::NotFound && unknown.to_string().contains("siding init d"), "{unknown}");
    let low = store.supersede(&c, &version("2"), 1, &yard.at("newer"), false, NOW).unwrap_err();
    assert!(low.kind() == Kind::Refused && low.to_string().contains("epoch 1"), "{low}");
    store.rollback(std::slice::from_ref(&c), "it crashes", NOW).unwrap();
    let denied = yard.supersede(&mut store, "c", "new", "2").unwrap_err();
    assert!(denied.kind() == Kind::Denied && denied.to_string().contains("--retry-denied"), "{denied}");
    assert!(!yard.has("c", base(1)), "nothing was written for that");
    assert_eq!(store.state().get(&c).unwrap().generation, before.get(&c).unwrap().generation);

    let entries = store.supersede(&c, &version("2"), 2, &yard.at("new"), true, NOW).unwrap();
    assert_eq!(entries.iter().map(|entry| entry.what).collect::<Vec<_>>(), [What::Lift, What::Supersede]);
    let held = store.state().get(&c).unwrap();
    assert!(held.denied.is_empty() && held.last_rollback.is_none());
}

/// What a cut leaves of a base that was to come, and one that was superseded and could not be removed.
#[test]
fn opening_removes_every_base_but_the_one_that_the_record_names() {
    let (yard, c) = (Yard::new(), name("c"));
    let mut store = yard.store();
    yard.supersede(&mut store, "c", "new", "2").unwrap();
    drop(store);
    let layout = Layout::new(&yard.root());
    for (home, mode) in [(base(0), 0o555), (base(2), 0o700), (base(77), 0o555)] {
        fs::create_dir(layout.slot(&c, home)).unwrap();
        fs::write(layout.image(&c, home), b"something").unwrap();
        fs::set_permissions(layout.slot(&c, home), fs::Permissions::from_mode(mode)).unwrap();
    }
    let foreign = ["base.01", "base.x", "basement"].map(|name| layout.component(&c).join(name));
    foreign.iter().for_each(|path| fs::create_dir(path).unwrap());
    let store = Store::open(&yard.root()).unwrap();
    assert_eq!([0, 1, 2, 77].map(|generation| yard.has("c", base(generation))), [false, true, false, false]);
    assert!(foreign.iter().all(|path| path.exists()), "what is none of Siding's stays");
    store.verify(&c, Slot::Base).unwrap();
}

/// The one rule by which a base may be removed: no copy of the record names it any more.
#[test]
fn both_copies_of_the_record_name_the_new_base_before_the_old_one_goes() {
    let (yard, c) = (Yard::new(), name("c"));
    let mut store = yard.store();
    yard.supersede(&mut store, "c", "new", "2").unwrap();
    drop(store);
    for copy in [0, crate::record::COPY as u64] {
        let record = Layout::new(&yard.root()).record();
        let whole = fs::read(&record).unwrap();
        let mut bytes = whole.clone();
        bytes[copy as usize + 100] ^= 1;
        fs::write(&record, bytes).unwrap();
        let store = Store::open(&yard.root()).unwrap();
        assert_eq!(store.state().get(&c).unwrap().generation, 1, "with the copy at {copy} gone");
        store.verify(&c, Slot::Base).unwrap();
        drop(store);
        fs::write(&record, whole).unwrap();
    }
}

/// Wherever the disk is full once, or fails once, while a base is superseded: the next one to open finds the old state or
/// the new one, and no base but its own.
#[test]
fn a_base_that_cannot_be_written_leaves_the_old_one_and_no_rest() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::Other] {
        let (mut failed, mut at) = (0, 0);
        loop {
            let (yard, c) = (Yard::new(), name("c"));
            let mut store = yard.store();
            yard.stage(&mut store, "c", "new", "1 (a)").unwrap();
            let before = store.state().clone();
            drop(store);
            let disk = Arc::new(Failing::new(Rule::Once(at, kind)));
            let done = Store::open_on(disk.clone(), &yard.root())
                .and_then(|mut store| yard.supersede(&mut store, "c", "newer", "2"));
            failed += u32::from(done.is_err());
            let store = Store::open(&yard.root()).unwrap();
            let held = store.state().get(&c).unwrap();
            assert!(held.generation == 1 || *store.state() == before, "operation {at}");
            assert!(held.generation == 1 || done.is_err(), "operation {at}: {done:?}");
            assert_eq!(yard.has("c", base(0)), held.generation == 0, "operation {at}");
            assert_eq!(yard.has("c", base(1)), held.generation == 1, "operation {at}");
            store.verify(&c, Slot::Base).unwrap();
            if disk.done.load(Ordering::Relaxed) <= at {
                break;
            }
            at += 1;
        }
        assert!(failed > 20, "{failed} of {at} failed");
    }
}
