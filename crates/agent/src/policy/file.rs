//! One file of settings: TOML, a name and a value a line, no tables.

use super::PolicyError;
use rustix::fs::OFlags;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// A setting as a file has it, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) name: String,
    /// As `siding set` takes it: switches are `on` and `off`, what of a list has spaces between.
    pub(super) value: String,
    pub(super) line: usize,
}

/// What a file says, in its order; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<Line>>, PolicyError> {
    let text = match text(path) {
        // A link that leads nowhere is a slip of the pen, and no absent file.
        Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => {
            return Ok(None);
        }
        other => other.map_err(|error| PolicyError::Io {
            doing: "read",
            path: path.to_owned(),
            why: error.to_string(),
        })?,
    };
    let wrong =
        |at: usize, what: String| PolicyError::File { path: path.to_owned(), line: line_of(&text, at), what };
    let table = DeTable::parse(&text)
        .map_err(|error| wrong(error.span().map_or(0, |span| span.start), error.message().to_owned()))?;
    let mut lines = Vec::new();
    for (name, value) in table.into_inner() {
        let at = name.span().start;
        let name = name.get_ref().to_string();
        let value = text_of(value.get_ref()).map_err(|what| wrong(at, format!("{name}: {what}")))?;
        lines.push(Line { name, value, line: line_of(&text, at) });
    }
    lines.sort_by_key(|line| line.line);
    Ok(Some(lines))
}

/// All of a regular file, if it is of a size that settings have: a pipe would be waited at for ever.
fn text(path: &Path) -> io::Result<String> {
    const MOST: u64 = 1 << 20;
    let file =
        OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() || meta.len() > MOST {
        return Err(io::Error::other(format!("expected a regular file of at most {MOST} bytes")));
    }
    io::read_to_string(file)
}

/// A line of a file that says so.
pub(super) fn line(name: &str, value: &str) -> String {
    // What JSON escapes, TOML reads the same.
    format!("{name} = {}\n", serde_json::Value::from(value))
}

fn text_of(value: &DeValue<'_>) -> Result<String, String> {
    Ok(match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Boolean(on) => if *on { "on" } else { "off" }.to_owned(),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Array(list) => {
            let each = list.iter().map(|item| match item.get_ref() {
                DeValue::String(text) if !text.contains(char::is_whitespace) => Ok(text.to_string()),
                _ => Err("a list has texts without spaces in it".to_owned()),
            });
            each.collect::<Result<Vec<_>, _>>()?.join(" ")
        }
        _ => return Err("a text, a whole number, true or false, or a list of texts was expected".to_owned()),
    })
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}
