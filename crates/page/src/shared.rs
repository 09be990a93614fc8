//! What all requests share: the device, this run's secret, and what was answered and not shown yet.

use crate::PageOptions;
use crate::guard::Secret;
use siding_agent::view::Device;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// One for all requests.
pub(crate) struct Shared {
    device: Arc<dyn Device>,
    pub(crate) options: PageOptions,
    pub(crate) secret: Option<Secret>,
    answers: Mutex<Answers>,
    free: Arc<Semaphore>,
}

/// What a person is told once: whether it went well, and a sentence.
pub(crate) type Answer = Result<String, String>;

/// Why the device gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Too many requests are waiting for it already.
    Busy,
    /// It takes longer than a person waits; it goes on.
    Slow,
    /// It failed in a way that is its own fault.
    Broken,
}

impl Shared {
    pub(crate) fn new(device: Arc<dyn Device>, options: PageOptions) -> Self {
        let secret = if options.read_only { None } else { Secret::new() };
        let free = Arc::new(Semaphore::new(AT_ONCE));
        Self { device, options, secret, answers: Mutex::default(), free }
    }

    /// Has the device do something that blocks, beside the other requests. Giving up does not stop it.
    pub(crate) async fn device<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Device) -> T + Send + 'static,
    ) -> Result<T, Silence> {
        let permit = Arc::clone(&self.free).try_acquire_owned().map_err(|_| Silence::Busy)?;
        let device = Arc::clone(&self.device);
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&*device);
            drop(permit);
            done
        });
        match tokio::time::timeout(PATIENCE, done).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(_)) => Err(Silence::Broken),
            Err(_) => Err(Silence::Slow),
        }
    }

    /// Keeps an answer until it is shown, and says under which number.
    pub(crate) fn keep(&self, answer: Answer) -> u64 {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.keep(answer)
    }

    /// Takes the answer of that number, once.
    pub(crate) fn take(&self, number: u64) -> Option<Answer> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let place = answers.kept.iter().position(|(kept, _)| *kept == number)?;
        answers.kept.remove(place).map(|(_, answer)| answer)
    }
}

/// The latest answers that nobody has seen; older ones are in the history anyway.
#[derive(Default)]
struct Answers {
    last: u64,
    kept: VecDeque<(u64, Answer)>,
}

impl Answers {
    fn keep(&mut self, answer: Answer) -> u64 {
        const MOST: usize = 32;
        self.last = self.last.wrapping_add(1);
        self.kept.push_back((self.last, answer));
        while self.kept.len() > MOST {
            self.kept.pop_front();
        }
        self.last
    }
}

/// How many requests may wait for the device at once.
pub(crate) const AT_ONCE: usize = 16;

/// How long a person waits for an answer; shorter than a connection lives.
const PATIENCE: Duration = Duration::from_secs(45);
