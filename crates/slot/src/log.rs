//! The history of a store: one JSON object per line, only ever added to.
//!
//! The record is the truth and the log is the tale. A change is told by the record itself, which carries the entries
//! that the log may lack on the medium ([`Tail`]): all that came after the log was last flushed. So a change costs one
//! flush, the record's; and whatever a power cut leaves at the log's end, it is written again from the record.

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
    /// Another base took the place of a base and of all that was patched on it.
    Supersede,
    /// A base that was damaged was put in place anew.
    Mend,
}

/// What a log says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Its entries, oldest first.
    pub entries: Vec<LogEntry>,
    /// The lines, counted from 1, that could not be read; a medium fault or a foreign hand. Where the log was cut short,
    /// and the record knows of more, that is the line after the last whole one.
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

    fn parse(line: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(line).ok()?;
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        Some(Self {
            at: value.get("at")?.as_u64()?,
            what: text("event")?.parse().ok()?,
            component: text("component")?.parse().ok()?,
            from: text("from").map(str::parse).transpose().ok()?,
            to: text("to").map(str::parse).transpose().ok()?,
            slot: text("slot").map(str::parse).transpose().ok()?,
            reason: text("reason").map(str::to_owned),
        })
    }
}

impl Numbered {
    /// The line as it stands in the log, with the number of the record it followed from.
    fn line(&self) -> Vec<u8> {
        self.entry.line(self.sequence)
    }
}

/// An entry, with the number of the record it followed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Numbered {
    pub(crate) sequence: u64,
    pub(crate) entry: LogEntry,
}

/// The end of the log, as a record carries it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    /// How many bytes of the log survive a power cut.
    pub(crate) after: u64,
    /// What comes after those, whether the file has it or not.
    pub(crate) entries: Vec<Numbered>,
}

/// Reads the whole log: what the file surely has, and what the record carries.
pub(crate) fn read(disk: &dyn Disk, path: &Path, tail: &Tail) -> Result<History> {
    let bytes = match disk.read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        other => other.map_err(|e| Error::io("read", path, e))?,
    };
    let sure = usize::try_from(tail.after).unwrap_or(usize::MAX).min(bytes.len());
    let mut history = parse(bytes.get(..sure).unwrap_or_default());
    let told = bytes.get(..sure).unwrap_or_default();
    if (sure as u64) < tail.after && !told.ends_with(&cut_short(tail.after)) {
        history.damaged.push(whole_lines(told).count().saturating_add(1));
    }
    history.entries.extend(tail.entries.iter().map(|numbered| numbered.entry.clone()));
    Ok(history)
}

/// What the whole lines of a log say.
pub(crate) fn parse(bytes: &[u8]) -> History {
    let mut history = History::default();
    for (number, line) in whole_lines(bytes).enumerate() {
        match LogEntry::parse(line) {
            Some(entry) => history.entries.push(entry),
            None => history.damaged.push(number.saturating_add(1)),
        }
    }
    history
}

fn whole_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|&b| b == b'\n').filter_map(|line| line.strip_suffix(b"\n"))
}

/// The log, open for adding to.
#[derive(Debug)]
pub(crate) struct Log {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    /// How much of it survives a power cut.
    sure: u64,
    end: u64,
}

impl Log {
    /// Makes an empty log. Says nothing about a power cut.
    pub(crate) fn create(disk: &dyn Disk, path: &Path) -> Result<()> {
        disk.open(path, Access::Log).map(drop).map_err(|e| Error::io("create the log", path, e))
    }

