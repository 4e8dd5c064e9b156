//! `preprocessor_config.json`: `ChineseCLIPImageProcessor` of transformers 4.51.3.

use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::error::{EDGES, Faults};
use crate::model::{parse, pretty, read};
use crate::{ConfigError, Limits};

/// Resampling filter, by Pillow's codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Resample {
    /// 0.
    Nearest,
    /// 1: windowed sinc, support 3.
    Lanczos,
    /// 2: triangle.
    Bilinear,
    /// 3: cubic with a = -0.5, antialiased. The published checkpoints.
    Bicubic,
    /// 4.
    Box,
    /// 5.
    Hamming,
}

impl From<Resample> for u8 {
    fn from(value: Resample) -> Self {
        value as Self
    }
}

impl TryFrom<u8> for Resample {
    type Error = String;

    fn try_from(code: u8) -> Result<Self, String> {
        [Self::Nearest, Self::Lanczos, Self::Bilinear, Self::Bicubic, Self::Box, Self::Hamming]
            .get(usize::from(code))
            .copied()
            .ok_or_else(|| {
                format!("resample {code} is not one of 0 nearest, 1 lanczos, 2 bilinear, 3 bicubic, 4 box, 5 hamming")
            })
    }
}

/// Target of a resize in pixels. An integer in the file means [`Size::ShortestEdge`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, try_from = "SizeInFile")]
pub enum Size {
    /// Both edges: the picture is squashed. The published checkpoints.
    Exact {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// The shorter edge; the longer one keeps the aspect ratio, truncated.
    ShortestEdge {
        /// Pixels.
        shortest_edge: usize,
    },
}

/// Height and width of the centre crop in pixels. An integer in the file means a square.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SizeInFile")]
pub struct CropSize {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// A size as files spell it.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected an integer, {\"height\", \"width\"} or {\"shortest_edge\"}")]
enum SizeInFile {
    Edge(usize),
    Edges(Edges),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edges {
    height: Option<usize>,
    width: Option<usize>,
    shortest_edge: Option<usize>,
}

impl TryFrom<SizeInFile> for Size {
    type Error = &'static str;

    fn try_from(size: SizeInFile) -> Result<Self, Self::Error> {
        match size {
            SizeInFile::Edge(shortest_edge)
            | SizeInFile::Edges(Edges { shortest_edge: Some(shortest_edge), height: None, width: None }) => {
                Ok(Self::ShortestEdge { shortest_edge })
            }
            SizeInFile::Edges(Edges { height: Some(height), width: Some(width), shortest_edge: None }) => {
                Ok(Self::Exact { height, width })
            }
            SizeInFile::Edges(_) => Err("size needs height and width, or shortest_edge alone"),
        }
    }
}

impl TryFrom<SizeInFile> for CropSize {
    type Error = &'static str;

    fn try_from(size: SizeInFile) -> Result<Self, Self::Error> {
        match size {
            SizeInFile::Edge(edge) => Ok(Self { height: edge, width: edge }),
            SizeInFile::Edges(Edges { height: Some(height), width: Some(width), shortest_edge: None }) => {
                Ok(Self { height, width })
            }
            SizeInFile::Edges(_) => Err("crop_size needs height and width"),
        }
    }
}

/// What happens to a picture before the image tower, in this order: convert to RGB, resize, centre crop, rescale, normalise.
///
/// The defaults are those of the class (crop 224 out of a shortest edge of 224); the published checkpoints say
/// `do_center_crop: false` and an exact size, which squashes the picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PreprocessorConfig {
    /// Convert to RGB first.
    pub do_convert_rgb: bool,
    /// Resize.
    pub do_resize: bool,
    /// Target of the resize.
    pub size: Size,
    /// Filter of the resize.
    pub resample: Resample,
    /// Crop the centre.
    pub do_center_crop: bool,
    /// Size of the crop; what it exceeds the picture by is filled with zeros.
    pub crop_size: CropSize,
    /// Multiply by `rescale_factor`.
    pub do_rescale: bool,
    /// 1/255.
    pub rescale_factor: f64,
    /// Subtract the mean, divide by the standard deviation.
    pub do_normalize: bool,
    /// Mean of red, green, blue. A single number in the file is that of all three.
    #[serde(deserialize_with = "of_each_channel")]
    pub image_mean: [f64; 3],
    /// Standard deviation of red, green, blue, spelled likewise.
    #[serde(deserialize_with = "of_each_channel")]
    pub image_std: [f64; 3],
}

fn of_each_channel<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[f64; 3], D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a number or three of them")]
    enum InFile {
        All(f64),
        Each([f64; 3]),
    }
    Ok(match InFile::deserialize(deserializer)? {
        InFile::All(number) => [number; 3],
        InFile::Each(numbers) => numbers,
    })
}

impl Default for PreprocessorConfig {
    fn default() -> Self {
        Self {
            do_convert_rgb: true,
            do_resize: true,
            size: Size::ShortestEdge { shortest_edge: 224 },
            resample: Resample::Bicubic,
            do_center_crop: true,
            crop_size: CropSize { height: 224, width: 224 },
            do_rescale: true,
            rescale_factor: 1.0 / 255.0,
            do_normalize: true,
            image_mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            image_std: [0.268_629_54, 0.261_302_58, 0.275_777_11],
        }
    }
}

impl PreprocessorConfig {
    /// What the published checkpoints say for a model of `image_size` pixels: squash, do not crop.
    pub fn published(image_size: usize) -> Self {
        let (height, width) = (image_size, image_size);
        Self {
            size: Size::Exact { height, width },
            do_center_crop: false,
            crop_size: CropSize { height, width },
            ..Self::default()
        }
    }

