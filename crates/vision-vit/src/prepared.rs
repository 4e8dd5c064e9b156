//! The ViT tower, prepared for inference: patches by one matrix product, fused projections, and in the last layer no
//! work but that of the class token.
//!
//! Shapes: B batch, S image edge in pixels, P patch edge, G = S / P, T = G * G + 1 tokens, Q wanted tokens (T or 1),
//! W width.

use burn::module::{Module, Param};
use burn::nn::LayerNorm;
use burn::tensor::{Tensor, s};
use chinese_clip_nn::{Mlp, PreparedAttention, Recorder, Rows};

use crate::model::{Embeddings, Layer, with_class_token};
use crate::{PixelBatch, VisionModel};

/// The image tower for inference; made by [`VisionModel::prepare`].
#[derive(Module, Debug)]
pub struct PreparedVisionModel {
    embeddings: PreparedEmbeddings,
    pre_layernorm: LayerNorm,
    layers: Vec<PreparedLayer>,
    post_layernorm: LayerNorm,
}

impl From<VisionModel> for PreparedVisionModel {
    fn from(canonical: VisionModel) -> Self {
        Self {
            embeddings: PreparedEmbeddings::from(canonical.embeddings),
            pre_layernorm: canonical.pre_layernorm,
            layers: canonical.layers.into_iter().map(PreparedLayer::from).collect(),
            post_layernorm: canonical.post_layernorm,
        }
    }
}

impl PreparedVisionModel {
    /// The pooled class token.
    ///
    /// # Shapes
    /// The result: `[B, W]`.
    pub fn forward(&self, batch: &PixelBatch) -> Tensor<2> {
        let x = self.pre_layernorm.forward(self.embeddings.forward(batch)); // [B, T, W]
        let last = self.layers.len().saturating_sub(1);
        let x = self.layers.iter().enumerate().fold(x, |x, (i, layer)| {
            let rows = if i == last { Rows::Class } else { Rows::All };
            layer.forward(x, rows)
        });
        self.post_layernorm.forward(Rows::Class.of(x).squeeze_dim(1)) // [B, W]
    }
}

/// The patch convolution, whose stride is its kernel, as a matrix.
#[derive(Module, Debug)]
struct PreparedEmbeddings {
    class: Param<Tensor<1>>,
    patch: Param<Tensor<2>>,
    positions: Param<Tensor<2>>,
    #[module(skip)]
    patch_size: usize,
}

impl From<Embeddings> for PreparedEmbeddings {
    fn from(canonical: Embeddings) -> Self {
        let kernel = canonical.patch_embedding.weight.val(); // [W, 3, P, P]
        let [w, c, p, _] = kernel.dims();
        let columns = kernel.reshape([w, c * p * p]).transpose(); // [3 * P * P, W], a view
        let contiguous = Tensor::from_data(columns.to_data(), (&columns.device(), columns.dtype()));
        Self {
            class: canonical.class_embedding,
            patch: Param::from_tensor(contiguous),
            positions: canonical.position_embedding.weight,
            patch_size: p,
        }
    }
}

impl PreparedEmbeddings {
    fn forward(&self, batch: &PixelBatch) -> Tensor<3> {
        let (weight, p) = (self.patch.val(), self.patch_size);
        let [b, c, size, _] = batch.shape();
        let (g, side) = (size / p, size / p * p);
        let pixels = batch.pixels.clone().cast(weight.dtype()).slice(s![.., .., 0..side, 0..side]);
        let patches = pixels.reshape([b, c, g, p, g, p]).permute([0, 2, 4, 1, 3, 5]); // [B, G, G, 3, P, P]
        let patches = patches.reshape([b, g * g, c * p * p]).matmul(weight.unsqueeze()); // [B, G * G, W]
        with_class_token(&self.class, patches) + self.positions.val().unsqueeze()
    }
}

#[derive(Module, Debug)]
struct PreparedLayer {
    layer_norm1: LayerNorm,
    attention: PreparedAttention,
    layer_norm2: LayerNorm,
    mlp: Mlp,
}

impl From<Layer> for PreparedLayer {
    fn from(canonical: Layer) -> Self {
        let Layer { layer_norm1, attention, layer_norm2, mlp } = canonical;
        Self { layer_norm1, attention: attention.prepare(), layer_norm2, mlp }
    }
}

impl PreparedLayer {
    fn forward(&self, x: Tensor<3>, rows: Rows) -> Tensor<3> {
        let attention = self.attention.forward(self.layer_norm1.forward(x.clone()), None, rows); // [B, Q, W]
        let x = rows.of(x) + attention;
        let mlp = self.mlp.forward(self.layer_norm2.forward(x.clone()), &mut Recorder::off());
        x + mlp
    }
}
