//! The view as Prometheus' text format, version 0.0.4. `docs/page.md` has the table of names.

use siding_agent::view::{Installed, Verdict, View};
use std::fmt::{Display, Write};

/// The content type of the answer.
pub(crate) const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything that has a number; what is not known has no line.
pub(crate) fn text(view: &View) -> String {
    let mut out = Out(String::new());
    components(&mut out, view);
    offers(&mut out, view);
    checks(&mut out, view);
    activity(&mut out, view);
    totals(&mut out, view);
    out.0
}

fn components(out: &mut Out, view: &View) {
    let all = || view.components.iter();
    let name = |component: &'_ Installed| component.component.clone();
    out.family("siding_component_info", "gauge", "What is in use; always 1.");
    for c in all() {
        let base = c.base.as_deref().unwrap_or_default();
        out.sample(
            "siding_component_info",
            &[("component", &c.component), ("version", &c.version), ("base", base)],
            1,
        );
    }
    out.family("siding_installed", "gauge", "1 if a fix is in use, 0 if the component is as it came.");
    for c in all() {
        let fixed = u8::from(c.base.as_ref() != Some(&c.version));
        out.sample("siding_installed", &[("component", &name(c))], fixed);
    }
    out.family("siding_installed_timestamp_seconds", "gauge", "Since when what is in use is in use.");
    for c in all() {
        out.sample("siding_installed_timestamp_seconds", &[("component", &name(c))], c.since);
    }
    out.family("siding_on_trial", "gauge", "1 while what is in use is on trial.");
    for c in all() {
        out.sample("siding_on_trial", &[("component", &name(c))], u8::from(c.trial.is_some()));
    }
    out.family("siding_trial_tries_left", "gauge", "How many more starts a trial gets.");
    for (c, trial) in all().filter_map(|c| Some((c, c.trial.as_ref()?))) {
        out.sample("siding_trial_tries_left", &[("component", &name(c))], trial.tries_left);
    }
    out.family("siding_trial_deadline_timestamp_seconds", "gauge", "Until when a trial must be confirmed.");
    for (c, deadline) in all().filter_map(|c| Some((c, c.trial.as_ref()?.deadline?))) {
        out.sample("siding_trial_deadline_timestamp_seconds", &[("component", &name(c))], deadline);
    }
    out.family(
        "siding_rolled_back",
        "gauge",
        "1 if a version was rolled back and nothing newer was confirmed since.",
    );
    for c in all() {
        let version = c.last_rollback.as_ref().map_or("", |back| &back.version);
        let rolled_back = u8::from(c.last_rollback.is_some());
        out.sample("siding_rolled_back", &[("component", &c.component), ("version", version)], rolled_back);
    }
    out.family("siding_rolled_back_timestamp_seconds", "gauge", "When that was.");
    for (c, back) in all().filter_map(|c| Some((c, c.last_rollback.as_ref()?))) {
        out.sample("siding_rolled_back_timestamp_seconds", &[("component", &name(c))], back.at);
    }
}

fn offers(out: &mut Out, view: &View) {
    let pending =
        |v| matches!(v, Verdict::Staged | Verdict::Installing | Verdict::Available | Verdict::Blocked);
    out.family("siding_pending", "gauge", "How many releases are not in use and might be.");
    out.sample("siding_pending", &[], view.offers.iter().filter(|offer| pending(offer.verdict)).count());
    out.family(
        "siding_restart_pending",
        "gauge",
        "How many things must restart for what is installed to be in use.",
    );
    out.sample("siding_restart_pending", &[], view.restart_pending.len());
    out.family("siding_offer", "gauge", "A release, what becomes of it, and why; always 1.");
    for offer in &view.offers {
        let labels = [("id", offer.id.as_str()), ("verdict", word(offer.verdict)), ("code", &offer.code)];
        out.sample("siding_offer", &labels, 1);
    }
    out.family("siding_offer_bytes", "gauge", "How many bytes there are to fetch for a release.");
    for offer in &view.offers {
        out.sample("siding_offer_bytes", &[("id", &offer.id)], offer.bytes);
    }
}

fn checks(out: &mut Out, view: &View) {
    let check = &view.check;
    for (name, help, at) in [
        ("siding_last_check_timestamp_seconds", "When the repository was last looked into.", check.tried),
        ("siding_last_success_timestamp_seconds", "When that last succeeded.", check.succeeded),
        ("siding_next_check_timestamp_seconds", "When it will be looked into next.", check.next),
    ] {
        out.family(name, "gauge", help);
        if let Some(at) = at {
            out.sample(name, &[], at);
        }
    }
    out.family("siding_last_check_failed", "gauge", "1 if the last look into the repository failed.");
    out.sample("siding_last_check_failed", &[], u8::from(check.error.is_some()));
    out.family("siding_automatic_install", "gauge", "1 if fixes are installed by themselves.");
    if let Some(setting) = view.settings.iter().find(|setting| setting.name == "automatic-install") {
        out.sample("siding_automatic_install", &[], u8::from(setting.value == "on"));
    }
}

fn activity(out: &mut Out, view: &View) {
    let Some(now) = &view.activity else { return };
    let release = now.release.as_deref().unwrap_or_default();
    let component = now.component.as_deref().unwrap_or_default();
    let labels = [("what", now.what.as_str()), ("release", release), ("component", component)];
    out.family("siding_activity_seconds", "gauge", "For how long what is under way has been.");
    out.sample("siding_activity_seconds", &labels, view.now.saturating_sub(now.since));
    out.family("siding_activity_done_bytes", "gauge", "How many bytes of it are done.");
    out.sample("siding_activity_done_bytes", &labels, now.done);
    if now.total > 0 {
        out.family("siding_activity_total_bytes", "gauge", "How many bytes it is in all.");
        out.sample("siding_activity_total_bytes", &labels, now.total);
    }
}

fn totals(out: &mut Out, view: &View) {
    let Some(totals) = &view.totals else { return };
    for (name, help, count) in [
        (
            "siding_fetched_bytes_total",
            "Bytes of the patches and images that were installed.",
            totals.fetched_bytes,
        ),
        ("siding_full_bytes_total", "Bytes that full images would have been.", totals.full_bytes),
        ("siding_installs_total", "Installs that ended in a sealed slot.", totals.installs),
        ("siding_install_failures_total", "Installs that failed.", totals.failures),
        ("siding_rollbacks_total", "Times that something was rolled back.", totals.rollbacks),
    ] {
        out.family(name, "counter", help);
        out.sample(name, &[], count);
    }
    let (seconds, rest) = (totals.install_ms / 1000, totals.install_ms % 1000);
    out.family("siding_install_seconds_total", "counter", "How long all installs together took.");
    out.sample("siding_install_seconds_total", &[], format_args!("{seconds}.{rest:03}"));
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Installed => "installed",
        Verdict::Staged => "staged",
        Verdict::Installing => "installing",
        Verdict::Available => "available",
        Verdict::Blocked => "blocked",
        Verdict::NotForThis => "not-for-this",
    }
}

/// The text as it grows. Writing into a `String` cannot fail.
struct Out(String);

impl Out {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (i, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"", if i == 0 { '{' } else { ',' });
            for letter in text.chars() {
                match letter {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    letter if letter.is_control() => self.0.push(' '),
                    letter => self.0.push(letter),
                }
            }
            self.0.push('"');
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}
