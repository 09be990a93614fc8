//! The disk of the virtual machine, made without mounting anything, and how QEMU gets it.

use super::setup::run;
use crate::Result;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The partitions, in order, with their sizes in MiB. The first begins at 1 MiB, and each where the one before ends.
const PARTITIONS: [(&str, u64); 5] = [("esp", 4), ("boot", 32), ("data", 32), ("slot-a", 1), ("slot-b", 1)];
const FIRMWARE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
/// What the loader can do; it needs no module from the disk.
const MODULES: [&str; 15] = [
    "part_gpt",
    "ext2",
    "fat",
    "normal",
    "configfile",
    "loadenv",
    "linux",
    "test",
    "echo",
    "search",
    "search_fs_file",
    "reboot",
    "serial",
    "terminal",
    "eval",
];

/// A disk as it is being made: a directory with the contents of each partition.
pub(super) struct Disk {
    work: PathBuf,
}

impl Disk {
    /// Makes the directories `boot` and `data` below `work`, which become the partitions' contents.
    pub(super) fn new(work: &Path) -> Result<Self> {
        for directory in ["boot/grub", "data"] {
            let path = work.join(directory);
            fs::create_dir_all(&path).map_err(|e| format!("cannot make {}: {e}", path.display()))?;
        }
        Ok(Self { work: work.to_owned() })
    }

    /// Where a file of a partition is put.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.work.join(path)
    }

    pub(super) fn write(&self, path: &str, bytes: &[u8]) -> Result<()> {
        fs::write(self.at(path), bytes).map_err(|e| format!("cannot write {path}: {e}"))
    }

    pub(super) fn copy(&self, from: &Path, to: &str) -> Result<()> {
        fs::copy(from, self.at(to))
            .map(drop)
            .map_err(|e| format!("cannot copy {} to {to}: {e}", from.display()))
    }

    /// The loader's variables, in their file of 1024 bytes.
    pub(super) fn environment(&self, variables: &[&str]) -> Result<()> {
        let file = self.at("boot/grub/siding.env");
        run(Command::new("grub-editenv").arg(&file).arg("create"))?;
        if !variables.is_empty() {
            run(Command::new("grub-editenv").arg(&file).arg("set").args(variables))?;
        }
        Ok(())
    }

    /// Writes the whole disk: partition table, loader, file systems, and in the slots these images.
    pub(super) fn assemble(&self, slots: &[(&str, PathBuf)]) -> Result<PathBuf> {
        let disk = self.work.join("disk.img");
        let failed = |e| format!("cannot make {}: {e}", disk.display());
        let size = 2 + PARTITIONS.iter().map(|(_, mib)| mib).sum::<u64>();
        File::create(&disk).and_then(|file| file.set_len(size << 20)).map_err(failed)?;
        let mut table = Command::new("sgdisk");
        table.arg("-o");
        for (number, (name, mib)) in (1..).zip(PARTITIONS) {
            table.args([format!("-n{number}:0:+{mib}M"), format!("-c{number}:{name}")]);
        }
        run(table.arg("-t1:ef00").arg(&disk))?;

        self.put(&disk, "esp", &self.system_partition()?)?;
        // GRUB reads no journal, so its partition has none.
        self.put(&disk, "boot", &self.file_system("boot", &["-t", "ext2", "-b", "1024"])?)?;
        self.put(&disk, "data", &self.file_system("data", &["-t", "ext4"])?)?;
        slots.iter().try_for_each(|(name, image)| self.put(&disk, name, image))?;
        Ok(disk)
    }

    /// The loader, with `early.cfg` built in: what finds the rest. It is read before GRUB knows comments.
    fn system_partition(&self) -> Result<PathBuf> {
        let (loader, early) = (self.at("BOOTX64.EFI"), self.at("early.cfg"));
        fs::write(&early, include_str!("early.cfg")).map_err(|e| format!("cannot write early.cfg: {e}"))?;
        let mut make = Command::new("grub-mkimage");
        make.args(["-O", "x86_64-efi", "-p", "/grub", "-c"]).arg(&early).arg("-o").arg(&loader);
        run(make.args(MODULES))?;
        let image = self.blank("esp")?;
        run(Command::new("mformat").arg("-i").arg(&image).arg("::"))?;
        run(Command::new("mmd").arg("-i").arg(&image).args(["::/EFI", "::/EFI/BOOT"]))?;
        run(Command::new("mcopy").arg("-i").arg(&image).arg(&loader).arg("::/EFI/BOOT/BOOTX64.EFI"))?;
        Ok(image)
    }

    /// A file system that holds the directory of that name.
    pub(super) fn file_system(&self, name: &str, options: &[&str]) -> Result<PathBuf> {
        let image = self.blank(name)?;
        run(Command::new("mke2fs").arg("-q").args(options).arg("-d").arg(self.at(name)).arg(&image))?;
        Ok(image)
    }

    fn blank(&self, name: &str) -> Result<PathBuf> {
        let image = self.at(&format!("{name}.img"));
        let mib = PARTITIONS.iter().find(|(is, _)| *is == name).map_or(1, |(_, mib)| *mib);
        let failed = |e| format!("cannot make {}: {e}", image.display());
        File::create(&image).and_then(|file| file.set_len(mib << 20)).map_err(failed)?;
        Ok(image)
    }

    fn put(&self, disk: &Path, name: &str, image: &Path) -> Result<()> {
        let before = PARTITIONS.iter().take_while(|(is, _)| *is != name).map(|(_, mib)| mib);
        let seek = format!("seek={}", 1 + before.sum::<u64>());
        let [mut from, mut to] = ["if=", "of="].map(std::ffi::OsString::from);
        from.push(image);
        to.push(disk);
        let mut dd = Command::new("dd");
        dd.args([from, to]).args(["bs=1M", "conv=notrunc,sparse", "status=none"]).arg(seek);
        run(&mut dd).map(drop)
    }
}

/// A machine with this disk, which boots as the firmware finds it.
///
/// Always emulated: where KVM looks present and is not, it hangs.
pub(super) fn machine(disk: &Path) -> Command {
    let mut command = bare(disk);
    command.args(["-drive", &format!("if=pflash,format=raw,readonly=on,file={FIRMWARE}")]);
    command
}

/// A machine with this disk that boots a kernel without a loader.
pub(super) fn direct(disk: &Path, kernel: &Path, initrd: &Path) -> Command {
    let mut command = bare(disk);
    command.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd);
    command.args(["-append", "console=ttyS0 quiet panic=-1 no_timer_check mitigations=off"]);
    command
}

fn bare(disk: &Path) -> Command {
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-accel", "tcg", "-machine", "q35", "-cpu", "max", "-m", "512", "-nodefaults"]);
    command.args(["-display", "none", "-serial", "stdio"]);
    command.arg("-drive").arg(format!("file={},format=raw,if=none,id=d0", disk.display()));
    command.args(["-device", "nvme,drive=d0,serial=siding"]);
    command
}
