//! What a running agent's parts share: what is being done, that something was asked for, that it is to end.

use crate::view::Activity;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Shared by the loop that works, the page, and whoever ends the process.
#[derive(Debug, Default)]
pub struct Shared {
    activity: Mutex<Option<Activity>>,
    woken: Mutex<bool>,
    bell: Condvar,
    end: AtomicBool,
}

impl Shared {
    /// What is being done now.
    pub fn activity(&self) -> Option<Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn show(&self, activity: Option<Activity>) {
        *self.activity.lock().unwrap_or_else(PoisonError::into_inner) = activity;
    }

    pub(crate) fn advance(&self, done: u64, total: u64) {
        if let Some(activity) = self.activity.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            (activity.done, activity.total) = (activity.done.max(done), total);
        }
    }

    /// Work ends at the next safe point, and no more is begun.
    pub fn end(&self) {
        self.end.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Whether it is to end.
    pub fn is_ending(&self) -> bool {
        self.end.load(Ordering::SeqCst)
    }

    /// There is something to do.
    pub fn wake(&self) {
        *self.woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.bell.notify_all();
    }

    /// Waits until there is something to do, or so long. Says whether somebody woke it.
    pub fn wait(&self, at_most: Duration) -> bool {
        let woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.bell.wait_timeout_while(woken, at_most, |woken| !*woken);
        let (mut woken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut woken)
    }
}

/// A reader that fails once work is to end.
pub(crate) struct Interruptible<'s, R> {
    pub(crate) inner: R,
    pub(crate) shared: &'s Shared,
}

impl<R: Read> Read for Interruptible<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.shared.is_ending() {
            return Err(io::Error::other("it was interrupted, and goes on later"));
        }
        self.inner.read(out)
    }
}
