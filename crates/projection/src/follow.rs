//! One projection made to follow the record, or only compared with it.

use crate::config::{Kind, Projection};
use crate::error::Reason;
use crate::variables::{Names, Told, Wanted};
use crate::{loader, mount};
use siding_image::Component;
use siding_run::{End, Leftovers, run as run_program};
use siding_slot::{ComponentState, Slot, Snapshot, State};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Set for a command of a projection: whoever runs it holds the store.
pub const MARK: &str = "SIDING_PROJECTION";

/// Whether a projection says what the record does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Agreement {
    /// It does.
    Agrees,
    /// It does not.
    Stale {
        /// What it says instead.
        says: String,
    },
    /// That cannot be seen.
    Unknown {
        /// Why not.
        why: String,
    },
}

/// What one projection of a component is to show.
struct Subject<'a> {
    component: &'a Component,
    wanted: Wanted,
    names: Names,
    image: PathBuf,
    slots: [PathBuf; 3],
    kind: siding_image::Kind,
}

/// Makes it follow, and gives whether that changed anything.
pub(crate) fn follow(projection: &Projection, snapshot: &Snapshot) -> Result<bool, Reason> {
    let subject = Subject::of(&projection.component, snapshot)?;
    let Subject { component, wanted, names, image, slots, kind } = &subject;
    let mount = |how, at| mount::follow(how, component, image, slots, *kind, at);
    match &projection.kind {
        Kind::Bind { at } => mount(mount::How::Bind, at),
        Kind::Loop { at, filesystem } => mount(mount::How::Loop(filesystem.as_deref()), at),
        Kind::Grub { file } => loader::grub(file, names, *wanted),
        Kind::UBoot(places) => loader::uboot(places, names, *wanted),
        Kind::SystemdBoot { entries } => loader::systemd_boot(entries, component, *wanted),
        Kind::EfiBootNext { variables, entries } => loader::efi(variables, entries, names, *wanted),
        Kind::Command { run, limit } => command(run, *limit, &subject),
    }
}

/// Compares it with the record and changes nothing.
pub(crate) fn compare(projection: &Projection, snapshot: &Snapshot) -> Agreement {
    let says = |told: Result<Option<Told>, Reason>| told.map(|told| told.map(|told| told.to_string()));
    let compared = Subject::of(&projection.component, snapshot).and_then(|subject| {
        let Subject { component, wanted, names, image, slots, kind } = &subject;
        let mount = |how, at| mount::compared(how, component, image, slots, *kind, at);
        match &projection.kind {
            Kind::Bind { at } => mount(mount::How::Bind, at),
            Kind::Loop { at, filesystem } => mount(mount::How::Loop(filesystem.as_deref()), at),
            Kind::Grub { file } => says(loader::grub_compared(file, names, *wanted)),
            Kind::UBoot(places) => says(loader::uboot_compared(places, names, *wanted)),
            Kind::SystemdBoot { entries } => says(loader::systemd_boot_compared(entries, component, *wanted)),
            Kind::EfiBootNext { variables, entries } => {
                says(loader::efi_compared(variables, entries, names, *wanted))
            }
            Kind::Command { .. } => Err(Reason::unfit("only the command itself knows")),
        }
    });
    match compared {
        Ok(None) => Agreement::Agrees,
        Ok(Some(says)) => Agreement::Stale { says },
        Err(why) => Agreement::Unknown { why: why.to_string() },
    }
}

/// Whether it has something else to say in this state than in the one before.
pub(crate) fn is_changed(projection: &Projection, before: &State, after: &State) -> bool {
    let wanted = |state: &State| state.get(&projection.component).map(Wanted::of);
    let (before, after) = (wanted(before), wanted(after));
    match projection.kind {
        // A mount shows the active image, and a slot that is in use is not written.
        Kind::Bind { .. } | Kind::Loop { .. } => before.map(|was| was.active) != after.map(|is| is.active),
        _ => before != after,
    }
}

impl<'a> Subject<'a> {
    fn of(component: &'a Component, snapshot: &Snapshot) -> Result<Self, Reason> {
        let unknown = || {
            let root = snapshot.root().display();
            Reason::unfit(format!(
                "the store {root} has no component {component}; init it, or correct projections.toml"
            ))
        };
        let held = snapshot.state().get(component).ok_or_else(unknown)?;
        let path = |slot| snapshot.image_path(component, slot);
        let (image, slots) = (path(held.active), Slot::ALL.map(path));
        let (wanted, names) = (Wanted::of(held), Names::of(component));
        Ok(Self { component, wanted, names, image, slots, kind: kind_of(held) })
    }
}

/// The kind of the active image; a record has no active slot without one.
fn kind_of(held: &ComponentState) -> siding_image::Kind {
    held.active_image().map_or(siding_image::Kind::File, |image| image.identity.kind)
}

fn command(run: &[String], limit: Duration, subject: &Subject<'_>) -> Result<bool, Reason> {
    let Some((program, args)) = run.split_first() else { return Ok(false) };
    let Subject { component, wanted, image, .. } = subject;
    let mut command = Command::new(program);
    command.args(args).env("SIDING_COMPONENT", component.as_str()).env("SIDING_SLOT", wanted.active.name());
    command.env("SIDING_IMAGE", image).env("SIDING_TURN", wanted.turn.to_string()).env(MARK, "1");
    command.env("SIDING_BACK", wanted.back.map_or("", Slot::name));
    command.env("SIDING_TRIES", wanted.tries.map_or_else(String::new, |tries| tries.to_string()));
    let program = Path::new(program);
    let ran = run_program(command, limit, Leftovers::Keep);
    match ran.end {
        End::Code(0) => Ok(true),
        End::Limit(_) => {
            Err(Reason::file(program, format!("{ran}; give it more time with `seconds = N`, or mend it")))
        }
        _ => Err(Reason::file(program, ran.to_string())),
    }
}
