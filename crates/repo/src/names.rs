//! Names that survive a power cut: what is in a flushed file is found again only if each name on the way to it is.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Flushes the names in a directory. Once Ok, files that were made there and flushed survive a power cut, as far as
/// the directory does.
pub(crate) fn flush(directory: &Path) -> io::Result<()> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    File::open(directory).and_then(|opened| sync(&opened, directory))
}

/// Flushes the names in a directory and in all above it, up to where their filesystem is mounted. Once Ok, the
/// directory survives a power cut, whoever made it and whenever: it may have been a process that was killed.
pub(crate) fn flush_up(directory: &Path) -> io::Result<()> {
    let directory = fs::canonicalize(directory)?;
    let filesystem = fs::metadata(&directory)?.dev();
    for above in directory.ancestors() {
        let opened = match File::open(above) {
            // What this user may not even list, siding did not make.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && above != directory => break,
            other => other?,
        };
        if opened.metadata()?.dev() != filesystem {
            break;
        }
        sync(&opened, above)?;
    }
    Ok(())
}

fn sync(opened: &File, path: &Path) -> io::Result<()> {
    opened.sync_all()?;
    note(path);
    Ok(())
}

#[cfg(not(test))]
fn note(_: &Path) {}

#[cfg(test)]
pub(crate) use noted::{flushed, note};

/// What tests see of it.
#[cfg(test)]
mod noted {
    use std::cell::RefCell;
    use std::path::{Path, PathBuf};

    thread_local! {
        static FLUSHED: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
    }

    pub(crate) fn note(path: &Path) {
        FLUSHED.with_borrow_mut(|all| all.push(path.to_owned()));
    }

    /// The directories that this thread has flushed since it was last asked.
    pub(crate) fn flushed() -> Vec<PathBuf> {
        FLUSHED.take()
    }
}
