//! Every switch with its value, who set it, and whether it can be changed here.

use super::{Shown, chip, hidden};
use crate::words::title;
use maud::{Markup, html};
use siding_agent::view::{Setting, View};

pub(crate) fn section(view: &View, shown: &Shown<'_>) -> Markup {
    html! {
        section #settings aria-labelledby="settings-title" {
            h2 #settings-title { "Settings" }
            @if view.settings.is_empty() { p.none { "There is nothing to set." } }
            @else if view.settings.iter().all(|setting| setting.locked) {
                p.none { "The administrator has locked all settings." }
            }
            @if !view.settings.is_empty() {
                div.card.settings { @for (i, setting) in view.settings.iter().enumerate() { (row(i, setting, shown)) } }
            }
        }
    }
}

fn row(i: usize, setting: &Setting, shown: &Shown<'_>) -> Markup {
    let (field, help) = (format!("setting-{i}"), format!("setting-{i}-help"));
    html! {
        div.setting {
            @match shown.token.filter(|_| !setting.locked) {
                Some(token) => {
                    form method="post" action="/set" {
                        (hidden(token, &[("name", &setting.name)]))
                        label for=(field) { (title(&setting.name)) }
                        div.row {
                            (input(&field, &help, setting))
                            button { "Save" span.unseen { " " (title(&setting.name)) } }
                        }
                    }
                }
                None => {
                    h3 { (title(&setting.name)) }
                    p.row {
                        bdi.strong { @if setting.value.is_empty() { "not set" } @else { (setting.value) } }
                        @if setting.locked { " " (chip("", "Locked by the administrator")) }
                    }
                }
            }
            p.quiet id=(help) { bdi { (setting.help) } " From " code { (setting.from) } "." }
        }
    }
}

fn input(field: &str, help: &str, setting: &Setting) -> Markup {
    let unlisted = !setting.choices.contains(&setting.value);
    html! {
        @if setting.choices.is_empty() {
            input type="text" id=(field) name="value" value=(setting.value) maxlength="2000" autocomplete="off"
                spellcheck="false" aria-describedby=(help);
        } @else {
            select id=(field) name="value" aria-describedby=(help) {
                @if unlisted { option value=(setting.value) selected { (setting.value) } }
                @for choice in &setting.choices {
                    option value=(choice) selected[*choice == setting.value] { (choice) }
                }
            }
        }
    }
}
