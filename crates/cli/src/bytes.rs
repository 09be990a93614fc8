//! Sizes and rates as people read them.

/// `2,724 B`, `38.5 KB`, `3.8 MB`: decimal units; exact below 10,000 bytes.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KB", "MB", "GB", "TB", "PB"];
    if bytes < 10_000 {
        return format!("{} B", thousands(bytes));
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A number of bytes as written on a command line: `8388608`, `8M`, `16MiB`, `1G`; units of 1024.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is no number of bytes; write it like 8388608, 512K, 16M or 1G");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        _ => return Err(bad()),
    };
    let number: u64 = number.parse().map_err(|_| bad())?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0).ok_or_else(bad)
}

/// A number of bytes rounded up to one that [`parse`] takes: `8388608` is `8M`, one more `9M`.
pub(crate) fn at_least(bytes: u64) -> String {
    format!("{}M", bytes.div_ceil(1 << 20))
}

/// `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 chunk`, `2 chunks`.
pub(crate) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A part of a whole in percent.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "–".into() } else { format!("{:.1} %", 100.0 * part as f64 / whole as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        let known = [("1", 1), ("8388608", 8 << 20), ("8M", 8 << 20), ("16MiB", 16 << 20), ("2G", 2 << 30)];
        for (text, bytes) in known {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for bad in
            ["", "M", "0", "-1", "8 M", "8MB", "iB", "8MiBiB", "1.5G", "99999999999G", "18446744073709551616"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_said_to_suffice_does() {
        for bytes in [1, 8 << 20, (8 << 20) + 1, 8_220_843, siding_apply::MEMORY] {
            assert!(parse(&at_least(bytes)).unwrap() >= bytes, "{bytes}");
        }
        assert_eq!(at_least(siding_apply::MEMORY), "32M", "the default of --memory");
    }

    #[test]
    fn sizes_read_well() {
        let known =
            [(0, "0 B"), (9_999, "9,999 B"), (10_000, "10.0 KB"), (999_949, "999.9 KB"), (999_951, "1.0 MB")];
        for (bytes, text) in known {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(size(u64::MAX), "18446.7 PB");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(count(1, "chunk") + &count(0, " cover"), "1 chunk0  covers");
        assert_eq!(percent(1, 8), "12.5 %");
        assert_eq!(percent(1, 0), "–");
    }
}
