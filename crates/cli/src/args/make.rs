//! What a maker asks for.

use clap::{Parser, ValueEnum};
use siding_image::{Component, Version};
use std::path::PathBuf;

/// Make a key pair: NAME.key (keep it secret, mode 0600) and NAME.pub
///
/// Ed25519, in the PEM forms that `openssl pkey` reads. Neither file is overwritten.
#[derive(Debug, Parser)]
#[command(after_help = "Example: siding keygen release   (writes release.key and release.pub)")]
pub(crate) struct Keygen {
    /// Path and name of the two files, without ending
    pub(crate) name: PathBuf,
}

/// Make a patch that turns OLD into NEW
///
/// Both are files (or block devices), or both are directories. The same inputs give the same bytes.
///
/// A device that keeps no base cannot go back to one; with --reverse it gets a patch that makes the old image from the new
/// one. That patch says the same but for its versions, which are swapped, and the advisories, of which it answers none.
#[derive(Debug, Parser)]
#[command(
    override_usage = "siding diff [OPTIONS] <OLD> <NEW> -o <PATCH> <--key <KEY>|--unsigned>\n       siding diff --plan <OLD> <NEW>",
    after_help = "Example: siding diff old/libssl.so.3 new/libssl.so.3 -o libssl.siding --key release.key \\\n           --component libssl --from 3.0.20 --to '3.0.20 (a)'\n         siding diff --plan old/libssl.so.3 new/libssl.so.3"
)]
pub(crate) struct Diff {
    /// The image the patch starts from; /dev/null for a patch that holds all of NEW and starts from nothing
    pub(crate) old: PathBuf,
    /// The image it makes
    pub(crate) new: PathBuf,
    /// Where to write the patch
    #[arg(short, long, value_name = "PATCH", required_unless_present = "plan")]
    pub(crate) output: Option<PathBuf>,
    /// Say what would be matched and how much memory that needs, and make nothing
    #[arg(long, conflicts_with_all = ["output", "key", "unsigned"])]
    pub(crate) plan: bool,
    /// Also make the patch back, from NEW to OLD, for devices that have two slots and no base
    #[arg(long, value_name = "FILE", conflicts_with = "plan")]
    pub(crate) reverse: Option<PathBuf>,
    /// Sign with this private key; may be given several times
    #[arg(long, value_name = "KEY", required_unless_present_any = ["unsigned", "plan"])]
    pub(crate) key: Vec<PathBuf>,
    /// Make a patch without a signature, for trying things out
    #[arg(long, conflicts_with = "key")]
    pub(crate) unsigned: bool,
    /// The component's name [default: the file name of NEW up to its first '.']
    #[arg(long, value_name = "NAME")]
    pub(crate) component: Option<Component>,
    /// OLD's version
    #[arg(long, value_name = "VERSION", default_value = "0")]
    pub(crate) from: Version,
    /// NEW's version; 'VERSION (a)' for a supplement of a base [default: that of OLD with the next letter]
    #[arg(long, value_name = "VERSION")]
    pub(crate) to: Option<Version>,
    /// What the patch fixes: a JSON file with {"id", "severity", "text"}, or a list of such
    #[arg(long, value_name = "FILE")]
    pub(crate) advisory: Vec<PathBuf>,
    /// How hard to try
    #[arg(long, value_enum, default_value_t = Level::Default)]
    pub(crate) level: Level,
    /// Security epoch; a device never goes below the highest it confirmed
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) epoch: u64,
    /// What must restart for the patch to take effect: 'reboot' or a service; may be given several times
    #[arg(long, value_name = "WHAT")]
    pub(crate) restart: Vec<String>,
    /// Only for this product; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) product: Vec<String>,
    /// Not to be installed from then on: 2027-01-31, or with a time as in RFC 3339
    #[arg(long, value_name = "DATE", value_parser = crate::time::parse)]
    pub(crate) expires: Option<u64>,
    /// When it was made; left out of the patch unless given
    #[arg(long, value_name = "DATE", value_parser = crate::time::parse_created, env = "SOURCE_DATE_EPOCH")]
    pub(crate) created: Option<u64>,
    /// The oldest siding that may install it, such as 0.1.0
    #[arg(long, value_name = "VERSION", value_parser = three_numbers)]
    pub(crate) minimum_siding: Option<[u64; 3]>,
}

/// How hard to try to make a patch small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    Fast,
    Default,
    Best,
}

impl Level {
    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Default => "default",
            Self::Best => "best",
        }
    }
}

/// Add a signature to a patch
///
/// Verify the patch first: whoever signs vouches for it.
#[derive(Debug, Parser)]
#[command(after_help = "Example: siding sign libssl.siding --key second.key -o libssl.twice-signed.siding")]
pub(crate) struct Sign {
    /// The patch
    pub(crate) patch: PathBuf,
    /// The private key to sign with
    #[arg(long, value_name = "KEY")]
    pub(crate) key: PathBuf,
    /// Where to write the result [default: in place of PATCH]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// Tell the whole story on two real versions of a library, in a temporary store
#[derive(Debug, Parser)]
#[command(after_help = "Example: cargo run --release -- demo\n         cargo run --release -- demo --fleet")]
pub(crate) struct Demo {
    /// Another story: a maker publishes, five devices find it, install it, refuse it or remove it
    #[arg(long)]
    pub(crate) fleet: bool,
    /// Keep the temporary directory, to look around in it
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Write the man pages and the completions for bash, fish and zsh, for a package
///
/// They are laid out as they lie in /usr/share. What is there of the same name is replaced.
#[derive(Debug, Parser)]
#[command(after_help = "Example: siding manual share\n         siding manual ~/.local/share")]
pub(crate) struct Manual {
    /// The directory that they are put into
    pub(crate) dir: PathBuf,
    /// The date in the pages; left out unless given
    #[arg(long, value_name = "DATE", value_parser = crate::time::parse_created, env = "SOURCE_DATE_EPOCH")]
    pub(crate) date: Option<u64>,
}

fn three_numbers(text: &str) -> Result<[u64; 3], String> {
    let numbers: Result<Vec<u64>, _> = text.split('.').map(str::parse).collect();
    let numbers = numbers.map_err(|_| format!("expected three numbers such as 0.1.0, got {text:?}"))?;
    numbers.try_into().map_err(|_| format!("expected three numbers such as 0.1.0, got {text:?}"))
}
