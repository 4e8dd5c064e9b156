//! From bytes to pixel values, from strings to ids. No backend takes part.

#![allow(missing_docs)] // criterion's macros make public functions

use chinese_clip::{Dialect, EncodeOptions, ImageProcessor, Limits, Picture, PreprocessorConfig, Tokenizer};
use chinese_clip_benches::{jpeg, text};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn images(c: &mut Criterion) {
    let mut group = c.benchmark_group("preprocess");
    let (limits, processor) = (Limits::default(), ImageProcessor::new(PreprocessorConfig::published(224), Dialect::Hf));
    for (width, height) in [(640, 480), (4000, 3000)] {
        let bytes = jpeg(width, height);
        let Ok(picture) = Picture::decode(&bytes, &limits) else { continue };
        let pictures = [picture];
        group.throughput(Throughput::Elements(u64::from(width) * u64::from(height)));
        group.bench_function(format!("decode/{width}x{height}/1"), |b| b.iter(|| Picture::decode(&bytes, &limits)));
        group.bench_function(format!("resize/{width}x{height}/1"), |b| b.iter(|| processor.process(&pictures)));
    }
    group.finish();
}

fn texts(c: &mut Criterion) {
    let mut group = c.benchmark_group("tokenize");
    let Ok(tokenizer) = Tokenizer::builtin() else { return };
    let options = EncodeOptions::default();
    for characters in [10, 50, 500] {
        let text = text(characters);
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("{characters}/1"), |b| b.iter(|| tokenizer.encode(&text, &options)));
    }
    group.finish();
}

criterion_group!(benches, images, texts);
criterion_main!(benches);
