//! The device's one story: a patch becomes an image in a slot.
//!
//! ```text
//! open ─► may it? ─► is it here already? ─► source slot ─► check source ─► stage ─► apply ─► seal (─► switch)
//! ```
//!
//! This is the only place where the applier and the slots meet. [`install`] carries the story out; what a
//! patch may do on this device is decided in [`permit`], which does not write to disk.
//!
//! On any error the running slot is what it was. What was staged is marked unusable in the record before its
//! first byte is written, and stays so.

mod error;
mod install;
mod permit;

pub use error::Error;
pub use install::{Installed, Outcome, Request, Terms, install};
pub use permit::permit;
