//! The core of applying on one thread, part by part, without I/O.
//!
//! * *build*: tiles are gathered, adjusted and hashed; as the applier's own clock counts them;
//! * *hash*: the leaf digests alone, which no change of the core can save;
//! * *walk*: the instructions are read, as the plan of a chunk does before its tiles are built;
//! * *decode*: the streams are unpacked.
//!
//! What `build` takes above `hash` is what the core itself costs.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use siding_apply::{Stage, TILE};
use siding_benches::{Pair, one_thread};
use siding_image::verity;
use siding_patch::{Error, Step, Stored, Streams, Walker};
use std::time::Duration;

fn chunk(c: &mut Criterion) {
    let thread = one_thread();
    let pairs = [
        Pair::libssl(),
        Pair::libssl_arm64(),
        Pair::sparse(4 << 20),
        Pair::scattered_copies(1 << 20),
        Pair::all_literal(4 << 20),
    ];
    for pair in &pairs {
        let mut group = c.benchmark_group(format!("chunk {}", pair.name));
        group.throughput(Throughput::Bytes(pair.new.identity().size));
        group.bench_function("build", |b| {
            b.iter_custom(|times| {
                let once = || thread.install(|| pair.apply()).clock.spent(Stage::Build);
                (0..times).map(|_| once()).sum::<Duration>()
            });
        });
        group.bench_function("hash", |b| {
            b.iter(|| pair.target().chunks(TILE).map(|tile| verity::leaves(tile).len()).sum::<usize>());
        });
        let deltas = pair.deltas();
        let decoded: Vec<Streams> = thread.install(|| deltas.iter().map(decode).collect());
        group.bench_function("walk", |b| b.iter(|| walk(&deltas, &decoded)));
        group.bench_function("decode", |b| {
            b.iter(|| thread.install(|| deltas.iter().map(decode).collect::<Vec<_>>()));
        });
        group.finish();
    }
}

fn decode(stored: &Stored) -> Streams {
    stored.decode(|_| Err(Error::Unsigned)).expect("no pair here has a history")
}

/// Walks all chunks in steps of a tile; the number of steps.
fn walk(deltas: &[Stored], decoded: &[Streams]) -> u64 {
    let (mut start, mut steps) = (0, 0);
    for (stored, streams) in deltas.iter().zip(decoded) {
        let len = stored.chunk().target;
        let mut walker = Walker::new(streams, start, len).expect("a chunk that applies");
        while let Some(step) = walker.step(TILE).expect("a chunk that applies") {
            if let Step::Copy { len, .. } = step {
                walker.skip_adjust(len).expect("a chunk that applies");
            }
            steps += 1;
        }
        start += len;
    }
    steps
}

fn short() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1))
}

criterion_group!(name = benches; config = short(); targets = chunk);
criterion_main!(benches);
