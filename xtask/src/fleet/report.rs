//! What came of it: figures, pictures, and whether anything was wrong.

use super::device::{LETTERS, SAFE, locked};
use super::picture::{self, Line};
use super::{Fleet, Options, Tick, audit, story};
use crate::{Result, machine, workspace};
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

pub(crate) struct Report {
    options: Options,
    ticks: Vec<Tick>,
    wall: Duration,
    /// A line each, for the table.
    facts: Vec<(String, String)>,
    wrong: Vec<String>,
    kills: u64,
}

const BEGIN: &str = "<!-- fleet:begin -->";
const FINISH: &str = "<!-- fleet:end -->";

impl Report {
    /// Looks at every device for the last time.
    pub(crate) fn of(fleet: &Fleet<'_>, _story: &story::Story, wall: Duration) -> Result<Self> {
        let mut wrong = Vec::new();
        for one in &fleet.devices {
            let mut device = locked(one);
            audit::verify(&mut device, fleet);
            wrong.extend(device.wrong.iter().map(|what| format!("{}: {what}", device.id)));
        }
        let kills = sum(fleet, |device| device.kills);
        let mut report = Self {
            options: fleet.options.clone(),
            ticks: fleet.ticks.clone(),
            wall,
            facts: Vec::new(),
            wrong,
            kills,
        };
        report.facts = report.figures(fleet);
        Ok(report)
    }

    fn figures(&self, fleet: &Fleet<'_>) -> Vec<(String, String)> {
        let count = |one: fn(&super::Device) -> bool| sum(fleet, |device| u64::from(one(device)));
        let by_itself = |device: &super::Device| device.safe_since.filter(|_| !device.traits.off);
        let mut safe: Vec<u64> = fleet.devices.iter().filter_map(|one| by_itself(&locked(one))).collect();
        safe.sort_unstable();
        let devices = fleet.devices.len();
        let by_itself = devices - count(|device| device.traits.off) as usize;
        let after = |percent: usize| {
            let at = (by_itself * percent).div_ceil(100).saturating_sub(1);
            safe.get(at).map_or("–".to_owned(), |hours| format!("{hours} h"))
        };
        let served = fleet.proxy.served();
        let last = self.ticks.last().cloned().unwrap_or_default();
        let mut facts = vec![
            ("devices".to_owned(), devices.to_string()),
            (
                "passes of the agent, a process each".to_owned(),
                sum(fleet, |device| device.passes).to_string(),
            ),
            ("of these killed by SIGKILL".to_owned(), self.kills.to_string()),
            (
                "ended with an error, their own or the network's, and tried again".to_owned(),
                sum(fleet, |device| device.failures).to_string(),
            ),
            ("safe after, half of those that install by themselves".to_owned(), after(50)),
            ("nine in ten of them".to_owned(), after(90)),
            ("99 in a hundred of them".to_owned(), after(99)),
            ("automatic install off".to_owned(), count(|device| device.traits.off).to_string()),
            ("full disks until hour 64".to_owned(), count(|device| device.traits.full_disk).to_string()),
            (
                "a bad mirror first in the list".to_owned(),
                count(|device| device.traits.bad_mirror).to_string(),
            ),
            (
                "went back from (c): a check failed, or it was withdrawn".to_owned(),
                count(|d| d.went_back).to_string(),
            ),
            ("removed by their owner".to_owned(), count(|device| device.traits.removes).to_string()),
            ("requests".to_owned(), served.requests.to_string()),
            ("bytes of metadata".to_owned(), mebibytes(served.metadata)),
            ("bytes of releases, patches and images".to_owned(), mebibytes(served.targets)),
            ("the same installs by whole images".to_owned(), mebibytes(last.full)),
        ];
        for (fault, times) in fleet.proxy.faults() {
            facts.push((format!("answers spoilt: {}", fault.name()), times.to_string()));
        }
        facts.push(("devices in a wrong state, at any time".to_owned(), self.wrong.len().to_string()));
        facts
    }

