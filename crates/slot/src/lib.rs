//! The slots of a device: stage, seal, switch, trial, roll back.
//!
//! A [`Store`] is a directory that holds, for each component, up to three images in the slots `base`, `a` and
//! `b`, and one *record* that says which of them is active. Everything else, such as the `current` links, is a
//! projection of the record and is made again whenever it disagrees.
//!
//! The crate decides, then does. [`step`] is a pure function from a [`State`] and an [`Event`] to the next
//! state and its [`Effect`]s; it does not write to disk, and a test walks all of it. [`Store`] is the one that
//! writes: record first, in one overwrite and one flush, effects after. Whatever moment the power goes, the
//! record says either the old state or the new one, and the effects are repeated from it.
//!
//! The order of work is carried by types. To stage is to durably forget what the inactive slot held and to get
//! a [`Staging`]; to seal one is to flush it, read it back and compare it, and to get a [`Sealed`]; only that
//! can be switched to. Neither can be used twice, and dropping one leaves nothing that could be booted.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use siding_image::{Content, FileRef, Sink, verity};
//! use siding_slot::{Slot, Store, Target, TrialTerms};
//! let dir = tempfile::tempdir()?;
//! std::fs::write(dir.path().join("old"), b"old bytes")?;
//! let (openssl, now) = ("openssl".parse()?, 1_700_000_000);
//!
//! let mut store = Store::create(&dir.path().join("store"))?;
//! store.init(&openssl, &"3.0.20".parse()?, 1, &dir.path().join("old"), now)?;
//!
//! // What a patch says it makes, and the bytes it makes (the applier's work).
//! let content = Content::File(FileRef { size: 9, digest: verity::digest(b"new bytes") });
//! let target = Target::new("3.0.20 (a)".parse()?, content.identity(), 2);
//! let mut staging = store.stage(&openssl, &target, false, now)?;
//! staging.begin(&content, &[FileRef { size: 9, digest: verity::digest(b"new bytes") }])?;
//! staging.write_at(0, 0, b"new bytes")?;
//! staging.seal(None)?.switch(Some(TrialTerms { tries: 3, deadline: None }), now)?;
//!
//! assert_eq!(store.state().get(&openssl).unwrap().active, Slot::A);
//! store.confirm(&[openssl], now)?;
//! # Ok(())
//! # }
//! ```
//!
//! What may be on the medium at each moment, and what is assumed of it, is written down in `docs/design.md`.

mod builder;
mod checkpoint;
mod codec;
mod disk;
mod error;
mod layout;
mod log;
#[cfg(test)]
mod proof;
mod record;
#[cfg(test)]
mod sim;
mod snapshot;
mod space;
mod staging;
mod state;
mod step;
mod store;
mod verify;

pub use builder::{Builder, discard};
pub use error::{Error, Kind};
pub use log::{History, LogEntry, What};
pub use snapshot::{Snapshot, Trouble};
pub use space::Space;
pub use staging::{Sealed, Staging, Target};
pub use state::{
    Booted, ComponentState, Denied, Fallback, Held, Places, REBOOT, SealedImage, Slot, State, Trial,
    TrialTerms, date,
};
pub use step::{Effect, Event, NextBoot, Refusal, next_boot, step};
pub use store::{Freed, Store};
pub use verify::Verified;

/// What this crate's fallible functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;
