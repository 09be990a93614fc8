//! What the maker of the story has: two bases and what repairs them, and a release written down.
//!
//! Debian's OpenSSL 3.0.20 and 3.0.22, its libssl and a tree of its modules (Apache-2.0; see testdata/README.md). The
//! second base, called 3.0.21, is 3.0.20 with another version in its texts.

use crate::failure::Failure;
use std::fs;
use std::path::Path;

macro_rules! real {
    ($version:literal: $($name:literal),*) => {
        [
            ("libssl.so.3", &include_bytes!(concat!("../../../../../testdata/libssl/", $version, "/libssl.so.3"))[..]),
            $((
                concat!("tree/", $name),
                &include_bytes!(concat!("../../../../../testdata/ossl-tree/", $version, "/", $name))[..],
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
        put(&folder.join("3.0.21").join(name), &renamed(bytes))?;
    }
    for (name, bytes) in NEW {
        put(&folder.join("3.0.22").join(name), bytes)?;
    }
    put(&folder.join("release.toml"), RELEASE.as_bytes())
}

/// What names 3.0.20 names 3.0.21.
fn renamed(bytes: &[u8]) -> Vec<u8> {
    let mut renamed = bytes.to_vec();
    let found: Vec<usize> =
        bytes.windows(6).enumerate().filter(|(_, six)| *six == b"3.0.20").map(|(at, _)| at).collect();
    found.iter().filter_map(|at| at.checked_add(5)).for_each(|last| {
        renamed.get_mut(last).into_iter().for_each(|byte| *byte = b'1');
    });
    renamed
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
