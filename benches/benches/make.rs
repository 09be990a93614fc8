//! Making a patch, beside the bsdiff crate on the same pair: what each level costs a build farm.

use criterion::{Criterion, criterion_group, criterion_main};
use siding_benches::Pair;
use siding_diff::Level;

fn make(c: &mut Criterion) {
    let pair = Pair::libssl();
    let mut group = c.benchmark_group("make libssl");
    group.sample_size(10);
    for (name, level) in [("fast", Level::Fast), ("default", Level::Default), ("best", Level::Best)] {
        group.bench_function(name, |b| {
            b.iter(|| siding_diff::make(&pair.old, &pair.new, level, &|_, _, _| {}));
        });
    }
    let bytes = |image: &siding_image::Image| image.blobs()[0].bytes().expect("the image").to_vec();
    let (old, new) = (bytes(&pair.old), bytes(&pair.new));
    group.bench_function("bsdiff, not packed", |b| b.iter(|| bsdiff::diff(&old, &new, &mut Vec::new())));
    group.finish();
}

criterion_group!(benches, make);
criterion_main!(benches);
