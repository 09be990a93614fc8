//! `cargo xtask powercut vm`: a machine that boots through GRUB, and whose plug is pulled at random moments.
//!
//! The machine is virtual and all else is real: firmware, GRUB with its environment, Debian's kernel, ext4, and the
//! static binary `siding`. It works through an endless story of installs, switches on trial, restarts, confirms,
//! roll backs and removals. QEMU is killed, at a moment the seed chooses; then it boots again, and everything is
//! checked: that it boots, that the record is at or after the last thing acknowledged, that each line of the log
//! could happen and none is missing or told twice, that every sealed slot has its bytes, that no trial outlives
//! its tries.
//!
//! What is lost in a cut is what the guest had not yet handed to its disk; see [`machine`]. What a disk itself may
//! lose is `cargo xtask powercut medium`'s to try.

mod dialog;
mod disk;
mod loader;
mod machine;
mod rootfs;
mod setup;
mod story;
mod verb;
mod verity;
mod world;

use crate::random::Random;
use crate::{Result, workspace};
use disk::Disk;
use machine::{Cut, End, Machine};
use setup::Setup;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use story::Story;

const USAGE: &str = "\
cargo xtask powercut vm [options]   boots a virtual machine and pulls its plug, again and again

  --rounds N    how many times [default: 20]
  --seed S      decides the story and the moments [default: from the clock, and told]
  --verity      instead, check that the kernel's fs-verity and Siding agree
  --keep        keep the disk and what the machine said
  --require     fail where what it takes cannot be had (else: say `skipped`, and succeed)";

/// What was asked for.
struct Options {
    rounds: u64,
    seed: u64,
    keep: bool,
    verity: bool,
    require: bool,
}

pub(super) fn run(args: &[String]) -> Result<()> {
    let options = options(args)?;
    let setup = match Setup::new() {
        Err(why) if why.starts_with("skipped") && !options.require => {
            println!("{why}");
            return Ok(());
        }
        other => other?,
    };
    let kind = if options.verity { "verity".to_owned() } else { format!("seed-{}", options.seed) };
    let work = setup.cache.join(kind);
    let _ = fs::remove_dir_all(&work);
    let told =
        if options.verity { verity::check(&setup, &work) } else { pull_plugs(&setup, &work, &options) };
    println!("\n{}", told?);
    if !options.keep {
        let _ = fs::remove_dir_all(&work);
    }
    Ok(())
}

fn pull_plugs(setup: &Setup, work: &Path, options: &Options) -> Result<String> {
    let mut run = Run::new(setup, work, options)?;
    run.rounds()?;
    match run.bad.is_empty() {
        true => Ok(run.summary()),
        false => Err(format!("{}\n{}\nkept in {}", run.bad.join("\n"), run.summary(), work.display())),
    }
}

fn options(args: &[String]) -> Result<Options> {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut options = Options { rounds: 20, seed: clock, keep: false, verity: false, require: false };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut number = || {
            let number = args.next().and_then(|number| number.parse().ok());
            number.ok_or_else(|| format!("{arg} takes a number\n\n{USAGE}"))
        };
        match arg.as_str() {
            "--rounds" => options.rounds = number()?,
            "--seed" => options.seed = number()?,
            "--verity" => options.verity = true,
            "--keep" => options.keep = true,
            "--require" => options.require = true,
            "--help" => return Err(USAGE.to_owned()),
            odd => return Err(format!("what is {odd:?}?\n\n{USAGE}")),
        }
    }
    Ok(options)
}

/// A run over many rounds, with what came of them.
struct Run {
    work: PathBuf,
    disk: PathBuf,
    seed: u64,
    rounds: u64,
    story: Story,
    /// How often what was going on when the plug was pulled.
    cuts: BTreeMap<String, u64>,
    bad: Vec<String>,
}

impl Run {
    /// Makes the disk, boots it once and founds the store.
    fn new(setup: &Setup, work: &Path, options: &Options) -> Result<Self> {
        let disk = Disk::new(work)?;
        let mut story = Story::default();
        let mut init = vec![app(setup, &disk, &mut story)?];
        let (mut slots, mut variables) = (vec![], vec![]);
        if rootfs::is_known(setup) {
            let (more, image) = rootfs::component(setup, &disk, &mut story)?;
            init.extend(more);
            slots.push(("slot-a", image));
            variables.push("siding_rootfs_slot=a");
        }
        boot_files(setup, &disk, work, &variables)?;
        let disk = disk.assemble(&slots)?;
        let (seed, rounds) = (options.seed, options.rounds);
        let (cuts, bad) = (BTreeMap::new(), vec![]);
        let mut run = Self { work: work.to_owned(), disk, seed, rounds, story, cuts, bad };
        let mut machine = run.power_on(0, Cut::Never)?;
        match run.story.found(&mut machine, &init) {
            Ok(()) => Ok(run),
            Err(end) => {
                Err(format!("cannot make the store in the virtual machine: {end:?}\nsee {}", work.display()))
            }
        }
    }

