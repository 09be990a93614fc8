//! How values are written: sizes, spans of time, windows.

use std::fmt;
use std::str::FromStr;

/// A part of each day, in local time: `02:00-05:00`. It may go past midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its first minute of the day.
    from: u32,
    /// The first minute after it.
    to: u32,
}

const DAY: u32 = 24 * 60;

impl Window {
    /// From 2 to 5 in the morning.
    pub const NIGHT: Self = Self { from: 2 * 60, to: 5 * 60 };

    /// Whether it is open at `now` where the clock is `offset` minutes ahead of UTC.
    pub fn is_open(&self, now: u64, offset: i32) -> bool {
        let minute = minute_of_day(now, offset);
        let since = (minute + DAY - self.from) % DAY;
        since < (self.to + DAY - self.from) % DAY
    }

    /// When it opens next; `now` if it is open.
    pub fn opens(&self, now: u64, offset: i32) -> u64 {
        if self.is_open(now, offset) {
            return now;
        }
        let wait = (self.from + DAY - minute_of_day(now, offset)) % DAY;
        (now - now % 60).saturating_add(u64::from(wait) * 60)
    }
}

fn minute_of_day(now: u64, offset: i32) -> u32 {
    let minute = i64::try_from(now / 60 % u64::from(DAY)).unwrap_or(0) + i64::from(offset);
    u32::try_from(minute.rem_euclid(i64::from(DAY))).unwrap_or(0)
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("a window reads like 02:00-05:00, got {text:?}");
        let minute = |text: &str| {
            let (hour, minute) = text.split_once(':')?;
            let (hour, minute): (u32, u32) = (digits(hour)?, digits(minute)?);
            (hour < 24 && minute < 60).then_some(hour * 60 + minute)
        };
        let (from, to) = text.split_once('-').ok_or_else(wrong)?;
        let (from, to) = (minute(from).ok_or_else(wrong)?, minute(to).ok_or_else(wrong)?);
        if from == to {
            return Err(format!("a window ends at another time than it begins, got {text:?}"));
        }
        Ok(Self { from, to })
    }
}

fn digits(text: &str) -> Option<u32> {
    (text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// `32M` as bytes; K, M and G are powers of 1024.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let units = [("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30)];
    scaled(text, &units, 1).ok_or_else(|| format!("a number of bytes such as 32M was expected, got {text:?}"))
}

/// `6h` as seconds; s, m, h and d.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
    scaled(text, &units, 1).ok_or_else(|| format!("a span of time such as 6h was expected, got {text:?}"))
}

pub(super) fn show_bytes(bytes: u64) -> String {
    shown(bytes, &[("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)], "")
}

pub(super) fn show_seconds(seconds: u64) -> String {
    shown(seconds, &[("d", 86_400), ("h", 3_600), ("m", 60)], "s")
}

fn scaled(text: &str, units: &[(&str, u64)], plain: u64) -> Option<u64> {
    let unit = units.iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, *scale)));
    let (number, scale) = unit.unwrap_or((text, plain));
    let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse::<u64>().ok().filter(|_| plain)?.checked_mul(scale)
}

fn shown(value: u64, units: &[(&str, u64)], plain: &str) -> String {
    let unit = units.iter().find(|(_, scale)| value > 0 && value.is_multiple_of(*scale));
    unit.map_or_else(|| format!("{value}{plain}"), |(unit, scale)| format!("{}{unit}", value / scale))
}