    pub(crate) fn text(&self) -> String {
        let mut out =
            self.facts.iter().map(|(what, value)| format!("{value:>12}  {what}\n")).collect::<String>();
        for wrong in self.wrong.iter().take(20) {
            let _ = writeln!(out, "WRONG {wrong}");
        }
        let _ = write!(out, "it took {:.0} s", self.wall.as_secs_f64());
        out
    }

    /// Puts the table between the markers of `docs/fleet.md`, and the pictures beside the others.
    pub(crate) fn write(&self) -> Result<()> {
        let path = workspace().join("docs/fleet.md");
        let failed = |e: std::io::Error| format!("{}: {e}", path.display());
        let text = fs::read_to_string(&path).map_err(failed)?;
        let ends = text.split_once(BEGIN).and_then(|(above, rest)| Some((above, rest.split_once(FINISH)?.1)));
        let (above, below) = ends.ok_or_else(|| format!("{} has no fleet markers", path.display()))?;
        let table = self.table();
        fs::write(&path, format!("{above}{BEGIN}\n{table}{FINISH}{below}")).map_err(failed)?;
        let plots = workspace().join("docs/plots");
        for (name, drawn) in [("fleet-safe.svg", self.versions()), ("fleet-bytes.svg", self.bytes())] {
            fs::write(plots.join(name), drawn).map_err(|e| format!("{name}: {e}"))?;
        }
        Ok(())
    }

    fn table(&self) -> String {
        let Options { devices, seed, kills, faults, .. } = self.options;
        let mut out = format!(
            "Measured {} at {} on {}, in {:.0} minutes, by:\n\n```\ncargo xtask fleet --devices {devices} --seed \
             {seed} --kills {kills} --faults {faults} --write\n```\n\n| | |\n| --- | ---: |\n",
            machine::today(),
            machine::commit(&workspace()),
            machine::facts(),
            self.wall.as_secs_f64() / 60.0
        );
        for (what, value) in &self.facts {
            let _ = writeln!(out, "| {what} | {value} |");
        }
        out + "\n"
    }

    fn versions(&self) -> String {
        let of = |letters: &[usize]| -> Vec<(f64, f64)> {
            let at = |tick: &Tick| letters.iter().map(|letter| tick.by_letter[*letter]).sum::<usize>();
            self.ticks.iter().map(|tick| (tick.hour as f64, at(tick) as f64)).collect()
        };
        let safe: Vec<usize> = (SAFE..LETTERS.len()).collect();
        let lines = [
            Line { name: "safe", class: "main", points: of(&safe) },
            Line { name: "on (b)", class: "one", points: of(&[2]) },
            Line { name: "on (c), the bad one", class: "two", points: of(&[3]) },
            Line { name: "on (d)", class: "three", points: of(&[4]) },
        ];
        picture::lines("Devices by what they run, against hours", "devices", &lines, &story::marks())
    }

    fn bytes(&self) -> String {
        let of = |value: fn(&Tick) -> u64| {
            let point = |tick: &Tick| (tick.hour as f64, value(tick) as f64 / f64::from(1 << 20));
            self.ticks.iter().map(point).collect::<Vec<_>>()
        };
        let lines = [
            Line { name: "served, metadata included", class: "main", points: of(|tick| tick.served) },
            Line { name: "the same by whole images", class: "one", points: of(|tick| tick.full) },
        ];
        picture::lines("MiB served, against hours", "MiB", &lines, &story::marks())
    }

    /// The run is good if nothing was ever wrong, and enough was tried.
    pub(crate) fn verdict(&self) -> Result<()> {
        if !self.wrong.is_empty() {
            return Err(format!("{} times a device was in a wrong state", self.wrong.len()));
        }
        if self.kills < self.options.kills {
            return Err(format!("{} kills were asked for, {} were done", self.options.kills, self.kills));
        }
        Ok(())
    }
}

fn sum(fleet: &Fleet<'_>, of: impl Fn(&super::Device) -> u64) -> u64 {
    fleet.devices.iter().map(|one| of(&locked(one))).sum()
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
