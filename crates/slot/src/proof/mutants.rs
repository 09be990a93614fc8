//! Seeded bugs, each of which the proof must find.
//!
//! A bug is planted between the program and its disk: it then behaves as if the program had been written wrong, be it
//! that a flush is missing, comes too late, or has its error ignored. Bugs of the state machine are planted and found
//! in `step/tests/mutants.rs`.

use super::act;
use super::faults;
use super::run::{Run, plain};
use super::{Looked, Thoroughness, explore};
use crate::disk::{Access, Attribute, Disk, DiskFile, Room, reading_goes_below};
use crate::layout::Home;
use crate::log::Tail;
use crate::sim::{Effort, SimDisk};
use crate::state::{Held, State};
use crate::{codec, record};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

mod early;
use early::When;

/// One bug, in the words of the change that would bring it.
#[derive(Clone, Copy)]
struct Mutant {
    name: &'static str,
    bug: Bug,
}

/// What is wrong.
#[derive(Clone, Copy)]
enum Bug {
    /// Flushes of these do nothing.
    NoFlush(fn(&Path) -> bool),
    /// Flushes of these fail and nobody looks.
    FlushErrorIgnored(fn(&Path) -> bool),
    /// The same, and what was written is read back from the cache.
    FlushErrorAndCacheIgnored(fn(&Path) -> bool),
    /// The record is written here instead.
    RecordGoesTo(fn(u64) -> u64),
    /// The record says this instead; nothing is written for `None`.
    RecordSays(fn(State, Tail) -> Option<(State, Tail)>),
    /// A copy whose checksum is wrong is believed.
    ChecksumNotChecked,
    /// The record is written after what follows from it.
    RecordComesLast,
    /// An open record is believed as the cache shows it.
    CacheBelieved,
    /// A link is removed and made anew instead of renamed over.
    LinksNotRenamed,
    /// A base that was superseded loses its files too early.
    OldBaseGoes(When),
    /// A base that was superseded keeps its files.
    OldBaseStays,
}

fn ends_with(path: &Path, end: &str) -> bool {
    path.to_string_lossy().ends_with(end)
}

fn is_record(path: &Path) -> bool {
    ends_with(path, "/record")
}

fn is_slot(path: &Path) -> bool {
    ["/base", "/a", "/b"].iter().any(|end| ends_with(path, end)) || is_later_base(path)
}

/// The directory of a base that superseded another.
fn is_later_base(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()?.parse().ok());
    matches!(name, Some(Home::Base(generation)) if generation > 0)
}

fn is_image_of_later_base(path: &Path) -> bool {
    ends_with(path, "/image") && path.parent().is_some_and(is_later_base)
}

fn is_component(path: &Path) -> bool {
    path.parent().is_some_and(|parent| ends_with(parent, "/components"))
}

fn mutants() -> Vec<Mutant> {
    let no_flush = |name, of| Mutant { name, bug: Bug::NoFlush(of) };
    let ignored = |name, of| Mutant { name, bug: Bug::FlushErrorIgnored(of) };
    vec![
        no_flush("a record write is not flushed", is_record),
        no_flush("a new record is renamed unflushed", |path| ends_with(path, "/record.new")),
        no_flush("the name of a new record is not flushed", |path| ends_with(path, "/store")),
        no_flush("the name of a new store is not flushed", |path| ends_with(path, "/data")),
        no_flush("a file image is sealed unflushed", |path| {
            ends_with(path, "/image") && ends_with(path, "c/a/image")
        }),
        no_flush("a base is taken in unflushed", |path| ends_with(path, "c/base/image")),
        no_flush("a base that supersedes another is taken in unflushed", is_image_of_later_base),
        no_flush("the names in a base that supersedes another are not flushed", is_later_base),
        no_flush("a tree is sealed unflushed", |path| {
            path.to_string_lossy().contains("/components/t/") && ends_with(path, "/image")
        }),
        no_flush("the description of a tree is not flushed", |path| ends_with(path, "/tree")),
        no_flush("the names in a slot are not flushed", is_slot),
        no_flush("the names of slots are not flushed", is_component),
        no_flush("the name of a component is not flushed", |path| ends_with(path, "/components")),
        no_flush("links are not flushed", |path| ends_with(path, "/current")),
        no_flush("the log is never flushed", |path| ends_with(path, "/log")),
        ignored("an error of the record's flush is ignored", is_record),
        ignored("an error of a slot's flush is ignored", is_slot),
        ignored("an error of the flush of names is ignored", is_component),
        ignored("an error of the log's flush is ignored", |path| ends_with(path, "/log")),
        Mutant {
            name: "an error of an image's flush is ignored, and it is compared in the cache",
            bug: Bug::FlushErrorAndCacheIgnored(|path| ends_with(path, "/image")),
        },
        Mutant {
            name: "a base that supersedes another is not read back from the medium",
            bug: Bug::FlushErrorAndCacheIgnored(is_image_of_later_base),
        },
        Mutant {
            name: "a base goes before the record names the one that supersedes it",
            bug: Bug::OldBaseGoes(When::RecordUnwritten),
        },
        Mutant {
            name: "a base goes while links may still lead there",
            bug: Bug::OldBaseGoes(When::LinksUnflushed),
        },
        Mutant {
            name: "a base goes while one copy of the record still names it",
            bug: Bug::OldBaseGoes(When::OneCopyOld),
        },
        Mutant { name: "a base that was superseded stays", bug: Bug::OldBaseStays },
        Mutant {
            name: "the record does not say which base is meant",
            bug: Bug::RecordSays(|mut state, tail| {
                state.components.values_mut().for_each(|held| held.generation = 0);
                Some((state, tail))
            }),
        },
        Mutant { name: "there is one copy of the record", bug: Bug::RecordGoesTo(|_| 0) },
        Mutant {
            name: "the newest copy of the record is overwritten",
            bug: Bug::RecordGoesTo(|offset| record::COPY as u64 - offset),
        },
        Mutant { name: "the checksum of a copy is not looked at", bug: Bug::ChecksumNotChecked },
        Mutant {
            name: "a slot is written before the record forgets it",
            bug: Bug::RecordSays(|state, tail| {
                let mut slots = state.components.values().flat_map(|held| [held.a.clone(), held.b.clone()]);
                (!slots.any(|held| held == Held::Staging)).then_some((state, tail))
            }),
        },
        Mutant {
            name: "the record does not carry the end of the log",
            bug: Bug::RecordSays(|state, tail| Some((state, Tail { entries: vec![], ..tail }))),
        },
        Mutant {
            name: "the record claims more of the log than was flushed",
            bug: Bug::RecordSays(|state, tail| Some((state, Tail { after: tail.after + 100, ..tail }))),
        },
        Mutant {
            name: "denials are not kept",
            bug: Bug::RecordSays(|mut state, tail| {
                state.components.values_mut().for_each(|held| held.denied.clear());
                Some((state, tail))
            }),
        },
        Mutant { name: "links and slots follow before the record is written", bug: Bug::RecordComesLast },
        Mutant { name: "what a process that died left in the cache is believed", bug: Bug::CacheBelieved },
        Mutant { name: "links are removed and made anew", bug: Bug::LinksNotRenamed },
    ]
}

