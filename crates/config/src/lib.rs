//! Configuration files of Chinese-CLIP checkpoints as types, and the table of published models.
//!
//! Follows Hugging Face `transformers` 4.51.3: `ChineseCLIPConfig`, `ChineseCLIPTextConfig`, `ChineseCLIPVisionConfig`
//! (`configuration_chinese_clip.py`) and `ChineseCLIPImageProcessor` (`image_processing_chinese_clip.py`). This crate
//! knows no tensors: it reads JSON, applies the reference's defaults, and says what is wrong with a file.
//!
//! ```
//! use chinese_clip_config::ChineseClipConfig;
//!
//! let config = ChineseClipConfig::from_json(r#"{"text_config": {"vocab_size": 21128}, "vision_config": {"patch_size": 16}}"#)?;
//! assert_eq!(config.text_config.hidden_size, 768);
//! # Ok::<(), chinese_clip_config::ConfigError>(())
//! ```

#![forbid(unsafe_code)]

mod activation;
mod error;
mod limits;
mod model;
mod preprocessor;
mod published;
mod text;
mod vision;

pub use activation::Activation;
pub use error::{ConfigError, Fault};
pub use limits::Limits;
pub use model::ChineseClipConfig;
pub use preprocessor::{CropSize, PreprocessorConfig, Resample, Size};
pub use published::{PUBLISHED, PublishedModel, VisionKind, published};
pub use text::{PositionEmbedding, TextConfig};
pub use vision::VisionConfig;
