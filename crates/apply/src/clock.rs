//! Where the time goes.

use std::time::{Duration, Instant};

/// What a moment of an apply was spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reading the patch and comparing chunk digests.
    Read,
    /// Decoding streams.
    Decode,
    /// Walking the instructions to cut tiles.
    Plan,
    /// Making tiles and hashing them.
    Build,
    /// Handing bytes to the sink.
    Write,
}

/// Time spent, by stage. Stages overlap, so together they may take longer than the whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock([Duration; 5]);

impl Clock {
    /// All stages, in order.
    pub const STAGES: [(Stage, &'static str); 5] = [
        (Stage::Read, "read + check"),
        (Stage::Decode, "decode"),
        (Stage::Plan, "plan"),
        (Stage::Build, "gather + hash"),
        (Stage::Write, "write"),
    ];

    /// The time spent on `stage`.
    pub fn spent(&self, stage: Stage) -> Duration {
        self.0.get(stage as usize).copied().unwrap_or_default()
    }

    /// Adds what another one counted.
    pub(crate) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(total, more)| *total += more);
    }

    pub(crate) fn time<T>(&mut self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        if let Some(total) = self.0.get_mut(stage as usize) {
            *total += start.elapsed();
        }
        result
    }
}
