//! Key files.

use crate::args::TrustArgs;
use crate::failure::Failure;
use siding_patch::{PublicKey, Trust};
use std::fs;
use std::path::Path;

/// The trust that the command line asks for.
pub(crate) fn trust(args: &TrustArgs) -> Result<Trust, Failure> {
    if args.allow_unsigned {
        return Ok(Trust::anyone());
    }
    if args.trust.is_empty() {
        let message = "say whose signature counts with --trust PUB, or accept a patch that nobody vouches for with --allow-unsigned";
        return Err(Failure::usage(message));
    }
    let keys: Result<Vec<_>, _> = args.trust.iter().map(|path| public(path)).collect();
    Ok(Trust::new(keys?, args.threshold)?)
}

fn public(path: &Path) -> Result<PublicKey, Failure> {
    PublicKey::from_pem(&read(path)?).map_err(|error| named(path, &error))
}

#[cfg(feature = "make")]
pub(crate) fn private(path: &Path) -> Result<siding_patch::PrivateKey, Failure> {
    siding_patch::PrivateKey::from_pem(&read(path)?).map_err(|error| named(path, &error))
}

fn read(path: &Path) -> Result<String, Failure> {
    let bytes = fs::read(path).map_err(|e| Failure::io("read the key", path, &e))?;
    String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{}: a key is PEM text", path.display())))
}

fn named(path: &Path, error: &siding_patch::Error) -> Failure {
    Failure::usage(format!("{}: {error}", path.display()))
}
