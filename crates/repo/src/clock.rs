//! Time as something that is passed in, so that tests need not wait for it.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// A clock that never goes back, and waiting.
pub(crate) trait Clock: Debug + Send + Sync {
    /// Time since some moment.
    fn now(&self) -> Duration;
    /// Returns after that time.
    fn sleep(&self, time: Duration);
}

/// The machine's.
#[derive(Debug)]
pub(crate) struct Monotonic(Instant);

impl Monotonic {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Monotonic {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}
