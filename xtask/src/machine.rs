//! What a reader must know of the machine to judge a time: nothing that names it.

use crate::measure;
use std::fs;
use std::path::{Path, PathBuf};

/// One sentence: processor, cores, memory, kernel.
pub(crate) fn facts() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let model = value("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let memory = value("/proc/meminfo", "MemTotal")
        .and_then(|text| text.trim_end_matches(" kB").parse::<u64>().ok())
        .map_or(0, |kibibytes| kibibytes.div_ceil(1 << 20));
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let plural = if cores == 1 { "core" } else { "cores" };
    format!("{cores} {plural} of {model}, {memory} GiB of memory, Linux {}", version(&release))
}

/// A kernel's version without the marks of whoever built it: 6.1.0 of 6.1.0-18-amd64.
fn version(release: &str) -> &str {
    let end = release.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(release.len());
    release[..end].trim_end_matches('.')
}

/// Today, UTC, as 2026-01-31.
pub(crate) fn today() -> String {
    measure::ask("date", &["-u", "+%F"]).unwrap_or_else(|| "an unknown day".to_owned())
}

/// The commit that is measured, with a mark if files have changed since.
pub(crate) fn commit(workspace: &Path) -> String {
    let root = workspace.to_string_lossy();
    measure::ask("git", &["-C", &root, "describe", "--always", "--dirty", "--exclude=*"])
        .unwrap_or_else(|| "an unknown commit".to_owned())
}

/// A directory in memory if there is one, so that no disk is measured.
pub(crate) fn scratch() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

/// The first `NAME : value` of a file.
fn value(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_named_by_its_version_alone() {
        let releases = ["6.18.44-fc-v657\n", "6.1.0-18-amd64", "5.15.0", "6.8.0+", "6.9.rc1", ""];
        assert_eq!(releases.map(version), ["6.18.44", "6.1.0", "5.15.0", "6.8.0", "6.9", ""]);
    }
}
