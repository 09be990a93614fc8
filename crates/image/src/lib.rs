//! What an image is.
//!
//! An *image* is one version of a component: a file, a block device, or a tree of files. Everything else
//! in this project names images by their [`Identity`] and reads them through [`Image`], so this crate is the
//! vocabulary at the bottom of the house: it knows nothing of patches, slots or keys.
//!
//! * [`Digest`] is 32 bytes of SHA-256. A file's digest is the one fs-verity gives it ([`verity`]): hashing
//!   is parallel, and a kernel can enforce the very digest that was signed. A tree's digest covers a
//!   canonical list of its entries ([`Tree`]).
//! * [`Version`] is `26.3.1` or `26.3.1 (a)`, with an order. [`Component`] is a checked component name.
//! * [`Tree`] is the canonical description of a directory: parsed once, and then known to be safe to build.
//! * [`Image`] is an image on disk, opened for reading: its identity and its bytes as one flat space.
//!
//! Files are mapped read-only in `map.rs`, the only place of a library here that contains `unsafe`.
//! Nothing in this crate writes to a disk.

mod component;
mod digest;
mod error;
mod file;
mod map;
mod open;
mod scan;
mod sink;
mod tree;
pub mod verity;
mod version;

pub use component::Component;
pub use digest::{Digest, Hasher};
pub use error::Error;
pub use map::Map;
pub use open::{Blob, Content, Identity, Image, Kind};
pub use scan::{scan, scan_with};
pub use sink::{Checkpoint, Sink};
pub use tree::{Changes, Entry, FileRef, Meta, Node, Tree, TreeError, Xattrs};
pub use version::Version;
