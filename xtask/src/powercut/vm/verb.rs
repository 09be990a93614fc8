//! What the story asks of the store, and which lines of the log follow from it.

use super::loader::ROOTFS;
use super::world::{Held, Judged, Line, World};

/// One thing asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// What the initramfs calls: spends a try or falls back.
    Boot,
    /// Installs a version, and with tries switches to it.
    Install {
        component: String,
        version: String,
        patch: String,
        tries: Option<u64>,
    },
    /// Switches what waits: these slots.
    Switch {
        waiting: Vec<(String, String)>,
        tries: u64,
    },
    Confirm,
    Rollback {
        component: String,
    },
    Remove {
        component: String,
    },
    Vacuum,
}

/// A verb that was begun since the log was last read.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    pub(super) verb: Verb,
    /// The slot of `rootfs` that the loader had started then.
    started: String,
    /// It said that it is done.
    pub(super) acknowledged: bool,
}

/// A line that must follow, or may.
struct Want {
    event: &'static str,
    component: String,
    must: bool,
}

impl Verb {
    /// As the guest is told.
    pub(super) fn words(&self) -> String {
        let rest = match self {
            Self::Boot => "boot".to_owned(),
            Self::Install { patch, tries, .. } => {
                let switch = tries.map(|tries| format!(" --switch --tries {tries}")).unwrap_or_default();
                format!("install /data/{patch} --retry-denied{switch}")
            }
            Self::Switch { tries, .. } => format!("switch --tries {tries}"),
            Self::Confirm => "confirm".to_owned(),
            Self::Rollback { component } => format!("rollback {component} --reason 'the story wants it'"),
            Self::Remove { component } => format!("remove {component}"),
            Self::Vacuum => "vacuum".to_owned(),
        };
        format!("siding {rest}")
    }

    /// In one word.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Install { tries: None, .. } => "install",
            Self::Install { .. } => "install --switch",
            Self::Switch { .. } => "switch",
            Self::Confirm => "confirm",
            Self::Rollback { .. } => "rollback",
            Self::Remove { .. } => "remove",
            Self::Vacuum => "vacuum",
        }
    }

    /// The lines that follow from it in this world, in order, after those of opening the store; `started` is the slot
    /// of `rootfs` that runs.
    fn wants(&self, world: &World, started: &str) -> Vec<Want> {
        let want = |event, component: &String, must| Want { event, component: component.clone(), must };
        match self {
            Self::Boot => {
                let mut wants = Vec::new();
                for (name, held) in &world.0 {
                    let event = match held.trial {
                        None => "stray",
                        Some(_) if name == ROOTFS => "try|fall-back",
                        Some(0) => "fall-back",
                        Some(_) => "try",
                    };
                    wants.push(want(event, name, held.trial.is_some()));
                    if name == ROOTFS {
                        wants.push(want("stray", name, false));
                    }
                }
                wants
            }
            Self::Install { component, version, tries, .. } => {
                let held = world.0.get(component);
                let is = |held: &super::world::Component| held.sealed().any(|(_, is)| is == version);
                let there = held.is_some_and(is);
                let mut wants = Vec::new();
                if held.is_some_and(|held| held.version() == version) {
                    return wants;
                }
                if held.is_some_and(|held| held.is_denied(version)) {
                    wants.push(want("lift", component, true));
                }
                if !there {
                    let events = [("abandon", false), ("stage", true), ("seal", true)];
                    wants.extend(events.map(|(event, must)| want(event, component, must)));
                }
                wants.extend(tries.iter().map(|_| want("switch", component, true)));
                wants
            }
            Self::Switch { waiting, .. } => {
                waiting.iter().map(|(name, _)| want("switch", name, true)).collect()
            }
            // What its loader has not started yet is left on trial, and all else is confirmed.
            Self::Confirm => {
                let runs = |name: &str, active: &str| name != ROOTFS || active == started;
                let trials =
                    world.0.iter().filter(|(name, held)| held.trial.is_some() && runs(name, &held.active));
                trials.map(|(name, _)| want("confirm", name, true)).collect()
            }
            Self::Rollback { component } => vec![want("rollback", component, true)],
            Self::Remove { component } => vec![want("remove", component, true)],
            Self::Vacuum => {
                let slots = world.0.keys().flat_map(|name| [name, name]);
                slots.map(|name| want("vacuum", name, false)).collect()
            }
        }
    }
}

impl Begun {
    pub(super) fn new(verb: Verb, started: &str) -> Self {
        Self { verb, started: started.to_owned(), acknowledged: false }
    }

    /// The world after these lines, if it is this verb that they follow from.
    fn explain(&self, world: &World, lines: &[Line]) -> Judged<World> {
        // Whoever opens the store gives up stages that cannot be gone on with.
        let is_staging =
            |held: &&super::world::Component| held.slots.values().any(|held| *held == Held::Staging);
        let opened = world.0.iter().filter(|(_, held)| is_staging(held)).map(|(name, _)| name.clone());
        let opening = opened.map(|component| Want { event: "abandon", component, must: false });
        let mut wants = opening.chain(self.verb.wants(world, &self.started)).peekable();
        let mut world = world.clone();
        for line in lines {
            let fits = |want: &Want| {
                want.event.split('|').any(|event| event == line.event) && want.component == line.component
            };
            loop {
                match wants.next() {
                    Some(want) if fits(&want) => break,
                    Some(want) if !want.must => {}
                    _ => return Err(format!("{} does not explain {}", self.verb.name(), line.text)),
                }
            }
            if let (Verb::Install { version, .. }, "stage" | "seal" | "switch") = (&self.verb, &*line.event)
                && line.to.as_ref() != Some(version)
            {
                return Err(format!("{version} was to be installed, not as in {}", line.text));
            }
            world.apply(line)?;
        }
        match wants.find(|want| want.must && self.acknowledged) {
            Some(want) => {
                let (verb, event, component) = (self.verb.name(), want.event, want.component);
                Err(format!("{verb} was acknowledged, and the log has no {event} of {component}"))
            }
            None => Ok(world),
        }
    }
}

/// The world after all lines, if what was begun, one after the other, explains them all.
pub(super) fn explain(world: &World, begun: &[Begun], lines: &[Line]) -> Judged<World> {
    let Some((first, others)) = begun.split_first() else {
        return match lines.first() {
            None => Ok(world.clone()),
            Some(line) => Err(format!("nothing that was begun explains {}", line.text)),
        };
    };
    let mut why = String::new();
    for taken in (0..=lines.len()).rev() {
        let (own, rest) = lines.split_at(taken);
        match first.explain(world, own).and_then(|next| explain(&next, others, rest)) {
            Ok(next) => return Ok(next),
            Err(other) if why.is_empty() => why = other,
            Err(_) => {}
        }
    }
    Err(why)
}

#[cfg(test)]
mod tests;
