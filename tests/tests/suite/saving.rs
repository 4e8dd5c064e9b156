//! What a model writes is what it read, and nothing else in the directory is touched.

use std::path::Path;

use burn::tensor::Tensor;
use chinese_clip::checkpoint::{Checkpoint, Dtype, OpenOptions};
use chinese_clip::{ChineseClipModel, DType, Error, PixelBatch, Recorder, TokenBatch, device};
use chinese_clip_tests::{Arrays, dtypes, golden_checkpoint, golden_path, quick_devices};

const MODELS: [&str; 5] = ["small", "heads", "odd", "one", "resnet"];

fn open(folder: &Path) -> Checkpoint {
    Checkpoint::open(folder.to_str().unwrap(), &OpenOptions::isolated("unused")).unwrap()
}

/// Names of the files of a directory.
fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn features(model: &ChineseClipModel, name: &str) -> [Vec<f32>; 2] {
    let arrays = Arrays::golden(&format!("{name}/golden.safetensors"));
    let (config, device) = (model.config(), model.logit_scale().device());
    let ((ids, shape), (mask, _)) = (arrays.i64("input_ids"), arrays.i64("attention_mask"));
    let texts = TokenBatch::new(&ids, Some(&mask), [shape[0], shape[1]], &config.text_config, &device).unwrap();
    let (pixels, shape) = arrays.f32("pixel_values");
    let images = PixelBatch::new(pixels, shape.try_into().unwrap(), &config.vision_config, &device).unwrap();
    let values = |tensor: Tensor<2>| tensor.cast(DType::F32).into_data().try_to_vec().unwrap();
    let output = model.forward(&texts, &images, &mut Recorder::off());
    [values(output.text_embeds), values(output.image_embeds)]
}

#[test]
fn a_saved_model_is_the_loaded_one_bit_by_bit() {
    for device in quick_devices() {
        for (name, dtype) in MODELS.into_iter().flat_map(|name| dtypes(&device).into_iter().map(move |d| (name, d))) {
            let checkpoint = golden_checkpoint(name);
            let model = ChineseClipModel::from_checkpoint(&checkpoint, dtype, &device).unwrap();
            let folder = tempfile::tempdir().unwrap();
            model.save_pretrained(folder.path()).unwrap();
            assert_eq!(files(folder.path()), ["config.json", "model.safetensors", "preprocessor_config.json"]);
            let saved = open(folder.path());
            assert_eq!((&saved.config, &saved.preprocessor), (&checkpoint.config, &checkpoint.preprocessor));
            let config = std::fs::read_to_string(folder.path().join("config.json")).unwrap();
            let (of_file, torch) = match dtype {
                DType::F16 => (Dtype::F16, "float16"),
                DType::BF16 => (Dtype::BF16, "bfloat16"),
                _ => (Dtype::F32, "float32"),
            };
            assert!(config.contains(&format!("\"torch_dtype\": \"{torch}\"")), "{config}");
            assert_eq!(saved.weights.names().collect::<Vec<_>>(), checkpoint.weights.names().collect::<Vec<_>>());
            for tensor in saved.weights.names() {
                let expected = if tensor == "logit_scale" { Dtype::F32 } else { of_file };
                assert_eq!(saved.weights.dtype(tensor), Some(expected), "{tensor}");
                assert_eq!(saved.weights.shape(tensor), checkpoint.weights.shape(tensor), "{tensor}");
                if dtype == DType::F32 {
                    let values = |from: &Checkpoint| from.weights.to_f32(tensor).unwrap();
                    assert_eq!(values(&saved), values(&checkpoint), "{tensor} of {name}");
                }
            }
            let again = ChineseClipModel::from_checkpoint(&saved, dtype, &device).unwrap();
            assert_eq!(features(&again, name), features(&model, name), "{name} in {dtype:?}");
        }
    }
}

#[test]
fn the_vocabulary_goes_along_and_other_files_stay() {
    let source = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(golden_path("one").join(file), source.path().join(file)).unwrap();
    }
    std::fs::write(source.path().join("vocab.txt"), "[PAD]\n[UNK]\n").unwrap();
    let model = ChineseClipModel::from_checkpoint(&open(source.path()), DType::F32, &device("flex").unwrap()).unwrap();

    let parent = tempfile::tempdir().unwrap();
    let target = parent.path().join("new/model");
    model.save_pretrained(&target).unwrap();
    assert_eq!(std::fs::read_to_string(target.join("vocab.txt")).unwrap(), "[PAD]\n[UNK]\n");
    std::fs::write(target.join("README.md"), "mine").unwrap();
    std::fs::write(target.join("config.json"), "old").unwrap();
    model.save_pretrained(&target).unwrap();
    assert_eq!(
        files(&target),
        ["README.md", "config.json", "model.safetensors", "preprocessor_config.json", "vocab.txt"]
    );
    assert_eq!(std::fs::read_to_string(target.join("README.md")).unwrap(), "mine");
    assert_eq!(open(&target).config, *model.config());
    model.save_pretrained(source.path()).unwrap(); // over the files it came from
    assert_eq!(open(source.path()).weights.len(), open(&target).weights.len());

    // A failure leaves everything as it was.
    std::fs::remove_file(source.path().join("vocab.txt")).unwrap();
    std::fs::write(target.join("config.json"), "old").unwrap();
    let before = files(&target);
    let error = model.save_pretrained(&target).unwrap_err();
    assert!(error.to_string().contains("vocab.txt"), "{error}");
    assert_eq!(files(&target), before);
    assert_eq!(std::fs::read_to_string(target.join("config.json")).unwrap(), "old");
    assert!(matches!(model.save_pretrained(target.join("README.md")), Err(Error::Checkpoint(_))));
}

#[test]
fn a_new_model_saves_its_configuration_and_weights_alone() {
    let config = golden_checkpoint("one").config;
    let model = ChineseClipModel::init(&config, &device("flex").unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    model.save_pretrained(folder.path()).unwrap();
    assert_eq!(files(folder.path()), ["config.json", "model.safetensors"]);
    let again = ChineseClipModel::from_checkpoint(&open(folder.path()), DType::F32, &device("flex").unwrap()).unwrap();
    assert_eq!(features(&again, "one"), features(&model, "one"));
}
