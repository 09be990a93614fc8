//! How things stand, in one sentence; what is under way; the switch that people look for.

use super::Shown;
use crate::words::{bytes, duration, plural, title};
use maud::{Markup, html};
use siding_agent::view::{Activity, REBOOT, Setting, Verdict, View};

/// The most important thing to say, and how it feels: `busy`, `wait`, `bad`, `ok`.
pub(crate) fn headline(view: &View) -> (&'static str, String) {
    notes(view).into_iter().next().unwrap_or_else(|| {
        if view.check.succeeded.is_none() {
            ("wait", "Nothing was looked for yet".to_owned())
        } else if view.components.is_empty() {
            ("ok", "Nothing is installed yet".to_owned())
        } else {
            ("ok", "Everything is up to date".to_owned())
        }
    })
}

/// Everything that a person may want to know first, the most pressing first.
fn notes(view: &View) -> Vec<(&'static str, String)> {
    let mut notes = Vec::new();
    if let Some(activity) = &view.activity {
        notes.push(("busy", doing(activity)));
    }
    if !view.restart_pending.is_empty() {
        notes.push(("wait", "A restart finishes the installation".to_owned()));
    }
    for on_trial in view.components.iter().filter(|component| component.trial.is_some()) {
        notes.push(("wait", format!("{} {} is on trial", on_trial.component, on_trial.version)));
    }
    for component in &view.components {
        if let Some(back) = &component.last_rollback {
            notes.push((
                "bad",
                format!("{} {} did not work and was taken back", component.component, back.version),
            ));
        }
    }
    if view.check.error.is_some() {
        notes.push(("bad", "The last check for fixes failed".to_owned()));
    }
    let with = |verdict| view.offers.iter().filter(|offer| offer.verdict == verdict).count() as u64;
    let counted = [
        (Verdict::Staged, "lies ready", "lie ready"),
        (Verdict::Installing, "will be installed by itself", "will be installed by themselves"),
        (Verdict::Available, "can be installed", "can be installed"),
        (Verdict::Blocked, "is held back", "are held back"),
    ];
    for (verdict, one, many) in counted {
        match with(verdict) {
            0 => {}
            count => notes
                .push(("wait", format!("{} {}", plural(count, "fix"), if count == 1 { one } else { many }))),
        }
    }
    notes
}

/// `Downloading 2026-11-webkit`.
fn doing(activity: &Activity) -> String {
    let what = activity.release.as_ref().or(activity.component.as_ref());
    what.map_or_else(|| title(&activity.what), |of| format!("{} {of}", title(&activity.what)))
}

/// The first section, which every other is below.
pub(crate) fn section(view: &View, shown: &Shown<'_>) -> Markup {
    let (tone, words) = headline(view);
    html! {
        @if let Some(answer) = &shown.answer {
            @let (class, text) = answer.as_ref().map_or_else(|no| ("bad", no), |yes| ("ok", yes));
            p.answer.(class) role="status" {
                @if class == "bad" { strong { "Not done. " } }
                bdi { (text) }
            }
        }
        section.status.(tone) aria-labelledby="how" {
            h1 #how { bdi { (words) } }
            @if let Some(activity) = &view.activity { (progress(activity, shown)) }
            @let more: Vec<_> = notes(view).into_iter().skip(1).collect();
            @if !more.is_empty() {
                ul.notes { @for (tone, words) in &more { li.(tone) { bdi { (words) } } } }
            }
            @if !view.restart_pending.is_empty() { (restart(view, shown)) }
            div.facts {
                (checked(view, shown))
                @if let Some(setting) = view.settings.iter().find(|setting| setting.name == AUTOMATIC) {
                    (switch(setting, shown))
                }
            }
        }
    }
}

fn progress(activity: &Activity, shown: &Shown<'_>) -> Markup {
    let seconds = shown.clock.now.saturating_sub(activity.since);
    html! {
        div.progress {
            @if activity.total > 0 {
                @let done = activity.done.min(activity.total);
                progress max=(activity.total) value=(done) aria-label=(doing(activity)) {}
                p role="status" {
                    (percent(done, activity.total)) " %, "
                    (bytes(done)) " of " (bytes(activity.total)) ", for " (duration(seconds))
                }
            } @else {
                progress aria-label=(doing(activity)) {}
                p role="status" {
                    @if activity.done > 0 { (bytes(activity.done)) ", " }
                    "for " (duration(seconds))
                }
            }
            p.quiet {
                @if shown.follows {
                    "This page looks again every few seconds. " a href="/?still" { "Keep it still" }
                } @else {
                    "This page stays as it is. " a href="/" { "Have it follow" }
                }
            }
        }
    }
}

fn percent(done: u64, total: u64) -> u64 {
    u64::try_from(u128::from(done) * 100 / u128::from(total.max(1))).unwrap_or(100)
}

fn restart(view: &View, shown: &Shown<'_>) -> Markup {
    html! {
        div.restart {
            p {
                "To be in use, what was installed needs a restart of "
                @for (i, what) in view.restart_pending.iter().enumerate() {
                    @if i > 0 { ", " }
                    bdi.strong { @if what == REBOOT { "the device" } @else { (what) } }
                }
                "."
            }
            // The page restarts services, never the device.
            @if view.restart_pending.iter().any(|what| what != REBOOT) {
                (shown.button("/restart", &[], "Restart now", "", "main"))
            }
        }
    }
}

fn checked(view: &View, shown: &Shown<'_>) -> Markup {
    let check = &view.check;
    html! {
        div.fact {
            h2 { "Last check" }
            p {
                @match check.succeeded {
                    Some(at) => { (shown.clock.both(at)) }
                    None => { "Never yet" }
                }
            }
            @if let Some(error) = &check.error {
                p.bad {
                    "Failed" @if let Some(at) = check.tried { " " (shown.clock.both(at)) } ": " bdi { (error) }
                }
            }
            @if let Some(at) = check.next { p.quiet { "Next " (shown.clock.both(at)) } }
            (shown.button("/check", &[], "Check now", "for fixes", ""))
        }
    }
}

/// The one switch that must never have to be searched for.
fn switch(setting: &Setting, shown: &Shown<'_>) -> Markup {
    let on = setting.value == "on";
    let (now, then, label) = if on { ("On", "off", "Turn off") } else { ("Off", "on", "Turn on") };
    html! {
        div.fact {
            h2 { "Automatic install" }
            p { strong { (now) } }
            p.quiet {
                @if on { "Fixes install by themselves; each can be removed." }
                @else { "Fixes are listed here, and install when you say so." }
            }
            @if setting.locked {
                p.quiet { "Locked by the administrator in " bdi { (setting.from) } "." }
            } @else {
                (shown.button("/set", &[("name", AUTOMATIC), ("value", then)], label, "automatic install", ""))
            }
        }
    }
}

const AUTOMATIC: &str = "automatic-install";
