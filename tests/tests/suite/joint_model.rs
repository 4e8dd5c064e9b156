//! The tests that transformers 4.51.3 has of its joint model, `ChineseCLIPModelTest` and the common ones of `ConfigTester` and
//! `ModelTesterMixin`, under their names and at their sizes. `test_initialization` has a file of its own.

use std::path::Path;

use chinese_clip::checkpoint::{Checkpoint, CheckpointError, OpenOptions};
use chinese_clip::config::TextConfig;
use chinese_clip::{
    ChineseClipConfig, ChineseClipModel, DType, Device, Error, Limits, ModelOutput, PixelBatch, Recorder, TokenBatch,
};
use chinese_clip_tests::{assert_close, golden_path, quick_devices, tolerance, values};
use serde_json::Value;

use crate::{text_model, vision_model};

const TEXTS: usize = 12;
const IMAGES: usize = 9;
const LENGTH: usize = 7;

fn config() -> ChineseClipConfig {
    ChineseClipConfig {
        projection_dim: 64,
        ..ChineseClipConfig::from_text_vision_configs(text_model::config(), vision_model::config())
    }
}

/// Numbers below `limit` that show no pattern.
fn numbers(count: usize, limit: u64) -> Vec<u64> {
    (1..=count as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) % limit).collect()
}

/// The rows `range` of the texts.
fn texts(range: std::ops::Range<usize>, device: &Device) -> TokenBatch {
    let array = |limit| -> Vec<i64> {
        let all = numbers(TEXTS * LENGTH, limit);
        all[range.start * LENGTH..range.end * LENGTH].iter().map(|n| *n as i64).collect()
    };
    let mask: Vec<i64> = array(10).iter().enumerate().map(|(i, n)| i64::from(i % LENGTH == 0 || *n > 2)).collect();
    let batch = TokenBatch::new(&array(99), Some(&mask), [range.len(), LENGTH], &text_model::config(), device).unwrap();
    batch.with_token_type_ids(&array(16), &text_model::config()).unwrap()
}

/// The pictures `range`.
fn images(range: std::ops::Range<usize>, device: &Device) -> PixelBatch {
    let each = 3 * 30 * 30;
    let all: Vec<f32> = numbers(IMAGES * each, 1000).iter().map(|n| *n as f32 / 1000.0).collect();
    let pixels = all[range.start * each..range.end * each].to_vec();
    PixelBatch::new(pixels, [range.len(), 3, 30, 30], &vision_model::config(), device).unwrap()
}

fn run(model: &ChineseClipModel) -> ModelOutput {
    let device = model.logit_scale().device();
    model.forward(&texts(0..TEXTS, &device), &images(0..IMAGES, &device), &mut Recorder::off())
}

fn reopened(folder: &Path) -> Checkpoint {
    Checkpoint::open(folder.to_str().unwrap(), &OpenOptions::isolated("unused")).unwrap()
}

/// `create_and_check_model`.
#[test]
fn test_model() {
    for device in quick_devices() {
        let output = run(&ChineseClipModel::init(&config(), &device).unwrap());
        assert_eq!(output.logits_per_image.dims(), [IMAGES, TEXTS]);
        assert_eq!(output.logits_per_text.dims(), [TEXTS, IMAGES]);
        assert_eq!((output.text_embeds.dims(), output.image_embeds.dims()), ([TEXTS, 64], [IMAGES, 64]));
        assert!(matches!(output.loss(), Err(Error::Unpaired { images: IMAGES, texts: TEXTS })));
    }
}

#[test]
fn test_determinism() {
    for device in quick_devices() {
        let model = ChineseClipModel::init(&config(), &device).unwrap();
        let logits = || values(&run(&model).logits_per_image);
        logits(); // a GPU tries its kernels in the first call
        assert_eq!(logits(), logits());
    }
}

#[test]
fn test_batching_equivalence() {
    for device in quick_devices() {
        let model = ChineseClipModel::init(&config(), &device).unwrap();
        let whole = run(&model);
        let row = |values: &[f32], row: usize| values[row * 64..(row + 1) * 64].to_vec();
        let (of_texts, of_images) = (values(&whole.text_embeds), values(&whole.image_embeds));
        for i in 0..IMAGES {
            let alone = model.forward(&texts(i..i + 1, &device), &images(i..i + 1, &device), &mut Recorder::off());
            let bound = tolerance(DType::F32);
            assert_close("text", &values(&alone.text_embeds), &row(&of_texts, i), &[64], bound);
            assert_close("image", &values(&alone.image_embeds), &row(&of_images, i), &[64], bound);
        }
    }
}

