//! The arrows between the crates are those of README's drawing, and a device build has no maker's code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

fn cargo(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(args).current_dir(root()).output().expect("cargo runs");
    assert!(output.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints text")
}

/// `  agent    the device's one story … → apply, slot` as ("agent", {"apply", "slot"}), in order.
fn drawing() -> Vec<(String, BTreeSet<String>)> {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    let drawing =
        readme.split("```text").nth(1).and_then(|rest| rest.split("```").next()).expect("a drawing");
    let crates = drawing.lines().skip_while(|line| !line.starts_with("each crate")).skip(1);
    crates
        .filter_map(|line| {
            let (name, uses) =
                line.trim().split_once(' ').and_then(|(name, rest)| Some((name, rest.split_once('→')?.1)))?;
            let uses = uses.trim().split(", ").filter(|used| *used != "(nothing)").map(str::to_owned);
            Some((name.to_owned(), uses.collect()))
        })
        .collect()
}

/// The workspace's crates and which of them each uses in what it ships.
fn reality() -> BTreeMap<String, BTreeSet<String>> {
    let metadata: serde_json::Value =
        serde_json::from_str(&cargo(&["metadata", "--no-deps", "--format-version", "1"])).expect("JSON");
    let short = |name: &str| name.strip_prefix("siding-").map(str::to_owned);
    let packages = metadata["packages"].as_array().expect("packages");
    let mut crates = BTreeMap::new();
    for package in packages {
        let manifest = package["manifest_path"].as_str().expect("a path");
        let Some(name) = short(package["name"].as_str().expect("a name")) else { continue };
        if !Path::new(manifest).starts_with(root().join("crates")) {
            continue;
        }
        let shipped = |d: &&serde_json::Value| d["kind"].is_null() || d["kind"] == "build";
        let uses = package["dependencies"].as_array().expect("dependencies").iter().filter(shipped);
        let uses = uses.filter_map(|d| short(d["name"].as_str().expect("a name")));
        crates.insert(name, uses.collect());
    }
    crates
}

#[test]
fn the_arrows_are_those_of_the_drawing() {
    let drawn = drawing();
    assert_eq!(drawn.iter().cloned().collect::<BTreeMap<_, _>>(), reality());
    // Each crate uses only what stands below it.
    for (i, (name, uses)) in drawn.iter().enumerate() {
        let below: BTreeSet<String> = drawn[i + 1..].iter().map(|(name, _)| name.clone()).collect();
        assert!(uses.is_subset(&below), "{name} uses something above it");
    }
}

#[test]
fn a_device_build_links_no_generator_and_no_signing_code() {
    let tree = |extra: &[&str]| {
        cargo(
            &[
                &[
                    "tree",
                    "--locked",
                    "-p",
                    "siding-cli",
                    "-e",
                    "normal",
                    "--prefix",
                    "none",
                    "-f",
                    "{p} [{f}]",
                ],
                extra,
            ]
            .concat(),
        )
    };
    let device = tree(&["--no-default-features"]);
    let maker = tree(&[]);
    // What makes keys at random, getrandom, comes to devices with the TUF client's temporary files.
    for name in ["siding-diff", "libsais", "libsais-sys", "bsdiff", "object_store"] {
        let is = |line: &str| line.starts_with(&format!("{name} "));
        assert!(!device.lines().any(is), "a device build links {name}");
        assert!(maker.lines().any(is), "{name} is not even in a maker's build: fix this test");
    }
    let patch = |tree: &str| {
        let line =
            tree.lines().find(|line| line.starts_with("siding-patch ")).expect("siding-patch").to_owned();
        line.split('[').nth(1).expect("features").to_owned()
    };
    assert!(!patch(&device).contains("make"), "a device build can sign");
    assert!(patch(&maker).contains("make"), "a maker's build cannot sign: fix this test");
}

#[test]
fn unsafe_code_has_two_addresses() {
    let mut found = Vec::new();
    let mut folders = vec![root().join("crates"), root().join("benches"), root().join("xtask")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(&path).expect("source code");
                let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                if code.clone().any(|line| line.contains(concat!("allow(unsafe", "_code"))) {
                    found.push(path.strip_prefix(root()).expect("inside").display().to_string());
                }
            }
        }
    }
    // Tests may need an allocator that counts; nothing that ships may.
    found.retain(|path| !path.contains("/tests/"));
    found.sort();
    assert_eq!(found, ["crates/cli/src/frugal.rs", "crates/image/src/map.rs"]);
}
