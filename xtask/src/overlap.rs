//! `cargo xtask overlap`: whether a device applies while it downloads.
//!
//! A release with one component of some tens of megabytes is published and served; a device stages it by
//! `siding agent --once`, so that the process ends when the image is sealed. A proxy limits the rate. Measured is the
//! time from the first byte of the patch to the end, against the longer of two: the same bytes downloaded at that
//! rate by a client that only counts them, and the same install without a limit.

use crate::corpus::median;
use crate::proxy::Proxy;
use crate::random::Random;
use crate::report::duration;
use crate::{Result, machine, measure, tools, workspace};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) const USAGE: &str = "\
cargo xtask overlap [options]        needs a quiet machine

  --runs N          install N times at each rate and take the median (5)
  --old FILE, --new FILE   measure with these images (made from testdata)
  --siding FILE     use this binary and build none";

/// Downloads take so many times what an apply takes.
const SHARES: [f64; 5] = [0.25, 0.5, 1.0, 2.0, 4.0];
/// What is promised of the median.
const MOST: f64 = 1.15;

struct Options {
    runs: usize,
    images: Option<(PathBuf, PathBuf)>,
    siding: Option<PathBuf>,
}

/// One way to bring the image: its file, and what was measured.
struct Case {
    name: &'static str,
    length: u64,
    apply: Duration,
    rows: Vec<Row>,
}

struct Row {
    rate: u64,
    download: Duration,
    both: Duration,
    ratio: f64,
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    let siding = match &options.siding {
        Some(siding) => fs::canonicalize(siding).map_err(|e| format!("{}: {e}", siding.display()))?,
        None => tools::build_siding(&workspace())?,
    };
    let mut cases = Vec::new();
    for (name, from_old) in [("patch", true), ("whole image", false)] {
        let bench = Bench::new(&siding, &options, from_old)?;
        cases.push(bench.case(name, options.runs)?);
    }
    println!("{}", table(&cases, options.runs));
    let worst = cases.iter().flat_map(|case| &case.rows).map(|row| row.ratio).fold(0.0, f64::max);
    if worst > MOST { Err(format!("the worst is {worst:.2}, at most {MOST} is promised")) } else { Ok(()) }
}

/// A repository with one release, served through a proxy, and a device as it is before each install.
struct Bench {
    siding: PathBuf,
    dir: tempfile::TempDir,
    proxy: Proxy,
    server: Child,
    /// The path of the file that the device fetches, and its length.
    blob: (String, u64),
}

