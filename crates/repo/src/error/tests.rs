//! Every error, as a person and a program see it.

use super::*;
use std::collections::BTreeSet;

fn all() -> Vec<Error> {
    let at = Place { mirror: "https://a.example".into(), path: "/repo/x".into() };
    let text = String::from;
    let path = PathBuf::from("/var/lib/x");
    vec![
        Error::Setup { what: text("it has no mirror") },
        Error::Expired { role: "timestamp", expired: 5, now: 6 },
        Error::Rollback { role: text("snapshot"), seen: 3, got: 2 },
        Error::NotSigned { role: text("targets"), why: text("1 of 2") },
        Error::Mixed { role: text("targets"), expected: 3, got: 2 },
        Error::Malformed { what: text("x"), why: text("no JSON") },
        Error::WrongDigest { what: text("x"), expected: text("aa"), got: text("bb") },
        Error::WrongLength { at: at.clone(), expected: 3, got: 2 },
        Error::TooLong { what: text("x"), limit: 3 },
        Error::TooMany { what: "releases", limit: 3, got: 4 },
        Error::Slow { at: at.clone(), got: 3, least: 4, window: Duration::from_secs(5) },
        Error::Deadline { at: at.clone(), phase: "connecting", limit: Duration::from_secs(5) },
        Error::Redirect { at: at.clone(), to: text("http://b/"), why: text("it is another server") },
        Error::Range { at: at.clone(), expected: text("bytes 1-2/3"), got: text("no range") },
        Error::NotFound { at: at.clone() },
        Error::Status { at: at.clone(), got: text("status 500") },
        Error::Network { at: at.clone(), why: text("refused") },
        Error::NoMirror { what: text("x"), tried: vec![Error::NotFound { at }] },
        Error::Store { doing: "write", path: path.clone(), kind: io::ErrorKind::Other, why: text("no") },
        Error::Store {
            doing: "write",
            path: path.clone(),
            kind: io::ErrorKind::StorageFull,
            why: text("full"),
        },
        Error::Damaged { path: path.clone(), why: text("rot") },
        Error::Incomplete { path: path.clone(), name: text("releases/x.json") },
        Error::Busy { path },
    ]
}

#[test]
fn every_error_has_a_code_of_its_own_and_says_where_and_what() {
    let all = all();
    let codes: BTreeSet<&str> = all.iter().map(Error::code).collect();
    assert_eq!(codes.len(), all.len());
    for error in &all {
        println!("{}: {error}", error.code());
        assert!(error.to_string().len() > 20);
        let io = io::Error::from(error.clone());
        assert_eq!(Error::inside(&io).map(Error::code), Some(error.code()));
    }
}

#[test]
fn of_all_mirrors_errors_what_cannot_be_trusted_is_told() {
    let at = Place { mirror: "m".into(), path: "/p".into() };
    let away = || Error::NotFound { at: at.clone() };
    let old = Error::Rollback { role: "root".into(), seen: 2, got: 1 };
    assert_eq!(Error::of_mirrors("x", vec![away(), old]).code(), "rollback");
    assert_eq!(Error::of_mirrors("x", vec![away(), away()]).code(), "no-mirror");
    assert_eq!(Error::of_mirrors("x", vec![away()]).code(), "not-found");
}
