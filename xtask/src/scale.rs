//! `cargo xtask scale-out`: a release made by Dask, Ray and Slurm, as contrib/scale/ has them, on this machine.
//!
//! The release has many bases of two real libraries. It is made in eight shares by one, two and four workers of each
//! engine, and by the command alone; what lies in `work/` afterwards must be the same bytes each time.

mod slurm;

use crate::report::duration;
use crate::{Result, machine, measure, tools, workspace};
use siding_image::Digest;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
cargo xtask scale-out [options]      Dask and Ray from PyPI into a venv under the target directory, Slurm from Debian

  --bases N         so many bases of each library (12)
  --only LIST       these engines: dask,ray,slurm
  --siding FILE     use this binary and build none";

struct Options {
    bases: usize,
    only: Vec<String>,
    siding: Option<PathBuf>,
}

/// What is run, and where.
struct Work {
    siding: PathBuf,
    release: PathBuf,
    folder: PathBuf,
}

/// What lies in `work/`.
type Made = BTreeMap<String, Digest>;

const WORKERS: [usize; 3] = [1, 2, 4];
const SHARES: usize = 8;

pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    let siding = match &options.siding {
        Some(siding) => siding.clone(),
        None => tools::build_siding(&workspace())?,
    };
    let scratch = tempfile::Builder::new().prefix("siding-scale").tempdir_in(machine::scratch());
    let scratch = scratch.map_err(|e| format!("no scratch directory: {e}"))?;
    let release = write_release(scratch.path(), options.bases)?;
    let work = Work { siding, release, folder: scratch.path().to_owned() };
    let (alone, expected) = work.timed("alone", |repo| work.alone(repo))?;
    let mut rows = vec![format!("| `siding publish make` alone | {} | | |\n", duration(alone))];
    let mut missing = Vec::new();
    for engine in ["dask", "ray", "slurm"] {
        if !options.only.is_empty() && !options.only.iter().any(|only| only == engine) {
            continue;
        }
        match work.row(engine, &expected) {
            Ok(row) => rows.push(row),
            Err(Trouble::Missing(why)) => missing.push(format!("{engine}: {why}")),
            Err(Trouble::Wrong(why)) => return Err(format!("{engine}: {why}")),
        }
    }
    let mut out = format!(
        "## Making a release in {SHARES} shares\n\nMeasured {} at {} on {}. {} jobs; each share on one thread; \
         from the engine's start to its end. More workers than processors cannot be faster.\n\n\
         | engine | 1 worker | 2 workers | 4 workers |\n| --- | --- | --- | --- |\n{}",
        machine::today(),
        machine::commit(&workspace()),
        machine::facts(),
        expected.len(),
        rows.concat()
    );
    for why in &missing {
        let _ = writeln!(out, "\nNot run: {why}");
    }
    println!("{out}\nWhat was made was the same, byte for byte, each time.");
    Ok(())
}

/// Why an engine has no row.
enum Trouble {
    /// It is not here.
    Missing(String),
    /// It is, and something is wrong.
    Wrong(String),
}

impl Work {
    /// The times with one, two and four workers; all must make what is expected.
    fn row(&self, engine: &str, expected: &Made) -> std::result::Result<String, Trouble> {
        let python = if engine == "slurm" { None } else { Some(venv(engine).map_err(Trouble::Missing)?) };
        let mut row = format!("| {engine} |");
        for workers in WORKERS {
            eprintln!("{engine}, {workers} workers");
            let done = match &python {
                Some(python) => self
                    .timed(&format!("{engine}-{workers}"), |repo| self.driver(python, engine, repo, workers)),
                None => {
                    let cluster = slurm::Cluster::start(&self.folder.join(format!("cluster-{workers}")));
                    let cluster = cluster.map_err(Trouble::Missing)?;
                    self.timed(&format!("{engine}-{workers}"), |repo| {
                        cluster.run(&self.siding, &self.release, repo, workers, SHARES)
                    })
                }
            };
            let (time, made) = done.map_err(Trouble::Wrong)?;
            if made != *expected {
                return Err(Trouble::Wrong(format!("{workers} workers made something else")));
            }
            let _ = write!(row, " {} |", duration(time));
        }
        Ok(row + "\n")
    }

