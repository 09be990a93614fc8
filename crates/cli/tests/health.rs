//! `siding health`: programs and units say whether what is on trial works; good is confirmed, bad is left with the
//! reason.
#![cfg(feature = "make")]

mod common;

use common::holder::{self, Holder};
use common::{Done, Lab};
use serde_json::json;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

/// Not a test: what the process does that [`Holder`] starts.
#[test]
fn hold_a_map() {
    holder::hold();
}

/// A device with `1.0 (a)` on trial, whose patch has this restart list.
fn on_trial(restart: &str) -> Lab {
    let lab = Lab::device_of(200_000);
    lab.diff(&format!("old new-a -o r.siding --to '1.0 (a)' {restart}"));
    lab.run("install r.siding --trust maker.pub --switch");
    assert_eq!(lab.status("lib")["trial"]["tries_left"], 3);
    lab
}

fn check(lab: &Lab, name: &str, script: &str) {
    script_at(lab, &format!("store/health.d/{name}"), script);
}

fn script_at(lab: &Lab, path: &str, script: &str) {
    let path = lab.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
}

/// Runs `siding health` with this program as `systemctl`.
fn with_systemctl(lab: &Lab, line: &str, script: &str) -> Done {
    script_at(lab, "bin/systemctl", script);
    let path = format!("{}:{}", lab.path("bin").display(), std::env::var("PATH").unwrap());
    lab.finished(line, lab.command(line).env("PATH", path))
}

#[test]
fn restarts_of_a_way_back_that_was_killed_are_done_by_the_next() {
    let lab = on_trial("--restart app");
    check(&lab, "10-works", "exit 1");
    let kills_once = "echo \"$@\" >> \"$SIDING_STORE/asked\"\n\
                      mkdir \"$SIDING_STORE/once\" 2>/dev/null && kill -9 $PPID; exit 0";
    script_at(&lab, "store/restart.d/app", kills_once);
    let killed = lab.command("health").output().unwrap().status;
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed), Some(9));
    assert_eq!(lab.current("lib"), lab.read("old"), "it was left");
    lab.ok("health").says(&["nothing is on trial", "a way back was cut off", "restarted: app"]);
    lab.ok("health").says_not(&["cut off"]);
    assert_eq!(lab.read("store/asked"), b"restart app\nrestart app\n");
}

#[test]
fn what_works_is_confirmed_and_who_said_so_is_told() {
    let lab = on_trial("");
    check(&lab, "20-second", "true");
    check(&lab, "10-first", "test \"$SIDING_TRIAL\" = lib && test -e \"$SIDING_STORE/record\"");
    check(&lab, ".hidden", "exit 1");
    fs::write(lab.path("store/health.d/README"), "not executable").unwrap();
    lab.ok("health").says(&["all is well: 10-first, 20-second", "lib: confirmed 1.0 (a)"]);
    assert_eq!(lab.status("lib")["trial"], json!(null));
    check(&lab, "10-first", "exit 1");
    lab.ok("health").says(&["nothing is on trial"]);
    assert_eq!(lab.current("lib"), lab.read("new-a"));
}

#[test]
fn without_anybody_to_ask_nothing_is_confirmed() {
    let lab = on_trial("");
    lab.run("health").ends_with(3).complains(&["nobody can say", "store/health.d", "`siding confirm`"]);
    lab.run("health --checks nowhere").ends_with(2).complains(&["cannot list the health checks in nowhere"]);
    assert_eq!(lab.status("lib")["trial"]["tries_left"], 3);
}

#[test]
fn the_first_that_fails_rolls_back_at_once_and_its_last_words_are_kept() {
    let lab = on_trial("");
    lab.ok("boot");
    check(&lab, "10-good", "true");
    check(&lab, "20-tls", "seq 1 1000; printf 'handshake \\033[31mfailed\\n' >&2; exit 3");
    check(&lab, "30-never", "touch \"$SIDING_STORE/reached\"");
    let reason =
        "health check 20-tls failed on try 1 of 3: exit code 3: 999 | 1000 | handshake \\u{1b}[31mfailed";
    lab.run("health").ends_with(1).says(&[reason, "lib: fell back from 1.0 (a) to 1.0 in slot base"]);
    assert!(!lab.path("store/reached").exists());
    assert_eq!(lab.current("lib"), lab.read("old"));
    let status = lab.status("lib");
    assert_eq!(status["last_rollback"]["reason"], reason);
    assert_eq!(status["denied"][0]["reason"], reason);
    for verb in ["status", "log"] {
        lab.ok(verb).says(&["health check 20-tls failed on try 1 of 3: exit code 3"]);
    }
    lab.run("install r.siding --trust maker.pub").ends_with(3).complains(&["20-tls failed"]);
}

