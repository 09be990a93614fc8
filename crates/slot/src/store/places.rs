//! The devices of a component that has two slots and no base.

use crate::disk::Disk;
use crate::state::{Places, Slot};
use crate::{Error, Result};
use std::io;
use std::path::PathBuf;

/// The device of the slot `active`, with every link followed; if both are block devices, under absolute names that
/// hold after a restart, and are not the same one.
pub(super) fn checked(disk: &dyn Disk, places: &Places, active: Slot) -> Result<PathBuf> {
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
    if a == b {
        let same = io::Error::new(io::ErrorKind::InvalidInput, "both slots are this device");
        return Err(Error::io("use as a slot", &a, same));
    }
    match active {
        Slot::A => Ok(a),
        Slot::B => Ok(b),
        Slot::Base => {
            let none =
                io::Error::new(io::ErrorKind::InvalidInput, "two devices have no slot base; name a or b");
            Err(Error::io("use as a slot", &a, none))
        }
    }
}
