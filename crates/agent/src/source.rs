//! Where releases come from: the one thing the agent asks of a repository.

use rustix::fs::OFlags;
use siding_image::Hasher;
use siding_repo::{Blob, NetLimits, Release};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What a repository offers, as far as this device has checked it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    /// Every release.
    pub releases: Vec<Release>,
    /// The version of the metadata; never goes down.
    pub version: u64,
    /// Until when it may be relied on, in seconds since 1970.
    pub expires: u64,
}

impl Catalog {
    /// What is known of a repository that was not looked into yet. Of nothing nothing expires.
    pub fn empty() -> Self {
        Self { expires: u64::MAX, ..Self::default() }
    }
}

/// A repository.
pub trait Source: Send + Sync {
    /// Looks for what is new, and checks it. What it learnt survives a power cut once it returned `Ok`.
    fn refresh(&self, now: u64) -> Result<Catalog, SourceError>;

    /// What was learnt last, without a look at the network; `None` if that is nothing. It may be past its date.
    fn known(&self) -> Result<Option<Catalog>, SourceError>;

    /// The bytes of a file, from its beginning, as they come: those that `part` holds of an earlier attempt first.
    /// They are the file's own when the reader has come to its end; before that they may be anyone's.
    fn fetch(&self, blob: &Blob, part: &Path, rate: Option<u64>)
    -> Result<Box<dyn Read + Send>, SourceError>;

    /// What was read of a file is wrong, and nothing that was kept of it is used again. Says whether fetching it anew
    /// at once may bring other bytes.
    fn refuse(&self, blob: &Blob, part: &Path) -> Result<bool, SourceError>;
}

/// Why a repository could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceError {
    /// For programs: a stable word such as `unreachable`.
    pub code: &'static str,
    /// For people: what was being done, expected and got.
    pub message: String,
}

impl SourceError {
    /// With both.
    pub fn new(code: &'static str, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string() }
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SourceError {}

/// A folder with `releases/*.json` and the files that they name: a medium that somebody carries to the device.
///
/// Nobody signs its list, so who can write the folder can leave releases out or bring old ones back. What is installed
/// is held to the signatures in the patches all the same.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The repository in this folder.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }
}

impl Source for Folder {
    fn refresh(&self, _now: u64) -> Result<Catalog, SourceError> {
        let dir = self.root.join("releases");
        let unreadable = |path: &Path, error: io::Error| {
            SourceError::new("unreachable", format!("cannot read {}: {error}", path.display()))
        };
        let limits = NetLimits::default();
        let (mut releases, mut room) = (Vec::new(), limits.releases_size);
        for entry in fs::read_dir(&dir).map_err(|error| unreadable(&dir, error))? {
            let path = entry.map_err(|error| unreadable(&dir, error))?.path();
            if path.extension().is_none_or(|end| end != "json") {
                continue;
            }
            let most = room.min(limits.release_size);
            let bytes = read_at_most(&path, most).map_err(|error| unreadable(&path, error))?;
            room = room.saturating_sub(bytes.len() as u64);
            // One for a later siding does not keep the others from this one.
            releases.extend(Release::parse(&bytes));
            if releases.len() as u64 > limits.releases {
                let what = format!("{} has more than {} releases", dir.display(), limits.releases);
                return Err(SourceError::new("too-many", what));
            }
        }
        releases.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(Catalog { releases, version: 1, expires: u64::MAX })
    }

    fn known(&self) -> Result<Option<Catalog>, SourceError> {
        self.refresh(0).map(Some)
    }

    fn fetch(
        &self,
        blob: &Blob,
        _part: &Path,
        _rate: Option<u64>,
    ) -> Result<Box<dyn Read + Send>, SourceError> {
        let path = self.root.join(&blob.name);
        let file = open_file(&path).map_err(|error| {
            SourceError::new("unreachable", format!("cannot open {}: {error}", path.display()))
        })?;
        Ok(Box::new(Exact { file, hasher: Hasher::default(), read: 0, blob: blob.clone() }))
    }

    fn refuse(&self, _blob: &Blob, _part: &Path) -> Result<bool, SourceError> {
        Ok(false)
    }
}

/// Opens a regular file: somebody else made the medium, and a pipe would be waited at for ever.
fn open_file(path: &Path) -> io::Result<File> {
    let file =
        OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

fn read_at_most(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_file(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        Err(io::Error::other(format!("it is longer than {most} bytes")))
    } else {
        Ok(bytes)
    }
}

/// A file that must have its length and digest by its end.
struct Exact {
    file: File,
    hasher: Hasher,
    read: u64,
    blob: Blob,
}

impl Read for Exact {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = self.file.read(out)?;
        self.hasher.update(out.get(..len).unwrap_or_default());
        self.read = self.read.saturating_add(len as u64);
        let wrong = |what: &str| io::Error::new(ErrorKind::InvalidData, format!("{} {what}", self.blob.name));
        if self.read > self.blob.length {
            return Err(wrong("is longer than its release says"));
        }
        if len == 0 && !out.is_empty() && self.read < self.blob.length {
            return Err(wrong("is shorter than its release says"));
        }
        if len == 0 && !out.is_empty() && self.hasher.clone().finish() != self.blob.sha256 {
            return Err(wrong("is not what its release says"));
        }
        Ok(len)
    }
}
