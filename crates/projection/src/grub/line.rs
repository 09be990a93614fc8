//! The lines of a block: variables, and comments that fill space.

use super::{Problem, Setting};
use std::ops::Range;

/// GRUB takes a line without a `#` for a variable, so a line that is skipped has two bytes at least.
pub(super) const SHORTEST_FILLER: usize = 2;

/// A line with its end; a name if it is a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) span: Range<usize>,
    pub(super) name: Option<Range<usize>>,
}

impl Line {
    pub(super) fn read(text: &[u8], at: usize) -> Result<Self, Problem> {
        let span = at..at.saturating_add(text.len());
        if text.starts_with(b"#") {
            return Ok(Self { span, name: None });
        }
        let equals = text.iter().position(|byte| *byte == b'=');
        let broken = Problem::Malformed { at, what: "a line is neither NAME=VALUE nor a comment" };
        let len = equals.filter(|len| *len > 0).ok_or(broken)?;
        Ok(Self { span, name: Some(at..at.saturating_add(len)) })
    }
}

/// How long the first line is, with its end; a backslash takes the next byte into it.
pub(super) fn line_length(bytes: &[u8]) -> Option<usize> {
    let mut taken = false;
    let end = bytes.iter().position(|byte| {
        let ends = *byte == b'\n' && !taken;
        taken = *byte == b'\\' && !taken;
        ends
    })?;
    end.checked_add(1)
}

pub(super) fn line(setting: &Setting<'_>) -> Vec<u8> {
    [setting.name.as_bytes(), b"=", &escape(setting.value), b"\n"].concat()
}

pub(super) fn comment(len: usize) -> Vec<u8> {
    let mut text = vec![b'#'; len];
    text.iter_mut().rev().take(1).for_each(|last| *last = b'\n');
    text
}

pub(super) fn escape(value: &str) -> Vec<u8> {
    let escaped = |byte: u8| matches!(byte, b'\\' | b'\n').then_some(b'\\').into_iter().chain([byte]);
    value.bytes().flat_map(escaped).collect()
}

pub(super) fn unescape(value: &[u8]) -> Vec<u8> {
    let mut taken = false;
    let kept = |byte: &&u8| {
        taken = **byte == b'\\' && !taken;
        !taken
    };
    value.iter().filter(kept).copied().collect()
}
