//! A running agent as a page has it: takes pictures, and does what is asked.

use crate::Error;
use crate::decide::Situation;
use crate::memory::{self, Memory};
use crate::picture::{Sources, picture};
use crate::policy::{Policy, PolicyError};
use crate::restart::{Host, Move, Plan, Restarted};
use crate::shared::Shared;
use crate::situation::situation;
use crate::source::{Catalog, Source};
use crate::view::{Ask, Check, Device, View};
use crate::way::open_soon;
use siding_image::{Component, Version};
use siding_run::harmless;
use siding_slot::{REBOOT, Slot, Snapshot, State, Store};
use std::path::PathBuf;
use std::sync::Arc;

/// What stands behind a page, and behind verbs of the command line that do not need more.
pub struct Running {
    /// The store's directory.
    pub store: PathBuf,
    /// Where the settings' files are.
    pub policy: PathBuf,
    /// Where releases come from.
    pub source: Arc<dyn Source>,
    /// What the loop shows, and who wakes it.
    pub shared: Arc<Shared>,
    /// The clock, in seconds since 1970.
    pub clock: fn() -> u64,
    /// How many minutes local time is ahead of UTC at such a time.
    pub offset: fn(u64) -> i32,
    /// What has to follow the record.
    pub follow: Arc<dyn Fn(&Snapshot) + Send + Sync>,
}

impl Running {
    /// A picture of now, or why there is none.
    pub fn picture(&self) -> Result<View, String> {
        let now = (self.clock)();
        let policy = self.policy()?;
        let store = Store::view(&self.store).map_err(|error| error.to_string())?;
        let situation: Situation =
            situation(&self.store, &policy, now, (self.offset)(now)).map_err(of_memory)?;
        let memory = Memory::load(&self.store).map_err(of_memory)?;
        let told = memory::history(&self.store).map_err(of_memory)?;
        // What is installed is shown whether or not anything is known of the repository.
        let (catalog, error) = match self.source.known() {
            Ok(known) => (known, None),
            Err(error) => (None, Some(harmless(&error.to_string()))),
        };
        let view = picture(&Sources {
            store: &store,
            policy: &policy,
            catalog: &catalog.unwrap_or_else(Catalog::empty),
            situation: &situation,
            memory: &memory,
            told: &told,
            activity: self.shared.activity(),
        });
        let error = error.or_else(|| view.check.error.clone());
        Ok(View { check: Check { error, ..view.check }, ..view })
    }

    fn policy(&self) -> Result<Policy, String> {
        Policy::load(&self.policy, &self.store).map_err(|error| error.to_string())
    }

    fn note(&self, change: impl FnOnce(&mut Memory)) -> Result<(), String> {
        Memory::update(&self.store, change).map_err(of_memory)?;
        self.shared.wake();
        Ok(())
    }

    fn install(&self, id: String) -> Result<String, String> {
        let view = self.picture()?;
        let offer = view.offers.iter().find(|offer| offer.id == id);
        let offer = offer.ok_or_else(|| format!("there is no release {id:?} for this device"))?;
        if !offer.can_install {
            return Err(format!("{id} cannot be installed now: {}", offer.reason));
        }
        self.note(|memory| memory.asked.extend([id.clone()]))?;
        Ok(format!("{id} is being installed"))
    }

    fn remove(&self, component: Option<&str>) -> Result<String, String> {
        let store = open_soon(&self.store).map_err(|error| error.to_string())?;
        let set = match component {
            Some(name) => vec![name.parse::<Component>()?],
            None => removable(store.state()),
        };
        let removed = Removal { policy: &self.policy()?, set: &set, now: (self.clock)() };
        let (versions, restarted) = removed.carry_out(store, &Host::here(), &*self.follow)?;
        let names: Vec<String> = versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        Ok(match names.is_empty() {
            true => "there is nothing to remove".to_owned(),
            false => format!("removed {}{}", names.join(", "), rest_text(&restarted)),
        })
    }
}

impl Device for Running {
    fn view(&self) -> View {
        let failed = |error: String| View {
            now: (self.clock)(),
            check: Check { error: Some(error), ..Check::default() },
            ..View::default()
        };
        self.picture().unwrap_or_else(failed)
    }

