//! Times, sizes and numbers as people read them.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{Markup, html};

/// What a time is told against.
#[derive(Clone)]
pub(crate) struct Clock {
    /// Now, in seconds since 1970.
    pub(crate) now: u64,
    /// Where the reader is.
    pub(crate) zone: TimeZone,
}

impl Clock {
    /// `3 hours ago · 17 Mar 2026, 14:03`: both, because the one is quick to grasp and the other is sure.
    pub(crate) fn both(&self, at: u64) -> Markup {
        html! {
            time datetime=(machine(at)) { (self.relative(at)) }
            " " span.exact { (self.exact(at)) }
        }
    }

    /// `17 Mar 2026, 14:03`, in the reader's zone.
    pub(crate) fn exact(&self, at: u64) -> String {
        stamp(at).map_or_else(
            || format!("second {at}"),
            |stamp| stamp.to_zoned(self.zone.clone()).strftime("%-d %b %Y, %H:%M").to_string(),
        )
    }

    /// The zone that exact times are in: `UTC`, `CET`, `+05:30`.
    pub(crate) fn zone_name(&self) -> String {
        let now = stamp(self.now).unwrap_or(Timestamp::UNIX_EPOCH);
        now.to_zoned(self.zone.clone()).strftime("%Z").to_string()
    }

    /// `3 hours ago`, `in 2 days`, `just now`.
    pub(crate) fn relative(&self, at: u64) -> String {
        let apart = self.now.abs_diff(at);
        let (count, unit) = match apart {
            0..45 => return if at > self.now { "in a moment" } else { "just now" }.to_owned(),
            45..3_570 => ((apart + 30) / 60, "minute"),
            3_570..129_600 => ((apart + 1_800) / 3_600, "hour"),
            129_600..5_184_000 => ((apart + 43_200) / 86_400, "day"),
            5_184_000..63_072_000 => (apart / 2_629_800, "month"),
            _ => (apart / 31_557_600, "year"),
        };
        let count = count.max(1);
        let some = plural(count, unit);
        if at > self.now { format!("in {some}") } else { format!("{some} ago") }
    }
}

/// For programs: `2026-03-17T14:03:00Z`.
pub(crate) fn machine(at: u64) -> String {
    stamp(at).map_or_else(String::new, |stamp| stamp.to_string())
}

fn stamp(at: u64) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(at).ok()?).ok()
}

/// `1 fix`, `3 fixes`.
pub(crate) fn plural(count: u64, unit: &str) -> String {
    let end = match (count, unit) {
        (1, _) => "",
        (_, unit) if unit.ends_with('x') => "es",
        (_, unit) if unit.ends_with("ry") => return format!("{count} {}ies", unit.trim_end_matches('y')),
        _ => "s",
    };
    format!("{count} {unit}{end}")
}

/// `512 bytes`, `24.8 KB`, `3.1 MB`: thousands, as drives and networks count.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KB", "MB", "GB", "TB", "PB"];
    if count < 1_000 {
        return plural(count, "byte");
    }
    let mut unit = "EB";
    let mut tenths = count / 100;
    for candidate in UNITS {
        if tenths < 10_000 {
            unit = candidate;
            break;
        }
        tenths /= 1_000;
    }
    match (tenths / 10, tenths % 10) {
        (whole, _) if whole >= 100 => format!("{whole} {unit}"),
        (whole, tenth) => format!("{whole}.{tenth} {unit}"),
    }
}

/// `4 s`, `2 min`, `1 h 5 min`.
pub(crate) fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// `automatic-install` as `Automatic install`.
pub(crate) fn title(name: &str) -> String {
    let words = name.replace(['-', '_'], " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> Clock {
        Clock { now: 1_790_000_000, zone: TimeZone::UTC }
    }

    #[test]
    fn times_are_told_from_now() {
        let told = |seconds: i64| clock().relative(clock().now.saturating_add_signed(seconds));
        let expected = [
            (0, "just now"),
            (10, "in a moment"),
            (-50, "1 minute ago"),
            (-3_000, "50 minutes ago"),
            (-3_600, "1 hour ago"),
            (-7_200, "2 hours ago"),
            (86_400 * 2, "in 2 days"),
            (-86_400 * 90, "2 months ago"),
            (-86_400 * 800, "2 years ago"),
        ];
        for (seconds, words) in expected {
            assert_eq!(told(seconds), words, "{seconds}");
        }
    }

    #[test]
    fn times_are_told_exactly_and_no_number_is_too_large() {
        assert_eq!(clock().exact(1_790_000_000), "21 Sep 2026, 14:13");
        assert_eq!(machine(1_790_000_000), "2026-09-21T14:13:20Z");
        assert_eq!(clock().exact(u64::MAX), format!("second {}", u64::MAX));
        assert_eq!(machine(u64::MAX), "");
        assert_eq!(clock().zone_name(), "UTC");
        assert!(!clock().relative(u64::MAX).is_empty());
    }

    #[test]
    fn sizes_have_three_digits() {
        let expected = [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (24_848, "24.8 KB"),
            (999_999, "999 KB"),
            (1_000_000, "1.0 MB"),
            (47_123_456, "47.1 MB"),
            (u64::MAX, "18.4 EB"),
        ];
        for (count, words) in expected {
            assert_eq!(bytes(count), words);
        }
    }

    #[test]
    fn words_are_english() {
        assert_eq!(plural(1, "fix"), "1 fix");
        assert_eq!(plural(2, "fix"), "2 fixes");
        assert_eq!(plural(2, "try"), "2 tries");
        assert_eq!(plural(0, "byte"), "0 bytes");
        assert_eq!(title("automatic-install"), "Automatic install");
        assert_eq!(title(""), "");
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(3_900), "1 h 5 min");
    }
}