    /// Parses a `preprocessor_config.json` and validates it. Unknown keys are ignored; `null` means the default.
    pub fn from_json(json: &str) -> Result<Self, ConfigError> {
        let root: Map<String, Value> = parse(json)?;
        let given = root.into_iter().filter(|(_, value)| !value.is_null()).collect();
        let config: Self = parse(&Value::Object(given).to_string())?;
        config.validate()?;
        Ok(config)
    }

    /// Reads and validates a `preprocessor_config.json`.
    pub fn from_file(path: &Path, limits: &Limits) -> Result<Self, ConfigError> {
        read(path, limits, Self::from_json)
    }

    /// The `preprocessor_config.json` of this processor, as HF reads it.
    pub fn to_json(&self) -> String {
        let mut root = Map::new();
        root.insert("image_processor_type".into(), "ChineseCLIPImageProcessor".into());
        if let Ok(Value::Object(fields)) = serde_json::to_value(self) {
            root.extend(fields);
        }
        pretty(&root)
    }

    /// Checks ranges, and reports every fault at once.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut faults = Faults::of("");
        let (height, width) = match self.size {
            Size::Exact { height, width } => (height, width),
            Size::ShortestEdge { shortest_edge } => (shortest_edge, shortest_edge),
        };
        for (field, edge) in [
            ("size", height),
            ("size", width),
            ("crop_size", self.crop_size.height),
            ("crop_size", self.crop_size.width),
        ] {
            faults.size(field, edge, EDGES);
        }
        let factor = self.rescale_factor;
        faults.check(factor.is_finite(), "rescale_factor", || format!("is {factor}, must be finite"));
        let std = self.image_std;
        faults.check(std.iter().all(|s| s.is_finite() && *s > 0.0), "image_std", || {
            format!("is {std:?}, each must be positive")
        });
        if faults.found.is_empty() { Ok(()) } else { Err(ConfigError::Invalid { faults: faults.found }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_file() {
        let json = r#"{"crop_size": {"height": 224, "width": 224}, "do_center_crop": false, "do_convert_rgb": true,
            "feature_extractor_type": "ChineseCLIPFeatureExtractor", "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "rescale_factor": 0.00392156862745098,
            "size": {"height": 224, "width": 224}}"#;
        let config = PreprocessorConfig::from_json(json).unwrap();
        assert_eq!(config, PreprocessorConfig::published(224));
        assert_eq!(PreprocessorConfig::from_json(&config.to_json()).unwrap(), config);
    }

    #[test]
    fn spellings_of_sizes() {
        for (json, size) in [
            (r#"{"size": 180}"#, Size::ShortestEdge { shortest_edge: 180 }),
            (r#"{"size": {"shortest_edge": 180}}"#, Size::ShortestEdge { shortest_edge: 180 }),
            (r#"{"size": {"height": 2, "width": 3}}"#, Size::Exact { height: 2, width: 3 }),
            (r#"{"size": null}"#, PreprocessorConfig::default().size),
            ("{}", PreprocessorConfig::default().size),
        ] {
            assert_eq!(PreprocessorConfig::from_json(json).unwrap().size, size, "{json}");
        }
        let config = PreprocessorConfig::from_json(r#"{"image_mean": 0, "image_std": [1, 2, 3]}"#).unwrap();
        assert_eq!((config.image_mean, config.image_std), ([0.0; 3], [1.0, 2.0, 3.0]));
        let crop = PreprocessorConfig::from_json(r#"{"crop_size": 18}"#).unwrap().crop_size;
        assert_eq!(crop, CropSize { height: 18, width: 18 });
    }

    #[test]
    fn bad_values_are_named() {
        for (json, part) in [
            (r#"{"size": {"longest_edge": 3}}"#, "size"),
            (r#"{"size": {"height": 2}}"#, "size"),
            (r#"{"resample": 6}"#, "resample"),
            ("[]", "invalid JSON"),
            (r#"{"image_mean": [0.5]}"#, "image_mean"),
            (r#"{"image_std": [1, 0, 1]}"#, "image_std"),
            (r#"{"size": 0}"#, "size: is 0"),
            (r#"{"crop_size": 1000000}"#, "crop_size"),
        ] {
            let message = PreprocessorConfig::from_json(json).unwrap_err().to_string();
            assert!(message.contains(part), "{json}: {message}");
        }
    }
}
