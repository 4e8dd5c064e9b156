//! `ChineseCLIPImageProcessingTest`, and `ImageProcessingTestMixin` of `test_image_processing_common.py`.
//!
//! `ChineseCLIPImageProcessingTestFourChannels` says the same with the same parameters.

use chinese_clip_config::{CropSize, Limits, PreprocessorConfig, Resample, Size};
use chinese_clip_preprocess::{ChannelDimension, Dialect, ImageArray, ImageProcessor, PerChannel, PreprocessOptions};
use serde_json::{Value, json};

use crate::common::{noise, picture};

const BATCH: usize = 7;

/// `ChineseCLIPImageProcessingTester.prepare_image_processor_dict`.
fn parameters() -> Value {
    json!({
        "do_resize": true,
        "size": {"height": 224, "width": 224},
        "do_center_crop": true,
        "crop_size": {"height": 18, "width": 18},
        "do_normalize": true,
        "image_mean": [0.481_454_66, 0.457_827_5, 0.408_210_73],
        "image_std": [0.268_629_54, 0.261_302_58, 0.275_777_11],
        "do_convert_rgb": true,
    })
}

fn image_processor() -> ImageProcessor {
    ImageProcessor::new(PreprocessorConfig::from_json(&parameters().to_string()).unwrap(), Dialect::Hf)
}

/// `prepare_image_inputs`: edges of 30 to 400.
fn size(number: usize) -> (usize, usize) {
    (30 + 53 * number, 30 + 370 * (number % 3) / 2)
}

/// Calls with one array and with all, `[H, W, C]` or `[C, H, W]`.
fn shapes_of_arrays(channels: usize, format: ChannelDimension, options: &PreprocessOptions) {
    let numbers: Vec<_> = (0..BATCH).map(|i| noise(size(i).0 * size(i).1 * channels, i as u32)).collect();
    let shape = |i: usize| match format {
        ChannelDimension::First => [channels, size(i).1, size(i).0],
        ChannelDimension::Last => [size(i).1, size(i).0, channels],
    };
    let arrays: Vec<_> = (0..BATCH).map(|i| ImageArray::new(&numbers[i][..], shape(i)).unwrap()).collect();
    let one = image_processor().preprocess([arrays[0]], options).unwrap();
    assert_eq!(one.shape, [1, channels, 18, 18]);
    let all = image_processor().preprocess(arrays, options).unwrap();
    assert_eq!(all.shape, [BATCH, channels, 18, 18]);
    assert!(all.pixel_values.starts_with(&one.pixel_values));
}

#[test]
fn test_image_processor_properties() {
    // do_resize, size, do_center_crop, do_normalize, image_mean, image_std, do_convert_rgb: a missing one does not compile.
    let PreprocessorConfig {
        do_convert_rgb,
        do_resize,
        size,
        resample,
        do_center_crop,
        crop_size,
        do_rescale,
        rescale_factor,
        do_normalize,
        image_mean,
        image_std,
    } = image_processor().config().clone();
    assert!(do_convert_rgb && do_resize && do_center_crop && do_rescale && do_normalize);
    assert_eq!((size, crop_size), (Size::Exact { height: 224, width: 224 }, CropSize { height: 18, width: 18 }));
    assert_eq!((resample, rescale_factor), (Resample::Bicubic, 1.0 / 255.0));
    assert_eq!(json!([image_mean, image_std]), json!([parameters()["image_mean"], parameters()["image_std"]]));
}

#[test]
fn test_image_processor_from_dict_with_kwargs() {
    let config = image_processor().config().clone();
    assert_eq!(config.size, Size::Exact { height: 224, width: 224 });
    assert_eq!(config.crop_size, CropSize { height: 18, width: 18 });
    let mut changed = parameters();
    (changed["size"], changed["crop_size"]) = (42.into(), 84.into());
    let config = PreprocessorConfig::from_json(&changed.to_string()).unwrap();
    assert_eq!(config.size, Size::ShortestEdge { shortest_edge: 42 });
    assert_eq!(config.crop_size, CropSize { height: 84, width: 84 });
}

#[test]
fn test_image_processor_to_json_string() {
    let written: Value = serde_json::from_str(&image_processor().config().to_json()).unwrap();
    for (key, value) in parameters().as_object().unwrap() {
        assert_eq!(&written[key], value, "{key}");
    }
}

#[test]
fn test_image_processor_to_json_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image_processor.json");
    std::fs::write(&path, image_processor().config().to_json()).unwrap();
    let second = ImageProcessor::from_pretrained(&path, &Limits::default()).unwrap();
    assert_eq!(second.config(), image_processor().config());
}

#[test]
fn test_image_processor_from_and_save_pretrained() {
    let folder = tempfile::tempdir().unwrap();
    image_processor().save_pretrained(folder.path()).unwrap();
    let json = std::fs::read_to_string(folder.path().join("preprocessor_config.json")).unwrap();
    // `check_json_file_has_correct_format`: indented, sorted, a line break at the end.
    assert!(json.starts_with("{\n  \"") && json.ends_with("\n}\n"), "{json}");
    let second = ImageProcessor::from_pretrained(folder.path(), &Limits::default()).unwrap();
    assert_eq!(second.config(), image_processor().config());
}

#[test]
fn test_init_without_params() {
    let processor = ImageProcessor::default();
    assert_eq!(processor.config().size, Size::ShortestEdge { shortest_edge: 224 });
    // 4.51.3 makes such a processor and fails when it is called.
    let features = processor.preprocess([&picture(31, 17, 1)], &PreprocessOptions::default()).unwrap();
    assert_eq!(features.shape, [1, 3, 224, 224]);
}

#[test]
fn test_call_pil() {
    let pictures: Vec<_> = (0..BATCH).map(|i| picture(size(i).0, size(i).1, i as u32)).collect();
    let call = |pictures| image_processor().preprocess(pictures, &PreprocessOptions::default()).unwrap();
    let (one, all) = (call(&pictures[..1]), call(&pictures[..]));
    assert_eq!((one.shape, all.shape), ([1, 3, 18, 18], [BATCH, 3, 18, 18]));
    assert_eq!(all.into_pixels(), image_processor().process(&pictures).unwrap());
}

#[test]
fn test_call_numpy() {
    shapes_of_arrays(3, ChannelDimension::Last, &PreprocessOptions::default());
}

#[test]
fn test_call_pytorch() {
    shapes_of_arrays(3, ChannelDimension::First, &PreprocessOptions::default());
}

/// Skipped there for this model; the values are among those of `arrays.json`.
#[test]
fn test_call_numpy_4_channels() {
    let options = PreprocessOptions {
        input_data_format: Some(ChannelDimension::Last),
        image_mean: Some(PerChannel::All(0.0)),
        image_std: Some(PerChannel::All(1.0)),
        ..PreprocessOptions::default()
    };
    shapes_of_arrays(4, ChannelDimension::Last, &options);
}

#[test]
fn test_override_instance_attributes_does_not_affect_other_instances() {
    let first = image_processor();
    let narrow = PreprocessorConfig { size: Size::Exact { height: 1, width: 1 }, ..first.config().clone() };
    let second = first.clone().with_config(narrow);
    assert_eq!(first.config().size, Size::Exact { height: 224, width: 224 });
    assert_eq!(second.config().size, Size::Exact { height: 1, width: 1 });
}
