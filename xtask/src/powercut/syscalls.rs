//! `cargo xtask powercut syscalls`: kills the real binary, or fails its input and output, at every system call.
//!
//! For each verb a store is prepared once. `strace` then tells which calls the verb makes on the store and on
//! the files it is given, and each of them, one run after the other, is the one at which the process is killed,
//! or that fails, or that lies. After each run [`trial`] checks what is left: what is said, every byte, and that
//! the verb leads to its end when it is run again.

mod cases;
mod strace;
mod trial;

use self::cases::{CASES, Case};
use self::strace::Injection;
use self::trial::Bench;
use super::lab::{self, Place};
use super::options::Options;
use super::workshop::{Shape, Workshop};
use crate::{Result, tools};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

const USAGE: &str = "\
cargo xtask powercut syscalls [--verbs VERB,…] [--shapes file,tree] [--slice I/N] [--jobs N] [--siding PROGRAM]
                              [--only CALL:KIND:NTH]
  kills every verb at each system call it makes, and fails the call; KIND is kill, eio, enospc or lie
  --slice    only the I-th of N parts of what there is to inject [default: 1/1]
  --jobs     how many runs at once [default: 2]
  --siding   this binary, not the release build of this repository
  VERBs      init, install, install-on, install-over, install-switch, switch, confirm, rollback, remove, supersede,
             boot-try, boot-fallback, vacuum; all unless some are named";

pub(super) fn run(args: &[String]) -> Result<()> {
    let names = ["--verbs", "--shapes", "--slice", "--jobs", "--siding", "--only"];
    let options = Options::parse(args, &names, USAGE)?;
    let (slice, jobs) = (options.slice()?, options.number("--jobs", 2_usize)?.clamp(1, 64));
    let place = match lab::enter(&[("strace", "strace")], false)? {
        Place::Here(place) => place,
        Place::Done => return Ok(()),
        Place::Missing(why) => {
            println!("skipped: {why}");
            return Ok(());
        }
    };
    let siding = match options.text("--siding") {
        Some(path) => PathBuf::from(path),
        None => tools::build_siding(&crate::workspace())?,
    };
    let wanted =
        |list: Option<&str>, name: &str| list.is_none_or(|list| list.split(',').any(|one| one == name));
    let mut all = Vec::new();
    for (name, shape) in [("file", Shape::Library), ("tree", Shape::Tree)] {
        if !wanted(options.text("--shapes"), name) {
            continue;
        }
        let dir = place.path().join(name);
        let shop = Workshop::new(siding.clone(), dir.join("shop"))?;
        ["lib", "more"].iter().try_for_each(|component| shop.component(component, shape))?;
        for case in CASES.iter().filter(|case| wanted(options.text("--verbs"), case.name)) {
            let tally = try_case(&shop, &dir, case, jobs, slice, options.text("--only"))?;
            tally.print(case.name, name);
            all.push(tally);
        }
    }
    let failures: usize = all.iter().map(|tally| tally.failed.len()).sum();
    let runs: usize = all.iter().flat_map(|tally| tally.runs.values()).sum();
    println!("{runs} injections, {failures} failures");
    if failures == 0 { Ok(()) } else { Err(format!("{failures} of {runs} injections left something wrong")) }
}

/// What came of a verb.
#[derive(Default)]
struct Tally {
    /// How many runs, by kind.
    runs: BTreeMap<&'static str, usize>,
    /// Which went wrong, and how.
    failed: Vec<(Injection, String)>,
    seconds: f64,
}

impl Tally {
    fn print(&self, verb: &str, shape: &str) {
        for (kind, runs) in &self.runs {
            let failed = self.failed.iter().filter(|(injection, _)| injection.kind.name() == *kind).count();
            let good = runs - failed;
            println!(
                "{verb:<14} {shape:<5} {kind:<7} {runs:>5} injections {good:>5} recovered {failed:>4} failed"
            );
        }
        for (Injection { call, kind, nth, .. }, why) in &self.failed {
            println!("  {verb} of a {shape}, {call} number {nth}, {}: {why}", kind.name());
            println!(
                "    cargo xtask powercut syscalls --verbs {verb} --shapes {shape} --only {call}:{}:{nth}",
                kind.name()
            );
        }
        println!("{verb:<14} {shape:<5} {:.1} s", self.seconds);
    }
}

fn try_case(
    shop: &Workshop,
    dir: &Path,
    case: &Case,
    jobs: usize,
    (part, parts): (usize, usize),
    only: Option<&str>,
) -> Result<Tally> {
    let begun = Instant::now();
    let bench = Bench::prepare(shop, case, &dir.join(case.name))?;
    let wanted = |injection: &Injection| only.is_none_or(|only| injection.to_string() == only);
    let all = bench.injections().into_iter().filter(wanted).enumerate();
    let mine: Vec<Injection> = all.filter(|(at, _)| at % parts == part - 1).map(|(_, one)| one).collect();
    let (next, tally) = (AtomicUsize::new(0), Mutex::new(Tally::default()));
    std::thread::scope(|scope| {
        for job in 0..jobs {
            let (bench, mine, next, tally) = (&bench, &mine, &next, &tally);
            scope.spawn(move || {
                while let Some(injection) = mine.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let came = bench.try_one(job, injection);
                    let mut tally = tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    *tally.runs.entry(injection.kind.name()).or_default() += 1;
                    tally.failed.extend(came.err().map(|why| (injection.clone(), why)));
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(Tally { seconds: begun.elapsed().as_secs_f64(), ..tally })
}
