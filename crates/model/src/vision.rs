//! The ViT tower alone, in the reference's terms.
//!
//! Follows `ChineseCLIPVisionModel` of transformers 4.51.3 (`modeling_chinese_clip.py`).

use burn::module::Module;
use burn::tensor::{DType, Device};
use chinese_clip_checkpoint::{Checkpoint, OpenOptions, Weights};
use chinese_clip_config::{ChineseClipConfig, TextConfig, VisionConfig};
use chinese_clip_nn::{PixelBatch, VisionError};
use chinese_clip_vision_vit::{self as vit, Keep, VisionModel, VisionStates};

use crate::{Error, load, open};

/// Where the tower's tensors stand in a checkpoint of the joint model, or of the tower alone.
const PREFIX: &str = "vision_model.";

/// The image tower without a projection: what a visual backbone starts from.
#[derive(Module, Debug)]
pub struct ChineseClipVisionModel {
    vision_model: VisionModel,
    #[module(skip)]
    config: VisionConfig,
}

/// What the image tower does beside computing its outputs; nothing by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VisionOptions {
    /// Keep what enters the first layer and what leaves each.
    pub output_hidden_states: bool,
    /// Keep the attention probabilities of each layer.
    pub output_attentions: bool,
    /// Take pictures of another size than the model's, and stretch the positions to their patches.
    pub interpolate_pos_encoding: bool,
}

impl ChineseClipVisionModel {
    /// A tower of random weights, which are drawn when first read.
    ///
    /// # Errors
    /// If the configuration is invalid, or is that of a ResNet.
    pub fn new(config: &VisionConfig, device: &Device) -> Result<Self, Error> {
        if config.resnet_layers.is_some() {
            return Err(Error::ResNet { what: "form as `ChineseClipVisionModel`" });
        }
        ChineseClipConfig::from_text_vision_configs(TextConfig::default(), config.clone()).validate()?;
        Ok(Self { vision_model: VisionModel::init(config, device), config: config.clone() })
    }

    /// Loads a checkpoint of the joint model or of this tower, by the names that
    /// [`ChineseClip::from_pretrained`](crate::ChineseClip::from_pretrained) takes, in f32.
    pub fn from_pretrained(source: &str, device: &Device) -> Result<Self, Error> {
        Self::from_checkpoint(&open(source, &OpenOptions::default())?, DType::F32, device)
    }

    /// Loads an opened checkpoint in `dtype`. Each of the tower's tensors must be there and fit; those of the other parts of a
    /// joint model are not read.
    pub fn from_checkpoint(checkpoint: &Checkpoint, dtype: DType, device: &Device) -> Result<Self, Error> {
        Self::load(&checkpoint.config.vision_config, &checkpoint.weights, dtype, device)
    }

    /// Loads weights in `dtype`, under the names of a joint model, or without `vision_model.` as transformers 5.23 writes the tower.
    pub fn load(config: &VisionConfig, weights: &Weights, dtype: DType, device: &Device) -> Result<Self, Error> {
        let tower = Self::new(config, device)?;
        if weights.names().any(|name| name.starts_with(PREFIX)) {
            load::load_part(tower, weights, PREFIX, |path| vec![checkpoint_name(path)], dtype, device)
        } else {
            let bare = |path: &str| vec![checkpoint_name(path).split_off(PREFIX.len())];
            load::load(tower, weights, bare, dtype, device)
        }
    }

    /// The outputs, and the states that `options` ask for; their shapes stand at [`VisionStates`].
    ///
    /// # Errors
    /// If the pictures are not of the model's size and `interpolate_pos_encoding` is not set.
    pub fn forward(&self, pixel_values: &PixelBatch, options: VisionOptions) -> Result<VisionStates, Error> {
        states(&self.vision_model, &self.config, pixel_values, options)
    }

    /// The configuration.
    pub fn config(&self) -> &VisionConfig {
        &self.config
    }

    /// The tower itself, for what the reference's class does not show.
    pub fn vision_model(&self) -> &VisionModel {
        &self.vision_model
    }
}

/// What a tower of this configuration gives, its pictures checked.
pub(crate) fn states(
    tower: &VisionModel,
    config: &VisionConfig,
    pixel_values: &PixelBatch,
    options: VisionOptions,
) -> Result<VisionStates, Error> {
    let ([_, channels, height, width], expected) = (pixel_values.shape(), config.image_size);
    if !options.interpolate_pos_encoding && (height, width) != (expected, expected) {
        return Err(VisionError::Size { height, width, channels, expected }.into());
    }
    let VisionOptions { output_hidden_states: hidden_states, output_attentions: attentions, .. } = options;
    Ok(tower.states(pixel_values, Keep { hidden_states, attentions }))
}

fn checkpoint_name(path: &str) -> String {
    vit::checkpoint_name(path.strip_prefix(PREFIX).unwrap_or(path))
}
