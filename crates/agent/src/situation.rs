//! What is true of this device at the moment.

use crate::decide::Situation;
use crate::memory;
use crate::policy::Policy;
use std::fs;
use std::io;
use std::path::Path;

/// Looks: the clock and the local time come from the caller, who knows them.
///
/// A device's name that is made here survives a power cut.
pub fn situation(store: &Path, policy: &Policy, now: u64, offset: i32) -> io::Result<Situation> {
    let device = match &policy.values.device_id {
        Some(named) => named.clone(),
        None => memory::device_id(store)?,
    };
    let (battery, mains) = power(Path::new("/sys/class/power_supply"));
    Ok(Situation { now, offset, device, battery, mains, free: free(store), boot: boot() })
}

/// What tells this start of the device from others; empty where the kernel does not say.
pub fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

fn free(store: &Path) -> Option<u64> {
    let seen = rustix::fs::statvfs(store).ok()?;
    Some(seen.f_bavail.saturating_mul(seen.f_frsize))
}

/// The lowest charge of the device's own batteries, and whether it is on mains. Batteries of mice and the like are
/// not the device's.
fn power(dir: &Path) -> (Option<u8>, bool) {
    let (mut lowest, mut mains): (Option<u8>, bool) = (None, false);
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let read =
            |name: &str| fs::read_to_string(entry.path().join(name)).unwrap_or_default().trim().to_owned();
        match read("type").as_str() {
            "Battery" if read("scope") != "Device" => {
                let charge = read("capacity").parse().ok();
                lowest = match (lowest, charge) {
                    (Some(low), Some(charge)) => Some(low.min(charge)),
                    (low, charge) => low.or(charge),
                };
            }
            "Mains" | "USB" => mains |= read("online") == "1",
            _ => {}
        }
    }
    (lowest, mains || lowest.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_battery_of_the_device_counts() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(power(dir.path()), (None, true));
        for (name, files) in [
            ("BAT0", &[("type", "Battery"), ("capacity", "80")][..]),
            ("BAT1", &[("type", "Battery"), ("capacity", "7")]),
            ("mouse", &[("type", "Battery"), ("scope", "Device"), ("capacity", "1")]),
            ("AC", &[("type", "Mains"), ("online", "0")]),
        ] {
            fs::create_dir(dir.path().join(name)).unwrap();
            for (file, text) in files {
                fs::write(dir.path().join(name).join(file), format!("{text}\n")).unwrap();
            }
        }
        assert_eq!(power(dir.path()), (Some(7), false));
        fs::write(dir.path().join("AC/online"), "1\n").unwrap();
        assert_eq!(power(dir.path()), (Some(7), true));
    }
}
