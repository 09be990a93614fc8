//! `siding manual`: man pages and shell completions, for whoever packs siding.
//!
//! Both come from the definition that the command line is parsed with, so they cannot say anything else. The same
//! binary writes the same bytes anywhere; only the date in the pages is given. Nothing is flushed: what a power cut
//! leaves is written anew.

mod page;

use crate::args::{Args, Manual};
use crate::failure::Failure;
use crate::output::Reply;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use serde_json::json;
use std::fs;
use std::path::Path;

pub(crate) fn manual(args: &Manual) -> Result<Reply, Failure> {
    let date = args.date.map(crate::time::date).transpose().map_err(Failure::usage)?;
    let pages = pages(&date.unwrap_or_default());
    let completions = SHELLS.map(|(shell, place)| (place.to_owned(), completion(shell)));
    let written = pages.len() + completions.len();
    for (place, text) in pages.into_iter().chain(completions) {
        write(&args.dir.join(place), &text)?;
    }
    let text = format!("{written} files for share/ in {}", args.dir.display());
    Ok(Reply::new(text, json!({ "dir": args.dir, "files": written })))
}

/// Where each shell looks, below `share`.
const SHELLS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions/siding"),
    (Shell::Fish, "fish/vendor_completions.d/siding.fish"),
    (Shell::Zsh, "zsh/site-functions/_siding"),
];

fn completion(shell: Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "siding", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// A page for the command, each verb and each verb's verbs, with its place below `share`.
fn pages(date: &str) -> Vec<(String, String)> {
    let mut command = Args::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    let mut waiting: Vec<(Vec<&Command>, &Command)> = vec![(vec![], &command)];
    while let Some((above, command)) = waiting.pop() {
        pages.push((format!("man/man1/{}.1", page::name(command)), page::page(command, &above, date)));
        let path = [above, vec![command]].concat();
        waiting.extend(command.get_subcommands().map(|verb| (path.clone(), verb)));
    }
    pages
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(|e| Failure::io("create", folder, &e))?;
    fs::write(path, text).map_err(|e| Failure::io("write", path, &e))
}