    fn ask(&self, ask: Ask) -> Result<String, String> {
        match ask {
            Ask::Check => {
                self.note(|memory| memory.check_asked = true)?;
                Ok("looking for releases".to_owned())
            }
            Ask::Install(id) => self.install(id),
            Ask::Remove(component) => self.remove(component.as_deref()),
            Ask::Restart => {
                let pending = self.picture()?.restart_pending;
                if pending.iter().all(|word| word == REBOOT) {
                    return Err(match pending.is_empty() {
                        true => "nothing waits for a restart".to_owned(),
                        false => {
                            "only a restart of the device brings it into use; restart the device".to_owned()
                        }
                    });
                }
                self.note(|memory| memory.restart_asked = true)?;
                Ok("what must restart is being restarted".to_owned())
            }
            Ask::Set(name, value) if value.is_empty() => Err(format!("{name} needs a value")),
            Ask::Set(name, value) => {
                self.policy()?.set(&name, &value).map_err(|error| error.to_string())?;
                self.shared.wake();
                Ok(format!("{name} is {value} now"))
            }
        }
    }
}

/// Components go back to their bases because a person says so.
pub struct Removal<'a> {
    /// What is allowed.
    pub policy: &'a Policy,
    /// Which components.
    pub set: &'a [Component],
    /// The time, in seconds since 1970.
    pub now: u64,
}

impl Removal<'_> {
    /// Refuses if it is locked.
    pub fn allowed(&self) -> Result<(), PolicyError> {
        self.set.iter().try_for_each(|name| self.policy.may_remove(name))
    }

    /// Remembers what is removed, so that it does not come back by itself. Says what it is.
    ///
    /// Once this returned Ok, that survives a power cut.
    pub fn note(&self, store: &Snapshot) -> Result<Vec<(Component, Version)>, Error> {
        let in_use = self.set.iter().filter_map(|name| {
            let held = store.state().get(name).filter(|held| held.active != Slot::Base)?;
            Some((name.clone(), held.active_image()?.version.clone()))
        });
        let versions: Vec<(Component, Version)> = in_use.collect();
        if !versions.is_empty() {
            Memory::removed_by_hand(store.root(), &versions, self.now)
                .map_err(|source| Error::Memory { source })?;
        }
        Ok(versions)
    }

    /// Notes it, goes back, and restarts what must restart.
    ///
    /// Once this returned Ok, it survives a power cut; whatever became of the restarts.
    fn carry_out(
        &self,
        mut store: Store,
        host: &Host,
        follow: &dyn Fn(&Snapshot),
    ) -> Result<(Vec<(Component, Version)>, Restarted), String> {
        self.allowed().map_err(|error| error.to_string())?;
        let versions = self.note(&store).map_err(|error| error.to_string())?;
        let moves: Vec<Move> =
            versions.iter().map(|(name, _)| Move { component: name.clone(), to: Slot::Base }).collect();
        // To leave it matters more than to restart its users.
        let plan = Plan::prepare(&store, &moves, host);
        let entries = store.remove(self.set, self.now).map_err(|error| error.to_string())?;
        follow(&store);
        drop(store);
        let restarted = if entries.is_empty() { Restarted::default() } else { Restarted::by(plan) };
        Ok((versions, restarted))
    }
}

/// What is still to be restarted for what was left to be out of use.
fn rest_text(restarted: &Restarted) -> String {
    match restarted {
        Restarted { reboot: true, .. } => "; restart the device to leave it".to_owned(),
        Restarted { failed, .. } if !failed.is_empty() => {
            let failed = failed.iter().map(|failed| format!("{}: {}", failed.what, failed.why));
            format!("; not restarted: {}", failed.collect::<Vec<_>>().join("; "))
        }
        Restarted { still, .. } if !still.is_empty() => {
            let still = still.iter().map(|holder| format!("{} ({})", holder.pid, holder.name));
            format!("; still running old bytes: {}", still.collect::<Vec<_>>().join(", "))
        }
        _ => String::new(),
    }
}

fn removable(state: &State) -> Vec<Component> {
    let patched = state.components().filter(|(_, held)| held.active != Slot::Base && held.places.is_none());
    patched.map(|(name, _)| name.clone()).collect()
}

fn of_memory(error: impl std::fmt::Display) -> String {
    format!("what the agent remembers cannot be read or written: {error}")
}
