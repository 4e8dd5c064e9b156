//! `vision_config`: `ChineseCLIPVisionConfig` of transformers 4.51.3.
//!
//! differs: `resnet_layers` makes it the configuration of CLIP's modified ResNet (`cn_clip` 1.6.0, `ModifiedResNet` in
//! `clip/model.py`), for which transformers has no class. The other fields then describe the attention that pools the last
//! feature map, whose cells are its patches.

use serde::{Deserialize, Serialize};

use crate::Activation;
use crate::error::{EDGES, Faults, LAYERS, WIDTHS};

/// The image tower. Field names and defaults are Hugging Face's; note the default patch of 32.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VisionConfig {
    /// Blocks in each stage of a ResNet; absent for a ViT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resnet_layers: Option<[usize; 4]>,
    /// Width of a token, `W`; of a ResNet, 32 times the width of its stem.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Encoder layers; of a ResNet, the blocks of all stages.
    pub num_hidden_layers: usize,
    /// Attention heads, `H`; the head width is `hidden_size / H`.
    pub num_attention_heads: usize,
    /// Colour channels of the input.
    pub num_channels: usize,
    /// Height and width of the input in pixels, `S`.
    pub image_size: usize,
    /// Height and width of a patch in pixels; of a ResNet, the stride of its last feature map.
    pub patch_size: usize,
    /// Activation of the MLP; of a ResNet, after its convolutions, always `relu`.
    pub hidden_act: Activation,
    /// Epsilon of layer norms; of a ResNet, of batch norms.
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
            resnet_layers: None,
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

/// Width of a ResNet's last feature map over that of its stem; also the stride of the former.
const RESNET_FACTOR: usize = 32;

impl VisionConfig {
    /// The configuration of a ResNet by the blocks of its stages, the width of its stem, and the edge of its input.
    /// Heads are 64 wide, as in every `cn_clip` model with a ResNet.
    pub fn resnet(layers: [usize; 4], stem_width: usize, image_size: usize) -> Self {
        let hidden_size = RESNET_FACTOR.saturating_mul(stem_width);
        Self {
            resnet_layers: Some(layers),
            hidden_size,
            num_hidden_layers: layers.into_iter().fold(0, usize::saturating_add),
            num_attention_heads: hidden_size / 64,
            image_size,
            patch_size: RESNET_FACTOR,
            hidden_act: Activation::Relu,
            ..Self::default()
        }
    }

    /// Width of a ResNet's stem.
    pub fn stem_width(&self) -> usize {
        self.hidden_size / RESNET_FACTOR
    }

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
        if let Some(layers) = self.resnet_layers {
            let (hidden, patch, sum) = (self.hidden_size, self.patch_size, self.num_hidden_layers);
            faults.check(layers.iter().all(|n| LAYERS.contains(n) && *n > 0), "resnet_layers", || {
                format!("is {layers:?}, must be blocks of each of four stages")
            });
            faults.check(layers.into_iter().fold(0, usize::saturating_add) == sum, "num_hidden_layers", || {
                format!("is {sum}, must be the sum of resnet_layers = {layers:?}")
            });
            faults.check(hidden.is_multiple_of(RESNET_FACTOR), "hidden_size", || {
                format!("is {hidden}, must be {RESNET_FACTOR} times the width of the stem")
            });
            faults.check(self.hidden_act == Activation::Relu, "hidden_act", || "must be `relu` in a ResNet".into());
            faults.check(self.image_size.is_multiple_of(RESNET_FACTOR), "image_size", || {
                format!("is {}, must be a multiple of {RESNET_FACTOR}", self.image_size)
            });
            faults.check(patch == RESNET_FACTOR, "patch_size", || format!("is {patch}, must be {RESNET_FACTOR}"));
        }
        faults
    }
}
