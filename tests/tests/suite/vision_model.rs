//! The tests of transformers' `ChineseCLIPVisionModelTest` (`test_modeling_chinese_clip.py`, and `test_modeling_common.py` where it
//! inherits them), restated; each says which.

use std::path::Path;

use burn::tensor::Tensor;
use chinese_clip::config::VisionConfig;
use chinese_clip::{Checkpoint, ChineseClipVisionModel, DType, Device, PixelBatch, VisionOptions, VisionStates};
use chinese_clip_tests::{
    Arrays, Named, assert_close, golden_checkpoint, golden_path, quick_devices, tolerance, values, write_checkpoint,
};

const BATCH: usize = 12;
const TOKENS: usize = 15 * 15 + 1;
const EVERYTHING: VisionOptions =
    VisionOptions { output_hidden_states: true, output_attentions: true, interpolate_pos_encoding: false };

/// `ChineseCLIPVisionModelTester.get_config`.
pub(crate) fn config() -> VisionConfig {
    VisionConfig {
        image_size: 30,
        patch_size: 2,
        hidden_size: 32,
        projection_dim: 32,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        intermediate_size: 37,
        attention_dropout: 0.1,
        ..VisionConfig::default()
    }
}

fn model(device: &Device) -> ChineseClipVisionModel {
    ChineseClipVisionModel::new(&config(), device).unwrap()
}

/// `floats_tensor`: numbers from 0 to 1; some of `count` pictures, from the `first` on.
fn pixels(first: usize, count: usize, edge: usize, device: &Device) -> PixelBatch {
    let each = 3 * edge * edge;
    let number = |i: usize| (i * 7919 % 10007) as f32 / 10007.0;
    let values = (first * each..(first + count) * each).map(number).collect();
    PixelBatch::any_size(values, [count, 3, edge, edge], &config(), device).unwrap()
}

fn same<const D: usize>(name: &str, found: &Tensor<D>, expected: &Tensor<D>) {
    assert_eq!(found.dims(), expected.dims(), "{name}");
    assert_close(name, &values(found), &values(expected), &found.dims(), tolerance(DType::F32));
}

/// All outputs of two runs.
fn same_states(found: &VisionStates, expected: &VisionStates) {
    same("last_hidden_state", &found.last_hidden_state, &expected.last_hidden_state);
    same("pooler_output", &found.pooler_output, &expected.pooler_output);
    let lengths = |states: &VisionStates| (states.hidden_states.len(), states.attentions.len());
    assert_eq!(lengths(found), lengths(expected));
    found.hidden_states.iter().zip(&expected.hidden_states).for_each(|(a, b)| same("hidden_states", a, b));
    found.attentions.iter().zip(&expected.attentions).for_each(|(a, b)| same("attentions", a, b));
}

/// `test_model`: `create_and_check_model`.
#[test]
fn test_model() {
    for device in quick_devices() {
        let result = model(&device).forward(&pixels(0, BATCH, 30, &device), VisionOptions::default()).unwrap();
        assert_eq!(result.last_hidden_state.dims(), [BATCH, TOKENS, 32]);
        assert_eq!(result.pooler_output.dims(), [BATCH, 32]);
        assert!(result.hidden_states.is_empty() && result.attentions.is_empty(), "not asked for");
    }
}

/// `test_hidden_states_output`: one more than layers, each as long as the sequence.
#[test]
fn test_hidden_states_output() {
    for device in quick_devices() {
        let options = VisionOptions { output_hidden_states: true, ..VisionOptions::default() };
        let result = model(&device).forward(&pixels(0, BATCH, 30, &device), options).unwrap();
        assert_eq!(result.hidden_states.len(), config().num_hidden_layers + 1);
        assert!(result.hidden_states.iter().all(|state| state.dims() == [BATCH, TOKENS, 32]));
        assert!(result.attentions.is_empty());
        assert_eq!(values(&result.hidden_states[2]), values(&result.last_hidden_state));
    }
}

