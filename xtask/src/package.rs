//! The Debian package, with man pages and completions, and the proof that it does what it says.
//!
//! Everything that is made lies in `target/package`, where `[package.metadata.deb]` of siding-cli looks for it. Pages
//! and completions are written by the binary that is packed. [`manual`] has man and the shells themselves read them;
//! [`notices`] collects the licences of what is linked; [`root`] installs the package into a fresh Debian, starts that
//! twice, and takes the package away again. cargo-deb comes from crates.io, all other tools from Debian, if they are
//! missing.

mod manual;
mod notices;
mod root;

use crate::{Result, measure, tools, workspace};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const USAGE: &str = "\
cargo xtask package [options]        makes target/package/siding_*.deb and tries it in a fresh Debian, as root

  --check           only the man pages and the completions, read by man and the shells
  --siding FILE     take this binary and build none";

pub(crate) fn run(args: &[String]) -> Result<()> {
    let (check, siding) = options(args)?;
    let siding = siding.map_or_else(|| tools::build_siding(&workspace()), Ok)?;
    let place = fresh(&workspace().join("target/package"))?;
    let epoch = epoch()?;
    let share = place.join("share");
    measure::run(Command::new(&siding).arg("manual").arg(&share).args(["--date", &epoch]), None)?;
    manual::check(&share)?;
    if check {
        return Ok(());
    }
    scripts()?;
    notices::write(&place)?;
    write(&place.join("changelog.Debian"), &changelog(&epoch)?)?;
    strip(&siding, &place.join("siding"))?;
    let deb = pack(&place, &epoch)?;
    println!("ok      packed: {}", deb.display());
    lint(&deb)?;
    root::check(&deb, &place)
}

/// Whether only pages and completions are looked at, and of which binary.
fn options(args: &[String]) -> Result<(bool, Option<PathBuf>)> {
    let (mut check, mut siding) = (false, None);
    let mut args = args.iter();
    while let Some(word) = args.next() {
        match (word.as_str(), &siding) {
            ("--check", _) => check = true,
            ("--siding", None) => siding = Some(PathBuf::from(args.next().ok_or(USAGE)?)),
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok((check, siding))
}

/// An empty directory there.
fn fresh(place: &Path) -> Result<PathBuf> {
    let failed = |e| format!("{}: {e}", place.display());
    if place.exists() {
        fs::remove_dir_all(place).map_err(failed)?;
    }
    fs::create_dir_all(place).map_err(failed)?;
    Ok(place.to_owned())
}

/// The date of all that is made, in seconds since 1970: SOURCE_DATE_EPOCH, else that of the commit.
fn epoch() -> Result<String> {
    let root = workspace().display().to_string();
    std::env::var("SOURCE_DATE_EPOCH")
        .ok()
        .or_else(|| measure::ask("git", &["-C", &root, "log", "-1", "--format=%ct"]))
        .ok_or_else(|| "this is no git repository; say the package's date in SOURCE_DATE_EPOCH".to_owned())
}

/// What Debian wants beside the project's own changelog: who packed which version when.
fn changelog(epoch: &str) -> Result<String> {
    let date = measure::ask("date", &["-u", "-R", "-d", &format!("@{epoch}")]);
    let date = date.ok_or_else(|| format!("date does not know the time {epoch}"))?;
    let version = env!("CARGO_PKG_VERSION");
    Ok(format!(
        "siding ({version}-1) unstable; urgency=medium\n\n  * What changed is in changelog.gz beside this file.\n\n \
         -- The Siding authors <siding@example.org>  {date}\n"
    ))
}

/// Copies the binary without its symbols, which nobody needs who has the package.
fn strip(siding: &Path, to: &Path) -> Result<()> {
    install(&[("strip", "binutils")]);
    measure::run(Command::new("strip").arg("-o").arg(to).arg(siding), None).map(drop)
}

/// Has cargo-deb pack what was built; every file has the same date, so that the same commit gives the same package.
fn pack(place: &Path, epoch: &str) -> Result<PathBuf> {
    install(&[("dpkg-shlibdeps", "dpkg-dev")]);
    let cargo_deb = cargo_deb(place)?;
    let mut command = Command::new(cargo_deb);
    command.args(["-p", "siding-cli", "--no-build", "--locked", "-q", "-o"]).arg(place);
    command.current_dir(workspace()).env("SOURCE_DATE_EPOCH", epoch);
    measure::run(&mut command, None)?;
    let made = fs::read_dir(place).map_err(|e| format!("{}: {e}", place.display()))?;
    let mut made = made.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    made.find(|path| path.extension().is_some_and(|end| end == "deb"))
        .ok_or_else(|| format!("cargo-deb ended well and made no package in {}", place.display()))
}

/// The tool, which is compiled the first time.
fn cargo_deb(place: &Path) -> Result<PathBuf> {
    if tools::in_path("cargo-deb") {
        return Ok(PathBuf::from("cargo-deb"));
    }
    let tools = place.with_file_name("package-tools");
    let program = tools.join("bin/cargo-deb");
    if !program.is_file() {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(["install", "cargo-deb", "--locked", "--quiet", "--root"]).arg(&tools);
        measure::run(&mut command, None)?;
    }
    Ok(program)
}

/// The package's scripts and the hook, which run as root: plain sh, with no complaint of shellcheck.
fn scripts() -> Result<()> {
    install(&[("shellcheck", "shellcheck")]);
    if !tools::in_path("shellcheck") {
        println!("skipped shellcheck: it is not here and cannot be installed");
        return Ok(());
    }
    let mut command = Command::new("shellcheck");
    command.args(["--shell", "sh"]).current_dir(workspace().join("contrib"));
    command.args(["debian/postinst", "debian/prerm", "debian/postrm", "agent/notify.sh"]);
    measure::run(&mut command, None)?;
    println!("ok      shellcheck: the package's scripts and the hook");
    Ok(())
}

/// What lintian thinks of it: errors are errors, warnings are told.
fn lint(deb: &Path) -> Result<()> {
    install(&[("lintian", "lintian")]);
    if !tools::in_path("lintian") {
        println!("skipped lintian: it is not here and cannot be installed");
        return Ok(());
    }
    let mut command = Command::new("lintian");
    command.args(["--allow-root", "--tag-display-limit", "0", "--fail-on", "error", "--suppress-tags"]);
    command.arg(TAKEN.join(",")).arg(deb);
    let (_, said) = measure::run(&mut command, None)?;
    println!("ok      lintian: no errors, {} warnings", said.lines().count());
    said.lines().for_each(|line| println!("        {line}"));
    Ok(())
}

/// What lintian says and we know better.
const TAKEN: [&str; 2] = [
    // The address is an example until somebody publishes the package and gives cargo-deb their own (`--maintainer`).
    "bogus-mail-host",
    // That is about uploads to Debian.
    "initial-upload-closes-no-bugs",
];

/// Asks Debian for programs that are missing; whether that helped is seen when they are looked for.
fn install(wanted: &[(&str, &str)]) {
    let missing = wanted.iter().filter(|(program, _)| !tools::in_path(program));
    let packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if !packages.is_empty() && tools::in_path("apt-get") {
        drop(measure::ask("apt-get", &["update", "-q"]));
        let args = [&["install", "-y", "-q", "--no-install-recommends"], &packages[..]].concat();
        drop(measure::ask("apt-get", &args));
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}
