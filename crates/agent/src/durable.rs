//! Small files that survive a power cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Puts `bytes` in place of a file's, making its folder if there is none.
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
    let new = !path.exists();
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    match path.parent().filter(|_| new) {
        Some(dir) => flush_dir(dir),
        None => Ok(()),
    }
}

/// Makes a folder if there is none. Once this returned Ok, its name survives a power cut.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(dir)?,
        other => other?,
    }
    dir.parent().map_or(Ok(()), flush_dir)
}

fn flush_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
