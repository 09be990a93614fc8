//! Mounts follow the record: real ones, so only as root, and in a mount namespace of the test's own.
//!
//! The test starts itself again under `unshare --mount`; where that is not possible it says so and does nothing.

use siding_image::{Component, Image, Sink};
use siding_projection::{Agreement, FILE, Projections};
use siding_slot::{Slot, Store, Target, TrialTerms};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const INSIDE: &str = "SIDING_TEST_IN_NAMESPACE";

/// Whether this is the process in the namespace. Otherwise runs the test in one, if that can be.
fn inside(test: &str, needs: &[&str]) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let runs = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    // A tmpfs on /run also hides the workbench of a device under test from the one here.
    let may_mount = ["--mount", "--propagation", "private", "mount", "-t", "tmpfs", "none", "/run"];
    if !runs("unshare", &may_mount) {
        eprintln!("{test}: nothing was tested: mounts are not allowed here");
        return false;
    }
    let missing = needs.iter().find(|tool| !runs("sh", &["-c", &format!("command -v {tool}")]));
    if let Some(tool) = missing {
        eprintln!("{test}: nothing was tested: there is no {tool}");
        return false;
    }
    let me = std::env::current_exe().expect("a test binary");
    // systemd has all mounts shared; other systems have them private.
    for shared in ["mount --make-rshared / && ", ""] {
        let script = format!("{shared}mount -t tmpfs none /run && exec \"$0\" --exact \"$1\" --nocapture");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script]).arg(&me).arg(test);
        let status = command.env(INSIDE, "1").status().expect("unshare runs");
        assert!(status.success(), "the test failed in its namespace");
    }
    false
}

fn name() -> Component {
    "app".parse().expect("a name")
}

/// A store whose base is the image at `base`, and `next` staged and on trial in slot a.
struct Device {
    dir: tempfile::TempDir,
    store: Store,
}

impl Device {
    fn new(base: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        base(&dir.path().join("base image"));
        let mut store = Store::create(&dir.path().join("a store")).expect("a store");
        let version = "1".parse().expect("a version");
        store.init(&name(), &version, 1, &dir.path().join("base image"), 0).expect("a base");
        Self { dir, store }
    }

    fn at(&self) -> PathBuf {
        self.dir.path().join("seen here")
    }

    fn switch(&mut self, make: impl FnOnce(&Path)) {
        let path = self.dir.path().join("next image");
        make(&path);
        let image = Image::open(&path).expect("an image");
        let target = Target::new("1 (a)".parse().expect("a version"), image.identity(), 1);
        let mut staging = self.store.stage(&name(), &target, false, 0).expect("a stage");
        staging.begin(image.content(), &[]).expect("a beginning");
        let terms = TrialTerms { tries: 2, deadline: None };
        staging.seal(Some(&image)).expect("a seal").switch(Some(terms), 0).expect("a switch");
    }

    fn follow(&self, kind: &str) -> bool {
        let text =
            format!("[[projection]]\ncomponent = 'app'\nkind = '{kind}'\nat = '{}'\n", self.at().display());
        fs::write(self.store.root().join(FILE), text).expect("a file");
        let projections = Projections::load(self.store.root()).expect("projections");
        let before = projections.compare(&self.store).remove(0).agreement;
        let changed = projections.apply(&self.store).unwrap_or_else(|error| panic!("{error}"))[0].changed;
        assert_eq!(changed, before != Agreement::Agrees, "{before:?}");
        assert_eq!(projections.compare(&self.store)[0].agreement, Agreement::Agrees);
        changed
    }

    fn text(&self) -> String {
        fs::read_to_string(self.at().join("version")).expect("a file")
    }

    /// How many mounts there are at the place and on the workbench.
    fn mounts(&self) -> usize {
        let at = self.at().display().to_string().replace(' ', "\\040");
        let info = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        info.lines().filter(|line| line.contains(&format!(" {at} ")) || line.contains(" /run/siding")).count()
    }
}

fn story(kind: &str, make: impl Fn(&Path, &str)) {
    let mut device = Device::new(|path| make(path, "one"));
    assert!(device.follow(kind));
    assert_eq!(device.text(), "one");
    assert!(!device.follow(kind), "made again though it was right");
    assert!(fs::write(device.at().join("new"), "x").is_err(), "it can be written");

    device.switch(|path| make(path, "two"));
    let in_use = fs::File::open(device.at().join("version")).expect("a file");
    assert_eq!(device.text(), "one", "it followed without being told");
    assert!(device.follow(kind));
    assert_eq!((device.text().as_str(), device.mounts()), ("two", 1));
    assert_eq!(std::io::read_to_string(in_use).expect("the old file"), "one");

    // Back to the base, and the slot that was left is emptied and used again.
    device.store.rollback(&[name()], "a test", 0).expect("a rollback");
    device.store.vacuum(0).expect("a vacuum");
    device.switch(|path| {
        let _ = fs::remove_dir_all(path).or_else(|_| fs::remove_file(path));
        make(path, "three");
    });
    assert_eq!(device.store.state().get(&name()).expect("the component").active, Slot::A);
    assert!(device.follow(kind), "another image at the same path was taken for the old one");
    assert_eq!((device.text().as_str(), device.mounts()), ("three", 1));

    // What someone else mounts there is covered, not taken away.
    run(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(device.at()));
    assert!(device.follow(kind));
    assert_eq!((device.text().as_str(), device.mounts()), ("three", 3));
    while device.mounts() > 0 {
        run(Command::new("umount").arg("-l").arg(device.at()));
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("a program");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn make_tree(path: &Path, text: &str) {
    fs::create_dir(path).expect("a directory");
    fs::write(path.join("version"), text).expect("a file");
}

fn packed(path: &Path, text: &str, pack: impl FnOnce(&Path)) {
    let tree = path.with_extension("tree");
    make_tree(&tree, text);
    pack(&tree);
    fs::remove_dir_all(tree).expect("a directory");
}

#[test]
fn a_tree_is_seen_where_it_should_be() {
    if inside("a_tree_is_seen_where_it_should_be", &["mount"]) {
        story("bind", make_tree);
    }
}

#[test]
fn an_ext4_image_is_seen_where_it_should_be() {
    if inside("an_ext4_image_is_seen_where_it_should_be", &["mount", "mke2fs"]) {
        story("loop", |path, text| {
            packed(path, text, |tree| {
                run(Command::new("mke2fs").args(["-q", "-t", "ext4", "-d"]).arg(tree).arg(path).arg("1M"));
            });
        });
    }
}

#[test]
fn a_squashfs_image_is_seen_where_it_should_be() {
    if inside("a_squashfs_image_is_seen_where_it_should_be", &["mount", "mksquashfs"]) {
        story("loop", |path, text| {
            packed(path, text, |tree| {
                run(Command::new("mksquashfs").arg(tree).arg(path).args([
                    "-quiet",
                    "-no-progress",
                    "-no-xattrs",
                ]));
            });
        });
    }
}

#[test]
fn an_erofs_image_is_seen_where_it_should_be() {
    if inside("an_erofs_image_is_seen_where_it_should_be", &["mount", "mkfs.erofs"]) {
        story("loop", |path, text| {
            packed(path, text, |tree| run(Command::new("mkfs.erofs").arg("--quiet").arg(path).arg(tree)));
        });
    }
}
