//! The command line of `siding publish`.

#[cfg(test)]
mod tests;

use clap::builder::NonEmptyStringValueParser;
use clap::{Parser, Subcommand};
use siding_repo::make::{Role, Span, WaveText};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Publish releases: static files that any web server or object store can serve to devices
///
/// What a release is, is written in a TOML file (docs/publish.md). `plan` says what must be made for it, `make` makes it
/// or a share of it, on any number of machines and without keys, `commit` signs and publishes it. A reader sees the
/// repository as it was or as it is, never half of it.
#[derive(Debug, Parser)]
#[command(
    after_help = "Example: siding publish init --repo repo --keys keys\n         siding publish make release.toml --repo repo\n         siding publish commit release.toml --repo repo --keys keys --sign-with release.key"
)]
pub(crate) struct Publish {
    #[command(subcommand)]
    pub(crate) verb: PublishVerb,
}

/// What to publish, or to do with what is. One exists per process, so its size does not matter.
#[allow(clippy::large_enum_variant, reason = "one exists per process")]
#[derive(Debug, Subcommand)]
pub(crate) enum PublishVerb {
    Init(Init),
    Plan(Plan),
    Make(Make),
    Commit(Commit),
    List(List),
    Pause(Pause),
    Resume(Resume),
    Withdraw(Withdraw),
    Waves(Waves),
    Refresh(Refresh),
    Rotate(Rotate),
    Serve(Serve),
}

/// Where the repository is, for every verb.
#[derive(Clone, Debug, Parser)]
pub(crate) struct RepoArgs {
    /// The repository: a folder; s3://…, gs://… or az://… in a build with the cargo feature `cloud`
    #[arg(long, value_name = "DIR|URL", env = "SIDING_REPO")]
    pub(crate) repo: String,
}

/// Whose keys sign.
#[derive(Clone, Debug, Parser)]
pub(crate) struct KeysArgs {
    /// A directory with private keys of the repository and its root.json; may be given several times, root.json is taken
    /// from the first that has one
    #[arg(long, value_name = "DIR", env = "SIDING_KEYS", value_delimiter = ':', required = true)]
    pub(crate) keys: Vec<PathBuf>,
}

/// Make the keys of a new repository, and the repository, empty and signed
///
/// Ed25519, PKCS#8 in PEM, one file each. Move root-*.pem away from the machine that publishes: they are only needed to
/// rotate keys. Devices are given metadata/1.root.json, which is also put into the key directory as root.json.
#[derive(Debug, Parser)]
#[command(
    after_help = "Example: siding publish init --repo repo --keys keys --role root=2/3 --expires timestamp=3d\n         Without options: root 2/3 keys for 365d, targets 1/1 for 90d, snapshot 1/1 for 30d, timestamp 1/1 for 7d"
)]
pub(crate) struct Init {
    #[command(flatten)]
    pub(crate) repo: RepoArgs,
    /// Where the keys shall be: one directory, which is made if there is none
    #[arg(long, value_name = "DIR", env = "SIDING_KEYS", value_delimiter = ':', required = true)]
    pub(crate) keys: Vec<PathBuf>,
    /// How many keys a role has and how many of them must sign; may be given several times
    #[arg(long, value_name = "ROLE=NEED/KEYS", value_parser = counts)]
    pub(crate) role: Vec<(Role, (u64, u64))>,
    /// For how long what a role signs holds; may be given several times
    #[arg(long, value_name = "ROLE=SPAN", value_parser = of_role::<Span>)]
    pub(crate) expires: Vec<(Role, Span)>,
}

/// Say what must be made for a release, and what of it is there; makes nothing
#[derive(Debug, Parser)]
#[command(after_help = "Example: siding publish plan release.toml --repo repo")]
pub(crate) struct Plan {
    /// The release, a TOML file
    pub(crate) release: PathBuf,
    #[command(flatten)]
    pub(crate) repo: RepoArgs,
}

