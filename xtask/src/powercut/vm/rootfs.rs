//! The component `rootfs`: an image in each of two partitions, of which GRUB starts one.

use super::disk::Disk;
use super::loader::ROOTFS;
use super::setup::{Setup, run, sha256};
use super::story::{Story, file_name};
use crate::Result;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// There is no base: each version is made from each other one.
pub(super) const VERSIONS: [&str; 3] = ["1", "1 (a)", "1 (b)"];

/// Whether the binary knows components in two devices.
pub(super) fn is_known(setup: &Setup) -> bool {
    setup.siding(&["init", "--help"]).is_ok_and(|help| help.contains("--slot"))
}

/// Makes the images and patches, and gives the words that found it and what the first partition holds.
pub(super) fn component(setup: &Setup, disk: &Disk, story: &mut Story) -> Result<(Vec<String>, PathBuf)> {
    let images = VERSIONS.map(|version| image(disk, version));
    let mut made = Vec::new();
    for (version, image) in VERSIONS.into_iter().zip(images) {
        let image = image?;
        let bytes = fs::read(&image).map_err(|e| format!("cannot read {}: {e}", image.display()))?;
        story.images.insert((ROOTFS.into(), version.into()), sha256(&bytes)?);
        made.push((version, image));
    }
    for (from, old) in &made {
        for (to, new) in made.iter().filter(|(to, _)| to != from) {
            let patch = disk.at("data").join(file_name(ROOTFS, from, to));
            let key = disk.at("key.key");
            let [old, new, patch, key] = [old, new, &patch, &key].map(|path| path.to_string_lossy());
            let mut args = vec!["diff", &*old, &*new, "-o", &*patch, "--key", &*key, "--component", ROOTFS];
            args.extend(["--from", from, "--to", to]);
            setup.siding(&args)?;
        }
    }
    let projection =
        "[[projection]]\ncomponent = \"rootfs\"\nkind = \"grub\"\nfile = \"/boot/grub/siding.env\"\n";
    disk.write("data/projections.toml", projection.as_bytes())?;
    let init =
        "siding init rootfs /dev/nvme0n1p4 --version 1 --slot a=/dev/nvme0n1p4 --slot b=/dev/nvme0n1p5";
    let follow = "sh cp /data/projections.toml /data/store/ && siding boot";
    let first = made.into_iter().next().map(|(_, image)| image).unwrap_or_default();
    Ok((vec![init.to_owned(), follow.to_owned()], first))
}

/// A small file system with the name of its version and a real library of that version.
fn image(disk: &Disk, version: &str) -> Result<PathBuf> {
    let name = version.replace([' ', '(', ')'], "");
    let (tree, image) = (disk.at(&format!("root-{name}")), disk.at(&format!("root-{name}.img")));
    fs::create_dir_all(&tree).map_err(|e| format!("cannot make {}: {e}", tree.display()))?;
    let letter =
        if version == "1" { "base".to_owned() } else { format!("app-{}", name.trim_start_matches('1')) };
    let library = if letter == "base" { disk.at("data/app.base") } else { disk.at(&letter) };
    copy(&library, &tree.join("libssl.so.3"))?;
    fs::write(tree.join("version"), version).map_err(|e| format!("cannot write a version: {e}"))?;
    let file = fs::File::create(&image).and_then(|file| file.set_len(1 << 20));
    file.map_err(|e| format!("cannot make {}: {e}", image.display()))?;
    const ID: &str = "5e1d1a6e-0000-4000-8000-000000000001";
    let mut make = Command::new("mke2fs");
    make.env("E2FSPROGS_FAKE_TIME", "1")
        .args(["-q", "-t", "ext2", "-b", "1024", "-N", "16", "-m", "0", "-U", ID]);
    make.args(["-E", &format!("hash_seed={ID},root_owner=0:0"), "-d"]).args([&tree, &image]);
    run(&mut make)?;
    Ok(image)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(drop).map_err(|e| format!("cannot copy {}: {e}", from.display()))
}
