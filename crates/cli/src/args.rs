//! The command line.

pub(crate) mod agent;
mod device;
#[cfg(feature = "make")]
mod make;
mod patch;
#[cfg(feature = "make")]
pub(crate) mod publish;

pub(crate) use device::*;
#[cfg(feature = "make")]
pub(crate) use make::*;
pub(crate) use patch::*;

use crate::progress::Mode;
use clap::builder::TypedValueParser;
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};

/// Small signed patches with A/B staging: make them, apply them into the inactive slot, switch in one durable
/// write, roll back what fails.
#[derive(Debug, Parser)]
#[command(name = "siding", version, max_term_width = 110, after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// How to show progress
    #[arg(long, global = true, value_enum, default_value_t = Mode::Auto, value_name = "HOW")]
    pub(crate) progress: Mode,
    /// How many threads to use, at most 1024 [default: one per core]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What every exit code means, and where to begin; man pages take both apart.
pub(crate) const EXIT_CODES: &str = "\
Exit codes: 0 done · 1 failed · 2 usage · 3 not for this device or base · 4 done, restart needed · \
5 not trusted · 6 corrupt · 7 no space · 8 busy

Try `siding demo` for the whole story on real files.";

/// What to do.
#[allow(clippy::large_enum_variant, reason = "one exists in a process, so that its size does not matter")]
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    #[cfg(feature = "make")]
    Keygen(Keygen),
    #[cfg(feature = "make")]
    Diff(Diff),
    #[cfg(feature = "make")]
    Sign(Sign),
    #[cfg(feature = "make")]
    Publish(publish::Publish),
    Apply(Apply),
    Inspect(Inspect),
    Verify(Verify),
    Bench(Bench),
    Init(Init),
    Install(Install),
    Plan(Plan),
    Switch(Switch),
    Confirm(Confirm),
    Rollback(Rollback),
    Remove(Remove),
    Status(Status),
    Log(Log),
    Boot(Boot),
    Project(Project),
    Health(Health),
    Vacuum(Vacuum),
    Agent(agent::Agent),
    Check(agent::Check),
    List(agent::List),
    Info(agent::Info),
    Set(agent::Set),
    #[cfg(feature = "make")]
    Demo(Demo),
    #[cfg(feature = "make")]
    Manual(Manual),
}

impl Verb {
    /// What the verb may take of the machine, if it lets itself be told.
    pub(crate) fn load(&self) -> Option<&LoadArgs> {
        match self {
            Self::Apply(verb) => Some(&verb.load),
            Self::Bench(verb) => Some(&verb.load),
            Self::Install(verb) => Some(&verb.what.load),
            Self::Plan(verb) => Some(&verb.what.load),
            _ => None,
        }
    }

    /// The patch it is about, if it is about one.
    pub(crate) fn patch(&self) -> Option<&Path> {
        match self {
            #[cfg(feature = "make")]
            Self::Sign(verb) => Some(&verb.patch),
            Self::Apply(verb) => Some(&verb.patch),
            Self::Inspect(verb) => Some(&verb.patch),
            Self::Verify(verb) => verb.patch.as_deref(),
            Self::Bench(verb) => Some(&verb.patch),
            Self::Install(verb) => Some(&verb.what.patch),
            Self::Plan(verb) => Some(&verb.what.patch),
            _ => None,
        }
    }
}

/// Whose signatures count.
#[derive(Clone, Debug, Parser)]
pub(crate) struct TrustArgs {
    /// Trust this public key; may be given several times (in the variable: with ':' between)
    #[arg(long, value_name = "PUB", env = "SIDING_TRUST", value_delimiter = ':')]
    pub(crate) trust: Vec<PathBuf>,
    /// How many distinct trusted keys must have signed
    #[arg(long, value_name = "N", env = "SIDING_THRESHOLD", default_value_t = 1)]
    pub(crate) threshold: usize,
}

/// As [`TrustArgs`], and where no device is at stake, nobody's.
#[derive(Clone, Debug, Parser)]
pub(crate) struct BenchTrustArgs {
    #[command(flatten)]
    pub(crate) trust: TrustArgs,
    /// Accept a patch that nobody vouches for
    #[arg(long, conflicts_with = "trust")]
    pub(crate) allow_unsigned: bool,
}

/// What the work may take of the machine.
#[derive(Clone, Debug, Parser)]
pub(crate) struct LoadArgs {
    /// Keep to so much private memory, such as 16M, beside 1.5 KiB for each file of a tree; a patch that needs more is refused
    #[arg(long, value_name = "BYTES", value_parser = crate::bytes::parse, default_value = "32M")]
    pub(crate) memory: u64,
    /// Work in the background: lowest priority for the processor, and the disk only when nobody else wants it, where its
    /// scheduler knows priorities
    #[arg(long)]
    pub(crate) nice: bool,
    /// Write what the patch makes at most at so many bytes a second, such as 2M; copies of unchanged files do not count
    #[arg(long, value_name = "BYTES", value_parser = crate::bytes::parse)]
    pub(crate) rate: Option<u64>,
}

/// Where the slots are.
#[derive(Clone, Debug, Parser)]
pub(crate) struct StoreArgs {
    /// The store's directory
    #[arg(long, value_name = "DIR", env = "SIDING_STORE", default_value = "/var/lib/siding", value_parser = store_dir())]
    pub(crate) store: PathBuf,
}

/// A store knows its own directory; where a link leads to is looked at once.
fn store_dir() -> impl TypedValueParser<Value = PathBuf> {
    let directory =
        |path: PathBuf| if path.is_symlink() { std::fs::canonicalize(&path).unwrap_or(path) } else { path };
    clap::builder::PathBufValueParser::new().map(directory)
}

/// What was started.
#[derive(Clone, Debug, Parser)]
pub(crate) struct StartedArgs {
    /// Read from this file, not from /proc/cmdline, which slots were started
    #[arg(long, value_name = "FILE")]
    pub(crate) cmdline: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_every_verb_has_an_example() {
        Args::command().debug_assert();
        for verb in Args::command().get_subcommands() {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.starts_with("Example:"), "{} has no example", verb.get_name());
        }
    }
}
