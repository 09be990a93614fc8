//! The patch file, format version 1: the only code that writes or reads its bytes.
//!
//! Only what a model's streams mean lies elsewhere, in `siding-predict`: here they are bytes.
//!
//! `docs/format.md` is the law; the modules cite its sections and repeat no layouts. A patch is read once,
//! front to back, and never sought in:
//!
//! 1. [`open`] reads the header and the envelope, checks that enough trusted keys signed the manifest, and
//!    parses it. Its result, [`Checked`], can be had no other way.
//! 2. [`Checked::next_chunk`] reads one chunk and compares its bytes with the signed digest *before* anyone
//!    looks into them. After the last chunk the file must end.
//! 3. [`Stored::decode`] expands a chunk into its [`Streams`]; [`Walker`] reads a delta's instructions.
//!
//! Every length from outside meets [`Limits`] before memory is reserved for it.
//!
//! With the cargo feature `make` the crate also writes: [`write`](crate::write()) and [`PrivateKey`].
//! A device build has neither.
#![warn(clippy::indexing_slicing, clippy::cast_possible_truncation, clippy::arithmetic_side_effects)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        clippy::arithmetic_side_effects,
        reason = "a test may panic"
    )
)]

mod adaptive;
mod chunk;
mod cursor;
mod delta;
#[cfg(feature = "make")]
mod encode;
mod envelope;
mod error;
mod keys;
mod layout;
mod limits;
mod lzma;
mod manifest;
mod read;
mod stream;
#[cfg(feature = "make")]
mod write;

pub use chunk::Stored;
pub use delta::{Step, Walker};
#[cfg(feature = "make")]
pub use encode::{Encoded, Instruction, Packing, encode_changes, encode_delta, encode_model};
pub use error::{Error, Fault};
#[cfg(feature = "make")]
pub use keys::PrivateKey;
pub use keys::{KeyId, PublicKey, Trust};
pub use layout::Layout;
pub use limits::Limits;
pub use manifest::{Advisory, ChunkKind, ChunkRef, ImageRef, Manifest, Severity};
pub use read::{Checked, open};
pub use stream::{Coder, Frame, History, Stream, Streams};
#[cfg(feature = "make")]
pub use write::{add_signature, write};

/// The format version this crate reads and writes.
pub const FORMAT_VERSION: u16 = 1;
