//! What a pass finds of an earlier one that was killed, or that had to wait.

mod lab;

use lab::{Lab, NOW, component, release};
use siding_agent::background::Look;
use siding_agent::boot;
use siding_agent::memory::{Memory, Owed, Switching};
use siding_agent::source::Folder;
use siding_slot::{Store, TrialTerms};
use std::fs;

fn source(lab: &Lab) -> Folder {
    Folder::new(&lab.path("repo"))
}

#[test]
fn a_switch_that_was_noted_and_not_made_means_nothing() {
    let lab = Lab::new();
    let noted = Switching {
        release: "fix".to_owned(),
        to: [("conf".to_owned(), "not what is in use".to_owned())].into(),
        words: vec!["reboot".to_owned()],
        waits: true,
        restart: false,
        restarted: false,
    };
    Memory::update(&lab.path("store"), |memory| memory.switching = Some(noted)).unwrap();
    let passed = lab.pass_from(&source(&lab), Look::Not);
    assert_eq!(passed.restart, Vec::<String>::new(), "nothing waits for a restart");
    let memory = Memory::load(&lab.path("store")).unwrap();
    assert_eq!((memory.switching, memory.pending), (None, None));
}

/// The next pass restarts what a way back needs that was killed before it did; unless the device was started since, or
/// the way back was never gone.
#[test]
fn restarts_that_a_way_back_owes_are_done_once_and_only_if_they_are_due() {
    let lab = Lab::new();
    lab.program("restart.d/app", "echo \"$@\" >> \"$SIDING_STORE/restarts\"");
    let digest = |name: &str| {
        let held = lab.store().state().get(&component(name)).unwrap().clone();
        held.active_image().unwrap().identity.digest.to_string()
    };
    let owe = |digest: String, boot: String| {
        let owed = Owed { words: vec!["app".to_owned()], to: [("conf".to_owned(), digest)].into(), boot };
        Memory::update(&lab.path("store"), |memory| memory.owed = Some(owed)).unwrap();
        let passed = lab.pass_from(&source(&lab), Look::Not);
        assert_eq!(Memory::load(&lab.path("store")).unwrap().owed, None);
        passed.told.iter().any(|told| told.what == "restart")
    };
    assert!(!owe(digest("libssl"), boot()), "conf runs something else");
    assert!(!owe(digest("conf"), "an earlier start".to_owned()));
    assert!(owe(digest("conf"), boot()));
    assert_eq!(fs::read_to_string(lab.path("store/restarts")).unwrap(), "restart app\n");
}

/// The words of the image that was left are restarted too, although the record has moved on.
#[test]
fn restarts_that_were_cut_off_are_those_of_what_was_left_and_of_what_came() {
    let lab = Lab::new();
    lab.program("restart.d/old", "echo old >> \"$SIDING_STORE/restarts\"");
    lab.program("restart.d/new", "echo new >> \"$SIDING_STORE/restarts\"");
    lab.publish(&release("fix", vec![lab.conf(&["new"])]));
    lab.etc("restart = \"ask\"\n");
    lab.pass();
    // Killed after the record write: the note, the switch, and no restart.
    let mut store = Store::open(&lab.path("store")).unwrap();
    let held = store.state().get(&component("conf")).unwrap().clone();
    let slot = held.ready().unwrap();
    let digest = held.image(slot).unwrap().identity.digest.to_string();
    store.switch_to(&[(component("conf"), slot)], None, NOW).unwrap();
    drop(store);
    let noted = Switching {
        release: "fix".to_owned(),
        to: [("conf".to_owned(), digest)].into(),
        words: vec!["new".to_owned(), "old".to_owned()],
        waits: false,
        restart: true,
        restarted: false,
    };
    Memory::update(&lab.path("store"), |memory| memory.switching = Some(noted)).unwrap();
    lab.pass_from(&source(&lab), Look::Not);
    let restarts = fs::read_to_string(lab.path("store/restarts")).unwrap();
    assert_eq!(restarts, "new\nold\n");
}