/// Make what a release takes, or a share of it
///
/// Needs no keys. What is there already is not made again, and it does not matter how often, in which order or by how many
/// at once this is run. Without --index and --count they are taken from JOB_COMPLETION_INDEX and JOB_COMPLETIONS
/// (Kubernetes), or SLURM_ARRAY_TASK_ID, _COUNT, _MIN and _STEP (Slurm); else everything is made.
#[derive(Debug, Parser)]
#[command(
    after_help = "Example: siding publish make release.toml --repo repo\n         siding publish make release.toml --repo repo --index 0 --count 4     (and 1, 2, 3 elsewhere)"
)]
pub(crate) struct Make {
    /// The release, a TOML file
    pub(crate) release: PathBuf,
    #[command(flatten)]
    pub(crate) repo: RepoArgs,
    /// Which share, from 0
    #[arg(long, value_name = "I")]
    pub(crate) index: Option<usize>,
    /// How many shares there are
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<usize>,
}

/// Sign what was made and publish the release, or change one of the same name
///
/// All must be made, and be what the release says. A release that is there keeps its date and its waves, and stays paused or withdrawn.
/// If nothing is new, nothing is done.
#[derive(Debug, Parser)]
#[command(
    after_help = "Example: siding publish commit release.toml --repo repo --keys keys --sign-with release.key"
)]
pub(crate) struct Commit {
    /// The release, a TOML file
    pub(crate) release: PathBuf,
    #[command(flatten)]
    pub(crate) repo: RepoArgs,
    #[command(flatten)]
    pub(crate) keys: KeysArgs,
    /// Sign the patches with this private key, which devices trust for patches; may be given several times
    #[arg(long, value_name = "KEY", required = true)]
    pub(crate) sign_with: Vec<PathBuf>,
}

/// Show what is published, and until when the metadata holds
#[derive(Debug, Parser)]
#[command(after_help = "Example: siding publish list --repo repo --keys keys")]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) repo: RepoArgs,
    /// A key directory, for its root.json [default: the repository's own first root, which vouches for nothing]
    #[arg(long, value_name = "DIR", env = "SIDING_KEYS", value_delimiter = ':')]
    pub(crate) keys: Vec<PathBuf>,
}

/// Let no further device begin to install a release; those that have it keep it
#[derive(Debug, Parser)]
#[command(
    after_help = "Example: siding publish pause 2026-11-openssl --reason 'crashes on armv7' --repo repo --keys keys"
)]
pub(crate) struct Pause {
    #[command(flatten)]
    pub(crate) which: ReleaseArgs,
    /// Why, for people
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) reason: String,
}

/// Let devices install a paused release again
#[derive(Debug, Parser)]
#[command(after_help = "Example: siding publish resume 2026-11-openssl --repo repo --keys keys")]
pub(crate) struct Resume {
    #[command(flatten)]
    pub(crate) which: ReleaseArgs,
}

/// Take a release back for good: no device installs it, and those that have it leave it
#[derive(Debug, Parser)]
#[command(
    after_help = "Example: siding publish withdraw 2026-11-openssl --reason 'corrupts sessions' --repo repo --keys keys"
)]
pub(crate) struct Withdraw {
    #[command(flatten)]
    pub(crate) which: ReleaseArgs,
    /// Why, for people
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) reason: String,
}

/// Give a release other waves, counted from now; none: everybody at once
#[derive(Debug, Parser)]
#[command(
    after_help = "Example: siding publish waves 2026-11-openssl '25% at once' '100% after 12h' --repo repo --keys keys"
)]
pub(crate) struct Waves {
    #[command(flatten)]
    pub(crate) which: ReleaseArgs,
    /// Such as '1% at once', '10% after 1d' or '100% at 2027-01-31T12:00:00Z'
    pub(crate) waves: Vec<WaveText>,
}

/// A release that is published.
#[derive(Clone, Debug, Parser)]
pub(crate) struct ReleaseArgs {
    /// The release's name
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) repo: RepoArgs,
    #[command(flatten)]
    pub(crate) keys: KeysArgs,
}

