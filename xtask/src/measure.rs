//! Runs one process at a time and says how long it took and how much memory it used.
//!
//! Memory is read from `/proc/PID/status` while the process runs, because no safe interface of the standard
//! library gives a child's resource usage. Two figures come of it:
//!
//! * *private*: the largest `RssAnon` seen: memory that is the process' own, without mapped files;
//! * *resident*: the last `VmHWM` seen, the kernel's own high-water mark: with mapped files and shared libraries.
//!
//! Private memory is a sample and can miss a peak shorter than the interval; the high-water mark only misses
//! what is touched first in the last interval. Sampling costs time, so a run that is timed is not sampled.

use crate::Result;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What one run of a process cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// From the start of the process to its end.
    pub(crate) wall: Duration,
    /// Peak of `RssAnon` in bytes; 0 if not sampled.
    pub(crate) private: u64,
    /// Peak of `VmHWM` in bytes; 0 if not sampled.
    pub(crate) resident: u64,
}

/// Runs `command` to its end; on failure, says what it printed. Samples memory at `interval` if there is one.
///
/// Returns what it printed to its standard output as well.
pub(crate) fn run(command: &mut Command, interval: Option<Duration>) -> Result<(Cost, String)> {
    let name = printable(command);
    let failed = |what: &dyn std::fmt::Display| format!("{name}: {what}");
    let (mut out, mut err) = capture().map_err(|e| failed(&e))?;
    let (to_out, to_err) = (out.try_clone(), err.try_clone());
    let (to_out, to_err) = (to_out.map_err(|e| failed(&e))?, to_err.map_err(|e| failed(&e))?);
    command.stdin(Stdio::null()).stdout(to_out).stderr(to_err);

    let start = Instant::now();
    let mut child = command.spawn().map_err(|e| failed(&e))?;
    let mut cost = Cost::default();
    let status = match interval {
        None => child.wait(),
        Some(interval) => wait_and_sample(&mut child, interval, &mut cost),
    };
    cost.wall = start.elapsed();

    let status = status.map_err(|e| failed(&e))?;
    if !status.success() {
        return Err(failed(&format!("{status}\n{}{}", text(&mut out), text(&mut err))));
    }
    Ok((cost, text(&mut out)))
}

/// Runs `command` and gives what it prints, or nothing if it cannot be run or fails.
pub(crate) fn ask(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().ok()?;
    let both = [output.stdout, output.stderr].concat();
    output.status.success().then(|| String::from_utf8_lossy(&both).trim().to_owned())
}

fn wait_and_sample(child: &mut Child, interval: Duration, cost: &mut Cost) -> std::io::Result<ExitStatus> {
    let status_file = format!("/proc/{}/status", child.id());
    loop {
        if let Ok(status) = fs::read_to_string(&status_file) {
            cost.private = cost.private.max(kibibytes(&status, "RssAnon:"));
            cost.resident = cost.resident.max(kibibytes(&status, "VmHWM:"));
        }
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        std::thread::sleep(interval);
    }
}

/// The value of a line such as `VmHWM:     1234 kB`, in bytes.
fn kibibytes(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok()).map_or(0, |k| k * 1024)
}

/// Files and not pipes, so that a process that prints much never waits for us.
fn capture() -> std::io::Result<(File, File)> {
    Ok((tempfile::tempfile()?, tempfile::tempfile()?))
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    let read = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
    read.map_or_else(|e| e.to_string(), |_| String::from_utf8_lossy(&bytes).into_owned())
}

fn printable(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines_are_read_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t    1234 kB\nRssAnon:\t      8 kB\n";
        assert_eq!(kibibytes(status, "VmHWM:"), 1234 * 1024);
        assert_eq!(kibibytes(status, "RssAnon:"), 8192);
        assert_eq!(kibibytes(status, "VmSwap:"), 0);
    }

    #[test]
    fn a_failure_carries_what_the_process_said() {
        let error = run(Command::new("sh").args(["-c", "echo why >&2; exit 3"]), None).unwrap_err();
        assert!(error.contains("why") && error.contains('3'), "{error}");
    }

    #[test]
    fn a_process_runs_where_and_with_what_it_was_told() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $WORD $PWD"]).env("WORD", "told").current_dir("/");
        assert_eq!(run(&mut command, None).unwrap().1.trim(), "told /");
    }

    #[test]
    fn time_and_memory_are_those_of_the_process() {
        // 32 MiB of a shell variable, kept for a fifth of a second.
        let script = "x=$(head -c 33554432 /dev/zero | tr '\\0' x); sleep 0.2; echo ${#x}";
        let (cost, said) =
            run(Command::new("sh").args(["-c", script]), Some(Duration::from_millis(1))).unwrap();
        assert_eq!(said.trim(), "33554432");
        assert!(cost.wall >= Duration::from_millis(200));
        assert!(cost.private >= 32 << 20 && cost.resident >= cost.private, "{cost:?}");
    }
}
