//! What a device shows of itself: one picture for the page, the command line, other programs and metrics.
//!
//! Plain values. Everything that is text for people is harmless in a terminal, but not yet escaped for HTML.

use serde::Serialize;
/// The word in [`View::restart_pending`] for the device itself.
pub use siding_slot::REBOOT;

/// The device as a person sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct View {
    /// When the picture was taken, in seconds since 1970.
    pub now: u64,
    /// The device's name, and what product it is, if it says so.
    pub device: String,
    /// The product, if it is known.
    pub product: Option<String>,
    /// What is installed, by component.
    pub components: Vec<Installed>,
    /// Every release that concerns this device, newest first: what may be installed, what will be, and what will not.
    pub offers: Vec<Offer>,
    /// What the administrator or the user has set.
    pub settings: Vec<Setting>,
    /// What is being done now, if anything.
    pub activity: Option<Activity>,
    /// What was looked for last.
    pub check: Check,
    /// What must restart for what is installed to be in use; empty if nothing.
    pub restart_pending: Vec<String>,
    /// What happened, newest first, at most a few hundred.
    pub history: Vec<Happened>,
    /// What all installs together took, if somebody keeps count.
    pub totals: Option<Totals>,
}

/// What all installs together took, since the store was made. None of these ever goes down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Bytes of the patches and images that were installed.
    pub fetched_bytes: u64,
    /// Bytes that full images instead of patches would have been.
    pub full_bytes: u64,
    /// Installs that ended in a sealed slot.
    pub installs: u64,
    /// How long these took, from the first byte fetched to the seal, in milliseconds.
    pub install_ms: u64,
    /// Installs that failed.
    pub failures: u64,
    /// Times that something was rolled back.
    pub rollbacks: u64,
}

/// A component, and what is installed of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Installed {
    /// Its name.
    pub component: String,
    /// The version in use, such as `26.3.1 (a)`.
    pub version: String,
    /// The version it came with, which removing goes back to; none for a device without a base.
    pub base: Option<String>,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// What it repairs: names such as `CVE-2026-0001`.
    pub advisories: Vec<String>,
    /// Tries left and the deadline, while it is on trial.
    pub trial: Option<Trial>,
    /// Whether it can be removed now.
    pub can_remove: bool,
    /// Why it was left last, if it was rolled back and nothing newer has been confirmed since.
    pub last_rollback: Option<RolledBack>,
}

/// On trial.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// How many more starts it gets.
    pub tries_left: u32,
    /// Until when it must be confirmed, in seconds since 1970.
    pub deadline: Option<u64>,
}

/// A version that did not work.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RolledBack {
    /// Which.
    pub version: String,
    /// Why.
    pub reason: String,
    /// When, in seconds since 1970.
    pub at: u64,
}

/// A release, and what becomes of it here.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Offer {
    /// Its name, such as `2026-11-webkit`.
    pub id: String,
    /// One line.
    pub title: String,
    /// A few sentences; may be empty.
    pub text: String,
    /// `none` to `critical`.
    pub severity: String,
    /// What it repairs.
    pub advisories: Vec<String>,
    /// When it was published, in seconds since 1970.
    pub published: u64,
    /// What it changes here: component, version now, version then.
    pub changes: Vec<Change>,
    /// How many bytes there are to fetch.
    pub bytes: u64,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Why, for programs: a stable word such as `wave-not-reached`.
    pub code: String,
    /// Why, for people: one sentence.
    pub reason: String,
    /// From when on it will be installed by itself, if that is known.
    pub when: Option<u64>,
    /// Whether `siding install ID` would install it now.
    pub can_install: bool,
}

/// What an offer changes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The component.
    pub component: String,
    /// The version in use.
    pub from: String,
    /// The version offered.
    pub to: String,
}

/// What becomes of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is in use.
    Installed,
    /// It lies ready and needs a restart.
    Staged,
    /// It will be installed by itself: now, or when its time comes.
    Installing,
    /// It may be installed by hand and will not be by itself.
    Available,
    /// It cannot be installed as things are.
    Blocked,
    /// It does not concern this device, or something newer replaces it.
    NotForThis,
}

/// A switch or a value that can be set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// Its name, such as `automatic-install`.
    pub name: String,
    /// Its value, as `siding set` takes it.
    pub value: String,
    /// The values it can have; empty if it is free text.
    pub choices: Vec<String>,
    /// Which file says so.
    pub from: String,
    /// Whether the administrator has locked it.
    pub locked: bool,
    /// One sentence.
    pub help: String,
}

/// Something being done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Activity {
    /// `checking`, `downloading`, `applying`, `sealing`, `restarting`.
    pub what: String,
    /// Of which release.
    pub release: Option<String>,
    /// Of which component.
    pub component: Option<String>,
    /// Bytes done and in all, if known.
    pub done: u64,
    /// Bytes in all; 0 if unknown.
    pub total: u64,
    /// Since when, in seconds since 1970.
    pub since: u64,
}

/// The last look into the repository.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Check {
    /// When it was tried last, in seconds since 1970; `None`: never.
    pub tried: Option<u64>,
    /// When it last succeeded.
    pub succeeded: Option<u64>,
    /// What went wrong the last time, if it did.
    pub error: Option<String>,
    /// When it will be tried next, if it is known.
    pub next: Option<u64>,
}

/// A line of the history.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Happened {
    /// When, in seconds since 1970.
    pub at: u64,
    /// What, for programs: `install`, `switch`, `confirm`, `rollback`, `fall-back`, `remove`, `decide`, `check`, …
    pub what: String,
    /// Which component, if one.
    pub component: Option<String>,
    /// One sentence.
    pub text: String,
    /// Why, if there is a reason.
    pub reason: Option<String>,
    /// The reason for programs, if it was a decision.
    pub code: Option<String>,
}

/// What a person may ask for on the page; the same verbs as on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Look into the repository now.
    Check,
    /// Install a release by hand.
    Install(String),
    /// Go back to the base, of this component or of all.
    Remove(Option<String>),
    /// Restart what must restart.
    Restart,
    /// Change a setting.
    Set(String, String),
}

/// What stands behind a page: takes a picture, and does what is asked. Both may take a while, and neither blocks the
/// other.
pub trait Device: Send + Sync {
    /// A picture of now.
    fn view(&self) -> View;

    /// Does it, or says in one sentence why not. Once `Ok`, what was asked is done or durably noted to be done.
    fn ask(&self, ask: Ask) -> Result<String, String>;
}
