//! `cargo xtask fleet`: a repository, a web server and a thousand devices in one machine, and everything that goes
//! wrong with them.
//!
//! All of it is the real binary: the maker's verbs publish, `siding publish serve` serves, and each device is a store
//! in which `siding agent --once` is run as a process every eight simulated hours. Only the time is simulated, and
//! given to the agent. Between the devices and the server stands a [`crate::proxy`] that spoils some of the answers.
//! Disks are full, mirrors are bad, a release fails its health checks on some devices and is withdrawn, and agents
//! are killed at moments that the seed chooses.
//!
//! After every process the device's record is read and held against what may be: see [`audit`].

mod audit;
mod device;
mod maker;
mod picture;
mod report;
mod story;

use crate::proxy::Proxy;
use crate::random::Random;
use crate::{Result, machine, tools, workspace};
use device::Device;
use maker::Maker;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use story::{END, Story};

pub(crate) const USAGE: &str = "\
cargo xtask fleet [options]          needs root, for devices whose disk is full

  --devices N       how many devices (1000)
  --seed S          what decides everything that is chosen at random (1)
  --kills N         kill the agent at least so many times (200)
  --faults N        of a thousand answers of the server, spoil so many (30)
  --workers N       so many devices work at the same time (3)
  --write           put the figures and pictures into docs/
  --siding FILE     use this binary and build none";

#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) devices: usize,
    pub(crate) seed: u64,
    pub(crate) kills: u64,
    pub(crate) faults: u64,
    pub(crate) workers: usize,
    write: bool,
    siding: Option<PathBuf>,
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    let siding = match &options.siding {
        Some(siding) => fs::canonicalize(siding).map_err(|e| format!("{}: {e}", siding.display()))?,
        None => tools::build_siding(&workspace())?,
    };
    let dir = tempfile::Builder::new().prefix("siding-fleet").tempdir_in(machine::scratch());
    let dir = dir.map_err(|e| format!("no temporary directory: {e}"))?;
    let begun = Instant::now();

    let maker = Maker::new(&siding, dir.path())?;
    let proxy = Proxy::start(&maker.serve()?, options.seed)?;
    let devices = device::all(&options, &maker, &proxy, dir.path())?;
    println!("{} devices are ready after {:.0} s", devices.len(), begun.elapsed().as_secs_f64());

    let mut fleet = Fleet { options: &options, maker, proxy, devices, ticks: Vec::new() };
    let mut story = Story::new();
    for hour in 0..=END {
        story.at(hour, &mut fleet)?;
        fleet.tick(hour)?;
    }
    let report = report::Report::of(&fleet, &story, begun.elapsed())?;
    println!("{}", report.text());
    if options.write {
        report.write()?;
    }
    report.verdict()
}

/// All there is.
pub(crate) struct Fleet<'a> {
    pub(crate) options: &'a Options,
    pub(crate) maker: Maker,
    pub(crate) proxy: Proxy,
    pub(crate) devices: Vec<Mutex<Device>>,
    /// How it stood at the end of each hour.
    pub(crate) ticks: Vec<Tick>,
}

/// How many devices run what, and what was served, at the end of an hour.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tick {
    pub(crate) hour: u64,
    /// Devices by the letter of what they run, `base` first.
    pub(crate) by_letter: [usize; device::LETTERS.len()],
    pub(crate) served: u64,
    /// What full images would have taken for the same installs.
    pub(crate) full: u64,
}

impl Fleet<'_> {
    /// Lets everything that is due in this hour be done, by some devices at a time.
    fn tick(&mut self, hour: u64) -> Result<()> {
        let due: Vec<&Mutex<Device>> =
            self.devices.iter().filter(|device| device::locked(device).is_due(hour)).collect();
        let next = AtomicUsize::new(0);
        let work = || -> Result<()> {
            while let Some(device) = due.get(next.fetch_add(1, Ordering::Relaxed)) {
                let mut device = device::locked(device);
                let mut random = self.random(device.number, hour);
                device.pass(self, hour, &mut random)?;
                audit::after(&mut device, self, hour);
            }
            Ok(())
        };
        let done: Vec<Result<()>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.options.workers).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|one| one.join().unwrap_or(Err("a worker panicked".to_owned()))).collect()
        });
        done.into_iter().collect::<Result<Vec<()>>>()?;
        let mut tick = Tick { hour, served: self.served(), ..Tick::default() };
        for device in &self.devices {
            let device = device::locked(device);
            tick.by_letter[device.letter] += 1;
            tick.full += device.full;
        }
        if hour.is_multiple_of(8) {
            println!("hour {hour:>3}: {:?} run {:?}", tick.by_letter, device::LETTERS);
        }
        self.ticks.push(tick);
        Ok(())
    }

    pub(crate) fn served(&self) -> u64 {
        let served = self.proxy.served();
        served.metadata + served.targets
    }

    /// What is chosen for this device in this hour; the same whoever works at it, and when.
    fn random(&self, device: usize, hour: u64) -> Random {
        let mixed = self.options.seed.wrapping_mul(0x9e37_79b9).wrapping_add(device as u64);
        Random::new(mixed.wrapping_mul(1 << 10).wrapping_add(hour))
    }
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let mut options =
            Self { devices: 1000, seed: 1, kills: 200, faults: 30, workers: 3, write: false, siding: None };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--write" {
                options.write = true;
                continue;
            }
            let value = args.next().ok_or(USAGE)?;
            let number = || value.parse::<u64>().map_err(|e| format!("{arg} {value}: {e}"));
            match arg.as_str() {
                "--devices" => options.devices = number()?.clamp(1, 100_000) as usize,
                "--seed" => options.seed = number()?,
                "--kills" => options.kills = number()?,
                "--faults" => options.faults = number()?.min(1000),
                "--workers" => options.workers = number()?.clamp(1, 64) as usize,
                "--siding" => options.siding = Some(value.into()),
                _ => return Err(USAGE.to_owned()),
            }
        }
        Ok(options)
    }
}

/// A while in which a process that hangs is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
