//! `ChineseCLIPProcessorTest`, and `ProcessorTesterMixin` of `test_processing_common.py`.
//!
//! What transformers answers, and the processor that it saved, lie in `tests/data/processor` (`make_processor_goldens.py`).

use std::path::{Path, PathBuf};

use chinese_clip_config::{Limits, PreprocessorConfig};
use chinese_clip_preprocess::{
    BatchEncoding, EncodeOptions, Inputs, PaddingStrategy, PreprocessError, PreprocessOptions, Processor,
    ProcessorOptions, TextBatch, TokenizeOptions,
};
use serde_json::{Value, json};

use crate::common::{crc, picture};

const TEXT: &str = "Alexandra，T-shirt的价格是15便士。";
/// `prepare_text_inputs` of a batch of two.
const BATCH: [&str; 2] = ["lower newer ", "  upper older longer string"];
const IDS: [[u32; 7]; 2] = [[1, 4, 5, 8, 1, 0, 8], [3, 4, 3, 1, 1, 8, 9]];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/processor")
}

fn json_file(path: impl AsRef<Path>) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn expected(case: &str) -> Value {
    json_file(folder().join("expected.json"))[case].clone()
}

/// The processor that transformers saved.
fn processor() -> Processor {
    Processor::from_pretrained(folder(), &Limits::default()).unwrap()
}

fn call(inputs: Inputs, options: &ProcessorOptions) -> BatchEncoding {
    processor().call(inputs, options).unwrap()
}

fn text(padding: Option<PaddingStrategy>, truncation: Option<bool>, max_length: Option<usize>) -> ProcessorOptions {
    ProcessorOptions { text: TokenizeOptions { padding, truncation, max_length }, images: PreprocessOptions::default() }
}

fn rows(batch: &TextBatch, values: &[i64]) -> Value {
    json!(values.chunks_exact(batch.shape[1]).collect::<Vec<_>>())
}

/// All of what transformers answered.
fn same(encoding: &BatchEncoding, case: &str) {
    let expected = expected(case);
    assert_eq!(json!(encoding.keys()), expected["keys"]);
    if let Some(batch) = &encoding.text {
        assert_eq!(rows(batch, &batch.input_ids), expected["input_ids"], "{case}");
        assert_eq!(rows(batch, &batch.attention_mask), expected["attention_mask"], "{case}");
        assert_eq!(rows(batch, &batch.token_type_ids), expected["token_type_ids"], "{case}");
    }
    if let Some(features) = &encoding.images {
        assert_eq!(json!(features.shape), expected["shape"], "{case}");
        let bytes: Vec<u8> = features.pixel_values.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(json!(crc(bytes.iter().copied())), expected["crc"], "{case}");
    }
}

/// `images[0][0].mean()`.
fn mean_of_first_channel(encoding: &BatchEncoding) -> f32 {
    let features = encoding.images.as_ref().unwrap();
    let plane = features.shape[2] * features.shape[3];
    features.pixel_values[..plane].iter().sum::<f32>() / plane as f32
}

fn length(encoding: &BatchEncoding) -> usize {
    encoding.text.as_ref().unwrap().shape[1]
}

fn inverted() -> PreprocessOptions {
    PreprocessOptions { do_rescale: Some(true), rescale_factor: Some(-1.0), ..PreprocessOptions::default() }
}

/// The processor with other parameters of its image processor.
fn with_rescale_factor(rescale_factor: f64) -> Processor {
    let processor = processor();
    let config = PreprocessorConfig { rescale_factor, ..processor.image_processor.config().clone() };
    Processor { image_processor: processor.image_processor.clone().with_config(config), ..processor }
}

/// The processor with other defaults of its texts.
fn with_text(padding: PaddingStrategy, max_length: Option<usize>) -> Processor {
    Processor { text: TokenizeOptions { padding: Some(padding), truncation: None, max_length }, ..processor() }
}

