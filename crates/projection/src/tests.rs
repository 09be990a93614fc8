//! Stories: a real store, and loaders' files that are ours to play the loader with.

use super::*;
use crate::systemd_boot::SlotEntry;
use siding_image::{Content, FileRef, Sink, verity};
use siding_slot::{ComponentState, Slot, Store, Target, TrialTerms};
use std::path::PathBuf;

mod agreement;
mod turn;

const GRUB: &[u8] = b"# GRUB Environment Block\nsaved_entry=0\n";
const NOW: u64 = 1_700_000_000;

/// A device with a component, and a boot loader of each kind.
struct Device {
    dir: tempfile::TempDir,
    store: Store,
}

impl Device {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let file = |name: &str| dir.path().join(name);
        std::fs::write(file("old"), b"old bytes").expect("an image");
        let mut store = Store::create(&file("store")).expect("a store");
        store.init(&name(), &"1".parse().expect("a version"), 1, &file("old"), NOW).expect("a base");
        let mut block = GRUB.to_vec();
        block.resize(1024, b'#');
        std::fs::write(file("grubenv"), block).expect("a block");
        let golden = include_bytes!("../../../testdata/loaders/uboot-two.env");
        std::fs::write(file("uboot"), golden).expect("an environment");
        std::fs::create_dir(file("entries")).expect("a directory");
        for slot in Slot::ALL {
            std::fs::write(file("entries").join(format!("siding-root-fs-{slot}.conf")), slot.name())
                .expect("an entry");
        }
        std::fs::create_dir(file("efi")).expect("a directory");
        std::fs::write(file("efi").join(efi::BOOT_ORDER), efi::encode(&[9, 1])).expect("a variable");
        Self { dir, store }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn projections(&self, kinds: &[&str]) -> Projections {
        let dir = self.dir.path().display();
        let texts = kinds.iter().map(|kind| {
            let rest = match *kind {
                "grub" => format!("file = '{dir}/grubenv'"),
                "uboot" => format!("file = '{dir}/uboot'\nsize = 0x2000\nsecond_offset = 0x4000"),
                "systemd-boot" => format!("entries = '{dir}/entries'"),
                "efi-boot-next" => format!("variables = '{dir}/efi'\na = 1\nb = 2\nbase = 3"),
                script => format!("run = ['sh', '-c', '{script}']\nseconds = 1"),
            };
            let known = ["grub", "uboot", "systemd-boot", "efi-boot-next"].contains(kind);
            let kind = if known { kind } else { "command" };
            format!("[[projection]]\ncomponent = 'root-fs'\nkind = '{kind}'\n{rest}\n")
        });
        std::fs::write(self.file("store").join(FILE), texts.collect::<String>()).expect("a file");
        Projections::load(&self.file("store")).expect("projections")
    }

    /// Stages these bytes and switches to them, on trial.
    fn switch(&mut self, bytes: &[u8], version: &str, tries: u32) {
        let content = Content::File(FileRef { size: bytes.len() as u64, digest: verity::digest(bytes) });
        let target = Target::new(version.parse().expect("a version"), content.identity(), 2);
        let mut staging = self.store.stage(&name(), &target, false, NOW).expect("a stage");
        let fresh = FileRef { size: bytes.len() as u64, digest: verity::digest(bytes) };
        staging.begin(&content, &[fresh]).expect("a beginning");
        staging.write_at(0, 0, bytes).expect("bytes");
        let terms = TrialTerms { tries, deadline: None };
        staging.seal(None).expect("a seal").switch(Some(terms), NOW).expect("a switch");
    }

    fn held(&self) -> &ComponentState {
        self.store.state().get(&name()).expect("the component")
    }

    /// What the store's boot verb does: hears the loaders, then tells them.
    fn boot(&mut self, projections: &Projections, cmdline: &str) {
        let seen = projections.seen(self.store.state(), cmdline);
        self.store.boot_with(&seen, NOW).expect("a boot");
        projections.apply(&self.store).expect("projections");
    }
}

fn name() -> Component {
    "root-fs".parse().expect("a name")
}

fn changed(done: Result<Vec<Done>>) -> Vec<bool> {
    done.expect("projections").into_iter().map(|done| done.changed).collect()
}

/// What a loader does before it boots: counts down, or goes back. Gives what it boots.
trait Loader {
    const KIND: &'static str;
    fn start(device: &Device) -> Slot;
}

