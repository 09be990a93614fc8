//! The active slot's image, mounted read-only at a fixed place.
//!
//! Nothing here needs to survive a power cut: mounts are made again at each boot.

use crate::error::Reason;
use crate::io;
use siding_image::{Component, Kind};
use siding_run::{End, Leftovers, run};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How an image comes to a place.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How<'a> {
    /// A tree, by a bind mount.
    Bind,
    /// A file with this filesystem, or one that `mount` finds out, by a loop device.
    Loop(Option<&'a str>),
}

/// Makes what is mounted at `at` the image, and says whether it was not before.
///
/// Where Linux can put a mount beneath another (6.5), no moment is without one; before that, the time between two
/// system calls is. What is still in use of the old image stays with its users.
pub(crate) fn follow(
    how: How<'_>,
    component: &Component,
    image: &Path,
    slots: &[PathBuf],
    kind: Kind,
    at: &Path,
) -> Result<bool, Reason> {
    fits(how, kind)?;
    std::fs::create_dir_all(at).map_err(Reason::io("make the directory", at))?;
    let at = &at.canonicalize().map_err(Reason::io("find", at))?;
    let image = &image.canonicalize().map_err(Reason::io("find", image))?;
    let there = top_at(at)?;
    if there.as_ref().is_some_and(|there| there.read_only && shows(how, there, at, image)) {
        return Ok(false);
    }
    let bench = io::workbench(component.as_str()).map_err(Reason::io("make", Path::new("/run/siding")))?;
    while top_at(&bench)?.is_some() {
        io::detach(&bench).map_err(Reason::io("unmount", &bench))?;
    }
    match how {
        How::Bind => io::bind(image, &bench).map_err(Reason::io("bind-mount", image))?,
        How::Loop(filesystem) => loop_mount(image, filesystem, &bench)?,
    }
    let taken = io::take(&bench).map_err(Reason::io("copy the mount", &bench));
    io::detach(&bench).map_err(Reason::io("unmount", &bench))?;
    let mount = taken?;
    // What somebody else has mounted there is not ours to take away.
    let old_is_ours = there.is_some_and(|there| is_ours(how, &there, component, slots));
    if !old_is_ours {
        io::put(&mount, at, false).map_err(Reason::io("mount at", at))?;
    } else if io::put(&mount, at, true).is_ok() {
        io::detach(at).map_err(Reason::io("unmount", at))?;
    } else {
        io::detach(at).map_err(Reason::io("unmount", at))?;
        io::put(&mount, at, false).map_err(Reason::io("mount at", at))?;
    }
    Ok(true)
}

/// Whether what is mounted at `at` is the image; if it is not, says what is. Changes nothing.
pub(crate) fn compared(
    how: How<'_>,
    component: &Component,
    image: &Path,
    slots: &[PathBuf],
    kind: Kind,
    at: &Path,
) -> Result<Option<String>, Reason> {
    fits(how, kind)?;
    let image = &image.canonicalize().map_err(Reason::io("find", image))?;
    let Ok(at) = &at.canonicalize() else { return Ok(Some("nothing".to_owned())) };
    Ok(match top_at(at)? {
        None => Some("nothing".to_owned()),
        Some(there) if there.read_only && shows(how, &there, at, image) => None,
        Some(there) if shows(how, &there, at, image) => Some("the image, but writable".to_owned()),
        Some(there) if is_ours(how, &there, component, slots) => Some("another image of it".to_owned()),
        Some(_) => Some("something else".to_owned()),
    })
}

fn fits(how: How<'_>, kind: Kind) -> Result<(), Reason> {
    match (how, kind) {
        (How::Bind, Kind::Tree) | (How::Loop(_), Kind::File) => Ok(()),
        (How::Bind, _) => Err(Reason::unfit("its image is a file and no tree; use kind = \"loop\"")),
        (How::Loop(_), _) => Err(Reason::unfit("its image is a tree and no file; use kind = \"bind\"")),
    }
}

