//! The clock, and times on the command line.

#[cfg(feature = "make")]
use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970 by the system's clock; 0 if it stands before that.
///
/// For tests and simulations SIDING_NOW says it instead, in seconds since 1970. Who can set a process' environment can
/// have it do anything anyway.
pub(crate) fn now() -> u64 {
    let said = std::env::var("SIDING_NOW").ok().and_then(|said| said.parse().ok());
    said.unwrap_or_else(system)
}

fn system() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// How many minutes local time is ahead of UTC then.
pub(crate) fn offset(at: u64) -> i32 {
    let moment = i64::try_from(at).ok().and_then(|at| Timestamp::from_second(at).ok()).unwrap_or_default();
    TimeZone::system().to_offset(moment).seconds() / 60
}

/// A date (`2027-01-31`, midnight UTC) or a time as in RFC 3339, as seconds since 1970.
#[cfg(feature = "make")]
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let bad = || format!("expected a date such as 2027-01-31 or 2027-01-31T12:00:00Z, got {text:?}");
    let moment = match text.parse::<Timestamp>() {
        Ok(moment) => moment,
        Err(_) => {
            let date: Date = text.parse().map_err(|_| bad())?;
            date.to_zoned(TimeZone::UTC).map_err(|_| bad())?.timestamp()
        }
    };
    u64::try_from(moment.as_second()).map_err(|_| bad())
}

/// As [`parse`], or plain seconds, as SOURCE_DATE_EPOCH has them.
#[cfg(feature = "make")]
pub(crate) fn parse_created(text: &str) -> Result<u64, String> {
    text.parse().or_else(|_| parse(text))
}

/// The day of that moment in UTC, as `2027-01-31`.
#[cfg(feature = "make")]
pub(crate) fn date(at: u64) -> Result<String, String> {
    let moment = i64::try_from(at).ok().and_then(|at| Timestamp::from_second(at).ok());
    let moment = moment.ok_or_else(|| format!("expected a date before the year 10000, got {at} seconds"))?;
    Ok(moment.to_zoned(TimeZone::UTC).date().to_string())
}

#[cfg(all(test, feature = "make"))]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_parse() {
        assert_eq!(parse("1970-01-02"), Ok(86_400));
        assert_eq!(parse("1970-01-01T01:00:00+01:00"), Ok(0));
        assert_eq!(parse_created("1700000000"), Ok(1_700_000_000));
        assert_eq!(date(1_700_000_000), Ok("2023-11-14".to_owned()));
        assert!(date(u64::MAX).is_err());
        assert!(parse("tomorrow").is_err());
        assert!(parse("1960-01-01").is_err());
    }
}
