//! What happens while the machine is on: it boots, is checked, and works until the plug is pulled.
//!
//! The story is told by the host, a line at a time, so that it always knows what was begun and what acknowledged.

use super::loader::{Environment, Loader, ROOTFS};
use super::machine::{End, Machine, Told};
use super::verb::{Begun, Verb, explain};
use super::world::{Line, World};
use crate::random::Random;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Everything the host knows about the device, over all rounds.
#[derive(Default)]
pub(super) struct Story {
    /// What the log makes of the store, as far as it was read.
    world: World,
    log: Vec<Line>,
    /// Begun since the log was last read.
    begun: Vec<Begun>,
    /// The SHA-256 of each version of each component, the base among them.
    pub(super) images: BTreeMap<(String, String), String>,
    /// The last `siding status`.
    status: Value,
    /// What is going on just now.
    pub(super) doing: String,
    pub(super) loader: Loader,
    pub(super) boots: u64,
    pub(super) verbs: u64,
    pub(super) fallbacks: u64,
    /// How long each verb took when it last ran.
    pub(super) took: BTreeMap<&'static str, Duration>,
}

impl Story {
    /// Makes the store; nothing is checked and no plug pulled.
    pub(super) fn found(&mut self, machine: &mut Machine, init: &[String]) -> Told<()> {
        self.wait_for_boot(machine)?;
        for words in init {
            let answer = machine.ask(words)?;
            if answer.code != 0 {
                return Err(End::Bad(format!("`{words}` failed: {}", answer.said)));
            }
        }
        for line in self.read_log(machine)? {
            self.world.apply(&line)?;
            self.log.push(line);
        }
        machine.ask("sh sync").map(drop)
    }

    /// Boots, checks, works; again and again.
    pub(super) fn go_on(&mut self, machine: &mut Machine, random: &mut Random, reboots: u64) -> Told<()> {
        for _ in 0..reboots {
            self.boot(machine)?;
            while let Some(verb) = self.choose(random) {
                self.carry_out(machine, verb)?;
            }
            self.doing = "reboot".to_owned();
            machine.tell("reboot")?;
        }
        Ok(())
    }

    /// One boot with all its checks.
    pub(super) fn boot(&mut self, machine: &mut Machine) -> Told<()> {
        self.wait_for_boot(machine)?;
        self.boots += 1;
        let found = self.ask_status(machine)?;
        let (booted, environment) = (machine.demand("booted")?.facts, self.environment(machine)?);
        let earlier = self.begun.clone();
        self.verb(machine, Verb::Boot)?;
        let lines = self.read_log(machine)?;
        let world = self.check_found(&found, &earlier, &lines)?;
        self.check_started(&world, &booted, &environment, !earlier.is_empty(), &lines)?;
        self.settle(machine, lines)?;
        self.check_history(machine)?;
        self.check_images(machine)
    }

    fn wait_for_boot(&mut self, machine: &mut Machine) -> Told<()> {
        let began = Instant::now();
        self.doing = "firmware".to_owned();
        let started = machine.wait_for("LOADER ")?;
        self.loader.start(&started)?;
        self.doing = "kernel".to_owned();
        machine.wait_for("READY")?;
        self.took.insert("power-on", began.elapsed());
        self.doing = "idle".to_owned();
        Ok(())
    }

    /// Runs a verb and follows its lines in the log.
    fn carry_out(&mut self, machine: &mut Machine, verb: Verb) -> Told<()> {
        self.verb(machine, verb)?;
        let lines = self.read_log(machine)?;
        self.settle(machine, lines)
    }

    fn verb(&mut self, machine: &mut Machine, verb: Verb) -> Told<()> {
        let words = verb.words();
        let name = verb.name();
        self.begun.push(Begun::new(verb, self.loader.started()));
        let began = Instant::now();
        self.doing = name.to_owned();
        let answer = machine.ask(&words)?;
        self.took.insert(name, began.elapsed());
        self.verbs += 1;
        self.doing = format!("checks after {name}");
        if ![0, 4].contains(&answer.code) {
            return Err(End::Bad(format!("`{words}` failed with {}: {}", answer.code, answer.said)));
        }
        self.begun.last_mut().into_iter().for_each(|begun| begun.acknowledged = true);
        Ok(())
    }

