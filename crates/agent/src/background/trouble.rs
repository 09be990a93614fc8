//! Why a release could not be installed, and when it is tried again.

use super::{Agent, kept};
use crate::Error;
use crate::decide::mark;
use crate::memory::{Failed, Memory, Told, device_id};
use crate::source::SourceError;
use siding_image::Digest;
use siding_patch::Fault;
use siding_repo::Release;
use siding_slot::Kind;
use std::io::ErrorKind;
use std::path::Path;

/// What went wrong with a release.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// Bytes that must be free, if that is why.
    pub(crate) needs: Option<u64>,
    /// Nothing but another release or another siding helps.
    for_good: bool,
    /// It was only interrupted.
    pub(crate) interrupted: bool,
}

impl Trouble {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), needs: None, for_good: false, interrupted: false }
    }

    pub(crate) fn interrupted() -> Self {
        Self { interrupted: true, ..Self::new("interrupted", "it goes on later") }
    }
}

impl From<SourceError> for Trouble {
    fn from(error: SourceError) -> Self {
        Self::new(error.code, error.message)
    }
}

impl From<siding_slot::Error> for Trouble {
    fn from(error: siding_slot::Error) -> Self {
        Self::from(Error::Slot(error))
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::TooOldSiding { .. } => "needs-newer-siding",
            Error::Patch(patch) => of_patch(patch),
            Error::Apply(siding_apply::Error::Patch(patch)) => of_patch(patch),
            Error::Slot(slot) => of_slot(slot.kind()),
            Error::Apply(siding_apply::Error::Sink { source, .. }) => {
                let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<siding_slot::Error>());
                inner.map_or("medium", |inner| of_slot(inner.kind()))
            }
            Error::Apply(_) | Error::Source(_) | Error::Damaged { .. } => "corrupt",
            Error::Unpromised { .. } => "mismatch",
            Error::WrongProduct { .. } => "wrong-product",
            Error::Expired { .. } => "expired",
            Error::OldEpoch { .. } => "old-epoch",
            Error::NoSource { .. } => "base-unknown",
            Error::NoHook { .. } => "no-hook",
            _ => "failed",
        };
        let needs = match &error {
            Error::Slot(siding_slot::Error::NoSpace { needed, .. }) => Some(*needed),
            Error::Apply(siding_apply::Error::Sink { source, .. }) => {
                let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<siding_slot::Error>());
                match inner {
                    Some(siding_slot::Error::NoSpace { needed, .. }) => Some(*needed),
                    _ => None,
                }
            }
            _ => None,
        };
        Self { needs, for_good: code == "needs-newer-siding", ..Self::new(code, error.to_string()) }
    }
}

fn of_patch(error: &siding_patch::Error) -> &'static str {
    match error.fault() {
        // It came to its end, and is not what it should be.
        Fault::Medium if is_wrong_data(error) => "corrupt",
        Fault::Corrupt => "corrupt",
        Fault::NotTrusted => "not-trusted",
        Fault::TooNew => "needs-newer-siding",
        Fault::Limits => "too-large",
        Fault::Medium => "unreachable",
        _ => "failed",
    }
}

/// Whether reading a patch failed because what came is not what it should be.
pub(super) fn is_wrong_data(error: &siding_patch::Error) -> bool {
    matches!(error, siding_patch::Error::Io { source, .. } if source.kind() == ErrorKind::InvalidData)
}

fn of_slot(kind: Kind) -> &'static str {
    match kind {
        Kind::NoSpace => "no-space",
        Kind::Busy => "busy",
        Kind::Denied => "denied",
        Kind::Refused => "refused",
        _ => "medium",
    }
}

impl Agent<'_> {
    /// Notes why a release failed, and when it is tried again; one that a person asked for is not asked for any more.
    pub(super) fn note_trouble(
        &self,
        release: &Release,
        trouble: Trouble,
        told: &mut Vec<Told>,
    ) -> Result<(), Error> {
        let (now, mark) = ((self.clock)(), mark(release));
        let before = Memory::load(self.store).map_err(kept)?.failed.remove(&release.id);
        let before = before.filter(|failed| failed.mark == mark);
        let count = before.map_or(0, |failed| failed.count).saturating_add(1);
        let again = (!trouble.for_good).then(|| now.saturating_add(wait(self.store, &release.id, count)));
        let note = |memory: &mut Memory| {
            let (code, message, needs) = (trouble.code.to_owned(), trouble.message.clone(), trouble.needs);
            let failed = Failed { code, message, at: now, count, again, needs, mark: mark.clone() };
            memory.failed.insert(release.id.clone(), failed);
            memory.asked.remove(&release.id);
            memory.counted.failures = memory.counted.failures.saturating_add(1);
        };
        Memory::update(self.store, note).map_err(kept)?;
        let line = self.line("fail", &release.id, &trouble.message);
        told.push(Told { code: Some(trouble.code.to_owned()), ..line });
        Ok(())
    }
}

/// How many seconds to wait after so many failures in a row: a minute, doubled each time up to a day, and up to a
/// quarter more, so that not all devices come back at once. The same for the same device, cause and count.
pub(super) fn wait(store: &Path, cause: &str, count: u32) -> u64 {
    const DAY: u64 = 86_400;
    let base = 60_u64.saturating_mul(1 << count.saturating_sub(1).min(11)).min(DAY);
    let device = device_id(store).map(|id| id.as_str().to_owned()).unwrap_or_default();
    base.saturating_add(share(&format!("{device} {cause} {count}"), base / 4))
}

/// A number from 0 to `most`, the same for the same text.
pub(super) fn share(text: &str, most: u64) -> u64 {
    let Digest(bytes) = Digest::of(text.as_bytes());
    let head = bytes.iter().take(8).fold(0u64, |head, byte| head << 8 | u64::from(*byte));
    head % most.saturating_add(1)
}
