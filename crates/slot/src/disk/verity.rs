//! fs-verity: to have the kernel hold a file to its digest, and to ask it which one that is.
//!
//! With the parameters that a [`siding_image::verity`] digest has: SHA-256, blocks of 4 KiB, no salt. The two calls
//! themselves are made by `composefs-ioctls`, so that there is no unsafe code here.

use composefs_ioctls::fsverity::{
    EnableVerityError, MeasureVerityError, fs_ioc_enable_verity, fs_ioc_measure_verity,
};
use rustix::io::Errno;
use siding_image::Digest;
use siding_image::verity::BLOCK;
use std::fs::File;
use std::io;

/// As `linux/fsverity.h` has it.
const SHA256: u8 = 1;

/// Turns it on; whether it is on now.
pub(super) fn enable(file: &File) -> io::Result<bool> {
    match fs_ioc_enable_verity(file, SHA256, BLOCK as u32) {
        Ok(()) | Err(EnableVerityError::AlreadyEnabled) => Ok(true),
        Err(EnableVerityError::FilesystemNotSupported | EnableVerityError::SignatureVerificationFailed) => {
            Ok(false)
        }
        Err(EnableVerityError::FileOpenedForWrite) => Err(Errno::TXTBSY.into()),
        Err(EnableVerityError::Io(error)) if is_refusal(&error) => Ok(false),
        Err(EnableVerityError::Io(error)) => Err(error),
    }
}

/// The digest that is enforced; `None` if there is none, or one of another kind.
pub(super) fn measure(file: &File) -> io::Result<Option<Digest>> {
    match fs_ioc_measure_verity(file, SHA256) {
        Ok(digest) => Ok(Some(Digest(digest))),
        Err(MeasureVerityError::Io(error)) if is_refusal(&error) => Ok(None),
        Err(MeasureVerityError::Io(error)) => Err(error),
        Err(
            MeasureVerityError::VerityMissing
            | MeasureVerityError::FilesystemNotSupported
            | MeasureVerityError::InvalidDigestAlgorithm { .. }
            | MeasureVerityError::InvalidDigestSize { .. },
        ) => Ok(None),
    }
}

/// Whether the kernel says by it that it will not, and not that something went wrong: it does not know blocks of 4 KiB
/// here, has no SHA-256, wants signatures of its own, or the file is too long, on a medium that is only read, or one
/// that the user may not write.
fn is_refusal(error: &io::Error) -> bool {
    const REFUSALS: [Errno; 7] =
        [Errno::INVAL, Errno::NOPKG, Errno::PERM, Errno::NOKEY, Errno::FBIG, Errno::ROFS, Errno::ACCESS];
    Errno::from_io_error(error).is_some_and(|error| REFUSALS.contains(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use siding_image::verity::digest;

    /// Whether or not this machine's kernel and filesystem have it.
    #[test]
    fn the_kernel_enforces_our_digest_or_none() {
        let dir = tempfile::tempdir().unwrap();
        for bytes in [&b""[..], b"some bytes"] {
            let path = dir.path().join(bytes.len().to_string());
            std::fs::write(&path, bytes).unwrap();
            let file = File::open(&path).unwrap();
            assert_eq!(measure(&file).unwrap(), None);
            let expected = enable(&file).unwrap().then(|| digest(bytes));
            assert_eq!(measure(&file).unwrap(), expected);
            // Again is no error.
            assert_eq!(enable(&file).unwrap(), expected.is_some());
            let written = std::fs::write(&path, b"other");
            assert_eq!(written.is_err(), expected.is_some());
        }
    }

    #[test]
    fn what_is_no_file_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::open(dir.path()).unwrap();
        assert_eq!(measure(&file).unwrap(), None);
    }
}
