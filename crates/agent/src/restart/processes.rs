//! Asks processes to end, and waits for that: by descriptors, which never come to mean another process.

use super::Holder;
use super::holders::Old;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// A process that holds old files and is to end.
#[derive(Debug)]
pub(super) struct Doomed {
    pub(super) holder: Holder,
    descriptor: OwnedFd,
}

/// Takes hold of these processes. Those that are gone, that no longer map old files, and those that this one runs
/// under are left out.
pub(super) fn doom(old: &Old, proc: &Path, holders: Vec<Holder>) -> Vec<Doomed> {
    let spared = ancestors(proc);
    let mut doomed = Vec::new();
    for holder in holders.into_iter().filter(|holder| !spared.contains(&holder.pid)) {
        let pid = i32::try_from(holder.pid).ok().and_then(Pid::from_raw);
        let Some(Ok(descriptor)) = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) else { continue };
        // Looked at again, now that it cannot become another one.
        if matches!(old.holder(proc, holder.pid), Ok(Some(_))) {
            doomed.push(Doomed { holder, descriptor });
        }
    }
    doomed
}

/// Sends them SIGTERM, and waits until they have ended, at most so long. Returns those that were still there to ask.
pub(super) fn end(doomed: Vec<Doomed>, patience: Duration) -> Vec<Holder> {
    let asked = |doomed: &Doomed| pidfd_send_signal(&doomed.descriptor, Signal::TERM).is_ok();
    let asked: Vec<Doomed> = doomed.into_iter().filter(asked).collect();
    wait_for(&asked, patience);
    asked.into_iter().map(|doomed| doomed.holder).collect()
}

/// Waits until these have ended, at most so long, without asking them.
pub(super) fn wait(old: &Old, proc: &Path, holders: Vec<Holder>, patience: Duration) {
    wait_for(&doom(old, proc, holders), patience);
}

fn wait_for(processes: &[Doomed], patience: Duration) {
    let deadline = Instant::now().checked_add(patience);
    let mut left: Vec<&Doomed> = processes.iter().collect();
    while !left.is_empty() {
        let time = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let time = time.and_then(|time| Timespec::try_from(time).ok());
        let mut ready: Vec<PollFd<'_>> =
            left.iter().map(|doomed| PollFd::new(&doomed.descriptor, PollFlags::IN)).collect();
        match poll(&mut ready, time.as_ref()) {
            Err(rustix::io::Errno::INTR) => continue,
            // Who is left will be found to hold old files.
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let here = ready.iter().map(|ready| ready.revents().is_empty());
        left = left.iter().zip(here).filter(|(_, here)| *here).map(|(doomed, _)| *doomed).collect();
    }
}

/// This process, those it runs under, and the first of all.
fn ancestors(proc: &Path) -> Vec<u32> {
    let mut all = vec![1, std::process::id()];
    let mut pid = std::process::id();
    while let Some(parent) = parent(proc, pid).filter(|parent| !all.contains(parent)) {
        all.push(parent);
        pid = parent;
    }
    all
}

fn parent(proc: &Path, pid: u32) -> Option<u32> {
    let status = fs::read(proc.join(pid.to_string()).join("status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}