    /// Whether the new lines follow from what was begun, and the store is where they lead.
    fn settle(&mut self, machine: &mut Machine, lines: Vec<Line>) -> Told<()> {
        let world = explain(&self.world, &self.begun, &lines).map_err(|why| {
            let lines: String = lines.iter().map(|line| format!("\n    {}", line.text)).collect();
            format!("{why}\n  begun: {:?}\n  new in the log:{lines}", self.begun)
        })?;
        self.fallbacks += lines.iter().filter(|line| line.event == "fall-back").count() as u64;
        let status = self.ask_status(machine)?;
        world.compare(&status)?;
        if world.0.contains_key(ROOTFS) {
            self.environment(machine)?.follows(&world)?;
        }
        (self.world, self.status) = (world, status);
        self.log.extend(lines);
        self.begun.clear();
        Ok(())
    }

    /// What was found before anything wrote: a state between two records, and none before the last acknowledged.
    fn check_found(&self, found: &Value, earlier: &[Begun], lines: &[Line]) -> Told<World> {
        let (mut world, mut possible) = (self.world.clone(), Vec::new());
        for at in 0..=lines.len() {
            let (before, after) = (at.checked_sub(1).and_then(|at| lines.get(at)), lines.get(at));
            before.map_or(Ok(()), |line| world.apply(line))?;
            let sequence = |line: Option<&Line>| line.map(|line| line.sequence);
            if at == 0 || after.is_none() || sequence(before) != sequence(after) || sequence(after) == Some(0)
            {
                let told = lines.get(..at).unwrap_or_default();
                let enough = explain(&self.world, earlier, told).is_ok();
                possible.push((enough, world.clone()));
            }
        }
        let fits = |(enough, world): &(bool, World)| *enough && world.compare(found).is_ok();
        match possible.into_iter().find(fits) {
            Some((_, world)) => Ok(world),
            None => Err(End::Bad(format!(
                "after the cut the record held what cannot be: {found}\n  last known: {:?}\n  begun: {earlier:?}",
                self.world
            ))),
        }
    }

    /// What the loader started, against its variables, the record as it was found, and the bytes of both partitions.
    fn check_started(
        &self,
        found: &World,
        booted: &[String],
        environment: &Environment,
        stale: bool,
        lines: &[Line],
    ) -> Told<()> {
        let Some(held) = found.0.get(ROOTFS) else { return Ok(()) };
        let fact = |name: &str| booted.iter().find_map(|fact| fact.strip_prefix(name)).unwrap_or_default();
        let slot = fact("booted ");
        self.loader.check((slot, fact("turn ").parse().ok()), environment, held, stale)?;
        self.loader.check_trial(held)?;
        for (slot, version) in held.sealed() {
            let expected =
                self.images.get(&(ROOTFS.to_owned(), version.to_owned())).cloned().unwrap_or_default();
            if expected.is_empty() || fact(&format!("part {slot} ")) != expected {
                return Err(End::Bad(format!("partition {slot} does not hold {version}: {booted:?}")));
            }
        }
        let version = held.sealed().find(|(name, _)| *name == slot).map_or("", |(_, version)| version);
        let stray = lines.iter().any(|line| line.event == "stray");
        if fact("version ") != version || version.is_empty() && !stray {
            return Err(End::Bad(format!("running is not {version:?}, which slot {slot} holds: {booted:?}")));
        }
        Ok(())
    }

    fn environment(&self, machine: &mut Machine) -> Told<Environment> {
        let facts = machine.demand("env")?.facts;
        let block = facts.iter().find_map(|fact| fact.strip_prefix("env ")).unwrap_or_default();
        Ok(Environment::of_block(block))
    }

    /// Whether the lines that were read before are still the same.
    fn check_history(&mut self, machine: &mut Machine) -> Told<()> {
        let text: String = self.log.iter().map(|line| format!("{}\n", line.text)).collect();
        let answer = machine.ask(&format!("told {}", self.log.len()))?;
        let expected = super::setup::sha256(text.as_bytes())?;
        match answer.facts.iter().any(|fact| fact.contains(&expected)) {
            true => Ok(()),
            false => Err(End::Bad(format!(
                "lines of the log that were read before have changed: {:?}",
                answer.facts
            ))),
        }
    }

