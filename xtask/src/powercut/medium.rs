//! `cargo xtask powercut medium`: every image that a power cut may leave of a real filesystem, mounted and
//! checked.
//!
//! [`record`] tells a story with the real binary on a filesystem whose medium notes each write and flush.
//! [`cuts`] chooses what a power cut may leave of them, [`replay`] makes a file of it, and [`check`] mounts
//! that, so that the filesystem's own recovery runs, and asks whether the store in it is one that the story had.

mod blocklog;
mod check;
mod cuts;
mod filesystem;
mod record;
mod replay;

use self::check::Checker;
use self::cuts::{Cut, Cuts};
use self::filesystem::Filesystem;
use self::record::{Recorded, Telling};
use self::replay::{Pages, Replay};
use super::lab::{self, Place};
use super::options::Options;
use super::workshop::{Shape, Workshop};
use crate::{Result, tools};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

const USAGE: &str = "\
cargo xtask powercut medium --filesystem ext4|xfs|btrfs [--images N] [--seed S] [--slice I/N] [--jobs N]
                            [--siding PROGRAM] [--lose CALL]
  tells a story on a filesystem, then mounts and checks images that a power cut may leave at any moment of it
  --images   how many images at most [default: 500]; for each 1000 the story is told anew, every other time with
             somebody else writing to the filesystem
  --seed     which of them [default: 1]; no two stories take the same time, so the same seed gives much the same
  --slice    only the I-th of N parts of them [default: 1/1]
  --jobs     how many images at once [default: 4]
  --siding   this binary, not the release build of this repository
  --lose     let this system call (fsync, fdatasync) do nothing when the story is told: succeeds if that is found out";

pub(super) fn run(args: &[String]) -> Result<()> {
    let names = ["--filesystem", "--images", "--seed", "--slice", "--jobs", "--siding", "--lose"];
    let options = Options::parse(args, &names, USAGE)?;
    let filesystem = Filesystem::named(options.text("--filesystem").unwrap_or_default()).ok_or(USAGE)?;
    let (images, seed) = (options.number("--images", 500_usize)?, options.number("--seed", 1_u64)?);
    let (slice, jobs) = (options.slice()?, options.number("--jobs", 4_usize)?.clamp(1, 64));
    let programs = [
        ("strace", "strace"),
        ("qemu-storage-daemon", "qemu-system-common"),
        (filesystem.maker(), filesystem.package()),
        ("fusermount3", "fuse3"),
    ];
    let place = match lab::enter(&programs, true)? {
        Place::Here(place) => record::can_record(place.path()).map(|()| place),
        Place::Done => return Ok(()),
        Place::Missing(why) => Err(why),
    };
    let place = match place {
        Ok(place) => place,
        Err(why) => {
            println!("skipped: {why}");
            return Ok(());
        }
    };
    let siding = match options.text("--siding") {
        Some(path) => PathBuf::from(path),
        None => tools::build_siding(&crate::workspace())?,
    };
    let shop = Workshop::new(siding, place.path().join("shop"))?;
    shop.component("engine", Shape::Module)?;
    shop.component("ssl", Shape::Library)?;
    shop.component("doc", Shape::Tree)?;

    let lose = options.text("--lose");
    let (begun, mut tally) = (Instant::now(), Tally::default());
    for (round, done) in (0..images).step_by(ROUND).enumerate() {
        let (telling, dir) = (
            Telling { filesystem, noise: round % 2 == 1, lose },
            place.path().join(format!("round-{round}")),
        );
        let seed = seed.wrapping_add(round as u64);
        tally.add(tell_and_check(&shop, telling, &dir, ROUND.min(images - done), seed, slice, jobs)?);
    }
    let done = tally.print(filesystem, begun.elapsed().as_secs_f64());
    let Some(call) = lose else { return done };
    let found_out = done.is_err();
    println!("that {call} does nothing was {}", if found_out { "found out" } else { "not found out" });
    if found_out { Ok(()) } else { Err("the checks do not see a lost flush".to_owned()) }
}

/// For so many images the story is told anew.
const ROUND: usize = 1000;

fn tell_and_check(
    shop: &Workshop,
    telling: Telling<'_>,
    dir: &Path,
    images: usize,
    seed: u64,
    (part, parts): (usize, usize),
    jobs: usize,
) -> Result<Tally> {
    let recorded = record::record(shop, telling, &dir.join("record"))?;
    println!("{}: {}", telling.filesystem, recorded.summary());
    let cuts = Cuts { entries: &recorded.entries, start: recorded.start }.choose(images, seed);
    let mine: Vec<(usize, Cut)> =
        cuts.into_iter().enumerate().filter(|(at, _)| at % parts == part - 1).collect();
    let tally = check_all(shop, &recorded, dir, &mine, jobs, seed)?;
    std::fs::remove_dir_all(dir).map_err(|e| format!("cannot remove {}: {e}", dir.display()))?;
    Ok(tally)
}

