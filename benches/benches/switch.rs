//! What a switch costs beside the least that a durable change can cost: one overwrite of 4 KiB and one `fdatasync`.
//!
//! `cargo bench -p siding-benches --bench switch [-- DIR]` runs both by turns, 200 times each, on the filesystem of DIR
//! (or of the directory for temporary files), and prints medians and ratios: for a switch of one
//! component, and of ten at once.

use siding_image::{Component, Content, FileRef, Sink, verity};
use siding_slot::{Slot, Store, Target};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const NOW: u64 = 1_700_000_000;
const RUNS: usize = 200;

fn main() {
    let given = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let at = given.map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(at).expect("a directory that can be written");
    let bare = bare(dir.path());
    for components in [1, 10] {
        let (mut store, set) = store(&dir.path().join(format!("store-{components}")), components);
        let (mut plain, mut switched) = (vec![], vec![]);
        for run in 0..RUNS {
            plain.push(timed(|| overwrite(&bare, run)));
            let slot = if run.is_multiple_of(2) { Slot::A } else { Slot::B };
            let to: Vec<(Component, Slot)> = set.iter().map(|name| (name.clone(), slot)).collect();
            switched.push(timed(|| drop(store.switch_to(&to, None, NOW).expect("both are sealed"))));
        }
        let (plain, switched) = (median(plain), median(switched));
        println!(
            "{components:2} components: overwrite + fdatasync {:.3} ms, switch {:.3} ms, ratio {:.2}",
            plain.as_secs_f64() * 1e3,
            switched.as_secs_f64() * 1e3,
            switched.as_secs_f64() / plain.as_secs_f64()
        );
    }
}

/// A file of two blocks that are there.
fn bare(dir: &Path) -> File {
    let file =
        OpenOptions::new().read(true).write(true).create_new(true).open(dir.join("bare")).expect("room");
    file.write_all_at(&[0; 1 << 19], 0).and_then(|()| file.sync_all()).expect("room");
    file
}

fn overwrite(file: &File, run: usize) {
    let block = [run as u8; 4096];
    let offset = if run.is_multiple_of(2) { 0 } else { 1 << 18 };
    file.write_all_at(&block, offset).and_then(|()| file.sync_data()).expect("a disk that works");
}

/// A store of components that have an image in each slot.
fn store(root: &Path, components: usize) -> (Store, Vec<Component>) {
    let mut store = Store::create(root).expect("a store");
    let base = root.join("first");
    std::fs::write(&base, b"base").expect("room");
    let set: Vec<Component> = (0..components).map(|n| format!("c{n}").parse().expect("a name")).collect();
    for name in &set {
        store.init(name, &"1".parse().expect("a version"), 1, &base, NOW).expect("a new component");
        for (version, slot) in [("1 (a)", Slot::A), ("1 (b)", Slot::B)] {
            let bytes = version.as_bytes();
            let file = FileRef { size: bytes.len() as u64, digest: verity::digest(bytes) };
            let content = Content::File(file);
            let target = Target::new(version.parse().expect("a version"), content.identity(), 1);
            let mut staging = store.stage(name, &target, false, NOW).expect("admitted");
            staging.begin(&content, &[file]).and_then(|()| staging.write_at(0, 0, bytes)).expect("room");
            assert_eq!(staging.seal(None).expect("it is right").slot(), slot);
        }
    }
    (store, set)
}

fn timed(what: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    what();
    begun.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
