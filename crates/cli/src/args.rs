//! The command line.

pub(crate) mod agent;
#[cfg(feature = "make")]
pub(crate) mod publish;

use crate::progress::Mode;
#[cfg(feature = "make")]
use clap::ValueEnum;
use clap::{Parser, Subcommand};
use siding_image::{Component, Version};
use siding_slot::Slot;
use std::path::{Path, PathBuf};
use std::str::FromStr;

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

/// What to do. One exists per process, so its size does not matter.
#[allow(clippy::large_enum_variant)]
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

/// Make a key pair: NAME.key (keep it secret, mode 0600) and NAME.pub
///
/// Ed25519, in the PEM forms that `openssl pkey` reads. Neither file is overwritten.
#[cfg(feature = "make")]
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
#[cfg(feature = "make")]
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
#[cfg(feature = "make")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    Fast,
    Default,
    Best,
}

#[cfg(feature = "make")]
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
#[cfg(feature = "make")]
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

/// Where the slots are.
#[derive(Clone, Debug, Parser)]
pub(crate) struct StoreArgs {
    /// The store's directory
    #[arg(long, value_name = "DIR", env = "SIDING_STORE", default_value = "/var/lib/siding")]
    pub(crate) store: PathBuf,
}

/// Put a component's base in place, making the store if there is none; or take over a device's two partitions
///
/// With --slot the component has two slots, which are block devices, and no base: one of them holds IMAGE already,
/// which is compared and not copied. A patch then starts from the image in use, and the reverse patch removes it.
///
/// With --replace IMAGE takes the place of the base that is there, and of every patch on it, a trial included: they were
/// made from the old base. The new one is whole on the medium before that happens, at once or not at all.
#[derive(Debug, Parser)]
#[command(
    override_usage = "siding init [OPTIONS] --version <VERSION> <COMPONENT> <IMAGE>\n       siding init [OPTIONS] --version <VERSION> <COMPONENT> <IMAGE> --slot a=<DEV> --slot b=<DEV> [--active a|b]\n       siding init [OPTIONS] --version <VERSION> <COMPONENT> <IMAGE> --replace [--retry-denied]",
    after_help = "Example: siding init libssl /usr/lib/x86_64-linux-gnu/libssl.so.3 --version 3.0.20\n         siding init libssl /usr/lib/x86_64-linux-gnu/libssl.so.3 --version 3.0.22 --replace\n         siding init rootfs rootfs.img --version 1.0 --slot a=/dev/disk/by-partlabel/a --slot b=/dev/disk/by-partlabel/b"
)]
pub(crate) struct Init {
    /// The component's name
    pub(crate) component: Component,
    /// The image to copy: a file, a block device or a directory; with --slot the device that is active, or a file with
    /// the same bytes, which may be shorter than the device
    pub(crate) image: PathBuf,
    /// Slot a or b is this block device; give both. Use a name that is the same after a restart
    #[arg(long, value_name = "SLOT=DEV", value_parser = slot_at)]
    pub(crate) slot: Vec<(Slot, PathBuf)>,
    /// Which of the two is in use
    #[arg(long, value_name = "SLOT", requires = "slot", default_value = "a", value_parser = ["a", "b"])]
    pub(crate) active: String,
    /// Its version
    #[arg(long)]
    pub(crate) version: Version,
    /// Its security epoch; with --replace not below the highest one that the device has confirmed
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) epoch: u64,
    /// Put it in the place of the component's base, and drop what was patched on that
    #[arg(long, conflicts_with = "slot")]
    pub(crate) replace: bool,
    /// Take an image that was rolled back before
    #[arg(long, requires = "replace")]
    pub(crate) retry_denied: bool,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// Install a patch into the inactive slot while the running one is in use; or a release of the repository
///
/// What is not a file names a release, or something that one repairs, such as a CVE: it is fetched, staged, switched to,
/// and what must restart is restarted, as the agent would do; now, and by hand.
///
/// Whose signature counts is said by --trust, or by the public keys in the directory `trust` of the store.
///
/// Once this is done the new image is on the medium, read back and compared. It is used after `siding switch`,
/// or at once with --switch.
#[derive(Debug, Parser)]
#[command(
    after_help = "Example: siding install libssl.siding --trust release.pub --switch\n         curl … | siding install -      (keys from the store's directory trust/, or SIDING_TRUST)"
)]
pub(crate) struct Install {
    #[command(flatten)]
    pub(crate) what: InstallArgs,
    /// Switch to it once it is sealed
    #[arg(long)]
    pub(crate) switch: bool,
    #[command(flatten)]
    pub(crate) trial: TrialArgs,
    /// Do not read an image first that is in its slot already
    #[arg(long)]
    pub(crate) no_check: bool,
    /// After the switch restart what the patch says must restart, and nothing else; then say who still runs old bytes
    #[arg(long)]
    pub(crate) restart: bool,
    /// Say what would be done, what it takes and whether it would work, and write nothing: `siding plan`
    #[arg(long, conflicts_with = "switch")]
    pub(crate) plan: bool,
}

