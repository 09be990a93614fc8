//! What must be true of a device: after every process, and at the end.

use super::Fleet;
use super::device::{Device, LETTERS, SAFE, letter_of, note_pace};
use super::maker::COMPONENTS;
use super::story;
use crate::measure;
use siding_slot::Store;

/// After each process, killed or not: the store opens; each component runs an image that is sealed and not denied; it
/// came in its turn, never by itself where that is off, and nothing newer was lost but for a reason; and both
/// components have the same letter, unless a kill came between two ways back.
pub(crate) fn after(device: &mut Device, fleet: &Fleet<'_>, hour: u64) {
    match seen(device) {
        Ok(letter) => judge(device, fleet, letter, hour),
        Err(what) => device.wrong.push(format!("hour {hour}: {what}")),
    }
}

fn seen(device: &Device) -> Result<usize, String> {
    let view = Store::view(&device.dir.join("store")).map_err(|e| format!("the store: {e}"))?;
    let mut letters = Vec::new();
    for component in COMPONENTS {
        let name = component.parse().map_err(|e| format!("{component}: {e}"))?;
        let held = view.state().get(&name).ok_or_else(|| format!("{component} is gone"))?;
        let image = held.active_image().ok_or_else(|| format!("{component} runs what is not sealed"))?;
        if let Some(denied) = held.denial(&image.identity.digest) {
            return Err(format!("{component} runs {}, which is denied: {}", image.version, denied.reason));
        }
        let letter = letter_of(&image.version.to_string());
        letters.push(letter.ok_or_else(|| format!("{component} runs {}", image.version))?);
    }
    if letters.iter().any(|letter| *letter != letters[0]) && !device.killed {
        return Err(format!("its components run {letters:?} of {LETTERS:?}"));
    }
    Ok(letters[0])
}

fn judge(device: &mut Device, fleet: &Fleet<'_>, letter: usize, hour: u64) {
    let before = device.letter;
    device.letter = letter;
    if letter > before {
        device.full += fleet.maker.full;
        if !device.killed {
            note_pace(device.took);
        }
        let told = story::bringing(LETTERS[letter]);
        let reached =
            told.is_some_and(|told| device.place(told.id) < story::reach(told, hour) || device.by_hand);
        if !reached {
            device.wrong.push(format!("hour {hour}: it runs {} before its turn", LETTERS[letter]));
        }
        if device.traits.off && !device.by_hand {
            device.wrong.push(format!("hour {hour}: it installed {} by itself", LETTERS[letter]));
        }
        if device.removed.is_some_and(|removed| letter <= removed) {
            device.wrong.push(format!("hour {hour}: {} came back after it was removed", LETTERS[letter]));
        }
        device.removed = None;
    }
    if letter < before {
        // Only (c) is ever left by itself: its check failed, or it was withdrawn.
        let bad = LETTERS[before] == "c";
        if !bad || !(device.traits.picky || hour >= story::withdrawn_at()) {
            let (from, to) = (LETTERS[before], LETTERS[letter]);
            let why = last_rollback(device);
            device.wrong.push(format!("hour {hour}: it went from {from} to {to}: {why}"));
        }
    }
    device.went_back |= is_denied(device);
    if letter >= SAFE && device.safe_since.is_none() {
        device.safe_since = Some(hour);
    }
}

fn last_rollback(device: &Device) -> String {
    let view = Store::view(&device.dir.join("store")).map_err(|e| e.to_string());
    let reason = view.map(|view| {
        let reason =
            |held: &siding_slot::ComponentState| held.last_rollback.as_ref().map(|last| last.reason.clone());
        view.state().components().find_map(|(_, held)| reason(held))
    });
    reason.map_or_else(|error| error, |reason| reason.unwrap_or("for no reason".to_owned()))
}

/// Whether something was ever rolled back on it.
fn is_denied(device: &Device) -> bool {
    let Ok(view) = Store::view(&device.dir.join("store")) else { return false };
    view.state().components().any(|(_, held)| !held.denied.is_empty())
}

/// At the end, with the real binary: every sealed image has the bytes it was sealed with.
pub(crate) fn verify(device: &mut Device, fleet: &Fleet<'_>) {
    let mut command = device.siding(&fleet.maker);
    command.args(["verify", "--slot", "all"]);
    if let Err(what) = measure::run(&mut command, None) {
        device.wrong.push(format!("verify: {what}"));
    }
    let letter = LETTERS[device.letter];
    if letter == "c" {
        device.wrong.push("it is still on the release that was withdrawn".to_owned());
    }
    // Who installs by itself has the newest in the end, whatever went wrong on the way.
    if letter != "d" && (!device.traits.off || device.by_hand) {
        let (said, remembers) = (device.said.trim().to_owned(), remembers(device));
        device.wrong.push(format!("it runs {letter} in the end, not d: {said}\n{remembers}"));
    }
}

/// What its agent did last, and means to do.
fn remembers(device: &Device) -> String {
    let read =
        |name: &str| std::fs::read_to_string(device.dir.join("store/agent").join(name)).unwrap_or_default();
    let history = read("history.jsonl");
    let last: Vec<&str> = history.lines().rev().take(12).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    format!("{}\n{}", last.join("\n"), read("state.json"))
}
