//! The story itself.

use crate::Error;
use crate::check::{Damage, check};
use crate::course::{Anew, Course, anew, course, image};
use crate::way::{Noted, Yielding, gave_way};
use siding_apply::{Apply, Clock, Progress, Report, Throttle};
use siding_image::{Component, Digest, Identity, Image, Version};
use siding_patch::{Limits, Manifest, Trust};
use siding_slot::{Slot, Staging, Store, Target, TrialTerms};
use std::io::{ErrorKind, Read};
use std::path::Path;

/// What is asked for beside the patch itself.
#[derive(Clone, Debug)]
pub struct Request {
    /// The time, in seconds since 1970.
    pub now: u64,
    /// What this device is, to compare with the products a patch is for.
    pub product: Option<String>,
    /// What the patch was promised to make of which component; anything else is refused before a slot is touched.
    pub promised: Option<(Component, Identity)>,
    /// Let go of the store once somebody else wants it, with [`Error::GaveWay`]: for who can install the same patch
    /// again then, and goes on from the last checkpoint.
    pub gives_way: bool,
    /// Install an image although it was rolled back before.
    pub retry_denied: bool,
    /// How much private memory to keep to, in bytes: [`siding_apply::MEMORY`] unless there is a reason.
    pub memory: u64,
    /// How many bytes to write a second at most.
    pub rate: Option<u64>,
    /// Read an image that is there already, all of it, before it is used.
    pub check: bool,
    /// Switch once sealed, on these terms; `None` leaves the image sealed and inactive.
    pub switch: Option<Terms>,
}

impl Request {
    /// Nothing special is asked for.
    pub fn at(now: u64) -> Self {
        let memory = siding_apply::MEMORY;
        let (product, promised, rate, switch) = (None, None, None, None);
        let (gives_way, retry_denied) = (false, false);
        Self { now, product, promised, gives_way, retry_denied, memory, rate, check: true, switch }
    }
}

/// On which terms to switch: with a trial, or for good (`None`).
pub type Terms = Option<TrialTerms>;

/// How an install ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The patch was carried out.
    Applied,
    /// An inactive slot held the image already; its bytes were checked if that was asked for, and the patch's chunks
    /// not read.
    WasThere,
    /// The image is the active one already; nothing was done.
    WasActive,
}

/// What was installed.
#[derive(Clone, Debug)]
pub struct Installed {
    /// Which component.
    pub component: Component,
    /// Its version.
    pub version: Version,
    /// In which slot.
    pub slot: Slot,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether that slot was switched to.
    pub switched: bool,
    /// What must restart to use it.
    pub restart: Vec<String>,
    /// The bytes written and where the time went, if the patch was carried out.
    pub work: Option<(u64, Clock)>,
    /// From how many bytes of an interrupted install of the same patch it went on; 0 if it began anew.
    pub resumed: u64,
}

/// Installs the patch that `reader` delivers.
///
/// Once it returned `Ok`, the target is sealed: its bytes are on the medium and were read back and compared;
/// a power cut leaves it so. If a switch was asked for, that is on the medium too. On an error the running
/// slot is what it was. If the process or the power ended before, installing the same patch again goes on from the
/// last checkpoint.
pub fn install<R: Read + Send>(
    store: &mut Store,
    reader: R,
    trust: &Trust,
    limits: &Limits,
    request: &Request,
    progress: &mut dyn Progress,
) -> Result<Installed, Error> {
    let root = store.root().to_owned();
    let noted = if request.gives_way { Noted::at(&root) } else { None };
    let patch = siding_patch::open(reader, trust, limits)?; // who says so?
    let manifest = patch.manifest().clone();
    keeps_promise(&manifest, request)?;
    let mut damaged = None;
    let Anew { source, .. } = match course(store, &manifest, request)? {
        Course::IsActive(slot) => return Ok(was_active(&manifest, store, slot)),
        Course::IsThere(slot) => match check_there(store, &manifest, slot, request)? {
            None => return already_there(store, &manifest, slot, request),
            Some(damage) => {
                // It is as if it were not there.
                damaged = Some((slot, damage));
                anew(store, &manifest, request)?
            }
        },
        Course::Apply(anew) => anew,
    };
    let source = image(store, &manifest, source)?;
    let target = target(&manifest);
    if let Some((slot, damage)) = damaged {
        let reason = format!("its image is damaged: {damage}");
        store.condemn(&manifest.component, slot, &reason, request.now)?;
    }
    // The patch's beginning is read meanwhile; a source that is not what it should be is told first.
    let (checked, apply) = rayon::join(|| source.check(), || Apply::prepare(patch, request.memory));
    checked.map_err(Error::Source)?;
    let apply = apply?;
    // Durably forget the inactive slot first, or go on with what was begun there.
    let mut staging = store.stage(&manifest.component, &target, request.retry_denied, request.now)?;
    let report = match carry_out(apply, &source, &mut staging, (&root, request, noted.as_ref()), progress) {
        Ok(report) => report, // rebuilt, chunk by chunk
        Err(error) => return Err(failed(staging, error)),
    };
    let resumed = report.resumed;
    let sealed = staging.seal(Some(&source))?; // on the medium, bit for bit
    let slot = sealed.slot();
    if let Some(terms) = request.switch {
        sealed.switch(terms, request.now)?; // then one record write
    }
    let work = Some((report.written, report.clock));
    Ok(Installed { resumed, ..installed(manifest, slot, Outcome::Applied, request.switch.is_some(), work) })
}

