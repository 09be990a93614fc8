//! What the words of a patch's `restart` list mean. `docs/restart.md` defines them.

/// One word of the list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Word {
    /// The whole device.
    Reboot,
    /// A unit of systemd.
    Unit(String),
    /// Whatever maps the component's old files.
    Process,
    /// What a hook of the device knows.
    Name(String),
}

impl Word {
    pub(super) fn parse(text: &str) -> Self {
        match text {
            "reboot" => Self::Reboot,
            "process" => Self::Process,
            unit if is_unit(unit) => Self::Unit(unit.to_owned()),
            name => Self::Name(name.to_owned()),
        }
    }
}

/// `NAME.service` and its like, with nothing in the name that systemd would not take for one.
fn is_unit(text: &str) -> bool {
    const KINDS: [&str; 8] = ["service", "socket", "target", "timer", "path", "mount", "scope", "slice"];
    text.rsplit_once('.').is_some_and(|(name, kind)| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        KINDS.contains(&kind)
            && !name.is_empty()
            && !name.starts_with('-')
            && text.len() < 256
            && name.chars().all(allowed)
    })
}

/// Whether a hook can be named so: a file's name, not hidden, and nothing else.
pub(super) fn is_hook_name(name: &str) -> bool {
    !name.is_empty() && name.len() < 256 && !name.starts_with('.') && !name.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_apart() {
        let unit = |name: &str| Word::Unit(name.to_owned());
        let name = |name: &str| Word::Name(name.to_owned());
        for (text, word) in [
            ("reboot", Word::Reboot),
            ("process", Word::Process),
            ("nginx.service", unit("nginx.service")),
            ("getty@tty1.service", unit("getty@tty1.service")),
            ("nginx", name("nginx")),
            ("reboot.service", unit("reboot.service")),
            ("--root=x.service", name("--root=x.service")),
            (".service", name(".service")),
            ("a b.service", name("a b.service")),
        ] {
            assert_eq!(Word::parse(text), word, "{text}");
        }
    }

    #[test]
    fn a_hook_lies_in_its_folder_and_nowhere_else() {
        assert!(is_hook_name("nginx") && is_hook_name("web server") && is_hook_name("--x"));
        for bad in ["", ".", "..", ".hidden", "a/b", "../x", "/bin/sh", "a\0b"] {
            assert!(!is_hook_name(bad), "{bad:?}");
        }
    }
}
