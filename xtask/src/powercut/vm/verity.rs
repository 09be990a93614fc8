//! `--verity`: whether the kernel's fs-verity says of a sealed image just what Siding says.
//!
//! Siding's digest of a file is meant to be the fs-verity digest. So a store is made on ext4 with that feature, in
//! the virtual machine; each base is given to the kernel, and the digest that it measures compared with
//! the one in the record. Then a byte of one is changed on the medium: the kernel must refuse to give it out.

use super::disk::{self, Disk};
use super::machine::{Cut, End, Machine, Told};
use super::setup::{Setup, run};
use crate::{Result, workspace};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Sizes around the borders of a block, and of a hash tree with more than one level of 128 blocks.
const SIZES: [usize; 9] = [0, 1, 4095, 4096, 4097, 524_288, 524_289, 1_500_000, 3_000_001];
const STORE: &str = "/data/store/components";

pub(super) fn check(setup: &Setup, work: &Path) -> Result<String> {
    let disk = Disk::new(work)?;
    let mut names = vec!["lib".to_owned()];
    disk.copy(&workspace().join("testdata/libssl/3.0.22/libssl.so.3"), "data/lib")?;
    for (number, size) in SIZES.iter().enumerate() {
        disk.write(&format!("data/f{number}"), &content(number as u8, *size))?;
        names.push(format!("f{number}"));
    }
    let image = disk.file_system("data", &["-t", "ext4", "-O", "verity", "-b", "4096"])?;
    let init = include_str!("init.sh").replace("${disk}p3", "${disk}");
    let files = program_files(Path::new("/usr/bin/fsverity"))?;
    let initrd = setup.initrd(work, &init, &files)?;
    let start = |log: &str| {
        Machine::start(&mut disk::direct(&image, &setup.kernel, &initrd), &work.join(log), Cut::Never)
    };
    let bad = |end: End| format!("fs-verity in the virtual machine: {end:?}\nsee {}", work.display());

    let measured = measure(&mut start("measure.txt")?, &names).map_err(bad)?;
    let last = SIZES.len() - 1;
    change_a_byte(&image, &content(last as u8, SIZES[last]))?;
    refuse(&mut start("refuse.txt")?, last).map_err(bad)?;
    Ok(format!(
        "fs-verity: the kernel's digests of {measured} files are Siding's; it refuses to write to them, and to read a \
         block that was changed on the medium"
    ))
}

/// Makes each file a base, has the kernel measure it, and compares.
fn measure(machine: &mut Machine, names: &[String]) -> Told<usize> {
    machine.wait_for("READY")?;
    for name in names {
        let image = format!("{STORE}/{name}/base/image");
        machine.demand(&format!("siding init {name} /data/{name} --version 1"))?;
        let said = machine.demand(&format!("sh fsverity measure {image}"))?.said;
        let kernel = said.split([':', ' ']).nth(1).unwrap_or_default().to_owned();
        let status = machine.demand("status")?.facts.concat();
        let ours = serde_json::from_str::<serde_json::Value>(status.trim_start_matches("status "))
            .ok()
            .and_then(|status| {
                let all = status["components"].as_array()?.iter();
                let mut this = all.filter(|component| component["component"] == name.as_str());
                this.next()?["slots"]["base"]["digest"].as_str().map(str::to_owned)
            });
        if kernel.len() != 64 || ours.as_deref() != Some(&*kernel) {
            return Err(End::Bad(format!("{name}: the kernel measures {said:?}, the record has {ours:?}")));
        }
        let write = machine.ask(&format!("sh echo x >> {image}"))?;
        if write.code == 0 {
            return Err(End::Bad(format!("{name}: the kernel let its file be changed")));
        }
    }
    machine.demand("sh sync; umount /data")?;
    Ok(names.len())
}

/// The changed file must not be readable, the others must.
fn refuse(machine: &mut Machine, changed: usize) -> Told<()> {
    machine.wait_for("READY")?;
    machine.demand(&format!("sh cat {STORE}/lib/base/image > /dev/null"))?;
    let read = machine.ask(&format!("sh cat {STORE}/f{changed}/base/image > /dev/null"))?;
    match read.code {
        0 => Err(End::Bad("the kernel gave out bytes that are not those it measured".to_owned())),
        _ => Ok(()),
    }
}

/// Bytes that occur nowhere else.
fn content(seed: u8, size: usize) -> Vec<u8> {
    let mut random = crate::random::Random::new(u64::from(seed));
    (0..size).map(|_| random.below(256) as u8).collect()
}

/// Flips a bit of every copy of this content's second block, where it lies on the medium.
fn change_a_byte(image: &Path, content: &[u8]) -> Result<()> {
    let failed = |e: std::io::Error| format!("cannot change {}: {e}", image.display());
    let block = content.get(4096..8192).unwrap_or_default();
    let medium = fs::read(image).map_err(failed)?;
    let file = fs::File::options().write(true).open(image).map_err(failed)?;
    let mut found = 0;
    for (number, bytes) in medium.chunks(4096).enumerate() {
        if bytes == block {
            let flipped = bytes.first().map_or(1, |byte| byte ^ 1);
            file.write_all_at(&[flipped], number as u64 * 4096).map_err(failed)?;
            found += 1;
        }
    }
    if found == 0 { Err("the file to change is not on the medium".to_owned()) } else { Ok(()) }
}

/// A program with the libraries it is linked with, each with its place in an initrd.
fn program_files(program: &Path) -> Result<Vec<(PathBuf, String)>> {
    let listed = run(Command::new("ldd").arg(program))?;
    let paths = listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from);
    let all: BTreeSet<PathBuf> = paths.collect();
    let libraries = all.into_iter().map(|path| {
        let to = path.to_string_lossy().trim_start_matches('/').to_owned();
        (path, to)
    });
    Ok(std::iter::once((program.to_owned(), "bin/fsverity".to_owned())).chain(libraries).collect())
}
