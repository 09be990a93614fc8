//! What there is, what becomes of it here, and why.

use super::{Shown, advisories, chip};
use crate::words::bytes;
use maud::{Markup, html};
use siding_agent::view::{Offer, Verdict, View};

pub(crate) fn section(view: &View, shown: &Shown<'_>) -> Markup {
    let open = |offer: &&Offer| !matches!(offer.verdict, Verdict::Installed | Verdict::NotForThis);
    let (open, closed): (Vec<&Offer>, Vec<&Offer>) = view.offers.iter().partition(open);
    let (first, rest) = open.split_at(open.len().min(MANY));
    html! {
        section #available aria-labelledby="available-title" {
            h2 #available-title { "Available" }
            @if open.is_empty() {
                p.none {
                    @if view.check.succeeded.is_none() { "What there is has not been asked for yet." }
                    @else { "There is nothing that is not installed already." }
                }
            }
            @for offer in first { (card(offer, view, shown)) }
            @if !rest.is_empty() {
                details.more {
                    summary { (rest.len()) " more" }
                    @for offer in rest { (card(offer, view, shown)) }
                }
            }
            @if !closed.is_empty() { (others(&closed, shown)) }
        }
    }
}

fn card(offer: &Offer, view: &View, shown: &Shown<'_>) -> Markup {
    let under_way =
        view.activity.as_ref().is_some_and(|activity| activity.release.as_ref() == Some(&offer.id));
    let (tone, words) = verdict(offer.verdict);
    html! {
        article.card.(tone) {
            div.top {
                h3 { bdi { (offer.title) } }
                (chip(tone, words))
                @if !matches!(offer.severity.as_str(), "" | "none") { (chip("", &offer.severity)) }
            }
            p.why {
                bdi { (offer.reason) }
                @if let Some(at) = offer.when { " Planned: " (shown.clock.both(at)) "." }
            }
            @if !offer.text.is_empty() { p dir="auto" { (offer.text) } }
            dl {
                @if !offer.changes.is_empty() {
                    div {
                        dt { "Changes" }
                        @for change in &offer.changes {
                            dd {
                                bdi { (change.component) } " " bdi { (change.from) }
                                span aria-hidden="true" { " → " } span.unseen { " to " }
                                bdi.strong { (change.to) }
                            }
                        }
                    }
                }
                @if !offer.advisories.is_empty() {
                    div { dt { "Repairs" } dd { (advisories(&offer.advisories)) } }
                }
                @if offer.bytes > 0 { div { dt { "Download" } dd { (bytes(offer.bytes)) } } }
                div { dt { "Published" } dd { (shown.clock.both(offer.published)) } }
            }
            div.foot {
                @if offer.can_install && !under_way {
                    (shown.button("/install", &[("id", &offer.id)], "Install now", &offer.title, "main"))
                }
                p { span.unseen { "Name and reason for programs: " } code { (offer.id) } @if !offer.code.is_empty() { " · " code { (offer.code) } } }
            }
        }
    }
}

/// What needs nothing more: in use, or not for this device. Still with its reason.
fn others(offers: &[&Offer], shown: &Shown<'_>) -> Markup {
    html! {
        details.more {
            summary { "Installed, replaced or not for this device (" (offers.len()) ")" }
            table {
                caption.unseen { "Releases that need nothing more, newest first" }
                thead { tr { th scope="col" { "Release" } th scope="col" { "What becomes of it, and why" } } }
                tbody {
                    @for offer in offers {
                        @let (tone, words) = verdict(offer.verdict);
                        tr {
                            th scope="row" {
                                bdi { (offer.title) }
                                span.under { code { (offer.id) } " " (shown.clock.exact(offer.published)) }
                            }
                            td { (chip(tone, words)) " " bdi { (offer.reason) } }
                        }
                    }
                }
            }
        }
    }
}

fn verdict(verdict: Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Installed => ("ok", "Installed"),
        Verdict::Staged => ("wait", "Ready, needs a restart"),
        Verdict::Installing => ("busy", "Installs by itself"),
        Verdict::Available => ("wait", "Waits for you"),
        Verdict::Blocked => ("bad", "Held back"),
        Verdict::NotForThis => ("", "Not for this device"),
    }
}

/// So many are shown at once; the rest is folded.
const MANY: usize = 12;
