//! The page: plain HTML, whole without scripts, each thing where one looks for it.
//!
//! ```text
//! header   whose page this is, and the way to each part
//! status   one sentence that says how things stand; what is under way; the switch; what needs a person
//! offers   what there is, what becomes of each, and why      settings  each with its value, its file, its lock
//! installed  each component, since when, and how to go back
//! history  what happened, and why
//! ```
//!
//! Text from outside goes through maud, which escapes it, and nowhere else.

mod history;
mod installed;
mod offers;
mod settings;
mod status;

use crate::shared::Answer;
use crate::words::Clock;
use axum::http::StatusCode;
use maud::{DOCTYPE, Markup, html};
use siding_agent::view::View;

/// What the page needs beside the view.
pub(crate) struct Shown<'a> {
    pub(crate) clock: Clock,
    /// What each form carries; without it there are no forms.
    pub(crate) token: Option<&'a str>,
    /// What was answered to the request that led here.
    pub(crate) answer: Option<Answer>,
    /// Whether the page reloads itself while something is under way.
    pub(crate) follows: bool,
}

impl Shown<'_> {
    /// A form of one button. `field`s go along; `about` says to those who hear the page what the button is for.
    fn button(&self, action: &str, fields: &[(&str, &str)], label: &str, about: &str, class: &str) -> Markup {
        html! {
            @if let Some(token) = self.token {
                form method="post" action=(action) {
                    (hidden(token, fields))
                    button class=(class) {
                        (label) @if !about.is_empty() { span.unseen { " " (about) } }
                    }
                }
            }
        }
    }
}

/// What a form carries unseen.
fn hidden(token: &str, fields: &[(&str, &str)]) -> Markup {
    html! {
        input type="hidden" name="token" value=(token);
        @for (name, value) in fields { input type="hidden" name=(name) value=(value); }
    }
}

/// The whole page.
pub(crate) fn page(view: &View, shown: &Shown<'_>) -> Markup {
    let name = if view.device.is_empty() { "this device" } else { &view.device };
    document(
        &format!("{} · Siding", status::headline(view).1),
        html! {
            a.skip href="#main" { "Skip to the content" }
            header {
                div.brand {
                    (mark())
                    p { strong { "Siding" } " on " bdi { (name) } }
                    @if let Some(product) = &view.product { p.quiet { bdi { (product) } } }
                }
                nav aria-label="Parts of this page" {
                    a href="#available" { "Available" }
                    a href="#installed" { "Installed" }
                    a href="#settings" { "Settings" }
                    a href="#history" { "History" }
                }
            }
            main #main tabindex="-1" {
                (status::section(view, shown))
                div.columns {
                    div.wide {
                        (offers::section(view, shown))
                        (installed::section(view, shown))
                    }
                    (settings::section(view, shown))
                }
                (history::section(view, shown))
            }
            footer {
                p {
                    "As of " time datetime=(crate::words::machine(view.now)) { (shown.clock.exact(view.now)) }
                    ". Times are in " (shown.clock.zone_name()) ". "
                    a href="/" { "Look again" }
                }
                p {
                    "For programs: " a href="/view.json" { "JSON" } ", " a href="/metrics" { "metrics" }
                    ". On the command line: " code { "siding status" } ", " code { "siding list" } "."
                }
            }
        },
    )
}

/// A page that says what is wrong with a request, and leads back.
pub(crate) fn trouble(status: StatusCode, words: &str) -> Markup {
    let reason = status.canonical_reason().unwrap_or("Refused");
    document(
        &format!("{reason} · Siding"),
        html! {
            main #main.alone {
                section.status.bad {
                    h1 { (reason) }
                    p { (words) }
                    p { a href="/" { "Back to the page" } }
                }
            }
        },
    )
}

fn document(title: &str, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { (title) }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="stylesheet" href="/style.css";
            }
            body { (body) }
        }
    }
}

/// A siding: a track that leaves the main line and comes back to it.
fn mark() -> Markup {
    html! {
        svg viewBox="0 0 48 24" width="48" height="24" aria-hidden="true" focusable="false" {
            path.line d="M2 18H46" {}
            path.loop d="M6 18C13 18 12 6 19 6H29C36 6 35 18 42 18" {}
        }
    }
}

/// A small label with a tone: `ok`, `wait`, `bad`, `busy` or none. Its words say all that its colour does.
fn chip(tone: &str, words: &str) -> Markup {
    html! { span.chip.(tone) { (words) } }
}

/// `CVE-2026-0001`, `CVE-2026-0002` … as a list; long ones are folded.
fn advisories(names: &[String]) -> Markup {
    const FEW: usize = 6;
    let (first, rest) = names.split_at(names.len().min(FEW));
    let list = |names: &[String]| html! { ul.names { @for name in names { li { bdi { (name) } } } } };
    html! {
        (list(first))
        @if !rest.is_empty() {
            details { summary { "and " (rest.len()) " more" } (list(rest)) }
        }
    }
}
