//! SIGKILL before each operation that changes the medium, one after the other, in every verb that writes.
//!
//! The test build of `siding-slot` counts these operations and kills the process before the one whose number
//! is in `SIDING_KILL_AT`. After each kill: `status` works while someone else holds the lock, `current` leads
//! to a whole image, the old or the new one; then the process is killed once more, in the recovery; and then
//! the verb, or what follows if it had done its work, succeeds, and the log tells everything once.
#![cfg(feature = "make")]

mod common;

use common::{Done, Lab, Lock, clear, tool, tree};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

/// One verb to interrupt.
struct Case {
    /// What leads to the state it starts from; the store is empty before.
    before: &'static [&'static str],
    verb: &'static str,
    /// Whether the status of `lib` says that the verb has done its work.
    done: fn(&Value) -> bool,
    /// Which images `current` may lead to in between.
    legal: &'static [&'static str],
    /// And to which in the end.
    last: &'static str,
    /// What the verb adds to the log, once and in the end.
    event: &'static str,
}

const INIT: &str = "init lib old --version 1.0";
const INSTALL: &str = "install a.siding --trust maker.pub";
const INSTALL_AND_SWITCH: &str = "install a.siding --trust maker.pub --switch";

/// Opens the store for writing, and does nothing more.
const OPEN: &str = "confirm no-such-component";

fn active(status: &Value, slot: &str, on_trial: bool) -> bool {
    status["active"] == slot && status["trial"].is_null() != on_trial
}

#[test]
fn init_killed_anywhere() {
    let done = |status: &Value| active(status, "base", false);
    everywhere(&Case { before: &[], verb: INIT, done, legal: &["old"], last: "old", event: "init" });
}

#[test]
fn init_of_another_component_killed_anywhere() {
    everywhere(&Case {
        before: &[INIT],
        verb: "init more new-a --version 1.0",
        // Whether `more` is there is what counts; `lib` stays as it is.
        done: |_| false,
        legal: &["old"],
        last: "old",
        event: "init",
    });
}

#[test]
fn install_killed_anywhere() {
    let done = |status: &Value| status["ready"] == "a";
    everywhere(&Case { before: &[INIT], verb: INSTALL, done, legal: &["old"], last: "old", event: "seal" });
}

#[test]
fn install_over_an_older_patch_killed_anywhere() {
    everywhere(&Case {
        before: &[
            INIT,
            INSTALL_AND_SWITCH,
            "confirm",
            "install b.siding --trust maker.pub --switch",
            "confirm",
        ],
        verb: "install c.siding --trust maker.pub --switch",
        done: |status| active(status, "a", true) && status["version"] == "1.0 (c)",
        legal: &["new-b", "new-c"],
        last: "new-c",
        event: "switch",
    });
}

#[test]
fn install_with_switch_killed_anywhere() {
    everywhere(&Case {
        before: &[INIT],
        verb: INSTALL_AND_SWITCH,
        done: |status| active(status, "a", true),
        legal: &["old", "new-a"],
        last: "new-a",
        event: "switch",
    });
}

#[test]
fn switch_killed_anywhere() {
    everywhere(&Case {
        before: &[INIT, INSTALL],
        verb: "switch",
        done: |status| active(status, "a", true),
        legal: &["old", "new-a"],
        last: "new-a",
        event: "switch",
    });
}

#[test]
fn confirm_killed_anywhere() {
    everywhere(&Case {
        before: &[INIT, INSTALL_AND_SWITCH],
        verb: "confirm",
        done: |status| active(status, "a", false),
        legal: &["new-a"],
        last: "new-a",
        event: "confirm",
    });
}

#[test]
fn rollback_killed_anywhere() {
    everywhere(&Case {
        before: &[INIT, INSTALL_AND_SWITCH],
        verb: "rollback --reason 'it hangs'",
        done: |status| active(status, "base", false) && status["denied"][0]["reason"] == "it hangs",
        legal: &["new-a", "old"],
        last: "old",
        event: "rollback",
    });
}

#[test]
fn remove_killed_anywhere() {
    everywhere(&Case {
        before: &[INIT, INSTALL_AND_SWITCH, "confirm"],
        verb: "remove lib",
        done: |status| active(status, "base", false),
        legal: &["new-a", "old"],
        last: "old",
        event: "remove",
    });
}

#[test]
fn a_boot_that_spends_a_try_killed_anywhere() {
    everywhere(&Case {
        before: &[INIT, INSTALL_AND_SWITCH],
        verb: "boot",
        done: |status| status["trial"]["tries_left"] == 2,
        legal: &["new-a"],
        last: "new-a",
        event: "try",
    });
}

#[test]
fn a_boot_that_falls_back_killed_anywhere() {
    everywhere(&Case {
        before: &[INIT, "install a.siding --trust maker.pub --switch --deadline 0"],
        verb: "boot",
        done: |status| active(status, "base", false) && status["slots"]["a"]["denied"] == true,
        legal: &["new-a", "old"],
        last: "old",
        event: "fall-back",
    });
}

#[test]
fn vacuum_killed_anywhere() {
    everywhere(&Case {
        before: &[INIT, INSTALL_AND_SWITCH, "rollback"],
        verb: "vacuum",
        done: |status| status["slots"]["a"]["state"] == "empty",
        legal: &["old"],
        last: "old",
        event: "vacuum",
    });
}

