//! What can go wrong when an image is read.

use crate::{Digest, TreeError};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// An image could not be read, or is not what it should be.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    Io {
        /// What was being done, as a verb: "open", "map".
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// The tree holds something that a patch cannot carry, such as a socket.
    Unsupported {
        /// Which entry.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A list of entries breaks a rule of tree manifests.
    Tree(TreeError),
    /// The bytes on disk are not those of the image they should be.
    Differs {
        /// Which file or tree.
        path: PathBuf,
        /// The digest it should have.
        expected: Digest,
        /// The digest it has.
        got: Digest,
    },
}

impl Error {
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, path, source } => write!(f, "cannot {doing} {}: {source}", path.display()),
            Self::Unsupported { path, what } => write!(
                f,
                "{} is a {what}: a tree image holds files, directories, symbolic and hard links only; remove it from the tree, or create it at boot",
                path.display()
            ),
            Self::Tree(error) => write!(f, "the tree is not well formed: {error}"),
            Self::Differs { path, expected, got } => {
                write!(f, "{} has changed: expected digest {expected}, got {got}", path.display())
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Tree(error) => Some(error),
            Self::Unsupported { .. } | Self::Differs { .. } => None,
        }
    }
}

impl From<TreeError> for Error {
    fn from(error: TreeError) -> Self {
        Self::Tree(error)
    }
}
