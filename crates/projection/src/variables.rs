//! What a boot loader is told about a component, and what it says itself.

use siding_image::Component;
use siding_slot::{ComponentState, Slot};
use std::fmt;

/// What a boot loader has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The slot to boot.
    pub(crate) active: Slot,
    /// Where a failed trial goes; on trial there is such a slot.
    pub(crate) back: Option<Slot>,
    /// How many more boots the active slot gets, if it is on trial.
    pub(crate) tries: Option<u32>,
    /// Grows each time the active slot changes.
    pub(crate) turn: u64,
}

/// What a boot loader's variables say; nothing of what is missing or makes no sense.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) slot: Option<Slot>,
    pub(crate) back: Option<Slot>,
    pub(crate) tries: Option<u32>,
    pub(crate) turn: Option<u64>,
}

/// The names of a component's variables.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) slot: String,
    pub(crate) back: String,
    pub(crate) tries: String,
    pub(crate) turn: String,
}

impl Wanted {
    pub(crate) fn of(held: &ComponentState) -> Self {
        Self {
            active: held.active,
            back: held.way_back(),
            tries: held.trial.as_ref().map(|trial| trial.tries_left),
            turn: held.turn,
        }
    }

    /// The same with this many tries at most.
    pub(crate) fn at_most(self, most: u32) -> Self {
        Self { tries: self.tries.map(|tries| tries.min(most)), ..self }
    }

    /// What to tell a loader that says this. While its turn is ours, its own count is never raised: it may have
    /// counted a boot down that the record has not heard of.
    pub(crate) fn after(self, told: &Told) -> Self {
        let same = told.turn == Some(self.turn) && told.slot == Some(self.active);
        let lower = |tries: u32| told.tries.filter(|_| same).map_or(tries, |left| left.min(tries));
        Self { tries: self.tries.map(lower), ..self }
    }
}

impl Told {
    /// Reads variables, which `get` finds by name.
    pub(crate) fn read(names: &Names, get: impl Fn(&str) -> Option<Vec<u8>>) -> Self {
        let text = |name: &str| get(name).and_then(|value| String::from_utf8(value).ok());
        Self {
            slot: text(&names.slot).and_then(|slot| slot.parse().ok()),
            back: text(&names.back).and_then(|slot| slot.parse().ok()),
            tries: text(&names.tries).and_then(|tries| tries.parse().ok()),
            turn: text(&names.turn).and_then(|turn| turn.parse().ok()),
        }
    }
}

/// For a person: `slot a, back to base, 2 tries, turn 7`.
impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slot = self.slot.map(|slot| format!("slot {slot}"));
        let back = self.back.map(|back| format!("back to {back}"));
        let tries = self.tries.map(|tries| format!("{tries} {}", if tries == 1 { "try" } else { "tries" }));
        let turn = self.turn.map(|turn| format!("turn {turn}"));
        let parts: Vec<String> = [slot, back, tries, turn].into_iter().flatten().collect();
        f.write_str(if parts.is_empty() { "nothing" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

impl Names {
    pub(crate) fn of(component: &Component) -> Self {
        let name = plain(component);
        let of = |what: &str| format!("siding_{name}_{what}");
        Self { slot: of("slot"), back: of("back"), tries: of("tries"), turn: of("turn") }
    }

    /// Each variable with its value and with how many bytes its longest value takes.
    pub(crate) fn with(&self, wanted: Wanted) -> [(&str, String, usize); 4] {
        const SLOT: usize = "base".len();
        const TRIES: usize = "4294967295".len();
        const TURN: usize = "18446744073709551615".len();
        [
            (&self.slot, wanted.active.to_string(), SLOT),
            (&self.back, wanted.back.map_or_else(String::new, |back| back.to_string()), SLOT),
            (&self.tries, wanted.tries.map_or_else(String::new, |tries| tries.to_string()), TRIES),
            (&self.turn, wanted.turn.to_string(), TURN),
        ]
    }
}

/// The component's name as part of a variable's: what is no letter, digit or `_` becomes `_`.
pub(crate) fn plain(component: &Component) -> String {
    component.as_str().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// What the kernel's command line says of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Started {
    /// The slot that was started.
    pub(crate) slot: Slot,
    /// The turn of the order that the loader acted on, if it says.
    pub(crate) turn: Option<u64>,
}

/// The last `siding.NAME=SLOT` or `siding.NAME=SLOT:TURN` that makes sense.
pub(crate) fn started(component: &Component, cmdline: &str) -> Option<Started> {
    let read = |word: &str| {
        let (name, value) = word.strip_prefix("siding.")?.split_once('=')?;
        let meant = name == component.as_str() || name == plain(component);
        meant.then(|| Started::parse(value))?
    };
    cmdline.split_ascii_whitespace().filter_map(read).next_back()
}

impl Started {
    fn parse(value: &str) -> Option<Self> {
        let Some((slot, turn)) = value.split_once(':') else {
            return Some(Self { slot: value.parse().ok()?, turn: None });
        };
        // Rust's numbers may begin with a '+', a turn does not.
        let turn = turn.bytes().all(|byte| byte.is_ascii_digit()).then(|| turn.parse().ok())?;
        Some(Self { slot: slot.parse().ok()?, turn: Some(turn?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(cmdline: &str) -> Option<(Slot, Option<u64>)> {
        let name = "root-fs".parse().expect("a name");
        started(&name, cmdline).map(|started| (started.slot, started.turn))
    }

    #[test]
    fn a_command_line_says_a_slot_and_perhaps_a_turn() {
        let most = format!("siding.root-fs=base:{}", u64::MAX);
        let known = [
            ("quiet siding.root-fs=a ro", Some((Slot::A, None))),
            ("siding.root_fs=b:7\n", Some((Slot::B, Some(7)))),
            (&most, Some((Slot::Base, Some(u64::MAX)))),
            ("siding.root-fs=a siding.root_fs=b:0", Some((Slot::B, Some(0)))),
            ("siding.other=a:1 siding.root-fs=c siding.root-fs", None),
        ];
        for (cmdline, expected) in known {
            assert_eq!(read(cmdline), expected, "{cmdline}");
        }
    }

    #[test]
    fn a_value_that_makes_no_sense_is_as_none() {
        for wrong in ["a:", "a:x", "a:+1", "a:-1", "a: 1", "a:1:2", "a:18446744073709551616", ":1", "A:1", ""]
        {
            assert_eq!(read(&format!("siding.root-fs={wrong}")), None, "{wrong}");
            let both = format!("siding.root-fs=b:4 siding.root-fs={wrong}");
            assert_eq!(read(&both), Some((Slot::B, Some(4))), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(text in ".*", turn: u64) {
            let _ = read(&text);
            let _ = read(&format!("siding.root-fs={text}"));
            prop_assert_eq!(read(&format!("siding.root-fs=a:{turn}")), Some((Slot::A, Some(turn))));
        }
    }
}