/// All of the case's kill points, for a component that is a file and for one that is a tree.
fn everywhere(case: &Case) {
    Bench::new(Lab::device(), case).kill_at_each_operation();
    Bench::new(Lab::tree_device(), case).kill_at_each_operation();
}

struct Bench<'a> {
    lab: Lab,
    case: &'a Case,
    images: BTreeMap<&'static str, Facts>,
}

type Facts = BTreeMap<PathBuf, String>;

impl<'a> Bench<'a> {
    fn new(lab: Lab, case: &'a Case) -> Self {
        if lab.path("old").is_dir() {
            tree::small(&lab.path("new-c"), 4);
        } else {
            lab.write("new-c", &common::changed(&lab.read("old"), 13));
        }
        lab.diff("old new-c -o c.siding --to '1.0 (c)'");
        let images = ["old", "new-a", "new-b", "new-c"].map(|name| (name, facts(&lab.path(name)))).into();
        clear(&lab.path("store"));
        case.before.iter().for_each(|line| drop(lab.ok(line)));
        if !case.before.is_empty() {
            fs::rename(lab.path("store"), lab.path("template")).unwrap();
        }
        Self { lab, case, images }
    }

    fn kill_at_each_operation(&self) {
        for number in 1.. {
            self.restore();
            let done = self.killed_at(number, self.case.verb);
            if done.signal.is_none() {
                assert!(number > 3, "siding-slot was built without kill points\n{done}");
                done.ends_with(0);
                return self.check_end("nobody killed it");
            }
            assert_eq!(done.signal, Some(9), "{done}");
            let mut at = format!("killed before operation {number} of `{}`", self.case.verb);
            let mut finished = self.check_between(&at);
            // Once more, early in what repairs and repeats.
            if number % 2 == 0 {
                let again = 1 + number / 2 % 5;
                self.killed_at(again, if finished { OPEN } else { self.case.verb });
                at = format!("{at}, then before operation {again}");
                finished = self.check_between(&at);
            }
            // The verb again, or nothing if its work is done; either way the store is opened for writing.
            let done = self.lab.run(if finished { OPEN } else { self.case.verb });
            assert_eq!(done.code, Some(if finished { 3 } else { 0 }), "{at}: {done}");
            self.check_end(&at);
        }
    }

    fn killed_at(&self, number: u64, line: &str) -> Done {
        let output = self.lab.command(line).env("SIDING_KILL_AT", number.to_string()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Done {
            command: format!("{line}, to be killed before operation {number}"),
            code: output.status.code(),
            signal: output.status.signal(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    fn restore(&self) {
        clear(&self.lab.path("store"));
        if !self.case.before.is_empty() {
            let (from, to) = (self.lab.path("template"), self.lab.path("store"));
            tool(&format!("cp -a {} {}", from.display(), to.display())).unwrap();
        }
    }

    /// Whoever looks finds a whole store, or none yet. Says whether the verb has done its work.
    fn check_between(&self, at: &str) -> bool {
        let lock = Lock::hold(&self.lab.path("store"));
        let done = self.lab.run("status --json");
        drop(lock);
        if self.case.before.is_empty() && done.code == Some(3) && done.err.contains("there is no store at") {
            return false;
        }
        let status = done.ends_with(0).json();
        for line in fs::read_to_string(self.lab.path("store/log")).unwrap().lines() {
            assert!(serde_json::from_str::<Value>(line).is_ok(), "{at}: {line}");
        }
        if let Some(facts) = self.current(at) {
            let legal = self.case.legal.iter().any(|name| facts == self.images[name]);
            assert!(legal, "{at}: current is none of {:?}: {facts:?}", self.case.legal);
        }
        self.is_done(&status)
    }

    /// What a reader of `current` finds. Only the first `init` may be without it, until it is made anew.
    fn current(&self, at: &str) -> Option<Facts> {
        let link = self.lab.path("store/current/lib");
        match link.canonicalize() {
            Ok(path) => Some(facts(&path)),
            Err(_) if self.case.before.is_empty() => None,
            Err(error) => panic!("{at}: {error}"),
        }
    }

    fn is_done(&self, status: &Value) -> bool {
        let components = status["components"].as_array().unwrap();
        let find = |name: &str| components.iter().find(|component| component["component"] == name);
        match self.case.verb.strip_prefix("init more") {
            Some(_) => find("more").is_some(),
            None => find("lib").is_some_and(self.case.done),
        }
    }

    fn check_end(&self, at: &str) {
        let status = self.lab.json("status");
        assert!(self.is_done(&status), "{at}: {status}");
        let (current, images) = (self.current(at), &self.images);
        assert!(current.as_ref() == Some(&images[self.case.last]), "{at}: current is {current:?}");
        let told = self.lab.events().iter().filter(|event| *event == self.case.event).count();
        assert_eq!(told, self.told_before() + 1, "{at}: {}", self.lab.run("log"));
    }

    fn told_before(&self) -> usize {
        let template = fs::read_to_string(self.lab.path("template/log")).unwrap_or_default();
        template.matches(&format!("\"event\":\"{}\"", self.case.event)).count()
    }
}

/// A tree is all there is to it; a file is its bytes.
fn facts(image: &Path) -> Facts {
    match image.is_dir() {
        true => tree::facts(image),
        false => [(PathBuf::new(), siding_image::Digest::of(&fs::read(image).unwrap()).to_string())].into(),
    }
}