/// Sign again what expires: always the timestamp, and of the rest what is past half of its time
///
/// Call it from a timer. A machine that does only this needs the timestamp's key alone, until the snapshot's is needed too.
#[derive(Debug, Parser)]
#[command(after_help = "Example: siding publish refresh --repo repo --keys keys")]
pub(crate) struct Refresh {
    #[command(flatten)]
    pub(crate) repo: RepoArgs,
    #[command(flatten)]
    pub(crate) keys: KeysArgs,
    /// All but the root, whether it is time or not
    #[arg(long)]
    pub(crate) all: bool,
}

/// Publish a new root: other keys, other thresholds, a later date
///
/// Signed by the old root's keys and the new one's, so that devices follow from whichever root they know. Without options
/// the new root says the same and holds longer.
#[derive(Debug, Parser)]
#[command(
    after_help = "Example: siding publish rotate --repo repo --keys keys --keys /media/root --add timestamp --remove timestamp=3f9a01c2"
)]
pub(crate) struct Rotate {
    #[command(flatten)]
    pub(crate) repo: RepoArgs,
    #[command(flatten)]
    pub(crate) keys: KeysArgs,
    /// Make a new key for this role in the first key directory, or take in this public key; may be given several times
    #[arg(long, value_name = "ROLE[=PUB]", value_parser = Added::parse)]
    pub(crate) add: Vec<Added>,
    /// Let go of a key, by the first digits of its name in the root; may be given several times
    #[arg(long, value_name = "ROLE=ID", value_parser = of_role::<String>)]
    pub(crate) remove: Vec<(Role, String)>,
    /// How many keys of a role must sign; may be given several times
    #[arg(long, value_name = "ROLE=N", value_parser = of_role::<u64>)]
    pub(crate) threshold: Vec<(Role, u64)>,
    /// For how long what a role signs holds; may be given several times
    #[arg(long, value_name = "ROLE=SPAN", value_parser = of_role::<Span>)]
    pub(crate) expires: Vec<(Role, Span)>,
}

/// Serve a repository in a folder over HTTP, for trying things out
///
/// Prints the address, then answers until it is ended. Gives out metadata/ and targets/ and nothing else: whole files and
/// byte ranges. For real devices any web server, content network or object store does the same, with TLS.
#[derive(Debug, Parser)]
#[command(after_help = "Example: siding publish serve --repo repo --listen 127.0.0.1:8080")]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) repo: RepoArgs,
    /// Where to listen; port 0 is any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
}

/// A key that a role gets.
#[derive(Clone, Debug)]
pub(crate) enum Added {
    New(Role),
    Public(Role, PathBuf),
}

impl Added {
    fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((role, path)) => Ok(Self::Public(role.parse()?, path.into())),
            None => Ok(Self::New(text.parse()?)),
        }
    }
}

fn of_role<T: FromStr<Err: ToString>>(text: &str) -> Result<(Role, T), String> {
    let (role, value) =
        text.split_once('=').ok_or_else(|| format!("expected a role, '=' and a value, got {text:?}"))?;
    Ok((role.parse()?, value.parse().map_err(|e: T::Err| e.to_string())?))
}

fn counts(text: &str) -> Result<(Role, (u64, u64)), String> {
    const MOST: u64 = 32;
    let (role, counts): (Role, String) = of_role(text)?;
    let bad = || format!("expected how many keys must sign of how many, such as 2/3, got {counts:?}");
    let (need, keys) = counts.split_once('/').ok_or_else(bad)?;
    let (need, keys): (u64, u64) = (need.parse().map_err(|_| bad())?, keys.parse().map_err(|_| bad())?);
    if need == 0 || need > keys || keys > MOST {
        return Err(format!("{role}: {need} of {keys} keys; at least 1, at most all, and at most {MOST}"));
    }
    Ok((role, (need, keys)))
}
