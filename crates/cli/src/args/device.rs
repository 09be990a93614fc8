//! What is asked of a device's store.

use super::{LoadArgs, StartedArgs, StoreArgs, TrustArgs};
use clap::Parser;
use siding_image::{Component, Version};
use siding_slot::Slot;
use std::path::PathBuf;

/// Put a component's base in place, making the store if there is none; or take over a device's two partitions
///
/// With --slot the component has two slots, which are block devices, and no base: one of them holds IMAGE already,
/// which is compared and not copied. A patch then starts from the image in use, and the reverse patch removes it.
///
/// With --replace IMAGE takes the place of the base that is there, and of every patch on it, a trial included: they were
/// made from the old base. The new one is whole on the medium before that happens, at once or not at all. With the base's
/// own image the base is read; if it is damaged or gone, it is put in place anew, and patches stay.
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

fn slot_at(text: &str) -> Result<(Slot, PathBuf), String> {
    let wrong = || format!("expected a=DEVICE or b=DEVICE, got {text:?}");
    let (slot, device) = text.split_once('=').filter(|(_, device)| !device.is_empty()).ok_or_else(wrong)?;
    let slot = slot.parse().ok().filter(|slot| Slot::PATCHED.contains(slot)).ok_or_else(wrong)?;
    Ok((slot, PathBuf::from(device)))
}
