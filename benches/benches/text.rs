//! The text tower with random weights: ids on the device to features on the device. Texts are padded to 52 tokens.

#![allow(missing_docs, clippy::expect_used)] // criterion's macros make public functions; a bench fails by panicking

use chinese_clip::{PreparedModel, TokenBatch};
use chinese_clip_benches::{LENGTH, Setting, devices, slow_group, sync, token_ids};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn text(c: &mut Criterion) {
    let setting = Setting::from_environment();
    let mut group = slow_group(c, "text");
    for (name, device) in devices() {
        let model = PreparedModel::init(&setting.config, &device).expect("a model");
        for &batch in setting.batches {
            let (ids, mask) = token_ids(batch);
            let texts = TokenBatch::new(&ids, Some(&mask), [batch, LENGTH], &setting.config.text_config, &device);
            let texts = texts.expect("a batch");
            group.throughput(Throughput::Elements(batch as u64));
            group.bench_function(setting.id(batch, &name), |b| {
                b.iter(|| {
                    let features = model.get_text_features(&texts);
                    sync(&device);
                    features
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, text);
criterion_main!(benches);
