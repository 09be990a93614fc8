//! `cargo xtask outage`: how long a service does not answer while a patch comes into use.
//!
//! The component is a tree with one program, this one, started from the store's `current` link; so the service maps
//! the component's file. It answers each connection to a socket with the end of its own file, which differs by
//! version, and its process number. A hook, a shell script, ends it and starts it anew. A client asks without pause;
//! the outage is the time from the last answer of the old process to the first of the new one. Measured in turn: the
//! hook run alone, which restarts the version in use, and `siding switch --restart`, which brings the other one.

use crate::corpus::median;
use crate::report::duration;
use crate::{Result, machine, measure, tools, workspace};
use std::fs::{self, File, Permissions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(crate) const USAGE: &str = "\
cargo xtask outage [options]         needs a quiet machine

  --runs N          restart N times each way and take the medians (20)
  --siding FILE     use this binary and build none";

pub(crate) fn run(args: &[String]) -> Result<()> {
    if let [word, socket, number] = args
        && word == "serve"
    {
        return serve(Path::new(socket), Path::new(number)).map_err(|e| format!("the service: {e}"));
    }
    let options = Options::parse(args)?;
    let siding = match &options.siding {
        Some(siding) => fs::canonicalize(siding).map_err(|e| format!("{}: {e}", siding.display()))?,
        None => tools::build_siding(&workspace())?,
    };
    let bench = Bench::new(&siding)?;
    let (mut alone, mut switched) = (Vec::new(), Vec::new());
    // The first round warms up.
    for round in 0..=options.runs {
        let first = bench.outage(&mut bench.hook(), false)?;
        let second = bench.outage(&mut bench.siding("switch outage --restart --no-trial"), true)?;
        measure::run(&mut bench.siding("remove outage --restart"), None)?;
        if round > 0 {
            (alone, switched) = ([alone, vec![first]].concat(), [switched, vec![second]].concat());
        }
    }
    println!("{}", table(alone, switched, options.runs));
    Ok(())
}

fn table(alone: Vec<Duration>, switched: Vec<Duration>, runs: usize) -> String {
    let line = |name: &str, times: &[Duration]| {
        let (least, most) = (times.iter().min().copied(), times.iter().max().copied());
        let [least, most] = [least, most].map(Option::unwrap_or_default);
        let middle = median(times.to_vec());
        format!("| {name} | {} | {} | {} |\n", duration(middle), duration(least), duration(most))
    };
    let lines = line("the hook alone", &alone) + &line("`siding switch --restart`", &switched);
    let [alone, switched] = [alone, switched].map(|times| median(times).as_secs_f64() * 1e3);
    format!(
        "## Outage of a service\n\nMeasured {} at {} on {}; {runs} runs each, in turn.\n\n\
         | restarted by | outage, median | least | most |\n| --- | ---: | ---: | ---: |\n{lines}\n\
         The switch adds {:.2} ms to the median.",
        machine::today(),
        machine::commit(&workspace()),
        machine::facts(),
        switched - alone
    )
}

/// A store with the component, its patch, its hook, and the service running.
struct Bench {
    dir: tempfile::TempDir,
    siding: PathBuf,
}

impl Bench {
    fn new(siding: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("siding-outage").tempdir();
        let dir = dir.map_err(|e| format!("no scratch directory: {e}"))?;
        let bench = Self { dir, siding: siding.to_owned() };
        bench.images().map_err(|e| format!("cannot make the images: {e}"))?;
        bench.ok("keygen key")?;
        bench.ok(
            "diff old new -o patch --key key.key --level fast --component outage --from 1 --restart service",
        )?;
        bench.ok("init outage old --version 1")?;
        bench.ok("install patch --trust key.pub")?;
        bench.script().map_err(|e| format!("cannot write the hook: {e}"))?;
        measure::run(&mut bench.hook(), None)?;
        bench.answer(&AtomicBool::new(false)).ok_or("the service does not start")?;
        Ok(bench)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// This program, which ends in another byte in each.
    fn images(&self) -> std::io::Result<()> {
        for (name, end) in [("old", b'1'), ("new", b'2')] {
            let file = self.path(name).join("service");
            fs::create_dir(self.path(name))?;
            fs::copy(std::env::current_exe()?, &file)?;
            fs::set_permissions(&file, Permissions::from_mode(0o755))?;
            File::options().append(true).open(&file)?.write_all(&[end])?;
        }
        Ok(())
    }

    /// Ends the service that runs, if one does, starts that of the image in use, and waits until it is up.
    fn script(&self) -> std::io::Result<()> {
        let hook = self.path("store/restart.d/service");
        fs::create_dir_all(self.path("store/restart.d"))?;
        let script = format!(
            "#!/bin/sh\ncd {}\n[ -e number ] && kill \"$(cat number)\"\nrm -f up; mkfifo up\n\
             store/current/outage/service outage serve socket number </dev/null >up 2>/dev/null &\nread up <up\n",
            self.dir.path().display(),
        );
        fs::write(&hook, script)?;
        fs::set_permissions(&hook, Permissions::from_mode(0o755))
    }

    fn hook(&self) -> Command {
        let mut command = Command::new(self.path("store/restart.d/service"));
        command.args(["restart", "service"]);
        command
    }

    fn siding(&self, line: &str) -> Command {
        let mut command = Command::new(&self.siding);
        for word in line.split(' ') {
            let is_file = ["old", "new", "patch", "key", "key.key", "key.pub"].contains(&word);
            if is_file {
                command.arg(self.path(word))
            } else {
                command.arg(word)
            };
        }
        if !["diff", "keygen"].iter().any(|verb| line.starts_with(verb)) {
            command.arg("--store").arg(self.path("store"));
        }
        command
    }

    fn ok(&self, line: &str) -> Result<()> {
        measure::run(&mut self.siding(line), None).map(drop)
    }

    /// Asks without pause while `command` runs and until another process answers; of another version if `other`.
    fn outage(&self, command: &mut Command, other: bool) -> Result<Duration> {
        let before = self.answer(&AtomicBool::new(false)).ok_or("the service does not answer")?;
        let failed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let client = scope.spawn(|| {
                let mut last = Instant::now();
                loop {
                    let now = self.answer(&failed)?;
                    if now.process != before.process {
                        return Some((now.at.saturating_duration_since(last), now.version));
                    }
                    last = now.at;
                }
            });
            let ran = measure::run(command, None);
            failed.store(ran.is_err(), Ordering::Relaxed);
            let found = client.join().map_err(|_| "the client has failed")?;
            ran?;
            let (outage, version) = found.ok_or("the service does not answer")?;
            if (version != before.version) != other {
                return Err(format!(
                    "version {} answers after version {}",
                    char::from(version),
                    char::from(before.version)
                ));
            }
            Ok(outage)
        })
    }

    /// The next answer there is, unless it is given up or does not come.
    fn answer(&self, give_up: &AtomicBool) -> Option<Answer> {
        const PATIENCE: Duration = Duration::from_secs(20);
        let begun = Instant::now();
        while !give_up.load(Ordering::Relaxed) && begun.elapsed() < PATIENCE {
            if let Some(answer) = self.ask() {
                return Some(answer);
            }
        }
        None
    }

    fn ask(&self) -> Option<Answer> {
        let mut line = UnixStream::connect(self.path("socket")).ok()?;
        let mut bytes = [0; 5];
        line.read_exact(&mut bytes).ok()?;
        let [version, process @ ..] = bytes;
        Some(Answer { at: Instant::now(), version, process: u32::from_le_bytes(process) })
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Ok(number) = fs::read_to_string(self.path("number")) {
            let _ = Command::new("kill").arg(number.trim()).status();
        }
        // Sealed slots are read-only even to their owner.
        let _ = Command::new("chmod").args(["-R", "u+w"]).arg(self.dir.path()).status();
    }
}

