//! The agent's passes on a device with real files: libssl, and a small tree beside it.
//!
//! The repository is a folder; health checks and hooks are programs of the store.

mod lab;

use lab::{Lab, NOW, component, key, release};
use siding_agent::background::{Agent, Look, Passed};
use siding_agent::memory::Memory;
use siding_agent::policy::Policy;
use siding_agent::restart::Host;
use siding_agent::source::{Catalog, Folder, Source, SourceError};
use siding_agent::{Shared, boot};
use siding_image::Image;
use siding_patch::Trust;
use siding_repo::{Blob, Full, Release, Standing, Wave};
use siding_slot::{Slot, Store};
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

#[test]
fn a_release_of_two_components_is_installed_by_itself_in_one_switch() {
    let lab = Lab::new();
    lab.program("health.d/10-works", "test -s \"$SIDING_STORE/current/conf/app.conf\"");
    lab.program("restart.d/app", "echo \"$@\" >> \"$SIDING_STORE/restarted\"");
    lab.publish(&release("fix", vec![lab.libssl(), lab.conf(&["app"])]));
    let passed = lab.pass();
    assert_eq!(
        (lab.active("libssl"), lab.active("conf")),
        (("3.0.20 (a)".into(), false), ("1.0 (a)".into(), false))
    );
    assert_eq!(fs::read_to_string(lab.path("store/restarted")).unwrap(), "restart app\n");
    assert!(passed.error.is_none() && passed.restart.is_empty());
    let log = lab.store().log().unwrap().entries;
    let switches: Vec<u64> =
        log.iter().filter(|entry| entry.what.name() == "switch").map(|entry| entry.at).collect();
    assert_eq!(switches.len(), 2, "{log:?}");
    assert_eq!(lab.codes(), ["decide installing", "install", "restart", "confirm", "decide installed"]);
    // Nothing is left to do, to tell, or lying about.
    assert_eq!(lab.pass(), Passed::default());
    let parts = fs::read_dir(lab.path("store/agent/parts")).unwrap().count();
    assert_eq!((lab.codes().len(), parts), (5, 0));
}

#[test]
fn what_does_not_work_is_left_and_not_offered_again_until_something_newer_comes() {
    let lab = Lab::new();
    lab.program("health.d/10-works", "! grep -q two \"$SIDING_STORE/current/conf/app.conf\"");
    lab.publish(&release("bad", vec![lab.conf(&[])]));
    lab.pass();
    assert_eq!(lab.active("conf"), ("1.0".into(), false));
    assert_eq!(lab.codes(), ["decide installing", "install", "leave unhealthy", "decide denied"]);
    assert!(lab.pass().told.is_empty());
    fs::write(lab.path("conf-new/app.conf"), "three").unwrap();
    let next = lab.item("conf", ("1.0", &lab.path("conf-old")), ("1.0 (b)", &lab.path("conf-new")), &[]);
    lab.publish(&release("good", vec![next]));
    lab.pass();
    assert_eq!(lab.active("conf"), ("1.0 (b)".into(), false));
}

#[test]
fn a_withdrawn_release_is_left_by_itself_with_its_reason() {
    let lab = Lab::new();
    let fix = release("fix", vec![lab.conf(&[])]);
    lab.publish(&fix);
    lab.pass();
    assert_eq!(lab.active("conf").0, "1.0 (a)");
    lab.publish(&Release { standing: Standing::Withdrawn { reason: "it eats logs".into() }, ..fix });
    let passed = lab.pass();
    assert_eq!(lab.active("conf").0, "1.0");
    assert!(
        passed.told.iter().any(|told| told.what == "leave" && told.text.contains("it eats logs")),
        "{passed:?}"
    );
    assert!(lab.pass().told.is_empty());
}

/// A repository from which a fetch takes this many seconds, and in which a release changes meanwhile.
struct Slow<'l> {
    lab: &'l Lab,
    seconds: u64,
    then: Release,
}

impl Source for Slow<'_> {
    fn refresh(&self, now: u64) -> Result<Catalog, SourceError> {
        self.folder().refresh(now)
    }
    fn known(&self) -> Result<Option<Catalog>, SourceError> {
        self.folder().known()
    }
    fn fetch(
        &self,
        blob: &Blob,
        part: &Path,
        rate: Option<u64>,
    ) -> Result<Box<dyn Read + Send>, SourceError> {
        self.lab.clock.fetch_add(self.seconds, Ordering::Relaxed);
        self.lab.publish(&self.then);
        self.folder().fetch(blob, part, rate)
    }
    fn refuse(&self, blob: &Blob, part: &Path) -> Result<bool, SourceError> {
        self.folder().refuse(blob, part)
    }
}