struct Grub;
struct UBoot;
struct SystemdBoot;

impl Loader for Grub {
    const KIND: &'static str = "grub";

    fn start(device: &Device) -> Slot {
        let text = std::fs::read_to_string(device.file("grubenv")).expect("a block");
        assert!(text.contains("saved_entry=0\n") && text.len() == 1024, "{text}");
        let get = |name: &str| {
            let value = text.split_once(&format!("\nsiding_root_fs_{name}=")).expect("a variable").1;
            value.lines().next().unwrap_or_default().to_owned()
        };
        let (slot, back) = (get("slot").parse().expect("a slot"), get("back").parse().expect("a slot"));
        let Ok(tries) = get("tries").parse::<u32>() else { return slot };
        let Some(left) = tries.checked_sub(1) else { return back };
        let line = |tries| format!("siding_root_fs_tries={tries}\n");
        std::fs::write(device.file("grubenv"), text.replace(&line(tries), &line(left))).expect("a write");
        slot
    }
}

impl Loader for UBoot {
    const KIND: &'static str = "uboot";

    fn start(device: &Device) -> Slot {
        let mut bytes = std::fs::read(device.file("uboot")).expect("an environment");
        let copies = [bytes[..0x2000].to_vec(), bytes[0x4000..0x6000].to_vec()];
        let copies = uboot::Copies::parse(&copies, uboot::Scheme::Incremental).expect("two copies");
        let environment = copies.environment();
        assert_eq!(environment.get("bootcmd"), Some(&b"run siding"[..]));
        let get = |name: &str| {
            let value = environment.get(&format!("siding_root_fs_{name}"));
            value.map(|value| String::from_utf8_lossy(value).into_owned())
        };
        let slot = get("slot").expect("a slot").parse().expect("a slot");
        let Some(tries) = get("tries") else { return slot };
        let Some(left) = tries.parse::<u32>().expect("a number").checked_sub(1) else {
            return get("back").expect("a slot").parse().expect("a slot");
        };
        let writes =
            copies.write(&environment.with("siding_root_fs_tries", &left.to_string())).expect("room");
        bytes[writes.copy * 0x4000..][..0x2000].copy_from_slice(&writes.bytes);
        std::fs::write(device.file("uboot"), bytes).expect("a write");
        slot
    }
}

impl Loader for SystemdBoot {
    const KIND: &'static str = "systemd-boot";

    fn start(device: &Device) -> Slot {
        let names = io::list(&device.file("entries")).expect("entries");
        let entries = names.iter().map(|file| (file, SlotEntry::parse(&name(), file).expect("an entry")));
        let (file, mut entry) =
            entries.max_by_key(|(_, entry)| (!entry.is_bad(), entry.turn)).expect("an entry");
        if let Some(counter) = &mut entry.counter {
            (counter.left, counter.done) = (counter.left - 1, counter.done + 1);
            io::rename(&device.file("entries"), file, &entry.file_name(&name())).expect("a rename");
        }
        let content = std::fs::read_to_string(device.file("entries").join(entry.file_name(&name())));
        assert_eq!(content.expect("an entry"), entry.slot.name(), "a name went to another slot's entry");
        entry.slot
    }
}

fn a_failed_trial<L: Loader>() {
    let mut device = Device::new();
    let projections = device.projections(&[L::KIND]);
    assert_eq!(changed(projections.apply(&device.store)), [true]);
    assert_eq!(changed(projections.apply(&device.store)), [false]);
    assert_eq!(L::start(&device), Slot::Base);

    device.switch(b"good", "1 (a)", 2);
    projections.apply(&device.store).expect("projections");
    assert_eq!(L::start(&device), Slot::A);
    device.boot(&projections, "quiet siding.root-fs=a");
    device.store.confirm(&[name()], NOW).expect("a confirm");
    projections.apply(&device.store).expect("projections");
    for _ in 0..4 {
        assert_eq!(L::start(&device), Slot::A);
        device.boot(&projections, "siding.root-fs=a");
    }

    device.switch(b"bad", "1 (b)", 3);
    projections.apply(&device.store).expect("projections");
    // It boots far enough once to be heard of, then hangs twice before anything runs.
    assert_eq!(L::start(&device), Slot::B);
    device.boot(&projections, "siding.root-fs=b");
    assert_eq!(device.held().trial.as_ref().map(|trial| trial.tries_left), Some(2));
    assert_eq!(L::start(&device), Slot::B);
    // Making it again in between gives no try back.
    assert_eq!(changed(projections.apply(&device.store)), [false]);
    assert_eq!(L::start(&device), Slot::B);
    for _ in 0..2 {
        assert_eq!(L::start(&device), Slot::A, "the loader goes back, and stays there");
    }
    let seen = projections.seen(device.store.state(), "siding.root-fs=a");
    let turn = device.held().turn;
    let expected = Booted { slot: Some(Slot::A), tries_left: Some(0), turn: Some(turn) };
    assert_eq!(seen, BTreeMap::from([(name(), expected)]));
    device.boot(&projections, "siding.root-fs=a");
    assert_eq!((device.held().active, device.held().turn), (Slot::A, turn + 1));
    assert_eq!(L::start(&device), Slot::A);
}

