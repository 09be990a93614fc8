//! Talking with `init.sh` in the guest: a question is a line, an answer ends with `DONE`.

use super::machine::{End, Machine, Told};

/// An answer of the guest.
pub(super) struct Answer {
    /// The exit code of what was asked for.
    pub(super) code: i32,
    /// What the guest found, a line each.
    pub(super) facts: Vec<String>,
    /// What the program that was run printed.
    pub(super) said: String,
}

impl Machine {
    /// Reads on until a line has this mark.
    pub(super) fn wait_for(&mut self, mark: &str) -> Told<String> {
        loop {
            let line = self.sound_line()?;
            if line.contains(mark) {
                return Ok(line);
            }
        }
    }

    /// One question, one answer.
    pub(super) fn ask(&mut self, words: &str) -> Told<Answer> {
        self.tell(words)?;
        let mut answer = Answer { code: -1, facts: vec![], said: String::new() };
        self.wait_for(&format!("DOING {words}"))?;
        loop {
            let line = self.sound_line()?;
            if let Some(fact) = line.strip_prefix("FACT ") {
                answer.facts.push(fact.trim_end_matches("  -").to_owned());
            } else if let Some(said) = line.strip_prefix("OUT ") {
                answer.said += said;
                answer.said.push('\n');
            } else if let Some(code) = line.strip_prefix("DONE ") {
                answer.code = code.parse().unwrap_or(-1);
                return Ok(answer);
            }
        }
    }

    /// As [`Self::ask`], where anything but success is bad.
    pub(super) fn demand(&mut self, words: &str) -> Told<Answer> {
        match self.ask(words)? {
            answer if answer.code == 0 => Ok(answer),
            Answer { code, said, .. } => Err(End::Bad(format!("`{words}` failed with {code}: {said}"))),
        }
    }

    /// A line that is no bad news.
    fn sound_line(&mut self) -> Told<String> {
        let line = self.line()?;
        let bad = ["Kernel panic", "FACT broken", "EXT4-fs error", "UEFI Interactive Shell"];
        match bad.iter().any(|bad| line.contains(bad)) {
            true => Err(End::Bad(line)),
            false => Ok(line),
        }
    }
}