/// `test_attention_outputs`: one a layer, heads by tokens by tokens, alone and beside hidden states.
#[test]
fn test_attention_outputs() {
    for device in quick_devices() {
        let (model, pixels) = (model(&device), pixels(0, 2, 30, &device));
        for output_hidden_states in [false, true] {
            let options = VisionOptions { output_attentions: true, output_hidden_states, ..VisionOptions::default() };
            let result = model.forward(&pixels, options).unwrap();
            assert_eq!(result.attentions.len(), config().num_hidden_layers);
            assert_eq!(result.hidden_states.len(), if output_hidden_states { 3 } else { 0 });
            for attention in &result.attentions {
                assert_eq!(attention.dims(), [2, config().num_attention_heads, TOKENS, TOKENS]);
                let sums = attention.clone().sum_dim(3);
                same("sums of probabilities", &sums, &sums.ones_like());
            }
        }
    }
}

/// `test_determinism`.
#[test]
fn test_determinism() {
    for device in quick_devices() {
        let (model, pixels) = (model(&device), pixels(0, 3, 30, &device));
        let run = || values(&model.forward(&pixels, VisionOptions::default()).unwrap().last_hidden_state);
        run(); // a GPU tries its kernels in the first call
        assert_eq!(run(), run());
    }
}

/// `test_batching_equivalence`: every output of a row is that of the row alone.
#[test]
fn test_batching_equivalence() {
    for device in quick_devices() {
        let model = model(&device);
        let of_batch = model.forward(&pixels(0, 3, 30, &device), EVERYTHING).unwrap();
        for row in 0..3 {
            let VisionStates { last_hidden_state, pooler_output, hidden_states, attentions } = of_batch.clone();
            let of_row = VisionStates {
                last_hidden_state: last_hidden_state.narrow(0, row, 1),
                pooler_output: pooler_output.narrow(0, row, 1),
                hidden_states: hidden_states.into_iter().map(|state| state.narrow(0, row, 1)).collect(),
                attentions: attentions.into_iter().map(|attention| attention.narrow(0, row, 1)).collect(),
            };
            same_states(&model.forward(&pixels(row, 1, 30, &device), EVERYTHING).unwrap(), &of_row);
        }
    }
}

/// `test_eager_matches_sdpa_inference`: the fused form gives what the plain one gives.
#[test]
fn test_eager_matches_sdpa_inference() {
    for device in quick_devices() {
        let (model, pixels) = (model(&device), pixels(0, 3, 30, &device));
        let eager = model.forward(&pixels, EVERYTHING).unwrap();
        let keep = chinese_clip::Keep { hidden_states: true, attentions: true };
        same_states(&model.vision_model().clone().prepare().states(&pixels, keep), &eager);
    }
}

/// `ChineseCLIPModelIntegrationTest.test_inference_interpolate_pos_encoding` in small, and of it the error without the flag;
/// the numbers of the reference stand in `backbone`.
#[test]
fn test_inference_interpolate_pos_encoding() {
    for device in quick_devices() {
        let (model, pixels) = (model(&device), pixels(0, 1, 24, &device));
        let error = model.forward(&pixels, VisionOptions::default()).unwrap_err().to_string();
        assert!(error.contains("input image size (24x24, 3 channels) doesn't match model (30x30"), "{error}");
        let options = VisionOptions { interpolate_pos_encoding: true, ..VisionOptions::default() };
        let result = model.forward(&pixels, options).unwrap();
        assert_eq!(result.last_hidden_state.dims(), [1, 12 * 12 + 1, 32]);
        let own_size = self::pixels(0, 1, 30, &device);
        let (with, without) = (model.forward(&own_size, options), model.forward(&own_size, VisionOptions::default()));
        assert_eq!(values(&with.unwrap().pooler_output), values(&without.unwrap().pooler_output));
    }
}

