//! What can go wrong while a patch is carried out.

use siding_image::{Digest, Identity, Kind};
use std::fmt;
use std::io;

/// A patch could not be carried out. The source is untouched. What was written is no image; where the sink remembers how
/// far it came, the same patch goes on from there.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The patch cannot be read.
    Patch(siding_patch::Error),
    /// The source cannot be read.
    Source(siding_image::Error),
    /// The source is another image than the one the patch starts from.
    WrongSource {
        /// The image the patch starts from.
        expected: Identity,
        /// The image that was given.
        got: Identity,
    },
    /// A chunk's instructions break the format, although its bytes are the signed ones: its maker's fault.
    Instructions {
        /// Which chunk.
        chunk: usize,
        /// What rule they break.
        rule: &'static str,
    },
    /// What the patch makes is not what its manifest promises.
    WrongTarget {
        /// Which part of the target.
        part: String,
        /// The signed digest.
        expected: Digest,
        /// The digest of what was made.
        got: Digest,
    },
    /// The chunks make more or less than the new files of the tree need.
    WrongLength {
        /// What the tree's new contents need, in bytes.
        expected: u64,
        /// What the chunks make, in bytes.
        got: u64,
    },
    /// The patch needs more memory than is allowed.
    Memory {
        /// What carrying it out takes, in bytes.
        needed: u64,
        /// What is allowed, in bytes.
        allowed: u64,
        /// The chunk whose coders look back too far for it, if that is why.
        chunk: Option<usize>,
    },
    /// Writing the target failed, or reading back what was written of it.
    Sink {
        /// The offset in the target's flat space.
        offset: u64,
        /// The system's answer.
        source: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Patch(error) => error.fmt(f),
            Self::Source(error) => {
                write!(f, "the source cannot be read: {error}; check the medium it lies on")
            }
            Self::WrongSource { expected, got } => write!(
                f,
                "this patch is for another image: it starts from {expected}, but was given {got}{}; get the patch made for this one",
                if got.kind == Kind::Tree { " (in a tree modes, owners and times count too)" } else { "" }
            ),
            Self::Instructions { chunk, rule } => {
                write!(
                    f,
                    "the instructions of chunk {chunk} are malformed: {rule}; report it to the patch's maker"
                )
            }
            Self::WrongTarget { part, expected, got } => write!(
                f,
                "{part} came out wrong: expected digest {expected}, got {got}; either the source changed while it was read or the patch was made wrongly; verify the source, then report it to the patch's maker"
            ),
            Self::WrongLength { expected, got } => write!(
                f,
                "the chunks make {got} bytes, but the tree's new files need {expected}; report it to the patch's maker"
            ),
            Self::Memory { needed, allowed, chunk: None } => write!(
                f,
                "the patch takes {needed} bytes of memory to carry out, but {allowed} are allowed; allow more, or get a patch made of smaller chunks"
            ),
            Self::Memory { needed, allowed, chunk: Some(chunk) } => write!(
                f,
                "chunk {chunk} takes {needed} bytes of memory with what its coders look back at, but {allowed} are allowed; allow more, or get a patch made at level fast"
            ),
            Self::Sink { offset, source } => {
                write!(
                    f,
                    "the target could not be written, or what was written not read back, at byte {offset}: {source}; check the medium and the room on it"
                )
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Patch(error) => Some(error),
            Self::Source(error) => Some(error),
            Self::Sink { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<siding_patch::Error> for Error {
    fn from(error: siding_patch::Error) -> Self {
        Self::Patch(error)
    }
}

impl From<siding_image::Error> for Error {
    fn from(error: siding_image::Error) -> Self {
        Self::Source(error)
    }
}
