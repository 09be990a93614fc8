//! GRUB's environment block: a file of fixed length that GRUB reads, and overwrites sector by sector.
//!
//! A block is `# GRUB Environment Block\n`, lines `NAME=VALUE\n` in which a backslash makes the next byte part of
//! the value, lines of comment that begin with `#`, and `#` up to the file's end. It has no checksum, so the
//! only whole write is that of one sector. A change is therefore a list of blocks to be written and flushed
//! one after the other, and of each it does not matter which of its sectors of [`SECTOR`] bytes a power cut keeps off
//! the medium. That leans on the medium writing a sector whole or not at all, as disks and flash controllers do.
//!
//! To make this possible the variables of a component lie together within one sector, behind a comment
//! line of `#` that takes up what their values leave; so values may change their lengths and nothing else moves.

use self::line::{Line, SHORTEST_FILLER, comment, escape, line, line_length, unescape};
use std::fmt;
use std::ops::Range;

mod line;

/// What a disk writes whole or not at all, in bytes.
pub const SECTOR: usize = 512;

/// A whole environment block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    bytes: Vec<u8>,
    lines: Vec<Line>,
}

/// A variable that Siding keeps in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<'a> {
    /// Its name: letters, digits and `_`.
    pub name: &'a str,
    /// Its value.
    pub value: &'a str,
    /// How many bytes its longest value takes; room for them is kept.
    pub width: usize,
}

/// Why a block cannot be read, or not be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The bytes are no environment block.
    Malformed {
        /// At which byte.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// There is not enough room left.
    NoRoom {
        /// How many bytes the variables need together, within one sector.
        needed: usize,
        /// How many bytes the block has.
        len: usize,
    },
}

