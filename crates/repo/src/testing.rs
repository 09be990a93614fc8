//! What tests of this crate share.

mod maker;
mod server;

pub(crate) use maker::{Key, Maker, NOW, release};
pub(crate) use server::{Act, Request, Server};

use crate::clock::Clock;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;
use std::{fs, io};

/// A clock that is moved by hand.
#[derive(Debug, Default)]
pub(crate) struct Hand(Mutex<Duration>, pub(crate) Duration);

impl Hand {
    /// One on which each look takes so long.
    pub(crate) fn ticking(tick: Duration) -> Self {
        Self(Mutex::default(), tick)
    }

    pub(crate) fn pass(&self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }
}

impl Clock for Hand {
    fn now(&self) -> Duration {
        self.pass(self.1);
        *self.0.lock().unwrap()
    }

    fn sleep(&self, time: Duration) {
        self.pass(time);
    }
}

/// Cuts the power at the N-th step of replacing files, and leaves on disk what such a cut may leave.
#[derive(Debug, Default)]
pub(crate) struct Power(Mutex<Option<Cut>>);

/// Where and how.
#[derive(Debug)]
pub(crate) struct Cut {
    /// Steps until then.
    pub(crate) steps: usize,
    /// Whether what was not flushed is lost: the new file's bytes.
    pub(crate) torn: bool,
    old: Option<Vec<u8>>,
}

impl Power {
    pub(crate) fn cut_after(&self, steps: usize, torn: bool) {
        *self.0.lock().unwrap() = Some(Cut { steps, torn, old: None });
    }

    /// The five steps of one file: before make, write, flush, rename, flush of the directory.
    pub(crate) fn step(&self, path: &Path, beside: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut power = self.0.lock().unwrap();
        let Some(cut) = power.as_mut() else { return Ok(()) };
        let renamed = !beside.exists() && fs::read(path).is_ok_and(|now| now == bytes);
        if !renamed {
            cut.old = fs::read(path).ok();
        }
        cut.steps = cut.steps.saturating_sub(1);
        if cut.steps > 0 {
            return Ok(());
        }
        if cut.torn && renamed {
            fs::write(beside, &bytes[..bytes.len() / 2])?;
            match &cut.old {
                Some(old) => fs::write(path, old)?,
                None => fs::remove_file(path)?,
            }
        } else if cut.torn && beside.exists() {
            fs::write(beside, &bytes[..bytes.len() / 2])?;
        }
        Err(io::Error::other("the power was cut"))
    }
}
