//! One device: a store, a policy, and what was seen of it.

use super::maker::{BASES, COMPONENTS, Maker};
use super::story::{self, RELEASES};
use super::{Fleet, Options, PATIENCE};
use crate::proxy::Proxy;
use crate::random::Random;
use crate::{Result, measure};
use siding_image::Digest;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a device may run, in order; a letter is a supplement.
pub(crate) const LETTERS: [&str; 5] = ["base", "a", "b", "c", "d"];
/// The first one that repairs the weakness.
pub(crate) const SAFE: usize = 2;
/// So many hours lie between two passes.
const EVERY: u64 = 8;

/// What is special about a device.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traits {
    /// Automatic install is off.
    pub(crate) off: bool,
    /// Its disk is full at first.
    pub(crate) full_disk: bool,
    /// Its health check finds what is wrong with `(c)`.
    pub(crate) picky: bool,
    /// Its owner removes what is installed, once.
    pub(crate) removes: bool,
    /// A bad mirror comes first in its list.
    pub(crate) bad_mirror: bool,
}

pub(crate) struct Device {
    pub(crate) number: usize,
    pub(crate) id: String,
    pub(crate) dir: PathBuf,
    pub(crate) traits: Traits,
    /// What it runs, as an index into [`LETTERS`], as last seen.
    pub(crate) letter: usize,
    /// It runs the base because its owner removed it; until a newer letter than this one.
    pub(crate) removed: Option<usize>,
    /// Somebody installed by hand.
    pub(crate) by_hand: bool,
    /// When it wakes up next, as its agent has noted it; in the next hour if that was killed or failed.
    pub(crate) next: u64,
    /// The last pass was killed.
    pub(crate) killed: bool,
    pub(crate) kills: u64,
    pub(crate) passes: u64,
    /// Of the hour, when the next process runs.
    minute: u64,
    /// How long the last process took.
    pub(crate) took: Duration,
    /// Of its passes, those that failed by themselves, and what the last of them said.
    pub(crate) failures: u64,
    pub(crate) said: String,
    /// It went back from `(c)` because a check failed.
    pub(crate) went_back: bool,
    /// Since when it has been safe.
    pub(crate) safe_since: Option<u64>,
    /// Bytes that whole images would have taken for what was installed.
    pub(crate) full: u64,
    /// What is wrong with it.
    pub(crate) wrong: Vec<String>,
    mounted: bool,
}

/// A store for each base and for each thing that a device may have at first, copied for every device.
pub(crate) fn all(options: &Options, maker: &Maker, proxy: &Proxy, dir: &Path) -> Result<Vec<Mutex<Device>>> {
    for told in RELEASES.iter().filter(|told| told.letter == "a") {
        maker.publish(told.id, told.letter, story::start(), told.waves)?;
    }
    let mut templates = Vec::new();
    for base in BASES {
        for letter in 0..=1 {
            let mut random = Random::new(0);
            let name = format!("template-{base}-{letter}");
            let mut device = Device::new(0, name.clone(), dir.join(name), Traits::default());
            device.settle_in(base, maker, &[proxy.url()], &mut random)?;
            if letter == 1 {
                device.agent(maker, &["agent", "--once"], 0, None)?;
            }
            device.letter = device.look()?;
            if device.letter != letter {
                return Err(format!("{} runs {}: {}", device.id, LETTERS[device.letter], device.said));
            }
            templates.push(device);
        }
    }
    let mut devices = Vec::new();
    for number in 0..options.devices {
        let mut random = Random::new(options.seed.wrapping_add(number as u64).wrapping_mul(77));
        devices.push(Mutex::new(Device::like(number, &templates, proxy, dir, &mut random)?));
    }
    Ok(devices)
}

impl Device {
    fn new(number: usize, id: String, dir: PathBuf, traits: Traits) -> Self {
        Self {
            number,
            id,
            dir,
            traits,
            letter: 0,
            removed: None,
            by_hand: false,
            next: number as u64 % EVERY,
            killed: false,
            kills: 0,
            passes: 0,
            minute: 0,
            took: Duration::ZERO,
            failures: 0,
            said: String::new(),
            went_back: false,
            safe_since: None,
            full: 0,
            wrong: Vec::new(),
            mounted: false,
        }
    }

