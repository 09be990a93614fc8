//! Writing slowly, so that others have the medium too.

use siding_image::{Checkpoint, Content, FileRef, Sink};
use std::time::{Duration, Instant};
use std::{fmt, io};

/// A sink that writes to another one, no faster than so many bytes a second over the whole of the work if a rate is
/// given, and only as long as nobody says no.
pub struct Throttle<'a, S> {
    sink: &'a mut S,
    rate: Option<u64>,
    gate: Option<Box<Gate<'a>>>,
    begun: Instant,
    given: u64,
}

type Gate<'a> = dyn FnMut() -> io::Result<()> + Send + 'a;

impl<'a, S: Sink> Throttle<'a, S> {
    /// At most `rate` bytes a second to `sink`; without one, or with 0, as fast as it takes them.
    pub fn new(sink: &'a mut S, rate: Option<u64>) -> Self {
        Self { sink, rate, gate: None, begun: Instant::now(), given: 0 }
    }

    /// Asks `gate` before each write, which fails as that does. With a rate it is asked about four times a second.
    #[must_use]
    pub fn asking(self, gate: impl FnMut() -> io::Result<()> + Send + 'a) -> Self {
        Self { gate: Some(Box::new(gate)), ..self }
    }

    /// How many bytes are written between two questions, and two waits: those of a quarter of a second, but a page at least.
    fn piece(&self) -> usize {
        const LEAST: usize = 4096;
        let quarter = self.rate.filter(|rate| *rate > 0).map(|rate| usize::try_from(rate / 4));
        quarter.map_or(usize::MAX, |quarter| quarter.unwrap_or(usize::MAX).max(LEAST))
    }
}

impl<S: Sink> Sink for Throttle<'_, S> {
    fn begin(&mut self, target: &Content, fresh: &[FileRef]) -> io::Result<()> {
        self.sink.begin(target, fresh)
    }

    fn write_at(&mut self, blob: usize, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut at = offset;
        for piece in bytes.chunks(self.piece()) {
            self.gate.as_mut().map_or(Ok(()), |gate| gate())?;
            self.sink.write_at(blob, at, piece)?;
            at = at.saturating_add(piece.len() as u64);
            self.given = self.given.saturating_add(piece.len() as u64);
            if let Some(rate) = self.rate {
                std::thread::sleep(ahead(self.given, rate, self.begun.elapsed()));
            }
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

impl<S: fmt::Debug> fmt::Debug for Throttle<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Throttle");
        shown.field("sink", &self.sink).field("rate", &self.rate).field("given", &self.given);
        shown.finish_non_exhaustive()
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

    /// Where each write began, and how long it was.
    #[derive(Debug, Default)]
    struct Written(Vec<(u64, usize)>);

    impl Sink for Written {
        fn begin(&mut self, _: &Content, _: &[FileRef]) -> io::Result<()> {
            Ok(())
        }
        fn write_at(&mut self, _: usize, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.0.push((offset, bytes.len()));
            Ok(())
        }
        fn read_at(&mut self, _: usize, _: u64, _: &mut [u8]) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    #[test]
    fn asks_before_each_piece_and_writes_nothing_after_a_no() {
        let mut written = Written::default();
        let mut left = 3;
        let gate = || match left {
            0 => Err(io::Error::other("no")),
            _ => {
                left -= 1;
                Ok(())
            }
        };
        // So fast that there is nothing to wait for.
        const PIECE: u64 = 1 << 40;
        let mut throttle = Throttle::new(&mut written, Some(PIECE * 4)).asking(gate);
        throttle.write_at(0, 100, &[0; 10]).unwrap();
        throttle.rate = Some(16_384);
        throttle.begun = Instant::now().checked_sub(Duration::from_secs(3)).unwrap();
        assert_eq!(throttle.write_at(0, 110, &[0; 10_000]).unwrap_err().to_string(), "no");
        drop(throttle);
        assert_eq!(written.0, [(100, 10), (110, 4096), (4206, 4096)]);
    }

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
