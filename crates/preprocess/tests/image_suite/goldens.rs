//! Every mode and format: the decoded pixels, and the pixel values of both dialects under every configuration.

use std::collections::BTreeMap;

use chinese_clip_config::{CropSize, Limits, PreprocessorConfig, Resample, Size};
use chinese_clip_preprocess::{Dialect, ImageProcessor, Picture};
use serde_json::Value;

use crate::common::crc;
use crate::{expected, folder};

/// Pictures that `image` does not decode, and why.
const UNREADABLE: [(&str, &str); 1] = [("tiff_p.tif", "the `tiff` crate refuses palettes")];

/// Pictures whose mode is not Pillow's, and why. Their RGB is the same; cn_clip's dialect resizes it otherwise.
const OTHER_MODE: [(&str, &str); 1] = [("tga_p.tga", "`image` expands the palette")];

/// Largest distance of the decoders to Pillow's, for formats that lose.
const LOSSY: [(&str, u8); 2] = [("jpeg", if cfg!(feature = "libjpeg-turbo") { 0 } else { 9 }), ("webp_lossy", 0)];

fn config(value: &Value) -> PreprocessorConfig {
    let mut config = PreprocessorConfig { do_resize: false, do_center_crop: false, ..PreprocessorConfig::default() };
    let pair = |value: &Value| (value[0].as_u64().unwrap() as usize, value[1].as_u64().unwrap() as usize);
    if let Some(size) = value.get("size") {
        config.do_resize = true;
        config.size = match size.as_u64() {
            Some(edge) => Size::ShortestEdge { shortest_edge: edge as usize },
            None => Size::Exact { height: pair(size).0, width: pair(size).1 },
        };
    }
    if let Some(crop) = value.get("crop") {
        config.do_center_crop = true;
        config.crop_size = CropSize { height: pair(crop).0, width: pair(crop).1 };
    }
    if let Some(code) = value.get("resample") {
        config.resample = Resample::try_from(code.as_u64().unwrap() as u8).unwrap();
    }
    config.do_rescale = value.get("do_rescale").is_none();
    config.do_normalize = value.get("do_normalize").is_none();
    if let Some(factor) = value.get("rescale_factor") {
        config.rescale_factor = factor.as_f64().unwrap();
        config.image_mean = [0, 1, 2].map(|i| value["mean"][i].as_f64().unwrap());
        config.image_std = [0, 1, 2].map(|i| value["std"][i].as_f64().unwrap());
    }
    config
}

/// The picture as upright RGB bytes, `[H, W, 3]`, and its width and height.
fn upright(picture: &Picture) -> (Vec<u8>, Value) {
    let raw = config(&serde_json::json!({"do_rescale": false, "do_normalize": false}));
    let pixels = ImageProcessor::new(raw, Dialect::Hf).process(std::slice::from_ref(picture)).unwrap();
    let [_, _, height, width] = pixels.shape;
    let plane = height * width;
    let bytes = (0..plane).flat_map(|i| [0, 1, 2].map(|c| pixels.data[c * plane + i] as u8)).collect();
    (bytes, serde_json::json!([width, height]))
}

#[test]
fn every_file() {
    let expected = expected();
    let configs: BTreeMap<_, _> =
        expected["configs"].as_object().unwrap().iter().map(|(name, value)| (name, config(value))).collect();
    let files = expected["files"].as_object().unwrap();
    assert!(files.len() > 90 && configs.len() > 10);
    let mut wrong = Vec::new();
    for (name, want) in files {
        let mut fault = |what: String| wrong.push(format!("{name}: {what}"));
        let picture = match Picture::open(folder().join(name), &Limits::default()) {
            Ok(picture) => picture,
            Err(error) => {
                if !UNREADABLE.iter().any(|(unreadable, _)| unreadable == name) {
                    fault(format!("{error}: {:?}", std::error::Error::source(&error)));
                }
                continue;
            }
        };
        let lossy = LOSSY.iter().find(|(start, _)| name.starts_with(start)).map_or(0, |(_, distance)| *distance);
        let other_mode = OTHER_MODE.iter().any(|(other, _)| other == name);
        let size = serde_json::json!([picture.width(), picture.height()]);
        if size != want["size"] || (picture.mode().name() != want["mode"] && !other_mode) {
            fault(format!(
                "mode {} and size {size}, Pillow has {} and {}",
                picture.mode().name(),
                want["mode"],
                want["size"]
            ));
        }
        let (rgb, size) = upright(&picture);
        if size != want["upright"] {
            fault(format!("upright size {size}, Pillow has {}", want["upright"]));
        }
        if lossy > 0 {
            let reference = std::fs::read(folder().join(format!("{name}.rgb"))).unwrap();
            let distance = rgb.iter().zip(&reference).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            if distance > lossy || rgb.len() != reference.len() {
                fault(format!("distance {distance}, bound {lossy}"));
            }
            continue;
        }
        if crc(rgb) != want["rgb"] {
            fault("RGB differs".into());
        }
        for (dialect, key) in [(Dialect::Hf, "hf"), (Dialect::CnClip, "cn_clip")] {
            for (config, want) in want[key].as_object().unwrap() {
                let processor = ImageProcessor::new(configs[config].clone(), dialect);
                let pixels = processor.process(std::slice::from_ref(&picture)).unwrap();
                let equal = crc(pixels.data.iter().flat_map(|v| v.to_le_bytes())) == *want;
                let may_differ = other_mode && dialect == Dialect::CnClip;
                if !equal && !may_differ {
                    fault(format!("{key} {config} differs"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn exif_is_applied_by_hf_and_ignored_by_cn_clip() {
    let open = |name| Picture::open(folder().join(name), &Limits::default()).unwrap();
    let (plain, turned) = (open("jpeg_exif1.jpg"), open("jpeg_exif6.jpg"));
    assert_ne!(plain.orientation(), turned.orientation());
    let process = |picture: &Picture, dialect| {
        ImageProcessor::new(PreprocessorConfig::published(32), dialect).process(std::slice::from_ref(picture)).unwrap()
    };
    assert_eq!(process(&plain, Dialect::CnClip), process(&turned, Dialect::CnClip));
    assert_ne!(process(&plain, Dialect::Hf), process(&turned, Dialect::Hf));
}

#[test]
fn content_decides_not_the_name() {
    let folder_of_lies = std::env::temp_dir().join(format!("chinese-clip-names-{}", std::process::id()));
    std::fs::create_dir_all(&folder_of_lies).unwrap();
    let lie = folder_of_lies.join("really_a_png.jpg");
    std::fs::copy(folder().join("png_rgb8.png"), &lie).unwrap();
    let (honest, lying) = (folder().join("png_rgb8.png"), lie);
    assert_eq!(Picture::open(honest, &Limits::default()).unwrap(), Picture::open(lying, &Limits::default()).unwrap());
    std::fs::remove_dir_all(folder_of_lies).unwrap();
}