    /// A copy of one of the templates, with a name and traits of its own.
    fn like(
        number: usize,
        templates: &[Self],
        proxy: &Proxy,
        dir: &Path,
        random: &mut Random,
    ) -> Result<Self> {
        // Two in ten have the old base; half of all have (a).
        let base = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2][random.below(10) as usize];
        let template = &templates[base * 2 + random.below(2) as usize];
        let mut one_in = |n: u64| random.below(n) == 0;
        let traits = Traits {
            off: one_in(33),
            full_disk: one_in(50),
            picky: one_in(3),
            removes: one_in(40),
            bad_mirror: one_in(8),
        };
        let id = format!("device-{number:05}");
        let mut device = Self::new(number, id.clone(), dir.join(&id), traits);
        let failed = |e: std::io::Error| format!("{}: {e}", device.dir.display());
        fs::create_dir_all(&device.dir).map_err(failed)?;
        if traits.full_disk {
            device.mount(template)?;
        }
        let mut copy = Command::new("cp");
        copy.args(["-a", "--reflink=auto"]).arg(template.dir.join("store")).arg(device.dir.join("store"));
        measure::run(&mut copy, None)?;
        // What a copied agent remembers is another device's.
        let _ = fs::remove_dir_all(device.dir.join("store/agent"));
        let mirrors = match (traits.bad_mirror, one_in(2)) {
            (false, _) => vec![proxy.url()],
            (true, true) => vec![proxy.bad_url(), proxy.url()],
            (true, false) => vec!["http://127.0.0.1:9/".to_owned(), proxy.url()],
        };
        device.policy(template.dir.parent().unwrap_or(dir), &mirrors)?;
        device.health_check()?;
        device.letter = template.letter;
        Ok(device)
    }

    fn settle_in(&mut self, base: &str, maker: &Maker, mirrors: &[String], _: &mut Random) -> Result<()> {
        fs::create_dir_all(&self.dir).map_err(|e| format!("{}: {e}", self.dir.display()))?;
        self.policy(maker.dir.parent().unwrap_or(&maker.dir), mirrors)?;
        for component in COMPONENTS {
            let image = maker.dir.join("images").join(base).join(component);
            let mut command = self.siding(maker);
            command.args(["init", component]).arg(image).args(["--version", base]);
            measure::run(&mut command, None)?;
        }
        Ok(())
    }

    fn policy(&self, dir: &Path, mirrors: &[String]) -> Result<()> {
        let (etc, maker) = (self.dir.join("etc"), dir.join("maker"));
        let failed = |e: std::io::Error| format!("{}: {e}", etc.display());
        let trust = dir.join("trust");
        fs::create_dir_all(&trust).and_then(|()| fs::create_dir_all(&etc)).map_err(failed)?;
        fs::copy(maker.join("release.pub"), trust.join("release.pub")).map_err(failed)?;
        let text = format!(
            "mirrors = {mirrors:?}\nroot = {:?}\ntrust = {trust:?}\ndevice-id = {:?}\nautomatic-install = {}\n\
             check-every = \"{EVERY}h\"\n",
            maker.join("keys/root.json"),
            self.id,
            !self.traits.off
        );
        fs::write(etc.join("agent.toml"), text).map_err(failed)
    }

    /// Two in three take what they get; the others look into it.
    fn health_check(&self) -> Result<()> {
        let path = self.dir.join("store/health.d/look");
        let failed = |e: std::io::Error| format!("{}: {e}", path.display());
        let look = match self.traits.picky {
            true => format!(
                "if grep -q '{}' \"$SIDING_STORE/current/libssl\"; then echo 'it does not work'; exit 1; fi",
                super::maker::BAD
            ),
            false => "test -s \"$SIDING_STORE/current/libssl\"".to_owned(),
        };
        fs::create_dir_all(path.parent().unwrap_or(&path)).map_err(failed)?;
        fs::write(&path, format!("#!/bin/sh\n{look}\n")).map_err(failed)?;
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).map_err(failed)
    }

    /// A disk with room for what is there and for little more.
    fn mount(&mut self, template: &Self) -> Result<()> {
        let (_, used) = measure::run(Command::new("du").arg("-sk").arg(template.dir.join("store")), None)?;
        let used: u64 = used.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(4096);
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={}k", used + 400), "none"]).arg(&self.dir);
        measure::run(&mut mount, None)?;
        self.mounted = true;
        Ok(())
    }

    /// Somebody tidies up the full disk.
    pub(crate) fn make_room(&mut self) -> Result<()> {
        if self.mounted {
            let mut mount = Command::new("mount");
            mount.args(["-o", "remount,size=64m"]).arg(&self.dir);
            measure::run(&mut mount, None)?;
        }
        Ok(())
    }

    // ---- what is run

    pub(crate) fn is_due(&self, hour: u64) -> bool {
        self.next <= hour
    }

    /// One pass of the agent, which is killed in the middle if the seed says so.
    pub(crate) fn pass(
        &mut self,
        fleet: &Fleet<'_>,
        hour: u64,
        minute: u64,
        random: &mut Random,
    ) -> Result<()> {
        self.passes += 1;
        self.minute = minute;
        let kill = self.kill_after(fleet, hour, random);
        self.agent(&fleet.maker, &["agent", "--once"], hour, kill)
    }

    /// A pass that has something to do is killed with such a chance that there are enough kills in the end.
    fn kill_after(&self, fleet: &Fleet<'_>, hour: u64, random: &mut Random) -> Option<Duration> {
        let options = fleet.options;
        let newest = |told: &&story::Told| told.at <= hour && self.place(told.id) < story::reach(told, hour);
        let offered = RELEASES.iter().filter(newest).filter_map(|told| index(told.letter)).max();
        let busy = offered.is_some_and(|letter| letter > self.letter) && !self.traits.off;
        // A device has three installs in its life; about half of those that are aimed at are over before.
        let chance = (options.kills as f64 / options.devices as f64).min(0.5) * if busy { 1.0 } else { 0.02 };
        (random.part() < chance).then(|| Duration::from_secs_f64(random.part() * pace() * 1.2))
    }

    pub(crate) fn remove_by_hand(&mut self, fleet: &Fleet<'_>, hour: u64) -> Result<()> {
        if self.traits.removes && self.letter > 0 {
            let before = self.letter;
            self.agent(&fleet.maker, &["remove", COMPONENTS[0], COMPONENTS[1]], hour, None)?;
            self.letter = self.look()?;
            if self.letter == 0 {
                self.removed = Some(before);
            } else {
                self.wrong.push(format!("hour {hour}: remove left {}: {}", LETTERS[self.letter], self.said));
            }
        }
        Ok(())
    }

    /// Of those with automatic install off, every second one is seen to.
    pub(crate) fn install_by_hand(&mut self, fleet: &Fleet<'_>, hour: u64, id: &str) -> Result<()> {
        if self.traits.off && self.number.is_multiple_of(2) {
            self.by_hand = true;
            self.agent(&fleet.maker, &["install", id], hour, None)?;
            super::audit::after(self, fleet, hour);
        }
        Ok(())
    }

    /// Runs a verb at a simulated time, and kills it after a while if that is asked for.
    fn agent(&mut self, maker: &Maker, words: &[&str], hour: u64, kill: Option<Duration>) -> Result<()> {
        let failed = |e: std::io::Error| format!("{}: {e}", words.join(" "));
        let out = tempfile::tempfile_in("/dev/shm").or_else(|_| tempfile::tempfile()).map_err(failed)?;
        let (one, two): (File, File) = (out.try_clone().map_err(failed)?, out.try_clone().map_err(failed)?);
        let mut command = self.siding(maker);
        command.args(words).env("SIDING_NOW", (story::time(hour) + self.minute * 60).to_string());
        let started = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(one).stderr(two).spawn().map_err(failed)?;
        let ended = watch(child, kill)?;
        self.killed = ended.killed;
        self.kills += u64::from(ended.killed);
        self.took = started.elapsed();
        let well = matches!(ended.code, Some(0 | 4));
        if words[0] == "agent" {
            // One that ended by itself has noted when it looks next, whatever it found.
            let noted = if ended.killed { None } else { self.noted() };
            self.next = noted.unwrap_or(hour + 1).max(hour + 1);
        }
        if !well {
            self.failures += u64::from(!ended.killed);
            self.said = text(out);
        }
        if !well && !ended.killed && ended.code.is_none() {
            self.wrong.push(format!("hour {hour}: {} ended by a signal: {}", words.join(" "), self.said));
        }
        Ok(())
    }

    pub(crate) fn siding(&self, maker: &Maker) -> Command {
        let mut command = Command::new(&maker.siding);
        command.env("SIDING_STORE", self.dir.join("store")).env("SIDING_CONFIG", self.dir.join("etc"));
        command.args(["--threads", "1"]);
        command
    }

    // ---- what is seen

    /// What it runs, by the first component.
    fn look(&self) -> Result<usize> {
        let view =
            siding_slot::Store::view(&self.dir.join("store")).map_err(|e| format!("{}: {e}", self.id))?;
        let held = view.state().components().next().and_then(|(_, held)| held.active_image());
        held.and_then(|image| letter_of(&image.version.to_string()))
            .ok_or_else(|| format!("{} runs nothing that is known", self.id))
    }

    /// The hour in which the agent wants to look or to try again.
    fn noted(&self) -> Option<u64> {
        let text = fs::read_to_string(self.dir.join("store/agent/state.json")).ok()?;
        let state: serde_json::Value = serde_json::from_str(&text).ok()?;
        let again =
            state["failed"].as_object().into_iter().flatten().filter_map(|(_, one)| one["again"].as_u64());
        let at = again.chain(state["next"].as_u64()).min()?;
        Some(at.saturating_sub(story::start()).div_ceil(3600))
    }

    /// Its place among 10,000 for a release, as documented; reckoned here anew.
    pub(crate) fn place(&self, release: &str) -> u64 {
        let Digest(bytes) = Digest::of_parts(&[release.as_bytes(), &[0], self.id.as_bytes()]);
        bytes[..8].iter().fold(0_u64, |head, byte| head << 8 | u64::from(*byte)) % 10_000
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if self.mounted {
            let _ = Command::new("umount").arg("-l").arg(&self.dir).status();
        }
    }
}

