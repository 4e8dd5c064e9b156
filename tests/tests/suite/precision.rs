//! bf16 and int8 on flex against f32, and checkpoints in 8 bits.

use chinese_clip::checkpoint::{ConvertOptions, Dtype, convert};
use chinese_clip::{
    ChineseClip, ChineseClipModel, DEMO, DType, Embeddings, Limits, LoadOptions, OpenOptions, Picture, device,
};
use chinese_clip_tests::{cosine, devices};

/// The least cosine of a feature and its f32: that of products within 2^-8, and within a 254th and a 510th of their ranges.
const COSINES: [(DType, f64); 2] = [(DType::BF16, 0.9995), (DType::I8, 0.995)];

fn load(source: &str, dtype: Option<DType>) -> ChineseClip {
    let options = LoadOptions { dtype, open: OpenOptions::isolated("unused"), ..LoadOptions::default() };
    ChineseClip::from_pretrained_with(source, &device("flex").unwrap(), &options).unwrap()
}

/// Of the demo's pictures and some texts.
fn features(clip: &ChineseClip) -> [Embeddings; 2] {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/model/demo/examples");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let pictures: Vec<Picture> = files.iter().map(|file| Picture::open(file, &Limits::default()).unwrap()).collect();
    let texts = ["海边的日落", "三个红色的圆形", "雪", "a snowman in winter"];
    [clip.image_features(&pictures).unwrap(), clip.text_features(&clip.tokenize(&texts).unwrap()).unwrap()]
}

#[test]
fn features_in_short_numbers_are_near_those_in_f32() {
    let wide = features(&load(DEMO, Some(DType::F32)));
    for (dtype, least) in COSINES {
        for (wide, short) in wide.iter().zip(features(&load(DEMO, Some(dtype)))) {
            assert_ne!(*wide, short, "{dtype:?} is f32");
            for (row, (a, b)) in wide.rows().zip(short.rows()).enumerate() {
                let found = cosine(a, b);
                assert!(found > least, "{dtype:?}, row {row}: {found}");
            }
        }
    }
}

#[test]
fn a_checkpoint_in_8_bits_gives_the_features_of_int8_and_is_int8_by_default() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("int8");
    let input = chinese_clip::open(DEMO, &OpenOptions::isolated("unused")).unwrap();
    let report = convert(&input, &output, &ConvertOptions { dtype: Some(Dtype::I8), ..ConvertOptions::default() });
    let cast = report.unwrap().cast;
    assert!(
        cast.iter().all(|(name, _, dtype)| name.contains(".encoder.layer") && *dtype == Dtype::I8) && cast.len() > 10
    );

    let quantised = load(DEMO, Some(DType::I8));
    let loaded = load(output.to_str().unwrap(), None);
    assert_eq!(loaded.dtype(), DType::I8);
    assert_eq!(features(&loaded), features(&quantised));

    // Converted once more it keeps its steps, and as f32 its values.
    let opened =
        |name: &str| chinese_clip::open(folder.path().join(name).to_str().unwrap(), &OpenOptions::isolated("unused"));
    for (name, dtype) in [("again", Some(Dtype::I8)), ("wide", None)] {
        let options = ConvertOptions { dtype, ..ConvertOptions::default() };
        convert(&opened("int8").unwrap(), &folder.path().join(name), &options).unwrap();
        let (first, again) = (opened("int8").unwrap().weights, opened(name).unwrap().weights);
        assert_eq!(first.fingerprint(), again.fingerprint(), "{name}");
        assert_eq!(again.is_int8(), name == "again");
    }
    let wide = load(folder.path().join("wide").to_str().unwrap(), Some(DType::F32));
    assert_eq!(features(&load(output.to_str().unwrap(), Some(DType::F32))), features(&wide));
}

#[test]
fn fingerprints_tell_formats_apart() {
    let mut found: Vec<String> = [DType::F32, DType::F16, DType::BF16, DType::I8]
        .map(|dtype| load(DEMO, Some(dtype)).fingerprint().unwrap())
        .into();
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 4);
}

#[test]
fn int8_is_refused_where_it_is_not_computed() {
    let checkpoint = chinese_clip::open(DEMO, &OpenOptions::isolated("unused")).unwrap();
    let flex = device("flex").unwrap();
    let options = LoadOptions { dtype: Some(DType::I8), ..LoadOptions::default() };
    let refused = devices()
        .into_iter()
        .filter(|device| *device != flex)
        .map(|device| ChineseClip::from_pretrained_with(DEMO, &device, &options).map(drop));
    let canonical = ChineseClipModel::from_checkpoint(&checkpoint, DType::I8, &flex).map(drop);
    for result in refused.chain([canonical]) {
        let error = result.unwrap_err();
        assert!(error.to_string().ends_with("does not compute in int8"), "{error}");
        assert!(error.hint().unwrap().ends_with("int8 is for inference on `flex`"), "{:?}", error.hint());
    }
}
