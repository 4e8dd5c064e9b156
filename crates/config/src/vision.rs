//! `vision_config`: `ChineseCLIPVisionConfig` of transformers 4.51.3.

use serde::{Deserialize, Serialize};

use crate::Activation;
use crate::error::{EDGES, Faults, LAYERS, WIDTHS};

/// The ViT tower. Field names and defaults are Hugging Face's; note the default patch of 32.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VisionConfig {
    /// Width of a token, `W`.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Encoder layers.
    pub num_hidden_layers: usize,
    /// Attention heads, `H`; the head width is `hidden_size / H`.
    pub num_attention_heads: usize,
    /// Colour channels of the input.
    pub num_channels: usize,
    /// Height and width of the input in pixels, `S`.
    pub image_size: usize,
    /// Height and width of a patch in pixels.
    pub patch_size: usize,
    /// Activation of the MLP.
    pub hidden_act: Activation,
    /// Epsilon of layer norms.
    pub layer_norm_eps: f64,
    /// Dropout of attention probabilities in training.
    pub attention_dropout: f64,
    /// Standard deviation of the initial weights.
    pub initializer_range: f64,
    /// Factor on the initial weights.
    pub initializer_factor: f64,
    /// Read by `ChineseCLIPVisionModel` alone; the joint model uses its own.
    pub projection_dim: usize,
}

impl Default for VisionConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: 224,
            patch_size: 32,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
            attention_dropout: 0.0,
            initializer_range: 0.02,
            initializer_factor: 1.0,
            projection_dim: 512,
        }
    }
}

impl VisionConfig {
    /// Width of one attention head.
    pub fn head_width(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// Patches along one side; the remainder of an image that the patch does not divide is dropped.
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size
    }

    /// Tokens of an image: the patches and the class token.
    pub fn tokens(&self) -> usize {
        self.grid() * self.grid() + 1
    }

    pub(crate) fn faults(&self) -> Faults {
        let mut faults = Faults::of("vision_config.");
        faults.size("hidden_size", self.hidden_size, WIDTHS);
        faults.size("num_hidden_layers", self.num_hidden_layers, LAYERS);
        faults.size("intermediate_size", self.intermediate_size, WIDTHS);
        faults.size("image_size", self.image_size, EDGES);
        faults.heads(self.hidden_size, self.num_attention_heads);
        faults.check(self.num_channels == 3, "num_channels", || {
            format!("is {}, must be 3: the processor makes RGB", self.num_channels)
        });
        faults.check((1..=self.image_size).contains(&self.patch_size), "patch_size", || {
            format!("is {}, must lie between 1 and image_size = {}", self.patch_size, self.image_size)
        });
        faults.epsilon("layer_norm_eps", self.layer_norm_eps);
        faults
    }
}
