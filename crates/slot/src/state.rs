//! Where a device stands: for each component three slots, which of them is active, and on what terms.
//!
//! These are plain values. They come from a record that was checked, or from [`step`](crate::step()).

use crate::Refusal;
use crate::layout::Home;
use siding_image::{Component, Digest, Identity, Version};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A place that holds one image of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// The image a component came with, or the one that superseded it. Never written by a patch.
    Base,
    /// The first of the two slots that patches are staged into.
    A,
    /// The second.
    B,
}

/// The state of a store: its components by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub(crate) components: BTreeMap<Component, ComponentState>,
}

/// Where one component stands.
///
/// Always true, whatever happened: `active` is sealed, so there is exactly one answer to what boots next. With three
/// slots `base` is sealed, and a component on trial is not on its base. With two ([`places`](Self::places)) there is
/// no base, and on trial the other slot is sealed: it is the way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentState {
    /// What slot `base` holds.
    pub base: Held,
    /// What slot `a` holds.
    pub a: Held,
    /// What slot `b` holds.
    pub b: Held,
    /// The slot that is in use.
    pub active: Slot,
    /// The slot that was in use before the last switch; the way back, if it still holds its image.
    pub previous: Option<Slot>,
    /// Set between a switch and its confirmation.
    pub trial: Option<Trial>,
    /// The highest security epoch ever confirmed; images below it are refused. Never goes down.
    pub floor: u64,
    /// Images that were rolled back, oldest first, at most [`Denied::MOST`].
    pub denied: Vec<Denied>,
    /// The last time the component fell back, until a later image is confirmed.
    pub last_rollback: Option<Fallback>,
    /// How often another slot became active. A boot loader is told this number with the slot it is to start, so
    /// that one that acts on an older order can be told from one that gave the newer one up.
    pub turn: u64,
    /// Where slots `a` and `b` lie, if the component has two block devices and no base.
    pub places: Option<Places>,
    /// How many bases came before this one. Each lies in a directory of its own, so that one is whole before the other
    /// goes.
    pub generation: u64,
}

/// The block devices of a component that has two slots and no base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The device of slot `a`.
    pub a: PathBuf,
    /// The device of slot `b`.
    pub b: PathBuf,
}

/// What a boot loader did at this start of the device, as far as it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Booted {
    /// The slot it started.
    pub slot: Option<Slot>,
    /// How many tries it has left by its own count, this one taken off.
    pub tries_left: Option<u32>,
    /// The [`turn`](ComponentState::turn) of the order it acted on.
    pub turn: Option<u64>,
}

/// What a slot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// Nothing.
    Empty,
    /// Bytes that are not an image, or not yet; never used.
    Staging,
    /// An image that was flushed, read back and compared.
    Sealed(SealedImage),
}

/// An image in a slot, and what is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedImage {
    /// Its version.
    pub version: Version,
    /// What it is.
    pub identity: Identity,
    /// Its security epoch.
    pub epoch: u64,
    /// What must restart to use it: units, processes, or a reboot, in the patch's words.
    pub restart: Vec<String>,
    /// The advisories it answers, such as CVE numbers.
    pub advisories: Vec<String>,
    /// When it was put in place, in seconds since 1970.
    pub installed_at: u64,
}

/// The terms of a trial that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrialTerms {
    /// How many boots the image gets before one without a confirm falls back.
    pub tries: u32,
    /// After which moment a boot falls back, whatever tries are left; seconds since 1970.
    pub deadline: Option<u64>,
}

/// A trial under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// What was granted.
    pub terms: TrialTerms,
    /// How many more boots the image gets.
    pub tries_left: u32,
    /// When it began, in seconds since 1970.
    pub started: u64,
    /// Why it has failed, if it has and can only be left by the next boot. It cannot be confirmed any more.
    pub failed: Option<String>,
}