impl Bench {
    /// With a device that has the old image, or one that has another one and takes the whole new one.
    fn new(siding: &Path, options: &Options, from_old: bool) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("siding-overlap").tempdir_in(machine::scratch());
        let dir = dir.map_err(|e| format!("no temporary directory: {e}"))?;
        let at = |name: &str| dir.path().join(name);
        let write = |name: &str, bytes: &[u8]| {
            fs::create_dir_all(at(name).parent().unwrap_or(dir.path()))
                .and_then(|()| fs::write(at(name), bytes))
                .map_err(|e| format!("{name}: {e}"))
        };
        match &options.images {
            Some((old, new)) => {
                for (from, to) in [(old, "old"), (new, "new")] {
                    fs::copy(from, at(to)).map_err(|e| format!("{}: {e}", from.display()))?;
                }
            }
            None => {
                let (old, new) = images()?;
                write("old", &old)?;
                write("new", &new)?;
            }
        }
        write("other", b"an older base")?;
        write("release.toml", RELEASE.as_bytes())?;
        let run = |words: &str| {
            let mut command = Command::new(siding);
            measure::run(command.args(words.split(' ')).current_dir(dir.path()), None).map(|(_, out)| out)
        };
        run("publish init --repo repo --keys keys")?;
        run("keygen release")?;
        let made = run("--json publish make release.toml --repo repo")?;
        run("publish commit release.toml --repo repo --keys keys --sign-with release.key")?;
        let base = if from_old { "old --version 2.0" } else { "other --version 1.0" };
        run(&format!("init big {base} --store device/store"))?;
        let mut server = Command::new(siding);
        server
            .args(["publish", "serve", "--repo", "repo", "--listen", "127.0.0.1:0"])
            .current_dir(dir.path());
        let mut server = server.stdout(Stdio::piped()).spawn().map_err(|e| format!("the server: {e}"))?;
        let mut line = String::new();
        let out = server.stdout.take().ok_or("the server has no output")?;
        BufReader::new(out).read_line(&mut line).map_err(|e| format!("the server: {e}"))?;
        let address = line.trim().trim_start_matches("http://").trim_end_matches('/');
        let proxy = Proxy::start(address, 1)?;
        let root = at("keys/root.json");
        let policy = format!(
            "mirrors = [{:?}]\nroot = {root:?}\ntrust = {:?}\nrestart = \"ask\"\n",
            proxy.url(),
            at("device/etc/trust")
        );
        write("device/etc/agent.toml", policy.as_bytes())?;
        fs::create_dir_all(at("device/etc/trust"))
            .and_then(|()| fs::copy(at("release.pub"), at("device/etc/trust/release.pub")))
            .map_err(|e| format!("the device's trust: {e}"))?;
        let blob = blob(&at("repo"), &made, if from_old { "patch" } else { "full" })?;
        Ok(Self { siding: siding.to_owned(), dir, proxy, server, blob })
    }

    fn case(&self, name: &'static str, runs: usize) -> Result<Case> {
        let (_, length) = self.blob;
        self.proxy.limit(0);
        self.install()?;
        let times = (0..runs).map(|_| self.install()).collect::<Result<Vec<_>>>()?;
        let apply = median(times);
        let mut rows = Vec::new();
        for share in SHARES {
            let rate = (length as f64 / (apply.as_secs_f64() * share)).max(1.0) as u64;
            self.proxy.limit(rate);
            let (mut downloads, mut both) = (Vec::new(), Vec::new());
            for _ in 0..runs {
                downloads.push(self.download()?);
                both.push(self.install()?);
            }
            let (download, both) = (median(downloads), median(both));
            let ratio = both.as_secs_f64() / download.max(apply).as_secs_f64();
            rows.push(Row { rate, download, both, ratio });
        }
        Ok(Case { name, length, apply, rows })
    }

    /// From the first byte of the file to the end of the process that sealed it.
    fn install(&self) -> Result<Duration> {
        let (device, fresh) = (self.dir.path().join("device"), self.dir.path().join("fresh"));
        if fresh.exists() {
            fs::remove_dir_all(&fresh).map_err(|e| format!("{}: {e}", fresh.display()))?;
        }
        measure::run(Command::new("cp").arg("-a").arg(&device).arg(&fresh), None)?;
        self.proxy.forget_first();
        let mut command = Command::new(&self.siding);
        command.args(["agent", "--once"]);
        command.env("SIDING_STORE", fresh.join("store")).env("SIDING_CONFIG", fresh.join("etc"));
        measure::run(&mut command, None)?;
        let sealed = Instant::now();
        let view = siding_slot::Store::view(&fresh.join("store")).map_err(|e| e.to_string())?;
        if !view.state().components().any(|(_, held)| held.waiting().is_some() || held.ready().is_some()) {
            return Err("the agent staged nothing".to_owned());
        }
        let first = self.proxy.first().ok_or("the agent fetched nothing")?;
        Ok(sealed.saturating_duration_since(first))
    }

    /// The same file, by a client that only counts.
    fn download(&self) -> Result<Duration> {
        let failed = |e: std::io::Error| format!("the download: {e}");
        let url = self.proxy.url();
        let address = url.trim_start_matches("http://").trim_end_matches('/');
        self.proxy.forget_first();
        let mut stream = TcpStream::connect(address).map_err(failed)?;
        write!(stream, "GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", self.blob.0).map_err(failed)?;
        let (mut buffer, mut got) = (vec![0; 64 << 10], 0_u64);
        loop {
            match stream.read(&mut buffer).map_err(failed)? {
                0 => break,
                some => got += some as u64,
            }
        }
        let first = self.proxy.first().ok_or("nothing was fetched")?;
        if got < self.blob.1 {
            return Err(format!("the download: {got} bytes came, the file has {}", self.blob.1));
        }
        Ok(first.elapsed())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Where the file of a kind lies in the repository: its target's name ends with the job's key.
fn blob(repo: &Path, made: &str, kind: &str) -> Result<(String, u64)> {
    let made: serde_json::Value = serde_json::from_str(made).map_err(|e| format!("publish make: {e}"))?;
    let job = made["jobs"].as_array().and_then(|jobs| jobs.iter().find(|job| job["kind"] == kind));
    let key = job.and_then(|job| job["key"].as_str()).ok_or("publish make names no such job")?;
    for folder in fs::read_dir(repo.join("targets")).into_iter().flatten().flatten() {
        for file in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            if name.contains(key) {
                let length = file.metadata().map_err(|e| format!("{name}: {e}"))?.len();
                return Ok((format!("targets/{}/{name}", folder.file_name().to_string_lossy()), length));
            }
        }
    }
    Err(format!("{} has no file for {key}", repo.display()))
}

