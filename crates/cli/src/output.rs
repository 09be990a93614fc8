//! What a verb answers, for people and for programs.

use crate::failure::{Code, Failure};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{ErrorKind, IsTerminal, Write as _};
use std::path::Path;
use std::process::ExitCode;

/// A verb's answer.
#[derive(Debug)]
pub(crate) struct Reply {
    text: String,
    json: Value,
    /// How the process ends, unless it just ends well.
    code: Option<Code>,
}

impl Reply {
    /// Text for people and the same for programs.
    pub(crate) fn new(text: impl Into<String>, json: Value) -> Self {
        Self { text: text.into(), json, code: None }
    }

    /// The process ends with "done, restart needed".
    #[must_use]
    pub(crate) fn needs_restart(self, restart: bool) -> Self {
        if restart { self.ends_with(Code::Restart) } else { self }
    }

    /// The process ends with this code, although there is an answer.
    #[must_use]
    pub(crate) fn ends_with(mut self, code: Code) -> Self {
        self.code = Some(code);
        self
    }

    /// With another answer after it, which programs find under this name.
    #[cfg(feature = "make")]
    #[must_use]
    pub(crate) fn and(mut self, name: &str, other: Self) -> Self {
        self.text = format!("{}\n{}", self.text.trim_end(), other.text);
        self.json[name] = other.json;
        self
    }

    /// With these lines after it.
    #[must_use]
    pub(crate) fn followed_by(mut self, lines: &str) -> Self {
        if !lines.is_empty() && !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        self.text.push_str(lines);
        self
    }

    /// With this too, which programs find under this name; events that were the whole answer are `events` then.
    #[must_use]
    pub(crate) fn beside(mut self, name: &str, json: Value) -> Self {
        if self.json.is_array() {
            self.json = serde_json::json!({ "events": self.json });
        }
        self.json[name] = json;
        self
    }

    /// With these lines before it.
    #[must_use]
    pub(crate) fn after(mut self, lines: String) -> Self {
        self.text.insert_str(0, &lines);
        self
    }

    /// The text for people.
    #[cfg(feature = "make")]
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn print(&self, as_json: bool) -> ExitCode {
        let mut out = std::io::stdout().lock();
        let text = if as_json { format!("{:#}", self.json) } else { self.text.trim_end().to_owned() };
        let written =
            if text.is_empty() { Ok(()) } else { writeln!(out, "{text}").and_then(|()| out.flush()) };
        // A reader that went away (`siding log | head`) is no failure of the verb; a full disk is.
        if let Err(error) =
            written.or_else(|e| if e.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(e) })
        {
            return Failure::io("write", Path::new("the answer"), &error).print(as_json);
        }
        self.code.map_or(ExitCode::SUCCESS, |code| ExitCode::from(code as u8))
    }
}

/// Colours, only on a terminal, and not where NO_COLOR asks for none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint(bool);

impl Paint {
    pub(crate) fn stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self(wanted && std::io::stdout().is_terminal())
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    #[cfg(feature = "make")]
    pub(crate) fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.wrap("32", text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.wrap("31", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

pub(crate) use siding_run::harmless as plain;

/// A table with aligned columns; numbers are best given right-aligned by the caller.
pub(crate) fn table(rows: &[Vec<String>], right: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let gap = if column == 0 { "  " } else { "   " };
            let _ = match right.contains(&column) {
                true => write!(line, "{gap}{cell:>width$}"),
                false => write!(line, "{gap}{cell:<width$}"),
            };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_spelled_out() {
        assert_eq!(plain("a\u{1b}[31mb\né"), "a\\u{1b}[31mb\\né");
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".into(), "1".into()], vec!["long".into(), "22".into()]];
        assert_eq!(table(&rows, &[1]), "  a       1\n  long   22\n");
    }
}
