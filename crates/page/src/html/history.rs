//! What happened, newest first, and why.

use super::Shown;
use maud::{Markup, html};
use siding_agent::view::{Happened, View};

pub(crate) fn section(view: &View, shown: &Shown<'_>) -> Markup {
    let (first, rest) = view.history.split_at(view.history.len().min(RECENT));
    html! {
        section #history aria-labelledby="history-title" {
            h2 #history-title { "History" }
            @if first.is_empty() { p.none { "Nothing has happened yet." } }
            @else { div.card { (table("What happened lately, newest first", first, shown)) } }
            @if !rest.is_empty() {
                details.more {
                    summary { "Earlier (" (rest.len()) ")" }
                    div.card { (table("What happened earlier, newest first", rest, shown)) }
                }
            }
        }
    }
}

fn table(caption: &str, lines: &[Happened], shown: &Shown<'_>) -> Markup {
    html! {
        table.history {
            caption.unseen { (caption) }
            thead { tr { th scope="col" { "When" } th scope="col" { "What" } th scope="col" { "What happened, and why" } } }
            tbody {
                @for line in lines {
                    tr {
                        th scope="row" { (shown.clock.both(line.at)) }
                        td.what { (line.what) @if let Some(component) = &line.component { " " bdi.under { (component) } } }
                        td {
                            bdi { (line.text) }
                            @if line.reason.is_some() || line.code.is_some() {
                                span.under {
                                    @if let Some(reason) = &line.reason { "Why: " bdi { (reason) } " " }
                                    @if let Some(code) = &line.code { code { (code) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// So many lines are shown at once; the rest is folded.
const RECENT: usize = 15;