/// What came of the images.
#[derive(Default)]
struct Tally {
    /// How many stood after so many acknowledged verbs.
    good: BTreeMap<usize, usize>,
    /// How many were cut in a verb and had, when they were mounted, what that was about to do.
    ahead: usize,
    bad: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        other.good.into_iter().for_each(|(place, good)| *self.good.entry(place).or_default() += good);
        self.ahead += other.ahead;
        self.bad.extend(other.bad);
    }

    fn print(&self, filesystem: Filesystem, seconds: f64) -> Result<()> {
        let good: usize = self.good.values().sum();
        let (images, bad) = (good + self.bad.len(), self.bad.len());
        let rate = f64::from(u32::try_from(images).unwrap_or(u32::MAX)) / seconds;
        let verbs = self.good.len();
        println!(
            "{filesystem}: {images} images, {good} good, {bad} bad; in {verbs} places of the story, {} with lines \
             of a verb that had not returned; {seconds:.0} s, {rate:.0} images a second",
            self.ahead
        );
        const MOST: usize = 20;
        self.bad.iter().take(MOST).for_each(|why| println!("  {why}"));
        if bad == 0 { Ok(()) } else { Err(format!("{bad} of {images} images were not as promised")) }
    }
}

fn check_all(
    shop: &Workshop,
    recorded: &Recorded,
    dir: &Path,
    cuts: &[(usize, Cut)],
    jobs: usize,
    seed: u64,
) -> Result<Tally> {
    let tally = Mutex::new(Tally::default());
    let lock = || tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let work = |job: usize, cuts: &[(usize, Cut)]| -> Result<()> {
        let dir = dir.join(format!("job-{job}"));
        std::fs::create_dir_all(&dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
        let pages = Pages::read(&recorded.blank)?;
        let grain = recorded.filesystem.grain();
        let mut replay = Replay::new(&recorded.entries, pages, grain, dir.join("image"))?;
        let checker = Checker { shop, recorded, mountpoint: dir.join("m") };
        for (number, cut) in cuts {
            replay.cut(cut)?;
            match checker.check(cut, &replay.path) {
                Ok(found) => {
                    *lock().good.entry(found.acknowledged).or_default() += 1;
                    lock().ahead += usize::from(found.ahead);
                }
                Err(why) => {
                    let name = format!("{}-{seed}-{number}.img", recorded.filesystem);
                    let kept = if recorded.spoiled { String::new() } else { keep(&mut replay, cut, &name)? };
                    lock().bad.push(explain(recorded, cut, &why, &kept));
                }
            }
        }
        Ok(())
    };
    // Neighbouring cuts have most in common.
    let shares = cuts.chunks(cuts.len().div_ceil(jobs).max(1)).enumerate();
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = shares.map(|(job, share)| scope.spawn(move || work(job, share))).collect();
        let ends =
            threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread failed".to_owned())?);
        ends.collect::<Result<()>>()
    })?;
    Ok(tally.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

fn explain(recorded: &Recorded, cut: &Cut, why: &str, kept: &str) -> String {
    let verbs = recorded.acknowledged(cut.sent);
    let during = record::STORY.get(verbs).copied().unwrap_or("the end");
    let Cut { sent, flushed, survivors } = cut;
    format!(
        "cut in `{during}`, {sent} entries sent, {flushed} flushed, {} others kept{kept}: {why}",
        survivors.len()
    )
}

/// Makes a bad image once more, since it was mounted, where it stays; a few are enough.
fn keep(replay: &mut Replay<'_>, cut: &Cut, name: &str) -> Result<String> {
    const MOST: usize = 5;
    let place = crate::workspace().join("target/powercut");
    let there = std::fs::read_dir(&place).map_or(0, Iterator::count);
    if there >= MOST || std::fs::create_dir_all(&place).is_err() {
        return Ok("; not kept".to_owned());
    }
    replay.cut(cut)?;
    let copy = place.join(name);
    lab::run("cp", &["--sparse=always", &lab::text(&replay.path), &lab::text(&copy)])?;
    Ok(format!("; kept in {}", copy.display()))
}
