//! A blob on its way: one thread brings it into a file, and the reader follows as it grows.

use super::mirrors::{Mirrors, target_url};
use crate::clock::Clock;
use crate::error::Error;
use crate::http::{Get, Http, Throttle};
use crate::release::Blob;
use siding_image::{Digest, Hasher};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A blob, read from its first byte to its last. Dropping it ends the download; what came stays in the file.
#[derive(Debug)]
pub struct Download {
    shared: Arc<Shared>,
    file: File,
    read: u64,
    from_part: u64,
    total: u64,
}

/// What a download needs.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) mirrors: Arc<Mirrors>,
    pub(super) http: Arc<Http>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) whole: Duration,
    /// The least that a round of all mirrors must bring for another one.
    pub(super) least: u64,
    pub(super) rate: Option<u64>,
}

/// What the reader and the bringing thread tell each other.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Bytes in the file, of those that the reader may have.
    there: u64,
    /// How it ended: everything is there and has the signed digest, or not.
    end: Option<Result<(), Error>>,
    /// Nobody reads any more; the file is no longer this download's.
    abandoned: bool,
}

struct Bringer {
    line: Line,
    blob: Blob,
    path: PathBuf,
    file: File,
    there: u64,
    hasher: Hasher,
    throttle: Option<Throttle>,
    shared: Arc<Shared>,
}

impl Download {
    pub(super) fn begin(line: Line, blob: &Blob, part: &Path) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        let options = options.read(true).append(true).create(true);
        let file = options.open(part).map_err(Error::store("open", part))?;
        let mut from_part = file.metadata().map_err(Error::store("look at", part))?.len();
        if from_part > blob.length {
            file.set_len(0).map_err(Error::store("empty", part))?;
            from_part = 0;
        }
        let state = State { there: from_part, end: None, abandoned: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let throttle = line.rate.map(|rate| Throttle::new(Arc::clone(&line.clock), rate));
        let bringer = Bringer {
            line,
            blob: blob.clone(),
            path: part.to_owned(),
            file: file.try_clone().map_err(Error::store("open", part))?,
            there: 0,
            hasher: Hasher::default(),
            throttle,
            shared: Arc::clone(&shared),
        };
        let spawned =
            std::thread::Builder::new().name("download".to_owned()).spawn(move || bringer.run(from_part));
        spawned.map_err(Error::store("start a thread for", part))?;
        Ok(Self { shared, file, read: 0, from_part, total: blob.length })
    }

    /// Bytes that came over the network so far.
    pub fn received(&self) -> u64 {
        self.shared.lock().there.saturating_sub(self.from_part)
    }

    /// Bytes that an earlier download had left.
    pub fn from_part(&self) -> u64 {
        self.from_part
    }

    /// The blob's length.
    pub fn total(&self) -> u64 {
        self.total
    }
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let mut state = self.shared.lock();
        let ready = loop {
            let ready = state.there.saturating_sub(self.read);
            match &state.end {
                _ if ready > 0 => break ready,
                Some(Ok(())) => return Ok(0),
                Some(Err(error)) => return Err(error.clone().into()),
                None => state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(state);
        let most = usize::try_from(ready).unwrap_or(usize::MAX).min(buffer.len());
        let got = self.file.read_at(buffer.get_mut(..most).unwrap_or_default(), self.read)?;
        if got == 0 {
            // The file was emptied because its digest is wrong, between the look and the read.
            let end = self.shared.lock().end.clone();
            return Err(match end {
                Some(Err(error)) => error.into(),
                _ => io::ErrorKind::UnexpectedEof.into(),
            });
        }
        self.read = self.read.saturating_add(got as u64);
        Ok(got)
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.shared.lock().abandoned = true;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bringer {
    fn run(mut self, from_part: u64) {
        let result = self.hash_part(from_part).and_then(|()| self.bring()).and_then(|()| self.compare());
        let mut state = self.shared.lock();
        state.end = Some(result);
        self.shared.changed.notify_all();
    }

    /// What an earlier download left.
    fn hash_part(&mut self, length: u64) -> Result<(), Error> {
        let mut buffer = vec![0; BUFFER];
        while self.there < length {
            let most = usize::try_from(length.saturating_sub(self.there)).unwrap_or(usize::MAX).min(BUFFER);
            let place = buffer.get_mut(..most).unwrap_or_default();
            self.file.read_exact_at(place, self.there).map_err(Error::store("read", &self.path))?;
            self.hasher.update(place);
            self.there = self.there.saturating_add(most as u64);
            if self.shared.lock().abandoned {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What is missing, from the mirrors in turn, each going on from where the one before it failed. When all have
    /// failed they are asked again, as long as a round brings more than slow data would.
    fn bring(&mut self) -> Result<(), Error> {
        let mirrors = Arc::clone(&self.line.mirrors);
        while self.there < self.blob.length && !self.shared.lock().abandoned {
            let before = self.there;
            let mut tried = Vec::new();
            for (i, mirror) in mirrors.in_order_for(&self.blob.sha256) {
                let url = target_url(mirror, &self.blob.name, &self.blob.sha256)?;
                match self.bring_from(i, &url) {
                    Ok(()) => return Ok(()),
                    Err(error @ Error::Store { .. }) => return Err(error),
                    Err(error) => tried.push(error),
                }
                mirrors.failed(i);
            }
            if self.there.saturating_sub(before) < self.line.least {
                return Err(Error::of_mirrors(&self.blob.name, tried));
            }
        }
        Ok(())
    }

    fn bring_from(&mut self, mirror: usize, url: &url::Url) -> Result<(), Error> {
        let total = self.blob.length;
        let get = Get { from: self.there, total: Some(total), cap: total, whole: self.line.whole };
        let mut body = self.line.http.open(url, get)?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let most = self.throttle.as_mut().map_or(BUFFER, |throttle| throttle.take(BUFFER));
            let got = body.read(buffer.get_mut(..most).unwrap_or_default())?;
            if let Some(throttle) = &mut self.throttle {
                throttle.took(got);
            }
            if got == 0 || !self.put(mirror, buffer.get(..got).unwrap_or_default())? {
                return Ok(());
            }
        }
    }

    /// Appends, unless the reader is gone: then the file may be another download's already.
    fn put(&mut self, mirror: usize, bytes: &[u8]) -> Result<bool, Error> {
        let mut state = self.shared.lock();
        if state.abandoned {
            return Ok(false);
        }
        self.line.mirrors.served(mirror, &self.blob.sha256);
        self.file.write_all(bytes).map_err(Error::store("write", &self.path))?;
        self.hasher.update(bytes);
        self.there = self.there.saturating_add(bytes.len() as u64);
        state.there = self.there;
        self.shared.changed.notify_all();
        Ok(true)
    }

    fn compare(&mut self) -> Result<(), Error> {
        let got = std::mem::take(&mut self.hasher).finish();
        let state = self.shared.lock();
        if state.abandoned {
            return Ok(());
        }
        if got == self.blob.sha256 {
            self.line.mirrors.right(&self.blob.sha256);
            return Ok(());
        }
        self.line.mirrors.blame(&self.blob.sha256);
        self.file.set_len(0).map_err(Error::store("empty", &self.path))?;
        drop(state);
        Err(wrong(&self.blob, got))
    }
}

fn wrong(blob: &Blob, got: Digest) -> Error {
    Error::WrongDigest { what: blob.name.clone(), expected: blob.sha256.to_string(), got: got.to_string() }
}

/// Bytes read at once.
const BUFFER: usize = 64 << 10;
