//! The history of a store: one JSON object per line, only ever added to.
//!
//! The record is the truth and the log is the tale. An entry is appended after the record write it tells of;
//! so that a power cut between the two loses nothing, the record itself carries the entries of its last
//! change, and opening a store for writing adds those that the log lacks. A torn last line is cut off then.

use crate::disk::{Access, Disk, DiskFile};
use crate::state::{SealedImage, Slot};
use crate::{Error, Kind, Result};
use serde_json::{Map, Value};
use siding_image::{Component, Version};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// One thing that happened to one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// When, in seconds since 1970, by the clock of whoever asked for it.
    pub at: u64,
    /// What.
    pub what: What,
    /// To which component.
    pub component: Component,
    /// The version it was about, or that was left.
    pub from: Option<Version>,
    /// The version that came.
    pub to: Option<Version>,
    /// Which slot it came to, or was about.
    pub slot: Option<Slot>,
    /// Why, or on what terms.
    pub reason: Option<String>,
}

/// The kinds of things that happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// A base was put in place.
    Init,
    /// A slot was emptied to be written.
    Stage,
    /// A stage was given up.
    Abandon,
    /// A slot was sealed.
    Seal,
    /// A slot became active.
    Switch,
    /// A boot spent a try.
    Try,
    /// A boot gave the trial up.
    FallBack,
    /// A trial was confirmed.
    Confirm,
    /// An image was rolled back on request.
    Rollback,
    /// A patch was removed.
    Remove,
    /// A denial was lifted.
    Lift,
    /// A slot was emptied to free its space.
    Vacuum,
    /// A trial failed, and the next boot will leave it.
    Fail,
    /// A boot loader started another slot than the one that is active.
    Stray,
}

/// What a log says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Its entries, oldest first.
    pub entries: Vec<LogEntry>,
    /// The lines, counted from 1, that could not be read; a medium fault or a foreign hand.
    pub damaged: Vec<usize>,
}

impl LogEntry {
    pub(crate) fn new(what: What, component: &Component) -> Self {
        let component = component.clone();
        Self { at: 0, what, component, from: None, to: None, slot: None, reason: None }
    }

    pub(crate) fn from(mut self, image: Option<&SealedImage>) -> Self {
        self.from = image.map(|image| image.version.clone());
        self
    }

    pub(crate) fn to(mut self, image: &SealedImage) -> Self {
        self.to = Some(image.version.clone());
        self
    }

    pub(crate) fn slot(mut self, slot: Slot) -> Self {
        self.slot = Some(slot);
        self
    }

    pub(crate) fn reason(mut self, reason: &str) -> Self {
        self.reason = Some(reason.to_owned());
        self
    }

    /// The line as it stands in the log, with the number of the record it followed from.
    fn line(&self, sequence: u64) -> Vec<u8> {
        let mut fields = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            value.into_iter().for_each(|value| drop(fields.insert(name.to_owned(), value)));
        };
        put("sequence", Some(sequence.into()));
        put("at", Some(self.at.into()));
        put("event", Some(self.what.name().into()));
        put("component", Some(self.component.as_str().into()));
        put("from", self.from.as_ref().map(|version| version.to_string().into()));
        put("to", self.to.as_ref().map(|version| version.to_string().into()));
        put("slot", self.slot.map(|slot| slot.name().into()));
        put("reason", self.reason.as_ref().map(|reason| reason.as_str().into()));
        let mut line = Value::Object(fields).to_string().into_bytes();
        line.push(b'\n');
        line
    }

    fn parse(line: &[u8]) -> Option<(u64, Self)> {
        let value: Value = serde_json::from_slice(line).ok()?;
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let entry = Self {
            at: value.get("at")?.as_u64()?,
            what: text("event")?.parse().ok()?,
            component: text("component")?.parse().ok()?,
            from: text("from").map(str::parse).transpose().ok()?,
            to: text("to").map(str::parse).transpose().ok()?,
            slot: text("slot").map(str::parse).transpose().ok()?,
            reason: text("reason").map(str::to_owned),
        };
        Some((value.get("sequence")?.as_u64()?, entry))
    }
}

/// Reads the whole log. A last line without its end is a write under way or cut short, and is left out.
pub(crate) fn read(path: &Path) -> Result<History> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(History::default()),
        other => other.map_err(|e| Error::io("read", path, e))?,
    };
    let mut history = History::default();
    for (number, line) in whole_lines(&bytes).enumerate() {
        match LogEntry::parse(line) {
            Some((_, entry)) => history.entries.push(entry),
            None => history.damaged.push(number.saturating_add(1)),
        }
    }
    Ok(history)
}

fn whole_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|&b| b == b'\n').filter_map(|line| line.strip_suffix(b"\n"))
}

/// The log, open for adding to.
#[derive(Debug)]
pub(crate) struct Log {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    end: u64,
}

