//! What was decided and done: one JSON object a line, bounded.

use super::{Memory, path};
use crate::durable;
use serde::{Deserialize, Serialize};
use siding_run::harmless;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

/// A line of the agent's history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// When, in seconds since 1970.
    pub at: u64,
    /// What: `decide`, `check`, `install`, `fail`, `restart`, `leave`.
    pub what: String,
    /// About which release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// About which component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// Why, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why, for people.
    pub text: String,
    /// Whether the history has it already.
    #[serde(skip)]
    pub(crate) written: bool,
}

/// More than this, and the older half is left out.
const MOST: usize = 1_000;

/// The lines, oldest first. What cannot be read is left out.
pub fn history(store: &Path) -> io::Result<Vec<Told>> {
    let bytes = match fs::read(path(store, FILE)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let whole = bytes.split(|byte| *byte == b'\n');
    Ok(whole.filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

/// Adds lines, those left out that say of their release what its last line says already.
///
/// Once this returned Ok, they survive a power cut.
pub fn tell(store: &Path, lines: Vec<Told>) -> io::Result<Vec<Told>> {
    let mut decided = Memory::load(store)?.decided;
    let mut is_news = |line: &Told| match (&line.release, &line.code) {
        (Some(release), Some(code)) if line.what == DECIDE => {
            decided.insert(release.clone(), code.clone()).as_ref() != Some(code)
        }
        _ => true,
    };
    let mut news: Vec<Told> = lines.into_iter().filter(|line| is_news(line)).collect();
    if news.is_empty() {
        return Ok(news);
    }
    let before = history(store)?;
    news.iter_mut().for_each(|line| (line.text, line.written) = (harmless(&line.text), true));
    let path = path(store, FILE);
    durable::make_dir(&super::path(store, ""))?;
    if before.len() + news.len() > MOST {
        let kept = before.get(before.len() / 2..).unwrap_or_default();
        durable::replace(&path, &bytes(kept.iter().chain(&news)))?;
    } else {
        // After a line that a power cut tore, a new one begins.
        let torn = fs::read(&path).is_ok_and(|bytes| bytes.last().is_some_and(|last| *last != b'\n'));
        let bytes = [if torn { &b"\n"[..] } else { b"" }, &bytes(news.iter())].concat();
        durable::append(&path, &bytes)?;
    }
    // A power cut in between has decisions told twice, which is better than never.
    Memory::update(store, |memory| memory.decided = decided)?;
    Ok(news)
}

/// What says what becomes of a release.
pub(crate) const DECIDE: &str = "decide";
const FILE: &str = "history.jsonl";

fn bytes<'a>(lines: impl Iterator<Item = &'a Told>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        bytes.extend(serde_json::to_vec(line).unwrap_or_default());
        bytes.push(b'\n');
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(release: &str, code: &str) -> Told {
        let (what, release, code) = (DECIDE.to_owned(), Some(release.to_owned()), Some(code.to_owned()));
        Told { what, release, code, ..Told::default() }
    }

    #[test]
    fn a_decision_is_told_once_and_the_file_stays_small() {
        let dir = tempfile::tempdir().unwrap();
        for code in ["off", "off", "installing", "off"] {
            tell(dir.path(), vec![decided("r", code), decided("s", "off")]).unwrap();
        }
        let codes =
            |lines: Vec<Told>| -> Vec<String> { lines.into_iter().filter_map(|told| told.code).collect() };
        assert_eq!(codes(history(dir.path()).unwrap()), ["off", "off", "installing", "off"]);
        for n in 0..2 * MOST {
            tell(dir.path(), vec![decided("r", &n.to_string())]).unwrap();
        }
        let lines = history(dir.path()).unwrap();
        assert!(lines.len() <= MOST && lines.last().unwrap().code.as_deref() == Some("1999"));
    }

    #[test]
    fn a_torn_line_costs_itself_alone() {
        let dir = tempfile::tempdir().unwrap();
        tell(dir.path(), vec![decided("r", "off")]).unwrap();
        durable::append(&path(dir.path(), FILE), b"{\"at\":12,\"wh").unwrap();
        tell(dir.path(), vec![decided("s", "off")]).unwrap();
        assert_eq!(history(dir.path()).unwrap().len(), 2);
    }
}
