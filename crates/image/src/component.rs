//! The name of a component, checked once.

use std::fmt;
use std::str::FromStr;

/// A component's name: 1 to 64 bytes of `a-z A-Z 0-9 . _ + -`, starting with a letter or digit.
///
/// The name becomes a directory in a store, so nothing else is let through.
///
/// ```
/// use siding_image::Component;
/// assert!("openssl".parse::<Component>().is_ok());
/// assert!("../etc".parse::<Component>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Component(String);

impl Component {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Component {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let all_allowed = text.chars().all(|c| c.is_ascii_alphanumeric() || "._+-".contains(c));
        if starts_well && all_allowed && text.len() <= 64 {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "a component name is 1 to 64 letters, digits, '.', '_', '+' or '-', starting with a letter or digit; got {text:?}"
        ))
    }
}
