//! The device's one story: a patch becomes an image in a slot.
//!
//! ```text
//! open ─► may it? ─► is it here already? ─► source slot ─► check source ─► stage ─► apply ─► seal (─► switch)
//! ```
//!
//! This is the only place where the applier and the slots meet. [`install`] carries the story out; what a
//! patch may do on this device is decided in [`permit`], and which way an install goes in `course.rs`, for [`plan`]
//! as for [`install`]; neither writes to disk.
//!
//! [`background`] does it by itself: it looks into a repository ([`source`]), [`decide`]s what of it is for this device,
//! as [`policy`] wants it, and keeps what it must know from one pass to the next in [`memory`]. What a person sees of
//! it is a [`view`].
//!
//! On any error the running slot is what it was. What was staged is marked unusable in the record before its
//! first byte is written, and stays so until all of it is there; the same patch may go on with it. An image that is
//! here already but damaged is as if it were not here.

pub mod background;
mod check;
mod course;
pub mod decide;
mod durable;
mod error;
pub mod health;
mod install;
pub mod memory;
mod owed;
mod permit;
mod picture;
mod plan;
pub mod policy;
mod remote;
pub mod restart;
mod running;
mod shared;
mod situation;
pub mod source;
pub mod view;
mod way;

pub use check::{Damage, check, check_for_switch};
pub use error::Error;
pub use install::{Installed, Outcome, Request, Terms, install};
pub use owed::pay;
pub use permit::permit;
pub use picture::{Sources, offer, offers, picture};
pub use plan::{Plan, plan};
pub use running::{Removal, Running};
pub use shared::Shared;
pub use situation::{boot, situation};
pub use way::{open_after, open_at_once, open_soon};
