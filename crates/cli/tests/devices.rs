//! A component whose slots are two block devices: the whole story on loop devices, with GRUB's block made to follow.
#![cfg(feature = "make")]

mod common;

use common::{Lab, changed, is_root, noise, testdata, tool};
use serde_json::json;
use std::fs::{self, File};
use std::path::Path;

/// A device with two partitions of 1 MiB, of which `a` holds version 1.
struct Device {
    lab: Lab,
    slots: Vec<Loop>,
}

/// A loop device over a file, until it is dropped.
struct Loop {
    device: String,
}

impl Loop {
    fn over(file: &Path) -> Option<Self> {
        tool(&format!("losetup --show -f {}", file.display())).map(|device| Self { device })
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        tool(&format!("losetup -d {}", self.device));
    }
}

impl Device {
    /// `None`, and why, where loop devices cannot be had.
    fn new() -> Option<Self> {
        const LEN: u64 = 1 << 20;
        if !is_root() || !Path::new("/dev/loop-control").exists() {
            eprintln!("skipped: loop devices need root and /dev/loop-control");
            return None;
        }
        let lab = Lab::new();
        let one = noise(1, 300_000);
        let two = changed(&one, 11);
        for (name, bytes) in [("one", &one), ("two", &two), ("three", &changed(&two, 12))] {
            lab.write(name, bytes);
        }
        for (name, bytes) in [("part-a", one), ("part-b", noise(5, 1000))] {
            lab.write(name, &bytes);
            File::options().write(true).open(lab.path(name)).unwrap().set_len(LEN).unwrap();
        }
        let slots: Option<Vec<Loop>> =
            ["part-a", "part-b"].iter().map(|name| Loop::over(&lab.path(name))).collect();
        let Some(slots) = slots else {
            eprintln!("skipped: losetup gives no loop device here");
            return None;
        };
        let device = Self { lab, slots };
        device.patch("one", "two", "1.0", "'1.0 (a)' --restart reboot --reverse back.siding", "forth");
        device.patch("two", "three", "'1.0 (a)'", "'1.0 (b)' --restart reboot", "further");
        Some(device)
    }

    fn patch(&self, old: &str, new: &str, from: &str, to: &str, name: &str) {
        self.lab.diff(&format!("{old} {new} -o {name}.siding --component rootfs --from {from} --to {to}"));
    }

    fn init(&self, image: &str, rest: &str) -> common::Done {
        let (a, b) = (&self.slots[0].device, &self.slots[1].device);
        self.lab.run(&format!("init rootfs {image} --version 1.0 --slot a={a} --slot b={b} {rest}"))
    }

    /// What a slot's device holds, as far as this image goes, is this image.
    #[track_caller]
    fn holds(&self, slot: usize, image: &str) {
        let (device, image) = (fs::read(&self.slots[slot].device).unwrap(), self.lab.read(image));
        assert!(device.get(..image.len()) == Some(&image[..]), "slot {slot} holds something else");
    }

    fn follow_grub(&self) {
        let lab = &self.lab;
        fs::copy(testdata().join("loaders/grub.env"), lab.path("grubenv")).unwrap();
        let file = lab.path("grubenv");
        let text =
            format!("[[projection]]\ncomponent = 'rootfs'\nkind = 'grub'\nfile = '{}'\n", file.display());
        lab.write("store/projections.toml", text.as_bytes());
        lab.ok("project");
    }

    fn grub(&self) -> String {
        let text = String::from_utf8(self.lab.read("grubenv")).unwrap();
        let value = |name: &str| {
            let line = format!("\nsiding_rootfs_{name}=");
            text.split_once(&line).map_or("", |(_, rest)| rest.lines().next().unwrap()).to_owned()
        };
        ["slot", "back", "tries"].map(value).join(" ")
    }

    /// The loader starts the slot that its block names, or this one.
    fn restart(&self, slot: &str) -> common::Done {
        self.lab.write("cmdline", format!("ro siding.rootfs={slot}\n").as_bytes());
        self.lab.run("boot --cmdline cmdline")
    }
}

#[test]
fn two_partitions_take_turns() {
    let Some(device) = Device::new() else { return };
    let lab = &device.lab;
    device.init("one", "").ends_with(0).says(&["rootfs 1.0 is in use, in slot a, as it was found there"]);
    device.follow_grub();
    assert_eq!(device.grub(), "a  ");
    lab.ok("status")
        .says(&["rootfs 1.0  in use, confirmed", "▸   a   1.0", "devices: a is /dev/loop"])
        .says_not(&["base"]);
    assert_eq!(lab.status("rootfs")["devices"]["b"], json!(device.slots[1].device));
    assert_eq!(device.restart("a").ends_with(0).out, "nothing is on trial\n");

    lab.ok("install forth.siding --trust maker.pub")
        .says(&["rootfs 1.0 (a) is in slot b", "read back and compared"]);
    device.holds(0, "one");
    device.holds(1, "two");
    lab.run("switch").ends_with(4).says(&["grubenv follows", "to use it, restart: reboot"]);
    assert_eq!(device.grub(), "b a 3");
    lab.run("health --cmdline cmdline").ends_with(4).says(&["restart to try it"]);
    device.restart("b").ends_with(0).says(&["rootfs: restart on trial with 1.0 (a)"]);
    lab.ok("confirm --cmdline cmdline").says(&["rootfs: confirmed 1.0 (a)"]);
    assert_eq!(device.grub(), "b a ");
    lab.ok("verify --slot rootfs").says(&["ok rootfs 1.0 in slot a", "ok rootfs 1.0 (a) in slot b"]);
    lab.ok("status").says(&["`siding rollback rootfs` goes back to 1.0 in a"]);
    lab.run("remove rootfs").ends_with(3).complains(&["two slots and no base", "reverse patch"]);

    // A newer one over the way back, which is not liked; then back by the reverse patch, which makes it anew.
    lab.ok("install further.siding --trust maker.pub");
    device.holds(0, "three");
    lab.ok("install back.siding --trust maker.pub")
        .says(&["rootfs 1.0 is in slot a", "next: `siding switch rootfs`"]);
    device.holds(0, "one");
    device.holds(1, "two");
    lab.run("switch rootfs").ends_with(4).says(&["rootfs: switched from 1.0 (a) to 1.0 in slot a"]);
    device.restart("a").ends_with(0);
    lab.ok("confirm --cmdline cmdline");
    assert_eq!(device.grub(), "a b ");
}

