//! Every setting there is: its name, its values, its default, and one sentence.

use super::words::{Window, bytes, seconds, show_bytes, show_seconds};
use siding_repo::DeviceId;
use std::path::PathBuf;
use std::str::FromStr;

/// The settings' values.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// Look for releases by itself.
    pub automatic_check: bool,
    /// Install them by itself.
    pub automatic_install: bool,
    /// Whether what is installed may be removed.
    pub removal: bool,
    /// When what was installed comes into use.
    pub restart: RestartWhen,
    /// When that may be, if it is to be in a window.
    pub window: Window,
    /// Below this charge, in percent and off mains, nothing is installed.
    pub minimum_battery: u8,
    /// How many seconds lie between two looks into the repository.
    pub check_every: u64,
    /// How many bytes a second a download takes at most.
    pub rate: Option<u64>,
    /// Which releases are for this device.
    pub channel: String,
    /// What this device is.
    pub product: Option<String>,
    /// Its name, if it is not to be made at random.
    pub device_id: Option<DeviceId>,
    /// How many restarts what is on trial gets; 0: no trial.
    pub trial_tries: u32,
    /// After so many seconds on trial it is left.
    pub trial_deadline: Option<u64>,
    /// Where the repository is, in the order they are tried.
    pub mirrors: Vec<String>,
    /// The file with the repository's first root of trust.
    pub root: PathBuf,
    /// The folder with the public keys whose signatures on patches count; the store's `trust` if not said.
    pub trust: Option<PathBuf>,
    /// How many of them must have signed.
    pub threshold: usize,
    /// How much private memory applying keeps to.
    pub memory: u64,
    /// Where the page is served; `None`: nowhere.
    pub page: Option<String>,
    /// Host names that the page also answers to: that of a proxy before it.
    pub page_names: Vec<String>,
    /// Whether the page shows only, and changes nothing.
    pub page_read_only: bool,
    /// A program that is told of changes.
    pub hook: Option<PathBuf>,
}

/// When what was installed comes into use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartWhen {
    /// At once.
    Now,
    /// In the window.
    Window,
    /// When the device is next started.
    Boot,
    /// When a person says so.
    Ask,
}

impl Default for Values {
    fn default() -> Self {
        Self {
            automatic_check: true,
            automatic_install: true,
            removal: true,
            restart: RestartWhen::Now,
            window: Window::NIGHT,
            minimum_battery: 10,
            check_every: 6 * 3_600,
            rate: None,
            channel: "stable".to_owned(),
            product: None,
            device_id: None,
            trial_tries: 3,
            trial_deadline: Some(3_600),
            mirrors: Vec::new(),
            root: "/etc/siding/root.json".into(),
            trust: None,
            threshold: 1,
            memory: siding_apply::MEMORY,
            page: None,
            page_names: Vec::new(),
            page_read_only: false,
            hook: None,
        }
    }
}

/// A setting.
pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) choices: &'static [&'static str],
    /// Whether `siding set` and the page may change it. What decides whom the device trusts and what it runs is said
    /// by files only.
    pub(super) settable: bool,
    pub(super) help: &'static str,
    pub(super) put: fn(&mut Values, &str) -> Result<(), String>,
    pub(super) show: fn(&Values) -> String,
}

pub(super) fn find(name: &str) -> Option<&'static Spec> {
    SETTINGS.iter().find(|spec| spec.name == name)
}

/// A row of the table: name, choices, whether `siding set` may, help, how it is read, how it is shown.
macro_rules! row {
    ($name:literal, $choices:expr, $settable:literal, $help:literal, $put:expr, $show:expr) => {
        Spec { name: $name, choices: $choices, settable: $settable, help: $help, put: $put, show: $show }
    };
}

const SWITCH: &[&str] = &["on", "off"];
const FREE: &[&str] = &[];