#[test]
fn an_asked_restart_that_fails_speaks_against_what_is_on_trial() {
    let lab = Lab::new();
    lab.program("restart.d/app", "exit 1");
    lab.publish(&release("fix", vec![lab.conf(&["app"])]));
    lab.etc("restart = \"boot\"\n");
    lab.pass();
    assert_eq!(lab.active("conf"), ("1.0 (a)".into(), true));
    Memory::update(&lab.path("store"), |memory| memory.restart_asked = true).unwrap();
    lab.pass_from(&source(&lab), Look::Not);
    assert_eq!(lab.active("conf"), ("1.0".into(), false), "{:?}", lab.codes());
    assert!(lab.codes().contains(&"leave not-restarted".to_owned()), "{:?}", lab.codes());
}

#[test]
fn what_this_start_does_not_run_is_asked_about_at_the_start_that_does() {
    let mut lab = Lab::new();
    lab.program("health.d/10-works", "touch \"$SIDING_STORE/asked\"");
    lab.publish(&release("fix", vec![lab.conf(&["reboot"])]));
    lab.pass();
    assert_eq!(lab.active("conf"), ("1.0 (a)".into(), true));
    // The boot loader had not heard of the switch and started the base.
    let mut store = Store::open(&lab.path("store")).unwrap();
    store.boot(NOW).unwrap();
    drop(store);
    lab.not_started = vec![component("conf")];
    let passed = lab.pass_as(&source(&lab), Look::Not, "a start of the base");
    assert!(!lab.path("store/asked").exists(), "it does not run yet");
    assert_eq!(passed.restart, ["reboot"]);
    lab.not_started = vec![];
    lab.pass_as(&source(&lab), Look::Not, "a start of the patch");
    assert!(lab.path("store/asked").exists());
    assert_eq!(lab.active("conf"), ("1.0 (a)".into(), false));
}

#[test]
fn a_trial_that_a_person_began_is_not_the_agents() {
    let lab = Lab::new();
    lab.program("health.d/10-works", "touch \"$SIDING_STORE/asked\"");
    lab.etc("restart = \"ask\"\n");
    lab.publish(&release("fix", vec![lab.conf(&[])]));
    lab.pass();
    let mut store = Store::open(&lab.path("store")).unwrap();
    let slot = store.state().get(&component("conf")).and_then(siding_slot::ComponentState::ready).unwrap();
    let terms = TrialTerms { tries: 3, deadline: None };
    store.switch_to(&[(component("conf"), slot)], Some(terms), NOW).unwrap();
    drop(store);
    lab.pass_from(&source(&lab), Look::Not);
    assert!(!lab.path("store/asked").exists());
    assert_eq!(lab.active("conf"), ("1.0 (a)".into(), true));
}

#[test]
fn a_look_that_was_asked_for_is_made_although_none_is_made_by_itself() {
    let lab = Lab::new();
    lab.etc("automatic-check = false\nautomatic-install = false\n");
    lab.publish(&release("fix", vec![lab.conf(&[])]));
    lab.pass_from(&source(&lab), Look::IfDue);
    let looked = || Memory::load(&lab.path("store")).unwrap().succeeded;
    assert_eq!(looked(), None);
    Memory::update(&lab.path("store"), |memory| memory.check_asked = true).unwrap();
    lab.pass_from(&source(&lab), Look::IfDue);
    assert_eq!((looked(), Memory::load(&lab.path("store")).unwrap().check_asked), (Some(NOW), false));
}

#[test]
fn what_was_fetched_of_a_release_that_nothing_wants_is_removed() {
    let lab = Lab::new();
    lab.etc("automatic-install = false\n");
    let item = lab.conf(&[]);
    let wanted = item.patch.as_ref().unwrap().sha256.to_string();
    lab.publish(&release("fix", vec![item]));
    let parts = lab.path("store/agent/parts");
    fs::create_dir_all(&parts).unwrap();
    for name in [wanted.as_str(), "of-another-release"] {
        fs::write(parts.join(name), "a part").unwrap();
    }
    lab.pass();
    let left: Vec<_> = fs::read_dir(&parts).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [wanted.as_str()]);
}

/// The history holds a thousand lines; what is not in it any more is not told again for that.
#[test]
fn a_decision_is_told_when_it_changes_however_long_ago_it_was_told() {
    let lab = Lab::new();
    lab.etc("automatic-install = false\n");
    lab.publish(&release("fix", vec![lab.conf(&[])]));
    lab.pass();
    fs::remove_file(lab.path("store/agent/history.jsonl")).unwrap();
    assert!(lab.pass().told.is_empty());
}
