//! Both towers of ViT-B/16 with random weights, on every backend that is compiled in; the device is synchronised inside the
//! timed region.

#![allow(missing_docs)] // criterion's macros make public functions

use chinese_clip::config::{PublishedModel, published};
use chinese_clip::{ChineseClipModel, PixelBatch, TokenBatch, device, devices};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const SIZE: &str = "ViT-B-16";
/// Tokens of a text in `cn_clip`.
const LENGTH: usize = 52;

fn towers(c: &mut Criterion) {
    let Some(config) = published(SIZE).and_then(PublishedModel::config) else { return };
    for info in devices() {
        let Ok(device) = device(&info.name) else { continue };
        let Ok(model) = ChineseClipModel::init(&config, &device).map(ChineseClipModel::prepare) else { continue };
        for batch in [1, 8] {
            let ids: Vec<i64> = (0..batch * LENGTH).map(|i| 670 + (i as i64 * 37) % 6000).collect();
            let size = config.vision_config.image_size;
            let pixels: Vec<f32> = (0..batch * 3 * size * size).map(|i| (i as f32 * 0.01).sin()).collect();
            let texts = TokenBatch::new(&ids, None, [batch, LENGTH], &config.text_config, &device);
            let images = PixelBatch::new(pixels, [batch, 3, size, size], &config.vision_config, &device);
            let (Ok(texts), Ok(images)) = (texts, images) else { continue };
            let mut group = c.benchmark_group("towers");
            group.sample_size(10).throughput(Throughput::Elements(batch as u64));
            group.bench_function(format!("text/{SIZE}/{batch}/{}", info.name), |b| {
                b.iter(|| (model.get_text_features(&texts), device.sync()));
            });
            group.bench_function(format!("image/{SIZE}/{batch}/{}", info.name), |b| {
                b.iter(|| (model.get_image_features(&images), device.sync()));
            });
            group.finish();
        }
    }
}

criterion_group!(benches, towers);
criterion_main!(benches);
