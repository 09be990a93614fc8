//! Devices as one meets them, each a picture of a moment.

use siding_agent::view::{
    Activity, Change, Check, Happened, Installed, Offer, RolledBack, Setting, Totals, Trial, Verdict, View,
};

/// When all of it happens: 21 September 2026, 14:13 UTC.
pub(crate) const NOW: u64 = 1_790_000_000;

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// Every state with its name.
pub(crate) fn all() -> Vec<(&'static str, View)> {
    vec![
        ("quiet", quiet()),
        ("nothing", nothing()),
        ("available", available()),
        ("downloading", downloading()),
        ("trial", on_trial()),
        ("rolled-back", rolled_back()),
        ("locked", all_locked()),
        ("many", many()),
        ("hostile", hostile()),
    ]
}

/// A device that has just been set up.
pub(crate) fn nothing() -> View {
    View { now: NOW, device: "till-17".to_owned(), settings: settings(false), ..View::default() }
}

/// All is well.
pub(crate) fn quiet() -> View {
    View {
        now: NOW,
        device: "till-17".to_owned(),
        product: Some("Corner Till 2".to_owned()),
        components: vec![webkit("26.3.1 (b)", 6 * DAY), openssl()],
        offers: vec![
            done("2026-09-webkit", "26.3.1 (b)", 7 * DAY),
            done("2026-08-webkit", "26.3.1 (a)", 38 * DAY),
        ],
        settings: settings(false),
        check: Check {
            tried: Some(NOW - 40 * 60),
            succeeded: Some(NOW - 40 * 60),
            error: None,
            next: Some(NOW + 5 * HOUR),
        },
        history: history(),
        totals: Some(Totals {
            fetched_bytes: 1_204_332,
            full_bytes: 98_000_000,
            installs: 3,
            install_ms: 4_217,
            failures: 1,
            rollbacks: 1,
        }),
        ..View::default()
    }
}

/// Fixes that install by themselves, wait for a person, and are held back.
pub(crate) fn available() -> View {
    let mut view = quiet();
    let offer = |id: &str, title: &str, verdict, code: &str, reason: &str| Offer {
        id: id.to_owned(),
        title: title.to_owned(),
        text: "A web page could run code outside its sandbox. The fix checks a length before it copies."
            .to_owned(),
        severity: "critical".to_owned(),
        advisories: vec!["CVE-2026-41001".to_owned(), "CVE-2026-41007".to_owned()],
        published: NOW - 9 * HOUR,
        changes: vec![change("webkit", "26.3.1 (b)", "26.3.1 (c)")],
        bytes: 24_848,
        verdict,
        code: code.to_owned(),
        reason: reason.to_owned(),
        when: None,
        can_install: true,
    };
    let by_itself = Offer {
        when: Some(NOW + 12 * HOUR),
        ..offer(
            "2026-09-webkit-2",
            "Fix for a sandbox escape in WebKit",
            Verdict::Installing,
            "outside-window",
            "It will be installed in the maintenance window, from 02:00 to 04:00.",
        )
    };
    let by_hand = Offer {
        severity: "moderate".to_owned(),
        advisories: vec!["CVE-2026-40444".to_owned()],
        changes: vec![change("openssl", "3.0.20", "3.0.20 (a)")],
        bytes: 62_364,
        text: String::new(),
        ..offer(
            "2026-09-openssl",
            "Fix for a timing leak in OpenSSL",
            Verdict::Available,
            "policy-ask",
            "The policy says to ask before anything in the channel “early” is installed.",
        )
    };
    let held = Offer {
        can_install: false,
        severity: "high".to_owned(),
        changes: vec![change("openssl", "3.0.20", "3.0.22 (a)")],
        ..offer(
            "2026-09-openssl-22",
            "Fix for certificate checks in OpenSSL 3.0.22",
            Verdict::Blocked,
            "base-too-old",
            "It is for base 3.0.22 and this device has 3.0.20; the base is updated by the system's own updater.",
        )
    };
    view.offers.splice(0..0, [by_itself, by_hand, held]);
    view
}

