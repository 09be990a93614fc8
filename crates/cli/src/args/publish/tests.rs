//! What is shown can be typed, and what means nothing is refused.

use super::*;
use clap::CommandFactory;

#[test]
fn every_verb_of_publish_has_an_example() {
    for verb in Publish::command().get_subcommands() {
        let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.starts_with("Example:"), "{} has no example", verb.get_name());
    }
}

/// Each line that docs/publish.md or a `--help` shows to be typed is a whole command.
#[test]
fn every_command_that_is_shown_is_complete() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/publish.md");
    let mut shown = std::fs::read_to_string(docs).unwrap();
    let command = Publish::command();
    for verb in std::iter::once(&command).chain(command.get_subcommands()) {
        shown.push_str(&format!("\n{}", verb.get_after_help().unwrap()));
    }
    let mut count = 0;
    for line in shown.lines() {
        let line = line.trim_start_matches("Example:").trim_start();
        let Some(words) = line.strip_prefix("siding publish ").filter(|words| !words.contains('`')) else {
            continue;
        };
        let words = words.split(" #").next().unwrap().split("   (").next().unwrap();
        // What is between quotes is one word.
        let quoted = words.split('\'').enumerate();
        let words = quoted.flat_map(|(i, part)| match i % 2 {
            0 => part.split_whitespace().collect(),
            _ => vec![part],
        });
        let parsed = Publish::try_parse_from(std::iter::once("publish").chain(words));
        assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        count += 1;
    }
    assert!(count > 20, "{count}");
}

#[test]
fn thresholds_that_mean_nothing_are_refused() {
    assert_eq!(counts("root=2/3"), Ok((Role::Root, (2, 3))));
    for bad in ["root", "root=2", "root=0/1", "root=3/2", "root=1/33", "boss=1/1", "root=a/b"] {
        assert!(counts(bad).is_err(), "{bad}");
    }
}
