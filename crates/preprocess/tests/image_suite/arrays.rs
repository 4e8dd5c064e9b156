//! Arrays and parameters of a call against transformers 4.51.3: `tests/data/make_array_goldens.py`; transparency against 5.24.0:
//! `make_alpha_goldens.py`.

use chinese_clip_config::{CropSize, Limits, Resample, Size};
use chinese_clip_preprocess::{
    Alpha, ChannelDimension, ImageArray, ImageInput, ImageProcessor, PerChannel, Picture, PreprocessError,
    PreprocessOptions, Warning,
};
use serde_json::Value;

use crate::{crc, folder, noise};

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
                let mut logged: Vec<_> = found.warnings.iter().map(log).collect();
                let mut expected: Option<Vec<&str>> =
                    case["log"].as_array().map(|lines| lines.iter().filter_map(Value::as_str).collect());
                logged.sort_unstable();
                expected.iter_mut().for_each(|lines| lines.sort_unstable());
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
