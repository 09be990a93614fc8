//! What `cargo xtask instructions` runs under callgrind, in two processes so that making a patch is not counted.
//!
//! * `counted make DIR` makes the fixed inputs in DIR, and prints for each its name and its target's length;
//! * `counted apply DIR/NAME` carries one out from memory, on one thread, to a sink that forgets.

use siding_benches::{Pair, carry_out, fixed};
use siding_image::Image;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["make", dir] => fixed().iter().try_for_each(|pair| make(pair, &Path::new(dir).join(pair.name))),
        ["apply", dir] => apply(Path::new(dir)),
        _ => Err("counted make DIR, or counted apply DIR/NAME".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

type Result = std::result::Result<(), Box<dyn std::error::Error>>;

fn make(pair: &Pair, dir: &Path) -> Result {
    fs::create_dir(dir)?;
    fs::copy(pair.old.root(), dir.join("old"))?;
    fs::write(dir.join("patch"), &pair.patch)?;
    println!("{}\t{}", pair.name, pair.new.identity().size);
    Ok(())
}

fn apply(dir: &Path) -> Result {
    // On this very thread: handing work to another would be counted, and not always cost the same.
    rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global()?;
    let (patch, old) = (fs::read(dir.join("patch"))?, Image::open(&dir.join("old"))?);
    std::hint::black_box(carry_out(&patch, &old));
    Ok(())
}
