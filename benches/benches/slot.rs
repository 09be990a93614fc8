//! What a device does after the bytes are made: seal (flush, read back, compare) and switch.
//!
//! Measured on the directory for temporary files, flushes included, so the medium has its say: compare runs of one
//! machine only. *switch* is the moment that must be short: one record write and one flush, whatever the image's size.

use criterion::{Criterion, criterion_group, criterion_main};
use siding_benches::{Pair, noise};
use siding_image::{Content, FileRef, Image, Sink, verity};
use siding_patch::{Limits, Trust};
use siding_slot::{Builder, Sealed, Store, Target};
use std::path::Path;
use std::time::{Duration, Instant};

const NOW: u64 = 1_700_000_000;

fn seal(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let out = dir.path().join("out");
    let mut group = c.benchmark_group("seal");
    for pair in [Pair::sparse(4 << 20), Pair::tiny_files(2_000)] {
        group.bench_function(pair.name, |b| {
            b.iter_custom(|times| (0..times).map(|_| seal_once(&pair, &out)).sum::<Duration>());
        });
    }
    group.finish();
}

/// How long the sealing takes, without the apply before it.
fn seal_once(pair: &Pair, out: &Path) -> Duration {
    siding_slot::discard(out).expect("it is ours");
    let mut builder = Builder::create(out).expect("nothing is there");
    let patch = siding_patch::open(&pair.patch[..], &Trust::anyone(), &Limits::default()).expect("ours");
    siding_apply::run(patch, &pair.old, &mut builder, siding_apply::MEMORY, &mut siding_apply::NoProgress)
        .expect("it applies");
    let start = Instant::now();
    builder.finish(Some(&pair.old)).expect("it is what it should be");
    start.elapsed()
}

fn switch(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(dir.path().join("base"), noise(1 << 20)).expect("room");
    let component = "bench".parse().expect("a name");
    let mut store = Store::create(&dir.path().join("store")).expect("a store");
    store
        .init(&component, &"1".parse().expect("a version"), 1, &dir.path().join("base"), NOW)
        .expect("a new component");
    let mut group = c.benchmark_group("slot");
    let mut turn = 0u8;
    let mut next = || {
        turn ^= 1;
        turn
    };
    group.bench_function("stage + seal + switch, 64 KiB", |b| {
        b.iter(|| staged(&mut store, next()).switch(None, NOW).expect("it is sealed"));
    });
    group.bench_function("switch", |b| {
        b.iter_custom(|times| {
            let once = |turn: u8, store: &mut Store| {
                let sealed = staged(store, turn);
                let start = Instant::now();
                sealed.switch(None, NOW).expect("it is sealed");
                start.elapsed()
            };
            (0..times).map(|_| once(next(), &mut store)).sum::<Duration>()
        });
    });
    group.bench_function("boot, nothing on trial", |b| b.iter(|| store.boot(NOW).expect("a store")));
    drop(store);
    group.bench_function("open", |b| b.iter(|| Store::open(&dir.path().join("store")).expect("a store")));
    group.finish();
    unlock(dir.path());
}

/// One of two images in the slot that is not active, sealed.
fn staged(store: &mut Store, turn: u8) -> Sealed<'_> {
    let bytes = vec![turn + 1; 64 << 10];
    let file = FileRef { size: bytes.len() as u64, digest: verity::digest(&bytes) };
    let content = Content::File(file);
    let version = format!("1 ({})", if turn == 0 { 'a' } else { 'b' }).parse().expect("a version");
    let target = Target::new(version, content.identity(), 1);
    let mut staging =
        store.stage(&"bench".parse().expect("a name"), &target, false, NOW).expect("a free slot");
    staging.begin(&content, &[file]).expect("room");
    staging.write_at(0, 0, &bytes).expect("room");
    staging.seal(None::<&Image>).expect("it is what it should be")
}

/// Sealed slots forbid their own removal.
fn unlock(dir: &Path) {
    siding_slot::discard(&dir.join("store")).expect("it is ours");
}

fn short() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group!(name = benches; config = short(); targets = seal, switch);
criterion_main!(benches);
