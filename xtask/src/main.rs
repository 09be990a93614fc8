//! Chores of this project, run as `cargo xtask CHORE`. Nothing here is part of the product.
//!
//! The only chore so far measures whole `siding` processes, and other tools beside them, on real pairs of
//! versions: see [`corpus`].

mod compare;
mod corpus;
mod machine;
mod measure;
mod report;
mod tools;

use std::process::ExitCode;

/// What went wrong, in words for the person who runs the chore.
type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.split_first() {
        Some((chore, rest)) if chore == "corpus" => corpus::run(rest),
        _ => Err(corpus::USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
