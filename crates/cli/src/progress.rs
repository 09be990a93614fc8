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

/// Shows the progress of one piece of work after the other.
pub(crate) struct Show {
    mode: Mode,
    current: Mutex<Option<Shown>>,
}

struct Shown {
    what: &'static str,
    started: Instant,
    told: Instant,
    bar: Option<ProgressBar>,
}

/// What takes less time than this is not worth a bar.
const PATIENCE: Duration = Duration::from_millis(500);
/// JSON lines come at most this often.
const EVERY: Duration = Duration::from_millis(100);

impl Show {
    pub(crate) fn new(mode: Mode, json: bool) -> Self {
        let hidden = mode == Mode::Auto && (json || !std::io::stderr().is_terminal());
        Self { mode: if hidden { Mode::None } else { mode }, current: Mutex::new(None) }
    }

    /// `done` of `total` bytes of the work called `what` are done. May be called from any thread.
    pub(crate) fn advance(&self, what: &'static str, done: u64, total: u64) {
        if self.mode == Mode::None {
            return;
        }
        let Ok(mut current) = self.current.lock() else { return };
        let now = Instant::now();
        if current.as_ref().is_none_or(|shown| shown.what != what) {
            finish(current.take());
            *current = Some(Shown { what, started: now, told: now, bar: None });
        }
        let Some(shown) = current.as_mut() else { return };
        match self.mode {
            Mode::Json if shown.told + EVERY <= now || done >= total => {
                let rate = done as f64 / (now - shown.started).as_secs_f64().max(1e-9);
                let left = (total.saturating_sub(done)) as f64 / rate.max(1.0);
                eprintln!("{}", json!({ "step": what, "done": done, "total": total, "seconds_left": left }));
                shown.told = now;
            }
            Mode::Auto if shown.started + PATIENCE <= now || shown.bar.is_some() => {
                let bar = shown.bar.get_or_insert_with(|| bar(what, total));
                bar.set_position(done);
            }
            _ => {}
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Ok(mut current) = self.current.lock() {
            finish(current.take());
        }
    }
}

impl siding_apply::Progress for &Show {
    fn advanced(&mut self, done: u64, total: u64) {
        self.advance("apply", done, total);
    }
}

fn finish(shown: Option<Shown>) {
    if let Some(bar) = shown.and_then(|shown| shown.bar) {
        bar.finish_and_clear();
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
