//! Progress: bars on a terminal, JSON lines for programs, on standard error.

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How to show progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// A bar on a terminal, nothing elsewhere
    Auto,
    /// One JSON object per line on standard error
    Json,
    /// Nothing
    None,
}

/// Shows the progress of one piece of work after the other. What is shown never goes back.
pub(crate) struct Show {
    mode: Mode,
    /// How to show a remark; as for progress, but a terminal is not asked for.
    #[cfg(feature = "make")]
    remarks: Mode,
    current: Mutex<Option<Shown>>,
}

struct Shown {
    what: &'static str,
    /// How much was done when it began: what an earlier attempt had left.
    first: u64,
    done: u64,
    total: u64,
    started: Instant,
    /// When a line was written last, and of how much.
    told: (Instant, Option<u64>),
    bar: Option<ProgressBar>,
}

/// What takes less time than this is not worth a bar.
const PATIENCE: Duration = Duration::from_millis(500);
/// JSON lines come at most this often.
const EVERY: Duration = Duration::from_millis(100);

impl Show {
    pub(crate) fn new(mode: Mode, json: bool) -> Self {
        let hidden = mode == Mode::Auto && (json || !std::io::stderr().is_terminal());
        Self {
            mode: if hidden { Mode::None } else { mode },
            #[cfg(feature = "make")]
            remarks: if mode == Mode::Auto && json { Mode::Json } else { mode },
            current: Mutex::new(None),
        }
    }

    /// `done` of `total` bytes of the work called `what` are done. May be called from any thread, in any order.
    pub(crate) fn advance(&self, what: &'static str, done: u64, total: u64) {
        if self.mode == Mode::None {
            return;
        }
        let Ok(mut current) = self.current.lock() else { return };
        let now = Instant::now();
        if current.as_ref().is_none_or(|shown| shown.what != what) {
            self.finish_step(current.take());
            *current =
                Some(Shown { what, first: done, done: 0, total, started: now, told: (now, None), bar: None });
        }
        let Some(shown) = current.as_mut() else { return };
        shown.done = shown.done.max(done.min(total));
        shown.total = total;
        match self.mode {
            Mode::Json if shown.told.0 + EVERY <= now || shown.done >= total => shown.tell(now),
            Mode::Auto if shown.started + PATIENCE <= now || shown.bar.is_some() => {
                let bar = shown.bar.get_or_insert_with(|| bar(what, total));
                bar.set_position(shown.done);
            }
            _ => {}
        }
    }

    /// All is done: brings the last step to its end and takes the bar away.
    pub(crate) fn finish(&self) {
        if let Ok(mut current) = self.current.lock() {
            self.finish_step(current.take());
        }
    }

    fn finish_step(&self, shown: Option<Shown>) {
        let Some(mut shown) = shown else { return };
        shown.done = shown.total;
        if self.mode == Mode::Json {
            shown.tell(Instant::now());
        }
        if let Some(bar) = shown.bar {
            bar.set_position(shown.total);
            bar.finish_and_clear();
        }
    }

    /// Says how much memory the work needs, before it starts.
    #[cfg(feature = "make")]
    pub(crate) fn needs_memory(&self, bytes: u64) {
        match self.remarks {
            Mode::Auto => eprintln!("needs about {} of memory", megabytes(bytes)),
            Mode::Json => {
                let line = json!({ "step": "plan", "done": 1, "total": 1, "seconds_left": 0, "memory_bytes": bytes });
                eprintln!("{line}");
            }
            Mode::None => {}
        }
    }
}

impl Shown {
    /// Writes a line, unless the last one said the same.
    fn tell(&mut self, now: Instant) {
        if self.told.1.replace(self.done) == Some(self.done) {
            return;
        }
        self.told.0 = now;
        let Self { what, first, done, total, started, .. } = *self;
        let rate = done.saturating_sub(first) as f64 / (now - started).as_secs_f64().max(1e-9);
        // Before anything is known of the rate, nothing is said of the end.
        let left = (rate > 0.0 || done == total).then(|| (total - done) as f64 / rate.max(1.0));
        eprintln!("{}", json!({ "step": what, "done": done, "total": total, "seconds_left": left }));
    }
}

#[cfg(feature = "make")]
fn megabytes(bytes: u64) -> String {
    format!("{} MB", crate::bytes::thousands(bytes.div_ceil(1_000_000)))
}

impl siding_apply::Progress for &Show {
    fn advanced(&mut self, done: u64, total: u64) {
        self.advance("apply", done, total);
    }
}

fn bar(what: &'static str, total: u64) -> ProgressBar {
    let style = "{msg:8} {bar:32} {decimal_bytes:>10} of {decimal_total_bytes:10} {decimal_bytes_per_sec:>12}, {eta} left";
    let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    bar.set_style(style);
    bar.set_message(what);
    bar
}