/// 32 MiB of libssl, again and again and never twice the same; and the same with a third of it replaced by what does
/// not compress.
fn images() -> Result<(Vec<u8>, Vec<u8>)> {
    let path = workspace().join("testdata/libssl/3.0.20/libssl.so.3");
    let library = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut random = Random::new(5);
    let mut old: Vec<u8> = library.iter().copied().cycle().take(32 << 20).collect();
    for byte in old.iter_mut().step_by(61) {
        *byte = random.below(256) as u8;
    }
    let mut new = old.clone();
    for block in new.chunks_mut(64 << 10).step_by(3) {
        block.iter_mut().for_each(|byte| *byte = random.below(256) as u8);
    }
    Ok((old, new))
}

fn table(cases: &[Case], runs: usize) -> String {
    let mut out = format!(
        "## Downloading and applying at once\n\nMeasured {} at {} on {}, by `cargo xtask overlap`; medians of {runs} \
         runs.\n\n| by | bytes | rate, MB/s | download alone | apply alone | both, first byte to sealed | ÷ the longer |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
        machine::today(),
        machine::commit(&workspace()),
        machine::facts()
    );
    for case in cases {
        for row in &case.rows {
            out += &format!(
                "| {} | {} | {:.1} | {} | {} | {} | {:.2} |\n",
                case.name,
                case.length,
                row.rate as f64 / 1e6,
                duration(row.download),
                duration(case.apply),
                duration(row.both),
                row.ratio
            );
        }
    }
    out
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let (mut runs, mut old, mut new, mut siding) = (5, None, None, None);
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let value = args.next().ok_or(USAGE)?;
            match arg.as_str() {
                "--runs" => runs = value.parse::<usize>().map_err(|e| format!("{arg} {value}: {e}"))?.max(1),
                "--old" => old = Some(PathBuf::from(value)),
                "--new" => new = Some(PathBuf::from(value)),
                "--siding" => siding = Some(PathBuf::from(value)),
                _ => return Err(USAGE.to_owned()),
            }
        }
        match (old, new) {
            (None, None) => Ok(Self { runs, images: None, siding }),
            (Some(old), Some(new)) => Ok(Self { runs, images: Some((old, new)), siding }),
            _ => Err(USAGE.to_owned()),
        }
    }
}

const RELEASE: &str = r#"id = "r1"
title = "A large one"
severity = "high"
level = "fast"

[[component]]
name = "big"
full = true
minimum = "1.0"
target = { version = "2.0 (a)", image = "new" }
base = [{ version = "2.0", image = "old" }]
"#;
