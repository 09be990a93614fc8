//! What a device does not take: each refusal has its own message and exit code, leaves what runs exactly as it
//! was, and does not stand in the way of the next good patch.
#![cfg(feature = "make")]

mod common;

use common::{Done, Lab, Lock, changed, is_root, noise, tool, tree};
use siding_patch::{Limits, PrivateKey, Trust};
use std::fs;
use std::path::PathBuf;

/// A device whose running image is watched.
struct Watched {
    lab: Lab,
    running: Vec<u8>,
    link: String,
}

/// The end of an install command.
const TRUST: &str = "--trust maker.pub";

impl Watched {
    fn new() -> Self {
        Self::of(Lab::device())
    }

    fn of(lab: Lab) -> Self {
        let (running, link) = (lab.current("lib"), lab.current_link("lib"));
        Self { lab, running, link }
    }

    /// The command fails with this code and these words, and what runs is what ran.
    #[track_caller]
    fn refuses(&self, line: &str, code: i32, words: &[&str]) {
        self.untouched(self.lab.run(line), code, words);
    }

    #[track_caller]
    fn untouched(&self, done: Done, code: i32, words: &[&str]) {
        assert!(done.err.starts_with("siding: ") && done.out.is_empty(), "{done}");
        done.ends_with(code).complains(words);
        self.goes_on();
    }

    #[track_caller]
    fn goes_on(&self) {
        assert!(self.lab.current("lib") == self.running, "the running image has changed");
        assert_eq!(self.lab.current_link("lib"), self.link);
        self.lab.ok("status").says(&["next restart: goes on with"]);
    }

    /// And then a good patch goes in.
    #[track_caller]
    fn still_takes(&self, line: &str, image: &str) {
        self.lab.ok(&format!("{line} --switch"));
        assert!(self.lab.current("lib") == self.lab.read(image), "not what the patch makes");
        self.lab.ok("confirm");
    }

    #[track_caller]
    fn still_takes_a_good_one(&self) {
        self.still_takes("install a.siding --trust maker.pub", "new-a");
    }
}

#[test]
fn a_patch_for_another_base() {
    let device = Watched::new();
    device.lab.write("other", &noise(99, 40_000));
    device.lab.diff("other new-a -o wrong.siding --from 0.9 --to '1.0 (c)'");
    device.refuses(
        &format!("install wrong.siding {TRUST}"),
        3,
        &[
            "starts from lib 0.9",
            "which no slot holds",
            "1.0 [",
            "in base",
            "get the patch made for one of these",
        ],
    );
    // The same version number does not help: the bytes count.
    device.lab.diff("other new-b -o same-name.siding");
    device.refuses(
        &format!("install same-name.siding {TRUST}"),
        3,
        &["starts from lib 1.0", "which no slot holds"],
    );
    device.still_takes_a_good_one();
}

#[test]
fn a_patch_for_another_component() {
    let device = Watched::new();
    device.lab.diff("old new-b -o other.siding --component other");
    device.refuses(
        &format!("install other.siding {TRUST}"),
        3,
        &["for component other", "this store does not have", "siding init"],
    );
    device.still_takes_a_good_one();
}

#[test]
fn a_patch_by_someone_else() {
    let device = Watched::new();
    device.lab.ok("keygen stranger");
    device.lab.diff("old new-b -o strange.siding --key stranger.key");
    device.refuses(
        &format!("install strange.siding {TRUST}"),
        5,
        &["not trusted", "1 distinct trusted key, got 0; it names ", "check which public keys are trusted"],
    );
    device.lab.run("verify strange.siding --trust maker.pub").ends_with(5);
    device.still_takes_a_good_one();
}

#[test]
fn a_patch_by_nobody() {
    let device = Watched::new();
    device.lab.diff("old new-b -o unsigned.siding --unsigned");
    device.refuses(&format!("install unsigned.siding {TRUST}"), 5, &["not signed", "siding sign"]);
    device.lab.run("install unsigned.siding").ends_with(2).complains(&["--trust", "store/trust"]);
    // No device takes a patch that nobody vouches for.
    device.lab.run("install unsigned.siding --allow-unsigned").ends_with(2);
    device.still_takes_a_good_one();
}