/// An image that was rolled back, and is refused until the denial is lifted or forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// The digest of the image.
    pub digest: Digest,
    /// Its version.
    pub version: Version,
    /// Why it was rolled back.
    pub reason: String,
    /// When, in seconds since 1970.
    pub at: u64,
}

/// One fall back to another slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// The version that was left.
    pub version: Version,
    /// Why.
    pub reason: String,
    /// When, in seconds since 1970.
    pub at: u64,
}

/// What a patch calls the restart of the whole device, among what must restart.
pub const REBOOT: &str = "reboot";

impl Denied {
    /// How many denials are remembered for a component: enough for years of bad updates, few enough for the
    /// record. The oldest is forgotten first.
    pub const MOST: usize = 16;
}

impl State {
    /// Every component with its state, in order of name.
    pub fn components(&self) -> impl Iterator<Item = (&Component, &ComponentState)> {
        self.components.iter()
    }

    /// The state of one component.
    pub fn get(&self, component: &Component) -> Option<&ComponentState> {
        self.components.get(component)
    }

    /// The state of one component, or the refusal that says there is none.
    pub fn require(&self, component: &Component) -> Result<&ComponentState, Refusal> {
        self.get(component).ok_or_else(|| Refusal::Unknown { component: component.clone() })
    }
}

impl ComponentState {
    pub(crate) fn with_base(image: SealedImage) -> Self {
        let floor = image.epoch;
        Self {
            base: Held::Sealed(image),
            a: Held::Empty,
            b: Held::Empty,
            active: Slot::Base,
            previous: None,
            trial: None,
            floor,
            denied: Vec::new(),
            last_rollback: None,
            turn: 0,
            places: None,
            generation: 0,
        }
    }

    /// A component with two devices, of which `slot` holds the image in use.
    pub(crate) fn with_places(places: Places, slot: Slot, image: SealedImage) -> Self {
        let floor = image.epoch;
        let mut component = Self::with_base(image);
        let held = std::mem::replace(&mut component.base, Held::Empty);
        component.active = if slot == Slot::Base { Slot::A } else { slot };
        *component.held_mut(component.active) = held;
        Self { floor, places: Some(places), ..component }
    }

    /// Whether the image in use needs a reboot to be left, as its patch says.
    pub fn needs_reboot(&self) -> bool {
        self.active_image().is_some_and(|image| image.restart.iter().any(|what| what == REBOOT))
    }

    /// The device of a slot, if the component has devices.
    pub(crate) fn place(&self, slot: Slot) -> Option<&Path> {
        let places = self.places.as_ref()?;
        match slot {
            Slot::Base => None,
            Slot::A => Some(&places.a),
            Slot::B => Some(&places.b),
        }
    }

    /// Which directory of the component a slot's image lies in.
    pub(crate) fn home(&self, slot: Slot) -> Home {
        match slot {
            Slot::Base => Home::Base(self.generation),
            Slot::A => Home::A,
            Slot::B => Home::B,
        }
    }

    /// What a slot holds.
    pub fn held(&self, slot: Slot) -> &Held {
        match slot {
            Slot::Base => &self.base,
            Slot::A => &self.a,
            Slot::B => &self.b,
        }
    }

    pub(crate) fn held_mut(&mut self, slot: Slot) -> &mut Held {
        match slot {
            Slot::Base => &mut self.base,
            Slot::A => &mut self.a,
            Slot::B => &mut self.b,
        }
    }

    /// The image in a slot, if it holds one.
    pub fn image(&self, slot: Slot) -> Option<&SealedImage> {
        match self.held(slot) {
            Held::Sealed(image) => Some(image),
            Held::Empty | Held::Staging => None,
        }
    }

    /// The image in use.
    pub fn active_image(&self) -> Option<&SealedImage> {
        self.image(self.active)
    }

    /// Why this image is denied, if it is.
    pub fn denial(&self, digest: &Digest) -> Option<&Denied> {
        self.denied.iter().find(|denied| denied.digest == *digest)
    }

