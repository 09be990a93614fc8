//! Applying: the whole of it without a disk, beside what cannot be avoided, a copy and a digest.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use siding_benches::Pair;
use siding_image::verity;

fn apply(c: &mut Criterion) {
    let pairs = [
        Pair::libssl(),
        Pair::sprinkled("sparse-differences", 16 << 20, 997),
        Pair::sprinkled("dense-differences", 4 << 20, 7),
        Pair::scattered("scattered-copies", 4 << 20),
    ];
    for pair in &pairs {
        let mut group = c.benchmark_group(pair.name);
        group.throughput(Throughput::Bytes(pair.new.identity().size));
        group.bench_function("apply", |b| b.iter(|| pair.apply()));
        let new = pair.new.blobs()[0].bytes().expect("the new image");
        let mut out = vec![0; new.len()];
        group.bench_function("copy + digest", |b| {
            b.iter(|| {
                out.copy_from_slice(new);
                verity::digest(&out)
            });
        });
        group.finish();
    }
}

criterion_group!(benches, apply);
criterion_main!(benches);
