//! What can happen to a store in a story, and the images it happens with.

use crate::disk::{Access, Attribute, Disk};
use crate::log::LogEntry;
use crate::sim::SimDisk;
use crate::store::Freed;
use crate::{Booted, Error, Places, REBOOT, Result, Slot, Store, Target, TrialTerms};
use siding_image::{Checkpoint, Component, Content, Digest, FileRef, Image, Sink, verity};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the store lies.
pub(super) const ROOT: &str = "/data/store";
/// The time at which everything happens.
pub(super) const NOW: u64 = 1_772_355_900;
/// A deadline for trials, and a time after it.
const DEADLINE: u64 = NOW + 100;

/// One thing that happens, from opening the store to dropping it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Create,
    /// The image becomes the component's base.
    Init(&'static str, &'static str),
    /// The image becomes the component's base, in place of the one before and of what was patched on that.
    Supersede(&'static str, &'static str),
    /// The image, which lies on device `a` already, is in use, and device `b` is the other slot.
    InitPlaces(&'static str, &'static str),
    /// The image is staged and sealed, going on with what is there.
    Stage(&'static str, &'static str),
    /// As far as half of its bytes, with a checkpoint.
    HalfStage(&'static str, &'static str),
    /// What is ready, on trial with so many tries or for good.
    Switch(&'static [&'static str], Option<u32>),
    Boot,
    /// A boot by a loader that says it started slot `a` of the component, as it was told.
    BootA(&'static str),
    Confirm(&'static [&'static str]),
    Rollback(&'static str),
    Ill(&'static str),
    Late,
    Remove(&'static str),
    Lift(&'static str, &'static str),
    Condemn(&'static str, Slot),
    Vacuum,
}

/// The stories that are told.
pub(super) fn stories() -> Vec<(&'static str, Vec<Act>)> {
    use Act::*;
    vec![
        (
            "two components switch together, are confirmed, and one falls back",
            vec![
                Create,
                Init("c", "1"),
                Init("t", "1"),
                Stage("c", "1 (a)"),
                Stage("t", "1 (a)"),
                Switch(&["c", "t"], Some(2)),
                Boot,
                Confirm(&["c", "t"]),
                Stage("c", "1 (b)"),
                Switch(&["c"], Some(1)),
                Boot,
                Boot,
                Vacuum,
            ],
        ),
        (
            "a stage is interrupted, gone on with, given up, removed, installed again and rolled back",
            vec![
                Create,
                Init("t", "1"),
                HalfStage("t", "1 (a)"),
                Stage("t", "1 (a)"),
                HalfStage("t", "1 (b)"),
                Switch(&["t"], None),
                Vacuum,
                Remove("t"),
                Switch(&["t"], Some(3)),
                Rollback("t"),
                Lift("t", "1 (a)"),
                Switch(&["t"], None),
            ],
        ),
        (
            "health checks, deadlines and boot loaders end trials",
            vec![
                Create,
                Init("c", "1"),
                Stage("c", "1 (a)"),
                Switch(&["c"], Some(3)),
                Ill("c"),
                Stage("c", "1 (b)"),
                Switch(&["c"], Some(3)),
                Ill("c"),
                BootA("c"),
                Stage("c", "1 (c)"),
                Switch(&["c"], Some(3)),
                Late,
                Condemn("c", Slot::A),
                Condemn("c", Slot::B),
            ],
        ),
        (
            "two devices without a base take turns",
            vec![
                Create,
                InitPlaces("c", "1"),
                HalfStage("c", "1 (a)"),
                Stage("c", "1 (a)"),
                Switch(&["c"], Some(2)),
                Boot,
                Confirm(&["c"]),
                HalfStage("c", "1 (b)"),
                Stage("c", "1 (b)"),
                Switch(&["c"], Some(1)),
                Boot,
                Boot,
                Stage("c", "1 (c)"),
                Switch(&["c"], None),
                Rollback("c"),
            ],
        ),
        (
            "a base is superseded with a patch in use, with one being staged, and with one on trial",
            vec![
                Create,
                Init("c", "1"),
                Stage("c", "1 (a)"),
                Switch(&["c"], None),
                Supersede("c", "2"),
                HalfStage("c", "2 (a)"),
                Supersede("c", "3"),
                Stage("c", "2 (a)"),
                Switch(&["c"], Some(2)),
                Boot,
                Supersede("c", "2"),
                Init("t", "1"),
                Stage("t", "1 (a)"),
                Switch(&["t"], Some(1)),
                Supersede("t", "2"),
                Boot,
            ],
        ),
    ]
}

/// An image that lies on the simulated disk beside the store, for acts to take.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    path: PathBuf,
    content: Content,
}

/// A disk with the images on it, flushed, and the directory that the store will be in.
pub(super) fn disk() -> SimDisk {
    let disk = SimDisk::new();
    disk.make_directory(Path::new("/data"), 0o755).unwrap();
    disk.make_directory(Path::new("/pictures"), 0o755).unwrap();
    for (number, version) in (1_u8..).zip(["1", "1 (a)", "1 (b)", "1 (c)", "2", "2 (a)", "3"]) {
        let file = |path: &Path, len: usize, seed: u8| {
            let bytes: Vec<u8> =
                (0..len).map(|at| (at as u8).wrapping_mul(31) ^ seed ^ (at >> 8) as u8).collect();
            let file = disk.open(path, Access::New(0o644)).unwrap();
            file.write_at(0, &bytes).unwrap();
        };
        file(&path("c", version), 700 + 300 * usize::from(number), number);
        let tree = path("t", version);
        disk.make_directory(&tree, 0o755).unwrap();
        disk.make_directory(&tree.join("lib"), 0o755).unwrap();
        file(&tree.join("lib/changed"), 600 + usize::from(number), number);
        file(&tree.join("lib/kept"), 100, 99);
        disk.make_symlink(Path::new("lib/changed"), &tree.join("link")).unwrap();
        disk.set(&tree.join("lib/kept"), Attribute::Mode(0o444)).unwrap();
        for part in ["", "lib", "lib/changed", "lib/kept", "link"] {
            disk.set(&tree.join(part), Attribute::Modified(1_000_000, 0)).unwrap();
        }
    }
    disk.make_directory(Path::new("/dev"), 0o755).unwrap();
    for device in ["/dev/a", "/dev/b"] {
        disk.make_device(Path::new(device), 4096).unwrap();
    }
    let first = disk.read(&path("c", "1")).unwrap();
    disk.open(Path::new("/dev/a"), Access::Existing).unwrap().write_at(0, &first).unwrap();
    disk.open(Path::new("/"), Access::Directory).unwrap().flush_filesystem().unwrap();
    disk
}

fn path(component: &str, version: &str) -> PathBuf {
    Path::new("/pictures").join(format!("{component} {version}"))
}

/// The image of a component and version. An error only where the power went meanwhile, which a link or the log may have
/// met, and no verb have told.
fn picture(disk: &dyn Disk, component: &str, version: &str) -> crate::Result<Picture> {
    let path = path(component, version);
    let io = |e| crate::Error::io("look at", &path, e);
    let content = match disk.look(&path).map_err(io)?.is_directory() {
        true => Content::Tree(disk.scan(&path)?),
        false => {
            let bytes = disk.read(&path).map_err(io)?;
            Content::File(FileRef { size: bytes.len() as u64, digest: verity::digest(&bytes) })
        }
    };
    Ok(Picture { path, content })
}

impl Picture {
    fn image(&self) -> Image {
        Image::assume(&self.path, self.content.clone())
    }

    fn target(&self, version: &str) -> Target {
        let epoch = epoch(version);
        // Of the second supplement a patch says that to leave it takes a reboot.
        let restart = if version == "1 (b)" { vec![REBOOT.to_owned()] } else { vec![] };
        let patch = Some(Digest::of(version.as_bytes()));
        let identity = self.content.identity();
        Target { restart, patch, ..Target::new(version.parse().unwrap(), identity, epoch) }
    }
}

/// That of a base is below those of its supplements. What comes after the first base is above all that came before.
pub(super) fn epoch(version: &str) -> u64 {
    let later = if version.starts_with('1') { 0 } else { 10 };
    version.len() as u64 + later
}

pub(super) fn name(component: &str) -> Component {
    component.parse().unwrap()
}

fn names(set: &[&str]) -> Vec<Component> {
    set.iter().map(|component| name(component)).collect()
}

/// Opens the store, does the act, and drops it.
pub(super) fn perform(disk: &Arc<dyn Disk>, act: Act) -> Result<Vec<LogEntry>> {
    let root = Path::new(ROOT);
    if act == Act::Create {
        return Store::create_on(disk.clone(), root).map(|_| vec![]);
    }
    let mut store = Store::open_on(disk.clone(), root)?;
    let done = match act {
        Act::Create => Ok(vec![]),
        Act::Init(component, version) => init(&mut store, component, version),
        Act::Supersede(component, version) => supersede(&mut store, component, version),
        Act::InitPlaces(component, version) => {
            let image = picture(disk.as_ref(), component, version)?.image();
            let places = Places { a: "/dev/a".into(), b: "/dev/b".into() };
            store.init_places_from(
                &name(component),
                &version.parse().unwrap(),
                1,
                &places,
                Slot::A,
                &image,
                NOW,
            )
        }
        Act::Stage(component, version) => {
            stage(&mut store, component, version, usize::MAX, NOW).map(|()| vec![])
        }
        Act::HalfStage(component, version) => {
            stage(&mut store, component, version, 512, NOW).map(|()| vec![])
        }
        Act::Switch(set, tries) => {
            let terms = tries.map(|tries| TrialTerms { tries, deadline: Some(DEADLINE) });
            store.switch(&names(set), terms, NOW)
        }
        Act::Boot => store.boot(NOW),
        Act::BootA(component) => {
            let booted = Booted { slot: Some(Slot::A), tries_left: Some(1), turn: None };
            store.boot_with(&BTreeMap::from([(name(component), booted)]), NOW)
        }
        Act::Confirm(set) => store.confirm(&names(set), NOW),
        Act::Rollback(component) => store.rollback(&names(&[component]), "it is bad", NOW),
        Act::Ill(component) => store.health_failed(&names(&[component]), "a check failed", NOW),
        Act::Late => store.deadline(DEADLINE),
        Act::Remove(component) => store.remove(&names(&[component]), NOW),
        Act::Lift(component, version) => {
            let digest = picture(disk.as_ref(), component, version)?.content.identity().digest;
            store.lift(&name(component), &digest, NOW)
        }
        Act::Condemn(component, slot) => store.condemn(&name(component), slot, "it rotted", NOW),
        Act::Vacuum => store.vacuum(NOW).and_then(Freed::all).map(|freed| freed.entries),
    };
    done.and_then(|entries| store.flush_current().map(|()| entries))
}

pub(super) fn init(store: &mut Store, component: &str, version: &str) -> Result<Vec<LogEntry>> {
    let image = picture(store.disk.as_ref(), component, version)?.image();
    store.init_from(&name(component), &version.parse().unwrap(), 1, &image, NOW)
}

pub(super) fn supersede(store: &mut Store, component: &str, version: &str) -> Result<Vec<LogEntry>> {
    let picture = picture(store.disk.as_ref(), component, version)?;
    let target = Target { patch: None, ..picture.target(version) };
    store.supersede_from(&name(component), &target, &picture.image(), false, NOW)
}

/// What the agent and the applier do, but for the patch: up to `most` bytes, and the seal if that is all of them.
pub(super) fn stage(store: &mut Store, component: &str, version: &str, most: usize, now: u64) -> Result<()> {
    let picture = picture(store.disk.as_ref(), component, version)?;
    let held = store.state().require(&name(component))?;
    let from = if held.places.is_some() { held.active } else { Slot::Base };
    let source = store.image(&name(component), from)?;
    let target = Target { source: Some(source.identity()), ..picture.target(version) };
    let image = picture.image();
    let fresh: Vec<_> =
        image.blobs().iter().filter(|blob| source.blob(&blob.content.digest).is_none()).collect();
    let read = |path: &Path| store.disk.read(path).unwrap();
    let bytes: Vec<Vec<u8>> = fresh.iter().map(|blob| read(blob.path())).collect();
    let contents: Vec<FileRef> = fresh.iter().map(|blob| blob.content).collect();
    let mut staging = store.stage(&name(component), &target, false, now)?;
    let io = |e| Error::io("write", Path::new(component), e);
    staging.begin(&picture.content, &contents).map_err(io)?;
    let all: Vec<(usize, u64, &[u8])> = (0..)
        .zip(&bytes)
        .flat_map(|(blob, bytes)| (0..).zip(bytes.chunks(512)).map(move |(n, part)| (blob, n * 512, part)))
        .collect();
    let there = believed(&mut staging, &all).map_err(io)?;
    let mut written = all.iter().take(there).map(|(.., part)| part.len()).sum::<usize>();
    for (blob, offset, part) in all.iter().skip(there) {
        if written >= most {
            return Ok(());
        }
        staging.write_at(*blob, *offset, part).map_err(io)?;
        written += part.len();
        let done = Checkpoint { chunks: 0, written: written as u64, digest: Digest([0; 32]) };
        staging.checkpoint(&done).map_err(io)?;
    }
    staging.seal(Some(&source)).map(drop)
}

/// How many parts are there of an earlier attempt, having been read back and compared.
fn believed(staging: &mut impl Sink, all: &[(usize, u64, &[u8])]) -> std::io::Result<usize> {
    let claimed = staging.checkpoints().iter().map(|claim| claim.written).max().unwrap_or(0);
    let (mut there, mut written) = (0, 0);
    for (blob, offset, part) in all {
        let mut got = vec![0; part.len()];
        written += part.len() as u64;
        if written > claimed || staging.read_at(*blob, *offset, &mut got).is_err() || got != *part {
            break;
        }
        there += 1;
    }
    let (blob, offset) = all.get(there).map_or((all.len(), 0), |(blob, offset, _)| (*blob, *offset));
    staging.forget_from(blob, offset)?;
    Ok(there)
}
