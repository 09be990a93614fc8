//! Whether a sealed slot still holds what its seal says. Writes nothing.
//!
//! How it is found out is [`Snapshot::verify`]'s: files that the kernel holds to their digests are asked about, all others
//! are read. Here what is wrong is told from what only could not be looked at.

use crate::Error;
use rustix::io::Errno;
use siding_image::{Component, Error as ImageError};
use siding_slot::{Error as SlotError, Slot, Snapshot, Verified};
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

/// What is wrong with a sealed image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Which file, or which entry of a tree.
    pub path: PathBuf,
    /// What is wrong with it, to be read after its name.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path.display(), self.what)
    }
}

/// Compares the image in a slot with the record: how it was found to be right, or what is wrong with it.
///
/// Fails if the slot holds no sealed image, or if it cannot be told what it holds, as without the right to read it.
pub fn check(store: &Snapshot, component: &Component, slot: Slot) -> Result<Result<Verified, Damage>, Error> {
    match store.verify(component, slot) {
        Ok(verified) => Ok(Ok(verified)),
        Err(error) => {
            let image = store.image_path(component, slot);
            damage(image, error).map(Err).map_err(Error::from)
        }
    }
}

/// Makes sure of an image that is to be switched to.
pub fn check_for_switch(store: &Snapshot, component: &Component, slot: Slot) -> Result<(), Error> {
    let Err(damage) = check(store, component, slot)? else { return Ok(()) };
    let version = store.state().get(component).and_then(|held| held.image(slot));
    let version = version.map_or_else(String::new, |image| image.version.to_string());
    Err(Error::Damaged { component: component.clone(), version, slot, damage })
}

/// What cannot be read of a sealed image is damage, unless it is the reader that is not let.
fn damage(image: PathBuf, error: SlotError) -> Result<Damage, SlotError> {
    let (path, what) = match error {
        SlotError::NotAsWritten { path, what: "presence", expected, .. } => match expected.as_str() {
            "nothing" => (path, "does not belong there".to_owned()),
            _ => (path, "is missing".to_owned()),
        },
        SlotError::NotAsWritten { path, what, expected, got } => {
            (path, format!("has another {what} than it was sealed with: expected {expected}, got {got}"))
        }
        SlotError::Image(ImageError::Differs { path, expected, got }) => {
            (path, format!("has changed: expected digest {expected}, got {got}"))
        }
        SlotError::Image(ImageError::Unsupported { path, what }) => {
            (path, format!("is a {what}, which no image holds"))
        }
        SlotError::Image(ImageError::Tree(error)) => (image, format!("is not well formed: {error}")),
        SlotError::Image(ImageError::Io { path, source, .. }) | SlotError::Io { path, source, .. }
            if is_damage(&source) =>
        {
            (path, format!("cannot be read: {source}"))
        }
        error => return Err(error),
    };
    Ok(Damage { path, what })
}

fn is_damage(error: &io::Error) -> bool {
    let of_medium =
        [Errno::IO, Errno::UCLEAN, Errno::BADMSG, Errno::NODATA, Errno::LOOP].map(Errno::raw_os_error);
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::Other)
        || error.raw_os_error().is_some_and(|number| of_medium.contains(&number))
}