#[test]
fn every_seeded_bug_is_found() {
    assert_eq!(hunt(Bug::NoFlush(|_| false)), Ok(()), "where there is no bug none is found");
    let mut found = 0;
    for mutant in mutants() {
        let why = hunt(mutant.bug).unwrap_err_or(mutant.name);
        let first = why.lines().next().unwrap_or_default();
        println!("found: {}\n       {first}", mutant.name);
        found += 1;
    }
    println!("{found} bugs found");
    assert!(found >= 20);
}

trait Found {
    fn unwrap_err_or(self, name: &str) -> String;
}

impl Found for Result<(), String> {
    fn unwrap_err_or(self, name: &str) -> String {
        self.expect_err(&format!("not found: {name}"))
    }
}

/// Looks for a bug in all that the proof does, and says how it shows.
fn hunt(bug: Bug) -> Result<(), String> {
    let wrap = move |machine: SimDisk| -> Arc<dyn Disk> {
        Arc::new(Buggy { below: machine, bug, held: Arc::default() })
    };
    let how = Thoroughness {
        first: Effort { all_of: 5, spread: 8, random: 8, torn: 2, seed: 1 },
        second: Effort { all_of: 2, spread: 2, random: 2, torn: 1, seed: 2 },
        one_in: 6,
    };
    // An error that is ignored shows where there are errors.
    let is_of_errors = matches!(bug, Bug::FlushErrorIgnored(_) | Bug::FlushErrorAndCacheIgnored(_));
    for (_, story) in act::stories().into_iter().filter(|_| !is_of_errors) {
        // What is to be true is what the program without the bug says.
        let records = Run::of(&story, &plain).expect("a story").records;
        let run = Run::on(act::disk(), &story, &wrap, |_, done| Ok(done.is_ok())).expect("it is judged so");
        // A file that goes early is no other story; only the record need not be written for it any more.
        let is_story_itself = matches!(bug, Bug::OldBaseGoes(_));
        let run = if is_story_itself { run } else { Run { records, ..run } };
        explore(&run, how, &Looked::of(&run))?;
        if is_story_itself {
            faults::explore_rot(&run)?;
        }
    }
    for (_, story) in act::stories() {
        faults::explore_flushes(&story, &wrap)?;
    }
    Ok(())
}

/// The disk as a program with a bug uses it.
#[derive(Debug)]
struct Buggy {
    below: SimDisk,
    bug: Bug,
    /// A record write that comes late: where, what.
    held: Arc<Mutex<Option<Late>>>,
}

/// A record write that waits for one more operation.
#[derive(Debug)]
struct Late {
    file: Box<dyn DiskFile>,
    offset: u64,
    bytes: Vec<u8>,
    flushed: bool,
}

#[derive(Debug)]
struct BuggyFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    bug: Bug,
    below: SimDisk,
    held: Arc<Mutex<Option<Late>>>,
    wrote: Mutex<bool>,
}

impl Buggy {
    fn below(&self) -> &SimDisk {
        &self.below
    }

