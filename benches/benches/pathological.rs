//! The worst that a device may be sent, applied without a disk on all threads.
//!
//! Beside `apply`'s rates for ordinary patches these show that no well-formed patch makes the applier crawl: work
//! stays in proportion to the patch and the target, whatever the instructions.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use siding_benches::Pair;
use std::time::Duration;

fn pathological(c: &mut Criterion) {
    let pairs = [
        Pair::alternating(1 << 20),
        Pair::backward(1 << 20),
        Pair::scattered_copies(1 << 20),
        Pair::all_literal(4 << 20),
        Pair::sprinkled("every-second-byte-differs", 1 << 20, 2),
        Pair::tiny_files(2_000),
    ];
    let mut group = c.benchmark_group("pathological");
    for pair in &pairs {
        group.throughput(Throughput::Bytes(pair.new.identity().size));
        group.bench_function(pair.name, |b| b.iter(|| pair.apply()));
    }
    group.finish();
}

fn short() -> Criterion {
    Criterion::default().sample_size(20).measurement_time(Duration::from_secs(2))
}

criterion_group!(name = benches; config = short(); targets = pathological);
criterion_main!(benches);
