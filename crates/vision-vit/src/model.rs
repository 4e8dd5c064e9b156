//! The ViT tower, canonical form: pre-norm layers over patches and a class token.
//!
//! Follows `ChineseCLIPVisionModel` of transformers 4.51.3.
//!
//! Shapes: B batch, P patch edge in pixels, N = H / P rows and M = W / P columns of patches (of pictures of the model's size
//! N = M = G), T = N * M + 1 tokens, W width.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Embedding, EmbeddingConfig, Initializer, PaddingConfig2d};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Device, Tensor};
use chinese_clip_config::VisionConfig;
use chinese_clip_nn::{Attention, LayerNorm, Mlp, PixelBatch, Recorder, Rows, resize_positions};

use crate::PreparedVisionModel;

/// The image tower with the checkpoint's parameters.
#[derive(Module, Debug)]
pub struct VisionModel {
    pub(crate) embeddings: Embeddings,
    pub(crate) pre_layernorm: LayerNorm,
    pub(crate) layers: Vec<Layer>,
    pub(crate) post_layernorm: LayerNorm,
}

/// What [`VisionModel::forward`] gives.
#[derive(Debug, Clone)]
pub struct VisionOutput {
    /// `[B, T, W]`, the class token first, not normalised.
    pub last_hidden_state: Tensor<3>,
    /// `[B, W]`: the class token after `post_layernorm`.
    pub pooler_output: Tensor<2>,
}

impl VisionModel {
    /// A tower of random weights, which are drawn when first read.
    pub fn init(config: &VisionConfig, device: &Device) -> Self {
        let norm = || LayerNorm::init(config.hidden_size, config.layer_norm_eps, device);
        Self {
            embeddings: Embeddings::init(config, device),
            pre_layernorm: norm(),
            layers: (0..config.num_hidden_layers).map(|_| Layer::init(config, device)).collect(),
            post_layernorm: norm(),
        }
    }

    /// The last hidden state, `[B, T, W]`, and the pooled class token, `[B, W]`.
    pub fn forward(&self, batch: &PixelBatch, recorder: &mut Recorder) -> VisionOutput {
        recorder.scope("vision", |recorder| {
            let x = recorder.record("embeddings", self.embeddings.forward(batch)); // [B, T, W]
            self.encode(x, recorder)
        })
    }

    /// What follows the embeddings, of all tokens or of some.
    pub(crate) fn encode(&self, x: Tensor<3>, recorder: &mut Recorder) -> VisionOutput {
        let x = recorder.record("pre_layernorm", self.pre_layernorm.forward(x)); // [B, T, W]
        let last_hidden_state =
            self.layers.iter().enumerate().fold(x, |x, (i, layer)| {
                recorder.scope(format_args!("layer.{i}"), |recorder| layer.forward(x, recorder))
            });
        let pooler_output = recorder.record("pooled", self.pool(last_hidden_state.clone()));
        VisionOutput { last_hidden_state, pooler_output }
    }

    /// # Shapes
    /// `x`: `[B, T, W]`; the result: `[B, W]`.
    pub(crate) fn pool(&self, x: Tensor<3>) -> Tensor<2> {
        self.post_layernorm.forward(Rows::Class.of(x).squeeze_dim(1)) // [B, W]
    }

    /// The inference form.
    pub fn prepare(self) -> PreparedVisionModel {
        PreparedVisionModel::from(self)
    }
}

/// Class token and patches, with positions.
#[derive(Module, Debug)]
pub(crate) struct Embeddings {
    pub(crate) class_embedding: Param<Tensor<1>>,
    pub(crate) patch_embedding: Conv2d,
    pub(crate) position_embedding: Embedding,
}

impl Embeddings {
    pub(crate) fn init(config: &VisionConfig, device: &Device) -> Self {
        let (width, patch) = (config.hidden_size, config.patch_size);
        let initializer = Initializer::Normal { mean: 0.0, std: config.initializer_range * config.initializer_factor };
        let class = Initializer::Normal { mean: 0.0, std: (width as f64).powf(-0.5) * config.initializer_factor };
        let patch_embedding = Conv2dConfig {
            channels: [config.num_channels, width],
            kernel_size: [patch, patch],
            stride: [patch, patch],
            dilation: [1, 1],
            groups: 1,
            padding: PaddingConfig2d::Valid,
            bias: false,
            initializer: initializer.clone(),
        };
        let positions =
            EmbeddingConfig { n_embedding: config.tokens(), d_model: width, initializer: initializer.clone() };
        Self {
            class_embedding: class.init([width], device),
            patch_embedding: patch_embedding.init(device),
            position_embedding: positions.init(device),
        }
    }