impl Slow<'_> {
    fn folder(&self) -> Folder {
        Folder::new(&self.lab.path("repo"))
    }
}

#[test]
fn what_was_withdrawn_during_a_long_download_is_not_switched_to() {
    for (seconds, codes) in [
        (3600, vec!["decide installing", "decide withdrawn"]),
        // Nobody looks again after a short one; the next pass leaves it.
        (10, vec!["decide installing", "install", "confirm", "decide installed"]),
    ] {
        let lab = Lab::new();
        let fix = release("fix", vec![lab.conf(&[])]);
        lab.publish(&fix);
        let withdrawn = Release { standing: Standing::Withdrawn { reason: "it eats logs".into() }, ..fix };
        lab.pass_from(&Slow { lab: &lab, seconds, then: withdrawn }, Look::Now);
        assert_eq!(lab.codes(), codes);
        assert_eq!(lab.active("conf").0 == "1.0", seconds > 60);
    }
}

#[test]
fn a_release_that_took_long_to_fetch_is_switched_to_all_the_same() {
    let lab = Lab::new();
    let fix = release("fix", vec![lab.conf(&[]), lab.libssl()]);
    lab.publish(&fix);
    lab.pass_from(&Slow { lab: &lab, seconds: 3600, then: fix }, Look::Now);
    assert_eq!((lab.active("conf").0.as_str(), lab.active("libssl").0.as_str()), ("1.0 (a)", "3.0.20 (a)"));
}