fn a_cut_before_the_projection<L: Loader>() {
    let mut device = Device::new();
    let projections = device.projections(&[L::KIND]);
    projections.apply(&device.store).expect("projections");
    device.switch(b"new", "1 (a)", 3);
    // The power goes between record and projection: the loader boots what it knows, and that is no fall back.
    assert_eq!(L::start(&device), Slot::Base);
    device.boot(&projections, "siding.root-fs=base");
    assert_eq!(device.held().active, Slot::A);
    assert!(device.held().denied.is_empty());
    assert_eq!(L::start(&device), Slot::A);
}

#[test]
fn grub_tries_a_slot_and_goes_back() {
    a_failed_trial::<Grub>();
}

#[test]
fn u_boot_tries_a_slot_and_goes_back() {
    a_failed_trial::<UBoot>();
}

#[test]
fn systemd_boot_tries_a_slot_and_goes_back() {
    a_failed_trial::<SystemdBoot>();
}

#[test]
fn a_loader_that_has_not_heard_yet_has_not_fallen_back() {
    a_cut_before_the_projection::<Grub>();
    a_cut_before_the_projection::<UBoot>();
    a_cut_before_the_projection::<SystemdBoot>();
}

#[test]
fn the_firmware_boots_a_trial_once_for_each_time_it_is_told() {
    let mut device = Device::new();
    let projections = device.projections(&["efi-boot-next"]);
    let variable = |device: &Device, name: &str| {
        let bytes = io::read_if_there(&device.file("efi").join(name)).expect("a read");
        bytes.map(|bytes| efi::parse(&bytes).expect("numbers"))
    };
    let both = |device: &Device| (variable(device, efi::BOOT_ORDER), variable(device, efi::BOOT_NEXT));
    assert_eq!(changed(projections.apply(&device.store)), [true]);
    assert_eq!(both(&device), (Some(vec![3, 9, 1]), None));
    assert_eq!(changed(projections.apply(&device.store)), [false]);

    device.switch(b"new", "1 (a)", 2);
    // The record has it, the firmware not yet: it boots the base, and that is no fall back.
    device.boot(&projections, "siding.root-fs=base");
    assert_eq!(device.held().active, Slot::A);
    assert_eq!(both(&device), (Some(vec![3, 9, 1]), Some(vec![1])));

    // The firmware forgets BootNext as it boots.
    std::fs::remove_file(device.file("efi").join(efi::BOOT_NEXT)).expect("a variable");
    device.store.confirm(&[name()], NOW).expect("a confirm");
    projections.apply(&device.store).expect("projections");
    assert_eq!(both(&device), (Some(vec![1, 3, 9]), None));

    // It hangs: the next start is of the order's first, which is the way back.
    device.switch(b"bad", "1 (b)", 2);
    projections.apply(&device.store).expect("projections");
    assert_eq!(both(&device), (Some(vec![1, 3, 9]), Some(vec![2])));
    std::fs::remove_file(device.file("efi").join(efi::BOOT_NEXT)).expect("a variable");
    device.boot(&projections, "siding.root-fs=a");
    assert_eq!(device.held().active, Slot::A);
    assert_eq!(device.held().denied.len(), 1);
    assert_eq!(both(&device), (Some(vec![1, 3, 9]), None));
}