fn loop_mount(image: &Path, filesystem: Option<&str>, at: &Path) -> Result<(), Reason> {
    const LIMIT: Duration = Duration::from_secs(60);
    let mut command = Command::new("mount");
    if let Some(filesystem) = filesystem {
        command.args(["-t", filesystem]);
    }
    let options = if io::device_number(image).is_some() { "ro,nodev" } else { "ro,nodev,loop" };
    command.args(["-o", options]).arg(image).arg(at);
    let ran = run(command, LIMIT, Leftovers::Keep);
    match ran.end {
        End::Code(0) => Ok(()),
        End::Code(_) => {
            let what = format!("`mount`: {ran}; see that the kernel has loop devices and the filesystem");
            Err(Reason::file(image, what))
        }
        _ => Err(Reason::file(image, format!("`mount`: {ran}"))),
    }
}

fn shows(how: How<'_>, there: &Mount, at: &Path, image: &Path) -> bool {
    match (how, io::device_number(image)) {
        (How::Bind, _) => io::id(at).is_ok_and(|there| io::id(image).is_ok_and(|image| there == image)),
        (How::Loop(_), Some(number)) => there.device == number,
        (How::Loop(_), None) => io::backing_file(&there.device).is_some_and(|file| file == image),
    }
}

/// Whether it shows a slot of this component, or did before the slot's files went.
fn is_ours(how: How<'_>, there: &Mount, component: &Component, slots: &[PathBuf]) -> bool {
    let part = format!("components/{component}/");
    let device = || slots.iter().any(|slot| io::device_number(slot).is_some_and(|slot| slot == there.device));
    let file = || io::backing_file(&there.device).is_some_and(|file| file.to_string_lossy().contains(&part));
    match how {
        How::Bind => there.root.contains(&part),
        How::Loop(_) => device() || file(),
    }
}

/// A mount, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    id: u64,
    parent: u64,
    /// `MAJOR:MINOR`.
    device: String,
    /// What of the filesystem is mounted.
    root: String,
    at: PathBuf,
    read_only: bool,
}

/// The mount that is seen at a place: of several there, the one that carries no other.
fn top_at(at: &Path) -> Result<Option<Mount>, Reason> {
    let text = io::mounts().map_err(Reason::io("read", Path::new("/proc/self/mountinfo")))?;
    Ok(top(&text, at))
}

fn top(mountinfo: &str, at: &Path) -> Option<Mount> {
    let here: Vec<Mount> =
        mountinfo.lines().filter_map(Mount::parse).filter(|mount| mount.at == at).collect();
    here.iter().find(|mount| here.iter().all(|other| other.parent != mount.id)).cloned()
}

impl Mount {
    /// Reads a line of `/proc/self/mountinfo`.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (id, parent) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let (device, root, at) = (words.next()?.to_owned(), unescape(words.next()?), unescape(words.next()?));
        let read_only = words.next()?.split(',').any(|option| option == "ro");
        Some(Self { id, parent, device, root, at: PathBuf::from(at), read_only })
    }
}

/// `\040` is a space, and so on.
fn unescape(word: &str) -> String {
    let mut parts = word.split('\\');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut text, part| {
        let code = part.get(..3).and_then(|code| u8::from_str_radix(code, 8).ok());
        match code {
            Some(code) => {
                text.push(char::from(code));
                text.push_str(part.get(3..).unwrap_or_default());
            }
            None => {
                text.push('\\');
                text.push_str(part);
            }
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 8:1 /store/components/x/a/image /opt/x\\040y ro,nodev shared:1 - ext4 /dev/sda1 rw
41 40 7:3 / /opt/x\\040y ro - squashfs /dev/loop3 ro
39 41 7:4 / /opt/x\\040y rw - squashfs /dev/loop4 ro
42 22 0:30 / /opt/x rw - tmpfs tmpfs rw
what is this";

    #[test]
    fn of_mounts_at_one_place_the_one_on_top_is_seen() {
        let seen = top(INFO, Path::new("/opt/x y")).expect("a mount");
        assert_eq!((seen.id, seen.device.as_str(), seen.read_only), (39, "7:4", false));
        assert_eq!(top(INFO, Path::new("/opt")), None);
        let below = INFO.lines().filter_map(Mount::parse).find(|mount| mount.id == 40).expect("a mount");
        assert!(below.read_only && is_ours(How::Bind, &below, &"x".parse().expect("a name"), &[]));
        assert!(!is_ours(How::Bind, &below, &"y".parse().expect("a name"), &[]));
    }
}
