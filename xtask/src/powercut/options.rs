//! The options of a chore: `--name value`, each at most once.

use crate::Result;
use std::collections::BTreeMap;
use std::str::FromStr;

/// What was given on the command line.
pub(super) struct Options(BTreeMap<String, String>);

impl Options {
    /// Takes options of these names, or says how the chore is used.
    pub(super) fn parse(args: &[String], names: &[&str], usage: &str) -> Result<Self> {
        let mut given = BTreeMap::new();
        for pair in args.chunks(2) {
            match pair {
                [name, value] if names.contains(&name.as_str()) => given.insert(name.clone(), value.clone()),
                _ => return Err(usage.to_owned()),
            };
        }
        Ok(Self(given))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn number<N: FromStr>(&self, name: &str, default: N) -> Result<N> {
        let wrong = |text: &str| format!("{name}: expected a number, got {text:?}");
        self.text(name).map_or(Ok(default), |text| text.parse().map_err(|_| wrong(text)))
    }

    /// `--slice I/N`: the I-th of N parts, from 1; all of it unless given.
    pub(super) fn slice(&self) -> Result<(usize, usize)> {
        let text = self.text("--slice").unwrap_or("1/1");
        let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        let good = parts.filter(|(i, n)| (1..=*n).contains(i));
        good.ok_or_else(|| format!("--slice: expected I/N with 1 ≤ I ≤ N, got {text:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options> {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        Options::parse(&args, &["--slice", "--seed"], "usage")
    }

    #[test]
    fn options_are_pairs_of_known_names() {
        let options = parse(&["--seed", "7", "--slice", "2/3"]).unwrap();
        assert_eq!((options.number("--seed", 1), options.slice()), (Ok(7), Ok((2, 3))));
        assert_eq!(parse(&[]).unwrap().slice(), Ok((1, 1)));
        for wrong in [&["--seed"][..], &["--help"], &["--other", "1"]] {
            assert_eq!(parse(wrong).err().as_deref(), Some("usage"));
        }
        assert!(parse(&["--slice", "0/3"]).unwrap().slice().is_err());
    }
}
