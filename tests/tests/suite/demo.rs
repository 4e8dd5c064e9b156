//! The embedded model against the reference's answers, through the pipeline, and what the pipeline promises.

use std::path::PathBuf;
use std::sync::LazyLock;

use chinese_clip::config::Size;
use chinese_clip::{
    Alpha, Budget, ChineseClip, ChineseClipModel, DEMO, DType, Device, Error, Inputs, Limits, LoadOptions, OpenOptions,
    PaddingStrategy, Picture, PreprocessOptions, ProcessorOptions, Recorder, Templates, TokenizeOptions,
};
use chinese_clip_tests::{Tolerance, assert_close, devices, quick_devices, values};
use serde_json::Value;

/// 1e-4 of features whose largest component is about 5; logits and probabilities follow.
const FEATURES: Tolerance = Tolerance { atol: 1e-4, rtol: 0.0, cosine: 0.999_999 };

static GOLDEN: LazyLock<Value> = LazyLock::new(|| {
    let file = std::fs::read_to_string(demo().join("golden.json")).expect("the golden of the demo");
    serde_json::from_str(&file).expect("JSON")
});

fn demo() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../crates/model/demo")
}

fn options() -> LoadOptions {
    LoadOptions { dtype: Some(DType::F32), open: OpenOptions::isolated("unused"), ..LoadOptions::default() }
}

fn clip(device: &Device) -> ChineseClip {
    ChineseClip::from_pretrained_with(DEMO, device, &options()).unwrap()
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
}

fn texts() -> Vec<&'static str> {
    GOLDEN["texts"].as_array().unwrap().iter().map(|text| text["text"].as_str().unwrap()).collect()
}

fn files() -> Vec<&'static str> {
    GOLDEN["images"].as_array().unwrap().iter().map(|image| image["file"].as_str().unwrap()).collect()
}

fn picture(file: &str) -> Picture {
    Picture::open(demo().join("examples").join(file), &chinese_clip::Limits::default()).unwrap()
}

fn pictures() -> Vec<Picture> {
    files().into_iter().map(picture).collect()
}

#[test]
fn ids_features_and_probabilities_equal_the_reference() {
    for device in devices() {
        let clip = clip(&device);
        let (texts, pictures) = (texts(), pictures());
        let encodings = clip.tokenize(&texts).unwrap();
        for (encoding, text) in encodings.iter().zip(GOLDEN["texts"].as_array().unwrap()) {
            let ids: Vec<u32> =
                text["input_ids"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect();
            assert_eq!(encoding.ids, ids, "{}", text["text"]);
        }
        let features = clip.text_features(&encodings).unwrap();
        for (row, text) in features.rows().zip(GOLDEN["texts"].as_array().unwrap()) {
            assert_close(text["text"].as_str().unwrap(), row, &floats(&text["feature"]), &[row.len()], FEATURES);
        }
        let features = clip.image_features(&pictures).unwrap();
        for (row, image) in features.rows().zip(GOLDEN["images"].as_array().unwrap()) {
            assert_close(image["file"].as_str().unwrap(), row, &floats(&image["feature"]), &[row.len()], FEATURES);
        }
        let similarity = clip.similarity(&pictures, &texts).unwrap();
        for (i, file) in files().into_iter().enumerate() {
            let bound = Tolerance { atol: 1e-3, ..FEATURES }; // exp(3.1) = 22 times a cosine
            let width = [texts.len()];
            assert_close(file, similarity.logits(i), &floats(&GOLDEN["logits_per_image"][i]), &width, bound);
            assert_close(file, &similarity.probabilities(i), &floats(&GOLDEN["probabilities"][i]), &width, FEATURES);
        }
    }
}

/// `model(**processor(text=…, images=…, padding=True))`.
#[test]
fn processor_and_model_as_in_the_reference_s_example() {
    for device in quick_devices() {
        let checkpoint = chinese_clip::open(DEMO, &OpenOptions::isolated("unused")).unwrap();
        let model = ChineseClipModel::from_checkpoint(&checkpoint, DType::F32, &device).unwrap();
        let processor = chinese_clip::processor(&checkpoint, &Limits::default()).unwrap();
        let pictures = pictures();
        let text = TokenizeOptions { padding: Some(PaddingStrategy::Longest), ..TokenizeOptions::default() };
        let options = ProcessorOptions { text, ..ProcessorOptions::default() };
        let inputs = processor.call(Inputs::default().text(texts()).images(&pictures), &options).unwrap();
        let (texts, pixels) = model.batches(inputs, &device).unwrap();
        let outputs = model.forward(&texts.unwrap(), &pixels.unwrap(), &mut Recorder::off());
        let expected: Vec<f32> = GOLDEN["logits_per_image"].as_array().unwrap().iter().flat_map(floats).collect();
        let shape = outputs.logits_per_image.dims();
        let bound = Tolerance { atol: 1e-3, ..FEATURES };
        assert_close("logits_per_image", &values(&outputs.logits_per_image), &expected, &shape, bound);

        let small =
            PreprocessOptions { size: Some(Size::Exact { height: 8, width: 8 }), ..PreprocessOptions::default() };
        let options = ProcessorOptions { images: small, ..ProcessorOptions::default() };
        let inputs = processor.call(Inputs::default().images(&pictures), &options).unwrap();
        assert!(matches!(model.batches(inputs, &device), Err(Error::Vision { .. })));
    }
}

#[test]
fn transparency_on_white_is_another_fingerprint() {
    let device = &devices()[0];
    let white = LoadOptions { alpha: Alpha::OnWhite, ..options() };
    let white = ChineseClip::from_pretrained_with(DEMO, device, &white).unwrap();
    assert_ne!(white.fingerprint().unwrap(), clip(device).fingerprint().unwrap());
    assert_eq!(white.image_processor().alpha(), Alpha::OnWhite);
}

#[test]
fn batches_change_nothing_but_the_speed() {
    let device = devices().remove(0);
    let (texts, pictures) = (texts(), pictures());
    let whole = clip(&device);
    for (tokens, pixels) in [(1, 1), (30, 2 * 64 * 64), (1 << 20, 1 << 30)] {
        let options = LoadOptions { budget: Some(Budget { tokens, pixels }), ..options() };
        let split = ChineseClip::from_pretrained_with(DEMO, &device, &options).unwrap();
        let same = |name: &str, a: &chinese_clip::Embeddings, b: &chinese_clip::Embeddings| {
            assert_close(name, a.values(), b.values(), &[a.len(), a.width()], FEATURES);
        };
        same("texts", &split.encode_texts(&texts).unwrap(), &whole.encode_texts(&texts).unwrap());
        same("images", &split.encode_images(&pictures).unwrap(), &whole.encode_images(&pictures).unwrap());
        let levels = split.image_processor().levels(&pictures).unwrap();
        let features = whole.pixel_features(levels.pixels()).unwrap();
        assert_eq!(whole.level_features(levels.clone()).unwrap(), features);
        same("pixels", &split.pixel_features(levels.pixels()).unwrap(), &features);
        same("levels", &split.level_features(levels).unwrap(), &features);
    }
}

#[test]
fn embeddings_have_unit_length_and_features_do_not() {
    let clip = clip(&devices()[0]);
    let length = |row: &[f32]| row.iter().map(|v| v * v).sum::<f32>().sqrt();
    for row in clip.encode_texts(&texts()).unwrap().rows().chain(clip.encode_images(&pictures()).unwrap().rows()) {
        assert!((length(row) - 1.0).abs() < 1e-6, "{}", length(row));
    }
    let features = clip.image_features(&pictures()).unwrap();
    assert!(features.rows().all(|row| length(row) > 2.0));
}

#[test]
fn many_threads_share_one_instance() {
    let clip = clip(&devices()[0]);
    let texts = texts();
    let alone = clip.encode_texts(&texts).unwrap();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| clip.encode_texts(&texts).unwrap())).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), alone);
        }
    });
}

