//! Thirty-two bytes of SHA-256, compared and printed as one thing.

use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// A SHA-256 digest (FIPS 180-4), 32 bytes; prints as 64 lower-case hexadecimal digits.
///
/// ```
/// use siding_image::Digest;
/// let d = Digest::of(b"abc");
/// assert_eq!(d.to_string().parse::<Digest>().unwrap(), d);
/// assert_eq!(d.short(), "ba7816bf8f01");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The plain SHA-256 of `bytes`. Not a file's identity: for that see [`crate::verity`].
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The SHA-256 of several slices, one after the other.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        parts.iter().for_each(|part| hasher.update(part));
        Self(hasher.finalize().into())
    }

    /// The first 12 hexadecimal digits: enough to tell images apart on a screen, never to trust one.
    pub fn short(&self) -> String {
        self.to_string().chars().take(12).collect()
    }
}

/// A SHA-256 of bytes that come in parts.
#[derive(Clone, Debug, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Takes in what comes next.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was taken in.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("a digest is 64 hexadecimal digits, got {text:?}");
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let mut out = [0u8; 32];
        for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| bad())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
        }
        Ok(Self(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hash_like_the_whole() {
        assert_eq!(Digest::of_parts(&[b"ab", b"", b"c"]), Digest::of(b"abc"));
        let mut hasher = Hasher::default();
        hasher.update(b"ab");
        let early = hasher.clone();
        hasher.update(b"c");
        assert_eq!((early.finish(), hasher.finish()), (Digest::of(b"ab"), Digest::of(b"abc")));
    }

    #[test]
    fn bad_hex_is_refused() {
        for bad in ["", "ab", &"g".repeat(64), &"é".repeat(32)] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    /// The standard library's parser takes a sign.
    #[test]
    fn a_plus_sign_is_not_a_hex_digit() {
        assert!("+a".repeat(32).parse::<Digest>().is_err());
    }
}