#[test]
fn a_patch_by_too_few() {
    let device = Watched::new();
    let two = "--trust maker.pub --trust second.pub --threshold 2";
    device.lab.ok("keygen second");
    device.refuses(&format!("install a.siding {two}"), 5, &["2 distinct trusted keys, got 1; it names "]);
    // One key does not become two by being named twice, in the trust or in the patch.
    device.refuses("install a.siding --trust maker.pub --trust maker.pub --threshold 2", 2, &["threshold"]);
    device.lab.ok("sign a.siding --key maker.key");
    device.refuses(&format!("install a.siding {two}"), 5, &["got 1; it names "]);
    device.lab.ok("sign a.siding --key second.key -o twice.siding").says(&["twice.siding: signed by"]);
    device.refuses(&format!("install a.siding {two}"), 5, &["got 1"]);
    device.still_takes(&format!("install twice.siding {two}"), "new-a");
}

#[test]
fn a_patch_past_its_date() {
    let device = Watched::new();
    device.lab.diff("old new-b -o late.siding --expires 2020-01-01");
    device.refuses(&format!("install late.siding {TRUST}"), 5, &["expired on 2020-01-01", "get a newer one"]);
    device.refuses(&format!("verify late.siding {TRUST}"), 5, &["expired on 2020-01-01"]);
    device.lab.diff("old new-b -o fresh.siding --expires 2099-12-31T23:59:59Z");
    device.still_takes(&format!("install fresh.siding {TRUST}"), "new-b");
}

#[test]
fn a_patch_of_an_older_epoch_than_one_that_was_confirmed() {
    let lab = Lab::device();
    lab.diff("old new-a -o second.siding --to '1.0 (b)' --epoch 2");
    lab.diff("old new-b -o first.siding --to '1.0 (a)' --epoch 1");
    lab.write("new-c", &changed(&lab.read("old"), 77));
    lab.diff("old new-c -o third.siding --to '1.0 (c)' --epoch 2");
    // A switch on trial does not raise the floor; a confirm does.
    lab.ok("install second.siding --trust maker.pub --switch");
    lab.ok("rollback");
    assert_eq!(lab.status("lib")["epoch_floor"], 0);
    lab.ok("install second.siding --trust maker.pub --retry-denied --switch");
    lab.ok("confirm");
    assert_eq!(lab.status("lib")["epoch_floor"], 2);
    let device = Watched::of(lab);
    device.refuses(
        &format!("install first.siding {TRUST}"),
        5,
        &["security epoch 1", "has confirmed epoch 2", "never goes below", "get a newer patch"],
    );
    device.still_takes(&format!("install third.siding {TRUST}"), "new-c");
}

#[test]
fn an_older_epoch_that_waited_sealed_while_a_newer_one_was_confirmed() {
    let lab = Lab::device();
    lab.diff("old new-a -o first.siding --to '1.0 (z)' --epoch 1");
    lab.diff("old new-b -o second.siding --to '1.0 (b)' --epoch 2");
    lab.ok("install first.siding --trust maker.pub");
    lab.ok("install second.siding --trust maker.pub --switch");
    lab.ok("confirm");
    lab.ok("switch").says(&["lib runs 1.0 (b) already"]);
    let device = Watched::of(lab);
    device.refuses("switch lib", 5, &["security epoch 1", "confirmed epoch 2"]);
}

#[test]
fn a_patch_for_another_product() {
    let device = Watched::new();
    device.lab.diff("old new-b -o router.siding --product router-7 --product router-8");
    let install = format!("install router.siding {TRUST}");
    device.refuses(&install, 3, &["for router-7, router-8", "not told what it is (--product)"]);
    device.refuses(
        &format!("{install} --product toaster"),
        3,
        &["for router-7, router-8", "this device is toaster"],
    );
    let done = device.lab.command(&install).env("SIDING_PRODUCT", "router-8").output().unwrap();
    assert!(done.status.success());
    device.goes_on();
    device.still_takes(&format!("{install} --product router-7"), "new-b");
    // A patch for all products fits every one.
    device.lab.ok("remove lib");
    device.lab.ok("install a.siding --trust maker.pub --product toaster");
}

