//! What a status must say if a log is true: a second opinion, which knows nothing of records.

use crate::Result;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// One line of a log, without its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) event: String,
    pub(super) component: String,
    from: Option<String>,
    to: Option<String>,
    slot: Option<String>,
    reason: Option<String>,
}

impl Line {
    pub(super) fn of(entry: &Value) -> Self {
        let text = |name: &str| entry[name].as_str().map(str::to_owned);
        Self {
            event: text("event").unwrap_or_default(),
            component: text("component").unwrap_or_default(),
            from: text("from"),
            to: text("to"),
            slot: text("slot"),
            reason: text("reason"),
        }
    }
}

/// What a slot holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Held {
    Empty,
    Staging,
    Sealed(String),
}

/// What can be said of one component, by its log or by its status.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Standing {
    pub(super) active: String,
    pub(super) slots: BTreeMap<String, Held>,
    pub(super) tries: Option<u64>,
    denied: BTreeSet<String>,
}

/// All components.
pub(super) type State = BTreeMap<String, Standing>;

/// What `siding status --json` says.
pub(super) fn of_status(status: &Value) -> State {
    let components = status["components"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let standing = |one: &Value| Standing {
        active: text(&one["active"]),
        slots: ["base", "a", "b"].map(|slot| (slot.to_owned(), held(&one["slots"][slot]))).into(),
        tries: one["trial"]["tries_left"].as_u64(),
        denied: one["denied"].as_array().into_iter().flatten().map(|d| text(&d["version"])).collect(),
    };
    components.map(|one| (text(&one["component"]), standing(one))).collect()
}

fn held(slot: &Value) -> Held {
    match slot["state"].as_str() {
        Some("sealed") => Held::Sealed(slot["version"].as_str().unwrap_or_default().to_owned()),
        Some("staging") => Held::Staging,
        _ => Held::Empty,
    }
}

/// Where a store stands after these lines; an error if one of them cannot have happened then.
pub(super) fn replay(lines: &[Line]) -> Result<State> {
    let mut state = State::new();
    for (number, line) in lines.iter().enumerate() {
        happen(&mut state, line)
            .ok_or_else(|| format!("line {} of the log cannot have happened: {line:?}", number + 1))?;
    }
    Ok(state)
}

fn happen(state: &mut State, line: &Line) -> Option<()> {
    let sealed = |version: &Option<String>| version.clone().map(Held::Sealed);
    if line.event == "init" {
        let base = sealed(&line.to)?;
        let slots = [("base", base), ("a", Held::Empty), ("b", Held::Empty)];
        let slots = slots.map(|(slot, held)| (slot.to_owned(), held)).into();
        let new = Standing { active: "base".into(), slots, tries: None, denied: BTreeSet::new() };
        return state.insert(line.component.clone(), new).is_none().then_some(());
    }
    let one = state.get_mut(&line.component)?;
    let at = |one: &Standing, slot: &Option<String>| one.slots.get(slot.as_ref()?).cloned();
    let is_active = line.slot.as_ref() == Some(&one.active);
    let was_active = one.slots.get(&one.active).cloned();
    let become_held = |one: &mut Standing, held: Held| one.slots.insert(line.slot.clone()?, held).map(drop);
    match line.event.as_str() {
        "stage" if !is_active && one.tries.is_none() => become_held(one, Held::Staging),
        "abandon" if at(one, &line.slot) == Some(Held::Staging) => become_held(one, Held::Empty),
        "seal" if at(one, &line.slot) == Some(Held::Staging) => become_held(one, sealed(&line.to)?),
        "vacuum" if !is_active && at(one, &line.slot) != Some(Held::Empty) => become_held(one, Held::Empty),
        "switch"
            if !is_active && at(one, &line.slot) == sealed(&line.to) && was_active == sealed(&line.from) =>
        {
            one.active = line.slot.clone()?;
            one.tries = line.reason.as_deref().and_then(number);
            Some(())
        }
        "try" if is_active && line.reason.as_deref().and_then(number) == one.tries?.checked_sub(1) => {
            one.tries = one.tries?.checked_sub(1);
            Some(())
        }
        "confirm" if one.tries.is_some() => {
            one.tries = None;
            Some(())
        }
        "fall-back" | "rollback" | "remove" if was_active == sealed(&line.from) => {
            let on_trial = one.tries.take().is_some();
            match line.event.as_str() {
                "fall-back" if !on_trial => return None,
                "remove" => {}
                _ => drop(one.denied.insert(line.from.clone()?)),
            }
            one.active = line.slot.clone()?;
            (at(one, &line.slot) == sealed(&line.to)).then_some(())
        }
        "supersede" if was_active == sealed(&line.from) && line.slot.as_deref() == Some("base") => {
            let denied = std::mem::take(&mut one.denied);
            let slots = [("base", sealed(&line.to)?), ("a", Held::Empty), ("b", Held::Empty)];
            let slots = slots.map(|(slot, held)| (slot.to_owned(), held)).into();
            *one = Standing { active: "base".into(), slots, tries: None, denied };
            Some(())
        }
        "lift" => Some(()),
        _ => None,
    }
}

/// The first number in a text: "on trial: 3 tries".
fn number(text: &str) -> Option<u64> {
    text.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty())?.parse().ok()
}

