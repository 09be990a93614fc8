//! Power cuts and failures on real media: the real binary, real filesystems, a real boot loader.
//!
//! * [`medium`] records what a real filesystem writes to its medium, and checks what every cut could leave;
//! * [`syscalls`] kills the binary, or fails its input and output, at every system call of each verb;
//! * [`vm`] pulls the plug of a virtual machine that boots through GRUB, at random moments.
//!
//! The first two share what is below: [`lab`] finds what the machine has and leaves nothing behind, [`workshop`]
//! makes images and patches, [`tale`] derives from a log what a status must say, [`device`] looks at a store.
//!
//! What they found is in `docs/safety.md`.

mod device;
mod lab;
mod medium;
mod options;
mod syscalls;
mod tale;
mod vm;
mod workshop;

use crate::Result;

pub(crate) const USAGE: &str = "\
cargo xtask powercut medium|syscalls|vm …
  what a power cut or a failing disk does to the real binary; each says its options with --help";

pub(crate) fn run(args: &[String]) -> Result<()> {
    match args.split_first() {
        Some((kind, rest)) if kind == "medium" => medium::run(rest),
        Some((kind, rest)) if kind == "syscalls" => syscalls::run(rest),
        Some((kind, rest)) if kind == "vm" => vm::run(rest),
        _ => Err(USAGE.to_owned()),
    }
}
