//! Files that one process at a time has (`flock`, see flock(2)). A lock means something only while its process lives, so
//! that none needs to survive a power cut.

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// The right to what a file stands for, until it is dropped or its process ends.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Takes the lock that is the file at `path`, made if missing; `None` if somebody else has it.
    ///
    /// A symbolic link is refused. Nobody but the owner may open the file afterwards: who may read it could lock it, for as
    /// long as he likes.
    pub fn take(path: &Path) -> io::Result<Option<Self>> {
        Self::take_within(path, Duration::ZERO)
    }

    /// As [`take`](Self::take), but tries again for up to `patience` while somebody else has it.
    pub fn take_within(path: &Path, patience: Duration) -> io::Result<Option<Self>> {
        const POLL: Duration = Duration::from_millis(20);
        let file = open(path)?;
        let begun = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(Self(file))),
                Err(Errno::WOULDBLOCK) if begun.elapsed() < patience => std::thread::sleep(POLL),
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether somebody has the lock at `path`. One that is not there, or cannot be looked at, is nobody's.
    pub fn is_held(path: &Path) -> bool {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        OpenOptions::new().read(true).custom_flags(flags).open(path).is_ok_and(|file| {
            matches!(flock(&file, FlockOperation::NonBlockingLockShared), Err(Errno::WOULDBLOCK))
        })
    }
}

impl Drop for Lock {
    /// Lets go at once. Closing alone would not: a process that this one is just starting holds a copy of the
    /// descriptor until it runs its program.
    fn drop(&mut self) {
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// Does not wait for the other end of a pipe.
fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    let file = options.open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        match file.set_permissions(Permissions::from_mode(0o600)) {
            // Somebody else's, opened to this user by its modes.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            other => other?,
        }
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    #[test]
    fn one_has_it_and_the_next_once_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert!(!Lock::is_held(&path), "it is not there");
        let lock = Lock::take(&path).unwrap().unwrap();
        assert!(Lock::is_held(&path) && Lock::take(&path).unwrap().is_none());
        // What a process that is just being started has of it.
        let copy = lock.0.try_clone().unwrap();
        drop(lock);
        assert!(!Lock::is_held(&path) && Lock::take(&path).unwrap().is_some());
        drop(copy);
    }

    #[test]
    fn nobody_else_may_open_it_and_no_link_or_pipe_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        assert!(Lock::take(&path).unwrap().is_some());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(Lock::take(&link).is_err() && !Lock::is_held(&link));
        let pipe = dir.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert!(Lock::take(&pipe).is_err() && !Lock::is_held(&pipe));
    }
}