    /// Opens the log and cuts it off after `sure` bytes: what follows them is the record's to tell, and after a power
    /// cut, or a flush that failed, may be anything. A log that is shorter, or gone, goes on after its last whole line,
    /// and a line that is no entry says so from then on.
    pub(crate) fn open(disk: &dyn Disk, path: &Path, sure: u64) -> Result<Self> {
        let io = |e| Error::io("open the log", path, e);
        if disk.find(path).map_err(io)?.is_some_and(|there| !there.is_file()) {
            return Err(io(std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is not a file")));
        }
        let file = disk.open(path, Access::Log).map_err(io)?;
        let len = file.len().map_err(io)?;
        let end = if len < sure { whole_part(file.as_ref(), len).map_err(io)? } else { sure };
        if end != len {
            file.set_len(end).map_err(io)?;
        }
        let mut log = Self { file, path: path.to_owned(), sure: end, end };
        if len < sure {
            log.say_cut_short(sure)?;
        }
        Ok(log)
    }

    /// Once this returned Ok, the line survives a power cut; a disk that is full does without it.
    fn say_cut_short(&mut self, sure: u64) -> Result<()> {
        let (line, io) = (cut_short(sure), |e| Error::io("add to the log", &self.path, e));
        let mut last = vec![0; line.len().min(usize::try_from(self.end).unwrap_or(usize::MAX))];
        self.file.read_at(self.end.saturating_sub(last.len() as u64), &mut last).map_err(io)?;
        if last == line {
            return Ok(());
        }
        let end = self.end.saturating_add(line.len() as u64);
        match self.file.write_at(self.end, &line).and_then(|()| self.file.flush()).map_err(io) {
            Err(error) if error.kind() == Kind::NoSpace => self.file.set_len(self.end).map_err(io),
            Err(error) => Err(error),
            Ok(()) => {
                (self.sure, self.end) = (end, end);
                Ok(())
            }
        }
    }

    /// Adds entries, all or none. They survive the end of the process, and a power cut once they are flushed. If the
    /// disk is full the log is as it was before.
    pub(crate) fn append(&mut self, entries: &[Numbered]) -> Result<()> {
        let io = |e| Error::io("add to the log", &self.path, e);
        let lines: Vec<u8> = entries.iter().flat_map(Numbered::line).collect();
        match self.file.write_at(self.end, &lines).map_err(io) {
            Err(error) if error.kind() == Kind::NoSpace => {
                self.file.set_len(self.end).map_err(io)?;
                return Err(error);
            }
            other => other?,
        }
        self.end = self.end.saturating_add(lines.len() as u64);
        Ok(())
    }

    /// Once this returned Ok, all that was added survives a power cut. If the disk turns out to be full, all that was
    /// added since the last flush is gone.
    pub(crate) fn flush(&mut self) -> Result<()> {
        if self.sure == self.end {
            return Ok(());
        }
        let io = |e| Error::io("flush the log", &self.path, e);
        match self.file.flush().map_err(io) {
            Err(error) if error.kind() == Kind::NoSpace => {
                self.file.set_len(self.sure).map_err(io)?;
                self.end = self.sure;
                return Err(error);
            }
            other => other?,
        }
        self.sure = self.end;
        Ok(())
    }

    /// How many bytes of it survive a power cut.
    pub(crate) fn sure(&self) -> u64 {
        self.sure
    }
}

/// The line of a log that had so many bytes and lost some. It is no entry, and so counts as damaged.
fn cut_short(sure: u64) -> Vec<u8> {
    format!("the log was cut short here: it had {sure} bytes\n").into_bytes()
}

/// Where the last whole line ends, within a log's last part: no line is longer than that.
fn whole_part(file: &dyn DiskFile, len: u64) -> std::io::Result<u64> {
    const LONGEST: u64 = 64 << 10;
    let start = len.saturating_sub(LONGEST);
    let mut tail = vec![0; usize::try_from(len.saturating_sub(start)).unwrap_or(0)];
    file.read_at(start, &mut tail)?;
    let whole = tail.iter().rposition(|&b| b == b'\n').map_or(0, |at| at.saturating_add(1));
    Ok(start.saturating_add(whole as u64))
}

impl What {
    const ALL: [Self; 16] = [
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
        Self::Supersede,
        Self::Mend,
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
            Self::Supersede => "supersede",
            Self::Mend => "mend",
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

    fn numbered(what: What, sequence: u64) -> Numbered {
        Numbered { sequence, entry: entry(what) }
    }

    #[test]
    fn every_kind_of_entry_reads_back() {
        for what in What::ALL {
            let line = numbered(what, 7).line();
            assert_eq!(LogEntry::parse(&line), Some(entry(what)));
            assert_eq!(line.iter().filter(|&&b| b == b'\n').count(), 1);
        }
    }

    #[test]
    fn whatever_lies_at_its_end_is_told_again_from_the_record() {
        let entries = [numbered(What::Switch, 3), numbered(What::Seal, 4)];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let whole: Vec<u8> = entries.iter().flat_map(Numbered::line).collect();
        let before = numbered(What::Init, 2).line();
        let tail = Tail { after: before.len() as u64, entries: entries.to_vec() };
        for cut in 0..=whole.len() {
            for rest in [&b""[..], &[0; 700]] {
                std::fs::write(&path, [&before, &whole[..cut], rest].concat()).unwrap();
                let told = read(&Real, &path, &tail).unwrap();
                assert_eq!(told.entries, [What::Init, What::Switch, What::Seal].map(entry), "cut at {cut}");
                let mut log = Log::open(&Real, &path, tail.after).unwrap();
                log.append(&tail.entries).unwrap();
                let bytes = std::fs::read(&path).unwrap();
                assert_eq!(bytes, [before.as_slice(), &whole].concat(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_log_that_somebody_shortened_goes_on_after_its_last_whole_line_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (first, second) = (numbered(What::Init, 1).line(), numbered(What::Stage, 2).line());
        let tail = |after| Tail { after, entries: vec![] };
        let damaged = |after| read(&Real, &path, &tail(after)).unwrap().damaged;
        for (left, line) in [([first.as_slice(), &second[..9]].concat(), 2), (first.clone(), 2), (vec![], 1)]
        {
            std::fs::write(&path, &left).unwrap();
            assert_eq!(damaged(10_000), [line], "before it is opened for writing");
            drop(Log::open(&Real, &path, 10_000).unwrap());
            // A process that wrote no record afterwards.
            let mut log = Log::open(&Real, &path, 10_000).unwrap();
            log.append(&[numbered(What::Seal, 3)]).unwrap();
            let whole = if line == 2 { first.as_slice() } else { &[] };
            let told = [whole, &cut_short(10_000), &numbered(What::Seal, 3).line()].concat();
            assert_eq!(String::from_utf8(std::fs::read(&path).unwrap()), String::from_utf8(told));
            assert_eq!(damaged(log.end), [line], "and from then on");
            assert_eq!(damaged(log.sure()), [line], "once");
            assert_eq!(damaged(10_000), [line, line + 2], "the entry after it is not sure yet");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(damaged(1), [1], "it is gone");
        assert_eq!(damaged(0), [0; 0]);
    }

    #[test]
    fn a_damaged_line_is_named_and_the_rest_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let good = numbered(What::Init, 1).line();
        std::fs::write(&path, [good.as_slice(), b"\xff{}\n", &good, b"{\"torn"].concat()).unwrap();
        let history = read(&Real, &path, &Tail { after: u64::MAX, entries: vec![] }).unwrap();
        assert_eq!((history.entries.len(), history.damaged), (2, vec![2, 4]));
    }
}
