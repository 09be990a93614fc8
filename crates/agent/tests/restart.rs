//! What a restart asks of systemd, and what a look at the processes finds.

use siding_agent::restart::{Host, Move, Plan, restart_list};
use siding_image::{Component, Content, FileRef, Sink, verity};
use siding_slot::{Slot, Store, Target};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

const NOW: u64 = 1_772_355_900;

/// A store whose component has a base and, in slot `a`, an image with this restart list.
struct Bench {
    dir: tempfile::TempDir,
    store: Store,
}

fn component() -> Component {
    "lib".parse().unwrap()
}

impl Bench {
    fn new(restart: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("old"), "old bytes").unwrap();
        let mut store = Store::create(&dir.path().join("store")).unwrap();
        store.init(&component(), &"1".parse().unwrap(), 1, &dir.path().join("old"), NOW).unwrap();
        let file = FileRef { size: 9, digest: verity::digest(b"new bytes") };
        let content = Content::File(file);
        let restart = restart.iter().map(|word| (*word).to_owned()).collect();
        let target = Target { restart, ..Target::new("1 (a)".parse().unwrap(), content.identity(), 1) };
        let mut staging = store.stage(&component(), &target, false, NOW).unwrap();
        staging.begin(&content, &[file]).unwrap();
        staging.write_at(0, 0, b"new bytes").unwrap();
        staging.seal(None).unwrap();
        Self { dir, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A host with a made-up list of processes, and a `systemctl` that notes what it is asked, then runs `script`.
    fn host(&self, script: &str) -> Host {
        let systemctl = self.path("systemctl");
        let text = format!("#!/bin/sh\necho \"$*\" >> {}\n{script}\n", self.path("asked").display());
        fs::write(&systemctl, text).unwrap();
        fs::set_permissions(&systemctl, Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(self.path("proc")).unwrap();
        Host { proc: self.path("proc"), systemctl: Some(systemctl) }
    }

    /// Adds a process with this line in its maps.
    fn process(&self, pid: u32, name: &str, line: &str) {
        let dir = self.path(&format!("proc/{pid}"));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("comm"), format!("{name}\n")).unwrap();
        fs::write(dir.join("maps"), format!("7f00-7f01 r-xp 00000000 {line}\n")).unwrap();
    }

    fn plan(&self, host: &Host) -> Plan {
        Plan::prepare(&self.store, &to_a(), host).unwrap()
    }
}

fn to_a() -> Vec<Move> {
    vec![Move { component: component(), to: Slot::A }]
}

fn device_and_inode(path: &Path) -> String {
    let meta = path.metadata().unwrap();
    let (major, minor) = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
    format!("{major:02x}:{minor:02x} {}", meta.ino())
}

#[test]
fn units_are_restarted_by_one_call_where_they_run() {
    let bench = Bench::new(&["web.service", "mail.socket", "reboot", "web.service"]);
    let host = bench.host("");
    assert_eq!(restart_list(bench.store.state(), &to_a()), ["mail.socket", "reboot", "web.service"]);
    let plan = bench.plan(&host);
    plan.require_hooks().unwrap();
    assert!(!bench.path("asked").exists(), "nothing is asked before the switch");
    let done = plan.carry_out();
    assert_eq!(fs::read_to_string(bench.path("asked")).unwrap(), "try-restart -- mail.socket web.service\n");
    assert_eq!(done.units, ["mail.socket", "web.service"]);
    assert!(done.reboot && !done.is_complete() && done.failed.is_empty());
}

#[test]
fn what_systemctl_says_of_a_failure_is_told() {
    let bench = Bench::new(&["web.service"]);
    let done = bench.plan(&bench.host("echo 'Job for web.service failed.' >&2; exit 1")).carry_out();
    assert_eq!(done.units, Vec::<String>::new());
    assert_eq!(done.failed[0].what, "web.service");
    assert_eq!(done.failed[0].why, "systemctl try-restart: exit code 1: Job for web.service failed.");
}

#[test]
fn old_bytes_are_found_by_inode_and_by_path_and_new_ones_are_not() {
    let bench = Bench::new(&[]);
    let host = bench.host("");
    let slot = |slot: Slot| bench.store.image_path(&component(), slot).canonicalize().unwrap();
    let (base, a) = (slot(Slot::Base), slot(Slot::A));
    // As a container sees it: another path. As btrfs shows it: another device.
    bench.process(10, "inode", &format!("{} /elsewhere/lib.so", device_and_inode(&base)));
    bench.process(11, "path", &format!("00:01 1 {}", base.display()));
    bench.process(12, "deleted\x1b[31m", &format!("00:01 1 {} (deleted)", a.display()));
    bench.process(13, "new", &format!("{} {}", device_and_inode(&a), a.display()));
    bench.process(14, "new-too", &format!("00:01 1 {}", a.display()));
    bench.process(15, "other", "00:01 1 /usr/lib/other.so");
    bench.process(16, "beside", &format!("00:01 1 {}-beside/image", base.parent().unwrap().display()));
    let done = bench.plan(&host).carry_out();
    let found: Vec<(u32, &str)> =
        done.still.iter().map(|holder| (holder.pid, holder.name.as_str())).collect();
    assert_eq!(found, [(10, "inode"), (11, "path"), (12, "deleted\\u{1b}[31m")]);
    assert_eq!(done.still[0].file, Path::new("/elsewhere/lib.so"));
    assert_eq!(done.still[0].components, [component()]);
}

#[test]
fn processes_that_cannot_be_listed_are_an_error_and_not_a_clean_answer() {
    let bench = Bench::new(&["process"]);
    let host = Host { proc: bench.path("nowhere"), systemctl: None };
    let error = Plan::prepare(&bench.store, &to_a(), &host).unwrap_err().to_string();
    assert!(error.contains("cannot list the processes"), "{error}");
    let done = Bench::new(&[]).plan(&host).carry_out();
    assert!(!done.is_complete(), "{done:?}");
}