struct Answer {
    at: Instant,
    version: u8,
    process: u32,
}

/// The service: answers with the last byte of its program and its number, until it is ended.
fn serve(socket: &Path, number: &Path) -> std::io::Result<()> {
    let mut version = [0];
    let mut program = File::open("/proc/self/exe")?;
    program.seek(SeekFrom::End(-1))?;
    program.read_exact(&mut version)?;
    let process = std::process::id();
    fs::write(number, process.to_string())?;
    match fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let answer = [&version[..], &process.to_le_bytes()].concat();
    let listener = UnixListener::bind(socket)?;
    println!("up");
    for line in listener.incoming() {
        // Who hung up does not want to know.
        let _ = line?.write_all(&answer);
    }
    Ok(())
}

struct Options {
    runs: usize,
    siding: Option<PathBuf>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self { runs: 20, siding: None };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value\n\n{USAGE}"));
            match arg.as_str() {
                "--runs" => {
                    let runs = value()?.parse().ok().filter(|runs| *runs > 0);
                    options.runs =
                        runs.ok_or_else(|| format!("--runs needs a positive number\n\n{USAGE}"))?;
                }
                "--siding" => options.siding = Some(value()?.into()),
                odd => return Err(format!("what is {odd:?}?\n\n{USAGE}")),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_medians_and_their_difference() {
        let times = |all: [u64; 3]| all.map(Duration::from_millis).to_vec();
        let text = table(times([3, 1, 2]), times([5, 4, 9]), 3);
        assert!(text.contains("| the hook alone | 2.00 ms | 1.00 ms | 3.00 ms |"), "{text}");
        assert!(text.ends_with("The switch adds 3.00 ms to the median."), "{text}");
    }

    #[test]
    fn odd_options_are_refused() {
        let parsed = |line: &str| Options::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(parsed("--runs 3").map(|options| options.runs), Ok(3));
        for line in ["--runs", "--runs 0", "--odd"] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
