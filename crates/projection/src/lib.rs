//! What follows from the record: mounts and boot loaders.
//!
//! The record of a store is the one truth about which slot of a component is active. A *projection* is something
//! else that has to say the same: a mount, the variables of a boot loader, whatever a command does. It is made
//! from the record and never the other way round, it is made again at each boot and after each change, and
//! making it twice is making it once. So the order is always: record first, then projections; and a power cut
//! between them leaves a projection that is *stale*, which the next boot repairs.
//!
//! A boot loader that counts boots also answers: [`Projections::seen`] reads which slot it booted, how many tries it
//! has left and which *turn* it acted on. The turn grows each time the active slot changes. So a loader that booted
//! another slot although it knew the record's turn has fallen back, and one with an older turn was only
//! stale. While the turns agree, a loader's own count is never raised.
//!
//! The turn it acted on stands on the kernel's command line, and still does when its variables have been told a newer
//! one; what they say of tries counts only while they have that same turn. A loader whose command lines are fixed,
//! as systemd-boot's and the firmware's are, says no turn there. Then its variables are asked, which know it only
//! until they are told something newer: with those `siding boot` must be called once a start.
//!
//! | variable, for a component NAME | meaning |
//! | --- | --- |
//! | `siding_NAME_slot` | the active slot: `base`, `a` or `b` |
//! | `siding_NAME_back` | where a failed trial goes |
//! | `siding_NAME_tries` | how many more boots the slot gets; empty or unset when it is not on trial |
//! | `siding_NAME_turn` | the turn |
//!
//! In NAME, what is no letter, digit or `_` becomes `_`. The loader lowers `tries` before it boots, boots `back` once
//! it is 0, and puts `siding.NAME=SLOT:TURN` on the kernel's command line, or `siding.NAME=SLOT` if it knows no turn.
//! `contrib/` has what makes GRUB, U-Boot and systemd-boot do so.
//!
//! A `command` is told by its environment: `SIDING_COMPONENT`, `SIDING_SLOT` (the active one), `SIDING_BACK`,
//! `SIDING_TRIES` (both empty if there is none), `SIDING_TURN`, `SIDING_IMAGE` (the path of the active image), and
//! `SIDING_PROJECTION=1`. It runs while the verb that made the change holds the store: verbs that only read, such as
//! `siding status`, work in it; one that writes finds the store busy. What a command wants to change it leaves to
//! something that runs later, and does not wait for that.
//!
//! The formats are pure, bytes in and bytes out: [`grub`], [`uboot`], [`systemd_boot`], [`efi`]. All input and output
//! is in one small file.
//!
//! ```
//! use siding_projection::Projections;
//! let projections = Projections::parse("projections.toml".as_ref(), r#"
//!     [[projection]]
//!     component = "rootfs"
//!     kind = "grub"
//!     file = "/boot/grub/siding.env"
//! "#)?;
//! assert_eq!(projections.len(), 1);
//! # Ok::<(), siding_projection::Error>(())
//! ```

mod config;
mod error;
mod follow;
mod io;
mod loader;
mod mount;
mod start;
mod variables;

pub mod efi;
pub mod grub;
pub mod systemd_boot;
pub mod uboot;

pub use error::{Error, Failure, Reason};
pub use follow::{Agreement, MARK};
pub use start::Start;

use config::{Kind, Projection};
use siding_image::Component;
use siding_slot::{Booted, Snapshot, State};
use std::collections::BTreeMap;
use std::path::Path;
use variables::{Names, Told};

/// What this crate's fallible functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The name of the file in a store that says what follows its record.
pub const FILE: &str = "projections.toml";

/// What is to follow a store's record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projections {
    all: Vec<Projection>,
}

/// One projection that follows the record now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Of which component.
    pub component: Component,
    /// Which projection: its kind and its place.
    pub projection: String,
    /// Whether it said something else before. A command is always run and counts as changed.
    pub changed: bool,
}

/// One projection as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Of which component.
    pub component: Component,
    /// Which projection: its kind and its place.
    pub projection: String,
    /// Whether it says what the record does.
    pub agreement: Agreement,
}