impl Block {
    /// Reads a block. What GRUB would stumble over is refused.
    ///
    /// ```
    /// let block = siding_projection::grub::Block::parse(b"# GRUB Environment Block\nsaved_entry=0\n####")?;
    /// assert_eq!(block.get("saved_entry").as_deref(), Some(&b"0"[..]));
    /// # Ok::<(), siding_projection::grub::Problem>(())
    /// ```
    pub fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        if !bytes.starts_with(HEADER) {
            return Err(Problem::Malformed {
                at: 0,
                what: "it does not begin with `# GRUB Environment Block`",
            });
        }
        let mut lines = Vec::new();
        let mut at = HEADER.len();
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let Some(len) = line_length(rest) else {
                let what = "the last line has no end";
                let padding = rest.iter().all(|byte| *byte == b'#');
                return if padding {
                    Ok(Self::of(bytes, lines))
                } else {
                    Err(Problem::Malformed { at, what })
                };
            };
            lines.push(Line::read(rest.get(..len).unwrap_or_default(), at)?);
            at = at.saturating_add(len);
        }
        Ok(Self::of(bytes, lines))
    }

    fn of(bytes: &[u8], lines: Vec<Line>) -> Self {
        Self { bytes: bytes.to_owned(), lines }
    }

    /// The block as it lies in the file.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Every variable with its value, in the order they lie.
    pub fn variables(&self) -> impl Iterator<Item = (&[u8], Vec<u8>)> {
        self.lines.iter().filter_map(|line| {
            let name = self.slice(line.name.as_ref()?);
            let value = name.len().saturating_add(1)..line.span.len().saturating_sub(1);
            Some((name, unescape(self.slice(&line.span).get(value)?)))
        })
    }

    /// The value of a variable; of several the last, which is the one GRUB ends up with.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        let named = self.variables().filter(|(found, _)| *found == name.as_bytes());
        named.last().map(|(_, value)| value)
    }

    /// The blocks to write one after the other, each flushed before the next, so that these variables have these
    /// values; none if they have them already. All other bytes stay what and where they are.
    ///
    /// After a power cut, whichever sectors of the block being written reached the medium, these variables read all
    /// as before or all as after. Mostly it is one block: they are overwritten where they lie, within a sector. If
    /// there are none yet they are added where the block is free. Where someone else has set them, the first block adds
    /// them anew with the values they have, the second makes comments of the lines that were there, and the third has
    /// the new values.
    pub fn with(&self, settings: &[Setting<'_>]) -> Result<Vec<Self>, Problem> {
        let mine = Self::named(settings);
        let there: Vec<&Line> = self.lines.iter().filter(|line| self.is_named(line, &mine)).collect();
        let same =
            |setting: &Setting<'_>| self.get(setting.name).as_deref() == Some(setting.value.as_bytes());
        if settings.iter().all(same) && there.len() == settings.len() {
            return Ok(vec![]);
        }
        if let Some(place) = self.group(settings) {
            return Ok(vec![self.overwritten(&place, settings)?]);
        }
        let place = self.free(settings)?;
        if there.is_empty() {
            return Ok(vec![self.overwritten(&place, settings)?]);
        }
        let old = |setting: &Setting<'_>| {
            let value = self.get(setting.name).and_then(|value| String::from_utf8(value).ok());
            value.filter(|value| value.len() <= setting.width).unwrap_or_default()
        };
        let old: Vec<String> = settings.iter().map(old).collect();
        let old = settings.iter().zip(&old).map(|(setting, value)| Setting { value, ..setting.clone() });
        let added = self.overwritten(&place, &old.collect::<Vec<_>>())?;
        let (mut commented, mut blanked) = (added.bytes.clone(), added.bytes.clone());
        for span in there.iter().map(|line| &line.span) {
            copy(&mut commented, &(span.start..span.start.saturating_add(1)), b"#");
            copy(&mut blanked, span, &comment(span.len()));
        }
        let changed = Self::parse(&blanked)?.overwritten(&place, settings)?;
        Ok(vec![added, Self::parse(&commented)?, changed])
    }

    /// This block with the variables of `settings` in `place`, which is free or theirs.
    fn overwritten(&self, place: &Range<usize>, settings: &[Setting<'_>]) -> Result<Self, Problem> {
        let body: Vec<u8> = settings.iter().flat_map(line).collect();
        let needed = body.len().saturating_add(SHORTEST_FILLER);
        let Some(filler) = place.len().checked_sub(body.len()).filter(|len| *len >= SHORTEST_FILLER) else {
            return Err(Problem::NoRoom { needed, len: self.bytes.len() });
        };
        let mut bytes = self.bytes.clone();
        let mut group = comment(filler);
        group.extend(body);
        // What lies free before the place in the same run must end as a line of its own.
        if let Some(run) =
            self.runs().into_iter().find(|run| run.start < place.start && place.start < run.end)
        {
            copy(&mut bytes, &(run.start..place.start), &comment(place.start.saturating_sub(run.start)));
        }
        copy(&mut bytes, place, &group);
        Self::parse(&bytes)
    }

    /// Where exactly these variables lie together, in one sector and with a filler before them.
    fn group(&self, settings: &[Setting<'_>]) -> Option<Range<usize>> {
        let mine = Self::named(settings);
        let first = self.lines.iter().position(|line| self.is_named(line, &mine))?;
        let filler = self.lines.get(first.checked_sub(1)?).filter(|line| self.is_filler(line))?;
        let group = self.lines.get(first..first.checked_add(settings.len())?)?;
        let in_order = group.iter().zip(&mine).all(|(line, name)| self.is_named(line, &[*name]));
        let count = self.lines.iter().filter(|line| self.is_named(line, &mine)).count();
        let place = filler.span.start..group.last()?.span.end;
        let body: usize = settings.iter().map(|setting| line(setting).len()).sum();
        let fits = body.saturating_add(SHORTEST_FILLER) <= place.len();
        (in_order && count == settings.len() && fits && in_one_sector(&place)).then_some(place)
    }

    /// The first free place for these variables.
    fn free(&self, settings: &[Setting<'_>]) -> Result<Range<usize>, Problem> {
        let longest = |s: &Setting<'_>| {
            s.name.len().saturating_add(s.width.max(escape(s.value).len())).saturating_add(2)
        };
        let needed = settings.iter().map(longest).fold(SHORTEST_FILLER, usize::saturating_add);
        let fits = |run: Range<usize>| {
            let border = run.start.next_multiple_of(SECTOR);
            let at = |start: usize| {
                let place = start..start.checked_add(needed)?;
                let before = start.checked_sub(run.start)?;
                let after = run.end.checked_sub(place.end)?;
                let padding = run.end == self.bytes.len();
                let whole = |left: usize, or: bool| or || left == 0 || left >= SHORTEST_FILLER;
                (in_one_sector(&place) && whole(before, false) && whole(after, padding)).then_some(place)
            };
            at(run.start).or_else(|| at(border)).or_else(|| at(border.checked_add(SHORTEST_FILLER)?))
        };
        let none = || Problem::NoRoom { needed, len: self.bytes.len() };
        self.runs().into_iter().find_map(fits).ok_or_else(none)
    }

    /// Where the block holds nothing but `#` and ends of lines, from the beginning of a line to the end of one.
    fn runs(&self) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        let end = self.lines.last().map_or(HEADER.len(), |line| line.span.end);
        let fillers = self.lines.iter().filter(|line| self.is_filler(line)).map(|line| line.span.clone());
        for next in fillers.chain(std::iter::once(end..self.bytes.len())).filter(|next| !next.is_empty()) {
            match runs.last_mut().filter(|run| run.end == next.start) {
                Some(run) => run.end = next.end,
                None => runs.push(next),
            }
        }
        runs
    }

    fn is_filler(&self, line: &Line) -> bool {
        let text = self.slice(&line.span);
        text.split_last().is_some_and(|(_, text)| !text.is_empty() && text.iter().all(|byte| *byte == b'#'))
    }

    fn is_named(&self, line: &Line, names: &[&str]) -> bool {
        line.name.as_ref().is_some_and(|name| names.iter().any(|n| n.as_bytes() == self.slice(name)))
    }

    fn named<'a>(settings: &[Setting<'a>]) -> Vec<&'a str> {
        settings.iter().map(|setting| setting.name).collect()
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }
}

const HEADER: &[u8] = b"# GRUB Environment Block\n";

fn in_one_sector(place: &Range<usize>) -> bool {
    place.start / SECTOR == place.end.saturating_sub(1) / SECTOR
}

/// `from` over `to` at `place`, which is as long.
fn copy(to: &mut [u8], place: &Range<usize>, from: &[u8]) {
    let places = to.get_mut(place.clone()).unwrap_or_default().iter_mut();
    places.zip(from).for_each(|(to, from)| *to = *from);
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { at, what } => write!(
                f,
                "it is no GRUB environment block: {what} (byte {at}); make a new one with `grub-editenv FILE create`"
            ),
            Self::NoRoom { needed, len } => write!(
                f,
                "its {len} bytes have no {needed} free ones together within a sector of {SECTOR} bytes; \
                 unset variables in it, or keep Siding's in a block of their own"
            ),
        }
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests;