/// How much of the log's end is read to find what it lacks: more than the entries of one record can be.
const TAIL: u64 = 2 << 20;

impl Log {
    /// The number of lines that followed from no record; records are counted from 1.
    pub(crate) const NO_RECORD: u64 = 0;

    /// Opens the log, cuts off a torn last line, and counts how many lines it has that followed from the record
    /// `sequence`: of that record's entries it lacks the rest.
    pub(crate) fn open(disk: &dyn Disk, path: &Path, sequence: u64) -> Result<(Self, usize)> {
        let io = |e| Error::io("open the log", path, e);
        let file = disk.open(path, Access::Log).map_err(io)?;
        let len = file.len().map_err(io)?;
        let start = len.saturating_sub(TAIL);
        let mut tail = vec![0; usize::try_from(len.saturating_sub(start)).unwrap_or(0)];
        file.read_at(start, &mut tail).map_err(io)?;
        let whole = tail.iter().rposition(|&b| b == b'\n').map_or(0, |at| at.saturating_add(1));
        let end = start.saturating_add(whole as u64);
        if end != len {
            file.set_len(end).map_err(io)?;
        }
        let sequences = whole_lines(tail.get(..whole).unwrap_or_default()).filter_map(LogEntry::parse);
        let told = sequences.filter(|(number, _)| *number == sequence).count();
        Ok((Self { file, path: path.to_owned(), end }, told))
    }

    /// Adds entries that followed from the record `sequence`.
    ///
    /// Once this returned Ok they survive a power cut. If the disk is full the log is as it was before.
    pub(crate) fn append(&mut self, sequence: u64, entries: &[LogEntry]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let io = |e| Error::io("add to the log", &self.path, e);
        let lines: Vec<u8> = entries.iter().flat_map(|entry| entry.line(sequence)).collect();
        match self.file.write_at(self.end, &lines).and_then(|()| self.file.flush()).map_err(io) {
            Err(error) if error.kind() == Kind::NoSpace => {
                // What was written in part would otherwise pass for told when this is told again.
                self.file.set_len(self.end).and_then(|()| self.file.flush()).map_err(io)?;
                return Err(error);
            }
            other => other?,
        }
        self.end = self.end.saturating_add(lines.len() as u64);
        Ok(())
    }
}

impl What {
    const ALL: [Self; 14] = [
        Self::Init,
        Self::Stage,
        Self::Abandon,
        Self::Seal,
        Self::Switch,
        Self::Try,
        Self::FallBack,
        Self::Confirm,
        Self::Rollback,
        Self::Remove,
        Self::Lift,
        Self::Vacuum,
        Self::Fail,
        Self::Stray,
    ];

    /// Its name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Stage => "stage",
            Self::Abandon => "abandon",
            Self::Seal => "seal",
            Self::Switch => "switch",
            Self::Try => "try",
            Self::FallBack => "fall-back",
            Self::Confirm => "confirm",
            Self::Rollback => "rollback",
            Self::Remove => "remove",
            Self::Lift => "lift",
            Self::Vacuum => "vacuum",
            Self::Fail => "fail",
            Self::Stray => "stray",
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for What {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = |what: &Self| what.name() == text;
        Self::ALL.into_iter().find(named).ok_or_else(|| format!("no event of a log is called {text:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Real;

    fn entry(what: What) -> LogEntry {
        let mut entry = LogEntry::new(what, &"c".parse().unwrap()).slot(Slot::A).reason("a \"b\"\nc");
        entry.to = Some("1 (a)".parse().unwrap());
        entry
    }

    #[test]
    fn every_kind_of_entry_reads_back() {
        for what in What::ALL {
            let line = entry(what).line(7);
            assert_eq!(LogEntry::parse(&line), Some((7, entry(what))));
            assert_eq!(line.iter().filter(|&&b| b == b'\n').count(), 1);
        }
    }

    #[test]
    fn a_line_torn_anywhere_is_cut_off_and_told_again() {
        let entries = [entry(What::Switch), entry(What::Seal)];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let whole: Vec<u8> = entries.iter().flat_map(|e| e.line(3)).collect();
        let before = entry(What::Init).line(2);
        for cut in 0..=whole.len() {
            std::fs::write(&path, [&before, &whole[..cut]].concat()).unwrap();
            let (mut log, told) = Log::open(&Real, &path, 3).unwrap();
            log.append(3, &entries[told..]).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), [before.as_slice(), &whole].concat(), "cut at {cut}");
        }
    }

    #[test]
    fn a_damaged_line_is_named_and_the_rest_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let good = entry(What::Init).line(1);
        std::fs::write(&path, [good.as_slice(), b"\xff{}\n", &good, b"{\"torn"].concat()).unwrap();
        let history = read(&path).unwrap();
        assert_eq!((history.entries.len(), history.damaged), (2, vec![2]));
    }
}
