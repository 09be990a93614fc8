//! What old bytes will look like once moved.
//!
//! When a fix is compiled into a program, nearly every byte that changes is an address written down somewhere:
//! a call's offset, a relocation, a pointer. The code around them only moved. If both sides know how far each
//! old address moved, they can say what each such field will read, and a patch need not.
//!
//! - A [`ShiftMap`] says for any old address how far its content moved.
//! - A [`Kind`] says what a region of old bytes holds, and finds its [`Reference`]s: guesses that maker and
//!   device make alike. A wrong one costs bytes in the patch, never correctness.
//! - A [`Model`] is all a device needs: regions, which addresses exist, where the new bytes lie, and the map. It
//!   is checked when it is made, and [`Model::encode`] and [`Model::decode`] are its form in a patch.
//! - [`Model::predict_copy`] rewrites copied bytes. Any window of them comes out as the slice of the whole.
//!
//! ```
//! use siding_predict::{Kind, Model, Region, Segment, ShiftMap, Span};
//!
//! // At 0x1100 stands a call to 0x1340; from 0x1200 on everything will lie 0x20 further on.
//! let old = [0xe8, 0x3b, 0x02, 0, 0];
//! let region = Region { start: 0, len: 5, address: 0x1100, kind: Kind::X86_64, link: 0 };
//! let span = Span { start: 0x1000, end: 0x3000, code: true };
//! let segment = Segment { start: 0, len: 5, address: 0x1100 };
//! let map = ShiftMap::new(vec![(0x1200, 0x20)]);
//! let model = Model::new(vec![region], vec![span], vec![segment], map)?;
//!
//! // The device: what it copies from offset 0 of the old file to offset 0 of the new one.
//! let mut copied = old;
//! model.predict_copy(0, 0, &mut copied, |_| Some(&old));
//! assert_eq!(copied, [0xe8, 0x5b, 0x02, 0, 0]); // calls 0x1360
//!
//! // The model travels in the patch.
//! let sent = model.encode();
//! assert_eq!(Model::decode(&sent.regions, &sent.addresses, &sent.shifts)?, model);
//! # Ok::<(), siding_predict::Broken>(())
//! ```
//!
//! Everything here is a function of its arguments: no files, no unsafe code, and no bytes that could make it
//! panic, take memory beyond their own length, or work more than in proportion to it. `docs/prediction.md`
//! explains the technique, with a table of all kinds.
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

mod codec;
mod field;
pub mod find;
mod map;
mod model;

pub use codec::{Broken, Streams};
pub use field::{Base, Form, Reference};
pub use find::{Kind, PAGE, Place};
pub use map::ShiftMap;
pub use model::{Model, Region, Segment, Span};

/// Each file has its own addresses; the number of its space stands above these 48 bits.
pub const SPACE: u64 = 1 << 48;
