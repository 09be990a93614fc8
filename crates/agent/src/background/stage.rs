//! A release's image is brought into a slot: fetched while it is applied.

use super::trouble::is_wrong_data;
use super::{Agent, Trouble, kept};
use crate::check::check_for_switch;
use crate::decide::{Change, Decision, Way};
use crate::memory::{self, Memory};
use crate::shared::{Interruptible, Shared};
use crate::source::Catalog;
use crate::way::{open_after, open_soon};
use crate::{Error, Outcome, Request, durable, install};
use siding_apply::Progress;
use siding_patch::{Fault, Limits};
use siding_repo::{Blob, Item};
use siding_slot::{Slot, Store};
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::Instant;

impl Agent<'_> {
    /// The slot that holds a component's image, sealed; it is brought there if need be.
    ///
    /// Once this returned Ok, it survives a power cut.
    pub(super) fn bring(&self, decision: &Decision<'_>, change: &Change<'_>) -> Result<Slot, Trouble> {
        match change.way {
            Way::Ready(slot) => self.make_sure(change, slot),
            Way::Patch(blob) | Way::Full(blob) => self.stage(decision, change, blob),
        }
    }

    /// An image that is damaged is no image any more; the next decision is to bring it anew.
    fn make_sure(&self, change: &Change<'_>, slot: Slot) -> Result<Slot, Trouble> {
        let component = &change.item.component;
        let mut store = open_soon(self.store)?;
        match check_for_switch(&store, component, slot) {
            Ok(()) => Ok(slot),
            Err(Error::Damaged { damage, .. }) => {
                let reason = format!("its image is damaged: {damage}");
                store.condemn(component, slot, &reason, (self.clock)())?;
                Err(Trouble::new(
                    "corrupt",
                    format!("{component} in slot {slot}: {reason}; it is brought anew"),
                ))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn stage(&self, decision: &Decision<'_>, change: &Change<'_>, blob: &Blob) -> Result<Slot, Trouble> {
        let item = change.item;
        self.show("downloading", Some(&decision.release.id), Some(&item.component));
        let parts = memory::path(self.store, "parts");
        durable::make_dir(&parts).map_err(kept)?;
        let part = parts.join(blob.sha256.to_string());
        let values = &self.policy.values;
        let nobody = || {
            Trouble::new(
                "not-trusted",
                "nobody is trusted yet: put a public key into the folder that `trust` names",
            )
        };
        let trust = self.trust.ok_or_else(nobody)?;
        let begun = Instant::now();
        let mut store = open_soon(self.store)?;
        let request = Request {
            product: values.product.clone(),
            memory: values.memory,
            gives_way: true,
            promised: Some((item.component.clone(), item.target.identity())),
            ..Request::at((self.clock)())
        };
        let done = loop {
            let inner = self.source.fetch(blob, &part, values.rate)?;
            let reader = Interruptible { inner, shared: self.shared };
            let mut shown = Shown(self.shared);
            let done = install(&mut store, reader, trust, &Limits::default(), &request, &mut shown);
            // The slot that was written may have been the way back.
            (self.follow)(&store);
            match done {
                Ok(done) => break done,
                Err(_) if self.shared.is_ending() => return Err(Trouble::interrupted()),
                Err(Error::GaveWay) => {
                    drop(store);
                    store = open_after(self.store)?;
                }
                // Another mirror may have the right ones; what was written goes on from its checkpoint.
                Err(error) if speaks_against_bytes(&error) && self.source.refuse(blob, &part)? => {}
                Err(error) => return Err(no_room(error.into(), blob, item, &part)),
            }
        };
        if done.outcome == Outcome::WasActive {
            let what = format!("{} {} is in use already", done.component, done.version);
            return Err(Trouble::new("mismatch", what));
        }
        let _ = fs::remove_file(&part);
        let count = |memory: &mut Memory| {
            let counted = &mut memory.counted;
            counted.installs = counted.installs.saturating_add(1);
            counted.fetched_bytes = counted.fetched_bytes.saturating_add(blob.length);
            counted.full_bytes = counted.full_bytes.saturating_add(item.target.size);
            let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            counted.install_ms = counted.install_ms.saturating_add(took);
        };
        Memory::update(self.store, count).map_err(kept)?;
        Ok(done.slot)
    }
}

impl Agent<'_> {
    /// Removes what was fetched of files that nothing would fetch any more.
    pub(super) fn sweep_parts(&self, catalog: &Catalog) {
        let parts = memory::path(self.store, "parts");
        let Ok(entries) = fs::read_dir(&parts) else { return };
        let Ok(decisions) = Store::view(self.store).map_err(Error::from).and_then(|view| {
            let decisions = self.decide(&view, catalog)?;
            Ok(decisions.all.iter().flat_map(|decision| decision.changes.clone()).collect::<Vec<_>>())
        }) else {
            return;
        };
        let wanted = |name: &OsStr| {
            decisions.iter().any(|change| match change.way {
                Way::Ready(_) => false,
                Way::Patch(blob) | Way::Full(blob) => name.to_str() == Some(&blob.sha256.to_string()),
            })
        };
        for entry in entries.flatten().filter(|entry| !wanted(&entry.file_name())) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Where there is no room, what was fetched is not to take more of it; and it is said how much there must be.
fn no_room(mut trouble: Trouble, blob: &Blob, item: &Item, part: &Path) -> Trouble {
    if trouble.code != "no-space" {
        return trouble;
    }
    let _ = fs::remove_file(part);
    let image = trouble.needs.unwrap_or(item.target.size);
    trouble.needs = Some(image.saturating_add(blob.length));
    trouble
}

/// Whether an install failed because of what the bytes of the patch are, and not of how they came.
fn speaks_against_bytes(error: &Error) -> bool {
    let (Error::Patch(error) | Error::Apply(siding_apply::Error::Patch(error))) = error else {
        return matches!(error, Error::Unpromised { .. });
    };
    error.fault() != Fault::Medium || is_wrong_data(error)
}

/// Progress for whoever looks.
struct Shown<'s>(&'s Shared);

impl Progress for Shown<'_> {
    fn advanced(&mut self, done: u64, total: u64) {
        self.0.advance(done, total);
    }
}