/// `3.0.20 (b)` is a 2.
pub(crate) fn letter_of(version: &str) -> Option<usize> {
    match version.split_once(" (") {
        None => Some(0),
        Some((_, rest)) => index(rest.strip_suffix(')')?),
    }
}

pub(crate) fn index(letter: &str) -> Option<usize> {
    LETTERS.iter().position(|one| *one == letter)
}

pub(crate) fn locked(device: &Mutex<Device>) -> MutexGuard<'_, Device> {
    device.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a process ended.
struct Ended {
    code: Option<i32>,
    killed: bool,
}

fn watch(mut child: Child, kill: Option<Duration>) -> Result<Ended> {
    let started = Instant::now();
    let limit = kill.unwrap_or(PATIENCE);
    loop {
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            return Ok(Ended { code: status.code(), killed: false });
        }
        if started.elapsed() >= limit {
            child.kill().map_err(|e| e.to_string())?;
            let status = child.wait().map_err(|e| e.to_string())?;
            if kill.is_none() {
                return Err(format!("a process was still at it after {} s", PATIENCE.as_secs()));
            }
            return Ok(Ended { code: status.code(), killed: status.code().is_none() });
        }
        std::thread::sleep(Duration::from_millis(1).min(limit.saturating_sub(started.elapsed())));
    }
}

fn text(mut file: File) -> String {
    use std::io::{Read, Seek};
    let mut text = String::new();
    let _ = file.rewind().and_then(|()| file.read_to_string(&mut text));
    text
}

/// How long a pass takes here that installs something, in seconds: the mean of late.
static PACE: Mutex<f64> = Mutex::new(0.2);

pub(crate) fn note_pace(took: Duration) {
    let mut pace = PACE.lock().unwrap_or_else(PoisonError::into_inner);
    *pace += (took.as_secs_f64() - *pace) / 16.0;
}

fn pace() -> f64 {
    *PACE.lock().unwrap_or_else(PoisonError::into_inner)
}
