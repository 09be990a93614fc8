//! Predicting references: finding them, and rewriting what is copied.
//!
//! * *find code*, *find all*: the finders over a library's machine code, and over all its regions;
//! * *copy long*: windows as long as a tile, as where code only moved;
//! * *copy short*: windows of 48 bytes, as where a new version was compiled anew. Each pays for the sweep that begins
//!   before it, so what it takes above *copy long* is the price of a short copy.
//!
//! Rates count the bytes in which references are looked for. All on one thread.

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use siding_apply::TILE;
use siding_benches::Pair;
use siding_image::Image;
use siding_predict::{Model, Place, Region};
use std::time::Duration;

fn predict(c: &mut Criterion) {
    for pair in [Pair::libssl(), Pair::libssl_arm64()] {
        let model = pair.model().expect("a library's references are predicted");
        let code = model.regions().iter().filter(|region| region.kind.is_code());
        let code = *code.max_by_key(|region| region.len).expect("a library has code");
        let mut group = c.benchmark_group(format!("predict {}", pair.name));
        group.throughput(Throughput::Bytes(code.len));
        group.bench_function("find code", |b| b.iter(|| find(&pair.old, &model, &code)));
        copy(&mut group, &pair.old, &model, &code);
        group.throughput(Throughput::Bytes(model.regions().iter().map(|region| region.len).sum()));
        group.bench_function("find all", |b| {
            b.iter(|| model.regions().iter().map(|region| find(&pair.old, &model, region)).sum::<usize>());
        });
        group.finish();
    }
}

fn copy(group: &mut BenchmarkGroup<'_, WallTime>, old: &Image, model: &Model, code: &Region) {
    let bytes = bytes_of(old, code);
    for (name, window) in [("copy long", TILE), ("copy short", 48)] {
        let mut out = vec![0; bytes.len()];
        group.bench_function(name, |b| {
            b.iter(|| {
                out.copy_from_slice(bytes);
                for (number, part) in out.chunks_mut(window).enumerate() {
                    let from = code.start + (number * window) as u64;
                    model.predict_copy(from, from, part, |region| Some(bytes_of(old, region)));
                }
            });
        });
    }
}

/// How many references a region has.
fn find(old: &Image, model: &Model, region: &Region) -> usize {
    let (bytes, spans) = (bytes_of(old, region), model.spans_of(region.address));
    let place = Place { bytes, address: region.address, link: region.link, spans };
    let mut found = 0;
    region.kind.find(&place, 0..bytes.len(), &mut |_, _| found += 1);
    found
}

fn bytes_of<'a>(old: &'a Image, region: &Region) -> &'a [u8] {
    old.slice(region.start, region.len).ok().flatten().expect("a region is in one file")
}

fn short() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1))
}

criterion_group!(name = benches; config = short(); targets = predict);
criterion_main!(benches);
