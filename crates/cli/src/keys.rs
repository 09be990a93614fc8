//! Key files.

use crate::args::{BenchTrustArgs, TrustArgs};
use crate::failure::Failure;
use siding_patch::{PublicKey, Trust};
use std::fs;
use std::path::{Path, PathBuf};

/// The trust that the command line asks for, where no device is at stake.
pub(crate) fn bench_trust(args: &BenchTrustArgs) -> Result<Trust, Failure> {
    if args.allow_unsigned {
        return Ok(Trust::anyone());
    }
    if args.trust.trust.is_empty() {
        let message = "say whose signature counts with --trust PUB, or accept a patch that nobody vouches for with --allow-unsigned";
        return Err(Failure::usage(message));
    }
    trust(&args.trust.trust, args.trust.threshold)
}

/// The trust of a device: the keys named, else those in the store's directory `trust`.
pub(crate) fn device_trust(args: &TrustArgs, store: &Path) -> Result<Trust, Failure> {
    if !args.trust.is_empty() {
        return trust(&args.trust, args.threshold);
    }
    let dir = store.join("trust");
    let nobody =
        || format!("nobody is trusted yet: name a key with --trust PUB, or put it into {}", dir.display());
    trust_in(&dir, args.threshold)?.ok_or_else(|| Failure::usage(nobody()))
}

/// The trust in the public keys of a folder; `None` if there are none.
pub(crate) fn trust_in(dir: &Path, threshold: usize) -> Result<Option<Trust>, Failure> {
    let listed = fs::read_dir(dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut keys: Vec<PathBuf> =
        listed.filter(|path| path.extension().is_some_and(|end| end == "pub")).collect();
    keys.sort();
    if keys.is_empty() { Ok(None) } else { trust(&keys, threshold).map(Some) }
}

fn trust(paths: &[PathBuf], threshold: usize) -> Result<Trust, Failure> {
    let keys: Result<Vec<_>, _> = paths.iter().map(|path| public(path)).collect();
    Ok(Trust::new(keys?, threshold)?)
}

pub(crate) fn public(path: &Path) -> Result<PublicKey, Failure> {
    let pem = read(path)?;
    if pem.contains("PRIVATE KEY") {
        let message = "is a private key, which stays with the maker; trust is in the public one, .pub";
        return Err(Failure::usage(format!("{} {message}", path.display())));
    }
    PublicKey::from_pem(&pem).map_err(|error| named(path, &error))
}

#[cfg(feature = "make")]
pub(crate) fn private(path: &Path) -> Result<siding_patch::PrivateKey, Failure> {
    let pem = read(path)?;
    if pem.contains("PUBLIC KEY") {
        let message = "is a public key; signing takes the private one, .key";
        return Err(Failure::usage(format!("{} {message}", path.display())));
    }
    siding_patch::PrivateKey::from_pem(&pem).map_err(|error| named(path, &error))
}

fn read(path: &Path) -> Result<String, Failure> {
    let bytes = fs::read(path).map_err(|e| Failure::io("read the key", path, &e))?;
    String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{}: a key is PEM text", path.display())))
}

fn named(path: &Path, error: &siding_patch::Error) -> Failure {
    Failure::usage(format!("{}: {error}", path.display()))
}
