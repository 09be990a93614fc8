//! What `siding status` says of the agent.

use super::{policy_of, when};
use crate::output::plain;
use serde_json::{Value, json};
use siding_agent::boot;
use siding_agent::memory::Memory;
use std::path::Path;

/// For people and programs; `None` where no agent has been at work and none was told what to do.
pub(crate) fn standing(store: &Path) -> Option<(String, Value)> {
    if !store.join("agent").is_dir() {
        return None;
    }
    let policy = match policy_of(store) {
        Ok(policy) => policy,
        Err(failure) => {
            let text =
                format!("agent: does nothing, its settings make no sense: {}\n", plain(&failure.to_string()));
            return Some((text, json!({ "error": failure.to_string() })));
        }
    };
    let memory = Memory::load(store).unwrap_or_default();
    let on = if policy.values.automatic_install { "on" } else { "off" };
    let locked = policy.is_locked("automatic-install");
    let pending = memory.pending.as_ref().filter(|pending| pending.boot == boot());
    let words = pending.map(|pending| pending.words.clone()).unwrap_or_default();
    let mut text =
        format!("automatic install: {on}{}\n", if locked { ", locked by the administrator" } else { "" });
    text += &format!("last look: {}", when(memory.succeeded));
    if let Some(error) = &memory.error {
        text += &format!("; tried {}: {}", when(memory.tried), plain(error));
    }
    text.push('\n');
    if !words.is_empty() {
        text += &format!("pending: restart {}\n", plain(&words.join(", ")));
    }
    if !memory.asked.is_empty() {
        let asked: Vec<&str> = memory.asked.iter().map(String::as_str).collect();
        text += &format!("asked for: {}\n", plain(&asked.join(", ")));
    }
    let json = json!({
        "automatic_install": policy.values.automatic_install, "locked": locked, "checked": memory.succeeded,
        "tried": memory.tried, "error": memory.error, "next": memory.next, "restart_pending": words,
        "asked": memory.asked,
    });
    Some((text, json))
}
