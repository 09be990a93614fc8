//! Who uses a block device that cannot be had alone.

use super::extent::{self, Extent};
use super::mounts;
use crate::Error;
use std::fs;
use std::io;
use std::path::Path;

/// Says who has the device at `path`, as far as the kernel tells.
pub(super) fn in_use(path: &Path) -> io::Error {
    let ours = extent::of(path).unwrap_or_default();
    let is_ours = |other: &Path| {
        let theirs = if other.is_absolute() { extent::of(other).unwrap_or_default() } else { Vec::new() };
        theirs.iter().any(|theirs| ours.iter().any(|ours| ours.overlaps(theirs)))
    };
    let how = mounted(&ours, is_ours).or_else(|| swap(is_ours)).or_else(|| holders(&ours));
    let how = how.unwrap_or_else(|| "another program has it for itself".to_owned());
    Error::InUse { path: path.to_owned(), how }.into()
}

fn mounted(ours: &[Extent], is_ours: impl Fn(&Path) -> bool) -> Option<String> {
    let mounts = mounts::list().unwrap_or_default();
    let by_number = |(major, minor): (u32, u32)| {
        let number = (extent::Kind::Device, u64::from(major), u64::from(minor));
        ours.iter().any(|extent| extent.of == number && extent.from == 0)
    };
    let mount = mounts.iter().find(|mount| by_number(mount.device) || is_ours(&mount.source))?;
    Some(format!("it is mounted on {}", mount.at.display()))
}

fn swap(is_ours: impl Fn(&Path) -> bool) -> Option<String> {
    let swaps = fs::read_to_string("/proc/swaps").ok()?;
    let mut names = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    names.any(|name| is_ours(Path::new(name))).then(|| "it is swapped to".to_owned())
}

fn holders(ours: &[Extent]) -> Option<String> {
    let (_, major, minor) = ours.first()?.of;
    let names = fs::read_dir(format!("/sys/dev/block/{major}:{minor}/holders")).ok()?;
    let names: Vec<String> =
        names.filter_map(|name| Some(name.ok()?.file_name().to_string_lossy().into_owned())).collect();
    (!names.is_empty()).then(|| format!("it is a part of {}", names.join(", ")))
}
