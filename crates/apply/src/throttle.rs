//! Writing slowly, so that others have the medium too.

use siding_image::{Checkpoint, Content, FileRef, Sink};
use std::io;
use std::time::{Duration, Instant};

/// A sink that writes to another one, no faster than so many bytes a second over the whole of the work if a rate is
/// given.
#[derive(Debug)]
pub struct Throttle<'a, S> {
    sink: &'a mut S,
    rate: Option<u64>,
    begun: Instant,
    given: u64,
}

impl<'a, S: Sink> Throttle<'a, S> {
    /// At most `rate` bytes a second to `sink`; without one, or with 0, as fast as it takes them.
    pub fn new(sink: &'a mut S, rate: Option<u64>) -> Self {
        Self { sink, rate, begun: Instant::now(), given: 0 }
    }
}

impl<S: Sink> Sink for Throttle<'_, S> {
    fn begin(&mut self, target: &Content, fresh: &[FileRef]) -> io::Result<()> {
        self.sink.begin(target, fresh)
    }

    fn write_at(&mut self, blob: usize, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.sink.write_at(blob, offset, bytes)?;
        self.given = self.given.saturating_add(bytes.len() as u64);
        if let Some(rate) = self.rate {
            std::thread::sleep(ahead(self.given, rate, self.begun.elapsed()));
        }
        Ok(())
    }

    fn read_at(&mut self, blob: usize, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.sink.read_at(blob, offset, out)
    }

    fn checkpoints(&mut self) -> Vec<Checkpoint> {
        self.sink.checkpoints()
    }

    fn forget_from(&mut self, blob: usize, offset: u64) -> io::Result<()> {
        self.sink.forget_from(blob, offset)
    }

    fn checkpoint(&mut self, done: &Checkpoint) -> io::Result<()> {
        self.sink.checkpoint(done)
    }
}

/// How far `given` bytes within `elapsed` are ahead of `rate` bytes a second.
fn ahead(given: u64, rate: u64, elapsed: Duration) -> Duration {
    let nanoseconds = u128::from(given).saturating_mul(1_000_000_000).checked_div(rate.into()).unwrap_or(0);
    let due = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
    due.saturating_sub(elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_what_it_is_ahead_and_no_longer() {
        let seconds = Duration::from_secs;
        assert_eq!(ahead(0, 1000, seconds(0)), seconds(0));
        assert_eq!(ahead(5000, 1000, seconds(2)), seconds(3));
        assert_eq!(ahead(5000, 1000, seconds(5)), seconds(0));
        assert_eq!(ahead(5000, 1000, seconds(9)), seconds(0), "time lost is not made up for by a wait");
        assert_eq!(ahead(u64::MAX, 1, seconds(0)), Duration::from_nanos(u64::MAX), "no overflow");
    }
}
