//! What Prometheus would read, read as it reads.

mod client;
mod fake;

use client::Client;
use fake::states;
use siding_agent::view::View;
use siding_page::PageOptions;
use std::collections::{BTreeMap, BTreeSet};

/// A line of numbers: name, labels, value.
type Sample = (String, BTreeMap<String, String>, f64);

#[test]
fn every_state_parses_and_says_what_the_view_says() {
    for (name, view) in states::all() {
        let samples = read(&text(view.clone()));
        let of = |wanted: &str| samples.iter().filter(|(name, ..)| name == wanted).count();
        assert_eq!(of("siding_component_info"), view.components.len(), "{name}");
        assert_eq!(of("siding_offer"), view.offers.len(), "{name}");
        assert_eq!(of("siding_activity_seconds"), usize::from(view.activity.is_some()), "{name}");
        assert_eq!(of("siding_fetched_bytes_total"), usize::from(view.totals.is_some()), "{name}");
        assert_eq!(
            value(&samples, "siding_restart_pending", &[]),
            Some(view.restart_pending.len() as f64),
            "{name}"
        );
    }
}

#[test]
fn numbers_are_those_of_the_view() {
    let samples = read(&text(states::on_trial()));
    let is = |name: &str, labels: &[(&str, &str)], expected: f64| {
        assert_eq!(value(&samples, name, labels), Some(expected), "{name} {labels:?}");
    };
    is(
        "siding_component_info",
        &[("component", "webkit"), ("version", "26.3.1 (c)"), ("base", "26.3.1")],
        1.0,
    );
    is("siding_installed", &[("component", "webkit")], 1.0);
    is("siding_installed", &[("component", "openssl")], 0.0);
    is("siding_on_trial", &[("component", "webkit")], 1.0);
    is("siding_trial_tries_left", &[("component", "webkit")], 2.0);
    is("siding_pending", &[], 1.0);
    is("siding_offer", &[("id", "2026-09-webkit-2"), ("verdict", "staged"), ("code", "restart-needed")], 1.0);
    is("siding_offer_bytes", &[("id", "2026-09-webkit-2")], 29_444.0);
    is("siding_last_success_timestamp_seconds", &[], (states::NOW - 40 * 60) as f64);
    is("siding_last_check_failed", &[], 0.0);
    is("siding_automatic_install", &[], 1.0);
    is("siding_install_seconds_total", &[], 4.217);
    is("siding_fetched_bytes_total", &[], 1_204_332.0);
    let samples = read(&text(states::rolled_back()));
    let back = [("component", "webkit"), ("version", "26.3.1 (c)")];
    assert_eq!(value(&samples, "siding_rolled_back", &back), Some(1.0));
    assert_eq!(value(&samples, "siding_last_check_failed", &[]), Some(1.0));
    let samples = read(&text(states::downloading()));
    let now = [("what", "downloading"), ("release", "2026-09-webkit-2"), ("component", "webkit")];
    assert_eq!(value(&samples, "siding_activity_done_bytes", &now), Some(15_900.0));
    assert_eq!(value(&samples, "siding_activity_seconds", &now), Some(4.0));
}

#[test]
fn a_label_may_hold_anything() {
    let samples = read(&text(states::hostile()));
    assert_eq!(value(&samples, "siding_installed", &[("component", "a\"b\\c\nd")]), Some(1.0));
}

fn text(view: View) -> String {
    let reply = Client::new(view, PageOptions::default()).get("/metrics");
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(reply.body.ends_with('\n'));
    reply.body
}

fn value(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let labels = labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    samples.iter().find(|(n, l, _)| n == name && *l == labels).map(|(.., value)| *value)
}

/// Reads the format as its document says, and refuses what that forbids.
fn read(text: &str) -> Vec<Sample> {
    let (mut samples, mut types, mut seen) = (vec![], BTreeMap::new(), BTreeSet::new());
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(["gauge", "counter"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} has two types");
            current = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(rest.split_once(' ').is_some_and(|(_, help)| help.ends_with('.')), "{line}");
        } else {
            let sample = sample(line);
            assert_eq!(sample.0, current, "a sample outside its family");
            assert!(seen.insert((sample.0.clone(), sample.1.clone())), "twice: {line}");
            samples.push(sample);
        }
    }
    samples
}

fn sample(line: &str) -> Sample {
    let (head, value) = line.rsplit_once(' ').expect("a value");
    let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
    let (name, labels) = match head.split_once('{') {
        None => (head, BTreeMap::new()),
        Some((name, rest)) => (name, labels(rest.strip_suffix('}').expect("an end"))),
    };
    assert!(
        name.starts_with("siding_") && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
        "{name}"
    );
    (name.to_owned(), labels, value)
}

fn labels(mut rest: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").expect("a label");
        let (mut text, mut letters) = (String::new(), after.char_indices());
        let end = loop {
            match letters.next().expect("a closing quote") {
                (at, '"') => break at,
                (_, '\\') => match letters.next().expect("an escaped letter").1 {
                    'n' => text.push('\n'),
                    letter @ ('\\' | '"') => text.push(letter),
                    letter => panic!("\\{letter} is no escape"),
                },
                (_, letter) => text.push(letter),
            }
        };
        assert!(labels.insert(name.to_owned(), text).is_none(), "{name} twice");
        rest = &after[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    labels
}
