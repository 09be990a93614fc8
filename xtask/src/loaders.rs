//! Boot loaders' files checked against the real tools, in both directions.
//!
//! A store in a temporary directory switches, confirms and falls back, its projections follow, and after each change
//! grub-editenv, fw_printenv and bootctl are asked what they see; what grub-editenv and fw_setenv change is asked of
//! ours. GRUB itself, as the program grub-emu, runs `contrib/grub/siding.cfg` on a real ext4 filesystem. Not
//! checked here: systemd-boot and U-Boot themselves, which need a machine.

use crate::{Result, measure, tools, workspace};
use siding_image::{Component, Image, Sink};
use siding_projection::{FILE, Projections};
use siding_slot::{Booted, Slot, Store, Target, TrialTerms};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const USAGE: &str = "\
cargo xtask loaders
  checks what boot loaders are told with GRUB's, U-Boot's and systemd's own tools, which are fetched if missing";

pub(crate) fn run(args: &[String]) -> Result<()> {
    if !args.is_empty() {
        return Err(USAGE.to_owned());
    }
    install(&[("grub-editenv", "grub-common"), ("grub-emu", "grub-emu"), ("fw_setenv", "libubootenv-tool")]);
    install(&[("mkimage", "u-boot-tools"), ("debugfs", "e2fsprogs")]);
    let checks: [(&str, &[&str], Check); 5] = [
        ("GRUB's environment block", &["grub-editenv"], grub_editenv),
        (
            "contrib/grub/siding.cfg in GRUB",
            &["grub-script-check", "grub-emu", "mke2fs", "debugfs"],
            grub_runs,
        ),
        ("U-Boot's environment", &["fw_setenv", "fw_printenv"], uboot),
        ("contrib/u-boot/boot.cmd", &["mkimage"], boot_script),
        ("systemd-boot's entries", &["apt-get", "dpkg-deb", "unshare"], systemd_boot),
    ];
    let mut failed = 0;
    for (name, needs, check) in checks {
        if let Some(missing) = needs.iter().find(|program| !tools::in_path(program)) {
            println!("skipped {name}: there is no {missing}, and it cannot be installed");
            continue;
        }
        match check() {
            Ok(what) => println!("ok      {name}: {what}"),
            Err(why) => {
                failed += 1;
                println!("FAILED  {name}: {why}");
            }
        }
    }
    if failed == 0 { Ok(()) } else { Err(format!("{failed} of {} checks failed", checks.len())) }
}

/// Says what was found to agree.
type Check = fn() -> Result<String>;

/// A store with a component `rootfs`, whose projection is given.
struct Device {
    dir: tempfile::TempDir,
    store: Store,
    images: u32,
}

