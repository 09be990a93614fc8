//! Which verbs are tried, and from where each starts.

/// One verb to interrupt.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// What leads to the state it starts from; the store is not there before.
    pub(super) before: &'static [&'static str],
    pub(super) verb: &'static str,
}

/// In front of an install that is killed when all is written and nothing sealed.
pub(super) const INTERRUPTED: &str = "interrupted ";

const INSTALLED: &[&str] = &["init lib", "install lib-a --switch"];

/// A component `lib` everywhere; `more` where two are switched.
pub(super) const CASES: &[Case] = &[
    Case { name: "init", before: &[], verb: "init lib" },
    Case { name: "install", before: &["init lib"], verb: "install lib-a" },
    Case { name: "install-on", before: &["init lib", "interrupted install lib-a"], verb: "install lib-a" },
    Case {
        name: "install-over",
        before: &["init lib", "install lib-a --switch", "confirm", "install lib-b --switch", "confirm"],
        verb: "install lib-c",
    },
    Case { name: "install-switch", before: &["init lib"], verb: "install lib-a --switch" },
    Case {
        name: "switch",
        before: &["init lib", "init more", "install lib-a", "install more-a"],
        verb: "switch lib more",
    },
    Case { name: "confirm", before: INSTALLED, verb: "confirm" },
    Case { name: "rollback", before: INSTALLED, verb: "rollback --reason handshakes-fail" },
    Case { name: "remove", before: &["init lib", "install lib-a --switch", "confirm"], verb: "remove lib" },
    Case {
        name: "supersede",
        before: &["init lib", "install lib-a --switch", "confirm", "install lib-b --switch"],
        verb: "init lib --replace",
    },
    Case { name: "boot-try", before: INSTALLED, verb: "boot" },
    Case {
        name: "boot-fallback",
        before: &["init lib", "install lib-a --switch --deadline 0"],
        verb: "boot",
    },
    Case { name: "vacuum", before: &["init lib", "install lib-a --switch", "rollback"], verb: "vacuum" },
];
