//! The units in `contrib/systemd`: systemd takes them, and `siding` takes what they call.
#![cfg(feature = "make")]

mod common;

use common::{Lab, has_tool};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn units() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/systemd");
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let is_unit = |path: &PathBuf| path.extension().is_some_and(|end| end == "service" || end == "timer");
    let mut units: Vec<PathBuf> = files.filter(is_unit).collect();
    units.sort();
    assert_eq!(units.len(), 5);
    units
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    if !has_tool("systemd-analyze") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no", "--recursive-errors=no"]);
    for unit in units() {
        // It looks whether the program is there.
        let text =
            fs::read_to_string(&unit).unwrap().replace("/usr/bin/siding", env!("CARGO_BIN_EXE_siding"));
        let copy = dir.path().join(unit.file_name().unwrap());
        fs::write(&copy, text).unwrap();
        command.arg(copy);
    }
    let output = command.env("SYSTEMD_LOG_LEVEL", "warning").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let about_ours: Vec<&str> = said.lines().filter(|line| line.contains("siding")).collect();
    assert!(output.status.success() && about_ours.is_empty(), "{said}");
}

#[test]
fn siding_takes_what_the_units_call() {
    let lab = Lab::device();
    let mut called = 0;
    for unit in units() {
        for line in fs::read_to_string(unit).unwrap().lines() {
            if let Some(call) = line.strip_prefix("ExecStart=/usr/bin/siding ") {
                lab.ok(call);
                called += 1;
            }
        }
    }
    assert_eq!(called, 4);
}
