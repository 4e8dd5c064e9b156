//! As many texts as images, all pairs: on the host from unit vectors, as the pipeline does, and on devices from features.

#![allow(missing_docs, clippy::expect_used)] // criterion's macros make public functions; a bench fails by panicking

use chinese_clip::{ChineseClip, DEMO, Embeddings, ModelOutput, Tensor, TensorData, device};
use chinese_clip_benches::{HOST, Setting, devices, slow_group, sync};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Features of `rows` inputs.
fn features(rows: usize, width: usize) -> Vec<f32> {
    (0..rows * width).map(|i| (i as f32 * 0.7).sin() + 0.1).collect()
}

fn similarity(c: &mut Criterion) {
    let setting = Setting::from_environment();
    let width = setting.config.projection_dim;
    let mut group = slow_group(c, "similarity");
    let clip = ChineseClip::from_pretrained(DEMO, &device("flex").expect("flex")).expect("the embedded model");
    for &batch in setting.batches {
        let unit = || Embeddings::new(features(batch, width), width).into_unit().expect("no zeros");
        let (images, texts) = (unit(), unit());
        group.throughput(Throughput::Elements((batch * batch) as u64));
        group.bench_function(setting.id(batch, HOST), |b| b.iter(|| clip.compare(&images, &texts)));
    }
    for (name, device) in devices() {
        for &batch in setting.batches {
            let on_device = || Tensor::<2>::from_data(TensorData::new(features(batch, width), [batch, width]), &device);
            let (images, texts) = (on_device(), on_device());
            let scale = Tensor::<1>::from_data([2.659_f32], &device);
            group.throughput(Throughput::Elements((batch * batch) as u64));
            group.bench_function(setting.id(batch, &name), |b| {
                b.iter(|| {
                    let output = ModelOutput::new(&texts, &images, scale.clone());
                    sync(&device);
                    output
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, similarity);
criterion_main!(benches);
