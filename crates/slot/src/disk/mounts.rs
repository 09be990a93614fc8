//! Mount points. What lies below one belongs to somebody else, be it another filesystem or another part of the same
//! one; so nothing that removes or changes a tree goes on where there is one in it.
//!
//! The kernel says of each path whether something is mounted there (`statx`, since Linux 5.8). A number of a device does
//! not tell it: what is bound from elsewhere on the same filesystem has the same one. Where the kernel does not say, the
//! list of all mounts does.

use rustix::fs::{AtFlags, CWD, FileType, StatxAttributes, StatxFlags, statx};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A mount, as the kernel lists it for this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Major and minor number of what is mounted.
    pub(super) device: (u32, u32),
    /// Where.
    pub(super) at: PathBuf,
    /// What it was mounted from, in the words of whoever did.
    pub(super) source: PathBuf,
}

/// A mount point at `top` or below it, no symbolic link followed; looks at all that is there, and changes nothing.
pub(super) fn below(top: &Path) -> io::Result<Option<PathBuf>> {
    let mut left = vec![top.to_owned()];
    while let Some(path) = left.pop() {
        match look(&path)? {
            Looked::Mounted => return Ok(Some(path)),
            Looked::Unsaid => return listed_below(top, &list()?),
            Looked::Directory => match fs::read_dir(&path) {
                // Whoever may not list it may still be told what is mounted there.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    if let Some(mounted) = listed_below(&path, &list()?)? {
                        return Ok(Some(mounted));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                names => {
                    for name in names? {
                        left.push(name?.path());
                    }
                }
            },
            Looked::Other => {}
        }
    }
    Ok(None)
}

enum Looked {
    Mounted,
    Directory,
    Other,
    /// The kernel is too old to say.
    Unsaid,
}

fn look(path: &Path) -> io::Result<Looked> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let seen = match statx(CWD, path, flags, StatxFlags::TYPE) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Looked::Other),
        Err(Errno::NOSYS) => return Ok(Looked::Unsaid),
        seen => seen?,
    };
    if !seen.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) {
        return Ok(Looked::Unsaid);
    }
    if seen.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        return Ok(Looked::Mounted);
    }
    let kind = FileType::from_raw_mode(seen.stx_mode.into());
    Ok(if kind == FileType::Directory { Looked::Directory } else { Looked::Other })
}

/// The first of these mounts that lies at `top` or below it.
fn listed_below(top: &Path, mounts: &[Mount]) -> io::Result<Option<PathBuf>> {
    // A link at its end is not followed, those on the way are.
    let parent = top.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let top = match top.file_name() {
        Some(name) => fs::canonicalize(parent)?.join(name),
        None => fs::canonicalize(top)?,
    };
    let found = mounts.iter().find(|mount| mount.at.starts_with(&top));
    Ok(found.map(|mount| mount.at.clone()))
}

/// Every mount that this process can reach.
pub(super) fn list() -> io::Result<Vec<Mount>> {
    Ok(parse(&fs::read("/proc/self/mountinfo")?))
}

/// Lines such as `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw`; one that is none is left out.
fn parse(text: &[u8]) -> Vec<Mount> {
    let line = |line: &[u8]| {
        let mut fields = line.split(|&byte| byte == b' ');
        let device = std::str::from_utf8(fields.nth(2)?).ok()?;
        let (major, minor) = device.split_once(':')?;
        let at = unescaped(fields.nth(1)?);
        let source = unescaped(fields.skip_while(|field| *field != b"-").nth(2)?);
        Some(Mount { device: (major.parse().ok()?, minor.parse().ok()?), at, source })
    };
    text.split(|&byte| byte == b'\n').filter_map(line).collect()
}

/// A space is written `\040` there, and so on.
fn unescaped(field: &[u8]) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::with_capacity(field.len()), field);
    while let Some((&byte, more)) = rest.split_first() {
        let octal =
            more.get(..3).filter(|_| byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(escaped) => {
                bytes.push(escaped);
                rest = more.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(byte);
                rest = more;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_mounts_is_read_as_the_kernel_writes_it() {
        let text = b"36 35 98:0 /mnt1 /a\\040b/c rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n\
            not a line\n\
            37 35 0:41 / /store/a\\134x rw - tmpfs none rw\n";
        let mount = |device, at: &str, source: &str| Mount { device, at: at.into(), source: source.into() };
        let mounts = parse(text);
        assert_eq!(mounts, [mount((98, 0), "/a b/c", "/dev/root"), mount((0, 41), "/store/a\\x", "none")]);
    }

    #[test]
    fn what_is_mounted_beside_a_directory_is_not_below_it() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap().join("slot");
        let mount = |at: PathBuf| Mount { device: (0, 1), at, source: "none".into() };
        let found = |at: &str| listed_below(&top, &[mount(top.with_file_name("slot2")), mount(top.join(at))]);
        assert_eq!(listed_below(&top, &[mount(top.with_file_name("slot2"))]).unwrap(), None);
        assert_eq!(found("image/data").unwrap(), Some(top.join("image/data")));
        assert_eq!(found("").unwrap().unwrap(), top);
    }

    #[test]
    fn this_process_has_mounts_and_what_it_makes_is_none() {
        assert!(list().unwrap().iter().any(|mount| mount.at == Path::new("/")));
        assert!(below(Path::new("/proc/self")).unwrap().is_none());
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/file"), "").unwrap();
        std::os::unix::fs::symlink("/proc", dir.path().join("a/link")).unwrap();
        assert_eq!(below(dir.path()).unwrap(), None, "a link is not followed");
        assert_eq!(below(&dir.path().join("nothing")).unwrap(), None);
        assert_eq!(below(Path::new("/proc")).unwrap(), Some("/proc".into()));
    }
}
