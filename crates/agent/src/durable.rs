//! Small files that survive a power cut, and locks.

use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Puts `bytes` in place of a file's, making its folder if there is none. One caller at a time.
///
/// Once this returned Ok, that survives a power cut; a cut or an error before that leaves the old file or the new
/// one, never a part. Written beside it, flushed, renamed, and the folder flushed.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or_else(|| io::Error::other("it lies in no folder"))?;
    make_dir(dir)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    flush_dir(dir)
}

/// Adds to the end of a file. Once this returned Ok, it survives a power cut; a cut before that may leave a part.
pub(crate) fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    // Whoever made the file may have died before it flushed the name.
    path.parent().map_or(Ok(()), flush_dir)
}

/// Makes a folder, and those above it, if there is none. Once this returned Ok, its name survives a power cut.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    // Whoever made it may have died before it flushed the name; once in a process is enough.
    static FLUSHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if dir.is_dir() && FLUSHED.lock().unwrap_or_else(PoisonError::into_inner).contains(dir) {
        return Ok(());
    }
    let above = dir.parent().filter(|above| !above.as_os_str().is_empty());
    match fs::create_dir(dir) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            above.map_or(Ok(()), make_dir)?;
            fs::create_dir(dir)?;
        }
        other => other?,
    }
    above.map_or(Ok(()), flush_dir)?;
    FLUSHED.lock().unwrap_or_else(PoisonError::into_inner).insert(dir.to_owned());
    Ok(())
}

/// Takes a lock that one process at a time has, or `None` if another one kept it so long. It is let go of when the
/// file is closed. Nobody but the owner may open it: who may read a file may lock it, for as long as he likes.
pub(crate) fn lock(path: &Path, patience: Duration) -> io::Result<Option<File>> {
    const POLL: Duration = Duration::from_millis(20);
    let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    if open.metadata()?.permissions().mode() & 0o077 != 0 {
        open.set_permissions(Permissions::from_mode(0o600))?;
    }
    let begun = Instant::now();
    loop {
        match flock(&open, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(open)),
            Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < patience => std::thread::sleep(POLL),
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

fn flush_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
