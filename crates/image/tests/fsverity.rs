//! A second opinion on file digests: the answers of `fsverity digest` from Debian's fsverity 1.5.
//!
//! The answers are frozen here, so that the test needs nothing installed; where the tool is in the path it is
//! asked again. To remake them, print [`noise`] of each length to a file and run `fsverity digest --compact FILE`.

use siding_image::{Digest, Map, verity};
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// Length of [`noise`] → digest.
const OF_NOISE: [(usize, &str); 15] = [
    (0, "3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95"),
    (1, "e1975a2bedb2d0d9e186af13810d5114d9bf7688f40bd0f696e950a848e542e3"),
    (31, "cf801528f245f5ac134096385d1232ceb889ab8851c6573e2b5c168acaa1ecdc"),
    (4095, "28e21c9c83c7e637159e07b36836467eef9d6bb56f4a46f33ead18792d7034a8"),
    (4096, "8e0763f506545d9d50784a11a3ba8d7702a8d3255e435789c8d660853fff7917"),
    (4097, "d7b606636ff563240cf7e3766a10b4f024298bd25b2551f3f28407e4d5a87eed"),
    (2 * 4096, "dd0f9392139c8f637b213dcf59c6be6d6fa3234c83d7ad63c2cc0ac42f411dca"),
    (127 * 4096, "9a9bbebafccb25c452a7e79d58859739a0e57d8fe3b8be6f114bbcc60616cd9e"),
    (128 * 4096 - 1, "181361dee3a01f4beb70b85c741f237108c1aec770f290fdc46d8efd68c19243"),
    (128 * 4096, "66e5773e43323d32d2f3747b6cff0f0c2146a54400a25463c0ad80b64951c77e"),
    (128 * 4096 + 1, "1d1b98a0874e3116ee630f72772ea3f4a1b0084229a187493f77cbd967f5d720"),
    (129 * 4096, "68f9d997a18ef869c089c4241bd1172d5aee9aad6effaca2c1e26aeacd13c5fb"),
    (256 * 4096 + 1, "b5834200d199f7ade89a0d133f942cdb86534204ebfe368999c0357422db6b6e"),
    ((5 << 20) + 17, "9c3cde2d864749708aea8e09c7819048d2f55b484adce967af73c69695a80583"),
    // Three levels of hashes, and more than the library hashes in one go.
    ((64 << 20) + 4097, "a3cec11c96a33001e2e71269d0c83cfffbbc6617f370fea455ef75bfdf972d22"),
];

/// Length of a run of zeros → digest: the library does not hash them.
const OF_ZEROS: [(usize, &str); 4] = [
    (1, "b803429503d95915829b29fdbc8bbad142f3abfd11b1cadf5526582e685c0551"),
    (4096, "babc284ee4ffe7f449377fbf6692715b43aec7bc39c094a95878904d34bac97e"),
    (4097, "093756e4ea9683329106d4a16982682ed182c14bf076463a9e7f97305cbac743"),
    (128 * 4096 + 1, "e4143a5705610b7ad2eb85482cfc033c7062a89b9faf9118603f592d53fd10e0"),
];

#[test]
fn digests_are_those_of_the_public_tool() {
    for (len, expected) in OF_NOISE {
        assert_eq!(verity::digest(&noise(len)).to_string(), expected, "{len} bytes of noise");
    }
    for (len, expected) in OF_ZEROS {
        assert_eq!(verity::digest(&vec![0; len]).to_string(), expected, "{len} zeros");
    }
}

#[test]
fn the_public_tool_agrees_today() {
    if Command::new("fsverity").arg("--version").output().is_err() {
        eprintln!("skipped: no fsverity in the path (Debian: apt-get install fsverity)");
        return;
    }
    let noise = OF_NOISE.iter().map(|(len, _)| noise(*len));
    let zeros = OF_ZEROS.iter().map(|(len, _)| vec![0; *len]);
    for bytes in noise.chain(zeros) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&bytes).unwrap();
        let map = Map::open(file.path()).unwrap();
        assert_eq!(verity::digest(map.as_slice()), asked(file.path()), "{} bytes", bytes.len());
    }
}

/// What `fsverity digest` says of a file.
fn asked(path: &Path) -> Digest {
    let output = Command::new("fsverity").args(["digest", "--compact"]).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// The first `len` bytes of 32-bit xorshift (13, 17, 5) from 0x9e3779b9, each word little-endian.
fn noise(len: usize) -> Vec<u8> {
    let words = std::iter::successors(Some(0x9e37_79b9_u32), |&x| Some(step(x))).skip(1);
    let mut bytes: Vec<u8> = words.take(len.div_ceil(4)).flat_map(u32::to_le_bytes).collect();
    bytes.truncate(len);
    bytes
}

fn step(x: u32) -> u32 {
    let x = x ^ (x << 13);
    let x = x ^ (x >> 17);
    x ^ (x << 5)
}
