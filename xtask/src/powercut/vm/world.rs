//! What the store must hold, followed line by line through its log.
//!
//! Each line of the log is one event; [`World::apply`] refuses one that cannot have happened. So a log that is
//! followed to its end and gives what `siding status` says is a truthful log, and lacks nothing.

use super::loader::ROOTFS;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Why a line cannot be, or what differs.
pub(super) type Judged<T> = std::result::Result<T, String>;

/// One line of the log.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) sequence: u64,
    pub(super) event: String,
    pub(super) component: String,
    from: Option<String>,
    pub(super) to: Option<String>,
    slot: Option<String>,
    reason: String,
}

impl Line {
    pub(super) fn parse(text: &str) -> Judged<Self> {
        let odd = || format!("the log has a line that is none: {text:?}");
        let value: Value = serde_json::from_str(text).map_err(|_| odd())?;
        let field = |name: &str| value[name].as_str().map(str::to_owned);
        Ok(Self {
            text: text.to_owned(),
            sequence: value["sequence"].as_u64().ok_or_else(odd)?,
            event: field("event").ok_or_else(odd)?,
            component: field("component").ok_or_else(odd)?,
            from: field("from"),
            to: field("to"),
            slot: field("slot"),
            reason: field("reason").unwrap_or_default(),
        })
    }
}

/// What a slot holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Held {
    #[default]
    Empty,
    Staging,
    /// An image of this version.
    Sealed(String),
}

/// One component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Component {
    pub(super) slots: BTreeMap<String, Held>,
    pub(super) active: String,
    pub(super) previous: Option<String>,
    /// How many tries are left.
    pub(super) trial: Option<u64>,
    /// How many the last trial had.
    pub(super) granted: Option<u64>,
    /// How often the active slot has changed.
    pub(super) turn: u64,
    pub(super) denied: BTreeSet<String>,
}

impl Component {
    pub(super) fn sealed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.slots.iter().filter_map(|(slot, held)| match held {
            Held::Sealed(version) => Some((slot.as_str(), version.as_str())),
            _ => None,
        })
    }

    pub(super) fn version(&self) -> &str {
        self.sealed().find(|(slot, _)| *slot == self.active).map_or("", |(_, version)| version)
    }

    pub(super) fn is_denied(&self, version: &str) -> bool {
        self.denied.contains(version)
    }

    fn forget(&mut self, slot: &str, held: Held) {
        match held {
            Held::Empty => drop(self.slots.remove(slot)),
            held => drop(self.slots.insert(slot.to_owned(), held)),
        }
        self.previous = self.previous.take().filter(|previous| previous != slot);
    }

    fn leave(&mut self, to: &str) {
        self.active = to.to_owned();
        self.turn += 1;
        self.previous = None;
        self.trial = None;
    }
}

/// All components, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct World(pub(super) BTreeMap<String, Component>);

