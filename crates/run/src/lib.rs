//! Runs a program that is not ours: a process group of its own, a time limit, and only the end of what it says is kept.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::fmt;
use std::io::{self, ErrorKind, PipeReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How a program ended, and what it said last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// How it ended.
    pub end: End,
    /// Its last lines, on one line and without control characters.
    pub said: String,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It was killed after so long.
    Limit(Duration),
    /// It could not be run at all.
    Not(String),
}

/// What happens to processes that the program leaves behind in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftovers {
    /// They are killed.
    Kill,
    /// They go on.
    Keep,
}

impl Ran {
    /// Whether it ended with exit code 0.
    pub fn is_good(&self) -> bool {
        self.end == End::Code(0)
    }
}

/// How it ended, and what it said last.
impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.end {
            End::Code(code) => write!(f, "exit code {code}")?,
            End::Signal(number) => match name_of(*number) {
                Some(name) => write!(f, "ended by signal {number} ({name})")?,
                None => write!(f, "ended by signal {number}")?,
            },
            End::Limit(limit) => write!(f, "still running after {} s, killed", limit.as_secs_f64())?,
            End::Not(why) => write!(f, "cannot be run: {why}")?,
        }
        if self.said.is_empty() { Ok(()) } else { write!(f, ": {}", self.said) }
    }
}

/// Runs it to its end, or for `limit`; then it and all of its group are killed. It reads nothing.
pub fn run(command: Command, limit: Duration, leftovers: Leftovers) -> Ran {
    let mut tail = Tail::default();
    let end = match watch(command, limit, leftovers, &mut tail) {
        Ok(Some(status)) => match (status.code(), status.signal()) {
            (Some(code), _) => End::Code(code),
            (None, signal) => End::Signal(signal.unwrap_or(0)),
        },
        Ok(None) => End::Limit(limit),
        Err(error) => End::Not(error.to_string()),
    };
    Ran { end, said: tail.lines() }
}

/// `None`: the limit was over.
fn watch(
    mut command: Command,
    limit: Duration,
    leftovers: Leftovers,
    tail: &mut Tail,
) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now().checked_add(limit);
    let (mut reader, writer) = io::pipe()?;
    ioctl_fionbio(&reader, true)?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
    let mut child = command.spawn()?;
    // With it goes our own end for writing.
    drop(command);
    let pid = Pid::from_child(&child);
    let ended = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(ended) => ended,
        Err(error) => {
            let _ = kill_process_group(pid, Signal::KILL);
            child.wait()?;
            return Err(error.into());
        }
    };
    let mut open = true;
    let in_time = loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let mut both = [PollFd::new(&ended, PollFlags::IN), PollFd::new(&reader, PollFlags::IN)];
        let (one, _) = both.split_at_mut(1);
        let waited = if open { poll(&mut both, timeout.as_ref()) } else { poll(one, timeout.as_ref()) };
        match waited {
            Ok(0) => break false,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [end, output] = both.map(|fd| !fd.revents().is_empty());
        if output && open {
            open = tail.take(&mut reader, ONE_GO)?;
        }
        if end {
            break true;
        }
    };
    // Before the leader is waited for, so that its number is still its group's.
    if !in_time || leftovers == Leftovers::Kill {
        let _ = kill_process_group(pid, Signal::KILL);
    }
    let status = child.wait()?;
    if open {
        tail.take(&mut reader, LAST_GO)?;
    }
    Ok(in_time.then_some(status))
}

/// How many bytes are read before it is looked whether the process has ended.
const ONE_GO: usize = 64 << 10;
/// How many bytes are read after its end: what a pipe holds, and no endless stream of one it left behind.
const LAST_GO: usize = 1 << 20;