/// A fix on its way in.
pub(crate) fn downloading() -> View {
    let mut view = available();
    view.activity = Some(Activity {
        what: "downloading".to_owned(),
        release: Some("2026-09-webkit-2".to_owned()),
        component: Some("webkit".to_owned()),
        done: 15_900,
        total: 24_848,
        since: NOW - 4,
    });
    view
}

/// A fix that has to prove itself, and one that needs a restart.
pub(crate) fn on_trial() -> View {
    let mut view = quiet();
    let mut webkit = webkit("26.3.1 (c)", 20 * 60);
    webkit.trial = Some(Trial { tries_left: 2, deadline: Some(NOW + 2 * HOUR) });
    view.components = vec![webkit, openssl()];
    view.restart_pending = vec!["corner-shop.service".to_owned(), "cog.service".to_owned()];
    let staged = Offer {
        verdict: Verdict::Staged,
        code: "restart-needed".to_owned(),
        reason: "It lies ready and is used after the restart of cog.service.".to_owned(),
        ..done("2026-09-webkit-2", "26.3.1 (c)", HOUR)
    };
    view.offers.insert(0, staged);
    view
}

/// A fix that did not work, and a repository that does not answer.
pub(crate) fn rolled_back() -> View {
    let mut view = available();
    if let Some(webkit) = view.components.first_mut() {
        webkit.last_rollback = Some(RolledBack {
            version: "26.3.1 (c)".to_owned(),
            reason: "health check “cog answers” failed 3 times: connection refused".to_owned(),
            at: NOW - 3 * HOUR,
        });
    }
    if let Some(offer) = view.offers.first_mut() {
        offer.verdict = Verdict::Blocked;
        offer.code = "denied".to_owned();
        offer.reason = "It was rolled back here 3 hours ago and is not tried again.".to_owned();
        (offer.when, offer.can_install) = (None, false);
    }
    view.check.error =
        Some("https://fixes.example/metadata/timestamp.json: no answer within 30 s".to_owned());
    view.check.succeeded = Some(NOW - 2 * DAY);
    view
}

/// An administrator who decides everything.
pub(crate) fn all_locked() -> View {
    let mut view = available();
    view.settings = settings(true);
    for component in &mut view.components {
        component.can_remove = false;
    }
    view
}

/// Two hundred releases and as many lines of history.
pub(crate) fn many() -> View {
    let mut view = available();
    let verdicts = [Verdict::Available, Verdict::Blocked, Verdict::Installed, Verdict::NotForThis];
    for (i, verdict) in (0..200_u64).zip(verdicts.into_iter().cycle()) {
        let mut offer = done(&format!("2026-{i:03}-part-{i}"), "26.3.1 (a)", i * DAY);
        offer.verdict = verdict;
        offer.can_install = verdict == Verdict::Available;
        offer.title =
            format!("Fix number {i} for a part with a rather long name, so that lines have to be broken");
        offer.advisories = (0..i % 12).map(|cve| format!("CVE-2026-{}", 10_000 + i * 100 + cve)).collect();
        offer.reason = "An older release of the same component is replaced by a newer one.".to_owned();
        view.offers.push(offer);
        view.history.push(line(
            i * HOUR,
            "decide",
            "An offer was looked at",
            Some("superseded by a newer one"),
        ));
    }
    view
}

/// What an attacker might have put into a release, or a prankster into a name.
pub(crate) fn hostile() -> View {
    let mut view = available();
    let nasty = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> &amp; \u{202e}backwards";
    view.device = nasty.to_owned();
    view.product = Some("x".repeat(300));
    if let Some(offer) = view.offers.first_mut() {
        offer.title = nasty.to_owned();
        offer.text = format!("{nasty} {}", "w".repeat(400));
        offer.reason = nasty.to_owned();
        offer.id = "\"><script>".to_owned();
        offer.advisories = vec![nasty.to_owned()];
        offer.severity = nasty.to_owned();
    }
    if let Some(component) = view.components.first_mut() {
        component.component = "a\"b\\c\nd".to_owned();
        component.version = nasty.to_owned();
    }
    if let Some(setting) = view.settings.first_mut() {
        setting.help = nasty.to_owned();
    }
    if let Some(setting) = view.settings.last_mut() {
        setting.value = nasty.to_owned();
    }
    view.history.insert(0, line(0, nasty, nasty, Some(nasty)));
    view
}

