//! `siding bench`: how long applying takes, and what the same bytes take by other means.
//!
//! Beside a plain copy with a flush and a digest stand the machine's limits, each alone (`limits.rs`), and other
//! tools with patches of their own (`peers.rs`), all in one run.

mod limits;
mod peers;

use crate::args::Bench;
use crate::bytes::size;
use crate::failure::Failure;
use crate::load;
use crate::offline::reader;
use crate::output::{Paint, Reply, table};
use limits::Limits;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use siding_apply::{Clock, NoProgress};
use siding_patch::Trust;
use siding_slot::Builder;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub(crate) use peers::Peer;

/// One run, stage by stage.
#[derive(Clone, Debug, Default)]
struct Run {
    check_source: Duration,
    clock: Clock,
    seal: Duration,
    total: Duration,
}

pub(crate) fn bench(args: &Bench) -> Result<Reply, Failure> {
    if args.patch == Path::new("-") {
        return Err(Failure::usage("a bench reads the patch several times; give it a file"));
    }
    let dir = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let scratch = Scratch(dir.join(format!("siding-bench-{}", std::process::id())));
    fs::create_dir(&scratch.0).map_err(|e| Failure::io("create", &scratch.0, &e))?;
    let target =
        siding_patch::open(reader(&args.patch)?, &Trust::anyone(), &siding_patch::Limits::default())?
            .manifest()
            .target
            .identity;
    let memory = Memory::watch();
    let out = scratch.0.join("out");
    let mut runs = Vec::new();
    for _ in 0..args.runs {
        clear(&out)?;
        runs.push(run(args, &out)?);
    }
    let peak = memory.peak();
    let copies: Vec<Duration> =
        (0..args.runs).map(|_| copy_and_hash(&out, &scratch.0.join("copy"))).collect::<Result<_, _>>()?;
    let limits = limits::measure(&out, &scratch.0.join("written"), args.runs)?;
    let peer = |peer: &Peer| {
        let spent = peer.measure(&args.old, &scratch.0.join("peer"), &target, args.runs)?;
        Ok((peer.name(), spent))
    };
    let figures = Figures {
        stages: Figures::stages(&runs),
        total: median(runs.iter().map(|run| run.total).collect()),
        copied: median(copies),
        target: target.size,
        peak,
        limits,
        peers: args.peers.iter().map(peer).collect::<Result<_, Failure>>()?,
    };
    Ok(Reply::new(figures.text(args), figures.json(args.runs)))
}

/// What `siding apply` does, timed.
fn run(args: &Bench, out: &Path) -> Result<Run, Failure> {
    let start = Instant::now();
    let patch = siding_patch::open(reader(&args.patch)?, &Trust::anyone(), &siding_patch::Limits::default())?;
    let (old, apply) = load::prepare(&args.load, patch, &args.old)?;
    let check_source = start.elapsed();
    let mut builder = Builder::create(out)?;
    let report = load::run(&args.load, apply, &old, &mut builder, &mut NoProgress)?;
    let sealing = Instant::now();
    builder.finish(Some(&old))?;
    Ok(Run { check_source, clock: report.clock, seal: sealing.elapsed(), total: start.elapsed() })
}

/// The speed of light: the same bytes copied, flushed, and hashed once on one thread.
fn copy_and_hash(from: &Path, to: &Path) -> Result<Duration, Failure> {
    let start = Instant::now();
    copy(from, to).map_err(|e| Failure::io("copy", from, &e))?;
    let spent = start.elapsed();
    clear(to)?;
    Ok(spent)
}

fn clear(path: &Path) -> Result<(), Failure> {
    Ok(siding_slot::discard(path)?)
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    if from.is_dir() {
        fs::create_dir(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() || kind.is_file() {
                copy(&entry.path(), &to.join(entry.file_name()))?;
            }
        }
        return Ok(());
    }
    let (mut input, mut output, mut hash) = (File::open(from)?, File::create(to)?, Sha256::new());
    let mut buffer = vec![0; 1 << 20];
    loop {
        let len = input.read(&mut buffer)?;
        if len == 0 {
            std::hint::black_box(hash.finalize());
            return output.sync_all();
        }
        output.write_all(&buffer[..len])?;
        hash.update(&buffer[..len]);
    }
}

