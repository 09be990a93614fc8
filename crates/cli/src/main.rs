//! The command `siding`: small signed patches, applied into an inactive slot, switched in one write.
//!
//! Every verb is a function from its arguments to a [`Reply`] or a [`Failure`];
//! only this file prints the one and exits with the code of the other. `args.rs` is the command line,
//! `offline.rs` works on files, `device.rs` and `change.rs` on a store, `make.rs` (cargo feature `make`) makes patches.

mod agent;
mod args;
mod bench;
mod boot;
mod bytes;
mod change;
mod chunks;
#[cfg(feature = "make")]
mod demo;
mod device;
mod failure;
mod forecast;
mod frugal;
mod health;
mod inspect;
mod keys;
mod load;
#[cfg(feature = "make")]
mod make;
#[cfg(feature = "make")]
mod manual;
mod offline;
mod output;
#[cfg(feature = "make")]
mod plan;
mod progress;
mod project;
#[cfg(feature = "make")]
mod publish;
mod restarts;
mod slots;
mod status;
mod time;

use args::{Args, Verb};
use clap::Parser;
use failure::Failure;
use output::Reply;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return failure::usage(&error),
    };
    // Before any thread is started: a priority is a thread's, and those it starts have it too.
    let modest = args.verb.load().map_or(Ok(()), load::be_modest);
    let done = modest.and_then(|()| pool(args.threads)?.install(|| run(&args)));
    match done.map_err(|failure| failure.naming(args.verb.patch())) {
        Ok(reply) => reply.print(args.json),
        Err(failure) => failure.print(args.json),
    }
}

fn run(args: &Args) -> Result<Reply, Failure> {
    let show = progress::Show::new(args.progress, args.json);
    match &args.verb {
        #[cfg(feature = "make")]
        Verb::Keygen(verb) => make::keygen(verb),
        #[cfg(feature = "make")]
        Verb::Diff(verb) => make::diff(verb, &show),
        #[cfg(feature = "make")]
        Verb::Sign(verb) => make::sign(verb),
        #[cfg(feature = "make")]
        Verb::Publish(verb) => publish::publish(verb, &show, args.json),
        #[cfg(feature = "make")]
        Verb::Demo(_) if args.json => Err(Failure::usage("the demo is a story for people; it has no --json")),
        #[cfg(feature = "make")]
        Verb::Demo(verb) => demo::demo(verb),
        #[cfg(feature = "make")]
        Verb::Manual(verb) => manual::manual(verb),
        Verb::Apply(verb) => offline::apply(verb, &show),
        Verb::Verify(verb) if !verb.slot.is_empty() => slots::verify(verb),
        Verb::Verify(verb) => offline::verify(verb, &show),
        Verb::Inspect(verb) => inspect::inspect(verb),
        Verb::Bench(verb) => bench::bench(verb),
        Verb::Init(verb) => device::init(verb),
        Verb::Install(verb) => match agent::is_release(&verb.what.patch) {
            Some(release) => agent::install(verb, release),
            None => device::install(verb, &show),
        },
        Verb::Plan(verb) => device::plan(&verb.what),
        Verb::Switch(verb) => change::switch(verb),
        Verb::Confirm(verb) => change::confirm(verb),
        Verb::Rollback(verb) => change::rollback(verb),
        Verb::Remove(verb) => change::remove(verb),
        Verb::Boot(verb) => boot::boot(verb),
        Verb::Project(verb) => project::project(verb),
        Verb::Status(verb) => status::status(verb),
        Verb::Log(verb) => status::log(verb),
        Verb::Health(verb) => health::run(verb),
        Verb::Vacuum(verb) => device::vacuum(verb),
        Verb::Agent(verb) => agent::agent(verb, args.json),
        Verb::Check(verb) => agent::check(verb),
        Verb::List(verb) => agent::list(verb),
        Verb::Info(verb) => agent::info(verb),
        Verb::Set(verb) => agent::set(verb),
    }
}

fn pool(threads: Option<u16>) -> Result<rayon::ThreadPool, Failure> {
    // To rayon, 0 means one per core.
    let builder = rayon::ThreadPoolBuilder::new().num_threads(threads.map_or(0, usize::from));
    builder.build().map_err(|e| Failure::failed(format!("cannot start threads: {e}")))
}
