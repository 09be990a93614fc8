//! The devices of a component that has two slots and no base.

use crate::disk::{Access, Disk};
use crate::state::{Places, Slot, State};
use crate::{Error, Result};
use siding_image::Component;
use std::io;
use std::path::{Path, PathBuf};

/// The device of the slot `active`, with every link followed; if both are block devices, under absolute names that
/// hold after a restart, and are not the same one.
///
/// Fails if anybody else uses the one that is not active: it is to be written, the active one may well be mounted. Fails
/// too if one of them is a device that another component has, by whatever name. Writes nothing.
pub(super) fn checked(
    disk: &dyn Disk,
    state: &State,
    component: &Component,
    places: &Places,
    active: Slot,
) -> Result<PathBuf> {
    let [a, b] = [&places.a, &places.b].map(|place| {
        let io = |e| Error::io("use as a slot", place, e);
        if !place.is_absolute() {
            return Err(io(io::Error::new(io::ErrorKind::InvalidInput, "its name does not begin with /")));
        }
        let device = disk.resolve(place).map_err(io)?;
        match disk.look(&device).map_err(io)?.is_block_device() {
            true => Ok(device),
            false => Err(io(io::Error::new(io::ErrorKind::InvalidInput, "it is not a block device"))),
        }
    });
    let (a, b) = (a?, b?);
    if a == b || overlap(disk, &a, &b) {
        let same = io::Error::new(io::ErrorKind::InvalidInput, "both slots are this device");
        return Err(Error::io("use as a slot", &a, same));
    }
    for device in [&a, &b] {
        nobody_elses(disk, state, component, device)?;
    }
    match active {
        Slot::A => alone(disk, &b).map(|()| a),
        Slot::B => alone(disk, &a).map(|()| b),
        Slot::Base => {
            let none =
                io::Error::new(io::ErrorKind::InvalidInput, "two devices have no slot base; name a or b");
            Err(Error::io("use as a slot", &a, none))
        }
    }
}

/// Refuses a device that is mounted, or that somebody else has; or that is none any more. Writes nothing.
pub(super) fn alone(disk: &dyn Disk, device: &Path) -> Result<()> {
    let io = |e| Error::io("use as a slot", device, e);
    match disk.open(device, Access::Alone).map_err(io)?.is_device() {
        true => Ok(()),
        false => Err(io(io::Error::new(io::ErrorKind::InvalidInput, "it is not a block device"))),
    }
}

fn nobody_elses(disk: &dyn Disk, state: &State, component: &Component, device: &Path) -> Result<()> {
    for (other, held) in state.components().filter(|(other, _)| *other != component) {
        for slot in Slot::PATCHED {
            let Some(place) = held.place(slot) else { continue };
            if place == device || overlap(disk, device, place) {
                let (path, place) = (device.to_owned(), place.to_owned());
                let (component, other) = (component.clone(), other.clone());
                return Err(Error::SharedDevice { path, component, other, slot, place });
            }
        }
    }
    Ok(())
}

/// Whether the two have a byte in common. A device that is gone has none.
fn overlap(disk: &dyn Disk, one: &Path, other: &Path) -> bool {
    let [one, other] = [one, other].map(|path| disk.extents(path).unwrap_or_default());
    one.iter().any(|one| other.iter().any(|other| one.overlaps(other)))
}