/// A directory of the tower `small` alone, as `ChineseCLIPVisionModel.save_pretrained` writes it, with names that `name` makes.
fn vision_only(folder: &Path, name: impl Fn(&str) -> Option<String>) -> Checkpoint {
    let config = std::fs::read_to_string(golden_path("small/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    let mut vision = config["vision_config"].clone();
    vision["model_type"] = "chinese_clip_vision_model".into();
    let golden = Arrays::golden("small/model.safetensors");
    let tower = golden.names().into_iter().filter(|key| key.starts_with("vision_model."));
    let tensors: Vec<Named> = tower
        .filter_map(|key| {
            let (values, shape) = golden.f32(&key);
            Some((name(&key)?, values, shape))
        })
        .collect();
    write_checkpoint(folder, &vision, &tensors)
}

/// `test_save_load` (of what the reference saves) and `test_model_from_pretrained`: the tower of a joint checkpoint and that of
/// a directory of its own give the same, with the prefix `vision_model.` and, as transformers 5.23 writes it, without.
#[test]
fn test_save_load() {
    for device in quick_devices() {
        let joint = ChineseClipVisionModel::from_checkpoint(&golden_checkpoint("small"), DType::F32, &device).unwrap();
        let each = 3 * 64 * 64;
        let values = (0..each).map(|i| (i * 7919 % 10007) as f32 / 10007.0).collect();
        let pixels = PixelBatch::new(values, [1, 3, 64, 64], joint.config(), &device).unwrap();
        let expected = joint.forward(&pixels, EVERYTHING).unwrap();
        for prefixed in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let name = |key: &str| Some(if prefixed { key.into() } else { key.replacen("vision_model.", "", 1) });
            let checkpoint = vision_only(folder.path(), name);
            let alone = ChineseClipVisionModel::from_checkpoint(&checkpoint, DType::F32, &device).unwrap();
            same_states(&alone.forward(&pixels, EVERYTHING).unwrap(), &expected);
            ChineseClipVisionModel::from_pretrained(folder.path().to_str().unwrap(), &device).unwrap();
        }
    }
}

/// `test_load_with_mismatched_shapes`, and differs: what is missing is an error here and drawn at random there.
#[test]
fn test_load_is_exact() {
    let device = &quick_devices()[0];
    let missing = "vision_model.encoder.layers.1.mlp.fc1.bias";
    for prefixed in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = vision_only(folder.path(), |key| {
            let name = if prefixed { key.into() } else { key.replacen("vision_model.", "", 1) };
            (key != missing).then_some(name)
        });
        let error = ChineseClipVisionModel::from_checkpoint(&checkpoint, DType::F32, device).unwrap_err().to_string();
        assert!(error.contains("missing (1 tensor)") && error.contains("layers.1.mlp.fc1.bias"), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = vision_only(folder.path(), |key| Some(key.into()));
    let narrow = VisionConfig { intermediate_size: 95, ..checkpoint.config.vision_config.clone() };
    let error = ChineseClipVisionModel::load(&narrow, &checkpoint.weights, DType::F32, device).unwrap_err().to_string();
    assert!(error.contains("fc1.weight: expected [95, 64], found [96, 64]"), "{error}");
    let fewer = VisionConfig { num_hidden_layers: 1, ..checkpoint.config.vision_config.clone() };
    let error = ChineseClipVisionModel::load(&fewer, &checkpoint.weights, DType::F32, device).unwrap_err().to_string();
    assert!(error.contains("unexpected (16 tensors)"), "{error}");
}

/// `test_config`: what cannot be is refused.
#[test]
fn test_config() {
    let device = &quick_devices()[0];
    let uneven = VisionConfig { num_attention_heads: 5, ..config() };
    let error = ChineseClipVisionModel::new(&uneven, device).unwrap_err().to_string();
    assert!(error.contains("num_attention_heads: is 5, must divide hidden_size = 32"), "{error}");
    assert_eq!(model(device).config(), &config());
}
