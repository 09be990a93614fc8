//! Restarts that a way back needs, noted before it is gone, so that who is killed between the two leaves them to the next.

use crate::memory::{Memory, Owed};
use crate::restart::{Host, Move, Plan, Restarted, restart_list};
use crate::{Error, boot};
use siding_image::Component;
use siding_slot::{Snapshot, Store};
use std::path::Path;

/// Notes what must restart if these components move. What cannot be noted does not hold up the way back.
///
/// The note survives a power cut, and means something only in this start of the device: another one starts everything.
pub(crate) fn note(store: &Snapshot, moves: &[Move]) {
    let digest = |one: &Move| {
        let image = store.state().get(&one.component)?.image(one.to)?;
        Some((one.component.to_string(), image.identity.digest.to_string()))
    };
    let to = moves.iter().filter_map(digest).collect();
    let owed = Owed { words: restart_list(store.state(), moves), to, boot: boot() };
    let _ = Memory::update(store.root(), |memory| memory.owed = Some(owed));
}

/// They are done, or will never be.
pub(crate) fn forget(store: &Path) {
    let _ = Memory::update(store, |memory| memory.owed = None);
}

/// Restarts what a process noted that went back and died before all of it was restarted; what was restarted is so once
/// more. `None` if nothing is owed.
///
/// Once this returned Ok, nothing is owed any more.
pub fn pay(store: &Path, host: &Host) -> Result<Option<Restarted>, Error> {
    let Some(owed) = Memory::load(store).map_err(|source| Error::Memory { source })?.owed else {
        return Ok(None);
    };
    let view = Store::view(store)?;
    let moved = |(component, digest): (&String, &String)| {
        let component: Component = component.parse().ok()?;
        let held = view.state().get(&component)?;
        let went = held.active_image()?.identity.digest.to_string() == *digest;
        went.then(|| Move { component: component.clone(), to: held.active })
    };
    let moves: Vec<Move> = owed.to.iter().filter_map(moved).collect();
    let due = owed.boot == boot() && !moves.is_empty() && moves.len() == owed.to.len();
    let restarted = due.then(|| Restarted::by(Plan::prepare_with(&view, &moves, &owed.words, host)));
    forget(store);
    Ok(restarted)
}