pub(super) static SETTINGS: &[Spec] = &[
    row!(
        "automatic-check",
        SWITCH,
        true,
        "Look for releases by itself.",
        |v, t| switch(t).map(|on| v.automatic_check = on),
        |v| shown(v.automatic_check)
    ),
    row!(
        "automatic-install",
        SWITCH,
        true,
        "Install them by itself; off: they are listed, to be installed by hand.",
        |v, t| switch(t).map(|on| v.automatic_install = on),
        |v| shown(v.automatic_install)
    ),
    row!(
        "removal",
        &["allowed", "forbidden"],
        true,
        "Whether what is installed may be removed.",
        |v, t| choice(t, [("allowed", true), ("forbidden", false)]).map(|may| v.removal = may),
        |v| if v.removal { "allowed" } else { "forbidden" }.to_owned()
    ),
    row!(
        "restart",
        &["now", "window", "boot", "ask"],
        true,
        "When what was installed comes into use.",
        |v, t| choice(t, RESTARTS).map(|when| v.restart = when),
        |v| v.restart.name().to_owned()
    ),
    row!(
        "window",
        FREE,
        true,
        "The part of the day for restarts, in local time, if restart is window.",
        |v, t| t.parse().map(|window| v.window = window),
        |v| v.window.to_string()
    ),
    row!(
        "minimum-battery",
        FREE,
        true,
        "The charge, in percent, below which nothing is installed off mains.",
        |v, t| number(t, 0, 100).map(|n| v.minimum_battery = n),
        |v| v.minimum_battery.to_string()
    ),
    row!(
        "check-every",
        FREE,
        true,
        "How long lies between two looks into the repository, 1m to 30d.",
        |v, t| between(seconds(t)?, 60, 30 * 86_400).map(|n| v.check_every = n),
        |v| show_seconds(v.check_every)
    ),
    row!(
        "rate",
        FREE,
        true,
        "How many bytes a second a download takes at most, such as 2M; none: as fast as it comes.",
        |v, t| optional(t, bytes).map(|rate| v.rate = rate.filter(|rate| *rate > 0)),
        |v| none_or(v.rate, show_bytes)
    ),
    row!(
        "channel",
        FREE,
        true,
        "Which releases are for this device.",
        |v, t| name(t).map(|channel| v.channel = channel),
        |v| v.channel.clone()
    ),
    row!(
        "product",
        FREE,
        false,
        "What this device is, for releases made for certain products.",
        |v, t| optional(t, name).map(|product| v.product = product),
        |v| none_or(v.product.clone(), |p| p)
    ),
    row!(
        "device-id",
        FREE,
        false,
        "What tells this device from others; none: made at random once.",
        |v, t| optional(t, DeviceId::from_str).map(|id| v.device_id = id),
        |v| none_or(v.device_id.clone(), |d| d.to_string())
    ),
    row!(
        "trial-tries",
        FREE,
        false,
        "How many restarts what is on trial gets; 0: no trial.",
        |v, t| number(t, 0, 1000).map(|n| v.trial_tries = n),
        |v| v.trial_tries.to_string()
    ),
    row!(
        "trial-deadline",
        FREE,
        false,
        "After so long on trial it is left; none: only tries count.",
        |v, t| optional(t, seconds).map(|n| v.trial_deadline = n),
        |v| none_or(v.trial_deadline, show_seconds)
    ),
    row!(
        "mirrors",
        FREE,
        false,
        "Where the repository is, in the order they are tried.",
        |v, t| {
            v.mirrors = t.split_whitespace().map(str::to_owned).collect();
            Ok(())
        },
        |v| v.mirrors.join(" ")
    ),
    row!(
        "root",
        FREE,
        false,
        "The file with the repository's first root of trust.",
        |v, t| path(t).map(|path| v.root = path),
        |v| v.root.display().to_string()
    ),
    row!(
        "trust",
        FREE,
        false,
        "The folder with the public keys whose signatures on patches count; none: the store's `trust`.",
        |v, t| optional(t, path).map(|path| v.trust = path),
        |v| none_or(v.trust.clone(), |p| p.display().to_string())
    ),
    row!(
        "threshold",
        FREE,
        false,
        "How many of these keys must have signed a patch.",
        |v, t| number(t, 1, 64).map(|n| v.threshold = n),
        |v| v.threshold.to_string()
    ),
    row!(
        "memory",
        FREE,
        false,
        "How much private memory applying keeps to, such as 32M.",
        |v, t| between(bytes(t)?, 1 << 20, 1 << 40).map(|n| v.memory = n),
        |v| show_bytes(v.memory)
    ),
    row!(
        "page",
        FREE,
        false,
        "Where the page is served: 127.0.0.1:PORT, or unix:/PATH with ,mode=660 or another mode; none: nowhere.",
        |v, t| optional(t, place).map(|place| v.page = place),
        |v| none_or(v.page.clone(), |p| p)
    ),
    row!(
        "page-names",
        FREE,
        false,
        "Host names that the page also answers to, such as that of a proxy before it.",
        |v, t| {
            v.page_names = t.split_whitespace().map(str::to_owned).collect();
            Ok(())
        },
        |v| v.page_names.join(" ")
    ),
    row!(
        "page-read-only",
        SWITCH,
        false,
        "On: the page shows everything and changes nothing.",
        |v, t| switch(t).map(|on| v.page_read_only = on),
        |v| shown(v.page_read_only)
    ),
    row!(
        "hook",
        FREE,
        false,
        "A program that is run after each change, with what changed in its environment.",
        |v, t| optional(t, path).map(|path| v.hook = path),
        |v| none_or(v.hook.clone(), |p| p.display().to_string())
    ),
];

