//! Applying: the whole of it without a disk, beside what cannot be avoided, a copy and a digest.
//!
//! Shows how far the applier is from the speed of light on all threads, for programs of both architectures and for
//! made-up pairs that stress one part each.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use siding_benches::Pair;
use siding_image::verity;
use std::time::Duration;

fn apply(c: &mut Criterion) {
    let pairs = [
        Pair::libssl(),
        Pair::libssl_arm64(),
        Pair::sprinkled("sparse-differences", 16 << 20, 997),
        Pair::sprinkled("dense-differences", 4 << 20, 7),
        Pair::scattered("scattered-copies", 4 << 20),
    ];
    for pair in &pairs {
        let mut group = c.benchmark_group(pair.name);
        group.throughput(Throughput::Bytes(pair.new.identity().size));
        group.bench_function("apply", |b| b.iter(|| pair.apply()));
        let mut out = vec![0; pair.target().len()];
        group.bench_function("copy + digest", |b| {
            b.iter(|| {
                out.copy_from_slice(pair.target());
                verity::digest(&out)
            });
        });
        group.finish();
    }
}

fn short() -> Criterion {
    Criterion::default().sample_size(20).measurement_time(Duration::from_secs(2))
}

criterion_group!(name = benches; config = short(); targets = apply);
criterion_main!(benches);