    /// The bytes of every sealed slot, and where `current` leads.
    fn check_images(&mut self, machine: &mut Machine) -> Told<()> {
        let answer = machine.ask("sums")?;
        for (name, component) in self.world.0.iter().filter(|(name, _)| *name != ROOTFS) {
            for (slot, version) in component.sealed() {
                let sum = self.images.get(&(name.clone(), version.to_owned())).cloned().unwrap_or_default();
                let expected = format!("sum {name} {slot} {sum}");
                if sum.is_empty() || !answer.facts.iter().any(|fact| fact.starts_with(&expected)) {
                    return Err(End::Bad(format!(
                        "{name}'s slot {slot} does not hold {version}: {:?}",
                        answer.facts
                    )));
                }
            }
            let expected = format!("current {name} ../components/{name}/{}/image", component.active);
            if !answer.facts.contains(&expected) {
                return Err(End::Bad(format!("no `{expected}` in {:?}", answer.facts)));
            }
        }
        Ok(())
    }

    /// What comes next; nothing is a restart.
    fn choose(&self, random: &mut Random) -> Option<Verb> {
        let on_trial = self.world.0.values().any(|component| component.trial.is_some());
        let name = self.world.0.keys().collect::<Vec<_>>();
        let component = random.pick(&name).map(|name| (*name).clone())?;
        let held = self.world.0.get(&component)?;
        let all = self.status["components"].as_array();
        let ready = |value: &Value| {
            Some((value["component"].as_str()?.to_owned(), value["ready"].as_str()?.to_owned()))
        };
        let waiting: Vec<_> = all.into_iter().flatten().filter_map(ready).collect();
        // A base is never a target; where there is none, a patch leads from what is in use to any other.
        let base = held.sealed().find(|(slot, _)| *slot == "base").map(|(_, version)| version);
        let from = base.unwrap_or(held.version()).to_owned();
        let of = |(of, version): &&(String, String)| *of == component && *version != from;
        let versions: Vec<String> =
            self.images.keys().filter(of).map(|(_, version)| version.clone()).collect();
        let version = random.pick(&versions)?.clone();
        let patch = file_name(&component, &from, &version);
        let tries = 1 + random.below(2);
        let chance = random.below(100);
        let patched = base.is_some() && held.active != "base";
        match chance {
            0..35 if on_trial => Some(Verb::Confirm),
            35..55 if held.trial.is_some() => Some(Verb::Rollback { component }),
            55..60 => Some(Verb::Vacuum),
            _ if on_trial => None,
            0..40 if !waiting.is_empty() => Some(Verb::Switch { waiting, tries }),
            40..48 if patched => Some(Verb::Remove { component }),
            48..55 if patched => Some(Verb::Rollback { component }),
            60..62 => None,
            62..75 => Some(Verb::Install { component, version, patch, tries: Some(tries) }),
            _ => Some(Verb::Install { component, version, patch, tries: None }),
        }
    }

    fn read_log(&mut self, machine: &mut Machine) -> Told<Vec<Line>> {
        let answer = machine.ask(&format!("log {}", self.log.len()))?;
        let lines = answer.facts.iter().filter_map(|fact| fact.strip_prefix("log "));
        Ok(lines.map(Line::parse).collect::<Result<_, _>>()?)
    }

    fn ask_status(&mut self, machine: &mut Machine) -> Told<Value> {
        let answer = machine.ask("status")?;
        let text = answer.facts.iter().find_map(|fact| fact.strip_prefix("status ")).unwrap_or_default();
        serde_json::from_str(text).map_err(|e| End::Bad(format!("siding status --json says {text:?}: {e}")))
    }
}

/// The file of a patch.
pub(super) fn file_name(component: &str, from: &str, to: &str) -> String {
    let [from, to] = [from, to].map(|version| version.replace([' ', '(', ')'], ""));
    format!("{component}-{from}-{to}.siding")
}
