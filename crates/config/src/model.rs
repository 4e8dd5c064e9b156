//! `config.json`: `ChineseCLIPConfig` of transformers 4.51.3.
//!
//! differs: a model with a ResNet has a `model_type` of its own, so that transformers refuses it rather than make a ViT of it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Faults, WIDTHS};
use crate::{ConfigError, Fault, Limits, TextConfig, VisionConfig};

/// `model_type` of a model with a ResNet, and of its image tower.
const RESNET: &str = "chinese_clip_resnet";
const RESNET_VISION: &str = "chinese_clip_resnet_vision_model";

/// The joint model. Unknown keys are ignored, absent ones take the reference's defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChineseClipConfig {
    /// The BERT tower.
    pub text_config: TextConfig,
    /// The image tower.
    pub vision_config: VisionConfig,
    /// Width of the shared space, `E`.
    pub projection_dim: usize,
    /// Logarithm of the initial temperature; a checkpoint carries its own.
    pub logit_scale_init_value: f64,
}

impl Default for ChineseClipConfig {
    fn default() -> Self {
        Self {
            text_config: TextConfig::default(),
            vision_config: VisionConfig::default(),
            projection_dim: 512,
            logit_scale_init_value: 2.6592,
        }
    }
}

impl ChineseClipConfig {
    /// A joint configuration from its two halves, as `ChineseCLIPConfig.from_text_vision_configs`.
    pub fn from_text_vision_configs(text_config: TextConfig, vision_config: VisionConfig) -> Self {
        Self { text_config, vision_config, ..Self::default() }
    }

    /// Parses a `config.json` and validates it.
    ///
    /// A file of one tower alone (`model_type` ending in `_text_model` or `_vision_model`) fills that half.
    /// The legacy keys `text_config_dict` and `vision_config_dict` replace `text_config` and `vision_config`, as in HF,
    /// which completes them with defaults before they override.
    pub fn from_json(json: &str) -> Result<Self, ConfigError> {
        let mut root: Map<String, Value> = parse(json)?;
        for (legacy, key) in [("text_config_dict", "text_config"), ("vision_config_dict", "vision_config")] {
            match root.remove(legacy) {
                None | Some(Value::Null) => {}
                Some(half) => drop(root.insert(key.into(), half)),
            }
            match root.get(key) {
                Some(Value::Null) => drop(root.remove(key)),
                None | Some(Value::Object(_)) => {}
                Some(_) => {
                    let fault = Fault { field: key.into(), problem: "must be an object".into() };
                    return Err(ConfigError::Invalid { faults: vec![fault] });
                }
            }
        }
        let invalid =
            |problem: String| ConfigError::Invalid { faults: vec![Fault { field: "model_type".into(), problem }] };
        let model_type = root.get("model_type").and_then(Value::as_str).map(str::to_string);
        let half = match model_type.as_deref() {
            Some("chinese_clip_text_model") => Some("text_config"),
            Some("chinese_clip_vision_model") => Some("vision_config"),
            Some("chinese_clip" | RESNET) | None => None,
            Some(other) => return Err(invalid(format!("is `{other}`, must be `chinese_clip`"))),
        };
        let root = match half {
            Some(key) => Map::from_iter([(key.to_string(), Value::Object(root))]),
            None => root,
        };
        let config: Self = parse(&Value::Object(root).to_string())?;
        let is_resnet = config.vision_config.resnet_layers.is_some();
        if is_resnet != (model_type.as_deref() == Some(RESNET)) {
            return Err(invalid(format!("must be `{RESNET}` where vision_config has resnet_layers, and only there")));
        }
        config.validate()?;
        Ok(config)
    }

    /// Reads and validates a `config.json`.
    pub fn from_file(path: &Path, limits: &Limits) -> Result<Self, ConfigError> {
        read(path, limits, Self::from_json)
    }

    /// The `config.json` of this model, as HF reads it.
    pub fn to_json(&self) -> String {
        let (model_type, vision_type, architecture) = match self.vision_config.resnet_layers {
            None => ("chinese_clip", "chinese_clip_vision_model", "ChineseCLIPModel"),
            Some(_) => (RESNET, RESNET_VISION, "ChineseCLIPResNetModel"),
        };
        let mut root = tagged(model_type, self);
        root.insert("architectures".into(), Value::from(vec![architecture]));
        root.insert("torch_dtype".into(), "float32".into());
        root.insert("text_config".into(), Value::Object(tagged("chinese_clip_text_model", &self.text_config)));
        root.insert("vision_config".into(), Value::Object(tagged(vision_type, &self.vision_config)));
        pretty(&root)
    }

