//! Arrays and parameters of a call against transformers 4.51.3: `tests/data/make_array_goldens.py`; transparency against 5.24.0:
//! `make_alpha_goldens.py`.

use std::collections::BTreeSet;

use chinese_clip_config::{CropSize, Limits, Resample, Size};
use chinese_clip_preprocess::{
    Alpha, ChannelDimension, ImageArray, ImageInput, ImageProcessor, PerChannel, Picture, PreprocessError,
    PreprocessOptions, Warning,
};
use serde_json::Value;

use crate::common::{crc, noise};
use crate::folder;

/// The numbers of an array before it borrows them.
pub(crate) enum Owned {
    U8(Vec<u8>),
    F32(Vec<f32>),
}

impl Owned {
    /// `KINDS` of the script.
    pub(crate) fn draw(kind: &str, count: usize, seed: u32) -> Self {
        let levels = noise(count, seed);
        let of = |f: fn(f32) -> f32| Self::F32(levels.iter().map(|level| f(f32::from(*level))).collect());
        match kind {
            "u8" => Self::U8(levels),
            "levels" => of(|n| n),
            "fractions" => of(|n| n / 255.0),
            "odd_fractions" => of(|n| n / 256.0 + 0.001),
            "bits" => of(|n| n % 2.0),
            "almost_levels" => of(|n| n.min(254.0) * 1.000_001),
            "normalised" => of(|n| (n - 128.0) / 64.0),
            "quarters" => of(|n| n / 4.0),
            "beyond" => of(|n| n * 2.0),
            _ => panic!("{kind}"),
        }
    }

    pub(crate) fn array(&self, shape: [usize; 3]) -> ImageArray<'_> {
        match self {
            Self::U8(values) => ImageArray::new(&values[..], shape).unwrap(),
            Self::F32(values) => ImageArray::new(&values[..], shape).unwrap(),
        }
    }
}

enum Image {
    Picture(Picture),
    Array(Owned, [usize; 3]),
}

impl Image {
    fn input(&self) -> ImageInput<'_> {
        match self {
            Self::Picture(picture) => picture.into(),
            Self::Array(numbers, shape) => numbers.array(*shape).into(),
        }
    }
}

fn images(case: &Value) -> Vec<Image> {
    let image = |(number, image): (usize, &Value)| {
        if let Some(file) = image.as_str() {
            return Image::Picture(Picture::open(folder().join(file), &Limits::default()).unwrap());
        }
        let shape: [usize; 3] = serde_json::from_value(image[1].clone()).unwrap();
        Image::Array(Owned::draw(image[0].as_str().unwrap(), shape.iter().product(), 7 + number as u32), shape)
    };
    case["images"].as_array().unwrap().iter().enumerate().map(image).collect()
}

/// Parameters as the reference spells them.
pub(crate) fn options(value: &Value) -> PreprocessOptions {
    let pair = |value: &Value| (value["height"].as_u64().unwrap() as usize, value["width"].as_u64().unwrap() as usize);
    let per_channel = |value: &Value| match value.as_f64() {
        Some(number) => PerChannel::All(number),
        None => PerChannel::Each(serde_json::from_value(value.clone()).unwrap()),
    };
    let format = |value: &Value| match value.as_str().unwrap() {
        "channels_first" => ChannelDimension::First,
        _ => ChannelDimension::Last,
    };
    PreprocessOptions {
        do_resize: value["do_resize"].as_bool(),
        size: value.get("size").map(pair).map(|(height, width)| Size::Exact { height, width }),
        resample: value.get("resample").map(|code| Resample::try_from(code.as_u64().unwrap() as u8).unwrap()),
        do_center_crop: value["do_center_crop"].as_bool(),
        crop_size: value.get("crop_size").map(pair).map(|(height, width)| CropSize { height, width }),
        do_rescale: value["do_rescale"].as_bool(),
        rescale_factor: value["rescale_factor"].as_f64(),
        do_normalize: value["do_normalize"].as_bool(),
        image_mean: value.get("image_mean").map(per_channel),
        image_std: value.get("image_std").map(per_channel),
        do_convert_rgb: value["do_convert_rgb"].as_bool(),
        data_format: value.get("data_format").map(format).unwrap_or_default(),
        input_data_format: value.get("input_data_format").map(format),
    }
}

/// What the reference says in our words: the start of its message, and whether an error is the same.
type SameError = (&'static str, fn(&PreprocessError) -> bool);
const ERRORS: [SameError; 5] = [
    ("The image to be converted to a PIL image", |error| matches!(error, PreprocessError::ArrayRange { .. })),
    ("The image to be converted to RGB", |error| matches!(error, PreprocessError::AlphaRange { .. })),
    ("Unable to infer channel dimension format", |error| matches!(error, PreprocessError::NoChannels { .. })),
    ("mean must have", |error| matches!(error, PreprocessError::ChannelCount { field: "image_mean", .. })),
    ("Cannot handle this data type", |error| matches!(error, PreprocessError::ResizeChannels { channels: 5 })),
];

fn log(warning: &Warning) -> &'static str {
    match warning {
        Warning::AlreadyRescaled => "It looks like you are",
        Warning::AmbiguousChannels { .. } => "The channel dimension is ambiguous.",
        _ => "",
    }
}

