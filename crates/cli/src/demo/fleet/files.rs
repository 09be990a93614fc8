//! What the maker of the story has: two bases and what repairs them, and a release written down.
//!
//! Debian's OpenSSL 3.0.20 and 3.0.22, its libssl and a tree of its modules (Apache-2.0; see testdata/README.md). The
//! second base, called 3.0.21, is 3.0.20 with other build IDs.

use crate::failure::Failure;
use std::fs;
use std::path::Path;

macro_rules! real {
    ($version:literal: $($name:literal),*) => {
        [
            ("libssl.so.3", include_bytes!(concat!("../../../../../testdata/libssl/", $version, "/libssl.so.3")).as_slice()),
            $((
                concat!("tree/", $name),
                include_bytes!(concat!("../../../../../testdata/ossl-tree/", $version, "/", $name)).as_slice(),
            )),*
        ]
    };
}

macro_rules! release {
    ($version:literal) => {
        real!($version: "engines-3/loader_attic.so", "engines-3/padlock.so", "engines-3/afalg.so", "doc/copyright",
            "doc/changelog.Debian.gz", "ossl-modules/legacy.so")
    };
}

const OLD: [(&str, &[u8]); 7] = release!("3.0.20");
const NEW: [(&str, &[u8]); 7] = release!("3.0.22");

/// Writes all of it into the maker's folder.
pub(super) fn write(folder: &Path) -> Result<(), Failure> {
    for (name, bytes) in OLD {
        put(&folder.join("3.0.20").join(name), bytes)?;
        put(&folder.join("3.0.21").join(name), &rebuilt(bytes))?;
    }
    for (name, bytes) in NEW {
        put(&folder.join("3.0.22").join(name), bytes)?;
    }
    put(&folder.join("release.toml"), RELEASE.as_bytes())
}

/// The same program from another build: its build ID, which follows the note's name, is another one.
fn rebuilt(bytes: &[u8]) -> Vec<u8> {
    const NAME: &[u8] = b"\x03\0\0\0GNU\0";
    let mut rebuilt = bytes.to_vec();
    let found = bytes.windows(NAME.len()).position(|window| window == NAME);
    let id = found.and_then(|at| at.checked_add(NAME.len())).and_then(|at| rebuilt.get_mut(at..)).into_iter();
    id.flatten().take(20).for_each(|byte| *byte = !*byte);
    rebuilt
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let made = fs::create_dir_all(path.parent().unwrap_or(path));
    made.and_then(|()| fs::write(path, bytes)).map_err(|e| Failure::io("write", path, &e))
}

const RELEASE: &str = r#"id = "2026-11-openssl"
title = "OpenSSL: two weaknesses"
severity = "high"
advisories = ["CVE-2026-0001", "CVE-2026-0002"]

[[component]]
name = "libssl"
base = [
  { version = "3.0.20", image = "3.0.20/libssl.so.3", target = { version = "3.0.20 (a)", image = "3.0.22/libssl.so.3" } },
  { version = "3.0.21", image = "3.0.21/libssl.so.3", target = { version = "3.0.21 (a)", image = "3.0.22/libssl.so.3" } },
]

[[component]]
name = "ossl"
base = [
  { version = "3.0.20", image = "3.0.20/tree", target = { version = "3.0.20 (a)", image = "3.0.22/tree" } },
  { version = "3.0.21", image = "3.0.21/tree", target = { version = "3.0.21 (a)", image = "3.0.22/tree" } },
]
"#;
