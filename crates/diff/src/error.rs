//! What can go wrong while a patch is made.

use siding_image::Kind;
use std::fmt;

/// A patch could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// One image is a file, the other a tree.
    Kinds {
        /// What the old one is.
        old: Kind,
        /// What the new one is.
        new: Kind,
    },
    /// An image cannot be read.
    Image(siding_image::Error),
    /// A chunk cannot be written.
    Patch(siding_patch::Error),
    /// Sorting the suffixes failed.
    Index(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kinds { old, new } => {
                write!(
                    f,
                    "old is a {old} and new is a {new}; a patch goes from file to file or from tree to tree"
                )
            }
            Self::Image(error) => error.fmt(f),
            Self::Patch(error) => error.fmt(f),
            Self::Index(why) => write!(f, "the old image could not be indexed: {why}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Image(error) => Some(error),
            Self::Patch(error) => Some(error),
            Self::Kinds { .. } | Self::Index(_) => None,
        }
    }
}

impl From<siding_image::Error> for Error {
    fn from(error: siding_image::Error) -> Self {
        Self::Image(error)
    }
}

impl From<siding_patch::Error> for Error {
    fn from(error: siding_patch::Error) -> Self {
        Self::Patch(error)
    }
}