#[test]
fn a_trial_that_the_loader_gives_up_goes_back_to_the_other_partition() {
    let Some(device) = Device::new() else { return };
    let lab = &device.lab;
    device.init(&device.slots[0].device, "--active b").ends_with(6);
    lab.write("one-long", &fs::read(&device.slots[0].device).unwrap());
    device.init("one", "--active a").ends_with(0);
    device.follow_grub();
    lab.run("install forth.siding --trust maker.pub --switch --tries 1").ends_with(4);
    device.restart("b").ends_with(0);
    device
        .restart("a")
        .ends_with(0)
        .says(&["rootfs: fell back from 1.0 (a) to 1.0 in slot a", "grubenv follows"]);
    assert_eq!(device.grub().split(' ').next(), Some("a"));
    device.holds(0, "one");
    lab.run("install forth.siding --trust maker.pub").ends_with(3).complains(&["rolled back"]);
    lab.run("install forth.siding --trust maker.pub --retry-denied --switch --no-trial").ends_with(4);
    device.holds(1, "two");
    // The order of this went to the loader, which has another opinion.
    device.restart("a").ends_with(4).says(&["rootfs: slot a was started, 1.0 (a) in slot b is active"]);
}

#[test]
fn what_is_no_pair_of_devices_is_refused() {
    let Some(device) = Device::new() else { return };
    let (lab, a) = (&device.lab, &device.slots[0].device);
    lab.run(&format!("init rootfs one --version 1 --slot a={a}"))
        .ends_with(2)
        .complains(&["--slot b=DEVICE"]);
    lab.run(&format!("init rootfs one --version 1 --slot c={a}"))
        .ends_with(2)
        .complains(&["a=DEVICE or b=DEVICE"]);
    lab.run(&format!("init rootfs one --version 1 --slot a={a} --slot b=part-b"))
        .ends_with(1)
        .complains(&["part-b", "not a block device"]);
    device.init("two", "").ends_with(6);
    device.init("one", "--active c").ends_with(2);
    device.init(&device.slots[0].device, "").ends_with(0);
    device.init("one", "").ends_with(3);
}

#[test]
fn a_device_that_is_mounted_or_another_components_is_refused_by_all_its_names() {
    let Some(device) = Device::new() else { return };
    let lab = &device.lab;
    let [a, b] = [&device.slots[0].device, &device.slots[1].device];
    let empty = lab.read("part-b");
    let made = tool(&format!("mke2fs -q -F {b}"));
    let mounted = lab.path("mounted");
    fs::create_dir(&mounted).unwrap();
    let mount = || made.as_ref().and_then(|_| tool(&format!("mount -t ext2 {b} {}", mounted.display())));
    let unmount = || assert!(tool(&format!("umount {}", mounted.display())).is_some());
    if mount().is_none() {
        eprintln!("SKIPPED: mke2fs or a mount of ext2 cannot be had, so that no device in use is tried");
    } else {
        fs::write(mounted.join("file"), "mine").unwrap();
        device.init("one", "").ends_with(8).complains(&[
            b,
            "it is mounted on",
            "mounted; it was not written",
        ]);
        unmount();
        device.init("one", "").ends_with(0);
        mount().unwrap();
        lab.run("install forth.siding --trust maker.pub").ends_with(8).complains(&[b, "it is mounted on"]);
        assert_eq!(lab.status("rootfs")["slots"]["b"]["state"], "empty", "the record was not changed");
        assert_eq!(fs::read(mounted.join("file")).unwrap(), b"mine");
        unmount();
        fs::write(b, &empty).unwrap();
    }
    device.init("one", "");
    lab.ok("install forth.siding --trust maker.pub");
    let link = lab.path("link");
    std::os::unix::fs::symlink(a, &link).unwrap();
    let further = Loop::over(&lab.path("part-a")).expect("a further loop device");
    let free = Loop::over(&lab.path("two")).expect("a further loop device");
    for taken in [link.display().to_string(), a.clone(), further.device.clone()] {
        lab.run(&format!("init other one --version 1 --slot a={taken} --slot b={}", free.device))
            .ends_with(3)
            .complains(&["other cannot have the device", "which is slot a of rootfs"]);
    }
    lab.run(&format!("init other one --version 1 --slot a={a} --slot b={}", further.device))
        .ends_with(1)
        .complains(&["both slots are this device"]);
}