impl World {
    /// Follows one line, or says why it cannot be true.
    pub(super) fn apply(&mut self, line: &Line) -> Judged<()> {
        let cannot = |why: &str| format!("the log says what cannot be ({why}): {}", line.text);
        let slot = line.slot.clone().unwrap_or_default();
        let to = line.to.clone().unwrap_or_default();
        if line.event == "init" {
            let slots = BTreeMap::from([(slot.clone(), Held::Sealed(to))]);
            let new = Component { slots, active: slot, ..Component::default() };
            return match self.0.insert(line.component.clone(), new) {
                None => Ok(()),
                Some(_) => Err(cannot("it was there")),
            };
        }
        let component = self.0.get_mut(&line.component).ok_or_else(|| cannot("no such component"))?;
        let held = component.slots.get(&slot).cloned().unwrap_or_default();
        let from = line.from.clone().unwrap_or_default();
        let leaves = ["switch", "fall-back", "rollback", "remove", "try", "confirm"].contains(&&*line.event);
        if leaves && from != component.version() {
            return Err(cannot("another version is active"));
        }
        let empties = ["stage", "abandon", "vacuum"].contains(&&*line.event);
        if empties && (slot == component.active || slot == "base") {
            return Err(cannot("that slot is in use"));
        }
        match line.event.as_str() {
            "stage" if line.sequence == 0 && held == Held::Staging => {}
            "stage" if component.trial.is_some() => return Err(cannot("it is on trial")),
            "stage" => component.forget(&slot, Held::Staging),
            "abandon" if held == Held::Staging => component.forget(&slot, Held::Empty),
            "seal" if held == Held::Staging => drop(component.slots.insert(slot, Held::Sealed(to))),
            "switch" if held == Held::Sealed(to.clone()) && component.trial.is_none() => {
                component.previous = Some(std::mem::replace(&mut component.active, slot));
                component.turn += 1;
                component.trial = tries(&line.reason);
                component.granted = component.trial;
            }
            "try" => {
                let left = component.trial.and_then(|tries| tries.checked_sub(1));
                let said = line.reason.split(' ').next().and_then(|n| n.parse::<u64>().ok());
                // A boot loader that counts for itself may know of boots that nobody else saw.
                let may_be = said <= left && line.component == ROOTFS || said == left;
                if said.is_none() || left.is_none() || !may_be {
                    return Err(cannot("not so many tries were left"));
                }
                component.trial = said;
            }
            "fall-back" if component.trial != Some(0) && !line.reason.contains("boot loader gave it up") => {
                return Err(cannot("its tries are not used up"));
            }
            "stray" => {}
            "fall-back" | "rollback" if component.active != "base" => {
                component.denied.insert(from);
                component.leave(&slot);
            }
            "confirm" if component.trial.is_some() => component.trial = None,
            "remove" if component.active != "base" => {
                let left = component.active.clone();
                component.leave("base");
                component.previous = Some(left);
            }
            "lift" if component.denied.remove(&from) => {}
            "vacuum" if held != Held::Empty => component.forget(&slot, Held::Empty),
            _ => return Err(cannot("not in this state")),
        }
        Ok(())
    }

    /// Whether `siding status --json` says just this.
    pub(super) fn compare(&self, status: &Value) -> Judged<()> {
        let said = Self::read(status)?;
        let mut known = self.clone();
        // What status does not say.
        known.0.values_mut().for_each(|component| (component.turn, component.granted) = (0, None));
        match said == known {
            true => Ok(()),
            false => Err(format!("status says\n    {said:?}\n  and the log makes it\n    {self:?}")),
        }
    }

    fn read(status: &Value) -> Judged<Self> {
        let odd = || format!("status is not what it should be: {status}");
        let mut world = Self::default();
        for value in status["components"].as_array().ok_or_else(odd)? {
            let name = value["component"].as_str().ok_or_else(odd)?;
            let mut component = Component {
                active: value["active"].as_str().ok_or_else(odd)?.to_owned(),
                previous: value["previous"].as_str().map(str::to_owned),
                trial: value["trial"]["tries_left"].as_u64(),
                ..Component::default()
            };
            for (slot, held) in value["slots"].as_object().ok_or_else(odd)? {
                let version = || held["version"].as_str().map(str::to_owned).ok_or_else(odd);
                match held["state"].as_str() {
                    Some("sealed") => drop(component.slots.insert(slot.clone(), Held::Sealed(version()?))),
                    Some("staging") => drop(component.slots.insert(slot.clone(), Held::Staging)),
                    _ => {}
                }
            }
            for denied in value["denied"].as_array().ok_or_else(odd)? {
                component.denied.extend(denied["version"].as_str().map(str::to_owned));
            }
            world.0.insert(name.to_owned(), component);
        }
        Ok(world)
    }
}

/// "on trial: 2 tries" gives 2, "without a trial" nothing.
fn tries(terms: &str) -> Option<u64> {
    terms.strip_prefix("on trial: ")?.split(' ').next()?.parse().ok()
}
