//! Spans of time and waves as people write them.

use crate::Wave;
use std::fmt;
use std::str::FromStr;

/// A span of time: `90s`, `30m`, `12h`, `7d`, `2w`; whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub u64);

/// A wave as people write it: `1% at once`, `10% after 1d`, `100% at 2027-01-31T12:00:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaveText {
    percent: u8,
    from: From,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    After(Span),
    At(u64),
}

const UNITS: [(&str, u64); 5] = [("w", 7 * 86_400), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
/// Longer than anybody plans ahead, and short enough that no sum of two overflows.
const LONGEST: u64 = 100 * 366 * 86_400;

impl WaveText {
    /// The wave, for a release that begins at `start`, in seconds since 1970.
    pub fn starting(self, start: u64) -> Wave {
        let at = match self.from {
            From::After(Span(seconds)) => start.saturating_add(seconds),
            From::At(at) => at,
        };
        Wave { at, percent: self.percent }
    }
}

/// A date (`2027-01-31`, midnight UTC) or a time as in RFC 3339, as seconds since 1970.
pub(crate) fn moment(text: &str) -> Result<u64, String> {
    let bad = || format!("expected a date such as 2027-01-31 or 2027-01-31T12:00:00Z, got {text:?}");
    let moment = text.parse::<jiff::Timestamp>().or_else(|_| {
        let date: jiff::civil::Date = text.parse()?;
        Ok::<_, jiff::Error>(date.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp())
    });
    u64::try_from(moment.map_err(|_| bad())?.as_second()).map_err(|_| bad())
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("expected a span of time such as 90s, 30m, 12h, 7d or 2w, got {text:?}");
        let (name, unit) = UNITS.iter().find(|(name, _)| text.ends_with(name)).ok_or_else(bad)?;
        let number: u64 = text.strip_suffix(name).and_then(|digits| digits.parse().ok()).ok_or_else(bad)?;
        let seconds = number.checked_mul(*unit).filter(|seconds| *seconds <= LONGEST).ok_or_else(bad)?;
        Ok(Self(seconds))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS.iter().find(|(_, unit)| self.0 > 0 && self.0.is_multiple_of(*unit));
        let (name, unit) = whole.unwrap_or(&("s", 1));
        f.pad(&format!("{}{name}", self.0 / unit))
    }
}

impl FromStr for WaveText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "a wave reads like \"1% at once\", \"10% after 1d\" or \"100% at 2027-01-31T12:00:00Z\"; \
                 got {text:?}"
            )
        };
        let (percent, from) = text.split_once('%').ok_or_else(bad)?;
        let percent = percent.trim().parse().ok().filter(|percent| *percent <= 100).ok_or_else(bad)?;
        let from = match from.trim() {
            "at once" => From::After(Span(0)),
            from => match from.split_once(' ').ok_or_else(bad)? {
                ("after", span) => From::After(span.trim().parse()?),
                ("at", at) => From::At(moment(at.trim())?),
                _ => return Err(bad()),
            },
        };
        Ok(Self { percent, from })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waves_are_read_as_people_write_them() {
        let wave = |text: &str| text.parse::<WaveText>().map(|wave| wave.starting(1_000));
        assert_eq!(wave("1% at once"), Ok(Wave { at: 1_000, percent: 1 }));
        assert_eq!(wave("10% after 1d"), Ok(Wave { at: 87_400, percent: 10 }));
        assert_eq!(wave("100 % at 1970-01-02"), Ok(Wave { at: 86_400, percent: 100 }));
        for bad in
            ["", "1%", "101% at once", "-1% at once", "1% after", "1% after 1", "1% on 1d", "1 at once"]
        {
            assert!(wave(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn spans_survive() {
        for text in ["0s", "90s", "30m", "36h", "1d", "2w", "365d"] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.to_string().parse::<Span>(), Ok(span), "{text}");
        }
        for bad in ["", "d", "1", "1y", "-1d", "99999999999d", "18446744073709551615w", "1.5d"] {
            assert!(bad.parse::<Span>().is_err(), "{bad:?}");
        }
    }
}
