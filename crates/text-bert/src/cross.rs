//! Attention from a decoder's tokens to the hidden states of an encoder.
//!
//! Follows `crossattention` of `ChineseCLIPTextLayer`, transformers 4.51.3: its positions are never relative.

use burn::module::Module;
use burn::tensor::Device;
use chinese_clip_config::TextConfig;
use chinese_clip_nn::{Attention, LayerNorm};

/// Attention to an encoder, whose output is added to the input and normalised.
#[derive(Module, Debug)]
pub(crate) struct CrossAttention {
    pub(crate) attention: Attention,
    pub(crate) norm: LayerNorm,
}

impl CrossAttention {
    pub(crate) fn init(config: &TextConfig, device: &Device) -> Self {
        let (width, heads) = (config.hidden_size, config.num_attention_heads);
        Self {
            attention: Attention::init(width, heads, config.initializer_range, device),
            norm: LayerNorm::init(width, config.layer_norm_eps, device),
        }
    }
}