    /// Runs `how` on a fresh repository.
    fn timed(&self, name: &str, how: impl FnOnce(&Path) -> Result<()>) -> Result<(Duration, Made)> {
        let repo = self.folder.join(name);
        fs::create_dir(&repo).map_err(|e| format!("cannot make {}: {e}", repo.display()))?;
        let start = std::time::Instant::now();
        how(&repo)?;
        Ok((start.elapsed(), made(&repo.join("work"))?))
    }

    fn alone(&self, repo: &Path) -> Result<()> {
        let mut command = Command::new(&self.siding);
        command.args(["publish", "make"]).arg(&self.release).arg("--repo").arg(repo).args(["--threads", "1"]);
        measure::run(&mut command, None).map(drop)
    }

    fn driver(&self, python: &Path, engine: &str, repo: &Path, workers: usize) -> Result<()> {
        let script = workspace().join(format!("contrib/scale/siding_{engine}.py"));
        let mut command = Command::new(python);
        command.arg(script).args([&self.release, repo]).env("SIDING", &self.siding);
        command.args(["--shares", &SHARES.to_string(), "--workers", &workers.to_string()]);
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("RAY_USAGE_STATS_ENABLED", "0");
        measure::run(&mut command, None).map(drop)
    }
}

/// A Python that has the engine; made under the target directory if there is none.
fn venv(engine: &str) -> Result<PathBuf> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    let place = target.join("scale-out/venv");
    let python = place.join("bin/python");
    let package = if engine == "dask" { "dask[distributed]" } else { engine };
    let has = || measure::ask(&python.to_string_lossy(), &["-c", &format!("import {engine}")]).is_some();
    if !has() {
        measure::ask("python3", &["-m", "venv", &place.to_string_lossy()]);
        measure::ask(&python.to_string_lossy(), &["-m", "pip", "install", "-q", package]);
    }
    if has() { Ok(python) } else { Err(format!("PyPI's {package} could not be installed")) }
}

/// Two libraries, each with bases that are the real one but for a few bytes, and its real next version.
fn write_release(folder: &Path, bases: usize) -> Result<PathBuf> {
    let mut text = "id = \"scale-out\"\ntitle = \"Many bases\"\nseverity = \"low\"\n".to_owned();
    for library in ["libssl", "libssl-arm64"] {
        let at = |version: &str| workspace().join(format!("testdata/{library}/{version}/libssl.so.3"));
        let real =
            fs::read(at("3.0.20")).map_err(|e| format!("cannot read {}: {e}", at("3.0.20").display()))?;
        let target = at("3.0.22");
        let _ = write!(
            text,
            "[[component]]\nname = {library:?}\nfull = true\nreverse = true\n\
             target = {{ version = \"3.0.22\", image = {target:?} }}\nbase = [\n"
        );
        for base in 0..bases {
            let path = folder.join(format!("{library}-{base}"));
            let mut bytes = real.clone();
            bytes.iter_mut().skip(1000 * (base + 1)).step_by(40_009).for_each(|byte| *byte ^= 0x55);
            fs::write(&path, bytes).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
            let _ = writeln!(text, "  {{ version = \"3.0.20-{base}\", image = {path:?} }},");
        }
        text.push_str("]\n");
    }
    let path = folder.join("release.toml");
    fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    Ok(path)
}

fn made(work: &Path) -> Result<Made> {
    let failed = |e| format!("cannot read {}: {e}", work.display());
    let mut made = Made::new();
    for entry in fs::read_dir(work).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        made.insert(name, Digest::of(&fs::read(&path).map_err(failed)?));
    }
    Ok(made)
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self { bases: 12, only: Vec::new(), siding: None };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value\n\n{USAGE}"));
            match arg.as_str() {
                "--bases" => options.bases = value()?.parse().map_err(|e| format!("--bases: {e}"))?,
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--siding" => {
                    let path = value()?;
                    options.siding = Some(fs::canonicalize(path).map_err(|e| format!("{path}: {e}"))?);
                }
                _ => return Err(USAGE.to_owned()),
            }
        }
        Ok(options)
    }
}
