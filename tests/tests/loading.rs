//! Loading is exact: whatever does not fit is an error that names it, and nothing is left random.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use std::collections::BTreeMap;
use std::path::Path;

use chinese_clip::{
    ChineseClip, ChineseClipModel, DType, LoadOptions, OpenOptions, PreparedModel, checkpoint::Checkpoint, device,
};
use chinese_clip_tests::golden_path;
use safetensors::tensor::{Dtype, TensorView};

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The golden `one`, changed, in a directory of its own.
fn changed(change: impl FnOnce(&mut Tensors)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let golden = golden_path("one");
    std::fs::copy(golden.join("config.json"), folder.path().join("config.json")).unwrap();
    let bytes = std::fs::read(golden.join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let floats = |data: &[u8]| data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let mut tensors: Tensors =
        file.iter().map(|(name, view)| (name.into(), (view.shape().to_vec(), floats(view.data())))).collect();
    change(&mut tensors);
    let bytes: BTreeMap<&String, Vec<u8>> = tensors
        .iter()
        .map(|(name, (_, values))| (name, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let views = tensors
        .iter()
        .map(|(name, (shape, _))| (name, TensorView::new(Dtype::F32, shape.clone(), &bytes[name]).unwrap()));
    safetensors::serialize_to_file(views, None, &folder.path().join("model.safetensors")).unwrap();
    folder
}

/// Loads both forms, which must agree about what is wrong.
fn load(folder: &Path) -> Result<(), chinese_clip::Error> {
    let checkpoint = Checkpoint::open(folder.to_str().unwrap(), &OpenOptions::isolated("unused"))?;
    let (config, weights, device) = (&checkpoint.config, &checkpoint.weights, device("flex")?);
    let canonical = ChineseClipModel::load(config, weights, DType::F32, &device).map(drop);
    let prepared = PreparedModel::load(config, weights, DType::F32, &device).map(drop);
    let fault = |result: &Result<(), chinese_clip::Error>| result.as_ref().err().map(ToString::to_string);
    assert_eq!(fault(&canonical), fault(&prepared));
    canonical
}

fn refused(change: impl FnOnce(&mut Tensors)) -> String {
    load(changed(change).path()).unwrap_err().to_string()
}

#[test]
fn the_unchanged_copy_loads() {
    load(changed(|_| {}).path()).unwrap();
}

#[test]
fn a_missing_tensor_is_named() {
    let name = "text_model.encoder.layer.0.attention.self.key.bias";
    let message = refused(|tensors| drop(tensors.remove(name)));
    assert!(message.contains("missing (1 tensor)") && message.contains(name), "{message}");
}

#[test]
fn an_unexpected_tensor_is_named() {
    let name = "text_model.encoder.layer.1.output.dense.bias";
    let message = refused(|tensors| drop(tensors.insert(name.into(), (vec![1], vec![0.0]))));
    assert!(message.contains("unexpected (1 tensor)") && message.contains(name), "{message}");
}

#[test]
fn a_misshapen_tensor_is_named_with_both_shapes() {
    let name = "visual_projection.weight";
    let message = refused(|tensors| tensors.get_mut(name).unwrap().0.reverse());
    assert!(message.contains(&format!("{name}: expected [4, 8], found [8, 4]")), "{message}");
}

#[test]
fn a_tensor_that_is_not_finite_is_named() {
    for value in [f32::NAN, f32::INFINITY] {
        let name = "vision_model.post_layernorm.weight";
        let message = refused(|tensors| tensors.get_mut(name).unwrap().1[3] = value);
        assert!(message.contains(name) && message.contains('3'), "{message}");
    }
}

#[test]
fn a_configuration_that_contradicts_the_weights_is_refused() {
    let folder = changed(|_| {});
    let path = folder.path().join("config.json");
    let config =
        std::fs::read_to_string(&path).unwrap().replace("\"num_hidden_layers\": 1", "\"num_hidden_layers\": 2");
    std::fs::write(&path, config).unwrap();
    let message = load(folder.path()).unwrap_err().to_string();
    assert!(message.contains("missing (32 tensors)") && message.contains("layer.1"), "{message}");
}

#[test]
fn unsupported_configurations_are_refused_by_name() {
    let folder = changed(|_| {});
    let path = folder.path().join("config.json");
    let config = std::fs::read_to_string(&path).unwrap();
    for (key, value) in [("position_embedding_type", "\"relative_key\""), ("is_decoder", "true")] {
        let with = config.replace("\"vocab_size\"", &format!("\"{key}\": {value}, \"vocab_size\""));
        std::fs::write(&path, with).unwrap();
        let message = load(folder.path()).unwrap_err().to_string();
        assert!(message.contains(key), "{message}");
    }
}

#[test]
fn a_vocabulary_larger_than_the_model_is_an_error_and_no_panic() {
    let folder = changed(|_| {});
    let options = LoadOptions { open: OpenOptions::isolated("unused"), ..LoadOptions::default() };
    let clip = ChineseClip::from_pretrained_with(folder.path().to_str().unwrap(), &device("flex").unwrap(), &options);
    let error = clip.unwrap().encode_texts(&["猫"]).unwrap_err();
    assert!(error.to_string().contains("must be less than 40"), "{error}");
    assert!(error.hint().unwrap().contains("vocab.txt"));
}
