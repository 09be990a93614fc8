//! What is in use, since when, and the way back.

use super::{Shown, advisories, chip};
use crate::words::plural;
use maud::{Markup, html};
use siding_agent::view::{Installed, View};

pub(crate) fn section(view: &View, shown: &Shown<'_>) -> Markup {
    let removable = view.components.iter().filter(|component| component.can_remove).count();
    html! {
        section #installed aria-labelledby="installed-title" {
            h2 #installed-title { "Installed" }
            @if view.components.is_empty() {
                p.none { "No component is installed. The command “siding init” puts a component's base in place." }
            }
            div.cards { @for component in &view.components { (card(component, shown)) } }
            @if removable > 1 && shown.token.is_some() {
                details.ask {
                    summary { "Remove every fix…" }
                    p { "All " (removable) " components go back to the versions they came with. Nothing is fetched for that." }
                    (shown.button("/remove", &[], "Remove every fix", "", "danger"))
                }
            }
        }
    }
}

fn card(component: &Installed, shown: &Shown<'_>) -> Markup {
    let is_base = component.base.as_ref() == Some(&component.version);
    html! {
        article.card {
            div.top {
                h3 { bdi { (component.component) } " " bdi.version { (component.version) } }
                @if component.trial.is_some() { (chip("wait", "On trial")) }
                @else if is_base { (chip("", "As it came")) }
                @else { (chip("ok", "In use")) }
            }
            @if let Some(back) = &component.last_rollback {
                p.why.bad {
                    bdi.strong { (back.version) } " was taken back " (shown.clock.both(back.at)) ": " bdi { (back.reason) }
                }
            }
            @if let Some(trial) = &component.trial {
                p.why {
                    "If it does not prove itself, the version before comes back: "
                    @match trial.tries_left {
                        0 => { "at the next start" }
                        left => { "after " (plural(left.into(), "more start")) }
                    }
                    @if let Some(at) = trial.deadline { ", or " (shown.clock.both(at)) }
                    "."
                }
            }
            dl {
                div { dt { "Since" } dd { (shown.clock.both(component.since)) } }
                @if let Some(base) = component.base.as_ref().filter(|_| !is_base) {
                    div { dt { "Came with" } dd { bdi { (base) } } }
                }
                @if !component.advisories.is_empty() {
                    div { dt { "Repairs" } dd { (advisories(&component.advisories)) } }
                }
            }
            @if component.can_remove && shown.token.is_some() {
                details.ask {
                    summary { "Remove…" span.unseen { " " (component.component) " " (component.version) } }
                    p {
                        (component.component) " goes back to "
                        @match &component.base { Some(base) => { bdi { (base) } } None => { "the version before" } }
                        ", and what this version repairs is open again. Nothing is fetched for that."
                    }
                    (shown.button("/remove", &[("component", &component.component)], "Remove",
                        &format!("{} {}", component.component, component.version), "danger"))
                }
            }
        }
    }
}
