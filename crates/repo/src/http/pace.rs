//! Neither too slow nor too fast: gives up on data that trickles, and holds a rate limit.

use crate::clock::Clock;
use crate::{Error, error::Place};
use std::sync::Arc;
use std::time::Duration;

/// Watches one body as it is read.
#[derive(Debug)]
pub(crate) struct Pace {
    clock: Arc<dyn Clock>,
    at: Place,
    /// At least so many bytes in each of these spans of waiting.
    least: u64,
    window: Duration,
    /// Time that may be spent waiting, all in all, and what it is spent on.
    whole: Duration,
    phase: &'static str,
    spent: Duration,
    in_window: Duration,
    got_in_window: u64,
}

/// At most so many bytes a second, with a quarter of a second's worth at once. One for a whole download.
#[derive(Debug)]
pub(crate) struct Throttle {
    clock: Arc<dyn Clock>,
    rate: u64,
    credit: u64,
    since: Duration,
}

impl Pace {
    pub(crate) fn new(clock: Arc<dyn Clock>, at: Place, least_rate: u64, window: Duration) -> Self {
        let least = least_rate.saturating_mul(window.as_secs().max(1));
        let zero = Duration::ZERO;
        Self {
            clock,
            at,
            least,
            window,
            whole: Duration::MAX,
            phase: "reading",
            spent: zero,
            in_window: zero,
            got_in_window: 0,
        }
    }

    pub(crate) fn whole(mut self, whole: Duration, phase: &'static str) -> Self {
        self.whole = whole;
        self.phase = phase;
        self
    }

    /// The moment before waiting for data.
    pub(crate) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// `got` bytes came for which was waited since `began`.
    pub(crate) fn came(&mut self, began: Duration, got: usize) -> Result<(), Error> {
        let waited = self.clock.now().saturating_sub(began);
        self.spent = self.spent.saturating_add(waited);
        self.in_window = self.in_window.saturating_add(waited);
        self.got_in_window = self.got_in_window.saturating_add(got as u64);
        if self.spent > self.whole {
            return Err(Error::Deadline { at: self.at.clone(), phase: self.phase, limit: self.whole });
        }
        if self.in_window >= self.window {
            if self.got_in_window < self.least {
                return Err(self.slow());
            }
            self.in_window = Duration::ZERO;
            self.got_in_window = 0;
        }
        Ok(())
    }

    /// What to say when nothing came for a whole window.
    pub(crate) fn slow(&self) -> Error {
        Error::Slow { at: self.at.clone(), got: self.got_in_window, least: self.least, window: self.window }
    }
}

impl Throttle {
    pub(crate) fn new(clock: Arc<dyn Clock>, rate: u64) -> Self {
        let since = clock.now();
        Self { clock, rate: rate.max(1), credit: 0, since }
    }

    /// How many bytes may be read now, up to `want`: at least one; waits until that many may be.
    pub(crate) fn take(&mut self, want: usize) -> usize {
        let burst = (self.rate / 4).max(1);
        loop {
            let now = self.clock.now();
            let earned = self.earned(now.saturating_sub(self.since));
            if earned > 0 {
                self.credit = self.credit.saturating_add(earned).min(burst);
                self.since = now;
            }
            if self.credit > 0 {
                return want.min(usize::try_from(self.credit).unwrap_or(usize::MAX));
            }
            self.clock.sleep(Duration::from_secs_f64(burst as f64 / self.rate as f64));
        }
    }

    /// So many were read.
    pub(crate) fn took(&mut self, got: usize) {
        self.credit = self.credit.saturating_sub(got as u64);
    }

    fn earned(&self, time: Duration) -> u64 {
        let earned = u128::from(self.rate).saturating_mul(time.as_micros()) / 1_000_000;
        u64::try_from(earned).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Hand;

    fn pace(clock: &Arc<Hand>) -> Pace {
        let at = Place { mirror: "m".into(), path: "/p".into() };
        Pace::new(clock.clone(), at, 100, Duration::from_secs(10)).whole(Duration::from_secs(60), "a test")
    }

    fn feed(pace: &mut Pace, clock: &Hand, seconds: u64, got: usize) -> Result<(), Error> {
        let began = pace.now();
        clock.pass(Duration::from_secs(seconds));
        pace.came(began, got)
    }

    #[test]
    fn a_trickle_is_given_up_after_one_window() {
        let clock = Arc::new(Hand::default());
        let mut pace = pace(&clock);
        for _ in 0..9 {
            feed(&mut pace, &clock, 1, 99).unwrap();
        }
        assert_eq!(feed(&mut pace, &clock, 1, 99).unwrap_err().code(), "slow");
    }

    #[test]
    fn what_is_just_fast_enough_ends_at_the_deadline_only() {
        let clock = Arc::new(Hand::default());
        let mut pace = pace(&clock);
        for _ in 0..60 {
            feed(&mut pace, &clock, 1, 100).unwrap();
        }
        assert_eq!(feed(&mut pace, &clock, 1, 100).unwrap_err().code(), "deadline");
    }

    #[test]
    fn time_in_which_nobody_reads_does_not_count() {
        let clock = Arc::new(Hand::default());
        let mut pace = pace(&clock);
        for _ in 0..50 {
            feed(&mut pace, &clock, 1, 100).unwrap();
            clock.pass(Duration::from_secs(1_000));
        }
    }

    #[test]
    fn a_rate_is_held_over_any_time() {
        let clock = Arc::new(Hand::default());
        let mut throttle = Throttle::new(clock.clone(), 1_000);
        let mut read = 0;
        while read < 10_000 {
            let got = throttle.take(4_096);
            assert!((1..=250).contains(&got), "{got}");
            throttle.took(got);
            read += got;
        }
        let took = clock.now().as_secs_f64();
        assert!((9.7..10.5).contains(&took), "{took}");
        clock.pass(Duration::from_secs(1_000));
        assert_eq!(throttle.take(4_096), 250, "a pause earns no more than a burst");
    }
}
