//! The virtual machine from outside: QEMU as a process, its serial line, and the plug.
//!
//! QEMU is killed with SIGKILL. That loses what the guest's kernel had not yet handed to its disk: the page cache,
//! and requests under way. What the disk was handed stays, since the host's own cache survives the process.

use crate::Result;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// When to pull the plug.
#[derive(Clone, Debug)]
pub(super) enum Cut {
    /// Never: the story ends by itself.
    Never,
    /// So long after power-on.
    At(Duration),
    /// So long after the `nth` line that contains `mark`; or at `at_last` after power-on, if that comes first.
    After { mark: &'static str, nth: u64, delay: Duration, at_last: Duration },
}

/// Why there is no further line.
#[derive(Debug)]
pub(super) enum End {
    /// The plug was pulled, as planned.
    Cut,
    /// What should not happen: it hangs, it ended, it says something impossible.
    Bad(String),
}

impl From<String> for End {
    fn from(what: String) -> Self {
        Self::Bad(what)
    }
}

/// What a machine that is switched on says, as long as it is.
pub(super) type Told<T> = std::result::Result<T, End>;

/// A machine that is switched on.
pub(super) struct Machine {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    transcript: File,
    started: Instant,
    cut: Cut,
    deadline: Option<Instant>,
}

/// Without a word for so long, it hangs. A boot on a busy machine has taken half a minute.
const PATIENCE: Duration = Duration::from_secs(180);

impl Machine {
    /// Switches it on. All it says goes to the file `transcript`, too.
    pub(super) fn start(command: &mut Command, transcript: &Path, cut: Cut) -> Result<Self> {
        let failed = |e: std::io::Error| format!("cannot start the virtual machine: {e}");
        let mut transcript = File::options().create(true).append(true).open(transcript).map_err(failed)?;
        writeln!(transcript, "--- power on; {cut:?}").map_err(failed)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(transcript.try_clone().map_err(failed)?);
        let mut child = command.spawn().map_err(failed)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the virtual machine has no serial line".to_owned());
        };
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(std::result::Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let started = Instant::now();
        let deadline = match cut {
            Cut::Never => None,
            Cut::At(at) | Cut::After { at_last: at, .. } => Some(started + at),
        };
        Ok(Self { child, input, lines, transcript, started, cut, deadline })
    }

    /// The next line it says; or the plug is pulled, if its time comes first.
    pub(super) fn line(&mut self) -> Told<String> {
        let now = Instant::now();
        let cut_in = self.deadline.map(|deadline| deadline.saturating_duration_since(now));
        let wait = cut_in.unwrap_or(PATIENCE).min(PATIENCE);
        match self.lines.recv_timeout(wait) {
            Ok(line) => {
                self.heed(&line);
                Ok(line)
            }
            Err(RecvTimeoutError::Timeout) if cut_in.is_some_and(|cut_in| cut_in <= PATIENCE) => {
                self.pull();
                Err(End::Cut)
            }
            Err(RecvTimeoutError::Timeout) => {
                self.pull();
                Err(End::Bad(format!("it said nothing for {} s", PATIENCE.as_secs())))
            }
            Err(RecvTimeoutError::Disconnected) => {
                self.pull();
                Err(End::Bad("QEMU ended by itself".to_owned()))
            }
        }
    }

    /// Asks for something, by one line on its serial line.
    pub(super) fn tell(&mut self, words: &str) -> Told<()> {
        let sent = writeln!(self.input, "{words}").and_then(|()| self.input.flush());
        sent.map_err(|e| End::Bad(format!("QEMU takes no input: {e}")))
    }

    /// Whether this is the line the plan waits for, and if so, when to pull the plug.
    fn heed(&mut self, line: &str) {
        let stamp = self.started.elapsed().as_millis();
        let _ = writeln!(self.transcript, "{stamp:>7} {line}");
        if let Cut::After { mark, nth, delay, .. } = &mut self.cut
            && line.contains(*mark)
        {
            if *nth == 0 {
                self.deadline = Some(Instant::now() + *delay);
                self.cut = Cut::At(*delay);
            } else {
                *nth -= 1;
            }
        }
    }

    /// Pulls the plug, at once.
    pub(super) fn pull(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let stamp = self.started.elapsed().as_millis();
        let _ = writeln!(self.transcript, "{stamp:>7} --- power off");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.pull();
    }
}