/// The lines without stages that were given up: an interruption may leave any number of them.
pub(super) fn settled(lines: &[Line]) -> Vec<Line> {
    let mut kept: Vec<Line> = Vec::new();
    for line in lines {
        if line.event == "abandon" {
            let its = |other: &Line| {
                other.event == "stage" && other.component == line.component && other.slot == line.slot
            };
            if let Some(stage) = kept.iter().rposition(its) {
                kept.remove(stage);
                continue;
            }
        }
        kept.push(line.clone());
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lines(events: &[Value]) -> Vec<Line> {
        events.iter().map(Line::of).collect()
    }

    fn story() -> Vec<Value> {
        vec![
            json!({"event": "init", "component": "c", "to": "1", "slot": "base"}),
            json!({"event": "stage", "component": "c", "from": "1", "to": "2", "slot": "a"}),
            json!({"event": "seal", "component": "c", "to": "2", "slot": "a"}),
            json!({"event": "switch", "component": "c", "from": "1", "to": "2", "slot": "a", "reason": "3 tries"}),
            json!({"event": "try", "component": "c", "from": "2", "slot": "a", "reason": "2 left after this one"}),
            json!({"event": "rollback", "component": "c", "from": "2", "to": "1", "slot": "base"}),
        ]
    }

    #[test]
    fn a_story_gives_a_state_and_no_line_of_it_can_be_told_twice_or_left_out() {
        let story = story();
        let end = replay(&lines(&story)).unwrap();
        let one = &end["c"];
        assert_eq!((one.active.as_str(), one.tries), ("base", None));
        assert_eq!(one.slots["a"], Held::Sealed("2".to_owned()));
        for at in 0..story.len() {
            let mut twice = story.clone();
            twice.insert(at, story[at].clone());
            // A stage may follow a stage: it gives up what was staged.
            let same = replay(&lines(&twice)).is_ok_and(|state| state == end);
            assert_eq!(same, story[at]["event"] == "stage", "{at}");
            let mut without = story.clone();
            without.remove(at);
            // That a try was spent does not matter to a rollback.
            let matters = at + 1 < story.len() && story[at]["event"] != "try";
            assert_eq!(replay(&lines(&without)).is_err(), matters, "{at}");
        }
    }

    #[test]
    fn stages_that_were_given_up_leave_no_trace() {
        let mut longer = story();
        longer.insert(1, longer[1].clone());
        longer.insert(2, json!({"event": "abandon", "component": "c", "slot": "a"}));
        assert_eq!(settled(&lines(&longer)), lines(&story()));
    }
}
