//! Waves: a release reaches some devices sooner than others.

use serde::{Deserialize, Serialize};
use siding_image::Digest;
use std::fmt;
use std::str::FromStr;

/// From a moment on, a release is for this part of all devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wave {
    /// The moment, in seconds since 1970.
    pub at: u64,
    /// The part, 0 to 100 percent.
    pub percent: u8,
}

/// What tells devices apart: 1 to 128 bytes of visible ASCII, made at random once and kept in the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(String);

impl DeviceId {
    /// This device's place in a release's order, 0 (first) to 9,999 (last).
    ///
    /// The same for as long as the device keeps its name; another one in each release, so that it is not always the
    /// same devices that try things out. SHA-256 over the release's name, a zero byte and the device's name; the
    /// first eight bytes, big-endian, modulo 10,000.
    pub fn place(&self, release: &str) -> u16 {
        let Digest(bytes) = Digest::of_parts(&[release.as_bytes(), &[0], self.0.as_bytes()]);
        let head = bytes.iter().take(8).fold(0u64, |head, byte| head << 8 | u64::from(*byte));
        u16::try_from(head % 10_000).unwrap_or(u16::MAX)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How many of 10,000 devices a release is for at the time `now`. Without waves it is for all.
pub(crate) fn reach(waves: &[Wave], now: u64) -> u16 {
    if waves.is_empty() {
        return 10_000;
    }
    let begun = waves.iter().filter(|wave| wave.at <= now);
    begun.map(|wave| u16::from(wave.percent.min(100)) * 100).max().unwrap_or(0)
}

/// When the place is reached, if no wave changes until then.
pub(crate) fn when(waves: &[Wave], place: u16) -> Option<u64> {
    if waves.is_empty() {
        return Some(0);
    }
    let reaching = waves.iter().filter(|wave| place < u16::from(wave.percent.min(100)) * 100);
    reaching.map(|wave| wave.at).min()
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for DeviceId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("a device's name is 1 to 128 visible ASCII characters without spaces; got {text:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_stable_and_differs_by_release() {
        let id: DeviceId = "device-1".parse().unwrap();
        assert_eq!(id.place("r1"), id.place("r1"));
        let places: Vec<u16> = (0..50).map(|n| id.place(&format!("r{n}"))).collect();
        assert!(places.iter().any(|place| *place < 5_000) && places.iter().any(|place| *place >= 5_000));
    }

    #[test]
    fn a_part_of_the_devices_is_that_part() {
        let waves = [Wave { at: 10, percent: 10 }, Wave { at: 20, percent: 100 }];
        let ids: Vec<DeviceId> = (0..5_000).map(|n| format!("device-{n}").parse().unwrap()).collect();
        let reached = |now| ids.iter().filter(|id| id.place("r") < reach(&waves, now)).count();
        assert_eq!((reached(9), reached(20)), (0, 5_000));
        assert!((400..600).contains(&reached(10)), "{}", reached(10));
        assert!(ids.iter().all(|id| {
            let at = when(&waves, id.place("r")).unwrap();
            id.place("r") < reach(&waves, at) && id.place("r") >= reach(&waves, at - 1)
        }));
    }
}
