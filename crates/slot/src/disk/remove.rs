//! Removing a tree, and never what is mounted in it.
//!
//! First all of it is looked through for mount points; with one, nothing is removed and no mode is changed. Then it goes,
//! each directory opened so that the kernel refuses to cross into a mount that came meanwhile, and its files removed
//! through that.

use super::mounts;
use super::real::point;
use crate::Error;
use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, chmodat, fchmod, openat, openat2, statat,
    unlinkat,
};
use rustix::io::Errno;
use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Removes whatever is at `path` and below, following no link; nothing there is fine. If anything is mounted there, it
/// removes nothing at all, and fails with [`Error::Mounted`].
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    let meta = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if let Some(at) = mounts::below(path)? {
        return Err(mounted(path, at));
    }
    if !meta.is_dir() {
        point();
        return fs::remove_file(path);
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = openat(CWD, parent, flags, Mode::empty())?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    Removal { root: path, parent }.directory(Path::new(name))
}

/// Refuses what has a mount point at `path` or below it.
pub(super) fn mounted(path: &Path, at: PathBuf) -> io::Error {
    Error::Mounted { path: path.to_owned(), at }.into()
}

struct Removal<'a> {
    root: &'a Path,
    /// The directory that `root` is in.
    parent: OwnedFd,
}

impl Removal<'_> {
    /// Removes the directory that has this name below `parent`.
    fn directory(&self, name: &Path) -> io::Result<()> {
        // None stays open while those in it are removed: a deep tree has more of them than there are descriptors.
        let directories = self.files_of(name)?;
        directories
            .iter()
            .try_for_each(|inner| self.directory(&name.join(OsStr::from_bytes(inner.to_bytes()))))?;
        point();
        Ok(unlinkat(&self.parent, name, AtFlags::REMOVEDIR)?)
    }

    /// Removes what is no directory in a directory, and gives the names of the others.
    fn files_of(&self, name: &Path) -> io::Result<Vec<CString>> {
        let dir = self.enter(name)?;
        // An image's directories may forbid even their owner to empty them.
        point();
        fchmod(&dir, OWNERS)?;
        let mut directories = Vec::new();
        // Listed first, since what is removed meanwhile may hide others from a list.
        for item in Dir::read_from(&dir)?.collect::<Result<Vec<_>, Errno>>()? {
            let inner = item.file_name().to_owned();
            if matches!(inner.as_bytes(), b"." | b"..") {
                continue;
            }
            let kind = match item.file_type() {
                FileType::Unknown => {
                    FileType::from_raw_mode(statat(&dir, &inner, AtFlags::SYMLINK_NOFOLLOW)?.st_mode)
                }
                known => known,
            };
            if kind == FileType::Directory {
                directories.push(inner);
            } else {
                point();
                unlinkat(&dir, &inner, AtFlags::empty())?;
            }
        }
        Ok(directories)
    }

    /// Opens a directory, unless it is a mount point by now or lies below one.
    fn enter(&self, name: &Path) -> io::Result<OwnedFd> {
        match self.open(name) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                chmodat(&self.parent, name, OWNERS, AtFlags::empty())?;
                self.open(name)
            }
            other => other,
        }
    }

    fn open(&self, name: &Path) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        match openat2(&self.parent, name, flags, Mode::empty(), resolve) {
            Err(Errno::XDEV) => {
                let path = self.root.parent().unwrap_or(Path::new("")).join(name);
                Err(mounted(self.root, path))
            }
            // Older than Linux 5.6, or kept from us.
            Err(Errno::NOSYS | Errno::PERM) => Ok(openat(&self.parent, name, flags, Mode::empty())?),
            other => Ok(other?),
        }
    }
}

const OWNERS: Mode = Mode::RWXU;

#[cfg(test)]
mod tests {
    use super::*;
    use std::env;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    /// Mounts `home` and a file of it into `tree`, where nobody else sees it, and goes on with the test below.
    const SCRIPT: &str = "mount --make-rprivate / && mount --bind home tree/image/data && \
        mount --bind home/file tree/image/deep/file || exit 77
        exec \"$0\" --exact disk::remove::tests::in_a_namespace_of_its_own";

    #[test]
    fn what_is_mounted_in_a_tree_is_not_removed_with_it() {
        let dir = tempfile::tempdir().unwrap();
        for made in ["home/sub", "tree/image/data", "tree/image/deep", "tree/first"] {
            fs::create_dir_all(dir.path().join(made)).unwrap();
        }
        for file in ["home/file", "home/sub/file", "tree/file", "tree/first/file", "tree/image/deep/file"] {
            fs::write(dir.path().join(file), file).unwrap();
        }
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "sh", "-c", SCRIPT]).arg(env::current_exe().unwrap());
        let done = unshare.current_dir(dir.path()).env("SIDING_TEST_MOUNTS", dir.path()).output();
        match done {
            Ok(done) if done.status.success() => {
                let out = String::from_utf8_lossy(&done.stdout).into_owned();
                assert!(out.contains("1 passed"), "{out}");
            }
            Ok(done) if !matches!(done.status.code(), Some(1 | 77)) || !done.stdout.is_empty() => {
                panic!("{}", String::from_utf8_lossy(&[done.stdout, done.stderr].concat()))
            }
            other => eprintln!("SKIPPED: a mount namespace needs root and unshare: {other:?}"),
        }
    }

    /// Run by the test above in a process of its own; does nothing otherwise.
    #[test]
    fn in_a_namespace_of_its_own() {
        let Some(dir) = env::var_os("SIDING_TEST_MOUNTS").map(PathBuf::from) else { return };
        let (tree, home) = (dir.join("tree"), dir.join("home"));
        fs::set_permissions(&home, fs::Permissions::from_mode(0o751)).unwrap();
        let whole = |dir: &Path| fs::read(dir.join("file")).is_ok() && fs::read(dir.join("sub/file")).is_ok();
        let mode = || fs::metadata(&home).unwrap().permissions().mode() & 0o7777;
        let refused = || {
            let error = Error::io("clear", &tree, remove_tree(&tree).unwrap_err());
            assert!(whole(&home) && mode() == 0o751, "{error}");
            assert!(
                tree.join("file").exists() && tree.join("first/file").exists(),
                "nothing at all: {error}"
            );
            match error {
                Error::Mounted { at, .. } => at,
                other => panic!("{other}"),
            }
        };
        let at = [refused(), listed(&tree)];
        assert!(at.iter().all(|at| at.starts_with(tree.join("image"))), "{at:?}");
        assert_eq!(mounts::below(&tree.join("image/data")).unwrap(), Some(tree.join("image/data")));
        // One that comes after the look, as the kernel sees it.
        let parent = openat(CWD, tree.join("image"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let removal = Removal { root: &tree.join("image/data"), parent };
        let error = removal.directory(Path::new("data")).unwrap_err();
        assert!(error.to_string().contains("image/data"), "{error}");
        assert!(whole(&home) && mode() == 0o751);

        unmount(&tree.join("image/data"));
        assert_eq!(refused(), tree.join("image/deep/file"), "a file may be one, too");
        unmount(&tree.join("image/deep/file"));
        remove_tree(&tree).unwrap();
        assert!(!tree.exists() && whole(&home));
    }

    fn listed(tree: &Path) -> PathBuf {
        let mounts = mounts::list().unwrap();
        mounts.into_iter().map(|mount| mount.at).find(|at| at.starts_with(tree)).unwrap()
    }

    fn unmount(at: &Path) {
        assert!(Command::new("umount").arg(at).status().unwrap().success());
    }
}