    pub(crate) fn forward(&self, batch: &PixelBatch) -> Tensor<3> {
        let kernel = self.patch_embedding.weight.val();
        let dtype = kernel.dtype();
        let pixels = batch.pixels(dtype).cast(DType::F32); // not every backend sums half numbers in f32
        let options = ConvOptions::new(self.patch_embedding.stride, [0, 0], [1, 1], 1);
        let patches = conv2d(pixels, kernel.cast(DType::F32), None, options).cast(dtype); // [B, W, N, M]
        let patches = patches.flatten::<3>(2, 3).swap_dims(1, 2); // [B, N * M, W]
        let positions = resize_positions(self.position_embedding.weight.val(), self.grid(batch)); // [T, W]
        with_class_token(&self.class_embedding, patches) + positions.unsqueeze()
    }

    /// Rows and columns of patches; a remainder of the picture is dropped.
    pub(crate) fn grid(&self, batch: &PixelBatch) -> [usize; 2] {
        let ([_, _, height, width], [rows, columns]) = (batch.shape(), self.patch_embedding.kernel_size);
        [height / rows, width / columns]
    }
}

/// Puts the class token in front.
///
/// # Shapes
/// `class`: `[W]`; `patches`: `[B, N * M, W]`; the result: `[B, T, W]`.
fn with_class_token(class: &Param<Tensor<1>>, patches: Tensor<3>) -> Tensor<3> {
    let [b, _, w] = patches.dims();
    let class = class.val().reshape([1, 1, w]).expand([b, 1, w]);
    Tensor::cat(vec![class, patches], 1)
}

/// Attention, then MLP, each over a normalised input and added to it.
#[derive(Module, Debug)]
pub(crate) struct Layer {
    pub(crate) layer_norm1: LayerNorm,
    pub(crate) attention: Attention,
    pub(crate) layer_norm2: LayerNorm,
    pub(crate) mlp: Mlp,
}

impl Layer {
    pub(crate) fn init(config: &VisionConfig, device: &Device) -> Self {
        let (width, spread) = (config.hidden_size, Spread::of(config));
        let norm = || LayerNorm::init(width, config.layer_norm_eps, device);
        let attention = Attention::init(width, config.num_attention_heads, spread.inner, device);
        let mlp = Mlp::init(width, config.intermediate_size, config.hidden_act, spread.fc1, device);
        Self {
            layer_norm1: norm(),
            attention: attention.with_output(width, spread.output, device),
            layer_norm2: norm(),
            mlp: mlp.with_output(spread.inner, device),
        }
    }

    pub(crate) fn forward(&self, x: Tensor<3>, recorder: &mut Recorder) -> Tensor<3> {
        let attention = self.attention.forward(self.layer_norm1.forward(x.clone()), None, recorder);
        let x = recorder.record("attention.residual", x + attention); // [B, T, W]
        let mlp = self.mlp.forward(self.layer_norm2.forward(x.clone()), recorder);
        recorder.record("output", x + mlp) // [B, T, W]
    }
}

/// Standard deviations of a layer's initial weights: `_init_weights` of the reference.
pub(crate) struct Spread {
    /// Of query, key and value, and of the second layer of the MLP: less in a deeper tower.
    pub(crate) inner: f64,
    /// Of the output of the attention.
    pub(crate) output: f64,
    /// Of the first layer of the MLP.
    pub(crate) fc1: f64,
}

impl Spread {
    pub(crate) fn of(config: &VisionConfig) -> Self {
        let (width, layers) = (config.hidden_size as f64, config.num_hidden_layers as f64);
        let output = width.powf(-0.5) * config.initializer_factor;
        Self { inner: output * (2.0 * layers).powf(-0.5), output, fc1: output * 0.5_f64.sqrt() }
    }
}