impl Device {
    fn new(projection: &str) -> Result<Self> {
        let dir = said(tempfile::tempdir())?;
        said(fs::write(dir.path().join("image"), "base"))?;
        let mut store = said(Store::create(&dir.path().join("store")))?;
        said(store.init(&name(), &said("1".parse())?, 1, &dir.path().join("image"), 0))?;
        let place = dir.path().display().to_string();
        let text = format!("[[projection]]\ncomponent = 'rootfs'\n{}\n", projection.replace("DIR", &place));
        said(fs::write(store.root().join(FILE), text))?;
        Ok(Self { dir, store, images: 0 })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Switches to a new image, on trial.
    fn switch(&mut self, tries: u32) -> Result<()> {
        self.images += 1;
        let path = self.file("next");
        said(fs::write(&path, self.images.to_string()))?;
        let image = said(Image::open(&path))?;
        let letter = char::from(b'a' + u8::try_from(self.images % 26).unwrap_or(0));
        let target = Target::new(said(format!("1 ({letter})").parse())?, image.identity(), 1);
        let mut staging = said(self.store.stage(&name(), &target, true, 0))?;
        said(staging.begin(image.content(), &[]))?;
        let terms = TrialTerms { tries, deadline: None };
        said(said(staging.seal(Some(&image)))?.switch(Some(terms), 0))?;
        Ok(())
    }

    fn confirm(&mut self) -> Result<()> {
        said(self.store.confirm(&[name()], 0)).map(|_| ())
    }

    /// Makes the projection follow, twice, of which the second must change nothing.
    fn follow(&self) -> Result<()> {
        let projections = said(Projections::load(self.store.root()))?;
        said(projections.apply(&self.store))?;
        let again = said(projections.apply(&self.store))?;
        expect("a second time changes nothing", again.iter().any(|done| done.changed), false)
    }

    fn seen(&self) -> Result<Booted> {
        let projections = said(Projections::load(self.store.root()))?;
        Ok(projections.seen(self.store.state(), "").remove(&name()).unwrap_or_default())
    }

    /// What a loader must be told now, as the tools print it; unset and empty are the same.
    fn wanted(&self) -> Result<Vec<(&'static str, String)>> {
        let held = self.store.state().get(&name()).ok_or("no component")?;
        let tries = held.trial.as_ref().map(|trial| trial.tries_left.to_string());
        Ok(vec![
            ("siding_rootfs_slot", held.active.to_string()),
            ("siding_rootfs_back", held.way_back().map(|slot| slot.to_string()).unwrap_or_default()),
            ("siding_rootfs_tries", tries.unwrap_or_default()),
            ("siding_rootfs_turn", held.turn.to_string()),
        ])
    }

    /// Compares that with what a tool printed, and sees that another's variable is there.
    fn agrees(&self, printed: &str) -> Result<()> {
        let found = |name: &str| {
            let value = printed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            value.unwrap_or_default().to_owned()
        };
        for (name, value) in self.wanted()? {
            expect(name, found(name), value)?;
        }
        expect("foreign", found("foreign").as_str(), "kept as it is")
    }

    /// Trials, confirms and a fall back, with `check` after each.
    fn story(&mut self, check: impl Fn(&Self) -> Result<()>) -> Result<()> {
        let step = |device: &Self| device.follow().and_then(|()| check(device));
        step(self)?;
        for _ in 0..3 {
            self.switch(3)?;
            step(self)?;
            self.confirm()?;
            step(self)?;
        }
        self.switch(3)?;
        step(self)?;
        said(self.store.rollback(&[name()], "a test", 0))?;
        step(self)?;
        self.switch(2)?;
        step(self)
    }
}

fn grub_editenv() -> Result<String> {
    let mut device = Device::new("kind = 'grub'\nfile = 'DIR/grubenv'")?;
    let file = device.file("grubenv");
    let tool = |args: &[&str]| print(Command::new("grub-editenv").arg(&file).args(args));
    tool(&["create"])?;
    tool(&["set", "foreign=kept as it is"])?;
    device.story(|device| device.agrees(&tool(&["list"])?))?;
    tool(&["set", "siding_rootfs_tries=1", "later=x"])?;
    expect("tries left", device.seen()?.tries_left, Some(1))?;
    device.follow()?;
    expect("tries left once projected again", device.seen()?.tries_left, Some(1))?;
    // Someone sets all of it anew by hand; it is brought together again.
    tool(&["unset", "siding_rootfs_slot"])?;
    tool(&["set", "siding_rootfs_tries=2"])?;
    device.follow()?;
    let list = tool(&["list"])?;
    expect("later", list.contains("later=x"), true)?;
    device.agrees(&list)?;
    expect("length", said(fs::metadata(&file))?.len(), 1024)?;
    Ok("grub-editenv reads what we write, and we what it writes".to_owned())
}

fn grub_runs() -> Result<String> {
    let script = workspace().join("contrib/grub/siding.cfg");
    print(Command::new("grub-script-check").arg(&script))?;
    let mut device = Device::new("kind = 'grub'\nfile = 'DIR/fs/siding.env'")?;
    let (grub, files) = (device.file("grub"), device.file("fs"));
    for directory in [&grub, &files] {
        said(fs::create_dir(directory))?;
    }
    let (env, disk) = (device.file("fs/siding.env"), device.file("disk"));
    print(Command::new("grub-editenv").arg(&env).arg("create"))?;
    said(std::os::unix::fs::symlink("/usr/lib/grub/x86_64-emu", grub.join("x86_64-emu")))?;
    let config = format!(
        "set siding_env=(hd0)/siding.env\nsource (host){}\necho \"BOOTS ${{siding_args}} END\"\nreboot\n",
        script.display()
    );
    said(fs::write(grub.join("grub.cfg"), config))?;
    said(fs::write(device.file("map"), format!("(hd0) {}\n", disk.display())))?;
    device.switch(3)?;
    device.confirm()?;
    device.switch(2)?;
    device.follow()?;
    said(fs::File::create(&disk).and_then(|file| file.set_len(4 << 20)))?;
    print(Command::new("mke2fs").args(["-q", "-t", "ext4", "-d"]).arg(&files).arg(&disk))?;
    let turn = device.store.state().get(&name()).ok_or("no component")?.turn;
    for (slot, left) in [("b", 1), ("b", 0), ("a", 0), ("a", 0)] {
        let mut emu = Command::new("timeout");
        emu.args(["60", "grub-emu", "-r", "host", "-d"]).arg(&grub).arg("-m").arg(device.file("map"));
        let said_by_grub = print(&mut emu)?;
        let boots = said_by_grub.split("BOOTS").nth(1).and_then(|rest| rest.split("END").next());
        expect(
            "GRUB boots",
            boots.unwrap_or_default().trim(),
            format!("siding.rootfs={slot}:{turn}").as_str(),
        )?;
        print(
            Command::new("debugfs").arg("-R").arg(format!("dump siding.env {}", env.display())).arg(&disk),
        )?;
        expect("tries left", device.seen()?.tries_left, Some(left))?;
    }
    Ok("two tries, then back, and it stays there; the turn is handed on".to_owned())
}

fn uboot() -> Result<String> {
    const TIMES: usize = 300; // more than the flags can count
    let mut device = Device::new("kind = 'uboot'\nfile = 'DIR/env'\nsize = 0x2000\nsecond_offset = 0x4000")?;
    let (file, config, defaults) = (device.file("env"), device.file("config"), device.file("defaults"));
    said(fs::File::create(&file).and_then(|file| file.set_len(0x6000)))?;
    let line = |offset: &str| format!("{} {offset} 0x2000\n", file.display());
    said(fs::write(&config, line("0x0") + &line("0x4000")))?;
    said(fs::write(&defaults, "bootcmd=run siding\n"))?;
    let set = |name: &str, value: &str| {
        print(Command::new("fw_setenv").arg("-c").arg(&config).arg("-f").arg(&defaults).args([name, value]))
    };
    let get = || print(Command::new("fw_printenv").arg("-c").arg(&config).arg("-f").arg(&defaults));
    set("foreign", "kept as it is")?;
    device.story(|device| device.agrees(&get()?))?;
    set("siding_rootfs_tries", "1")?;
    expect("tries left", device.seen()?.tries_left, Some(1))?;
    device.follow()?;
    expect("tries left once projected again", device.seen()?.tries_left, Some(1))?;
    for i in 0..TIMES {
        // The count is put back by hand each time, so that there is something to write.
        set("siding_rootfs_turn", "0")?;
        expect("the turn by hand", device.seen()?.turn, Some(0))?;
        if i % 3 == 0 {
            set("other", &i.to_string())?;
        }
        device.follow()?;
        device.agrees(&get()?)?;
    }
    // One copy is torn: both sides go on with the other.
    let mut bytes = said(fs::read(&file))?;
    bytes.iter_mut().skip(0x40).take(8).for_each(|byte| *byte = 0);
    said(fs::write(&file, &bytes))?;
    set("siding_rootfs_turn", "0")?;
    device.follow()?;
    device.agrees(&get()?)?;
    Ok(format!("fw_printenv and we agree through {TIMES} rounds of the flags, and with a torn copy"))
}

fn boot_script() -> Result<String> {
    let (dir, script) = (said(tempfile::tempdir())?, workspace().join("contrib/u-boot/boot.cmd"));
    let made = dir.path().join("boot.scr");
    let mut command = Command::new("mkimage");
    print(
        command
            .args(["-A", "arm64", "-O", "linux", "-T", "script", "-C", "none", "-d"])
            .arg(script)
            .arg(&made),
    )?;
    Ok(format!("mkimage makes a boot.scr of {} bytes", said(fs::metadata(made))?.len()))
}

fn systemd_boot() -> Result<String> {
    let root = match unpacked("bootctl", &["systemd", "systemd-boot", "libsystemd-shared"]) {
        Ok(root) => root,
        Err(why) => return Ok(format!("skipped, as its packages cannot be had: {why}")),
    };
    if let Err(why) = print(Command::new("unshare").args(["-m", "true"])) {
        return Ok(format!("skipped, as nothing may be mounted here: {why}"));
    }
    let mut device = Device::new("kind = 'systemd-boot'\nentries = 'DIR/loader/entries'")?;
    let entries = device.file("loader/entries");
    said(fs::create_dir_all(&entries))?;
    for slot in Slot::ALL {
        let file = format!("siding-rootfs-{slot}.conf");
        said(fs::copy(workspace().join("contrib/systemd-boot").join(&file), entries.join(&file)))?;
    }
    device.story(|device| {
        let list = bootctl(&root, device.dir.path())?;
        let first = list.first().ok_or("bootctl lists no entry")?;
        let held = device.store.state().get(&name()).ok_or("no component")?;
        expect(
            "the first",
            first["title"].as_str(),
            Some(format!("System (slot {})", held.active).as_str()),
        )?;
        let tries = held.trial.as_ref().map(|trial| u64::from(trial.tries_left));
        expect("its tries", first["triesLeft"].as_u64(), tries)?;
        let second = list.get(1).ok_or("bootctl lists no second entry")?;
        let back = held.way_back().filter(|back| *back != held.active);
        if let Some(back) = back {
            expect("the next", second["title"].as_str(), Some(format!("System (slot {back})").as_str()))?;
            expect("its tries", second["triesLeft"].as_u64(), None)?;
        }
        let bad = list.iter().filter(|entry| entry["triesLeft"] == 0).count();
        expect("bad entries", bad, if back.is_some() { 1 } else { 2 })
    })?;
    Ok("bootctl puts the active slot first, on trial with its tries, and the way back next".to_owned())
}

/// The entries as bootctl sorts them, which it does as systemd-boot does. It wants a filesystem's root, so it gets one.
fn bootctl(root: &Path, esp: &Path) -> Result<Vec<serde_json::Value>> {
    let script = "mkdir \"$1.esp\" && mount -t tmpfs none \"$1.esp\" && cp -r \"$1/loader\" \"$1.esp\" && \
                  LD_LIBRARY_PATH=\"$2\" SYSTEMD_RELAX_ESP_CHECKS=1 \
                  \"$0\" --esp-path=\"$1.esp\" list --json=short; e=$?; umount \"$1.esp\"; rmdir \"$1.esp\"; exit $e";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .arg(root.join("usr/bin/bootctl"));
    let libraries =
        ["usr/lib/x86_64-linux-gnu/systemd", "lib/systemd", "usr/lib/systemd"].map(|l| root.join(l));
    command.arg(esp).arg(said(std::env::join_paths(libraries))?);
    let lines = print(&mut command)?;
    lines.lines().filter(|line| line.starts_with('{')).map(|line| said(serde_json::from_str(line))).collect()
}

/// Debian packages unpacked below `target/`, because installing them would change this machine's boot.
fn unpacked(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let place = workspace().join("target/loaders").join(name);
    let done = place.join("unpacked");
    if !done.exists() {
        said(fs::create_dir_all(&place))?;
        let script =
            "cd \"$0\" && apt-get download -q \"$@\" && for deb in *.deb; do dpkg-deb -x \"$deb\" .; done";
        print(Command::new("sh").args(["-c", script]).arg(&place).args(packages))?;
        said(fs::write(done, ""))?;
    }
    Ok(place)
}

fn install(programs: &[(&str, &str)]) {
    let missing: Vec<&str> = programs
        .iter()
        .filter(|(program, _)| !tools::in_path(program))
        .map(|(_, package)| *package)
        .collect();
    if !missing.is_empty() && tools::in_path("apt-get") {
        let args = [&["install", "-y", "-q", "--no-install-recommends"][..], &missing].concat();
        drop(measure::ask("apt-get", &args));
    }
}

fn name() -> Component {
    "rootfs".parse().unwrap_or_else(|_| unreachable!("it is a name"))
}

fn print(command: &mut Command) -> Result<String> {
    measure::run(command, None).map(|(_, printed)| printed)
}

fn said<T, E: std::fmt::Display>(result: std::result::Result<T, E>) -> Result<T> {
    result.map_err(|error| error.to_string())
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, got: T, expected: T) -> Result<()> {
    if got == expected { Ok(()) } else { Err(format!("{what}: expected {expected:?}, got {got:?}")) }
}
