//! The licences of what is linked into the binary, as their packages have them.

use crate::{Result, measure, workspace};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Writes `NOTICES.gz`: every linked package with its licence, then each text once with who has it.
pub(super) fn write(place: &Path) -> Result<()> {
    let packages = linked()?;
    let mut text = String::from("What is linked into siding, under which licence\n\n");
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut without = Vec::new();
    for package in &packages {
        writeln!(text, "  {} {}: {}", package.name, package.version, package.licence)
            .map_err(|e| e.to_string())?;
        let found = notices(&package.folder, 3);
        if found.is_empty() {
            without.push(format!("{} ({})", package.name, package.authors));
        }
        for notice in found {
            texts.entry(notice).or_default().insert(package.name.clone());
        }
    }
    if !without.is_empty() {
        writeln!(text, "\nWithout a text of their own: {}", without.join("; ")).map_err(|e| e.to_string())?;
    }
    for (notice, names) in &texts {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let line = "-".repeat(72);
        write!(text, "\n{line}\n{}\n{line}\n\n{notice}\n", names.join(", ")).map_err(|e| e.to_string())?;
    }
    let plain = place.join("NOTICES");
    super::write(&plain, &text)?;
    // Without name and time, so that the same text gives the same bytes.
    measure::run(Command::new("gzip").args(["-9", "-n", "-f"]).arg(&plain), None)?;
    println!("ok      notices: {} packages, {} texts", packages.len(), texts.len());
    Ok(())
}

struct Package {
    name: String,
    version: String,
    licence: String,
    authors: String,
    folder: PathBuf,
}

/// The packages from elsewhere that are in the binary, by name.
fn linked() -> Result<Vec<Package>> {
    let tree =
        cargo(&["tree", "--locked", "-p", "siding-cli", "-e", "normal", "--prefix", "none", "-f", "{p}"])?;
    let wanted: BTreeSet<(&str, &str)> = tree
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?.strip_prefix('v')?))
        })
        .collect();
    let metadata = cargo(&["metadata", "--locked", "--format-version", "1"])?;
    let metadata: serde_json::Value =
        serde_json::from_str(&metadata).map_err(|e| format!("cargo metadata: {e}"))?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let mut packages = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let (name, version) = (text(&package["name"]), text(&package["version"]));
        if package["source"].is_null() || !wanted.contains(&(&*name, &*version)) {
            continue;
        }
        let authors: Vec<String> = package["authors"].as_array().into_iter().flatten().map(text).collect();
        let folder = PathBuf::from(text(&package["manifest_path"])).with_file_name("");
        let licence = text(&package["license"]);
        packages.push(Package { name, version, licence, authors: authors.join(", "), folder });
    }
    packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok(packages)
}

fn cargo(args: &[&str]) -> Result<String> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let (_, said) = measure::run(command.args(args).current_dir(workspace()), None)?;
    Ok(said)
}

/// The texts of licences in a package, and of what it brings along in folders, so many deep.
fn notices(folder: &Path, depth: usize) -> Vec<String> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    entries.sort();
    let mut found = Vec::new();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        if path.is_dir() {
            if depth > 0 {
                found.extend(notices(&path, depth - 1));
            }
        } else if NAMES.iter().any(|start| name.starts_with(start)) && !name.ends_with(".RS") {
            let text = fs::read(&path).unwrap_or_default();
            found.push(String::from_utf8_lossy(&text).replace('\r', "").trim_end().to_owned());
        }
    }
    found.retain(|text| !text.trim().is_empty());
    found
}

const NAMES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];
