//! The long run of the simulated power cuts (`crates/slot/src/proof.rs`), in a release build.

use crate::{Result, workspace};
use std::process::Command;

pub(crate) const USAGE: &str = "\
cargo xtask simulate [--states N]
  cuts the power of simulated machines until N of them came back sound [default: 100000000]";

pub(crate) fn run(args: &[String]) -> Result<()> {
    let states = match args {
        [] => "100000000",
        [flag, states] if flag == "--states" && states.parse::<u64>().is_ok() => states,
        _ => return Err(USAGE.to_owned()),
    };
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "--release", "--locked", "-p", "siding-slot", "--lib", "as_many_states_as_wanted"]);
    cargo.args(["--", "--ignored", "--nocapture"]).env("SIDING_STATES", states).current_dir(workspace());
    match cargo.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the simulation ended with {status}; what is wrong stands above")),
        Err(error) => Err(format!("cannot run cargo: {error}")),
    }
}
