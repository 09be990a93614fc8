//! Why publishing fails: what was being done, with which file, and what to do next.

use super::{Job, Role};
use std::fmt;
use std::path::PathBuf;

/// Why a maker's step failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The storage refused.
    Storage {
        /// What was being done.
        doing: &'static str,
        /// To which file of the repository.
        name: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A local file could not be read or written.
    Local {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file of the maker's own says what cannot be.
    Draft {
        /// Which file.
        path: PathBuf,
        /// What is wrong in it.
        what: String,
    },
    /// What was asked for cannot be.
    Asked(String),
    /// A file of the repository is not what it must be.
    Damaged {
        /// Which file.
        name: String,
        /// Expected and got.
        what: String,
    },
    /// Metadata is not vouched for by the root that the maker holds, or by what followed from it.
    NotTrusted {
        /// Which file.
        name: String,
        /// Why.
        what: String,
    },
    /// There are too few keys to sign with.
    TooFewKeys {
        /// What is to be signed.
        role: Role,
        /// How many keys must sign.
        need: u64,
        /// How many of them are here.
        have: u64,
        /// The keys that could sign, by their names in the metadata.
        keys: Vec<String>,
    },
    /// Jobs that nobody has done yet.
    NotMade {
        /// Which.
        jobs: Vec<Job>,
        /// Of how many.
        of: usize,
    },
    /// Someone else changed the repository meanwhile.
    Changed {
        /// The file that is another one now.
        name: String,
    },
    /// There is no such release.
    NoRelease {
        /// The name asked for.
        id: String,
    },
    /// A release that breaks the rules.
    Release(crate::Malformed),
    /// An image cannot be read.
    Image(siding_image::Error),
    /// A patch cannot be read, written or signed.
    Patch {
        /// Which file of the repository.
        name: String,
        /// What is wrong with it.
        source: siding_patch::Error,
    },
    /// A patch could not be made.
    Making {
        /// The job.
        job: Box<Job>,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    pub(crate) fn damaged(name: &str, what: impl Into<String>) -> Self {
        Self::Damaged { name: name.to_owned(), what: what.into() }
    }

    pub(crate) fn not_trusted(name: &str, what: impl fmt::Display) -> Self {
        Self::NotTrusted { name: name.to_owned(), what: what.to_string() }
    }

    pub(crate) fn local(doing: &'static str, path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Local { doing, path: path.to_owned(), source }
    }

    pub(crate) fn patch(name: &str) -> impl FnOnce(siding_patch::Error) -> Self + '_ {
        |source| Self::Patch { name: name.to_owned(), source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Storage { doing, name, source } => write!(f, "cannot {doing} {name}: {source}"),
            Self::Local { doing, path, source } => write!(f, "cannot {doing} {}: {source}", path.display()),
            Self::Draft { path, what } => write!(f, "{}: {what}", path.display()),
            Self::Asked(what) => f.write_str(what),
            Self::Damaged { name, what } => write!(f, "{name} in the repository: {what}"),
            Self::NotTrusted { name, what } => write!(
                f,
                "{name} in the repository is not vouched for by the root in the key directory: {what}; \
                 nothing was signed"
            ),
            Self::TooFewKeys { role, need, have, keys } => write!(
                f,
                "{role} must be signed by {need} of the keys {}, and {have} of them are here; name the \
                 directories that hold them with --keys",
                keys.join(", ")
            ),
            Self::NotMade { jobs, of } => {
                write!(f, "{} of {of} jobs are not made yet: run `siding publish make` for", jobs.len())?;
                jobs.iter().try_for_each(|job| write!(f, "\n  {job}"))
            }
            Self::Changed { name } => {
                write!(f, "{name} was changed by someone else meanwhile; nothing is lost: run it again")
            }
            Self::NoRelease { id } => {
                write!(f, "there is no release {id:?}; `siding publish list` shows those there are")
            }
            Self::Release(error) => error.fmt(f),
            Self::Image(error) => error.fmt(f),
            Self::Patch { name, source } => write!(f, "{name}: {source}"),
            Self::Making { job, source } => write!(f, "cannot make {job}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Storage { source, .. } | Self::Making { source, .. } => Some(source.as_ref()),
            Self::Local { source, .. } => Some(source),
            Self::Release(error) => Some(error),
            Self::Image(error) => Some(error),
            Self::Patch { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<siding_image::Error> for Error {
    fn from(error: siding_image::Error) -> Self {
        Self::Image(error)
    }
}

impl From<crate::Malformed> for Error {
    fn from(error: crate::Malformed) -> Self {
        Self::Release(error)
    }
}
