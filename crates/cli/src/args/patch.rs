//! What is asked of a patch by itself.

use super::{BenchTrustArgs, LoadArgs, StoreArgs};
use clap::Parser;
use siding_image::Component;
use siding_slot::Slot;
use std::path::PathBuf;
use std::str::FromStr;

/// Apply a patch without a store: OLD and PATCH make OUT
///
/// OUT appears complete and compared with the signed digest, or not at all. A run that is killed leaves a hidden file or
/// directory .OUT.PROCESS.partial beside it, which the next run for the same OUT removes.
#[derive(Debug, Parser)]
#[command(
    after_help = "Example: siding apply libssl.siding old/libssl.so.3 new/libssl.so.3 --trust release.pub"
)]
pub(crate) struct Apply {
    /// The patch; - for standard input
    pub(crate) patch: PathBuf,
    /// The image it starts from; /dev/null if it starts from nothing
    pub(crate) old: PathBuf,
    /// Where to put the result: a path where nothing is yet, or a block device
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) trust: BenchTrustArgs,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

/// Show what a patch is, what it changes, and where its bytes go
///
/// Bytes are told by file, by region of the old image, and by stream. Trusts nothing and needs no key; use
/// `siding verify` to know who made it.
#[derive(Debug, Parser)]
#[command(
    after_help = "Example: siding inspect libssl.siding\n         siding inspect libssl.siding --old old/libssl.so.3      (and what was predicted right)"
)]
pub(crate) struct Inspect {
    /// The patch; - for standard input
    pub(crate) patch: PathBuf,
    /// Also rebuild everything from this image, in memory: count the references that were predicted right, and
    /// name the sections that regions hold
    #[arg(long, value_name = "OLD")]
    pub(crate) old: Option<PathBuf>,
}

/// Check a patch: its signatures, every byte of it, and on request what it makes; or what is in slots
///
/// With --slot every byte of sealed images is read, past the page cache as far as that goes, and compared with the
/// record. Damage ends with exit code 6, and says which file and what to do.
#[derive(Debug, Parser)]
#[command(
    override_usage = "siding verify [OPTIONS] <PATCH>\n       siding verify --slot <COMPONENT[:SLOT]> [--condemn] [--store <DIR>]",
    after_help = "Example: siding verify libssl.siding --trust release.pub --source old/libssl.so.3 --target new/libssl.so.3\n         siding verify --slot libssl:a\n         siding verify --slot all"
)]
pub(crate) struct Verify {
    /// The patch; - for standard input
    #[arg(required_unless_present = "slot")]
    pub(crate) patch: Option<PathBuf>,
    /// Check a sealed slot of the store instead, every sealed slot of a component, or 'all'; may be given several times
    #[arg(long, value_name = "COMPONENT[:SLOT]", conflicts_with_all = ["patch", "source", "target"])]
    pub(crate) slot: Vec<SlotName>,
    /// Empty damaged slots that are not in use
    #[arg(long, requires = "slot")]
    pub(crate) condemn: bool,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(flatten)]
    pub(crate) trust: BenchTrustArgs,
    /// Also check that it starts from this image and really makes its target from it (writes nothing)
    #[arg(long, value_name = "OLD")]
    pub(crate) source: Option<PathBuf>,
    /// Also check that it makes this image
    #[arg(long, value_name = "NEW")]
    pub(crate) target: Option<PathBuf>,
}

/// Slots as the command line names them: `NAME:SLOT`, `NAME` for all of a component, `all` for all there are.
#[derive(Clone, Debug)]
pub(crate) struct SlotName {
    pub(crate) component: Option<Component>,
    pub(crate) slot: Option<Slot>,
}

impl FromStr for SlotName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self { component: None, slot: None });
        }
        let (component, slot) = match text.split_once(':') {
            Some((component, slot)) => (component, Some(slot.parse()?)),
            None => (text, None),
        };
        Ok(Self { component: Some(component.parse()?), slot })
    }
}

/// Measure how long applying takes, stage by stage, beside a plain copy with SHA-256
#[derive(Debug, Parser)]
#[command(after_help = "Example: siding bench libssl.siding old/libssl.so.3 --runs 9")]
pub(crate) struct Bench {
    /// The patch
    pub(crate) patch: PathBuf,
    /// The image it starts from
    pub(crate) old: PathBuf,
    /// How often to run; the median counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,
    /// Where to write the results [default: the directory for temporary files]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Measure this tool beside it, with a patch of its own: hpatchz, bspatch or zstd (may be repeated)
    #[arg(long = "peer", value_name = "TOOL=PATCHFILE", value_parser = crate::bench::Peer::parse)]
    pub(crate) peers: Vec<crate::bench::Peer>,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
}
