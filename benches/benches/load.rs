//! From a checkpoint's directory to a model that is ready. The file is in the page cache.

#![allow(missing_docs, clippy::expect_used)] // criterion's macros make public functions; a bench fails by panicking

use chinese_clip_benches::{Setting, devices, pipeline, slow_group, sync};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn load(c: &mut Criterion) {
    let setting = Setting::from_environment();
    setting.with_checkpoint(|source| {
        let mut group = slow_group(c, "load");
        group.throughput(Throughput::Elements(1));
        for (name, device) in devices() {
            group.bench_function(setting.id(1, &name), |b| {
                b.iter_with_large_drop(|| {
                    let clip = pipeline(source, &device);
                    sync(&device);
                    clip
                });
            });
        }
        group.finish();
    });
}

criterion_group!(benches, load);
criterion_main!(benches);