#[test]
fn a_patch_for_a_later_siding() {
    let device = Watched::new();
    device.lab.diff("old new-b -o later.siding --minimum-siding 99.0.0");
    device.refuses(
        &format!("install later.siding {TRUST}"),
        3,
        &["needs siding 99.0.0", "update siding first"],
    );
    device.lab.diff("old new-b -o now.siding --minimum-siding 0.0.1");
    device.still_takes(&format!("install now.siding {TRUST}"), "new-b");
}

#[test]
fn a_store_that_someone_else_is_writing_to() {
    let device = Watched::new();
    let lock = Lock::hold(&device.lab.path("store"));
    assert!(lock.is_some());
    let words = &["in use by another process", "try again"];
    let verbs = [
        "install a.siding --trust maker.pub",
        "switch",
        "confirm",
        "rollback",
        "remove lib",
        "boot",
        "vacuum",
    ];
    for verb in verbs.into_iter().chain(["init more old --version 1"]) {
        device.refuses(verb, 8, words);
    }
    // Who only looks is not kept waiting.
    device.lab.ok("status").says(&["lib 1.0"]);
    device.lab.ok("log").says(&["base 1.0 put in place"]);
    drop(lock);
    device.still_takes_a_good_one();
}

#[test]
fn no_store() {
    let device = Watched::new();
    fs::create_dir(device.lab.path("empty")).unwrap();
    for place in ["nowhere", "empty", "old"] {
        for verb in ["status", "log", "boot", "switch", "install a.siding --trust maker.pub"] {
            device.refuses(
                &format!("{verb} --store {place}"),
                3,
                &["there is no store at", place, "siding init"],
            );
        }
    }
    assert!(!device.lab.path("nowhere").exists());
    assert!(device.lab.names("empty").is_empty());
}

#[test]
fn a_store_that_lost_its_record() {
    let lab = Lab::device();
    fs::remove_file(lab.path("store/record")).unwrap();
    for verb in ["status", "boot", "init more old --version 1"] {
        lab.run(verb).ends_with(6).complains(&["it is gone", "components/NAME/base"]);
    }
}

#[test]
fn a_patch_with_a_flipped_bit() {
    let device = Watched::new();
    let good = device.lab.read("a.siding");
    // The header, the envelope, the middle, the chunks, the last byte; and some between.
    let places = [0, 7, 8, 10, 12, 20, 40, 60, 100].into_iter().chain((150..good.len()).step_by(311));
    for at in places.chain([good.len() - 1]) {
        let mut bad = good.clone();
        bad[at] ^= 0x04;
        let done = device.lab.piped("install - --trust maker.pub --switch", &bad);
        let known = match done.code {
            Some(5) => ["not trusted", "not signed"].iter().any(|word| done.err.contains(word)),
            Some(6) => ["damaged", "malformed", "ends inside", "not a siding patch"]
                .iter()
                .any(|word| done.err.contains(word)),
            Some(1 | 3) => ["install a newer siding", "limit"].iter().any(|word| done.err.contains(word)),
            _ => false,
        };
        assert!(known, "byte {at} of {}: {done}", good.len());
        assert!(device.lab.current("lib") == device.running, "byte {at}");
    }
    device.goes_on();
    device.still_takes_a_good_one();
}

