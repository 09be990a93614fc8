//! Stories of whole stores, on real files.

use super::*;
use crate::disk::{Attribute, Disk};
use crate::layout::{Home, Layout};
use crate::log::What;
use crate::{Held, Kind};
use siding_image::{Content, FileRef, Identity, Kind as ImageKind, Sink, scan, verity};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

mod enforced;
mod failing;
mod faults;
mod obstructed;
mod resume;
mod supersede;

use failing::{Failing, Rule};

const NOW: u64 = 1_772_355_900;

fn name(text: &str) -> Component {
    text.parse().unwrap()
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn trial(tries: u32) -> Option<TrialTerms> {
    Some(TrialTerms { tries, deadline: None })
}

/// A directory with an old tree and its successors, and where the store goes.
struct Yard {
    dir: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Yard {
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let yard = Self { dir: temporary.path().to_owned(), _temporary: Some(temporary) };
        for (version, body) in [("old", "one"), ("new", "two"), ("newer", "three")] {
            let root = yard.at(version);
            fs::create_dir_all(root.join("lib")).unwrap();
            fs::write(root.join("lib/libc.so"), body.repeat(3000)).unwrap();
            fs::write(root.join("LICENCE"), b"the same in all").unwrap();
            std::os::unix::fs::symlink("lib/libc.so", root.join("link")).unwrap();
        }
        yard
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn root(&self) -> PathBuf {
        self.at("store")
    }

    fn image(&self, name: &str) -> Image {
        Image::open(&self.at(name)).unwrap()
    }

    fn store(&self) -> Store {
        let mut store = Store::create(&self.root()).unwrap();
        store.init(&name("c"), &version("1"), 1, &self.at("old"), NOW).unwrap();
        store
    }

    fn target(&self, of: &str, version_text: &str) -> Target {
        let target = Target::new(version(version_text), self.image(of).identity(), 2);
        Target { patch: Some(Digest::of(of.as_bytes())), ..target }
    }

    /// Stages and seals what lies at `of`, writing only what the base lacks; goes on with what is there.
    fn stage<'s>(&self, store: &'s mut Store, component: &str, of: &str, as_version: &str) -> Result<Slot> {
        let (component, image) = (name(component), self.image(of));
        let source = store.image(&component, Slot::Base)?;
        let fresh = resume::Fresh::of(&image, Some(&source));
        let mut staging: Staging<'s> = store.stage(&component, &self.target(of, as_version), false, NOW)?;
        let io = |e| Error::io("stage", Path::new(of), e);
        let from = fresh.begin(&image, &mut staging).map_err(io)?;
        fresh.write(&mut staging, from, u64::MAX, 5000).map_err(io)?;
        Ok(staging.seal(Some(&source))?.slot())
    }

    fn current(&self, component: &str) -> PathBuf {
        let link = fs::read_link(self.root().join("current").join(component)).unwrap();
        link.strip_prefix(format!("../components/{component}")).unwrap().to_owned()
    }
}

fn active(store: &Snapshot, component: &str) -> Slot {
    store.state().get(&name(component)).unwrap().active
}

fn told(store: &Snapshot) -> Vec<What> {
    store.log().unwrap().entries.iter().map(|entry| entry.what).collect()
}

#[test]
fn the_story_from_init_to_reinstall() {
    let (yard, c) = (Yard::new(), name("c"));
    let mut store = yard.store();
    assert_eq!(yard.current("c"), Path::new("base/image"));
    assert_eq!(yard.stage(&mut store, "c", "new", "1 (a)").unwrap(), Slot::A);
    assert_eq!(yard.current("c"), Path::new("base/image"), "sealed is not switched");
    store.switch(std::slice::from_ref(&c), trial(2), NOW).unwrap();
    assert_eq!(yard.current("c"), Path::new("a/image"));
    let body = fs::read_to_string(yard.root().join("current/c/lib/libc.so")).unwrap();
    assert!(body.starts_with("two"));
    drop(store);

    let mut store = Store::open(&yard.root()).unwrap();
    assert_eq!(store.boot(NOW).unwrap().len(), 1);
    store.confirm(std::slice::from_ref(&c), NOW).unwrap();
    assert_eq!(store.confirm(std::slice::from_ref(&c), NOW).unwrap(), vec![], "twice is once");
    assert_eq!(store.state().get(&c).unwrap().floor, 2);
    assert_eq!(store.boot(NOW).unwrap(), vec![], "no trial, no write");

    store.rollback(std::slice::from_ref(&c), "libc says no", NOW).unwrap();
    assert_eq!(active(&store, "c"), Slot::Base);
    let refused = yard.stage(&mut store, "c", "new", "1 (a)").unwrap_err();
    assert_eq!(refused.kind(), Kind::Denied);
    assert!(refused.to_string().contains("libc says no"), "{refused}");
    assert!(refused.to_string().contains("2026-03-01"), "{refused}");

    yard.stage(&mut store, "c", "newer", "1 (b)").unwrap();
    store.switch(std::slice::from_ref(&c), None, NOW).unwrap();
    assert_eq!((active(&store, "c"), yard.current("c")), (Slot::B, "b/image".into()));
    store.remove(std::slice::from_ref(&c), NOW).unwrap();
    assert_eq!((active(&store, "c"), yard.current("c")), (Slot::Base, "base/image".into()));

    let identity = yard.image("newer").identity();
    let slot = store.sealed_with(&c, &identity).unwrap();
    store.image(&c, slot).unwrap().check().unwrap();
    store.switch_to(&[(c.clone(), slot)], None, NOW).unwrap();
    assert_eq!(active(&store, "c"), Slot::B);
    assert_eq!(store.holding(&c, &yard.image("old").identity()), Some(Slot::Base));

    let freed = store.vacuum(NOW).unwrap();
    assert!(freed.bytes > 0 && freed.entries.len() == 1, "{freed:?}");
    assert!(!yard.root().join("components/c/a").exists());
    use What::{Confirm, Init, Remove, Rollback, Seal, Stage, Switch, Try, Vacuum};
    let story =
        [Init, Stage, Seal, Switch, Try, Confirm, Rollback, Stage, Seal, Switch, Remove, Switch, Vacuum];
    assert_eq!(told(&store), story);
    let base = scan(&yard.root().join("components/c/base/image")).unwrap();
    assert_eq!(&base, yard.image("old").tree().unwrap(), "the base is what it was");
}

#[test]
fn a_trial_without_a_confirm_falls_back_and_says_why() {
    let (yard, c) = (Yard::new(), name("c"));
    let mut store = yard.store();
    yard.stage(&mut store, "c", "new", "1 (a)").unwrap();
    store.switch(std::slice::from_ref(&c), trial(1), NOW).unwrap();
    let busy = store.stage(&c, &yard.target("newer", "1 (b)"), false, NOW).unwrap_err();
    assert!(busy.to_string().contains("confirm it or roll it back first"), "{busy}");
    assert_eq!(store.boot(NOW).unwrap()[0].what, What::Try);
    drop(store);
    let mut store = Store::open(&yard.root()).unwrap();
    let entries = store.boot(NOW + 60).unwrap();
    assert_eq!((entries[0].what, active(&store, "c")), (What::FallBack, Slot::Base));
    let fallback = store.state().get(&c).unwrap().last_rollback.clone().unwrap();
    assert_eq!(fallback.reason, "its one try was used up without a confirm");
    assert_eq!((fallback.version, fallback.at), (version("1 (a)"), NOW + 60));
    let retry = store.stage(&c, &yard.target("new", "1 (a)"), true, NOW).unwrap();
    assert_eq!(retry.slot(), Slot::B);
}

#[test]
fn an_abandoned_stage_is_never_switched_to_and_is_cleared() {
    let (yard, c) = (Yard::new(), name("c"));
    let mut store = yard.store();
    let (target, image) = (yard.target("new", "1 (a)"), yard.image("new"));
    let mut staging = store.stage(&c, &target, false, NOW).unwrap();
    let contents: Vec<FileRef> = image.blobs().iter().map(|blob| blob.content).collect();
    staging.begin(image.content(), &contents).unwrap();
    staging.write_at(0, 0, b"the").unwrap();
    drop(staging);
    assert_eq!(*store.state().get(&c).unwrap().held(Slot::A), Held::Staging);
    assert!(store.switch_to(&[(c.clone(), Slot::A)], None, NOW).is_err());
    assert!(store.switch(std::slice::from_ref(&c), None, NOW).is_err());
    assert!(yard.root().join("components/c/a/image").exists());
    drop(store);
    let mut store = Store::open(&yard.root()).unwrap();
    assert_eq!(*store.state().get(&c).unwrap().held(Slot::A), Held::Empty);
    assert!(!yard.root().join("components/c/a").exists());
    assert_eq!(told(&store), [What::Init, What::Stage, What::Abandon]);
    assert_eq!(yard.stage(&mut store, "c", "new", "1 (a)").unwrap(), Slot::A);
}

#[test]
fn what_was_written_must_be_what_was_promised() {
    let (yard, c) = (Yard::new(), name("c"));
    let mut store = yard.store();
    let mut staging = store.stage(&c, &yard.target("new", "1 (a)"), false, NOW).unwrap();
    let error = staging.begin(yard.image("newer").content(), &[]).unwrap_err();
    assert!(error.to_string().contains("staging was begun for"), "{error}");
    drop(staging);
    // The right promise and the wrong bytes.
    let (image, source) = (yard.image("new"), yard.image("old"));
    let fresh = image.blob(&image.tree().unwrap().contents()[1].1.digest).unwrap();
    let mut staging = store.stage(&c, &yard.target("new", "1 (a)"), false, NOW).unwrap();
    staging.begin(image.content(), &[fresh.content]).unwrap();
    staging.write_at(0, 0, &vec![9; fresh.content.size as usize]).unwrap();
    assert_eq!(staging.seal(Some(&source)).unwrap_err().kind(), Kind::Corrupt);
    assert!(store.switch(&[c], None, NOW).is_err());
}

#[test]
fn two_components_switch_in_one_record_write() {
    let yard = Yard::new();
    fs::write(yard.at("kernel"), vec![1; 100_000]).unwrap();
    fs::write(yard.at("kernel (a)"), vec![2; 100_001]).unwrap();
    let mut store = yard.store();
    store.init(&name("kernel"), &version("6"), 1, &yard.at("kernel"), NOW).unwrap();
    yard.stage(&mut store, "c", "new", "1 (a)").unwrap();
    yard.stage(&mut store, "kernel", "kernel (a)", "6 (a)").unwrap();
    let before = store.record.sequence();
    let set = [name("c"), name("kernel")];
    store.switch(&set, trial(3), NOW).unwrap();
    assert_eq!(store.record.sequence(), before + 1);
    assert_eq!((active(&store, "c"), active(&store, "kernel")), (Slot::A, Slot::A));
    assert_eq!(store.image(&name("kernel"), Slot::A).unwrap().identity().kind, ImageKind::File);
    store.rollback(&set, "both", NOW).unwrap();
    assert_eq!((yard.current("c"), yard.current("kernel")), ("base/image".into(), "base/image".into()));
    let kernel = fs::metadata(yard.root().join("components/kernel/base/image")).unwrap();
    assert_eq!(kernel.mode() & 0o222, 0, "frozen");
}

#[test]
fn one_writes_at_a_time_and_anyone_may_look() {
    let yard = Yard::new();
    assert_eq!(Store::view(&yard.root()).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(Store::open(&yard.root()).unwrap_err().kind(), Kind::NotFound);
    let store = yard.store();
    assert_eq!(Store::open(&yard.root()).unwrap_err().kind(), Kind::Busy);
    assert_eq!(Store::create(&yard.root()).unwrap_err().kind(), Kind::Busy);
    let view = Store::view(&yard.root()).unwrap();
    assert_eq!(view.state(), store.state());
    assert_eq!(told(&view), [What::Init]);
    drop(store);
    open(&yard).unwrap();
}

#[test]
fn links_and_leftovers_are_made_to_agree_with_the_record() {
    let yard = Yard::new();
    drop(yard.store());
    let c = yard.root().join("components/c");
    let links = yard.root().join("current");
    fs::remove_file(links.join("c")).unwrap();
    std::os::unix::fs::symlink("../components/c/b/image", links.join("c")).unwrap();
    std::os::unix::fs::symlink("left behind", links.join(".c")).unwrap();
    fs::create_dir_all(c.join("b/image/deep")).unwrap();
    fs::create_dir_all(yard.root().join("components/half/base/image")).unwrap();
    let mut store = Store::open(&yard.root()).unwrap();
    assert_eq!(yard.current("c"), Path::new("base/image"));
    assert!(!c.join("b").exists());
    assert!(store.init(&name("c"), &version("2"), 1, &yard.at("new"), NOW).is_err());
    store.vacuum(NOW).unwrap();
    assert!(!yard.root().join("components/half").exists());
    store.init(&name("half"), &version("2"), 1, &yard.at("new"), NOW).unwrap();
}

#[test]
fn the_log_tells_what_a_killed_process_could_not() {
    let yard = Yard::new();
    let mut store = yard.store();
    yard.stage(&mut store, "c", "new", "1 (a)").unwrap();
    let log = yard.root().join("log");
    let before = fs::read(&log).unwrap();
    store.switch(&[name("c")], None, NOW).unwrap();
    let after = fs::read(&log).unwrap();
    drop(store);
    for cut in [before.len(), before.len() + 1, after.len() - 1] {
        fs::write(&log, &after[..cut]).unwrap();
        Store::open(&yard.root()).unwrap();
        assert_eq!(fs::read(&log).unwrap(), after);
    }
}

#[test]
fn a_store_that_lost_its_record_is_damaged_and_not_made_anew() {
    let yard = Yard::new();
    drop(yard.store());
    fs::remove_file(yard.root().join("record")).unwrap();
    assert_eq!(Store::create(&yard.root()).unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(Store::open(&yard.root()).unwrap_err().kind(), Kind::Corrupt);
    assert!(yard.root().join("components/c/base/image/LICENCE").exists());
}

#[test]
fn a_description_that_is_not_the_sealed_one_is_refused() {
    let yard = Yard::new();
    let store = yard.store();
    let path = yard.root().join("components/c/base/tree");
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o555, "frozen");
    Real.set(path.parent().unwrap(), Attribute::Mode(0o755)).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, yard.image("new").tree().unwrap().encode()).unwrap();
    assert_eq!(store.image(&name("c"), Slot::Base).unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(store.image(&name("c"), Slot::A).unwrap_err().kind(), Kind::Refused);
    assert_eq!(store.image(&name("d"), Slot::A).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn a_state_that_would_crowd_the_record_is_refused_before_anything_is_written() {
    let (yard, c) = (Yard::new(), name("c"));
    let mut store = yard.store();
    let mut target = yard.target("new", "1 (a)");
    target.advisories = vec!["x".repeat(1000); 200];
    let sequence = store.record.sequence();
    assert!(matches!(store.stage(&c, &target, false, NOW), Err(Error::RecordFull { .. })));
    assert_eq!(store.record.sequence(), sequence);
    assert_eq!(*store.state().get(&c).unwrap().held(Slot::A), Held::Empty);
}

// ---- a disk that fails

/// Files that cannot be removed hold up their own slot's next stage, and nothing else.
#[test]
fn a_slot_that_cannot_be_cleared_stops_no_boot_and_no_fall_back() {
    let (yard, stuck, other) = (Yard::new(), name("c"), name("d"));
    let mut store = yard.store();
    store.init(&other, &version("1"), 1, &yard.at("old"), NOW).unwrap();
    yard.stage(&mut store, "c", "new", "1 (a)").unwrap();
    store.switch(std::slice::from_ref(&stuck), trial(1), NOW).unwrap();
    store.rollback(std::slice::from_ref(&stuck), "bad", NOW).unwrap();
    yard.stage(&mut store, "d", "new", "1 (a)").unwrap();
    store.switch(std::slice::from_ref(&other), trial(2), NOW).unwrap();
    drop(store);
    let kept = Layout::new(&yard.root()).slot(&stuck, Home::A);
    let disk = Arc::new(Failing::new(Rule::Keeps(kept.clone())));
    let again = || Store::open_on(disk.clone(), &yard.root()).unwrap();
    assert_eq!(again().vacuum(NOW).unwrap().failed[0].kind(), Kind::Io, "vacuum tells");
    assert!(kept.join("image").exists());
    for _ in 0..3 {
        again().boot(NOW).unwrap();
    }
    let mut store = again();
    let held = store.state().get(&other).unwrap();
    assert_eq!((held.active, held.trial.is_some()), (Slot::Base, false), "the trial ended");
    // The other slot is free, until it is in use; then there is no other.
    assert_eq!(yard.stage(&mut store, "c", "newer", "1 (b)").unwrap(), Slot::B);
    store.switch(std::slice::from_ref(&stuck), None, NOW).unwrap();
    let refused = store.stage(&stuck, &yard.target("old", "1 (c)"), false, NOW).unwrap_err();
    assert!(refused.to_string().contains("is the base"), "{refused}");
    fs::write(yard.at("newest"), b"another one").unwrap();
    let refused = store.stage(&stuck, &yard.target("newest", "1 (c)"), false, NOW).unwrap_err();
    assert!(refused.to_string().contains("c/a"), "{refused}");
    drop(store);
    // Once it can be removed, all is as ever.
    assert_eq!(yard.stage(&mut open(&yard).unwrap(), "c", "newest", "1 (c)").unwrap(), Slot::A);
}

/// The whole story; stops at the first error.
fn story(yard: &Yard, store: &mut Store) -> Result<()> {
    let set = [name("c")];
    store.init(&set[0], &version("1"), 1, &yard.at("old"), NOW)?;
    yard.stage(store, "c", "new", "1 (a)")?;
    store.switch(&set, trial(1), NOW)?;
    store.boot(NOW)?;
    store.boot(NOW)?;
    yard.stage(store, "c", "newer", "1 (b)")?;
    store.switch(&set, trial(1), NOW)?;
    store.confirm(&set, NOW)?;
    store.remove(&set, NOW)?;
    store.vacuum(NOW).and_then(Freed::all).map(drop)
}

/// Opens the store. A process that another test is just starting may hold a copy of its lock for a moment.
fn open(yard: &Yard) -> Result<Store> {
    Store::open_patiently(&yard.root(), Duration::from_secs(5))
}

#[test]
fn a_switch_of_any_number_of_components_is_one_flush_and_one_more_for_all_its_links() {
    let yard = Yard::new();
    fs::write(yard.at("file"), b"old").unwrap();
    fs::write(yard.at("file (a)"), b"new").unwrap();
    for many in [1, 7] {
        let disk = Failing::new(Rule::Once(u64::MAX, io::ErrorKind::Other));
        let flushed = disk.flushed.clone();
        let mut store = Store::create_on(Arc::new(disk), &yard.at(&format!("store of {many}"))).unwrap();
        let set: Vec<Component> = (0..many).map(|number| name(&format!("c{number}"))).collect();
        for component in &set {
            store.init(component, &version("1"), 1, &yard.at("file"), NOW).unwrap();
            yard.stage(&mut store, component.as_str(), "file (a)", "1 (a)").unwrap();
        }
        let flushes = || std::mem::take(&mut *flushed.lock().unwrap());
        let (record, links) = (store.layout.record(), store.layout.links());
        flushes();
        store.switch(&set, trial(3), NOW).unwrap();
        assert_eq!(flushes(), std::slice::from_ref(&record), "{many} components");
        store.flush_current().unwrap();
        store.flush_current().unwrap();
        assert_eq!(flushes(), std::slice::from_ref(&links), "{many} components");
        store.boot(NOW).unwrap();
        assert_eq!(flushes(), std::slice::from_ref(&record), "a boot moves no link");
        store.confirm(&set, NOW).unwrap();
        store.remove(&set, NOW).unwrap();
        assert_eq!(flushes().iter().filter(|path| **path == record).count(), 2);
    }
}

/// What must be true of a store, whatever happened to it: it opens, what is active is whole, `current` names it.
fn check_store(yard: &Yard, context: &str) {
    let mut store = match open(yard) {
        // Nothing was promised before `create` returned.
        Err(Error::NoStore { .. }) => Store::create(&yard.root()).unwrap(),
        other => other.unwrap_or_else(|error| panic!("{context}: {error}")),
    };
    for (component, held) in store.state().components() {
        for slot in Slot::ALL.into_iter().filter(|slot| held.image(*slot).is_some()) {
            let image = store.image(component, slot).unwrap();
            let got = Image::open(image.root()).unwrap();
            assert_eq!(got.identity(), image.identity(), "{context}: {slot} is whole");
        }
        assert_eq!(yard.current("c"), Path::new(held.active.name()).join("image"), "{context}");
    }
    let history = store.log().unwrap();
    assert_eq!(history.damaged, Vec::<usize>::new(), "{context}");
    // And life goes on, from what was interrupted if something was.
    if store.state().get(&name("c")).is_none() {
        store.init(&name("c"), &version("1"), 1, &yard.at("old"), NOW).unwrap();
    }
    if store.state().get(&name("c")).unwrap().trial.is_some() {
        store.rollback(&[name("c")], "after", NOW).unwrap();
    }
    for (of, as_version) in [("new", "1 (a)"), ("newer", "1 (b)")] {
        let target = yard.target(of, as_version);
        if store.state().get(&name("c")).is_some() && store.interrupted(&name("c"), &target).is_some() {
            match yard.stage(&mut store, "c", of, as_version) {
                Err(error) => assert_eq!(error.kind(), Kind::Denied, "{context}: {error}"),
                Ok(slot) => store.image(&name("c"), slot).unwrap().check().unwrap(),
            }
        }
    }
    fs::write(yard.at("last"), context).unwrap();
    let identity = Identity {
        kind: ImageKind::File,
        size: context.len() as u64,
        digest: verity::digest(context.as_bytes()),
    };
    let content = Content::File(FileRef { size: identity.size, digest: identity.digest });
    let target = Target::new(version("9"), identity, 9);
    let mut staging = store.stage(&name("c"), &target, false, NOW).unwrap();
    staging.begin(&content, &[FileRef { size: identity.size, digest: identity.digest }]).unwrap();
    staging.write_at(0, 0, context.as_bytes()).unwrap();
    staging.seal(None).unwrap().switch(None, NOW).unwrap();
}

fn run_failing(at: u64, rule: impl Fn(u64, io::ErrorKind) -> Rule, kind: io::ErrorKind) -> bool {
    let yard = Yard::new();
    let disk = Failing::new(rule(at, kind));
    let done = disk.done.clone();
    if let Ok(mut store) = Store::create_on(Arc::new(disk), &yard.root()) {
        let result = story(&yard, &mut store);
        // The record stands, and only this slot cannot be staged into.
        let is_kept = matches!(result, Err(Error::Io { doing: "clear", .. }));
        let goes_on = result.is_ok() || is_kept || kind == io::ErrorKind::StorageFull;
        assert!(store.poison.is_some() || goes_on, "{result:?}");
        if let (Some(first), Err(_)) = (store.poison.clone(), &result) {
            let again = store.remove(&[name("c")], NOW).unwrap_err().to_string();
            assert!(again.contains("open it again") && again.contains(&first), "{again}");
        }
    }
    check_store(&yard, &format!("operation {at} fails with {kind}"));
    done.load(Ordering::Relaxed) <= at
}

#[test]
fn a_disk_that_fails_at_any_operation_leaves_a_store_that_works() {
    let end = (0..2000).find(|&at| run_failing(at, Rule::From, io::ErrorKind::Other));
    assert!(end.is_some_and(|end| end > 100), "{end:?}");
}

#[test]
fn a_disk_that_is_full_once_at_any_operation_leaves_a_store_that_works() {
    let end = (0..2000).find(|&at| run_failing(at, Rule::Once, io::ErrorKind::StorageFull));
    assert!(end.is_some_and(|end| end > 100), "{end:?}");
}

// ---- a process that is killed

/// Run by the test below in a process of its own; does nothing otherwise.
#[cfg(feature = "kill-points")]
#[test]
fn killed_process() {
    if let Some(dir) = std::env::var_os("SIDING_TEST_YARD") {
        let yard = Yard { dir: dir.into(), _temporary: None };
        story(&yard, &mut Store::create(&yard.root()).unwrap()).unwrap();
    }
}

#[cfg(feature = "kill-points")]
#[test]
fn a_process_killed_before_any_operation_leaves_a_store_that_works() {
    let ends_well = |at: &u64| {
        let yard = Yard::new();
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "store::tests::killed_process"]);
        child.env("SIDING_TEST_YARD", &yard.dir).env("SIDING_KILL_AT", at.to_string());
        let output = child.output().unwrap();
        check_store(&yard, &format!("killed before operation {at}"));
        let killed = std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(9);
        assert!(killed || output.status.success(), "{output:?}");
        output.status.success()
    };
    let end = (1..2000).find(ends_well);
    assert!(end.is_some_and(|end| end > 100), "{end:?}");
}