impl Projections {
    /// Reads `projections.toml` in the store at `root`; if there is none, nothing follows the record.
    pub fn load(root: &Path) -> Result<Self> {
        let path = root.join(FILE);
        match io::read_if_there(&path) {
            Ok(None) => Ok(Self::default()),
            Ok(Some(bytes)) => Self::parse(&path, &String::from_utf8_lossy(&bytes)),
            Err(source) => Err(Error::Read { path, source }),
        }
    }

    /// Reads what such a file holds; `path` is for errors.
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        Ok(Self { all: config::parse(path, text)? })
    }

    /// How many projections there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether nothing follows the record.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Makes every projection agree with the record, in the order of the file. What agrees already is left alone.
    ///
    /// Once this returned Ok, what boot loaders are told survives a power cut; a cut before that leaves each
    /// projection old or new. One that fails keeps no other from being made: all failures come
    /// together in [`Error::Failed`]. Call it with the store's lock held, so that no older record overtakes a newer.
    pub fn apply(&self, snapshot: &Snapshot) -> Result<Vec<Done>> {
        let (mut done, mut failures) = (Vec::new(), Vec::new());
        for following in &self.all {
            let (component, projection) = (following.component.clone(), following.kind.describe());
            match follow::follow(following, snapshot) {
                Ok(changed) => done.push(Done { component, projection, changed }),
                Err(reason) => failures.push(Failure { component, projection, reason }),
            }
        }
        if failures.is_empty() { Ok(done) } else { Err(Error::Failed { done, failures }) }
    }

    /// Those that have something else to say since a store's state was `before`; the others need not be made again.
    #[must_use]
    pub fn changed(&self, before: &State, after: &State) -> Self {
        let changed = |projection: &&Projection| follow::is_changed(projection, before, after);
        Self { all: self.all.iter().filter(changed).cloned().collect() }
    }

    /// Compares every projection with the record, in the order of the file, and changes nothing. What a command did
    /// cannot be seen.
    ///
    /// Without the store's lock a change that is under way may be seen half done: the record is new, and what follows
    /// it not yet.
    pub fn compare(&self, snapshot: &Snapshot) -> Vec<Compared> {
        let compared = |projection: &Projection| Compared {
            component: projection.component.clone(),
            projection: projection.kind.describe(),
            agreement: follow::compare(projection, snapshot),
        };
        self.all.iter().map(compared).collect()
    }

    /// What the boot loaders did this boot, by component: which slot they booted and the turn they acted on, from the
    /// kernel's command line, and how many tries their variables say are left. A component that neither says anything
    /// about is left out.
    ///
    /// Without a turn on the command line the variables' is taken, which is the one the loader acted on only until
    /// [`apply`](Self::apply) tells it something new.
    pub fn seen(&self, state: &State, cmdline: &str) -> BTreeMap<Component, Booted> {
        let seen = |component: &Component| {
            let (told, started) = (self.told(component), variables::started(component, cmdline));
            let slot = started.map(|started| started.slot);
            match started.and_then(|started| started.turn) {
                None => Booted { slot, tries_left: told.tries, turn: told.turn },
                // Variables with another turn were written after this start, or are not those it acted on.
                turn => Booted { slot, tries_left: told.tries.filter(|_| told.turn == turn), turn },
            }
        };
        let all = state.components().map(|(component, _)| (component.clone(), seen(component)));
        all.filter(|(_, seen)| *seen != Booted::default()).collect()
    }

    /// The turn that a component's boot loader has been told; `None` if it has none that keeps one.
    pub fn told_turn(&self, component: &Component) -> Option<u64> {
        self.told(component).turn
    }

    /// What the first loader of a component that has a turn says.
    fn told(&self, component: &Component) -> Told {
        let names = Names::of(component);
        let told = |projection: &Projection| match &projection.kind {
            Kind::Grub { file } => loader::grub_told(file, &names),
            Kind::UBoot(places) => loader::uboot_told(places, &names),
            Kind::SystemdBoot { entries } => loader::systemd_boot_told(entries, component),
            Kind::EfiBootNext { variables, .. } => loader::efi_told(variables, &names),
            Kind::Bind { .. } | Kind::Loop { .. } | Kind::Command { .. } => None,
        };
        let mine = self.all.iter().filter(|projection| projection.component == *component);
        mine.filter_map(told).find(|told| told.turn.is_some()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
