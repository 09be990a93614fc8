//! What happens to the fleet, hour by hour.

use super::Fleet;
use super::device;
use crate::Result;
use std::time::{SystemTime, UNIX_EPOCH};

/// The last hour.
pub(crate) const END: u64 = 128;
/// When disks that were full get room.
const ROOM_AT: u64 = 64;
/// When some owners remove what is installed.
const REMOVE_AT: u64 = 49;
/// When some who have automatic install off install by hand.
const BY_HAND_AT: u64 = 108;
/// When the bad release is taken back.
const WITHDRAW_AT: u64 = 78;

/// A release of the story.
pub(crate) struct Told {
    pub(crate) id: &'static str,
    pub(crate) letter: &'static str,
    /// Hours after the start.
    pub(crate) at: u64,
    /// Hours after the start, percent.
    pub(crate) waves: &'static [(u64, u8)],
}

/// The releases in order: one that half of the devices have, the fix, one that went wrong, and what repairs it.
pub(crate) const RELEASES: [Told; 4] = [
    Told { id: "r1-first", letter: "a", at: 0, waves: &[] },
    Told { id: "r2-fix", letter: "b", at: 0, waves: &[(0, 1), (8, 10), (20, 50), (36, 100)] },
    Told { id: "r3-bad", letter: "c", at: 56, waves: &[(56, 5), (68, 30), (88, 100)] },
    Told { id: "r4-good", letter: "d", at: 82, waves: &[(82, 20), (94, 100)] },
];

pub(crate) struct Story {
    /// When it began, in seconds since 1970.
    pub(crate) start: u64,
}

impl Story {
    pub(crate) fn new() -> Self {
        Self { start: start() }
    }

    /// What happens before the devices of this hour wake up.
    pub(crate) fn at(&mut self, hour: u64, fleet: &mut Fleet<'_>) -> Result<()> {
        for told in RELEASES.iter().filter(|told| told.at == hour && told.letter != "a") {
            fleet.maker.publish(told.id, told.letter, self.start, told.waves)?;
            println!("hour {hour:>3}: {} is published", told.id);
        }
        match hour {
            0 => fleet.proxy.spoil(fleet.options.faults),
            WITHDRAW_AT => {
                fleet.maker.withdraw("r3-bad")?;
                println!("hour {hour:>3}: r3-bad is withdrawn");
            }
            ROOM_AT => {
                for one in &fleet.devices {
                    device::locked(one).make_room()?;
                }
            }
            REMOVE_AT | BY_HAND_AT => {
                for one in &fleet.devices {
                    let mut device = device::locked(one);
                    match hour {
                        REMOVE_AT => device.remove_by_hand(fleet, hour)?,
                        _ => device.install_by_hand(fleet, hour, "r4-good")?,
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The moment the process began, in whole seconds: hours are counted from it.
pub(crate) fn start() -> u64 {
    static START: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    *START.get_or_init(|| {
        // Waves are written down in whole minutes.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 60 * 60 + 60)
    })
}

/// The simulated time.
pub(crate) fn time(hour: u64) -> u64 {
    start() + hour * 3600
}

/// The release that brings a letter.
pub(crate) fn bringing(letter: &str) -> Option<&'static Told> {
    RELEASES.iter().find(|told| told.letter == letter)
}

/// Of 10,000 places, how many a release has reached in this hour.
pub(crate) fn reach(told: &Told, hour: u64) -> u64 {
    if told.waves.is_empty() {
        return 10_000;
    }
    let begun = told.waves.iter().filter(|(from, _)| *from <= hour);
    begun.map(|(_, percent)| u64::from(*percent) * 100).max().unwrap_or(0)
}

/// The hours in which something happens, for the picture.
pub(crate) fn marks() -> Vec<(u64, &'static str)> {
    vec![(0, "(b) published"), (56, "(c) published"), (WITHDRAW_AT, "(c) withdrawn"), (82, "(d) published")]
}

/// When the bad release was taken back.
pub(crate) fn withdrawn_at() -> u64 {
    WITHDRAW_AT
}
