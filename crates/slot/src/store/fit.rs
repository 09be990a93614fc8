//! Making a change fit into the record, whatever it takes: a fall back is never refused for lack of room.
//!
//! A stage and an `init` are refused while there is still room for every state that can follow from them
//! ([`most_needed`]). What may be long after that are reasons, and the log entries the record carries; so those
//! are what is shortened and left out.

use crate::log::{Numbered, Tail};
use crate::state::{ComponentState, Denied, Fallback, Slot, State, Trial, TrialTerms};
use crate::{codec, record};

/// A change as the record can hold it.
#[derive(Debug)]
pub(super) struct Fitted {
    pub(super) state: State,
    pub(super) payload: Vec<u8>,
    /// What the record carries of the log. Older entries that found no room in it are left out: a power cut loses them, or an
    /// end of the process while the disk is full or the log cannot be written.
    pub(super) tail: Tail,
    /// Whether any was left out.
    pub(super) left_out: bool,
}

/// Shortens reasons, and leaves out carried entries, as far as it must.
pub(super) fn fit(state: State, tail: Tail) -> Fitted {
    const LONGEST: [usize; 5] = [usize::MAX, 200, 100, 50, 0];
    let mut fitted = Fitted { state, payload: Vec::new(), tail, left_out: false };
    for longest in LONGEST {
        fitted.shorten(longest);
        if fitted.fits() {
            return fitted;
        }
    }
    while !fitted.fits() && !fitted.tail.entries.is_empty() {
        let half = fitted.tail.entries.len().div_ceil(2);
        fitted.tail.entries.drain(..half);
        fitted.left_out = true;
    }
    fitted
}

/// At most how many bytes any state takes that follows from this one without a further stage or `init`, if its
/// reasons are empty.
pub(super) fn most_needed(mut state: State) -> usize {
    state.components.values_mut().for_each(grow);
    codec::encode(&state, &Tail { after: u64::MAX, entries: Vec::new() }).len()
}

fn grow(component: &mut ComponentState) {
    let images: Vec<_> = Slot::PATCHED.into_iter().filter_map(|slot| component.image(slot)).collect();
    let denied = |image: &&crate::SealedImage| Denied {
        digest: image.identity.digest,
        version: image.version.clone(),
        reason: String::new(),
        at: u64::MAX,
    };
    let more: Vec<Denied> = images.iter().map(denied).collect();
    component.denied.extend(more);
    component.denied.iter_mut().for_each(|denied| denied.reason.clear());
    let versions = component.denied.iter().map(|denied| denied.version.clone());
    let longest = versions.max_by_key(|version| version.to_string().len());
    component.last_rollback =
        longest.map(|version| Fallback { version, reason: String::new(), at: u64::MAX });
    let terms = TrialTerms { tries: u32::MAX, deadline: Some(u64::MAX) };
    component.trial =
        Some(Trial { terms, tries_left: u32::MAX, started: u64::MAX, failed: Some(String::new()) });
    component.turn = u64::MAX;
    component.previous = Some(Slot::Base);
    component.floor = u64::MAX;
}

impl Fitted {
    fn fits(&mut self) -> bool {
        self.payload = codec::encode(&self.state, &self.tail);
        record::fits(self.payload.len()).is_ok()
    }

    fn shorten(&mut self, longest: usize) {
        for component in self.state.components.values_mut() {
            let denied = component.denied.iter_mut().map(|denied| &mut denied.reason);
            let last = component.last_rollback.iter_mut().map(|last| &mut last.reason);
            let failed = component.trial.iter_mut().filter_map(|trial| trial.failed.as_mut());
            denied.chain(last).chain(failed).for_each(|reason| truncate(reason, longest));
        }
        let entries = self.tail.entries.iter_mut().map(|Numbered { entry, .. }| entry);
        entries.filter_map(|entry| entry.reason.as_mut()).for_each(|reason| truncate(reason, longest));
    }
}

fn truncate(reason: &mut String, longest: usize) {
    let end = (0..=reason.len().min(longest)).rev().find(|&end| reason.is_char_boundary(end));
    reason.truncate(end.unwrap_or(0));
}
