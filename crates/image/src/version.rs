//! Versions: a base such as `26.3.1`, or a supplement of one such as `26.3.1 (a)`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A component's version: a base, or a lettered supplement of a base.
///
/// Bases order as Debian orders versions (deb-version(7)): runs of digits by value, other runs by letter,
/// `~` before everything, so `1.0~rc1 < 1.0 < 1.0.1 < 1.10`. A supplement comes after its base and before
/// every later base; supplements order `a … z, aa, ab …`.
///
/// ```
/// use siding_image::Version;
/// let v = |s: &str| s.parse::<Version>().unwrap();
/// assert!(v("26.3.1") < v("26.3.1 (a)"));
/// assert!(v("26.3.1 (z)") < v("26.3.1 (aa)"));
/// assert!(v("26.3.1 (aa)") < v("26.3.2"));
/// assert_eq!(v("26.3.1 (a)").base(), v("26.3.1"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    base: String,
    supplement: String,
}

/// The longest base accepted, in bytes.
const MAX_BASE: usize = 128;
/// The longest supplement accepted, in letters.
const MAX_SUPPLEMENT: usize = 4;

impl Version {
    /// The base this version is or supplements.
    #[must_use]
    pub fn base(&self) -> Self {
        Self { base: self.base.clone(), supplement: String::new() }
    }

    /// Whether this is a supplement, `26.3.1 (a)`, and not a base, `26.3.1`.
    pub fn is_supplement(&self) -> bool {
        !self.supplement.is_empty()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.supplement.is_empty() {
            return f.pad(&self.base);
        }
        f.pad(&format!("{} ({})", self.base, self.supplement))
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |why: &str| format!("a version reads like 26.3.1 or \"26.3.1 (a)\"; {why} in {text:?}");
        let (base, supplement) = match text.split_once(' ') {
            None => (text, ""),
            Some((base, rest)) => {
                let letters = rest.strip_prefix('(').and_then(|r| r.strip_suffix(')'));
                (base, letters.ok_or_else(|| bad("no (letter)"))?)
            }
        };
        let letters_wanted = base.len() != text.len();
        let letters_good = supplement.bytes().all(|b| b.is_ascii_lowercase())
            && supplement.len() <= MAX_SUPPLEMENT
            && supplement.is_empty() != letters_wanted;
        if !letters_good {
            return Err(bad("a supplement is 1 to 4 lower-case letters"));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".+:~_-".contains(c);
        if base.is_empty() || base.len() > MAX_BASE || !base.chars().all(allowed) {
            return Err(bad("the base is 1 to 128 of letters, digits and . + : ~ _ -"));
        }
        Ok(Self { base: base.to_owned(), supplement: supplement.to_owned() })
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_bases(&self.base, &other.base)
            .then_with(|| self.supplement.len().cmp(&other.supplement.len()))
            .then_with(|| self.supplement.cmp(&other.supplement))
            // Bases may be equal in value yet not in text (`1.0` and `1.00`); keep Ord and Eq agreed.
            .then_with(|| self.base.cmp(&other.base))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// deb-version(7): alternate runs of non-digits and digits, compared until one decides.
fn compare_bases(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (text_a, rest_a) = split_run(a, |c| !c.is_ascii_digit());
        let (text_b, rest_b) = split_run(b, |c| !c.is_ascii_digit());
        let (number_a, after_a) = split_run(rest_a, |c| c.is_ascii_digit());
        let (number_b, after_b) = split_run(rest_b, |c| c.is_ascii_digit());
        let order = compare_text(text_a, text_b).then_with(|| compare_numbers(number_a, number_b));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (after_a, after_b);
    }
    Ordering::Equal
}

fn split_run(text: &str, member: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !member(c)).unwrap_or(text.len()))
}

/// Letters before other characters, `~` before the end of the run.
fn compare_text(a: &str, b: &str) -> Ordering {
    let rank = |byte: Option<u8>| match byte {
        Some(b'~') => (0, 0),
        None => (1, 0),
        Some(b) if b.is_ascii_alphabetic() => (2, b),
        Some(b) => (3, b),
    };
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let longest = a.len().max(b.len());
    (0..longest)
        .map(|i| rank(a.get(i).copied()).cmp(&rank(b.get(i).copied())))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// By value, of any length: without leading zeros the longer is the larger.
fn compare_numbers(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn one_list_in_order() {
        let list = [
            "1.0~rc1",
            "1.0",
            "1.0 (a)",
            "1.0 (b)",
            "1.0 (z)",
            "1.0 (aa)",
            "1.0-1",
            "1.0.1",
            "1.2",
            "1.10",
            "26.3.1",
            "26.3.1 (a)",
            "26.3.2",
        ];
        for pair in list.windows(2) {
            assert!(v(pair[0]) < v(pair[1]), "{} < {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn debian_revisions_order() {
        assert!(v("3.0.20-1~deb12u2") < v("3.0.20-1"));
        assert!(v("9.18.49-1~deb12u1") < v("9.18.49-1~deb12u3"));
    }

    #[test]
    fn odd_versions_are_refused() {
        for bad in ["", " ", "1 ", "1 ()", "1 (A)", "1 (a", "1 a", "1  (a)", "1/2", "1 (abcde)", "é"] {
            assert!(bad.parse::<Version>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_prints_parses_back(base in "[0-9a-z.~+-]{1,12}", letters in "[a-z]{0,3}") {
            let text = if letters.is_empty() { base } else { format!("{base} ({letters})") };
            prop_assert_eq!(v(&text).to_string(), text);
        }

        #[test]
        fn the_order_is_total(a in "[0-9a-c.~]{1,6}", b in "[0-9a-c.~]{1,6}", c in "[0-9a-c.~]{1,6}") {
            let (a, b, c) = (v(&a), v(&b), v(&c));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            if a <= b && b <= c { prop_assert!(a <= c); }
            prop_assert_eq!(a == b, a.cmp(&b).is_eq());
        }
    }
}