#[test]
fn a_patch_that_ends_early_or_late() {
    let device = Watched::new();
    let good = device.lab.read("a.siding");
    let lengths = [0, 1, 8, 12, 13, 64, 200].into_iter().chain((300..good.len()).step_by(401));
    for len in lengths.chain([good.len() - 1]) {
        let done = device.lab.piped("install - --trust maker.pub --switch", &good[..len]);
        assert_eq!(done.code, Some(6), "{len} of {} bytes: {done}", good.len());
        assert!(
            done.err.contains("ends inside") && done.err.contains("fetch the patch again"),
            "{len} bytes: {done}"
        );
        assert!(device.lab.current("lib") == device.running, "{len} bytes");
    }
    device.goes_on();
    let long = [good.as_slice(), b"\0"].concat();
    let done = device.lab.piped("install - --trust maker.pub --switch", &long);
    device.untouched(done, 6, &["bytes follow the last chunk"]);
    device.still_takes_a_good_one();
}

#[test]
fn something_that_is_no_patch() {
    let device = Watched::new();
    device.refuses(&format!("install old {TRUST}"), 6, &["not a siding patch", "check the file name"]);
    device.refuses(&format!("install ./missing {TRUST}"), 1, &["cannot open the patch ./missing"]);
    device.refuses(&format!("install missing.siding {TRUST}"), 1, &["cannot open the patch missing.siding"]);
    device.refuses(&format!("install missing {TRUST}"), 1, &["cannot open the patch missing", "no release"]);
    device.refuses("install a.siding --trust old", 2, &["old", "PEM text"]);
    device.refuses("install a.siding --trust maker.key", 2, &["maker.key", "is a private key"]);
    device.refuses("install a.siding --trust missing.pub", 1, &["cannot read the key missing.pub"]);
    device.still_takes_a_good_one();
}

#[test]
fn a_slot_that_rotted_is_no_source() {
    let lab = Lab::device();
    lab.ok("install a.siding --trust maker.pub --switch --no-trial");
    lab.diff("new-a new-b -o chain.siding --from '1.0 (a)' --to '1.0 (b)'");
    let base = lab.path("store/components/lib/base/image");
    tree::set_mode(&base, 0o644);
    let mut bytes = fs::read(&base).unwrap();
    bytes[20_000..20_008].fill(0);
    fs::write(&base, bytes).unwrap();
    let device = Watched::of(lab);
    device.refuses(
        &format!("install b.siding {TRUST}"),
        6,
        &["the slot the patch starts from is damaged", "base/image has changed", "the patch was not used"],
    );
    device.still_takes(&format!("install chain.siding {TRUST}"), "new-b");
}

#[test]
fn a_sealed_image_that_rotted_is_written_anew_by_an_install() {
    let device = Watched::new();
    device.lab.ok("install a.siding --trust maker.pub");
    let image = device.lab.path("store/components/lib/a/image");
    tree::set_mode(&image, 0o644);
    fs::write(&image, noise(3, 100)).unwrap();
    device.lab.ok(&format!("install a.siding {TRUST} --switch"));
    assert!(device.lab.current("lib") == device.lab.read("new-a"));
    device.lab.ok("log").says(&["its image is damaged: "]);
}

/// A small filesystem, for as long as it lives.
struct Small(PathBuf);

impl Small {
    fn new(at: PathBuf, kib: usize) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        tool(&format!("mount -t tmpfs -o size={kib}k tmpfs {}", at.display()))?;
        Some(Self(at))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        tool(&format!("umount {}", self.0.display()));
    }
}