/// What is wrong with the processor's answer to each case of a file of goldens.
pub(crate) fn faults(name: &str, processor: &ImageProcessor) -> Vec<String> {
    let file = std::fs::read(folder().with_file_name(name)).unwrap();
    let file: Value = serde_json::from_slice(&file).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.len() > 20);
    let fault = |case: &Value| {
        let images = images(case);
        let inputs = images.iter().map(Image::input);
        match (processor.preprocess(inputs, &options(&case["options"])), case["error"].as_str()) {
            (Ok(found), None) => {
                let logged: BTreeSet<_> = found.warnings.iter().map(log).collect();
                let expected: Option<BTreeSet<&str>> =
                    case["log"].as_array().map(|lines| lines.iter().filter_map(Value::as_str).collect());
                let right = serde_json::json!(found.shape) == case["shape"]
                    && crc(found.pixel_values.iter().flat_map(|v| v.to_le_bytes())) == case["crc"]
                    && expected.is_none_or(|expected| expected == logged);
                (!right).then(|| format!("{:?}, {logged:?}", found.shape))
            }
            (Err(error), Some(expected)) => {
                let PreprocessError::AtPicture { source, .. } = &error else { panic!("{error}") };
                let same = ERRORS.iter().any(|(start, same)| expected.starts_with(start) && same(source));
                (!same || error.hint().is_none() && !expected.starts_with("Cannot")).then(|| source.to_string())
            }
            (found, _) => Some(format!("{:?}", found.map(|found| found.shape))),
        }
    };
    cases.iter().filter_map(|case| fault(case).map(|found| format!("{case}\n  here: {found}"))).collect()
}

#[test]
fn every_case() {
    let faults = faults("arrays.json", &ImageProcessor::default());
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn transparency_on_white() {
    let faults = faults("alpha.json", &ImageProcessor::default().with_alpha(Alpha::OnWhite));
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn bad_arrays_are_errors() {
    let ten = [0_u8; 10];
    for shape in [[3, 2, 2], [0, 2, 2], [usize::MAX, 2, 2]] {
        let error = ImageArray::new(&ten[..], shape).unwrap_err();
        assert!(matches!(error, PreprocessError::ArrayShape { found: 10, .. }), "{error}");
    }
    assert!(matches!(ImageArray::new(&ten[..0], [0, 3, 3]), Err(PreprocessError::ArrayShape { found: 0, .. })));
    assert!(ImageArray::batch(&ten[..], [0, 3, 3, 3]).is_err());

    let processor = ImageProcessor::default();
    let as_is =
        PreprocessOptions { do_resize: Some(false), do_center_crop: Some(false), ..PreprocessOptions::default() };
    let refused = |arrays: &[ImageArray], options: &PreprocessOptions| {
        processor.preprocess(arrays.iter().copied(), options).unwrap_err()
    };
    assert!(matches!(refused(&[], &as_is), PreprocessError::NoPictures));
    let numbers = noise(3 * 8 * 9, 1);
    let [colour, turned] = [[3, 8, 9], [3, 9, 8]].map(|shape| ImageArray::new(&numbers[..], shape).unwrap());
    let grey = ImageArray::new(&numbers[..72], [1, 8, 9]).unwrap();
    let error = refused(&[colour, turned], &as_is);
    assert!(matches!(error, PreprocessError::MixedSizes { index: 1, width: 8, height: 9, .. }), "{error}");
    let bare = PreprocessOptions { do_normalize: Some(false), ..as_is.clone() };
    let error = refused(&[colour, grey], &bare);
    assert!(matches!(error, PreprocessError::MixedChannels { index: 1, channels: 1, first_channels: 3 }), "{error}");
    assert!(error.hint().is_some());
    for image_std in [PerChannel::All(0.0), [1.0, f64::NAN, 1.0].into()] {
        let error = refused(&[colour], &PreprocessOptions { image_std: Some(image_std), ..as_is.clone() });
        assert!(matches!(error, PreprocessError::Config { .. }), "{error}");
    }
    let picture = Picture::from_rgb8(9, 8, numbers.clone()).unwrap();
    let two = PreprocessOptions { image_mean: Some([0.1, 0.2].into()), ..as_is };
    let PreprocessError::AtPicture { index: 0, source } = processor.preprocess([&picture], &two).unwrap_err() else {
        panic!()
    };
    assert!(
        matches!(*source, PreprocessError::ChannelCount { field: "image_mean", expected: 3, found: 2 }),
        "{source}"
    );

    let mut few = Limits::default();
    few.image_pixels = 100;
    let error = processor.clone().with_limits(few).preprocess([colour], &PreprocessOptions::default()).unwrap_err();
    let PreprocessError::AtPicture { source, .. } = error else { panic!("{error}") };
    assert!(matches!(*source, PreprocessError::PicturePixels { width: 252, height: 224, limit: 100 }), "{source}");
}

#[test]
fn an_array_of_four_dimensions_is_a_batch() {
    let numbers = noise(2 * 3 * 8 * 9, 1);
    let arrays = ImageArray::batch(&numbers[..], [2, 3, 8, 9]).unwrap();
    let second = ImageArray::new(&numbers[216..], [3, 8, 9]).unwrap();
    assert_eq!((arrays.len(), arrays[1]), (2, second));
}

#[test]
fn pixels_for_a_model_have_their_channels_first() {
    let numbers = noise(2 * 7 * 9 * 3, 1);
    let arrays = ImageArray::batch(&numbers[..], [2, 7, 9, 3]).unwrap();
    let made = [ChannelDimension::First, ChannelDimension::Last].map(|data_format| {
        let options = PreprocessOptions { data_format, ..PreprocessOptions::default() };
        ImageProcessor::default().preprocess(arrays.iter().copied(), &options).unwrap()
    });
    assert_eq!((made[0].shape, made[1].shape), ([2, 3, 224, 224], [2, 224, 224, 3]));
    assert_ne!(made[0].pixel_values, made[1].pixel_values);
    let [first, last] = made.map(chinese_clip_preprocess::BatchFeature::into_pixels);
    assert_eq!(first, last);
}