    fn rounds(&mut self) -> Result<()> {
        for round in 1..=self.rounds {
            self.keep_disk(round)?;
            let mut random = Random::new(self.seed.wrapping_mul(1 << 20).wrapping_add(round));
            let cut = self.plan(&mut random);
            let began = Instant::now();
            let mut machine = self.power_on(round, cut.clone())?;
            let end = self.story.go_on(&mut machine, &mut random, 1000);
            drop(machine);
            let (doing, seconds) = (self.story.doing.clone(), began.elapsed().as_secs_f64());
            match end {
                Ok(()) | Err(End::Cut) => {
                    println!("round {round} of {}: cut after {seconds:.1} s, in {doing}", self.rounds);
                    *self.cuts.entry(doing).or_default() += 1;
                }
                Err(End::Bad(why)) => {
                    println!("round {round} of {}: BAD, in {doing}\n  {why}", self.rounds);
                    self.bad.push(format!("round {round}, in {doing}: {why}"));
                    return Ok(());
                }
            }
        }
        let mut machine = self.power_on(self.rounds + 1, Cut::Never)?;
        match self.story.boot(&mut machine) {
            Ok(()) | Err(End::Cut) => {}
            Err(End::Bad(why)) => self.bad.push(format!("after the last round: {why}")),
        }
        Ok(())
    }

    /// When to pull the plug: anywhere, in a verb, in a switch, in the loader and the kernel, in the boot verb.
    fn plan(&self, random: &mut Random) -> Cut {
        let (kind, nth, part) = (random.below(100), random.below(6), random.part());
        let took = |verb: &str| self.story.took.get(verb).copied().unwrap_or(Duration::from_millis(300));
        // A boot takes 4 s on an idle machine and half a minute on a busy one.
        let at_last = took("power-on") * 3 + Duration::from_secs(20);
        let after =
            |mark, nth, most: Duration| Cut::After { mark, nth, delay: most.mul_f64(part * 1.1), at_last };
        match kind {
            0..25 => Cut::At(at_last.mul_f64(part)),
            25..50 => after("DOING siding", nth, took("install")),
            50..65 => after("DOING siding switch", 0, took("switch")),
            65..75 => after("DOING siding install", nth / 3, took("install")),
            75..85 => after("LOADER", nth / 3, took("power-on") / 2),
            85..95 => after("DOING siding boot", nth / 3, took("boot")),
            _ => after("DOING reboot", nth / 3, Duration::from_secs(3)),
        }
    }

    fn power_on(&self, round: u64, cut: Cut) -> Result<Machine> {
        let transcript = self.work.join(format!("round-{round}.txt"));
        Machine::start(&mut disk::machine(&self.disk), &transcript, cut)
    }

    /// The disk as it is before a round, so that a bad one can be looked at, and booted again.
    fn keep_disk(&self, round: u64) -> Result<()> {
        let before = self.work.join("before.img");
        let mut copy = Command::new("cp");
        copy.args(["--sparse=always", "--reflink=auto"]).args([&self.disk, &before]);
        setup::run(&mut copy).map(drop).map_err(|why| format!("round {round}: {why}"))
    }

    fn summary(&self) -> String {
        let cuts: u64 = self.cuts.values().sum();
        let by: Vec<String> = self.cuts.iter().map(|(doing, n)| format!("{n} in {doing}")).collect();
        let Story { boots, verbs, fallbacks, .. } = &self.story;
        format!(
            "{cuts} cuts ({}), {boots} boots checked, {verbs} verbs done, {fallbacks} trials fell back, \
             {} by GRUB, {} bad\n\
             seed {}: cargo xtask powercut vm --rounds {} --seed {}",
            by.join(", "),
            self.story.loader.gave_up,
            self.bad.len(),
            self.seed,
            self.rounds,
            self.seed
        )
    }
}

/// What the loader needs.
fn boot_files(setup: &Setup, disk: &Disk, work: &Path, variables: &[&str]) -> Result<()> {
    disk.copy(&setup.kernel, "boot/vmlinuz")?;
    disk.copy(&setup.initrd(work, include_str!("vm/init.sh"), &[])?, "boot/initrd")?;
    disk.write("boot/grub/grub.cfg", include_bytes!("vm/grub.cfg"))?;
    disk.copy(&workspace().join("contrib/grub/siding.cfg"), "boot/grub/siding.cfg")?;
    disk.environment(variables)
}

/// A component that lives in the store: a real library and three patches for it. Gives the words that found it.
fn app(setup: &Setup, disk: &Disk, story: &mut Story) -> Result<String> {
    let pair = |version| workspace().join(format!("testdata/libssl/{version}/libssl.so.3"));
    let old = pair("3.0.20");
    let read = |path: &Path| fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()));
    let new = read(&pair("3.0.22"))?;
    let key = disk.at("key");
    setup.siding(&["keygen", &key.to_string_lossy()])?;
    disk.copy(&disk.at("key.pub"), "data/key.pub")?;
    disk.copy(&old, "data/app.base")?;
    story.images.insert(("app".into(), "3.0.20".into()), setup::sha256(&read(&old)?)?);
    for letter in ['a', 'b', 'c'] {
        let (image, version) = (disk.at(&format!("app-{letter}")), format!("3.0.20 ({letter})"));
        let mut bytes = new.clone();
        bytes.iter_mut().skip(100_000).step_by(5000).for_each(|byte| *byte ^= letter as u8);
        fs::write(&image, &bytes).map_err(|e| format!("cannot write {}: {e}", image.display()))?;
        story.images.insert(("app".into(), version.clone()), setup::sha256(&bytes)?);
        let patch = disk.at("data").join(story::file_name("app", "3.0.20", &version));
        let key = disk.at("key.key");
        let [old, image, patch, key] = [&old, &image, &patch, &key].map(|path| path.to_string_lossy());
        let mut args = vec!["diff", &*old, &*image, "-o", &*patch, "--key", &*key];
        args.extend(["--component", "app", "--from", "3.0.20", "--to", &version]);
        setup.siding(&args)?;
    }
    Ok("siding init app /data/app.base --version 3.0.20".to_owned())
}
