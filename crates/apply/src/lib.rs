//! Carries a patch out.
//!
//! [`run`] reads a checked patch once, front to back, rebuilds the target from the source and the patch, and
//! hands every byte to a [`Sink`] in order. It knows no keys, no files and no slots.
//!
//! ```text
//! reader ─► digest ─► decode ─► plan ─► tiles (rayon: gather old, add differences, place literals, hash) ─► sink
//! ```
//!
//! * `core.rs` is the pure part: a tile is made slice to slice, with no allocation and no I/O but the map.
//! * `run.rs` is the story around it: which bytes belong to which file, what has been written, is it right.
//!
//! Memory is bounded whatever the image size: one stored chunk, its decoded streams, at most one history, and one
//! batch of tiles (2 MiB and a tile), beside the list of a tree's entries.
#![warn(clippy::indexing_slicing, clippy::cast_possible_truncation)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::cast_possible_truncation))]

mod clock;
mod core;
mod error;
mod output;
mod run;

pub use crate::core::TILE;
pub use clock::{Clock, Stage};
pub use error::Error;
pub use run::{NoProgress, Progress, Report, check, run};
#[doc(no_inline)]
pub use siding_image::Sink;