#[test]
fn test_save_load_pretrained_default() {
    let saved = tempfile::tempdir().unwrap();
    processor().save_pretrained(saved.path()).unwrap();
    // transformers loads what it saved itself, so what is saved here has to say the same.
    let file = |name: &str| (json_file(saved.path().join(name)), json_file(folder().join(name)));
    for name in ["tokenizer.json", "special_tokens_map.json"] {
        let (found, expected) = file(name);
        assert_eq!(found, expected, "{name}");
    }
    let vocabulary = |folder: &Path| std::fs::read_to_string(folder.join("vocab.txt")).unwrap();
    assert_eq!(vocabulary(saved.path()), vocabulary(&folder()));
    // The name of the processor's class is found in the other file.
    let (mut found, expected) = file("preprocessor_config.json");
    found["processor_class"] = expected["processor_class"].clone();
    assert_eq!(found, expected);
    let (found, expected) = file("tokenizer_config.json");
    for (key, value) in found.as_object().unwrap() {
        let same = *value == expected[key] || key == "model_max_length" && *value == 512;
        assert!(same, "{key}: {value}");
    }
    assert!(
        ["do_lower_case", "tokenizer_class", "processor_class", "pad_token"].iter().all(|key| found.get(key).is_some())
    );

    let second = Processor::from_pretrained(saved.path(), &Limits::default()).unwrap();
    assert_eq!(second.tokenizer.to_json().unwrap(), processor().tokenizer.to_json().unwrap());
    assert_eq!(second.image_processor.config(), processor().image_processor.config());
}

/// Of the keywords of `from_pretrained` only the image processor's have a counterpart.
#[test]
fn test_save_load_pretrained_additional_features() {
    let processor = processor();
    let config = PreprocessorConfig { do_normalize: false, ..processor.image_processor.config().clone() };
    let changed = Processor { image_processor: processor.image_processor.clone().with_config(config), ..processor };
    let saved = tempfile::tempdir().unwrap();
    changed.save_pretrained(saved.path()).unwrap();
    let second = Processor::from_pretrained(saved.path(), &Limits::default()).unwrap();
    assert!(!second.image_processor.config().do_normalize);
    assert_eq!(second.image_processor.config(), changed.image_processor.config());
}

#[test]
fn test_image_processor() {
    let image = picture(400, 30, 7);
    let encoding = call(Inputs::default().images([&image]), &ProcessorOptions::default());
    let alone = processor().image_processor.preprocess([&image], &PreprocessOptions::default()).unwrap();
    assert_eq!(encoding, BatchEncoding { text: None, images: Some(alone) });
    same(&encoding, "image");
}

#[test]
fn test_tokenizer() {
    let encoding = call(Inputs::default().text([TEXT]), &ProcessorOptions::default());
    let alone = processor().tokenizer.encode(TEXT, &EncodeOptions::default()).unwrap().ids;
    let ids = &encoding.text.as_ref().unwrap().input_ids;
    assert!(ids.iter().copied().eq(alone.into_iter().map(i64::from)));
    same(&encoding, "text");
}

