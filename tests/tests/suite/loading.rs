//! Loading is exact: whatever does not fit is an error that names it, and nothing is left random.

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
    changed_golden("one", change)
}

fn changed_golden(name: &str, change: impl FnOnce(&mut Tensors)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let golden = golden_path(name);
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
fn a_missing_running_statistic_of_a_resnet_is_named() {
    let name = "vision_model.layer2.0.downsample.1.running_var";
    let folder = changed_golden("resnet", |tensors| drop(tensors.remove(name)));
    let message = load(folder.path()).unwrap_err().to_string();
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
fn a_patch_kernel_of_another_shape_is_refused() {
    let name = "vision_model.embeddings.patch_embedding.weight";
    let message = refused(|tensors| tensors.get_mut(name).unwrap().0 = vec![8, 3, 8, 32]);
    assert!(message.contains(name) && message.contains("found [8, 3, 8, 32]"), "{message}");
    let message = refused(|tensors| tensors.get_mut(name).unwrap().0 = vec![8, 12, 8, 8]);
    assert!(message.contains("found [8, 12, 8, 8]"), "{message}");
}

#[test]
fn a_weight_beyond_f16_is_refused_in_f16_alone() {
    let name = "visual_projection.weight";
    let folder = changed(|tensors| tensors.get_mut(name).unwrap().1[5] = 1e5);
    let checkpoint = Checkpoint::open(folder.path().to_str().unwrap(), &OpenOptions::isolated("unused")).unwrap();
    let load = |dtype| PreparedModel::load(&checkpoint.config, &checkpoint.weights, dtype, &device("flex").unwrap());
    load(DType::F32).unwrap();
    let message = load(DType::F16).unwrap_err().to_string();
    assert!(message.contains(name), "{message}");
}

#[test]
fn what_is_not_finite_is_an_error_and_no_result() {
    let clip = |change: fn(&mut Tensors)| {
        let folder = changed(change);
        let options = LoadOptions { open: OpenOptions::isolated("unused"), ..LoadOptions::default() };
        ChineseClip::from_pretrained_with(folder.path().to_str().unwrap(), &device("flex").unwrap(), &options)
    };
    let error = clip(|tensors| tensors.get_mut("logit_scale").unwrap().1[0] = 100.0).unwrap_err();
    assert!(error.to_string().contains("temperature"), "{error}");
    let zeros = clip(|tensors| tensors.get_mut("visual_projection.weight").unwrap().1.fill(0.0)).unwrap();
    let picture = chinese_clip::Picture::from_rgb8(2, 2, vec![7; 12]).unwrap();
    let error = zeros.encode_images(&[picture]).unwrap_err();
    assert!(error.to_string().contains("zero where a direction is needed"), "{error}");
}

#[test]
fn a_processor_that_contradicts_the_model_is_refused() {
    let folder = changed(|_| {});
    let processor = r#"{"size": {"height": 224, "width": 224}, "do_center_crop": false}"#;
    std::fs::write(folder.path().join("preprocessor_config.json"), processor).unwrap();
    let options = LoadOptions { open: OpenOptions::isolated("unused"), ..LoadOptions::default() };
    let clip = ChineseClip::from_pretrained_with(folder.path().to_str().unwrap(), &device("flex").unwrap(), &options);
    assert!(clip.unwrap_err().to_string().contains("224x224"));
}

#[test]
fn what_the_configuration_adds_to_the_text_tower_must_be_there() {
    let folder = changed(|_| {});
    let path = folder.path().join("config.json");
    let config = std::fs::read_to_string(&path).unwrap();
    for (keys, fault) in [
        ("\"is_decoder\": true", None),
        ("\"position_embedding_type\": \"relative_key\"", Some("layer.0.attention.self.distance_embedding.weight")),
        ("\"is_decoder\": true, \"add_cross_attention\": true", Some("layer.0.crossattention.output.LayerNorm.bias")),
    ] {
        std::fs::write(&path, config.replace("\"vocab_size\"", &format!("{keys}, \"vocab_size\""))).unwrap();
        let found = load(folder.path()).err().map(|error| error.to_string());
        assert_eq!(found.is_some(), fault.is_some(), "{keys}: {found:?}");
        assert!(found.is_none_or(|found| found.contains(fault.unwrap_or_default())), "{keys}");
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