#[test]
fn no_room_for_the_target() {
    if !is_root() {
        return eprintln!("skipped: only root can mount a small filesystem");
    }
    let lab = Lab::new();
    lab.write("old", &noise(1, 400_000));
    lab.write("new-a", &changed(&lab.read("old"), 11));
    lab.diff("old new-a -o a.siding");
    // The record takes 512 KiB, the base 400 KB; 100 KiB are left.
    let Some(small) = Small::new(lab.path("small"), 512 + 400 + 100) else {
        return eprintln!("skipped: no filesystem can be mounted here");
    };
    let store = "--store small/store";
    lab.ok(&format!("init lib old --version 1.0 {store}"));
    let current = || lab.read("small/store/current/lib");
    for _ in 0..2 {
        lab.run(&format!("install a.siding {TRUST} --switch {store}")).ends_with(7).complains(&["are free"]);
        assert!(current() == lab.read("old"));
        lab.ok(&format!("status {store}")).says(&["lib 1.0  base", "next restart: goes on with 1.0 in base"]);
    }
    lab.run(&format!("init more old --version 1.0 {store}"))
        .ends_with(7)
        .complains(&["No space left", "siding vacuum"]);
    lab.ok(&format!("vacuum {store}"));
    lab.run(&format!("apply a.siding old small/out {TRUST}")).ends_with(7).complains(&["are free"]);
    assert_eq!(lab.names("small"), ["store"], "what could not be finished is gone");
    tool(&format!("mount -o remount,size=4m {}", small.0.display())).unwrap();
    lab.ok(&format!("install a.siding {TRUST} --switch {store}"));
    assert!(current() == lab.read("new-a"));
}

/// A signed patch whose maker got the target wrong: the digest in the manifest is not that of what it makes.
#[test]
fn a_patch_that_does_not_make_what_it_promises() {
    let device = Watched::new();
    let key = fs::read_to_string(device.lab.path("maker.key")).unwrap();
    let key = PrivateKey::from_pem(&key).unwrap();
    let (good, new) = (device.lab.read("a.siding"), device.lab.read("new-a"));
    let good = siding_patch::open(good.as_slice(), &Trust::anyone(), &Limits::default()).unwrap();
    let mut manifest = good.manifest().clone();
    manifest.target.version = "1.0 (x)".parse().unwrap();
    manifest.target.identity.digest = siding_image::verity::digest(&device.lab.read("new-b"));
    let made = siding_patch::Instruction { literals: &new, from: 0, source: &[], target: &[] };
    let chunk = siding_patch::encode_delta(&[made], 0, siding_patch::Packing::zstd(3), None).unwrap();
    let mut bytes = Vec::new();
    siding_patch::write(&manifest, &[chunk], &[key], &mut bytes).unwrap();
    let done = device.lab.piped("install - --trust maker.pub --switch", &bytes);
    device.untouched(done, 6, &["came out wrong", "report it to the patch's maker"]);
    device.lab.ok("status").says(&["a      not finished; the next install writes it anew"]);
    device.lab.ok("vacuum");
    device.lab.ok("status").says(&["a      empty"]);
    device.still_takes_a_good_one();
}

#[test]
fn a_store_may_be_named_by_a_link() {
    let lab = Lab::device();
    std::os::unix::fs::symlink(lab.path("store"), lab.path("link")).unwrap();
    lab.ok("install a.siding --trust maker.pub --store link --switch");
    assert_eq!(lab.current("lib"), lab.read("new-a"));
    std::fs::create_dir(lab.path("empty")).unwrap();
    std::os::unix::fs::symlink("empty", lab.path("other")).unwrap();
    lab.ok("init lib old --version 1.0 --store other");
    lab.ok("status --store empty").says(&["lib"]);
}

#[test]
fn an_empty_variable_is_named() {
    let lab = Lab::device();
    let line = "install a.siding";
    let done = lab.finished(line, lab.command(line).env("SIDING_TRUST", ""));
    done.ends_with(2).complains(&["SIDING_TRUST is set and empty"]);
}

#[test]
fn a_record_that_is_too_short_and_a_log_that_was_cut_are_named() {
    let lab = Lab::device();
    // The record carries the newest entries until the log has them for sure.
    lab.ok("install a.siding --trust maker.pub");
    lab.write("store/log", b"");
    lab.ok("log").says(&["lines of the log that cannot be read: 1"]);
    lab.ok("vacuum");
    lab.ok("log").says(&["lines of the log that cannot be read: 1"]);
    for len in [0, 100] {
        lab.write("store/record", &vec![0; len]);
        for verb in ["status", "boot"] {
            lab.run(verb).ends_with(6).complains(&["is damaged: it has", "keep the store"]);
        }
    }
}
