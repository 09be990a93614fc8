//! Arguments of the verbs around the agent.

use super::StoreArgs;
use clap::Parser;
use std::path::PathBuf;

/// Where the settings are.
#[derive(Clone, Debug, Parser)]
pub(crate) struct PolicyArgs {
    /// The directory with agent.toml, agent.d and admin.toml
    #[arg(long, value_name = "DIR", env = "SIDING_CONFIG", default_value = siding_agent::policy::DIR)]
    pub(crate) config: PathBuf,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// Look for releases, install what is for this device, and keep it if it works; in the background
///
/// Works until it is ended (SIGTERM), which it is at a safe point; or with --once through one pass. What it does is said
/// by agent.toml, `siding set` and admin.toml. It can be killed anywhere: the next pass goes on.
#[derive(Debug, Parser)]
#[command(
    after_help = "Example: siding agent --once      (from a timer)\n         ExecStart=/usr/bin/siding agent"
)]
pub(crate) struct Agent {
    /// Work through one pass and end. Exit code 4: something must restart for what is installed to be in use
    #[arg(long)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
}

/// Look for releases now; installs nothing
#[derive(Debug, Parser)]
#[command(after_help = "Example: siding check")]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
}

/// List releases: what is installed, what will be, and what will not, with why
#[derive(Debug, Parser)]
#[command(after_help = "Example: siding list\n         siding list --all --json")]
pub(crate) struct List {
    /// Also those for other products, channels and components
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
}

/// Show a release: what it repairs, what it changes here, what becomes of it and why
#[derive(Debug, Parser)]
#[command(after_help = "Example: siding info 2026-11-webkit\n         siding info CVE-2026-0001")]
pub(crate) struct Info {
    /// The release, or something that it repairs
    #[arg(value_name = "ADVISORY")]
    pub(crate) advisory: String,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
}

/// Show or change what the agent does by itself
///
/// Without a name lists every setting, its value, and which file says so. What is set here is kept in the store and is
/// stronger than agent.toml; what the administrator has locked stays as it is.
#[derive(Debug, Parser)]
#[command(
    after_help = "Example: siding set\n         siding set automatic-install off\n         siding set window --default"
)]
pub(crate) struct Set {
    /// Which setting
    pub(crate) name: Option<String>,
    /// Its value
    #[arg(requires = "name")]
    pub(crate) value: Option<String>,
    /// Forget what was set here, so that the files say it again
    #[arg(long, requires = "name", conflicts_with = "value")]
    pub(crate) default: bool,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
}