#[test]
fn what_cannot_be_left_keeps_no_other_component_waiting() {
    let lab = Lab::new();
    let bad = release("bad", vec![lab.conf(&[])]);
    lab.publish(&bad);
    lab.pass();
    let base = lab.path("store/components/conf/base");
    fs::set_permissions(&base, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(base.join("image"), lab.path("aside")).unwrap();
    lab.publish(&Release { standing: Standing::Withdrawn { reason: "it eats logs".into() }, ..bad });
    lab.publish(&release("fix", vec![lab.libssl()]));
    let passed = lab.pass();
    let stuck = passed.told.iter().find(|told| told.what == "fail").unwrap();
    assert!(stuck.text.contains("conf cannot go to 1.0 in slot base"), "{stuck:?}");
    assert_eq!((lab.active("conf").0.as_str(), lab.active("libssl").0.as_str()), ("1.0 (a)", "3.0.20 (a)"));
}

#[test]
fn off_is_listed_and_asked_for_is_installed() {
    let lab = Lab::new();
    lab.etc("automatic-install = false\n");
    lab.publish(&release("fix", vec![lab.conf(&[])]));
    lab.pass();
    assert_eq!((lab.active("conf").0.as_str(), lab.codes()), ("1.0", vec!["decide off".to_owned()]));
    Memory::update(&lab.path("store"), |memory| memory.asked.extend(["fix".to_owned()])).unwrap();
    lab.pass();
    assert_eq!(lab.active("conf").0, "1.0 (a)");
    assert!(Memory::load(&lab.path("store")).unwrap().asked.is_empty());
    // Removed by hand, it stays away although it is on again.
    lab.etc("");
    let versions = [(component("conf"), "1.0 (a)".parse().unwrap())];
    Memory::removed_by_hand(&lab.path("store"), &versions, NOW).unwrap();
    Store::open(&lab.path("store")).unwrap().remove(&[component("conf")], NOW).unwrap();
    lab.pass();
    assert_eq!(lab.active("conf").0, "1.0");
    assert_eq!(lab.codes().last().unwrap(), "decide removed-by-hand");
}

/// Something newer comes by itself and does not work; what was removed before it does not come back in its place.
#[test]
fn what_was_removed_stays_away_when_something_newer_is_left() {
    let lab = Lab::new();
    lab.program("health.d/10-works", "! grep -q three \"$SIDING_STORE/current/conf/app.conf\"");
    lab.publish(&release("fix", vec![lab.conf(&[])]));
    lab.pass();
    let versions = [(component("conf"), "1.0 (a)".parse().unwrap())];
    Memory::removed_by_hand(&lab.path("store"), &versions, NOW).unwrap();
    Store::open(&lab.path("store")).unwrap().remove(&[component("conf")], NOW).unwrap();
    fs::write(lab.path("conf-new/app.conf"), "three").unwrap();
    let next = lab.item("conf", ("1.0", &lab.path("conf-old")), ("1.0 (b)", &lab.path("conf-new")), &[]);
    lab.publish(&release("next", vec![next]));
    lab.pass();
    assert!(lab.codes().iter().any(|code| code == "leave unhealthy"), "{:?}", lab.codes());
    assert_eq!(lab.active("conf"), ("1.0".into(), false));
}

#[test]
fn what_needs_a_restart_waits_for_it_and_is_checked_after_it() {
    let lab = Lab::new();
    lab.program("health.d/10-works", "touch \"$SIDING_STORE/asked\"");
    lab.publish(&release("fix", vec![lab.conf(&["reboot"])]));
    let source = Folder::new(&lab.path("repo"));
    let passed = lab.pass();
    assert_eq!((lab.active("conf"), passed.restart), (("1.0 (a)".into(), true), vec!["reboot".to_owned()]));
    assert_eq!(lab.codes().last().unwrap(), "decide staged");
    lab.later(100_000);
    lab.pass();
    assert!(!lab.path("store/asked").exists(), "asked before it was started");
    // The device starts.
    Store::open(&lab.path("store")).unwrap().boot(NOW).unwrap();
    let passed = lab.pass_as(&source, Look::Not, "the next start");
    assert!(lab.path("store/asked").exists());
    assert_eq!((lab.active("conf"), passed.restart), (("1.0 (a)".into(), false), vec![]));
    assert_eq!(lab.codes().last().unwrap(), "decide installed");
}

#[test]
fn a_hook_that_is_missing_or_fails_keeps_the_device_as_it_was() {
    let lab = Lab::new();
    lab.publish(&release("fix", vec![lab.conf(&["app"])]));
    lab.pass();
    assert_eq!(lab.active("conf"), ("1.0".into(), false));
    assert_eq!(lab.codes(), ["decide installing", "fail no-hook", "decide failed"]);
    // It lies ready meanwhile, and is tried again when its time comes.
    lab.program("restart.d/app", "exit 1");
    assert!(lab.pass().told.is_empty());
    lab.later(200);
    lab.pass();
    assert_eq!(lab.active("conf"), ("1.0".into(), false));
    assert_eq!(lab.codes().last().unwrap(), "decide denied");
}

#[test]
fn a_whole_image_does_where_no_patch_fits() {
    let lab = Lab::new();
    let (nothing, new) =
        (Image::nothing(siding_image::Kind::Tree), Image::open(&lab.path("conf-new")).unwrap());
    let blob = lab.blob("whole", ("0", &nothing), ("1.0 (a)", &new), ("conf", &[]));
    let mut item = lab.conf(&[]);
    item.source.digest = siding_image::Digest::of(b"another base");
    item.full = Some(Full { blob, minimum: Some("0.9".parse().unwrap()) });
    lab.publish(&release("fix", vec![item]));
    lab.pass();
    assert_eq!(
        (lab.active("conf").0, lab.codes().last().unwrap().as_str()),
        ("1.0 (a)".into(), "decide installed")
    );
}

#[test]
fn a_repository_that_cannot_be_reached_is_asked_again_later_and_later() {
    let lab = Lab::new();
    let nowhere = Folder::new(&lab.path("nowhere"));
    let mut waits = Vec::new();
    for _ in 0..20 {
        let passed = lab.pass_from(&nowhere, Look::IfDue);
        assert!(passed.error.unwrap().message.contains("nowhere"));
        assert!(lab.pass_from(&nowhere, Look::IfDue).error.is_none(), "not before its time");
        let memory = Memory::load(&lab.path("store")).unwrap();
        let wait = memory.next.unwrap() - memory.tried.unwrap();
        waits.push(wait);
        lab.later(wait);
    }
    assert!(waits.iter().zip(&waits[1..]).take(10).all(|(a, b)| a < b), "{waits:?}");
    assert!(waits[0] >= 60 && waits[0] <= 75 && waits[19] <= 86_400 * 5 / 4, "{waits:?}");
    assert_eq!(lab.codes(), ["check unreachable"]);
    lab.publish(&release("fix", vec![lab.conf(&[])]));
    lab.pass();
    assert_eq!(lab.active("conf").0, "1.0 (a)");
}

/// A repository whose downloads break off after so many bytes.
struct Cut(Folder, u64);

impl Source for Cut {
    fn refresh(&self, now: u64) -> Result<Catalog, SourceError> {
        self.0.refresh(now)
    }

    fn known(&self) -> Result<Option<Catalog>, SourceError> {
        self.0.known()
    }

    fn fetch(
        &self,
        blob: &Blob,
        part: &Path,
        rate: Option<u64>,
    ) -> Result<Box<dyn Read + Send>, SourceError> {
        Ok(Box::new(self.0.fetch(blob, part, rate)?.take(self.1)))
    }

    fn refuse(&self, blob: &Blob, part: &Path) -> Result<bool, SourceError> {
        self.0.refuse(blob, part)
    }
}

#[test]
fn a_download_that_breaks_off_is_tried_again_after_its_time() {
    let lab = Lab::new();
    lab.publish(&release("fix", vec![lab.libssl()]));
    let cut = Cut(Folder::new(&lab.path("repo")), 5_000);
    lab.pass_from(&cut, Look::Now);
    assert_eq!(lab.codes(), ["decide installing", "fail corrupt", "decide failed"]);
    assert!(lab.pass().told.is_empty(), "not before its time");
    lab.later(80);
    lab.pass();
    assert_eq!(lab.active("libssl"), ("3.0.20 (a)".into(), false));
}

#[test]
fn waves_and_windows_are_kept() {
    let lab = Lab::new();
    lab.etc("restart = \"window\"\nwindow = \"12:00-13:00\"\n");
    let waves = vec![Wave { at: NOW + 3_600, percent: 100 }];
    lab.publish(&Release { waves, ..release("fix", vec![lab.conf(&[])]) });
    lab.pass();
    // It is 09:05, then 10:05, then 12:05.
    for (code, version, wait) in
        [("wave-not-reached", "1.0", 3_600), ("outside-window", "1.0", 7_200), ("installed", "1.0 (a)", 0)]
    {
        lab.pass();
        assert_eq!(lab.codes().last().unwrap(), &format!("decide {code}"));
        assert_eq!(lab.active("conf").0, version);
        lab.later(wait);
    }
}

/// In the child: one pass over the device in this directory, killed whenever the parent likes.
#[test]
fn a_pass_in_a_child() {
    let Some(dir) = std::env::var_os("SIDING_TEST_DEVICE") else { return };
    let dir = PathBuf::from(dir);
    let store = dir.join("store");
    let policy = Policy::load(&dir.join("etc"), &store).unwrap();
    let agent = Agent {
        store: &store,
        policy: &policy,
        source: &Folder::new(&dir.join("repo")),
        trust: Some(&Trust::new(vec![key().public()], 1).unwrap()),
        host: &Host { proc: "/proc".into(), systemctl: None },
        clock: &|| NOW,
        offset: 0,
        boot: boot(),
        not_started: vec![],
        follow: &|_| {},
        shared: &Shared::default(),
    };
    println!("begin");
    agent.pass(Look::Now).unwrap();
}

/// Killed at random moments, the next pass goes on; at the end everything is as if nobody had been killed.
#[test]
fn killed_anywhere_nothing_is_lost() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    let lab = Lab::new();
    lab.program("health.d/10-works", "test -s \"$SIDING_STORE/current/conf/app.conf\"");
    lab.program("restart.d/app", "true");
    let fix = release("fix", vec![lab.libssl(), lab.conf(&["app"])]);
    lab.publish(&fix);
    let mut seed = 7_u64;
    let mut killed = 0;
    for round in 0..24 {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "a_pass_in_a_child", "--nocapture"])
            .env("SIDING_TEST_DEVICE", lab.dir.path());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let begun =
            BufReader::new(child.stdout.take().unwrap()).lines().any(|line| line.unwrap().contains("begin"));
        assert!(begun);
        // A busy wait of a random length, so that no clock is asked: the pass is killed somewhere in its course.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let turns = (seed >> 40) * (1 + round % 6);
        assert!((0..turns).all(|turn| std::hint::black_box(turn) < turns));
        let _ = child.kill();
        killed += u32::from(!child.wait().unwrap().success());
        // Whatever moment it was: what is active is whole, and the store opens.
        let store = lab.store();
        for (name, held) in store.state().components() {
            store.image(name, held.active).unwrap().check().unwrap();
        }
        drop(Store::open(&lab.path("store")).unwrap());
        Memory::load(&lab.path("store")).unwrap();
        if round == 11 && lab.active("conf").0 == "1.0 (a)" {
            // Once more from the base.
            Store::open(&lab.path("store"))
                .unwrap()
                .remove(&[component("libssl"), component("conf")], NOW)
                .unwrap_or_default();
        }
    }
    lab.pass();
    assert_eq!(
        (lab.active("libssl"), lab.active("conf")),
        (("3.0.20 (a)".into(), false), ("1.0 (a)".into(), false))
    );
    for name in ["libssl", "conf"] {
        assert!(lab.store().state().get(&component(name)).unwrap().denied.is_empty());
        let store = lab.store();
        let slot = store.state().get(&component(name)).unwrap().active;
        assert_ne!(slot, Slot::Base);
    }
    let memory = Memory::load(&lab.path("store")).unwrap();
    assert_eq!((memory.switching, memory.asked.len()), (None, 0));
    assert!(lab.pass().told.is_empty());
    eprintln!("{killed} of 24 passes were killed");
}