    /// Checks ranges and contradictions, and reports every fault at once.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut faults = Faults::of("");
        faults.size("projection_dim", self.projection_dim, WIDTHS);
        let scale = self.logit_scale_init_value;
        faults.check(scale.is_finite(), "logit_scale_init_value", || format!("is {scale}, must be finite"));
        faults.found.extend(self.text_config.faults().found);
        faults.found.extend(self.vision_config.faults().found);
        if faults.found.is_empty() { Ok(()) } else { Err(ConfigError::Invalid { faults: faults.found }) }
    }
}

fn tagged(model_type: &str, value: &impl Serialize) -> Map<String, Value> {
    let mut map = Map::from_iter([("model_type".to_string(), Value::from(model_type))]);
    if let Ok(Value::Object(fields)) = serde_json::to_value(value) {
        map.extend(fields);
    }
    map
}

pub(crate) fn pretty(map: &Map<String, Value>) -> String {
    format!("{:#}\n", Value::Object(map.clone()))
}

pub(crate) fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, ConfigError> {
    let deserializer = &mut serde_json::Deserializer::from_str(json);
    let value = serde_path_to_error::deserialize(&mut *deserializer)
        .map_err(|error| ConfigError::Json { key: error.path().to_string(), source: error.into_inner() })?;
    deserializer.end().map_err(|source| ConfigError::Json { key: "?".into(), source })?;
    Ok(value)
}

