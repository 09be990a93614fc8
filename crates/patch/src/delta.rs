//! A delta's instructions, read from a chunk's streams. `docs/format.md` section 5.

use crate::cursor::{Bad, Cursor};
use crate::{Stream, Streams};

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Place these bytes.
    Literal(&'a [u8]),
    /// Copy `len` bytes from offset `from` of the source's flat space; then call [`Walker::adjust`] with them.
    Copy {
        /// Offset in the source's flat space.
        from: u64,
        /// How many bytes.
        len: usize,
    },
}

/// Walks a delta from front to back, in steps as small as the caller likes.
///
/// A walker is a handful of positions: cloning one at a border lets another thread go on from there.
/// The steps given out add up to the chunk's target length exactly, or the delta is malformed.
#[derive(Clone, Debug)]
pub struct Walker<'a> {
    literal_lengths: Cursor<'a>,
    copy_lengths: Cursor<'a>,
    copy_offsets: Cursor<'a>,
    gaps: Cursor<'a>,
    runs: Cursor<'a>,
    values: Cursor<'a>,
    literals: Cursor<'a>,
    /// Target bytes not yet handed out.
    left: u64,
    /// Of the current instruction: literal bytes, then copied bytes, not yet handed out.
    literal: u64,
    copy: u64,
    /// Where the next copied byte comes from.
    from: u64,
    /// Copied bytes that stay as they are before the next difference; `None` past the last run.
    gap: Option<u64>,
    /// Differences left in the current run once the gap is used up.
    run: u64,
}

/// The rule a delta breaks.
type Broken = &'static str;

/// No position, and no copy's end, lies beyond: so any is within reach of any other.
const LAST: u64 = i64::MAX as u64;
const NUMBERS: Broken = "a stream of numbers is cut short or not canonical";

impl<'a> Walker<'a> {
    /// A walker at the start of a chunk that makes `len` bytes of the target's flat space from `start` on.
    pub fn new(streams: &'a Streams, start: u64, len: u64) -> Result<Self, Broken> {
        let cursor = |stream| Cursor::new(streams.get(stream));
        let mut walker = Self {
            literal_lengths: cursor(Stream::LiteralLengths),
            copy_lengths: cursor(Stream::CopyLengths),
            copy_offsets: cursor(Stream::CopyOffsets),
            gaps: cursor(Stream::Gaps),
            runs: cursor(Stream::Runs),
            values: cursor(Stream::Values),
            literals: cursor(Stream::Literals),
            left: len,
            literal: 0,
            copy: 0,
            from: start,
            gap: None,
            run: 0,
        };
        walker.next_run()?;
        Ok(walker)
    }

    /// The next step, of at most `room` bytes; `None` once the chunk's target length is reached and every
    /// stream is used up.
    pub fn step(&mut self, room: usize) -> Result<Option<Step<'a>>, Broken> {
        while self.literal == 0 && self.copy == 0 {
            if self.left == 0 {
                return self.finished().then_some(None).ok_or("bytes are left over in a stream");
            }
            self.next_instruction()?;
        }
        if room == 0 {
            return Ok(None);
        }
        if self.literal > 0 {
            let len = self.literal.min(room as u64);
            let bytes = self.literals.take(len).map_err(|Bad| "there are too few literals")?;
            self.literal = self.literal.saturating_sub(len);
            self.left = self.left.saturating_sub(len);
            return Ok(Some(Step::Literal(bytes)));
        }
        let len = self.copy.min(room as u64);
        let from = self.from;
        self.copy = self.copy.saturating_sub(len);
        self.left = self.left.saturating_sub(len);
        self.from = from.saturating_add(len);
        Ok(Some(Step::Copy { from, len: usize::try_from(len).unwrap_or(room) }))
    }

    /// Adds the differences of the copied bytes just handed out, all of them, in order.
    pub fn adjust(&mut self, copied: &mut [u8]) -> Result<(), Broken> {
        let mut rest = copied;
        while let Some(gap) = self.gap.filter(|gap| *gap <= rest.len() as u64) {
            let gap = usize::try_from(gap).unwrap_or(rest.len());
            let (_, after) = std::mem::take(&mut rest).split_at_mut(gap);
            self.gap = Some(0);
            let now = self.run.min(after.len() as u64);
            let values = self.values.take(now).map_err(|Bad| "there are too few differences")?;
            let (changed, after) = after.split_at_mut(values.len());
            changed.iter_mut().zip(values).for_each(|(byte, value)| *byte = byte.wrapping_add(*value));
            self.run = self.run.saturating_sub(now);
            rest = after;
            if self.run > 0 {
                return Ok(());
            }
            self.next_run()?;
        }
        let passed = rest.len() as u64;
        self.gap = self.gap.map(|gap| gap.saturating_sub(passed));
        Ok(())
    }

    /// Goes past the differences of `len` copied bytes without adding them.
    pub fn skip_adjust(&mut self, len: usize) -> Result<(), Broken> {
        let mut rest = len as u64;
        while let Some(gap) = self.gap.filter(|gap| *gap <= rest) {
            rest = rest.saturating_sub(gap);
            self.gap = Some(0);
            let now = self.run.min(rest);
            self.values.take(now).map_err(|Bad| "there are too few differences")?;
            self.run = self.run.saturating_sub(now);
            rest = rest.saturating_sub(now);
            if self.run > 0 {
                return Ok(());
            }
            self.next_run()?;
        }
        self.gap = self.gap.map(|gap| gap.saturating_sub(rest));
        Ok(())
    }

    fn next_instruction(&mut self) -> Result<(), Broken> {
        self.literal = self.literal_lengths.number().map_err(|Bad| NUMBERS)?;
        self.copy = self.copy_lengths.number().map_err(|Bad| NUMBERS)?;
        let total = self.literal.checked_add(self.copy).ok_or("an instruction's lengths overflow")?;
        if total == 0 {
            return Err("an instruction does nothing");
        }
        if total > self.left {
            return Err("the instructions make more than the chunk's target length");
        }
        let mut from = self.from.checked_add(self.literal);
        if self.copy > 0 {
            let jump = self.copy_offsets.signed().map_err(|Bad| NUMBERS)?;
            from = from.and_then(|from| from.checked_add_signed(jump));
        }
        self.from = from.ok_or("a copy's address overflows")?;
        if self.from.saturating_add(self.copy) > LAST {
            return Err("a copy reaches past the end of all addresses");
        }
        Ok(())
    }

    fn next_run(&mut self) -> Result<(), Broken> {
        if self.gaps.is_empty() && self.runs.is_empty() {
            (self.gap, self.run) = (None, 0);
            return Ok(());
        }
        self.gap = Some(self.gaps.number().map_err(|Bad| NUMBERS)?);
        let run = self.runs.number().map_err(|Bad| NUMBERS)?;
        self.run = run.checked_add(1).ok_or("a run of differences overflows")?;
        Ok(())
    }

    fn finished(&self) -> bool {
        let Self { literal_lengths, copy_lengths, copy_offsets, gaps, runs, values, literals, .. } = self;
        let cursors = [literal_lengths, copy_lengths, copy_offsets, gaps, runs, values, literals];
        self.gap.is_none() && cursors.iter().all(|cursor| cursor.is_empty())
    }
}

#[cfg(test)]
mod tests;