#[test]
fn signals_limits_and_what_cannot_run_are_failures_with_their_names() {
    for (script, words) in [
        ("kill -SEGV $$", "before its first restart: ended by signal 11 (SIGSEGV)"),
        ("echo waiting; sleep 1000 & sleep 1000", "still running after 1 s, killed: waiting"),
    ] {
        let lab = on_trial("");
        check(&lab, "it", script);
        lab.run("health --limit 1").ends_with(1).says(&["health check it failed", words, "fell back"]);
    }
    let lab = on_trial("");
    check(&lab, "it", "");
    fs::write(lab.path("store/health.d/it"), "#!/nowhere/interpreter\n").unwrap();
    lab.run("health").ends_with(1).says(&["cannot be run: No such file"]);
}

#[test]
fn what_needs_a_reboot_is_left_at_the_next_one_and_cannot_be_confirmed_until_then() {
    let lab = on_trial("--restart reboot");
    check(&lab, "it", "echo no network; exit 1");
    let json = lab.run("health --json").ends_with(4).json();
    assert_eq!((&json["health"], &json["restart"]["reboot"]), (&json!("bad"), &json!(true)));
    assert_eq!(lab.current("lib"), lab.read("new-a"), "it runs until then");
    lab.ok("status").says(&["failed", "no network", "goes back to 1.0 in base"]).says_not(&["keeps it"]);
    lab.run("health").ends_with(4).says(&["lib failed already; reboot to leave it"]);
    lab.run("confirm").ends_with(3);
    lab.ok("boot").says(&["fell back from 1.0 (a) to 1.0", "no network"]);
    assert_eq!(lab.current("lib"), lab.read("old"));
}

/// Whoever maps the bad image is ended, as the patch says; the check itself is not in the way of the store.
#[test]
fn users_of_the_bad_image_are_restarted() {
    let lab = on_trial("--restart process");
    let user = Holder::of(&lab.path("store/components/lib/a/image"));
    let siding = env!("CARGO_BIN_EXE_siding");
    check(&lab, "it", &format!("{siding} status >&2; {siding} vacuum || exit 9; exit 1"));
    lab.run("health").ends_with(1).says(&["exit code 1", "restarted: process ", "nothing runs old bytes"]);
    assert_eq!(user.signal(), Some(15));
}

#[test]
fn what_was_changed_while_it_was_asked_about_is_left_as_it_is() {
    let lab = on_trial("");
    let siding = env!("CARGO_BIN_EXE_siding");
    check(&lab, "it", &format!("{siding} confirm; exit 1"));
    lab.run("health").ends_with(1).says(&["was changed meanwhile; nothing was done"]);
    assert_eq!(lab.current("lib"), lab.read("new-a"));
}

#[test]
fn units_must_be_active_and_are_waited_for() {
    let lab = on_trial("");
    // Active from the third question on.
    let script = "echo \"$*\" >> \"$SIDING_STORE/asked\"; test $(wc -l < \"$SIDING_STORE/asked\") -ge 3 || { echo activating; exit 3; }";
    with_systemctl(&lab, "health --unit web.service --within 3600", script)
        .ends_with(0)
        .says(&["all is well: web.service", "confirmed"]);
    assert!(lab.read("store/asked").starts_with(b"is-active -- web.service\n"));

    let lab = on_trial("");
    with_systemctl(&lab, "health --unit web.service --within 0", "echo failed; exit 3")
        .ends_with(1)
        .says(&["unit web.service before its first restart was not active within 0 s: failed", "fell back"]);
}

#[test]
fn a_deadline_that_passed_rolls_back_and_one_to_come_does_not() {
    let lab = Lab::device();
    lab.ok("health --deadline").says(&["no trial is past its deadline"]);
    lab.ok("install a.siding --trust maker.pub --switch --deadline 3600");
    lab.ok("health --deadline").says(&["no trial is past its deadline"]);
    lab.ok("rollback");
    lab.ok("install b.siding --trust maker.pub --switch --deadline 0");
    lab.run("health --deadline").ends_with(1).says(&["fell back", "the deadline passed without a confirm"]);
    assert_eq!(lab.current("lib"), lab.read("old"));
    lab.run("health --deadline --unit x").ends_with(2);
}