#[test]
fn a_command_is_told_all_and_its_failure_keeps_no_other_back() {
    let mut device = Device::new();
    device.switch(b"new", "1 (a)", 2);
    let told = device.file("told");
    let tell = format!(
        "echo $SIDING_PROJECTION $SIDING_COMPONENT $SIDING_SLOT $SIDING_BACK $SIDING_TRIES $SIDING_TURN \
         $SIDING_IMAGE > {}",
        told.display()
    );
    let projections = device.projections(&["echo no such luck; exit 3", "grub", &tell]);
    let Err(Error::Failed { done, failures }) = projections.apply(&device.store) else {
        panic!("no failure")
    };
    assert_eq!((done.len(), failures.len()), (2, 1));
    let message = failures[0].to_string();
    assert!(
        message.starts_with("root-fs: command sh does not follow the record: sh: exit code 3: no such luck"),
        "{message}"
    );
    let image = device.store.image_path(&name(), Slot::A);
    let expected = format!("1 root-fs a base 2 {} {}\n", device.held().turn, image.display());
    assert_eq!(std::fs::read_to_string(told).expect("a file"), expected);
}

#[test]
fn a_command_that_hangs_is_killed() {
    let device = Device::new();
    // What it started dies with it, else this test would wait for it.
    let projections = device.projections(&["cat /dev/zero > /dev/null & cat /dev/zero > /dev/null"]);
    let error = projections.apply(&device.store).expect_err("a failure").to_string();
    assert!(error.contains("still running after 1 s, killed"), "{error}");
}

#[test]
fn each_failure_names_the_component_the_projection_and_what_to_do() {
    let device = Device::new();
    std::fs::remove_file(device.file("grubenv")).expect("a file");
    std::fs::write(device.file("uboot"), [0xff; 0x6000]).expect("a file");
    std::fs::remove_file(device.file("entries/siding-root-fs-base.conf")).expect("a file");
    let projections = device.projections(&["grub", "uboot", "systemd-boot"]);
    let error = projections.apply(&device.store).expect_err("failures").to_string();
    let lines: Vec<&str> = error.lines().collect();
    let expected = [
        ("grub", "make it, or correct projections.toml"),
        ("uboot", "compare file, offset and size with /etc/fw_env.config"),
        ("systemd-boot", "there is no entry for slot base; make one called siding-root-fs-base.conf"),
    ];
    assert_eq!(lines.len(), expected.len(), "{error}");
    for (line, (kind, advice)) in lines.iter().zip(expected) {
        assert!(line.starts_with(&format!("root-fs: {kind} /")) && line.contains(advice), "{line}");
    }
    let text = "[[projection]]\ncomponent = 'x'\nkind = 'grub'\nfile = '/x'\n";
    let unknown = Projections::parse(Path::new("p"), text).expect("projections");
    let error = unknown.apply(&device.store).expect_err("a failure").to_string();
    assert!(error.contains("has no component x; init it"), "{error}");
}

#[test]
fn loaders_that_say_nothing_are_not_heard() {
    let device = Device::new();
    let projections = device.projections(&["grub", "uboot"]);
    assert_eq!(
        projections.seen(device.store.state(), "quiet siding.other=a siding.root-fs=c"),
        BTreeMap::new()
    );
    let seen = projections.seen(device.store.state(), "siding.root-fs=a siding.root_fs=b\n");
    assert_eq!(seen[&name()], Booted { slot: Some(Slot::B), ..Booted::default() });
}

#[test]
fn without_a_file_nothing_follows() {
    let device = Device::new();
    let none = Projections::load(&device.file("store")).expect("projections");
    assert!(none.is_empty());
    assert_eq!(none.apply(&device.store).expect("nothing"), []);
}

#[test]
fn nothing_is_mounted_in_the_store_or_above_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    std::fs::create_dir_all(store.join("current")).unwrap();
    std::os::unix::fs::symlink(&store, dir.path().join("link")).unwrap();
    let parse = |kind: &str, at: &Path| {
        let text = format!("[[projection]]\ncomponent = \"app\"\nkind = {kind:?}\nat = {at:?}\n");
        Projections::parse(&store.join("projections.toml"), &text)
    };
    let inside = [store.join("components"), store.join("not/there/yet"), dir.path().join("link/current")];
    for at in inside.iter().chain([&store, &dir.path().to_owned(), &PathBuf::from("/")]) {
        for kind in ["bind", "loop"] {
            let error = parse(kind, at).unwrap_err().to_string();
            assert!(error.contains("line 1") && error.contains("nothing may be mounted"), "{error}");
        }
    }
    parse("bind", &dir.path().join("beside")).unwrap();
    parse("bind", &dir.path().join("store-beside")).unwrap();
}