fn webkit(version: &str, ago: u64) -> Installed {
    Installed {
        component: "webkit".to_owned(),
        version: version.to_owned(),
        base: Some("26.3.1".to_owned()),
        since: NOW - ago,
        advisories: vec![
            "CVE-2026-38802".to_owned(),
            "CVE-2026-38810".to_owned(),
            "CVE-2026-39001".to_owned(),
        ],
        trial: None,
        can_remove: true,
        last_rollback: None,
    }
}

fn openssl() -> Installed {
    Installed {
        component: "openssl".to_owned(),
        version: "3.0.20".to_owned(),
        base: Some("3.0.20".to_owned()),
        since: NOW - 120 * DAY,
        advisories: vec![],
        trial: None,
        can_remove: false,
        last_rollback: None,
    }
}

fn done(id: &str, to: &str, ago: u64) -> Offer {
    Offer {
        id: id.to_owned(),
        title: format!("Security fix for WebKit {to}"),
        text: "Maliciously crafted web content could read memory of another page.".to_owned(),
        severity: "high".to_owned(),
        advisories: vec!["CVE-2026-38802".to_owned()],
        published: NOW - ago,
        changes: vec![change("webkit", "26.3.1", to)],
        bytes: 29_444,
        verdict: Verdict::Installed,
        code: "installed".to_owned(),
        reason: "It is in use.".to_owned(),
        when: None,
        can_install: false,
    }
}

fn change(component: &str, from: &str, to: &str) -> Change {
    Change { component: component.to_owned(), from: from.to_owned(), to: to.to_owned() }
}

fn settings(locked: bool) -> Vec<Setting> {
    let from = if locked { "/etc/siding/lock.toml" } else { "/etc/siding/policy.toml" };
    let setting = |name: &str, value: &str, choices: &[&str], from: &str, help: &str| Setting {
        name: name.to_owned(),
        value: value.to_owned(),
        choices: choices.iter().map(|&choice| choice.to_owned()).collect(),
        from: from.to_owned(),
        locked: locked || name == "removal",
        help: help.to_owned(),
    };
    vec![
        setting(
            "automatic-install",
            "on",
            &["on", "off"],
            from,
            "Whether fixes are installed without being asked for.",
        ),
        setting(
            "restart",
            "window",
            &["now", "window", "next-boot", "ask"],
            from,
            "When what a fix changes restarts.",
        ),
        setting(
            "window",
            "02:00-04:00",
            &[],
            "/etc/siding/policy.d/10-shop.toml",
            "When restarts may happen by themselves.",
        ),
        setting(
            "removal",
            "allowed",
            &["allowed", "forbidden"],
            "/etc/siding/lock.toml",
            "Whether fixes may be removed.",
        ),
        setting(
            "rate-limit",
            "",
            &[],
            "built in",
            "How many bytes a second a download takes at most; empty for no limit.",
        ),
    ]
}

fn history() -> Vec<Happened> {
    vec![
        line(40 * 60, "check", "The repository was looked into; there is nothing new", None),
        line(6 * DAY, "confirm", "webkit 26.3.1 (b) is kept", Some("all 3 health checks passed")),
        line(
            6 * DAY + 60,
            "switch",
            "webkit 26.3.1 (b) is in use, on trial",
            Some("in the maintenance window"),
        ),
        line(
            6 * DAY + HOUR,
            "install",
            "webkit 26.3.1 (b) lies ready in slot b",
            Some("automatic install is on"),
        ),
        line(
            38 * DAY,
            "rollback",
            "webkit 26.3.1 (a) was taken back",
            Some("health check “cog answers” failed"),
        ),
        line(
            39 * DAY,
            "decide",
            "2026-08-webkit will be installed",
            Some("its wave has reached this device"),
        ),
    ]
}

fn line(ago: u64, what: &str, text: &str, reason: Option<&str>) -> Happened {
    Happened {
        at: NOW - ago,
        what: what.to_owned(),
        component: Some("webkit".to_owned()).filter(|_| what != "check"),
        text: text.to_owned(),
        reason: reason.map(str::to_owned),
        code: (what == "decide").then(|| "wave-reached".to_owned()),
    }
}
