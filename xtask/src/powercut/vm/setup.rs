//! What the virtual machine is made of: Debian's QEMU, firmware, loader and kernel, and our own static binary.
//!
//! All is kept below `target/powercut-vm/`, so that only the first run downloads anything.

use crate::{Result, measure, workspace};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Debian's packages that are used.
const PACKAGES: [&str; 12] = [
    "qemu-system-x86",
    "ovmf",
    "busybox-static",
    "grub-efi-amd64-bin",
    "grub-common",
    "mtools",
    "gdisk",
    "cpio",
    "e2fsprogs",
    "binutils",
    "fsverity",
    "xz-utils",
];
/// The package that depends on the newest kernel for virtual machines: all it needs to boot here is built in.
const KERNEL: &str = "linux-image-cloud-amd64";
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What is there, and where.
pub(super) struct Setup {
    pub(super) cache: PathBuf,
    pub(super) kernel: PathBuf,
    pub(super) siding: PathBuf,
}

impl Setup {
    /// Installs, downloads and builds what is missing; says what cannot be had.
    pub(super) fn new() -> Result<Self> {
        let cache = workspace().join("target/powercut-vm");
        fs::create_dir_all(&cache).map_err(|e| format!("cannot make {}: {e}", cache.display()))?;
        install()?;
        Ok(Self { kernel: kernel(&cache)?, siding: build_static()?, cache })
    }

    /// Runs our own binary, here.
    pub(super) fn siding(&self, args: &[&str]) -> Result<String> {
        run(Command::new(&self.siding).args(args))
    }

    /// Packs an initial file system: `init` first, busybox, our binary, and these files more.
    pub(super) fn initrd(&self, work: &Path, init: &str, more: &[(PathBuf, String)]) -> Result<PathBuf> {
        let root = work.join("initrd.d");
        for directory in ["bin", "tmp"] {
            fs::create_dir_all(root.join(directory)).map_err(|e| format!("cannot make the initrd: {e}"))?;
        }
        let place = |from: &Path, to: &str| {
            let failed = |e| format!("cannot put {} into the initrd: {e}", from.display());
            let to = root.join(to);
            to.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
            fs::copy(from, to).map(drop).map_err(failed)
        };
        place(Path::new("/bin/busybox"), "bin/busybox")?;
        more.iter().try_for_each(|(from, to)| place(from, to))?;
        run(Command::new("strip").arg("-o").arg(root.join("bin/siding")).arg(&self.siding))?;
        fs::write(root.join("init"), init).map_err(|e| format!("cannot write init: {e}"))?;
        let out = work.join("initrd");
        let script = "chmod 755 init && find . | cpio -o -H newc --quiet | gzip -1 > ../initrd";
        run(Command::new("sh").args(["-ec", script]).current_dir(&root))?;
        Ok(out)
    }
}

/// The SHA-256 of some bytes, in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> Result<String> {
    let failed = |e: std::io::Error| format!("sha256sum: {e}");
    let mut child =
        Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(bytes).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split(' ')
        .next()
        .filter(|sum| sum.len() == 64)
        .map(str::to_owned)
        .ok_or_else(|| "sha256sum gave no sum".to_owned())
}

/// Runs a command to its end, in its own directory and with its own environment, and gives what it printed.
pub(super) fn run(command: &mut Command) -> Result<String> {
    measure::run(command, None).map(|(_, said)| said)
}

fn install() -> Result<()> {
    let is_there = |package: &&&str| {
        let status = measure::ask("dpkg-query", &["-W", "-f=${Status}", package]);
        status.is_some_and(|status| status.ends_with(" installed"))
    };
    let missing: Vec<&str> = PACKAGES.iter().filter(|package| !is_there(package)).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let args = ["-o", "DPkg::Lock::Timeout=600", "install", "-y", "-q", "--no-install-recommends"];
    match measure::ask("apt-get", &[args.as_slice(), &missing].concat()) {
        Some(_) => Ok(()),
        None => Err(format!("skipped: cannot install {}", missing.join(", "))),
    }
}

/// The kernel, out of its package, without installing it.
fn kernel(cache: &Path) -> Result<PathBuf> {
    let kernel = cache.join("vmlinuz");
    if kernel.exists() {
        return Ok(kernel);
    }
    let skipped = || format!("skipped: cannot download the kernel that {KERNEL} names");
    let depends = measure::ask("apt-cache", &["depends", KERNEL]).ok_or_else(skipped)?;
    let name = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: ")).ok_or_else(skipped)?;
    let unpacked = tempfile::tempdir_in(cache).map_err(|e| format!("cannot unpack the kernel: {e}"))?;
    let script = "apt-get download -q \"$1\" && dpkg-deb -x \"$1\"_*.deb . && mv boot/vmlinuz-* ../vmlinuz";
    let mut command = Command::new("sh");
    command.args(["-ec", script, "sh", name]).current_dir(unpacked.path());
    run(&mut command).map_err(|why| format!("{}\n{why}", skipped()))?;
    Ok(kernel)
}

/// The binary as a device would have it in its initrd: it needs no library.
fn build_static() -> Result<PathBuf> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--release", "--target", TARGET, "-p", "siding-cli", "--bin", "siding"]);
    command.env("RUSTFLAGS", "-C target-feature=+crt-static");
    command.arg("--message-format=json-render-diagnostics").arg("--manifest-path");
    command.arg(workspace().join("Cargo.toml"));
    let messages = run(&mut command)?;
    let executable = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().filter(|_| message["target"]["name"] == "siding").map(PathBuf::from)
    };
    messages.lines().find_map(executable).ok_or_else(|| "cargo built no program called siding".to_owned())
}
