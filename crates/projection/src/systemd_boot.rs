//! systemd-boot's boot counting: an entry's file name carries how often it may still be tried.
//!
//! `NAME+LEFT-DONE.conf` or `NAME+LEFT.conf` is an entry on trial; systemd-boot renames it before each boot, LEFT one
//! lower and DONE one higher. With LEFT = 0 it is bad and comes after every other. `NAME.conf` is good.
//!
//! Of entries that are not bad systemd-boot takes the one whose name is the highest, numbers read as numbers,
//! as long as no entry has a `sort-key` and none is named in `loader.conf`. So Siding's names carry the turn, which
//! grows with each switch: `siding-rootfs-7-b+3.conf`. One rename makes a slot the next to be booted.

use siding_image::Component;
use siding_slot::Slot;
use std::fmt;

/// The name of an entry's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryName {
    /// What comes before the counter: the entry's own name.
    pub stem: String,
    /// The counter, if it has one.
    pub counter: Option<Counter>,
}

/// How often an entry may be tried and has been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// How many more boots it gets.
    pub left: u32,
    /// How many it has had; not written if it is none.
    pub done: u32,
}

/// What systemd-boot takes an entry for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has no counter: it booted well, or is not counted.
    Good,
    /// It is on trial.
    Indeterminate,
    /// Its tries are used up.
    Bad,
}

/// An entry of Siding's: which slot it boots, and since which turn that slot is active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotEntry {
    /// The slot it boots.
    pub slot: Slot,
    /// The turn in its name; an entry as a device's maker installs it has none.
    pub turn: Option<u64>,
    /// The counter in its name.
    pub counter: Option<Counter>,
}

impl EntryName {
    /// Reads a file name; `None` if it does not end in `.conf`.
    ///
    /// ```
    /// use siding_projection::systemd_boot::{EntryName, Verdict};
    /// let name = EntryName::parse("siding-rootfs-7-b+2-1.conf").unwrap();
    /// assert_eq!((name.stem.as_str(), name.verdict()), ("siding-rootfs-7-b", Verdict::Indeterminate));
    /// assert_eq!(name.to_string(), "siding-rootfs-7-b+2-1.conf");
    /// ```
    pub fn parse(file: &str) -> Option<Self> {
        let whole = file.strip_suffix(".conf").filter(|stem| !stem.is_empty())?;
        let counted =
            whole.rsplit_once('+').and_then(|(stem, counter)| Some((stem, Counter::parse(counter)?)));
        Some(match counted {
            Some((stem, counter)) => Self { stem: stem.to_owned(), counter: Some(counter) },
            None => Self { stem: whole.to_owned(), counter: None },
        })
    }

    /// What systemd-boot takes it for.
    pub fn verdict(&self) -> Verdict {
        match self.counter {
            None => Verdict::Good,
            Some(Counter { left: 0, .. }) => Verdict::Bad,
            Some(_) => Verdict::Indeterminate,
        }
    }
}

impl Counter {
    fn parse(text: &str) -> Option<Self> {
        let (left, done) = text.split_once('-').unwrap_or((text, "0"));
        Some(Self { left: number(left)?, done: number(done)? })
    }
}

impl SlotEntry {
    /// Reads the name of an entry of this component: `siding-NAME-SLOT` or `siding-NAME-TURN-SLOT`, and a counter.
    pub fn parse(component: &Component, file: &str) -> Option<Self> {
        let name = EntryName::parse(file)?;
        let rest = name.stem.strip_prefix("siding-")?.strip_prefix(component.as_str())?.strip_prefix('-')?;
        let (turn, slot) = match rest.split_once('-') {
            Some((turn, slot)) => (Some(number(turn)?), slot),
            None => (None, rest),
        };
        Some(Self { slot: slot.parse().ok()?, turn, counter: name.counter })
    }

    /// The name of the file.
    pub fn file_name(&self, component: &Component) -> String {
        let turn = self.turn.map_or_else(String::new, |turn| format!("{turn}-"));
        EntryName { stem: format!("siding-{component}-{turn}{}", self.slot), counter: self.counter }
            .to_string()
    }

    /// Whether systemd-boot boots it while there is another.
    pub fn is_bad(&self) -> bool {
        self.counter.is_some_and(|counter| counter.left == 0)
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.stem)?;
        match self.counter {
            None => {}
            Some(Counter { left, done: 0 }) => write!(f, "+{left}")?,
            Some(Counter { left, done }) => write!(f, "+{left}-{done}")?,
        }
        f.write_str(".conf")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_read_as_the_boot_loader_specification_has_them() {
        let read =
            |file| EntryName::parse(file).map(|name| (name.stem.clone(), name.verdict(), name.counter));
        let counter = |left, done| Some(Counter { left, done });
        let known = [
            ("a.conf", Some(("a", Verdict::Good, None))),
            ("a+3.conf", Some(("a", Verdict::Indeterminate, counter(3, 0)))),
            ("a+2-1.conf", Some(("a", Verdict::Indeterminate, counter(2, 1)))),
            ("a+0-3.conf", Some(("a", Verdict::Bad, counter(0, 3)))),
            ("a+0002-01.conf", Some(("a", Verdict::Indeterminate, counter(2, 1)))),
            ("g++.conf", Some(("g++", Verdict::Good, None))),
            ("a+b.conf", Some(("a+b", Verdict::Good, None))),
            ("a+-1.conf", Some(("a+-1", Verdict::Good, None))),
            ("a+1-2-3.conf", Some(("a+1-2-3", Verdict::Good, None))),
            ("a+99999999999.conf", Some(("a+99999999999", Verdict::Good, None))),
            (".conf", None),
            ("a.efi", None),
        ];
        for (file, expected) in known {
            assert_eq!(read(file), expected.map(|(stem, v, c)| (stem.to_owned(), v, c)), "{file}");
        }
    }

    #[test]
    fn the_entries_of_one_component_are_not_those_of_another() {
        let component = |name: &str| name.parse::<Component>().expect("a name");
        let read =
            |name, file| SlotEntry::parse(&component(name), file).map(|entry| (entry.slot, entry.turn));
        assert_eq!(read("rootfs", "siding-rootfs-a.conf"), Some((Slot::A, None)));
        assert_eq!(read("rootfs", "siding-rootfs-12-b+3.conf"), Some((Slot::B, Some(12))));
        assert_eq!(read("rootfs", "siding-rootfs-base.conf"), Some((Slot::Base, None)));
        assert_eq!(read("rootfs", "siding-rootfs2-a.conf"), None);
        assert_eq!(read("rootfs", "siding-rootfs-x-a.conf"), None);
        assert_eq!(read("rootfs", "siding-rootfs-1-c.conf"), None);
        assert_eq!(read("rootfs", "rootfs-a.conf"), None);
    }

    proptest! {
        #[test]
        fn a_name_that_is_written_is_read(turn: Option<u64>, left: u32, done: u32, counted: bool) {
            let component = "root.fs-2".parse().expect("a name");
            for slot in Slot::ALL {
                let entry = SlotEntry { slot, turn, counter: counted.then_some(Counter { left, done }) };
                prop_assert_eq!(SlotEntry::parse(&component, &entry.file_name(&component)), Some(entry));
            }
        }
    }
}
