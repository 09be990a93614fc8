//! Man pages as man reads them, completions as the shells do.

use super::install;
use crate::{Result, measure, tools};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Every page without a warning of groff and mandoc; every shell completes what was begun.
pub(super) fn check(share: &Path) -> Result<()> {
    install(&[("groff", "groff-base"), ("mandoc", "mandoc"), ("fish", "fish"), ("zsh", "zsh")]);
    let checks: [(&str, Check); 5] =
        [("groff", groff), ("mandoc", mandoc), ("bash", bash), ("fish", fish), ("zsh", zsh)];
    for (program, check) in checks {
        if tools::in_path(program) {
            println!("ok      {program}: {}", check(share).map_err(|why| format!("{program}: {why}"))?);
        } else {
            println!("skipped {program}: it is not here and cannot be installed");
        }
    }
    Ok(())
}

/// Says what was found to be right.
type Check = fn(&Path) -> Result<String>;

fn groff(share: &Path) -> Result<String> {
    pages(share, "groff", &["-man", "-ww", "-b", "-z", "-Tutf8"])
}

fn mandoc(share: &Path) -> Result<String> {
    pages(share, "mandoc", &["-T", "lint", "-W", "warning"])
}

/// Has the program read every page; what it prints is a complaint.
fn pages(share: &Path, program: &str, args: &[&str]) -> Result<String> {
    let folder = share.join("man/man1");
    let entries = fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut count = 0;
    for page in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        let output = Command::new(program).args(args).arg(&page).output().map_err(|e| e.to_string())?;
        let said = [output.stdout, output.stderr].concat();
        if !output.status.success() || !said.is_empty() {
            return Err(format!("{}:\n{}", page.display(), String::from_utf8_lossy(&said)));
        }
        count += 1;
    }
    Ok(format!("{count} pages without a warning"))
}

/// What is typed, the last word as far as it goes, and what must be offered.
const TYPED: [(&[&str], &str); 4] = [
    (&["siding", "pub"], "publish"),
    (&["siding", "publish", "ro"], "rotate"),
    (&["siding", "install", "--retry"], "--retry-denied"),
    (&["siding", "diff", "--level", ""], "best"),
];

fn bash(share: &Path) -> Result<String> {
    const ASK: &str = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1))\n\
        _siding siding \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"\n\
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let file = share.join("bash-completion/completions/siding");
    ask_each(|typed| {
        let mut command = Command::new("bash");
        command.args(["--norc", "--noprofile", "-c", ASK, "bash"]).arg(&file).args(typed);
        command
    })
}

fn fish(share: &Path) -> Result<String> {
    let file = share.join("fish/vendor_completions.d/siding.fish");
    ask_each(|typed| {
        let mut command = Command::new("fish");
        command.args(["--no-config", "-c", "source $argv[1]; complete -C \"$argv[2..]\""]);
        command.arg(&file).args(typed);
        command
    })
}

/// Zsh completes in a terminal only; so it reads the file and says for what it would ask it.
fn zsh(share: &Path) -> Result<String> {
    const ASK: &str = "fpath=($1 $fpath); autoload -Uz compinit && compinit -D -u && autoload +X _siding && \
        print -r -- $_comps[siding]";
    let folder = share.join("zsh/site-functions");
    let (_, said) = measure::run(Command::new("zsh").args(["-f", "-c", ASK, "zsh"]).arg(folder), None)?;
    if said.trim() != "_siding" {
        return Err(format!("expected that _siding completes siding, got {said:?}"));
    }
    Ok("reads its completion".to_owned())
}

fn ask_each(ask: impl Fn(&[&str]) -> Command) -> Result<String> {
    for (typed, wanted) in TYPED {
        let (_, said) = measure::run(&mut ask(typed), None)?;
        // Fish adds a tab and what it means.
        if !said.lines().any(|line| line.split('\t').next() == Some(wanted)) {
            return Err(format!("expected {wanted} after {:?}, got {said:?}", typed.join(" ")));
        }
    }
    Ok(format!("completes {} lines that were begun", TYPED.len()))
}
