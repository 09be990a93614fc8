//! Chores of this project, run as `cargo xtask CHORE`. Nothing here is part of the product.
//!
//! * [`corpus`] measures whole `siding` processes, and other tools beside them, on real pairs of versions;
//! * [`fleet`] runs a thousand devices, a repository and everything that goes wrong with them;
//! * [`instructions`] counts what the applier's core has the processor do, and compares with committed figures;
//! * [`loaders`] checks what boot loaders are told with their own tools;
//! * [`outage`] measures how long a service does not answer while a patch comes into use;
//! * [`package`] makes the Debian package and tries it in a fresh Debian;
//! * [`page`] looks at the local page in a browser;
//! * [`overlap`] measures whether a device applies while it downloads;
//! * [`plot`] draws the corpus' tables;
//! * [`powercut`] cuts the power and fails the disk under the real binary;
//! * [`scale`] makes a release with Dask, Ray and Slurm;
//! * [`scaling`] measures what an apply costs as images grow and their change does not;
//! * [`simulate`] is the long run of the simulated power cuts.

mod compare;
mod corpus;
mod fleet;
mod instructions;
mod loaders;
mod machine;
mod measure;
mod outage;
mod overlap;
mod package;
mod page;
mod plot;
mod powercut;
mod proxy;
mod random;
mod report;
mod scale;
mod scaling;
mod simulate;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What went wrong, in words for the person who runs the chore.
type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.split_first() {
        Some((chore, rest)) if chore == "corpus" => corpus::run(rest),
        Some((chore, rest)) if chore == "fleet" => fleet::run(rest),
        Some((chore, rest)) if chore == "instructions" => instructions::run(rest),
        Some((chore, rest)) if chore == "loaders" => loaders::run(rest),
        Some((chore, rest)) if chore == "outage" => outage::run(rest),
        Some((chore, rest)) if chore == "package" => package::run(rest),
        Some((chore, rest)) if chore == "page" => page::run(rest),
        Some((chore, rest)) if chore == "overlap" => overlap::run(rest),
        Some((chore, rest)) if chore == "plot" => plot::run(rest),
        Some((chore, rest)) if chore == "powercut" => powercut::run(rest),
        Some((chore, rest)) if chore == "scale-out" => scale::run(rest),
        Some((chore, rest)) if chore == "scaling" => scaling::run(rest),
        Some((chore, rest)) if chore == "simulate" => simulate::run(rest),
        _ => Err([
            corpus::USAGE,
            fleet::USAGE,
            instructions::USAGE,
            loaders::USAGE,
            outage::USAGE,
            package::USAGE,
            page::USAGE,
            overlap::USAGE,
            plot::USAGE,
            powercut::USAGE,
            scale::USAGE,
            scaling::USAGE,
            simulate::USAGE,
        ]
        .join("\n\n")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// Where this repository lies.
fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}
