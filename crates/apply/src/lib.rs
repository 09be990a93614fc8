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
//! * `resume.rs` goes on with what an interrupted apply left in the sink.
//! * `memory.rs` divides the memory that is allowed.
//!
//! Memory is bounded whatever the image size: a chunk's streams and a batch of tiles, and as far as there is room
//! the next chunk and the batch before, beside what a patch brings once: its manifest, the model of what moved, and
//! the list of a tree's entries.
#![warn(clippy::indexing_slicing, clippy::cast_possible_truncation)]
#![cfg_attr(
    test,
    allow(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "a test may panic")
)]

mod clock;
mod core;
mod error;
mod memory;
mod output;
mod resume;
mod run;
mod throttle;

pub use crate::core::TILE;
pub use clock::{Clock, Stage};
pub use error::Error;
pub use memory::{MEMORY, fits, least_memory};
pub use run::{Apply, NoProgress, Progress, Report, check, run};
#[doc(no_inline)]
pub use siding_image::Sink;
pub use throttle::Throttle;
