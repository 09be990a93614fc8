//! What a server's answer means, and whether it is the answer to what was asked.

use super::{Get, text};
use crate::error::{Error, Place};
use ureq::http::{HeaderMap, header};

/// An answer that can be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Bytes follow, after so many that were not asked for.
    Bytes {
        /// How many.
        skip: u64,
    },
    /// The file is said to be at this address.
    Elsewhere(String),
}

/// Reads status and headers.
pub(crate) fn read(at: &Place, status: u16, headers: &HeaderMap, get: Get) -> Result<Reply, Error> {
    let useless = |got: String| Err(Error::Status { at: at.clone(), got });
    match status {
        200 => {
            plain(at, headers)?;
            length(at, headers, 0, get)?;
            Ok(Reply::Bytes { skip: get.from })
        }
        206 if get.from > 0 => {
            plain(at, headers)?;
            range(at, headers, get)?;
            length(at, headers, get.from, get)?;
            Ok(Reply::Bytes { skip: 0 })
        }
        301 | 302 | 303 | 307 | 308 => match text(headers, &header::LOCATION) {
            Some(to) => Ok(Reply::Elsewhere(to.to_owned())),
            None => useless(format!("status {status} without an address")),
        },
        // Object stores that do not let their files be listed say 403 for what is not there.
        403 | 404 | 410 => Err(Error::NotFound { at: at.clone() }),
        206 | 416 => Err(Error::Range {
            at: at.clone(),
            expected: asked(get),
            got: format!("status {status}, {}", text(headers, &header::CONTENT_RANGE).unwrap_or("no range")),
        }),
        _ => useless(format!("status {status}")),
    }
}

fn plain(at: &Place, headers: &HeaderMap) -> Result<(), Error> {
    match text(headers, &header::CONTENT_ENCODING) {
        None | Some("identity") => Ok(()),
        Some(other) => Err(Error::Status {
            at: at.clone(),
            got: format!("content encoding {other}, where plain bytes were asked for"),
        }),
    }
}

/// The length announced, against the one that was signed, or that is allowed.
fn length(at: &Place, headers: &HeaderMap, from: u64, get: Get) -> Result<(), Error> {
    let Some(told) = text(headers, &header::CONTENT_LENGTH) else { return Ok(()) };
    let Ok(told) = told.parse::<u64>() else {
        return Err(Error::Status { at: at.clone(), got: format!("content length {told:?}") });
    };
    let got = told.saturating_add(from);
    match get.total {
        Some(expected) if got != expected => Err(Error::WrongLength { at: at.clone(), expected, got }),
        None if got > get.cap => Err(Error::TooLong { what: at.to_string(), limit: get.cap }),
        _ => Ok(()),
    }
}

/// `bytes FROM-LAST/TOTAL`, which must be what was asked for, to its end.
fn range(at: &Place, headers: &HeaderMap, get: Get) -> Result<(), Error> {
    let told = text(headers, &header::CONTENT_RANGE).unwrap_or("no range");
    let parsed = told.strip_prefix("bytes ").and_then(|rest| {
        let (span, total) = rest.trim().split_once('/')?;
        let (from, last) = span.split_once('-')?;
        let end = last.parse::<u64>().ok()?.checked_add(1)?;
        let total = if total == "*" { end } else { total.parse().ok()? };
        Some((from.parse::<u64>().ok()?, end, total))
    });
    let right = parsed.is_some_and(|(from, end, total)| {
        from == get.from && end == total && get.total.is_none_or(|expected| expected == total)
    });
    if right {
        return Ok(());
    }
    Err(Error::Range { at: at.clone(), expected: asked(get), got: told.to_owned() })
}

fn asked(get: Get) -> String {
    match get.total {
        Some(total) => format!("bytes {}-{}/{total}", get.from, total.saturating_sub(1)),
        None => format!("bytes from {} on", get.from),
    }
}
