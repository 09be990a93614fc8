//! The look into the repository, and when the next one is.

use super::trouble::{share, wait};
use super::{Agent, Look, kept};
use crate::Error;
use crate::memory::{Memory, Told, device_id};
use crate::policy::Policy;
use crate::source::{Catalog, SourceError};
use std::path::Path;

impl Agent<'_> {
    /// What is known of the repository, after a look if that is due; and why a look failed.
    pub(super) fn look(
        &self,
        look: Look,
        told: &mut Vec<Told>,
    ) -> Result<(Option<Catalog>, Option<SourceError>), Error> {
        let now = (self.clock)();
        let memory = Memory::load(self.store).map_err(kept)?;
        let wanted = match look {
            Look::Now => true,
            Look::IfDue => {
                memory.check_asked
                    || self.policy.values.automatic_check && memory.next.is_none_or(|next| next <= now)
            }
            Look::Not => false,
        };
        if !wanted {
            return Ok((self.source.known().unwrap_or_default(), None));
        }
        self.show("checking", None, None);
        match self.source.refresh(now) {
            Ok(catalog) => {
                self.note_success(&catalog, now)?;
                Ok((Some(catalog), None))
            }
            Err(error) => {
                let errors = memory.errors.saturating_add(1);
                let next = now.saturating_add(wait(self.store, "look", errors));
                let note = |memory: &mut Memory| {
                    (memory.tried, memory.errors, memory.error) =
                        (Some(now), errors, Some(error.message.clone()));
                    (memory.next, memory.check_asked) = (Some(next), false);
                };
                Memory::update(self.store, note).map_err(kept)?;
                if memory.error.as_ref() != Some(&error.message) {
                    let line = self.line("check", "", &error.message);
                    told.push(Told { code: Some(error.code.to_owned()), ..line });
                }
                Ok((self.source.known().unwrap_or_default(), Some(error)))
            }
        }
    }

    fn note_success(&self, catalog: &Catalog, now: u64) -> Result<(), Error> {
        let known = |id: &String| catalog.releases.iter().any(|release| release.id == *id);
        let next = next_check(self.store, self.policy, now);
        let note = |memory: &mut Memory| {
            (memory.tried, memory.succeeded, memory.errors, memory.error) = (Some(now), Some(now), 0, None);
            (memory.next, memory.check_asked) = (Some(next), false);
            memory.decided.retain(|id, _| known(id));
            memory.failed.retain(|id, _| known(id));
            memory.asked.retain(known);
        };
        Memory::update(self.store, note).map(drop).map_err(kept)
    }
}

/// When the repository is looked into after a look at `now` that succeeded: as policy has it, and up to a tenth
/// later, by which devices that were started together part.
pub fn next_check(store: &Path, policy: &Policy, now: u64) -> u64 {
    let every = policy.values.check_every;
    let device = device_id(store).map(|id| id.as_str().to_owned()).unwrap_or_default();
    now.saturating_add(every).saturating_add(share(&format!("{device} look {now}"), every / 10))
}