const RESTARTS: [(&str, RestartWhen); 4] = [
    ("now", RestartWhen::Now),
    ("window", RestartWhen::Window),
    ("boot", RestartWhen::Boot),
    ("ask", RestartWhen::Ask),
];

impl RestartWhen {
    /// As settings have it.
    pub fn name(self) -> &'static str {
        RESTARTS.iter().find(|(_, when)| *when == self).map_or("", |(name, _)| name)
    }
}

fn switch(text: &str) -> Result<bool, String> {
    choice(text, [("on", true), ("off", false)])
}

fn shown(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}

fn choice<T: Copy, const N: usize>(text: &str, choices: [(&str, T); N]) -> Result<T, String> {
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    found.ok_or_else(|| format!("{} was expected, got {text:?}", names.join(", ")))
}

fn number<T: TryFrom<u64>>(text: &str, least: u64, most: u64) -> Result<T, String> {
    let wrong = || format!("a number from {least} to {most} was expected, got {text:?}");
    let number = text.parse().ok().filter(|number| (least..=most).contains(number)).ok_or_else(wrong)?;
    T::try_from(number).map_err(|_| wrong())
}

fn between(value: u64, least: u64, most: u64) -> Result<u64, String> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(format!("{value} is not from {least} to {most}"))
    }
}

fn optional<T>(text: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if text == "none" { Ok(None) } else { read(text).map(Some) }
}

fn none_or<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "none".to_owned(), show)
}

fn name(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    let wrong = || format!("letters, digits, '.', '_', '-' were expected, at most 100, got {text:?}");
    (starts_well && text.len() <= 100 && text.chars().all(good)).then(|| text.to_owned()).ok_or_else(wrong)
}

fn path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(format!("a path from the root on was expected, got {text:?}"))
    }
}

/// The page is for this device alone: a loopback address or a socket in the file system.
fn place(text: &str) -> Result<String, String> {
    let (path, mode) = text.split_once(",mode=").unwrap_or((text, "660"));
    let is_mode = u32::from_str_radix(mode, 8).is_ok_and(|mode| mode <= 0o777);
    let here = path.strip_prefix("unix:").is_some_and(|path| path.starts_with('/')) && is_mode;
    let loopback = text.parse::<std::net::SocketAddr>().is_ok_and(|at| at.ip().is_loopback());
    let wrong = || format!("127.0.0.1:PORT, [::1]:PORT or unix:/PATH[,mode=660] was expected, got {text:?}");
    (here || loopback).then(|| text.to_owned()).ok_or_else(wrong)
}
