//! What can be wrong with a patch, and whose fault it is.

use crate::KeyId;
use siding_image::{Digest, TreeError};
use std::fmt;
use std::io;

/// Whose fault an error is; a program's exit code follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes are damaged or not a patch: fetch it again.
    Corrupt,
    /// Nobody trusted vouches for it.
    NotTrusted,
    /// It is well formed but asks for a newer program.
    TooNew,
    /// It is larger than the limits allow.
    Limits,
    /// The caller gave something unusable, such as a bad key.
    Caller,
    /// The operating system failed to deliver bytes.
    Medium,
}

/// A patch could not be read or written.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The first bytes are not those of a patch.
    NotAPatch,
    /// The format version is not one this program reads.
    Version(u16),
    /// The file ends early.
    Truncated {
        /// In which part: "the header", "chunk 3".
        part: String,
        /// Bytes the part has by the signed (or, for the envelope, stated) length.
        expected: u64,
        /// Bytes there were.
        got: u64,
    },
    /// Bytes follow the last chunk.
    Trailing,
    /// The stored bytes of a chunk are not those that were signed.
    ChunkDigest {
        /// Which chunk, from 0.
        chunk: usize,
        /// The signed digest.
        expected: Digest,
        /// The digest of what was read.
        got: Digest,
    },
    /// A part breaks the format.
    Malformed {
        /// Which part.
        part: String,
        /// What rule it breaks.
        rule: &'static str,
    },
    /// The changes of a tree break a rule of trees.
    Tree(TreeError),
    /// A part has something that this program does not know; perhaps a later one does.
    Unknown {
        /// Which part.
        part: String,
        /// What it is: "field", "chunk kind", "coder", "stream".
        what: &'static str,
        /// Its number.
        number: u64,
    },
    /// A length exceeds the limits.
    TooLarge {
        /// Of what.
        what: String,
        /// The length in bytes.
        got: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The patch carries no signature, and unsigned patches are not allowed.
    Unsigned,
    /// Fewer distinct trusted keys than wanted made a good signature.
    TooFewSignatures {
        /// How many did.
        good: usize,
        /// How many are wanted.
        threshold: usize,
        /// The keys that the file names, trusted or not. Nobody vouches for these names.
        named: Vec<KeyId>,
        /// Those of them that are trusted, and whose signature is not good.
        broken: Vec<KeyId>,
    },
    /// A key file cannot be used.
    Key(String),
    /// Reading or writing the patch failed.
    Io {
        /// In which part.
        part: String,
        /// The system's answer.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn malformed(part: impl Into<String>, rule: &'static str) -> Self {
        Self::Malformed { part: part.into(), rule }
    }

    pub(crate) fn io(part: impl Into<String>, source: io::Error) -> Self {
        Self::Io { part: part.into(), source }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::NotAPatch
            | Self::Truncated { .. }
            | Self::Trailing
            | Self::ChunkDigest { .. }
            | Self::Malformed { .. }
            | Self::Tree(_) => Fault::Corrupt,
            Self::Unsigned | Self::TooFewSignatures { .. } => Fault::NotTrusted,
            Self::Version(_) | Self::Unknown { .. } => Fault::TooNew,
            Self::TooLarge { .. } => Fault::Limits,
            Self::Key(_) => Fault::Caller,
            Self::Io { .. } => Fault::Medium,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAPatch => {
                write!(f, "this is not a siding patch: the first 8 bytes differ; check the file name")
            }
            Self::Version(version) => write!(
                f,
                "the patch has format version {version}, this siding reads {}; install a newer siding",
                crate::FORMAT_VERSION
            ),
            Self::Truncated { part, expected, got } => write!(
                f,
                "the patch ends inside {part}: expected {expected} bytes there, got {got}; fetch the patch again"
            ),
            Self::Trailing => {
                write!(f, "bytes follow the last chunk, expected the end of the file; fetch the patch again")
            }
            Self::ChunkDigest { chunk, expected, got } => write!(
                f,
                "chunk {chunk} is damaged: expected digest {expected}, got {got}; nothing of it was used; fetch the patch again"
            ),
            Self::Malformed { part, rule } => {
                write!(
                    f,
                    "{part} of the patch is malformed: {rule}; fetch it again, or report it to its maker"
                )
            }
            Self::Tree(error) => {
                write!(f, "the tree in the patch is not well formed: {error}; report it to its maker")
            }
            Self::Unknown { part, what, number } => write!(
                f,
                "{part} of the patch has {what} {number}, which this siding does not know; install a newer siding"
            ),
            Self::TooLarge { what, got, limit } => write!(
                f,
                "{what} of the patch takes {got} bytes, the limit is {limit}; ask its maker for smaller chunks, or raise the limit where the reader lets you"
            ),
            Self::Unsigned => write!(
                f,
                "the patch is not signed; ask its maker for a signed one, or sign it yourself if you made it (siding sign)"
            ),
            Self::TooFewSignatures { good, threshold, named, broken } => {
                let keys = if *threshold == 1 { "key" } else { "keys" };
                write!(
                    f,
                    "the patch is not trusted: expected good signatures of {threshold} distinct trusted {keys}, got {good}; "
                )?;
                if broken.is_empty() {
                    return write!(f, "it names {}; check which public keys are trusted", list(named));
                }
                write!(
                    f,
                    "the signature of the trusted {} does not match what it signs; fetch the patch again",
                    list(broken)
                )
            }
            Self::Key(why) => write!(f, "the key cannot be used: {why}"),
            Self::Io { part, source } => {
                write!(f, "{part} of the patch could not be transferred: {source}; try again")
            }
        }
    }
}

fn list(keys: &[KeyId]) -> String {
    keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Tree(error) => Some(error),
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed in full by `cargo test -- --nocapture every_variant`; a person must understand each.
    #[test]
    fn every_variant_says_what_to_do() {
        let digest = Digest::of(b"");
        let all = [
            Error::NotAPatch,
            Error::Version(9),
            Error::Truncated { part: "chunk 3".into(), expected: 10, got: 4 },
            Error::Trailing,
            Error::ChunkDigest { chunk: 1, expected: digest, got: digest },
            Error::malformed("the manifest", "keys are out of order"),
            Error::Unknown { part: "chunk 0".into(), what: "coder", number: 77 },
            Error::TooLarge { what: "chunk 2".into(), got: 99, limit: 10 },
            Error::Unsigned,
            Error::TooFewSignatures { good: 1, threshold: 2, named: vec![], broken: vec![] },
            Error::Key("not PEM".into()),
            Error::io("the header", io::ErrorKind::BrokenPipe.into()),
        ];
        for error in all {
            let text = error.to_string();
            println!("{text}");
            let advice =
                ["fetch", "install", "ask", "raise", "report", "check", "cannot be used", "transferred"];
            assert!(advice.iter().any(|word| text.contains(word)), "no advice in: {text}");
        }
    }
}
