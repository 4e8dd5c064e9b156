//! The pooler: `[CLS]` through a linear layer and tanh. The joint model has none.
//!
//! Follows `ChineseCLIPTextPooler` of transformers 4.51.3.
//!
//! Shapes: B batch, L tokens, D width.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use chinese_clip_config::TextConfig;
use chinese_clip_nn::{Rows, linear};

/// `tanh(dense(x[0]))`.
#[derive(Module, Debug)]
pub struct Pooler {
    dense: Linear,
}

impl Pooler {
    /// A pooler of random weights, which are drawn when first read.
    pub fn init(config: &TextConfig, device: &Device) -> Self {
        let width = config.hidden_size;
        Self { dense: linear(width, width, true, config.initializer_range, device) }
    }

    /// # Shapes
    /// `x`: `[B, L, D]`; the result: `[B, D]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<2> {
        self.dense.forward(Rows::Class.of(x)).tanh().squeeze_dim(1)
    }
}