pub(crate) fn read<T>(
    path: &Path,
    limits: &Limits,
    parse: impl FnOnce(&str) -> Result<T, ConfigError>,
) -> Result<T, ConfigError> {
    let unreadable = |source| ConfigError::Read { path: path.into(), source };
    let limit = limits.json_bytes;
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(limit.saturating_add(1)).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > limit {
        return Err(ConfigError::TooLarge { path: path.into(), limit });
    }
    parse(text.trim_start_matches('\u{feff}'))
        .map_err(|source| ConfigError::InFile { path: path.into(), source: Box::new(source) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, PositionEmbedding};

    /// The published ViT-B/16 file, as sparse as it is, with old BERT keys that nobody reads.
    const SPARSE: &str = r#"{"architectures": ["ChineseCLIPModel"], "initializer_factor": 1.0, "logit_scale_init_value": 2.6592,
        "model_type": "chinese_clip", "projection_dim": 512, "torch_dtype": "float32", "transformers_version": null,
        "text_config": {"vocab_size": 21128, "directionality": "bidi", "pooler_fc_size": 768, "eos_token_id": 2},
        "vision_config": {"patch_size": 16, "dropout": 0.0}}"#;

    #[test]
    fn sparse_hub_file_takes_the_defaults() {
        let config = ChineseClipConfig::from_json(SPARSE).unwrap();
        assert_eq!(config.text_config, TextConfig { vocab_size: 21128, ..TextConfig::default() });
        assert_eq!(config.vision_config, VisionConfig { patch_size: 16, ..VisionConfig::default() });
        assert_eq!(config.vision_config.tokens(), 197);
        assert_eq!(config.text_config.position_embedding_type, PositionEmbedding::Absolute);
    }

    #[test]
    fn written_file_reads_back_equal() {
        let mut config = ChineseClipConfig::from_json(SPARSE).unwrap();
        config.text_config.hidden_act = Activation::Gelu10;
        assert!(config.to_json().contains("\"gelu_10\""));
        assert_eq!(ChineseClipConfig::from_json(&config.to_json()).unwrap(), config);
    }

    #[test]
    fn a_resnet_says_so_twice() {
        let config = crate::published("RN50").unwrap().config();
        let json = config.to_json();
        assert!(!json.contains("chinese_clip\"") && json.contains("\"resnet_layers\""), "{json}");
        assert_eq!(ChineseClipConfig::from_json(&json).unwrap(), config);
        assert!(!ChineseClipConfig::default().to_json().contains("resnet"));
        let (vision, tokens) = (&config.vision_config, 7 * 7 + 1);
        assert_eq!((vision.stem_width(), vision.num_attention_heads, vision.tokens()), (64, 32, tokens));
        for (from, to, part) in [
            ("\"chinese_clip_resnet\"", "\"chinese_clip\"", "model_type: must be `chinese_clip_resnet`"),
            ("resnet_layers", "layers", "model_type: must be `chinese_clip_resnet`"),
            ("\"num_hidden_layers\": 16", "\"num_hidden_layers\": 12", "must be the sum of resnet_layers"),
            ("\"patch_size\": 32", "\"patch_size\": 16", "must be 32"),
            ("\"hidden_size\": 2048", "\"hidden_size\": 2000", "must be 32 times"),
            ("\"image_size\": 224", "\"image_size\": 223", "must be a multiple of 32"),
            ("\"relu\"", "\"gelu\"", "must be `relu`"),
        ] {
            assert!(json.contains(from), "{from}");
            let message = ChineseClipConfig::from_json(&json.replace(from, to)).unwrap_err().to_string();
            assert!(message.contains(part), "{from}: {message}");
        }
        let stages = "{\"model_type\": \"chinese_clip_resnet\", \"vision_config\": {\"resnet_layers\": [3, 0, 6, 3]}}";
        let message = ChineseClipConfig::from_json(stages).unwrap_err().to_string();
        assert!(message.contains("four stages"), "{message}");
    }

    #[test]
    fn legacy_dicts_replace_the_halves_and_null_is_absent() {
        let json = r#"{"text_config": {"hidden_size": 60, "num_hidden_layers": 3}, "text_config_dict": {"hidden_size": 24},
            "vision_config": null, "vision_config_dict": null}"#;
        let config = ChineseClipConfig::from_json(json).unwrap();
        assert_eq!((config.text_config.hidden_size, config.text_config.num_hidden_layers), (24, 12));
        assert_eq!(config.vision_config, VisionConfig::default());
    }

    #[test]
    fn a_file_of_one_tower_fills_its_half() {
        let json = r#"{"model_type": "chinese_clip_vision_model", "hidden_size": 1280, "num_attention_heads": 16}"#;
        assert_eq!(ChineseClipConfig::from_json(json).unwrap().vision_config.head_width(), 80);
    }

    #[test]
    fn every_fault_is_named() {
        let json = r#"{"projection_dim": 0, "text_config": {"num_attention_heads": 7, "pad_token_id": 30522},
            "vision_config": {"num_hidden_layers": 1000000000000, "patch_size": 0, "layer_norm_eps": 2, "num_channels": 1}}"#;
        let message = ChineseClipConfig::from_json(json).unwrap_err().to_string();
        for field in [
            "projection_dim: is 0",
            "vision_config.num_hidden_layers: is 1000000000000",
            "text_config.num_attention_heads: is 7, must divide hidden_size = 768",
            "text_config.pad_token_id",
            "vision_config.patch_size",
            "vision_config.layer_norm_eps",
            "vision_config.num_channels",
        ] {
            assert!(message.contains(field), "{field} is not in {message}");
        }
        let message = ChineseClipConfig::from_json(r#"{"model_type": "clip"}"#).unwrap_err().to_string();
        assert!(message.contains("model_type: is `clip`"), "{message}");
        let message = ChineseClipConfig::from_json(r#"{"vision_config": []}"#).unwrap_err().to_string();
        assert!(message.contains("vision_config: must be an object"), "{message}");
    }

    #[test]
    fn malformed_values_name_their_key() {
        for (json, key) in [
            (r#"{"text_config": {"hidden_act": "gelu_11"}}"#, "text_config.hidden_act"),
            (r#"{"text_config": {"hidden_size": -1}}"#, "text_config.hidden_size"),
            (r#"{"text_config": {"hidden_size": "768"}}"#, "text_config.hidden_size"),
            ("[]", "."),
            ("{", "?"),
            ("{} {}", "?"),
        ] {
            match ChineseClipConfig::from_json(json) {
                Err(ConfigError::Json { key: found, .. }) => assert_eq!(found, key, "{json}"),
                other => panic!("{json}: {other:?}"),
            }
        }
    }
}
