//! The ViT tower, prepared for inference: patches by one matrix product, fused projections, and in the last layer no
//! work but that of the class token.
//!
//! Shapes: B batch, P patch edge in pixels, N = H / P rows and M = W / P columns of patches, T = N * M + 1 tokens, Q wanted
//! tokens (T or 1), W width.

use burn::module::{Module, Param};
use burn::nn::{Embedding, Linear};
use burn::tensor::{Device, Tensor, s};
use chinese_clip_config::VisionConfig;
use chinese_clip_nn::{
    LayerNorm, Packing, PixelBatch, PreparedAttention, PreparedLinear, PreparedMlp, Rows, Sequences, linear,
    resize_positions,
};

use crate::VisionModel;
use crate::model::{Embeddings, Layer, Spread};

/// The image tower for inference; made by [`VisionModel::prepare`], or loaded as it is.
#[derive(Module, Debug)]
pub struct PreparedVisionModel {
    pub(crate) embeddings: PreparedEmbeddings,
    pub(crate) pre_layernorm: LayerNorm,
    pub(crate) layers: Vec<PreparedLayer>,
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
    /// A tower of random weights, which are drawn when first read.
    pub fn init(config: &VisionConfig, device: &Device) -> Self {
        let norm = || LayerNorm::init(config.hidden_size, config.layer_norm_eps, device);
        Self {
            embeddings: PreparedEmbeddings::init(config, device),
            pre_layernorm: norm(),
            layers: (0..config.num_hidden_layers).map(|_| PreparedLayer::init(config, device)).collect(),
            post_layernorm: norm(),
        }
    }

    /// The tower with its weights as the backend's kernels want them; see `PreparedLinear::pack`.
    #[must_use]
    pub fn pack(self, packing: Packing) -> Self {
        let count = self.layers.len();
        let layers = self.layers.into_iter().enumerate();
        Self {
            embeddings: self.embeddings.pack(packing),
            layers: layers.map(|(i, layer)| layer.pack(packing, Rows::of_layer(i, count))).collect(),
            ..self
        }
    }

    /// The pooled class token.
    ///
    /// # Shapes
    /// The result: `[B, W]`.
    pub fn forward(&self, batch: &PixelBatch) -> Tensor<2> {
        self.encode(self.embeddings.forward(batch))
    }

    /// What follows the embeddings, of all tokens or of some.
    ///
    /// # Shapes
    /// `x`: `[B, T, W]`; the result: `[B, W]`.
    pub(crate) fn encode(&self, x: Tensor<3>) -> Tensor<2> {
        let x = self.pre_layernorm.forward(x);
        let count = self.layers.len();
        let x = self.layers.iter().enumerate().fold(x, |x, (i, layer)| layer.forward(x, Rows::of_layer(i, count)));
        self.pool(x)
    }

    /// # Shapes
    /// `x`: `[B, Q, W]`; the result: `[B, W]`.
    pub(crate) fn pool(&self, x: Tensor<3>) -> Tensor<2> {
        self.post_layernorm.forward(Rows::Class.of(x).squeeze_dim(1)) // [B, W]
    }
}

/// As in [`VisionModel`], but the patch convolution, whose stride is its kernel, is a matrix.
#[derive(Module, Debug)]
pub(crate) struct PreparedEmbeddings {
    class_embedding: Param<Tensor<1>>,
    patch_embedding: PreparedLinear,
    position_embedding: Embedding,
    #[module(skip)]
    patch_size: usize,
}

impl From<Embeddings> for PreparedEmbeddings {
    fn from(canonical: Embeddings) -> Self {
        let Embeddings { class_embedding, patch_embedding, position_embedding } = canonical;
        let kernel = patch_embedding.weight.val(); // [W, 3, P, P]
        let [w, c, patch_size, _] = kernel.dims();
        let columns = kernel.reshape([w, c * patch_size * patch_size]).transpose(); // [3 * P * P, W], a view
        let contiguous = Tensor::from_data(columns.to_data(), (&columns.device(), columns.dtype()));
        let patch_embedding = Linear { weight: Param::from_tensor(contiguous), bias: None }.into();
        Self { class_embedding, patch_embedding, position_embedding, patch_size }
    }
}

impl PreparedEmbeddings {
    fn init(config: &VisionConfig, device: &Device) -> Self {
        let Embeddings { class_embedding, position_embedding, .. } = Embeddings::init(config, device);
        let patch_size = config.patch_size;
        let inputs = config.num_channels * patch_size * patch_size;
        let std = config.initializer_range * config.initializer_factor;
        let patch_embedding = linear(inputs, config.hidden_size, false, std, device).into();
        Self { class_embedding, patch_embedding, position_embedding, patch_size }
    }

    /// The first layer stays wide beside int8.
    fn pack(self, packing: Packing) -> Self {
        let packing = if packing == Packing::Int8 { Packing::Whole } else { packing };
        Self { patch_embedding: self.patch_embedding.pack(packing), ..self }
    }

    pub(crate) fn forward(&self, batch: &PixelBatch) -> Tensor<3> {
        let grid = self.grid(batch);
        let positions = resize_positions(self.position_embedding.weight.val(), grid); // [T, W]
        let patches = batch.patches(self.patch_size, positions.dtype()); // [B, T, 3 * P * P]
        let class = self.class_embedding.val().unsqueeze() + positions.clone().narrow(0, 0, 1); // [1, W]
        let added = positions.slice_assign(s![0..1], class).unsqueeze::<3>(); // [1, T, W]
        let [b, t, _] = patches.dims();
        let added = added.expand([b as i64, t as i64, -1]);
        self.patch_embedding.forward_added(patches, added) // [B, T, W]
    }

    /// Rows and columns of patches; a remainder of the picture is dropped.
    pub(crate) fn grid(&self, batch: &PixelBatch) -> [usize; 2] {
        let [_, _, height, width] = batch.shape();
        [height / self.patch_size, width / self.patch_size]
    }
}

#[derive(Module, Debug)]
pub(crate) struct PreparedLayer {
    pub(crate) layer_norm1: LayerNorm,
    pub(crate) attention: PreparedAttention,
    layer_norm2: LayerNorm,
    mlp: PreparedMlp,
}

impl From<Layer> for PreparedLayer {
    fn from(canonical: Layer) -> Self {
        let Layer { layer_norm1, attention, layer_norm2, mlp } = canonical;
        Self { layer_norm1, attention: attention.prepare(), layer_norm2, mlp: mlp.into() }
    }
}

impl PreparedLayer {
    fn init(config: &VisionConfig, device: &Device) -> Self {
        let Layer { layer_norm1, layer_norm2, mlp, .. } = Layer::init(config, device);
        let (width, heads, spread) = (config.hidden_size, config.num_attention_heads, Spread::of(config));
        let attention = PreparedAttention::init(width, heads, spread.inner, device);
        Self {
            layer_norm1,
            attention: attention.with_output(width, spread.output, device),
            layer_norm2,
            mlp: mlp.into(),
        }
    }

    fn pack(self, packing: Packing, rows: Rows) -> Self {
        Self { attention: self.attention.pack(packing, rows), mlp: self.mlp.pack(packing), ..self }
    }

    pub(crate) fn forward(&self, x: Tensor<3>, rows: Rows) -> Tensor<3> {
        let (normed, residual) = (self.layer_norm1.forward_to(x.clone(), self.attention.packing()), rows.of(x));
        let x = self.attention.forward_added(normed, &Sequences::Whole, rows, residual); // [B, Q, W]
        self.mlp.forward(self.layer_norm2.forward_to(x.clone(), self.mlp.packing()), x)
    }
}
