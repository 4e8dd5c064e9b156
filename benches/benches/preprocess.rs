//! From bytes to pixel values and from strings to ids: `decode`, `resize` and `tokenise` alone, and `preprocess`, from JPEGs to
//! a checked batch.

#![allow(missing_docs, clippy::expect_used)] // criterion's macros make public functions; a bench fails by panicking

use chinese_clip::preprocess::Levels;
use chinese_clip::{
    Dialect, EncodeOptions, ImageProcessor, Limits, Picture, PixelBatch, PreprocessorConfig, Tokenizer,
};
use chinese_clip_benches::{HOST, Setting, devices, jpeg, slow_group, sync, text};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rayon::prelude::*;

fn parts(c: &mut Criterion) {
    let (limits, processor) = (Limits::default(), ImageProcessor::new(PreprocessorConfig::published(224), Dialect::Hf));
    for (width, height) in [(640, 480), (4000, 3000)] {
        let bytes = jpeg(width, height);
        let pictures = [Picture::decode(&bytes, &limits).expect("a JPEG")];
        let id = format!("{width}x{height}/1/{HOST}");
        let mut group = c.benchmark_group("decode");
        group.throughput(Throughput::Elements(1));
        group.bench_function(&id, |b| b.iter(|| Picture::decode(&bytes, &limits)));
        group.finish();
        let mut group = c.benchmark_group("resize");
        group.throughput(Throughput::Elements(1));
        group.bench_function(&id, |b| b.iter(|| processor.levels(&pictures)));
        group.finish();
    }
}

fn whole(c: &mut Criterion) {
    let (setting, limits) = (Setting::from_environment(), Limits::default());
    let size = setting.config.vision_config.image_size;
    let processor = ImageProcessor::new(PreprocessorConfig::published(size), Dialect::Hf);
    let bytes = jpeg(640, 480);
    let mut group = slow_group(c, "preprocess");
    for (name, device) in devices() {
        for &batch in setting.batches {
            let files = vec![&bytes; batch];
            group.throughput(Throughput::Elements(batch as u64));
            group.bench_function(setting.id(batch, &name), |b| {
                b.iter(|| {
                    let pictures: Result<Vec<_>, _> =
                        files.par_iter().map(|file| Picture::decode(file, &limits)).collect();
                    let Levels { data, shape, values } = processor.levels(&pictures.expect("JPEGs")).expect("pictures");
                    let batch = PixelBatch::of_levels(data, values, shape, &setting.config.vision_config, &device);
                    sync(&device);
                    batch
                });
            });
        }
    }
    group.finish();
}

fn texts(c: &mut Criterion) {
    let mut group = c.benchmark_group("tokenise");
    let tokenizer = Tokenizer::builtin().expect("the vocabulary");
    let options = EncodeOptions::default();
    for (characters, batch) in [(10, 1), (50, 1), (50, 8), (50, 32), (500, 1)] {
        let texts = vec![text(characters); batch];
        group.throughput(Throughput::Elements(batch as u64));
        let id = format!("{characters} characters/{batch}/{HOST}");
        group.bench_function(id, |b| b.iter(|| tokenizer.encode_batch(&texts, &options)));
    }
    group.finish();
}

criterion_group!(benches, parts, whole, texts);
criterion_main!(benches);