/// Say what installing a patch would do, what it takes and whether it would work; writes nothing
///
/// Fails as the install would, with the same message and exit code, but for what only reading the images and the whole
/// patch can tell.
#[derive(Debug, Parser)]
#[command(after_help = "Example: siding plan libssl.siding --trust release.pub")]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) what: InstallArgs,
}

/// What to install, where, and within what.
#[derive(Clone, Debug, Parser)]
pub(crate) struct InstallArgs {
    /// The patch; - for standard input; or the name of a release
    pub(crate) patch: PathBuf,
    #[command(flatten)]
    pub(crate) trust: TrustArgs,
    /// What this device is, for patches made for certain products
    #[arg(long, value_name = "NAME", env = "SIDING_PRODUCT")]
    pub(crate) product: Option<String>,
    /// Install an image although it was rolled back before
    #[arg(long)]
    pub(crate) retry_denied: bool,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// On which terms to switch.
#[derive(Clone, Debug, Parser)]
pub(crate) struct TrialArgs {
    /// How many restarts an image on trial gets; the one after that rolls it back [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) tries: Option<u32>,
    /// Roll back at the first restart after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=10 * 366 * 86_400))]
    pub(crate) deadline: Option<u64>,
    /// Switch for good, without a trial
    #[arg(long, conflicts_with_all = ["tries", "deadline"])]
    pub(crate) no_trial: bool,
}

/// Switch components to their sealed images, all in one durable write
///
/// Starts a trial: confirm it, or it is rolled back. Every byte of the images is read and compared with their seals
/// first. What is in use already stays, and is no error.
///
/// With --restart, units are restarted by systemctl, `process` has whatever maps old files ended by SIGTERM, and any other
/// word is a program in the store's directory restart.d. Exit code 4: something still runs old bytes, or a reboot is needed.
#[derive(Debug, Parser)]
#[command(
    after_help = "Example: siding switch            (everything that is ready)\n         siding switch libssl libcrypto --tries 2 --deadline 3600\n         siding switch --restart"
)]
pub(crate) struct Switch {
    /// Which components [default: all that have a sealed image waiting]
    pub(crate) components: Vec<Component>,
    /// Do not read the images first
    #[arg(long)]
    pub(crate) no_check: bool,
    /// Then restart what the patches say must restart, and nothing else; and say who still runs old bytes
    #[arg(long)]
    pub(crate) restart: bool,
    #[command(flatten)]
    pub(crate) trial: TrialArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// Keep what is on trial
///
/// Without names, what waits for a restart to be started for the first time is not kept (exit code 4).
#[derive(Debug, Parser)]
#[command(name = "confirm", after_help = "Example: siding confirm libssl")]
pub(crate) struct Confirm {
    /// Which components [default: all that are on trial]
    pub(crate) components: Vec<Component>,
    #[command(flatten)]
    pub(crate) started: StartedArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// Go back to the previous slot and deny the image that is left
#[derive(Debug, Parser)]
#[command(after_help = "Example: siding rollback libssl --reason 'handshakes fail'")]
pub(crate) struct Rollback {
    /// Which components [default: all that are on trial]
    pub(crate) components: Vec<Component>,
    /// Why; kept and shown by `siding log`
    #[arg(long, value_name = "TEXT", default_value = "asked for by hand", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) reason: String,
    /// Then restart what must restart, and say who still runs what was left
    #[arg(long)]
    pub(crate) restart: bool,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// Go back to the base, at once and offline; the image may be installed again
#[derive(Debug, Parser)]
#[command(after_help = "Example: siding remove libssl")]
pub(crate) struct Remove {
    /// Which components
    #[arg(required = true)]
    pub(crate) components: Vec<Component>,
    /// Then restart what must restart, and say who still runs what was left
    #[arg(long)]
    pub(crate) restart: bool,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// Show where the device stands and what happens at the next restart
#[derive(Debug, Parser)]
#[command(after_help = "Example: siding status --json")]
pub(crate) struct Status {
    /// Which components [default: all]
    pub(crate) components: Vec<Component>,
    #[command(flatten)]
    pub(crate) started: StartedArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// Show what happened, and why
#[derive(Debug, Parser)]
#[command(after_help = "Example: siding log libssl -n 20")]
pub(crate) struct Log {
    /// Which components [default: all]
    pub(crate) components: Vec<Component>,
    /// Only the newest N entries
    #[arg(short, long, value_name = "N")]
    pub(crate) number: Option<usize>,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// What an early-boot unit calls: hear the boot loaders, spend a try of each trial, or fall back
///
/// Then mounts and boot loaders are made to follow the record. The slot that was started is read from the kernel's
/// command line (`siding.NAME=SLOT:TURN`, or without the turn), tries from the loaders that projections.toml in the store
/// names. Call it once a start: each call spends a try, but for what a boot loader starts that says its turn, once the
/// start is noted in $RUNTIME_DIRECTORY or /run/siding. Exit code 4: another slot was started than the one that is
/// active now.
#[derive(Debug, Parser)]
#[command(after_help = "Example: ExecStart=/usr/bin/siding boot")]
pub(crate) struct Boot {
    #[command(flatten)]
    pub(crate) started: StartedArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// What was started.
#[derive(Clone, Debug, Parser)]
pub(crate) struct StartedArgs {
    /// Read from this file, not from /proc/cmdline, which slots were started
    #[arg(long, value_name = "FILE")]
    pub(crate) cmdline: Option<PathBuf>,
}

/// Make mounts and boot loaders follow the record, as projections.toml in the store lists them
///
/// Every change does so by itself. This is for after projections.toml was written, or what could not follow was
/// mended. It changes nothing in the store.
#[derive(Debug, Parser)]
#[command(after_help = "Example: siding project")]
pub(crate) struct Project {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// What a unit calls after a boot: ask whether what is on trial works, and confirm it or roll it back
///
/// Runs the executable files in the store's directory health.d, in order of name, each with SIDING_STORE and SIDING_TRIAL
/// (the components on trial) in its environment. At the first failure what is on trial is rolled back, with the reason, and
/// what must restart is restarted; what needs a reboot falls back at the next one. Does nothing if nothing is on trial.
///
/// Exit codes: 0 all is well, or nothing is on trial; 1 rolled back; 4 rolled back, but only a reboot or a restart by hand
/// does the rest, or what is on trial waits for a restart to be started for the first time; 3 there is nobody to ask.
#[derive(Debug, Parser)]
#[command(
    after_help = "Example: ExecStart=/usr/bin/siding health --unit nginx.service --within 120\n         siding health --deadline     (from a timer: rolls back what is past its deadline)"
)]
pub(crate) struct Health {
    /// Run the programs in this directory instead
    #[arg(long, value_name = "DIR")]
    pub(crate) checks: Option<PathBuf>,
    /// How many seconds each program may take; then it and its children are killed, and it has failed
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) limit: u64,
    /// This unit must be active; may be given several times
    #[arg(long, value_name = "UNIT")]
    pub(crate) unit: Vec<String>,
    /// How many seconds to wait for each unit
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(..=86_400))]
    pub(crate) within: u64,
    /// Ask nobody; roll back trials that are past their deadline
    #[arg(long, conflicts_with_all = ["checks", "limit", "unit", "within"])]
    pub(crate) deadline: bool,
    #[command(flatten)]
    pub(crate) started: StartedArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// Empty slots that nothing needs any more
#[derive(Debug, Parser)]
#[command(after_help = "Example: siding vacuum")]
pub(crate) struct Vacuum {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// Tell the whole story on two real versions of a library, in a temporary store
#[cfg(feature = "make")]
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
#[cfg(feature = "make")]
#[derive(Debug, Parser)]
#[command(after_help = "Example: siding manual share\n         siding manual ~/.local/share")]
pub(crate) struct Manual {
    /// The directory that they are put into
    pub(crate) dir: PathBuf,
    /// The date in the pages; left out unless given
    #[arg(long, value_name = "DATE", value_parser = crate::time::parse_created, env = "SOURCE_DATE_EPOCH")]
    pub(crate) date: Option<u64>,
}

fn slot_at(text: &str) -> Result<(Slot, PathBuf), String> {
    let wrong = || format!("expected a=DEVICE or b=DEVICE, got {text:?}");
    let (slot, device) = text.split_once('=').filter(|(_, device)| !device.is_empty()).ok_or_else(wrong)?;
    let slot = slot.parse().ok().filter(|slot| Slot::PATCHED.contains(slot)).ok_or_else(wrong)?;
    Ok((slot, PathBuf::from(device)))
}

#[cfg(feature = "make")]
fn three_numbers(text: &str) -> Result<[u64; 3], String> {
    let numbers: Result<Vec<u64>, _> = text.split('.').map(str::parse).collect();
    let numbers = numbers.map_err(|_| format!("expected three numbers such as 0.1.0, got {text:?}"))?;
    numbers.try_into().map_err(|_| format!("expected three numbers such as 0.1.0, got {text:?}"))
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