#[test]
fn test_processor() {
    let image = picture(400, 30, 7);
    let encoding = call(Inputs::default().text([TEXT]).images([&image]), &ProcessorOptions::default());
    assert_eq!(encoding.keys(), ["input_ids", "token_type_ids", "attention_mask", "pixel_values"]);
    same(&encoding, "both");
    let error = processor().call(Inputs::default(), &ProcessorOptions::default()).unwrap_err();
    assert!(matches!(error, PreprocessError::NoInputs), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn test_tokenizer_decode() {
    assert_eq!(json!(processor().batch_decode(&IDS, false).unwrap()), expected("decoded"));
    assert_eq!(json!(processor().batch_decode(&IDS, true).unwrap()), expected("decoded_without_special_tokens"));
    assert_eq!(json!(processor().decode(&IDS[0], false).unwrap()), expected("decoded")[0]);
}

#[test]
fn test_model_input_names() {
    let image = picture(400, 30, 7);
    let encoding = call(Inputs::default().text([TEXT]).images([&image]), &ProcessorOptions::default());
    assert_eq!(encoding.keys(), processor().model_input_names());
    assert_eq!(json!(processor().model_input_names()), expected("model_input_names"));
}

#[test]
fn test_processor_from_and_save_pretrained() {
    let [first, second] = [0, 1].map(|_| tempfile::tempdir().unwrap());
    processor().save_pretrained(first.path()).unwrap();
    Processor::from_pretrained(first.path(), &Limits::default()).unwrap().save_pretrained(second.path()).unwrap();
    let names = |folder: &Path| {
        let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(first.path()), names(second.path()));
    assert_eq!(names(first.path()).len(), 5, "and no temporary file");
    for name in names(first.path()) {
        let read = |folder: &Path| std::fs::read(folder.join(&name)).unwrap();
        assert_eq!(read(first.path()), read(second.path()), "{}", name.display());
    }
}

#[test]
fn test_tokenizer_defaults_preserved_by_kwargs() {
    let (processor, image) = (with_text(PaddingStrategy::MaxLength, Some(117)), picture(400, 30, 7));
    let inputs = Inputs::default().text(["lower newer "]).images([&image]);
    assert_eq!(length(&processor.call(inputs, &ProcessorOptions::default()).unwrap()), 117);
}

#[test]
fn test_image_processor_defaults_preserved_by_image_kwargs() {
    let (processor, image) = (with_rescale_factor(-1.0), picture(400, 30, 7));
    let inputs = Inputs::default().text(["lower newer "]).images([&image]);
    assert!(mean_of_first_channel(&processor.call(inputs, &ProcessorOptions::default()).unwrap()) <= 0.0);
}

#[test]
fn test_kwargs_overrides_default_tokenizer_kwargs() {
    let (processor, image) = (with_text(PaddingStrategy::Longest, None), picture(400, 30, 7));
    let inputs = Inputs::default().text(["lower newer "]).images([&image]);
    let options = text(Some(PaddingStrategy::MaxLength), None, Some(112));
    assert_eq!(length(&processor.call(inputs, &options).unwrap()), 112);
}

#[test]
fn test_kwargs_overrides_default_image_processor_kwargs() {
    let (processor, image) = (with_rescale_factor(1.0), picture(400, 30, 7));
    let inputs = || Inputs::default().text([TEXT]).images([&image]);
    assert!(mean_of_first_channel(&processor.call(inputs(), &ProcessorOptions::default()).unwrap()) > 0.0);
    let options = ProcessorOptions { images: inverted(), ..ProcessorOptions::default() };
    let encoding = processor.call(inputs(), &options).unwrap();
    assert!(mean_of_first_channel(&encoding) <= 0.0);
    same(&encoding, "rescaled");
}

/// Also `test_structured_kwargs_nested` and `test_structured_kwargs_nested_from_dict`: here there is one way to say it.
#[test]
fn test_unstructured_kwargs() {
    let image = picture(400, 30, 7);
    let options = ProcessorOptions { images: inverted(), ..text(Some(PaddingStrategy::MaxLength), None, Some(76)) };
    let encoding = call(Inputs::default().text(["lower newer "]).images([&image]), &options);
    assert!(mean_of_first_channel(&encoding) <= 0.0);
    assert_eq!(length(&encoding), 76);
}

#[test]
fn test_unstructured_kwargs_batched() {
    let image = picture(400, 30, 7);
    let options = ProcessorOptions { images: inverted(), ..text(Some(PaddingStrategy::Longest), None, Some(76)) };
    let encoding = call(Inputs::default().text(BATCH).images([&image, &image]), &options);
    assert!(mean_of_first_channel(&encoding) <= 0.0);
    assert_eq!(encoding.images.as_ref().unwrap().shape, [2, 3, 18, 18]);
    assert!(length(&encoding) < 76);
}

/// When the reference pads and cuts, and when not.
#[test]
fn padding_and_truncation() {
    let [longest, max_length] = [PaddingStrategy::Longest, PaddingStrategy::MaxLength].map(Some);
    for (case, texts, options) in [
        ("longest", &BATCH[..], text(longest, None, Some(76))),
        ("max_length", &BATCH[..], text(max_length, None, Some(76))),
        ("truncated", &[TEXT], text(None, None, Some(5))),
        ("not_truncated", &[TEXT], text(longest, None, Some(5))),
        ("cut_and_padded", &[TEXT, BATCH[0]], text(max_length, Some(true), Some(6))),
    ] {
        same(&call(Inputs::default().text(texts.iter().copied()), &options), case);
    }
    let error = processor().call(Inputs::default().text(BATCH), &ProcessorOptions::default()).unwrap_err();
    assert!(matches!(error, PreprocessError::RaggedTexts { index: 1, length: 6, first: 4 }), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("padding")));
}

#[test]
fn folders_that_are_no_processor() {
    let empty = tempfile::tempdir().unwrap();
    let load = || Processor::from_pretrained(empty.path(), &Limits::default()).unwrap_err();
    let name = empty.path().display().to_string();
    let whole = |error: &PreprocessError| format!("{error}: {:?}", std::error::Error::source(error));
    let error = load();
    assert!(matches!(error, PreprocessError::Config { .. }) && whole(&error).contains(&name), "{}", whole(&error));
    std::fs::write(empty.path().join("preprocessor_config.json"), "{}").unwrap();
    let error = load();
    assert!(matches!(error, PreprocessError::NoVocabulary { .. }) && error.to_string().contains(&name), "{error}");
    assert!(error.hint().is_some());
    let file = empty.path().join("preprocessor_config.json/deeper");
    let error = processor().save_pretrained(&file).unwrap_err();
    assert!(matches!(error, PreprocessError::Write { .. }) && error.to_string().contains("deeper"), "{error}");
}