/// All that was measured: medians, memory aside.
struct Figures {
    stages: Vec<(&'static str, Duration)>,
    total: Duration,
    copied: Duration,
    target: u64,
    peak: u64,
    limits: Limits,
    peers: Vec<(&'static str, Duration)>,
}

impl Figures {
    fn stages(runs: &[Run]) -> Vec<(&'static str, Duration)> {
        let of = |part: &dyn Fn(&Run) -> Duration| median(runs.iter().map(part).collect());
        let mut stages = vec![("check the source, decode ahead", of(&|run| run.check_source))];
        stages.extend(Clock::STAGES.map(|(stage, name)| (name, of(&|run| run.clock.spent(stage)))));
        stages.push(("flush, read back, compare", of(&|run| run.seal)));
        stages
    }

    /// How many times as long all of it takes as this.
    fn times(&self, other: Duration) -> f64 {
        self.total.as_secs_f64() / other.as_secs_f64().max(1e-9)
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let mut rows: Vec<Vec<String>> =
            self.stages.iter().map(|(name, spent)| vec![(*name).to_owned(), millis(*spent)]).collect();
        rows.push(vec![
            "all of it".into(),
            millis(self.total),
            rate(self.target, self.total),
            "all ÷ this".into(),
        ]);
        let mut beside = |name: String, bytes: u64, spent: Duration| {
            rows.push(vec![name, millis(spent), rate(bytes, spent), format!("{:.2}×", self.times(spent))]);
        };
        beside("plain copy + flush + SHA-256".into(), self.target, self.copied);
        let names = ["copy in memory alone", "fs-verity digest alone, all threads", "write + flush alone"];
        for (name, (_, spent)) in names.into_iter().zip(self.limits.named()) {
            beside(name.into(), self.limits.bytes, spent);
        }
        for (name, spent) in &self.peers {
            beside(format!("{name}, a process, no flush"), self.target, *spent);
        }
        rows
    }

    fn text(&self, args: &Bench) -> String {
        let title = format!("{} → {}, median of {} runs", args.patch.display(), size(self.target), args.runs);
        format!(
            "{}\n{}  stages overlap, so together they may take longer than all of it\n  \
             all of it takes {:.2}× the plain copy; peak private memory {}",
            Paint::stdout().bold(&title),
            table(&self.rows(), &[1, 2, 3]),
            self.times(self.copied),
            size(self.peak)
        )
    }

    fn json(&self, runs: u32) -> Value {
        let seconds = |list: &[(&str, Duration)]| -> Map<String, Value> {
            list.iter().map(|(name, spent)| ((*name).to_owned(), json!(spent.as_secs_f64()))).collect()
        };
        let peer = |(name, spent): &(&str, Duration)| json!({ "tool": name, "seconds": spent.as_secs_f64(), "ratio": self.times(*spent) });
        json!({
            "runs": runs, "target_bytes": self.target, "seconds": self.total.as_secs_f64(),
            "stages": seconds(&self.stages), "copy_seconds": self.copied.as_secs_f64(),
            "ratio": self.times(self.copied), "peak_private_bytes": self.peak,
            "limits": { "bytes": self.limits.bytes, "seconds": seconds(&self.limits.named()) },
            "peers": self.peers.iter().map(peer).collect::<Vec<_>>(),
        })
    }
}

fn millis(spent: Duration) -> String {
    format!("{:.1} ms", spent.as_secs_f64() * 1e3)
}

fn rate(bytes: u64, spent: Duration) -> String {
    format!("{:.0} MB/s", bytes as f64 / 1e6 / spent.as_secs_f64().max(1e-9))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Watches the process' private memory (RssAnon) from a thread of its own, about once a millisecond.
struct Memory {
    stop: std::sync::Arc<(AtomicBool, AtomicU64)>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Memory {
    fn watch() -> Self {
        let stop = std::sync::Arc::new((AtomicBool::new(false), AtomicU64::new(private_bytes())));
        let shared = stop.clone();
        let thread = std::thread::spawn(move || {
            while !shared.0.load(Ordering::Relaxed) {
                shared.1.fetch_max(private_bytes(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self { stop, thread: Some(thread) }
    }

    fn peak(mut self) -> u64 {
        self.stop.0.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
        self.stop.1.load(Ordering::Relaxed)
    }
}

fn private_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}

/// Removed when dropped.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = siding_slot::discard(&self.0);
    }
}