    /// A slot that holds exactly this image: the active one if it does, else the base, else `a`, else `b`.
    pub fn holding(&self, identity: &Identity) -> Option<Slot> {
        let mut slots = [self.active, Slot::Base, Slot::A, Slot::B].into_iter();
        slots.find(|slot| self.image(*slot).is_some_and(|image| image.identity == *identity))
    }

    /// The slot `switch` goes to when none is named: sealed, inactive, not the base, not denied, not below the
    /// floor; of two the higher version.
    pub fn ready(&self) -> Option<Slot> {
        let fit = |slot: &Slot| {
            *slot != self.active
                && self.image(*slot).is_some_and(|image| {
                    self.denial(&image.identity.digest).is_none()
                        && image.epoch >= self.floor
                        && self.active_image().is_none_or(|active| active.identity != image.identity)
                })
        };
        let version = |slot: &Slot| self.image(*slot).map(|image| image.version.clone());
        Slot::PATCHED.into_iter().filter(fit).max_by_key(version)
    }

    /// The slot that is worth a switch nobody named: [`ready`](Self::ready), off trial, newer than what is in use,
    /// and not the one that was in use before.
    pub fn waiting(&self) -> Option<Slot> {
        let version = |slot: Slot| self.image(slot).map(|image| &image.version);
        let news = |slot: &Slot| Some(*slot) != self.previous && version(*slot) > version(self.active);
        self.ready().filter(news).filter(|_| self.trial.is_none())
    }

    /// Where a fall back goes: the previous slot if it still holds an image that is not denied, else the base. A
    /// component without a base may have none; on trial it has.
    pub fn way_back(&self) -> Option<Slot> {
        let leaving = self.active_image().map(|image| image.identity.digest);
        let usable = |slot: &Slot| {
            self.image(*slot).is_some_and(|image| {
                let digest = image.identity.digest;
                Some(digest) != leaving && self.denial(&digest).is_none()
            })
        };
        let base = Some(Slot::Base).filter(|base| self.image(*base).is_some());
        self.previous.filter(usable).or(base)
    }
}

impl SealedImage {
    /// The version and the first digits of the digest, for a person.
    pub fn name(&self) -> String {
        format!("{} [{}]", self.version, self.identity.digest.short())
    }
}

impl Slot {
    /// Every slot.
    pub const ALL: [Self; 3] = [Self::Base, Self::A, Self::B];
    /// The slots that patches are staged into.
    pub const PATCHED: [Self; 2] = [Self::A, Self::B];

    /// The slot's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::A => "a",
            Self::B => "b",
        }
    }
}

/// The other of the two slots that patches are staged into; of the base, `a`.
impl std::ops::Not for Slot {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::Base | Self::B => Self::A,
            Self::A => Self::B,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Slot {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = |slot: &Self| slot.name() == text;
        Self::ALL.into_iter().find(named).ok_or_else(|| format!("a slot is base, a or b; got {text:?}"))
    }
}

/// Seconds since 1970 as a person reads them: `2026-03-01 09:05 UTC`.
///
/// ```
/// assert_eq!(siding_slot::date(1_772_355_900), "2026-03-01 09:05 UTC");
/// ```
pub fn date(seconds: u64) -> String {
    let (days, minutes) = (seconds / 86_400, seconds % 86_400 / 60);
    // Years are counted from 1 March of the year 0, so that a leap day is a year's last day.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02} {:02}:{:02} UTC", era * 400 + year + carry, minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_read_as_date_prints_them() {
        let known = [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (951_868_800, "2000-03-01 00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00 UTC"),
        ];
        for (seconds, text) in known {
            assert_eq!(date(seconds), text);
        }
        assert!(!date(u64::MAX).is_empty());
    }

    #[test]
    fn slots_print_and_parse() {
        for slot in Slot::ALL {
            assert_eq!(slot.to_string().parse::<Slot>(), Ok(slot));
        }
        assert!("c".parse::<Slot>().is_err());
        assert_eq!(!Slot::A, Slot::B);
    }
}
