//! What the work may take of the machine: memory, priority, writes a second.

use crate::args::LoadArgs;
use crate::failure::Failure;
use siding_apply::{Apply, Progress, Report, Sink, Throttle};
use siding_image::{Image, Kind};
use siding_patch::Checked;
use std::io::Read;
use std::path::Path;

/// Keeps to what was asked for as far as that is the whole process's: before any thread is started.
pub(crate) fn be_modest(args: &LoadArgs) -> Result<(), Failure> {
    if args.memory < siding_apply::MEMORY {
        crate::frugal::be_frugal();
    }
    be_nice(args)
}

/// Threads started from here on get the lowest priority for the processor, and the disk's idle class, if that was asked for.
fn be_nice(args: &LoadArgs) -> Result<(), Failure> {
    const LOWEST: i32 = 19;
    if !args.nice {
        return Ok(());
    }
    let done = rustix::process::setpriority_process(None, LOWEST).map_err(std::io::Error::from);
    let done = done.and_then(|()| crate::frugal::be_idle());
    done.map_err(|e| Failure::failed(format!("cannot lower the priority: {e}")))
}

/// Opens and checks the source, and reads the patch's beginning meanwhile.
pub(crate) fn prepare<R: Read + Send>(
    args: &LoadArgs,
    patch: Checked<R>,
    source: &Path,
) -> Result<(Image, Apply<R>), Failure> {
    let kind = patch.manifest().source.identity.kind;
    let (image, apply) = rayon::join(|| open_source(source, kind), || Apply::prepare(patch, args.memory));
    Ok((image?, apply?))
}

/// Opens what a patch starts from; /dev/null is nothing, of whatever kind.
pub(crate) fn open_source(path: &Path, kind: Kind) -> Result<Image, siding_image::Error> {
    if is_nothing(path) { Ok(Image::nothing(kind)) } else { Image::open(path) }
}

/// Whether a path stands for nothing.
pub(crate) fn is_nothing(path: &Path) -> bool {
    path == Path::new("/dev/null")
}

/// Carries a patch out within what is allowed.
pub(crate) fn run<R: Read + Send>(
    args: &LoadArgs,
    apply: Apply<R>,
    source: &Image,
    sink: &mut impl Sink,
    progress: &mut dyn Progress,
) -> Result<Report, Failure> {
    Ok(apply.run(source, &mut Throttle::new(sink, args.rate), progress)?)
}
