//! Keys and trust. Ed25519 (RFC 8032); files are PKCS#8 and SPKI in PEM (RFC 8410), as `openssl pkey` uses.

use crate::Error;
use ed25519_dalek::pkcs8::DecodePublicKey;
use ed25519_dalek::{Signature, VerifyingKey};
use siding_image::Digest;
use std::fmt;

/// A short name for a key: the first 8 bytes of the SHA-256 of its 32 public bytes. It says which key to try a
/// signature with, and vouches for nothing itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 8]);

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// Whose signatures count.
#[derive(Clone, Debug)]
pub struct Trust {
    keys: Vec<PublicKey>,
    threshold: usize,
}

impl PublicKey {
    /// Reads a key from PEM text ("BEGIN PUBLIC KEY").
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        let key = VerifyingKey::from_public_key_pem(text)
            .map_err(|e| Error::Key(format!("expected an Ed25519 public key in PEM: {e}")))?;
        if key.is_weak() {
            return Err(Error::Key("it is a weak key of small order".into()));
        }
        Ok(Self(key))
    }

    /// The key's short name.
    pub fn id(&self) -> KeyId {
        let mut id = [0; 8];
        id.iter_mut().zip(Digest::of(self.0.as_bytes()).0).for_each(|(to, from)| *to = from);
        KeyId(id)
    }

    /// Whether `signature` is this key's over `message`; strict in the sense of ed25519-dalek (no malleable
    /// or small-order forms).
    pub(crate) fn vouches(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature).is_ok_and(|s| self.0.verify_strict(message, &s).is_ok())
    }
}

impl Trust {
    /// Trusts patches that at least `threshold` distinct keys of `keys` signed.
    ///
    /// Fails if that can never or always be met. A key given twice counts once.
    pub fn new(keys: Vec<PublicKey>, threshold: usize) -> Result<Self, Error> {
        let mut distinct: Vec<PublicKey> = Vec::with_capacity(keys.len());
        for key in keys {
            if !distinct.contains(&key) {
                distinct.push(key);
            }
        }
        if threshold == 0 || threshold > distinct.len() {
            let have = distinct.len();
            return Err(Error::Key(format!(
                "a threshold of {threshold} keys, but {have} distinct ones are trusted; it may be 1 to {have}"
            )));
        }
        Ok(Self { keys: distinct, threshold })
    }

    /// Trusts every patch that is well formed, signed or not. For a maker's own bench, never for a device.
    pub fn anyone() -> Self {
        Self { keys: Vec::new(), threshold: 0 }
    }

    /// How many distinct keys must have signed.
    pub fn threshold(&self) -> usize {
        self.threshold
    }

    /// Whether one of the trusted keys has this name.
    pub(crate) fn knows(&self, id: KeyId) -> bool {
        self.keys.iter().any(|key| key.id() == id)
    }

    /// The distinct trusted keys that vouch for the message; the one place where signatures are counted.
    ///
    /// A signature counts only for the key it names, so that each is verified once at most.
    pub(crate) fn signers(&self, message: &[u8], signatures: &[(KeyId, [u8; 64])]) -> Vec<KeyId> {
        let signed_by = |key: &PublicKey, id: KeyId| {
            signatures.iter().any(|(named, signature)| *named == id && key.vouches(message, signature))
        };
        let ids = self.keys.iter().map(|key| (key, key.id()));
        ids.filter(|(key, id)| signed_by(key, *id)).map(|(_, id)| id).collect()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

#[cfg(feature = "make")]
pub use private::PrivateKey;

#[cfg(feature = "make")]
mod private {
    use super::PublicKey;
    use crate::Error;
    use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
    use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey, KeypairBytes};
    use ed25519_dalek::{Signer, SigningKey};

    /// A private key. The key itself is wiped from memory when dropped (not the text it was read from); prints
    /// nothing of itself.
    pub struct PrivateKey(SigningKey);

    impl PrivateKey {
        /// The key of 32 secret bytes, which must come from the system's random source.
        pub fn from_seed(seed: &[u8; 32]) -> Self {
            Self(SigningKey::from_bytes(seed))
        }

        /// Reads a key from PEM text ("BEGIN PRIVATE KEY").
        pub fn from_pem(text: &str) -> Result<Self, Error> {
            SigningKey::from_pkcs8_pem(text)
                .map(Self)
                .map_err(|e| Error::Key(format!("expected an Ed25519 private key in PEM: {e}")))
        }

        /// The key as PEM text, PKCS#8 version 1, which `openssl pkey` reads too.
        pub fn to_pem(&self) -> Result<String, Error> {
            let bytes = KeypairBytes { secret_key: self.0.to_bytes(), public_key: None };
            let pem = bytes.to_pkcs8_pem(LineEnding::LF).map_err(|e| Error::Key(e.to_string()))?;
            Ok(pem.to_string())
        }

        /// Its public half.
        pub fn public(&self) -> PublicKey {
            PublicKey(self.0.verifying_key())
        }

        /// The key's Ed25519 signature over `message`, for what is no patch: the metadata of a repository.
        pub fn sign(&self, message: &[u8]) -> [u8; 64] {
            self.0.sign(message).to_bytes()
        }
    }

    impl std::fmt::Debug for PrivateKey {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "PrivateKey({})", self.public().id())
        }
    }

    impl PublicKey {
        /// The key's 32 bytes, as RFC 8032 has them.
        pub fn to_bytes(&self) -> [u8; 32] {
            self.0.to_bytes()
        }

        /// The key as PEM text.
        pub fn to_pem(&self) -> Result<String, Error> {
            self.0.to_public_key_pem(LineEnding::LF).map_err(|e| Error::Key(e.to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from_seed(&[seed; 32])
    }

    #[test]
    fn keys_survive_their_files() {
        let pem = key(1).to_pem().unwrap();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----"));
        assert_eq!(PrivateKey::from_pem(&pem).unwrap().public(), key(1).public());
        let public = key(1).public().to_pem().unwrap();
        assert_eq!(PublicKey::from_pem(&public).unwrap(), key(1).public());
    }

    #[test]
    fn swapped_and_broken_key_files_are_refused() {
        assert!(PublicKey::from_pem(&key(1).to_pem().unwrap()).is_err());
        assert!(PrivateKey::from_pem(&key(1).public().to_pem().unwrap()).is_err());
        assert!(PublicKey::from_pem("").is_err());
    }

    #[test]
    fn one_key_listed_twice_counts_once() {
        let twice = vec![key(1).public(), key(1).public()];
        assert!(Trust::new(twice.clone(), 2).is_err());
        let trust = Trust::new(twice, 1).unwrap();
        let good = (key(1).public().id(), key(1).sign(b"m"));
        assert_eq!(trust.signers(b"m", &[good, good]).len(), 1);
    }

    #[test]
    fn a_signature_counts_only_for_the_key_it_names() {
        let trust = Trust::new(vec![key(1).public(), key(2).public()], 1).unwrap();
        let [one, two] = [1, 2].map(|seed| key(seed).public().id());
        assert_eq!(trust.signers(b"m", &[(one, key(1).sign(b"m"))]), [one]);
        assert_eq!(trust.signers(b"m", &[(two, key(1).sign(b"m"))]), []);
        assert_eq!(trust.signers(b"n", &[(one, key(1).sign(b"m"))]), []);
    }

    #[test]
    fn thresholds_that_mean_nothing_are_refused() {
        assert!(Trust::new(vec![], 0).is_err());
        assert!(Trust::new(vec![key(1).public()], 0).is_err());
        assert!(Trust::new(vec![key(1).public()], 2).is_err());
    }
}