    /// After an operation, what was held back is done.
    fn late<T>(&self, done: io::Result<T>) -> io::Result<T> {
        release(&self.held)?;
        done
    }
}

fn release(held: &Mutex<Option<Late>>) -> io::Result<()> {
    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
    match held.take_if(|late| late.flushed) {
        Some(late) => late.file.write_at(late.offset, &late.bytes).and_then(|()| late.file.flush()),
        None => Ok(()),
    }
}

impl Disk for Buggy {
    reading_goes_below!();

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let file = self.below.open(path, access)?;
        let (path, bug, held, below) = (path.to_owned(), self.bug, self.held.clone(), self.below.same());
        Ok(Box::new(BuggyFile { file, path, bug, below, held, wrote: Mutex::new(false) }))
    }
    fn make_directory(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.below.make_directory(path, mode)
    }
    fn make_symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        self.below.make_symlink(target, path)
    }
    fn make_hard_link(&self, existing: &Path, path: &Path) -> io::Result<()> {
        self.below.make_hard_link(existing, path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if let (Bug::LinksNotRenamed, Ok(target)) = (self.bug, self.below.read_link(from)) {
            self.below.remove_tree(from)?;
            self.below.remove_tree(to)?;
            return self.below.make_symlink(&target, to);
        }
        let done = self.late(self.below.rename(from, to));
        if let Bug::OldBaseGoes(when) = self.bug {
            when.link_came(&self.below, to)?;
        }
        done
    }
    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        if let (Bug::OldBaseStays, true) = (self.bug, ends_with(path, "/base") || is_later_base(path)) {
            return Ok(());
        }
        let there = self.below.look(path).is_ok();
        let done = self.below.remove_tree(path);
        if there { self.late(done) } else { done }
    }
    fn set(&self, path: &Path, attribute: Attribute<'_>) -> io::Result<()> {
        self.below.set(path, attribute)
    }
    fn room(&self, path: &Path) -> io::Result<Room> {
        self.below.room(path)
    }
}

impl BuggyFile {
    /// A flush, as the bug has it.
    fn flush_with(&self, flush: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        match self.bug {
            Bug::NoFlush(of) if of(&self.path) => Ok(()),
            Bug::FlushErrorIgnored(of) | Bug::FlushErrorAndCacheIgnored(of) if of(&self.path) => {
                let _ = flush();
                Ok(())
            }
            Bug::CacheBelieved if is_record(&self.path) && !*self.wrote.lock().unwrap() => Ok(()),
            Bug::RecordComesLast if is_record(&self.path) => {
                let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
                match held.as_mut() {
                    Some(late) => {
                        late.flushed = true;
                        Ok(())
                    }
                    None => flush(),
                }
            }
            _ => flush(),
        }
    }

    /// A record write, as the bug has it.
    fn write_record(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match self.bug {
            Bug::RecordGoesTo(place) => self.file.write_at(place(offset), bytes),
            Bug::RecordSays(says) => match record::rewritten(bytes, |payload| {
                let (state, tail) = codec::decode(payload).ok()?;
                says(state, tail).map(|(state, tail)| codec::encode(&state, &tail))
            }) {
                Some(bytes) => self.file.write_at(offset, &bytes),
                None => Ok(()),
            },
            Bug::RecordComesLast => {
                let file = self.below.open(&self.path, Access::Existing)?;
                let late = Late { file, offset, bytes: bytes.to_vec(), flushed: false };
                *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(late);
                Ok(())
            }
            Bug::OldBaseGoes(when) => {
                when.record_comes(&self.below, &self.path, bytes)?;
                self.file.write_at(offset, bytes)
            }
            _ => self.file.write_at(offset, bytes),
        }
    }
}

impl DiskFile for BuggyFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, out)?;
        if let (Bug::ChecksumNotChecked, true) = (self.bug, is_record(&self.path)) {
            record::rewritten(out, |payload| Some(payload.to_vec())).iter().for_each(|fixed| {
                out[..fixed.len().min(4096)].copy_from_slice(&fixed[..fixed.len().min(4096)]);
            });
        }
        Ok(())
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        *self.wrote.lock().unwrap() = true;
        if is_record(&self.path) {
            return self.write_record(offset, bytes);
        }
        let done = self.file.write_at(offset, bytes);
        if ends_with(&self.path, "/log") {
            release(&self.held)?;
        }
        done
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn copy_from(&self, source: &Path, len: u64) -> io::Result<()> {
        self.file.copy_from(source, len)
    }
    fn flush(&self) -> io::Result<()> {
        self.flush_with(|| self.file.flush())
    }
    fn flush_filesystem(&self) -> io::Result<()> {
        self.flush_with(|| self.file.flush_filesystem())
    }
    fn forget_cache(&self) -> io::Result<()> {
        match self.bug {
            Bug::CacheBelieved if is_record(&self.path) => Ok(()),
            Bug::FlushErrorAndCacheIgnored(of) if of(&self.path) => Ok(()),
            _ => self.file.forget_cache(),
        }
    }
    fn is_device(&self) -> bool {
        self.file.is_device()
    }
}

impl std::fmt::Debug for Bug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a bug")
    }
}
