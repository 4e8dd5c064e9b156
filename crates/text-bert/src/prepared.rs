//! The BERT tower, prepared for inference: fused projections, and in the last layer no work but that of `[CLS]`.
//!
//! Texts of different lengths are computed without their padding where the backend has attention for that.
//!
//! Shapes: B batch, L tokens, N tokens of all texts without padding, Q wanted tokens (L or 1), D width.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use chinese_clip_config::TextConfig;
use chinese_clip_nn::{LayerNorm, Packed, Packing, PreparedAttention, PreparedMlp, Rows, Sequences};

use crate::model::{Embeddings, Layer, relative};
use crate::{TextModel, TokenBatch};

/// The text tower for inference; made by [`TextModel::prepare`], or loaded as it is.
#[derive(Module, Debug)]
pub struct PreparedTextModel {
    embeddings: Embeddings,
    layers: Vec<PreparedLayer>,
    #[module(skip)]
    causal: bool,
}

impl From<TextModel> for PreparedTextModel {
    fn from(canonical: TextModel) -> Self {
        let layers = canonical.layers.into_iter().map(PreparedLayer::from).collect();
        Self { embeddings: canonical.embeddings, layers, causal: canonical.causal }
    }
}

impl PreparedTextModel {
    /// A tower of random weights, which are drawn when first read.
    pub fn init(config: &TextConfig, device: &Device) -> Self {
        let layers = (0..config.num_hidden_layers).map(|i| PreparedLayer::init(config, i, device)).collect();
        Self { embeddings: Embeddings::init(config, device), layers, causal: config.is_decoder }
    }

    /// The tower with its weights as the backend's kernels want them; see `PreparedLinear::pack`.
    #[must_use]
    pub fn pack(self, packing: Packing) -> Self {
        let count = self.layers.len();
        let layers = self.layers.into_iter().enumerate();
        Self { layers: layers.map(|(i, layer)| layer.pack(packing, Rows::of_layer(i, count))).collect(), ..self }
    }

    /// The last hidden state of `[CLS]`.
    ///
    /// # Shapes
    /// The result: `[B, D]`.
    pub fn forward(&self, batch: &TokenBatch) -> Tensor<2> {
        let packs = self.embeddings.absolute && !self.causal && Packed::pays(&self.embeddings.norm.gamma.val());
        let tokens = if packs { batch.packed() } else { None }.unwrap_or_else(|| batch.padded(self.causal));
        let sequences = tokens.sequences.clone();
        let mut x = self.embeddings.forward(tokens); // [B, L, D], packed [1, N, D]
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x, &sequences, Rows::of_layer(i, self.layers.len()));
        }
        let [b, q, d] = x.dims(); // [B, 1, D], packed [1, B, D]
        x.reshape([b * q, d]) // [B, D]
    }
}

#[derive(Module, Debug)]
struct PreparedLayer {
    attention: PreparedAttention,
    attention_norm: LayerNorm,
    mlp: PreparedMlp,
    mlp_norm: LayerNorm,
}

impl From<Layer> for PreparedLayer {
    fn from(canonical: Layer) -> Self {
        let Layer { attention, attention_norm, mlp, mlp_norm, crossattention: _ } = canonical; // nothing to look at
        Self { attention: attention.prepare(), attention_norm, mlp: mlp.into(), mlp_norm }
    }
}

impl PreparedLayer {
    fn init(config: &TextConfig, index: usize, device: &Device) -> Self {
        let Layer { attention_norm, mlp, mlp_norm, .. } = Layer::init(config, index, device);
        let (width, heads) = (config.hidden_size, [config.heads(index), config.head_width()]);
        let attention = PreparedAttention::pruned(width, heads, config.initializer_range, device);
        let attention = attention.with_positions(relative(config, device));
        Self { attention, attention_norm, mlp: mlp.into(), mlp_norm }
    }

    fn pack(self, packing: Packing, rows: Rows) -> Self {
        Self { attention: self.attention.pack(packing, rows), mlp: self.mlp.pack(packing), ..self }
    }

    fn forward(&self, x: Tensor<3>, sequences: &Sequences, rows: Rows) -> Tensor<3> {
        let residual = sequences.rows(x.clone(), rows); // [B, Q, D]
        let x = self.attention_norm.forward(self.attention.forward_added(x, sequences, rows, residual));
        self.mlp_norm.forward(self.mlp.forward(x.clone(), x))
    }
}
