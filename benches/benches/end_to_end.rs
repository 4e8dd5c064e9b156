//! The pipeline: JPEGs in memory, or strings of 20 characters, to embeddings on the host.

#![allow(missing_docs, clippy::expect_used)] // criterion's macros make public functions; a bench fails by panicking

use chinese_clip::{Limits, Picture};
use chinese_clip_benches::{Setting, devices, jpeg, pipeline, slow_group, sync, text};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rayon::prelude::*;

fn end_to_end(c: &mut Criterion) {
    let setting = Setting::from_environment();
    let (limits, photo) = (Limits::default(), jpeg(640, 480));
    setting.with_checkpoint(|source| {
        for (name, device) in devices() {
            let clip = pipeline(source, &device);
            for &batch in setting.batches {
                let (files, texts) = (vec![&photo; batch], vec![text(20); batch]);
                let mut group = slow_group(c, "jpeg-to-embedding");
                group.throughput(Throughput::Elements(batch as u64));
                group.bench_function(setting.id(batch, &name), |b| {
                    b.iter(|| {
                        let pictures: Result<Vec<_>, _> =
                            files.par_iter().map(|file| Picture::decode(file, &limits)).collect();
                        let embeddings = clip.encode_images(&pictures.expect("JPEGs"));
                        sync(&device);
                        embeddings.expect("embeddings")
                    });
                });
                group.finish();
                let mut group = slow_group(c, "text-to-embedding");
                group.throughput(Throughput::Elements(batch as u64));
                group.bench_function(setting.id(batch, &name), |b| {
                    b.iter(|| {
                        let embeddings = clip.encode_texts(&texts);
                        sync(&device);
                        embeddings.expect("embeddings")
                    });
                });
                group.finish();
            }
        }
    });
}

criterion_group!(benches, end_to_end);
criterion_main!(benches);