#[test]
fn test_save_load() {
    for device in quick_devices() {
        let model = ChineseClipModel::init(&config(), &device).unwrap();
        let folder = tempfile::tempdir().unwrap();
        model.save_pretrained(folder.path()).unwrap();
        let again = ChineseClipModel::from_pretrained(folder.path().to_str().unwrap(), &device).unwrap();
        assert_eq!(again.config(), model.config());
        let (a, b) = (run(&model), run(&again));
        assert_eq!(values(&a.logits_per_image), values(&b.logits_per_image));
        assert_eq!(values(&a.text_embeds), values(&b.text_embeds));
        assert_eq!(values(&a.image_embeds), values(&b.image_embeds));
    }
}

#[test]
fn test_load_with_mismatched_shapes() {
    let device = chinese_clip::device("flex").unwrap();
    let folder = tempfile::tempdir().unwrap();
    ChineseClipModel::init(&config(), &device).unwrap().save_pretrained(folder.path()).unwrap();
    let wider = ChineseClipConfig { text_config: TextConfig { vocab_size: 10, ..text_model::config() }, ..config() };
    let error = ChineseClipModel::load(&wider, &reopened(folder.path()).weights, DType::F32, &device).unwrap_err();
    assert!(matches!(error, Error::Checkpoint(CheckpointError::Coverage { .. })), "{error}");
    assert!(error.to_string().contains("word_embeddings.weight: expected [10, 32], found [99, 32]"), "{error}");
}

/// Of `cn_clip`: its names give what ours give.
#[test]
fn names_of_cn_clip() {
    for device in quick_devices() {
        let model = ChineseClipModel::init(&config(), &device).unwrap();
        let (texts, images) = (texts(0..TEXTS, &device), images(0..IMAGES, &device));
        run(&model); // a GPU tries its kernels in the first call
        let output = run(&model);
        let (per_image, per_text) = model.get_similarity(&images, &texts);
        assert_eq!(values(&per_image), values(&output.logits_per_image));
        assert_eq!(values(&per_text), values(&output.logits_per_text));
        let features = [model.encode_text(&texts), model.encode_image(&images, 0.0, 0).unwrap()];
        let scale = model.logit_scale();
        let compared = ModelOutput::new(&features[0], &features[1], scale);
        assert_eq!(values(&compared.logits_per_text), values(&output.logits_per_text));
    }
}

/// `test_load_vision_text_config`: each half is had from the file of the whole.
#[test]
fn test_load_vision_text_config() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    std::fs::write(&path, config().to_json()).unwrap();
    let read = ChineseClipConfig::from_file(&path, &Limits::default()).unwrap();
    assert_eq!((read.text_config, read.vision_config), (text_model::config(), vision_model::config()));
}

/// `create_and_test_config_to_json_string`, `..._to_json_file`, `..._from_and_save_pretrained`.
#[test]
fn test_config() {
    assert_eq!(ChineseClipConfig::from_json(&config().to_json()).unwrap(), config());
    let json: Value = serde_json::from_str(&config().to_json()).unwrap();
    assert_eq!((&json["text_config"]["hidden_size"], &json["projection_dim"]), (&32.into(), &64.into()));
    // check_config_can_be_init_without_params
    assert_eq!(ChineseClipConfig::from_json("{}").unwrap(), ChineseClipConfig::default());
}

/// The file that transformers writes is understood, and what is written says the same under the same keys.
#[test]
fn the_configuration_of_transformers_is_read_and_written() {
    let golden: Value =
        serde_json::from_str(&std::fs::read_to_string(golden_path("initial/vit.json")).unwrap()).unwrap();
    let theirs = &golden["config"];
    let config = ChineseClipConfig::from_json(&theirs.to_string()).unwrap();
    assert_eq!(config.projection_dim, 48);
    let ours: Value = serde_json::from_str(&config.to_json()).unwrap();
    let same = |ours: &Value, theirs: &Value| {
        for (key, value) in ours.as_object().unwrap() {
            if value.is_object() || ["architectures", "torch_dtype"].contains(&key.as_str()) {
                continue; // those two describe weights, and theirs has none
            }
            assert_eq!(value, &theirs[key], "{key}");
        }
    };
    same(&ours, theirs);
    same(&ours["text_config"], &theirs["text_config"]);
    same(&ours["vision_config"], &theirs["vision_config"]);
}
