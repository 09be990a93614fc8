//! What GRUB did at each start, held against what it was told.

use super::world::{Component, Judged, World};
use std::collections::BTreeMap;

/// The component that GRUB starts.
pub(super) const ROOTFS: &str = "rootfs";

/// The loader's variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Environment {
    pub(super) slot: String,
    pub(super) back: String,
    pub(super) tries: Option<u64>,
    pub(super) turn: Option<u64>,
}

/// What is known of the loader over all rounds.
#[derive(Debug, Default)]
pub(super) struct Loader {
    /// What it said at this start, and which slot it chose.
    started: (Environment, String),
    /// How often it started a slot on trial, by the turn of the switch.
    trials: BTreeMap<u64, u64>,
    /// How often it gave a trial up.
    pub(super) gave_up: u64,
}

impl Environment {
    /// Reads `slot=a back=b …` as `grub.cfg` prints it, or the lines of the block itself.
    fn read(words: &[&str], prefix: &str) -> Self {
        let value = |name: &str| {
            let named = |word: &&str| {
                Some(word.strip_prefix(prefix)?.strip_prefix(name)?.strip_prefix('=')?.to_owned())
            };
            words.iter().find_map(named).unwrap_or_default()
        };
        let number = |name: &str| value(name).parse().ok();
        Self { slot: value("slot"), back: value("back"), tries: number("tries"), turn: number("turn") }
    }

    /// From the block, its lines joined by `|`.
    pub(super) fn of_block(text: &str) -> Self {
        Self::read(&text.split('|').collect::<Vec<_>>(), "siding_rootfs_")
    }

    /// Whether this is what follows from the record.
    pub(super) fn follows(&self, world: &World) -> Judged<()> {
        let Some(held) = world.0.get(ROOTFS) else { return Ok(()) };
        let agrees = self.slot == held.active && self.turn == Some(held.turn) && self.tries == held.trial;
        match agrees {
            true => Ok(()),
            false => Err(format!("the loader is told {self:?}, and the record has {held:?}")),
        }
    }
}

impl Loader {
    /// One start: `line` is what it printed just before it started the kernel.
    pub(super) fn start(&mut self, line: &str) -> Judged<()> {
        let line = line.split_once("LOADER ").map_or("", |(_, rest)| rest);
        let words: Vec<&str> = line.split_whitespace().collect();
        let told = Environment::read(&words, "");
        let slot = words.iter().find_map(|word| word.strip_prefix("boot=")).unwrap_or_default().to_owned();
        match told.tries {
            _ if told.slot.is_empty() => {}
            Some(_) if slot == told.slot => *self.trials.entry(told.turn.unwrap_or(0)).or_default() += 1,
            Some(0) if slot == told.back => self.gave_up += 1,
            None if slot == told.slot => {}
            _ => return Err(format!("GRUB started slot {slot}, which its variables do not allow: {line}")),
        }
        self.started = (told, slot);
        Ok(())
    }

    /// The slot it started at this start.
    pub(super) fn started(&self) -> &str {
        &self.started.1
    }

    /// Whether what was started follows from the variables, and those from what was found in the record; `turn` is the
    /// one on the kernel's command line.
    ///
    /// Only a switch that was not acknowledged may be unknown to the loader.
    pub(super) fn check(
        &self,
        (booted, turn): (&str, Option<u64>),
        environment: &Environment,
        found: &Component,
        stale: bool,
    ) -> Judged<()> {
        let (told, slot) = &self.started;
        if booted != slot || turn != told.turn || environment != told {
            return Err(format!(
                "GRUB said {told:?}, slot {slot}; running is slot {booted} of turn {turn:?} with {environment:?}"
            ));
        }
        let turn = turn.unwrap_or(0);
        let gave_up = found.trial.is_some() && environment.tries == Some(0) && booted == environment.back;
        match turn.cmp(&found.turn) {
            std::cmp::Ordering::Equal if booted == found.active || gave_up => Ok(()),
            std::cmp::Ordering::Less if stale => Ok(()),
            _ => Err(format!("GRUB started slot {booted} by {environment:?}, and the record has {found:?}")),
        }
    }

    /// No trial is started more often than it has tries.
    pub(super) fn check_trial(&self, held: &Component) -> Judged<()> {
        let started = self.trials.get(&held.turn).copied().unwrap_or(0);
        match held.granted {
            Some(granted) if started > granted => {
                Err(format!("GRUB started a trial of {granted} tries {started} times: {held:?}"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