fn keeps_promise(manifest: &Manifest, request: &Request) -> Result<(), Error> {
    let got = (&manifest.component, manifest.target.identity);
    match &request.promised {
        Some((component, identity)) if got != (component, *identity) => Err(Error::Unpromised {
            component: manifest.component.clone(),
            version: manifest.target.version.clone(),
            got: manifest.target.identity,
            promised: Box::new((component.clone(), *identity)),
        }),
        _ => Ok(()),
    }
}

/// Rebuilds the target in the slot, within what the request allows.
fn carry_out<R: Read + Send>(
    apply: Apply<R>,
    source: &Image,
    staging: &mut Staging<'_>,
    (root, request, noted): (&Path, &Request, Option<&Noted>),
    progress: &mut dyn Progress,
) -> Result<Report, siding_apply::Error> {
    let throttled = Throttle::new(staging, request.rate);
    apply.run(source, &mut Yielding::new(throttled, root, noted, request.rate), progress)
}

/// What was written before an apply failed is kept to go on with, unless the failure may lie in it.
fn failed(staging: Staging<'_>, error: siding_apply::Error) -> Error {
    let gave_way = gave_way(&error);
    let keep = match &error {
        _ if gave_way => true,
        // Nothing of the patch is written that was not found to be as it was signed; and more may be allowed next
        // time.
        siding_apply::Error::Patch(_) | siding_apply::Error::Memory { .. } => true,
        siding_apply::Error::Sink { source, .. } => {
            matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
        }
        _ => false,
    };
    if !keep {
        // Why the apply failed is what is told; a store that cannot even forget tells it when it is next used.
        let _ = staging.give_up();
    }
    if gave_way { Error::GaveWay } else { error.into() }
}

/// What the active slot's record says, whatever the patch calls the same bytes.
fn was_active(manifest: &Manifest, store: &Store, slot: Slot) -> Installed {
    let done = installed(manifest.clone(), slot, Outcome::WasActive, false, None);
    let image = store.state().get(&manifest.component).and_then(|component| component.image(slot));
    Installed { version: image.map_or(done.version, |image| image.version.clone()), ..done }
}

/// What is wrong with an inactive slot that should hold the target, if that is to be looked at.
fn check_there(
    store: &Store,
    manifest: &Manifest,
    slot: Slot,
    request: &Request,
) -> Result<Option<Damage>, Error> {
    if request.check { Ok(check(store, &manifest.component, slot)?.err()) } else { Ok(None) }
}

fn already_there(
    store: &mut Store,
    manifest: &Manifest,
    slot: Slot,
    request: &Request,
) -> Result<Installed, Error> {
    let component = &manifest.component;
    if request.retry_denied {
        store.lift(component, &manifest.target.identity.digest, request.now)?;
    }
    if let Some(terms) = request.switch {
        store.switch_to(&[(component.clone(), slot)], terms, request.now)?;
    }
    Ok(installed(manifest.clone(), slot, Outcome::WasThere, request.switch.is_some(), None))
}

pub(crate) fn target(manifest: &Manifest) -> Target {
    let advisories = manifest.advisories.iter().map(|advisory| advisory.id.clone()).collect();
    Target {
        restart: manifest.restart.clone(),
        advisories,
        source: Some(manifest.source.identity),
        patch: Some(Digest::of(&manifest.encode())),
        ..Target::new(manifest.target.version.clone(), manifest.target.identity, manifest.epoch)
    }
}

fn installed(
    manifest: Manifest,
    slot: Slot,
    outcome: Outcome,
    switched: bool,
    work: Option<(u64, Clock)>,
) -> Installed {
    Installed {
        component: manifest.component,
        version: manifest.target.version,
        slot,
        outcome,
        switched,
        restart: manifest.restart,
        work,
        resumed: 0,
    }
}
