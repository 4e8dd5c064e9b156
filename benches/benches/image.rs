//! The image tower with random weights: pixels on the device to features on the device.

#![allow(missing_docs, clippy::expect_used)] // criterion's macros make public functions; a bench fails by panicking

use chinese_clip::{PixelBatch, PreparedModel};
use chinese_clip_benches::{Setting, devices, pixels, slow_group, sync};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn image(c: &mut Criterion) {
    let setting = Setting::from_environment();
    let (config, size) = (&setting.config.vision_config, setting.config.vision_config.image_size);
    let mut group = slow_group(c, "image");
    for (name, device) in devices() {
        let model = PreparedModel::init(&setting.config, &device).expect("a model");
        for &batch in setting.batches {
            let images = PixelBatch::new(pixels(batch, size), [batch, 3, size, size], config, &device);
            let images = images.expect("a batch");
            group.throughput(Throughput::Elements(batch as u64));
            group.bench_function(setting.id(batch, &name), |b| {
                b.iter(|| {
                    let features = model.get_image_features(&images);
                    sync(&device);
                    features
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, image);
criterion_main!(benches);
