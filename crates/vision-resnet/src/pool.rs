//! The pooling of the ResNet: attention of the mean of the last feature map to the whole of it.
//!
//! Follows `AttentionPool2d` of cn_clip 1.6.0.
//!
//! differs: the reference takes pictures of one size. Here positions are stretched to those of another, as the ViT's are.
//!
//! Shapes: B batch, N rows and M columns of the feature map (of pictures of the model's size N = M = G), T = N * M + 1 tokens,
//! W width, E width of the shared space.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};
use chinese_clip_config::VisionConfig;
use chinese_clip_nn::{Attention, PreparedAttention, Recorder, Rows, Sequences, resize_positions};

/// What torch draws a layer from that nobody initialises: uniform up to the inverse root of its inputs.
pub(crate) fn torch_default() -> Initializer {
    Initializer::KaimingUniform { gain: 1.0 / 3f64.sqrt(), fan_out_only: false }
}

/// Attention over cells with positions, in either form of the attention.
#[derive(Module, Debug)]
pub(crate) struct AttentionPool<A: Module> {
    positional_embedding: Param<Tensor<2>>,
    attention: A,
}

impl<A: Module> AttentionPool<A> {
    /// The mean of the cells and the cells, with positions.
    ///
    /// # Shapes
    /// `x`: `[B, W, N, M]`; the result: `[B, T, W]`.
    fn tokens(&self, x: Tensor<4>) -> Tensor<3> {
        let [_, _, rows, columns] = x.dims();
        let cells = x.flatten::<3>(2, 3).swap_dims(1, 2); // [B, N * M, W]
        let tokens = Tensor::cat(vec![cells.clone().mean_dim(1), cells], 1); // [B, T, W]
        tokens + resize_positions(self.positional_embedding.val(), [rows, columns]).unsqueeze()
    }
}

impl AttentionPool<Attention> {
    /// A pooling of random weights, which are drawn when first read. Biases are drawn as torch draws those of a `Linear`.
    pub(crate) fn init(config: &VisionConfig, outputs: usize, device: &Device) -> Self {
        let width = config.hidden_size;
        let std = (width as f64).powf(-0.5);
        let attention = Attention::init(width, config.num_attention_heads, std, device);
        Self {
            positional_embedding: Initializer::Normal { mean: 0.0, std }.init([config.tokens(), width], device),
            attention: attention.with_output(outputs, std, device).with_biases(&torch_default(), device),
        }
    }

    /// # Shapes
    /// `x`: `[B, W, N, M]`; the result: `[B, E]`.
    pub(crate) fn forward(&self, x: Tensor<4>, recorder: &mut Recorder) -> Tensor<2> {
        let tokens = recorder.record("tokens", self.tokens(x)); // [B, T, W]
        let output = self.attention.forward(tokens, None, recorder); // [B, T, E]
        Rows::Class.of(output).squeeze_dim(1) // [B, E]
    }

    /// The inference form.
    pub(crate) fn prepare(self) -> AttentionPool<PreparedAttention> {
        let Self { positional_embedding, attention } = self;
        AttentionPool { positional_embedding, attention: attention.prepare() }
    }
}

impl AttentionPool<PreparedAttention> {
    /// As in the canonical form, but there is no query except that of the mean.
    ///
    /// # Shapes
    /// `x`: `[B, W, N, M]`; the result: `[B, E]`.
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        self.attention.forward(self.tokens(x), &Sequences::Whole, Rows::Class).squeeze_dim(1) // [B, E]
    }
}