#[test]
fn classify_averages_the_directions_of_the_prompts() {
    let clip = clip(&devices()[0]);
    let templates = Templates::new(["一张{}的图片", "{}"]).unwrap();
    let found = clip.encode_labels(&["红色的圆形", "日落"], &templates).unwrap();
    let prompts = ["一张红色的圆形的图片", "红色的圆形", "一张日落的图片", "日落"];
    assert_eq!(clip.label_features(&clip.tokenize(&prompts).unwrap(), 2).unwrap(), found);
    assert!(matches!(clip.label_features(&[], 2), Err(Error::Nothing { what: "labels" })));
    let prompts = clip.encode_texts(&prompts).unwrap();
    let prompts: Vec<&[f32]> = prompts.rows().collect();
    for (row, pair) in found.rows().zip(prompts.chunks(2)) {
        let sum: Vec<f32> = pair[0].iter().zip(pair[1]).map(|(a, b)| a + b).collect();
        let length = sum.iter().map(|v| v * v).sum::<f32>().sqrt();
        let mean: Vec<f32> = sum.iter().map(|v| v / length).collect();
        assert_close("label", row, &mean, &[row.len()], Tolerance { atol: 1e-6, rtol: 0.0, cosine: 0.999_999 });
    }
    let scores = clip.classify(&[picture("sunset.png")], &["红色的圆形", "日落"], &templates).unwrap();
    assert!(scores.probabilities(0)[1] > 0.9);
}

#[test]
fn nothing_to_compare_is_an_error() {
    let clip = clip(&devices()[0]);
    let none: [&str; 0] = [];
    assert!(matches!(clip.similarity(&pictures(), &none), Err(Error::Nothing { what: "texts" })));
    assert!(matches!(clip.similarity(&[], &["日落"]), Err(Error::Nothing { what: "images" })));
    assert!(matches!(clip.classify(&pictures(), &none, &Templates::default()), Err(Error::Nothing { what: "labels" })));
}

#[test]
fn fingerprints_tell_preparations_apart() {
    let device = &devices()[0];
    let of = |change: fn(&mut LoadOptions)| {
        let mut options = options();
        change(&mut options);
        ChineseClip::from_pretrained_with(DEMO, device, &options).unwrap().fingerprint().unwrap()
    };
    let plain = of(|_| {});
    assert_eq!(plain, of(|_| {}));
    assert_ne!(plain, of(|options| options.dtype = Some(DType::F16)));
    assert_ne!(plain, of(|options| options.dialect = chinese_clip::Dialect::CnClip));
    assert_ne!(plain, of(|options| options.max_length = Some(52)));
}
