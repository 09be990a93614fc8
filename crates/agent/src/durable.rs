//! Small files that survive a power cut.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Puts `bytes` in place of a file's, making its folder if there is none. One caller at a time.
///
/// Once this returned Ok, that survives a power cut; a cut or an error before that leaves the old file or the new
/// one, never a part. Written beside it, flushed, read back, renamed, and the folder flushed.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or_else(|| io::Error::other("it lies in no folder"))?;
    make_dir(dir)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    if fs::read(&beside)? != bytes {
        return Err(io::Error::new(ErrorKind::InvalidData, "what was written reads back as something else"));
    }
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

fn flush_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
