//! What the benches share. The name of a bench is `stage/size/batch/backend`; what runs on no backend says `host`.
//!
//! The model is ViT-B/16 with random weights, or the checkpoint that `CHINESE_CLIP_BENCH_MODEL` names. When criterion is to run
//! everything once (`cargo bench -- --test`, `cargo test --benches`), it is the embedded demonstration model.

#![forbid(unsafe_code)]
#![allow(clippy::expect_used, clippy::missing_panics_doc)] // a bench fails by panicking

mod checkpoint;
mod inputs;
mod memory;
mod work;

use std::path::PathBuf;

use chinese_clip::config::{PublishedModel, published};
use chinese_clip::{ChineseClip, ChineseClipConfig, DEMO, DType, Device, LoadOptions, OpenOptions, device, open};
use chinese_clip_kernels::keep_pages;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode};

pub use inputs::{Inputs, jpeg, pixels, text, token_ids};
pub use memory::peak_bytes;
pub use work::{Work, multiply_adds};

/// As in the command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Tokens of a text in `cn_clip`.
pub const LENGTH: usize = 52;
/// What backends do not touch.
pub const HOST: &str = "host";

const SIZE: &str = "ViT-B-16";
const MODEL: &str = "CHINESE_CLIP_BENCH_MODEL";

/// The model that is timed.
pub struct Setting {
    /// What the benches call it.
    pub size: String,
    /// Its configuration.
    pub config: ChineseClipConfig,
    /// The sizes of batches.
    pub batches: &'static [usize],
    /// Where a checkpoint of it is; `None`: nowhere yet.
    source: Option<String>,
}

impl Setting {
    /// The model that the environment asks for; freed pages are kept as in the command.
    pub fn from_environment() -> Self {
        keep_pages();
        let source = if smoke() { Some(DEMO.into()) } else { std::env::var(MODEL).ok() };
        let config = match &source {
            Some(source) => open(source, &OpenOptions::default()).expect("a checkpoint").config,
            None => published(SIZE).map(PublishedModel::config).expect("a published model"),
        };
        let name = source.as_ref().and_then(|source| PathBuf::from(source).file_name()?.to_str().map(String::from));
        let batches: &[usize] = if smoke() { &[1, 2] } else { &[1, 8, 32] };
        Self { size: name.unwrap_or_else(|| SIZE.into()), config, batches, source }
    }

    /// Calls `work` with a checkpoint of the model, which is written into a temporary directory where there is none.
    pub fn with_checkpoint(&self, work: impl FnOnce(&str)) {
        if let Some(source) = &self.source {
            return work(source);
        }
        let folder = tempfile::tempdir().expect("a temporary directory");
        checkpoint::write_random(&self.config, folder.path()).expect("room for a checkpoint");
        work(folder.path().to_str().expect("a path in UTF-8"));
    }

    /// The rest of a bench's name, after the stage.
    pub fn id(&self, batch: usize, backend: &str) -> String {
        format!("{}/{batch}/{backend}", self.size)
    }
}

/// The devices of this build by name; one that cannot be opened is reported and left out.
pub fn devices() -> Vec<(String, Device)> {
    let named = chinese_clip::devices().into_iter().map(|info| info.name);
    let opened = named.filter_map(|name| match device(&name) {
        Ok(device) => Some((name, device)),
        Err(error) => {
            eprintln!("{name} is left out: {error}");
            None
        }
    });
    opened.collect()
}

/// The pipeline over a checkpoint, in f32.
pub fn pipeline(source: &str, device: &Device) -> ChineseClip {
    let options = LoadOptions { dtype: Some(DType::F32), ..LoadOptions::default() };
    ChineseClip::from_pretrained_with(source, device, &options).expect("a checkpoint that loads")
}

/// Waits for what a device was asked to do.
pub fn sync(device: &Device) {
    device.sync().expect("a device that works");
}

/// The group of a stage whose calls may take seconds: ten samples of equal length.
pub fn slow_group<'a>(c: &'a mut Criterion, stage: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(stage);
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group
}

/// Whether criterion only runs everything once; it measures under `cargo bench` alone.
fn smoke() -> bool {
    let given = |argument: &str| std::env::args().any(|given| given == argument);
    given("--test") || !given("--bench")
}