/// The last bytes of an output.
#[derive(Debug, Default)]
struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
    const MOST: usize = 4096;
    /// How many lines are told, and how many bytes of them.
    const LINES: usize = 3;
    const TOLD: usize = 240;

    /// Reads what is there, at most so much; `false` once nothing will ever follow.
    fn take(&mut self, reader: &mut PipeReader, most: usize) -> io::Result<bool> {
        let (mut buffer, mut taken) = ([0; 4096], 0);
        while taken < most {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(false),
                Ok(len) => self.push(buffer.get(..len).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            taken += buffer.len();
        }
        Ok(true)
    }

    fn push(&mut self, more: &[u8]) {
        self.bytes.extend_from_slice(more);
        let too_many = self.bytes.len().saturating_sub(Self::MOST);
        self.bytes.drain(..too_many);
    }

    /// The last lines that say something, in order.
    fn lines(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let mut lines: Vec<String> = text
            .lines()
            .rev()
            .map(|line| harmless(line.trim()))
            .filter(|line| !line.is_empty())
            .take(Self::LINES)
            .collect();
        lines.reverse();
        let text = lines.join(" | ");
        let start = text.len().saturating_sub(Self::TOLD);
        let start = (start..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let cut = if start > 0 { "…" } else { "" };
        format!("{cut}{}", text.get(start..).unwrap_or_default())
    }
}

/// Text from outside, made safe to print: what could drive a terminal, or turn a line around, is spelled out.
pub fn harmless(text: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => out.push(' '),
            c if c.is_control() || turns(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

fn name_of(signal: i32) -> Option<&'static str> {
    Some(match Signal::from_named_raw(signal)? {
        Signal::KILL => "SIGKILL",
        Signal::TERM => "SIGTERM",
        Signal::SEGV => "SIGSEGV",
        Signal::ABORT => "SIGABRT",
        Signal::BUS => "SIGBUS",
        Signal::ILL => "SIGILL",
        Signal::FPE => "SIGFPE",
        Signal::INT => "SIGINT",
        Signal::PIPE => "SIGPIPE",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    fn sh(script: &str, limit: Duration, leftovers: Leftovers) -> Ran {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(command, limit, leftovers)
    }

    #[test]
    fn the_end_is_told_and_the_last_lines() {
        let ran = sh("seq 1 9; printf 'bad \\033[31m\\tthing' >&2; exit 3", LONG, Leftovers::Kill);
        assert_eq!(ran.to_string(), "exit code 3: 8 | 9 | bad \\u{1b}[31m thing");
        assert_eq!(sh("kill -SEGV $$", LONG, Leftovers::Kill).to_string(), "ended by signal 11 (SIGSEGV)");
        assert!(sh("true", LONG, Leftovers::Kill).is_good());
        let not = run(Command::new("/nowhere/at/all"), LONG, Leftovers::Kill).to_string();
        assert!(not.starts_with("cannot be run: No such file"), "{not}");
    }

    #[test]
    fn much_output_blocks_nobody_and_is_not_kept() {
        let ran = sh("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end", LONG, Leftovers::Kill);
        assert_eq!(ran.end, End::Code(0));
        assert!(ran.said.ends_with("x | end") && ran.said.starts_with('…'), "{}", ran.said);
        assert!(ran.said.len() <= Tail::TOLD + 3);
    }

    /// One that never ends, and has a child that would hold the pipe open; the limit ends both.
    #[test]
    fn the_limit_ends_the_whole_group() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut command = Command::new("sh");
        // The child has the test's pipe as descriptor 9: it ends when all are gone.
        command.args(["-c", "sleep 1000 & echo started; sleep 1000"]);
        let held = rustix::io::fcntl_dupfd_cloexec(&writer, 9).unwrap();
        rustix::io::fcntl_setfd(&held, rustix::io::FdFlags::empty()).unwrap();
        drop(writer);
        let ran = run(command, Duration::from_millis(300), Leftovers::Keep);
        drop(held);
        assert_eq!(ran.end, End::Limit(Duration::from_millis(300)));
        assert_eq!(reader.read(&mut [0]).unwrap(), 0, "nobody is left");
    }

    /// What a hook starts goes on, and holds nobody up although it has the output open.
    #[test]
    fn a_child_that_is_left_behind_is_kept_or_killed_as_asked() {
        for leftovers in [Leftovers::Keep, Leftovers::Kill] {
            let ran = sh("sleep 1000 & echo $!", LONG, leftovers);
            assert_eq!(ran.end, End::Code(0));
            let pid = Pid::from_raw(ran.said.parse().unwrap()).unwrap();
            if leftovers == Leftovers::Keep {
                rustix::process::kill_process(pid, Signal::KILL).unwrap();
            }
        }
    }
}
