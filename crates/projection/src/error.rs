//! What can go wrong with a projection, and what to do about it.

use crate::Done;
use siding_image::Component;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Projections could not be read, or not all be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The file that says what to project makes no sense.
    Config {
        /// Which file.
        path: PathBuf,
        /// In which line, from 1.
        line: usize,
        /// What is wrong there, and what is allowed.
        what: String,
    },
    /// The file that says what to project cannot be read.
    Read {
        /// Which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Some projections failed; all others are made.
    Failed {
        /// What was done.
        done: Vec<Done>,
        /// What was not; at least one.
        failures: Vec<Failure>,
    },
}

/// One projection that could not be made to follow the record. Its place shows what it showed before.
#[derive(Debug)]
pub struct Failure {
    /// Of which component.
    pub component: Component,
    /// Which projection: its kind and its place.
    pub projection: String,
    /// Why.
    pub reason: Reason,
}

/// Why a projection failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Reason {
    /// The operating system refused.
    Io {
        /// What was being done, as a verb.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// A boot loader's file is not what it should be.
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        what: String,
    },
    /// The device or its store does not have what this projection needs.
    Unfit {
        /// What is missing and what to do.
        what: String,
    },
}

impl Reason {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }

    pub(crate) fn file(path: &Path, what: impl fmt::Display) -> Self {
        Self::File { path: path.to_owned(), what: what.to_string() }
    }

    pub(crate) fn unfit(what: impl Into<String>) -> Self {
        Self::Unfit { what: what.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config { path, line, what } => write!(f, "{}, line {line}: {what}", path.display()),
            Self::Read { path, source } => write!(f, "cannot read {}: {source}", path.display()),
            Self::Failed { failures, .. } => {
                for (i, failure) in failures.iter().enumerate() {
                    write!(f, "{}{failure}", if i == 0 { "" } else { "\n" })?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { component, projection, reason } = self;
        write!(f, "{component}: {projection} does not follow the record: {reason}")
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, path, source } => {
                write!(f, "cannot {doing} {}: {source}", path.display())?;
                f.write_str(match source.kind() {
                    io::ErrorKind::NotFound => "; make it, or correct projections.toml",
                    io::ErrorKind::PermissionDenied => "; run this as root",
                    _ => "",
                })
            }
            Self::File { path, what } => write!(f, "{}: {what}", path.display()),
            Self::Unfit { what } => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Failed { failures, .. } => failures.first().map(|failure| failure as _),
            Self::Config { .. } => None,
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.reason {
            Reason::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
