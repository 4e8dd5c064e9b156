//! The ResNet tower, canonical form: convolutions and batch norms as in the checkpoint.
//!
//! Follows `ModifiedResNet` of cn_clip 1.6.0.
//!
//! Shapes: B batch, H rows and W columns of pixels, C channels, E width of the shared space.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Initializer, PaddingConfig2d};
use burn::tensor::{DType, Device, Tensor};
use chinese_clip_config::VisionConfig;
use chinese_clip_nn::{Attention, PixelBatch, Recorder};

use crate::PreparedResNetModel;
use crate::pool::{AttentionPool, torch_default};
use crate::trunk::{Bottleneck, Convolution, Trunk};

/// Width of a block's output over that of its convolutions.
const EXPANSION: usize = 4;

/// The image tower with the checkpoint's parameters.
#[derive(Module, Debug)]
pub struct ResNetModel {
    pub(crate) trunk: Trunk<ConvNorm>,
    pub(crate) attnpool: AttentionPool<Attention>,
}

impl ResNetModel {
    /// A tower of random weights with the given width of the shared space.
    pub fn init(config: &VisionConfig, projection_dim: usize, device: &Device) -> Self {
        let stem = config.stem_width();
        let convolution = |channels, kernel, stride| ConvNorm::init(channels, kernel, stride, config, device);
        let mut channels = stem;
        let layer = |(i, blocks): (usize, usize)| {
            let inner = stem << i;
            let block = |block| {
                let (inputs, outputs) = (channels, inner * EXPANSION);
                channels = outputs;
                Bottleneck {
                    conv1: convolution([inputs, inner], 1, 1),
                    conv2: convolution([inner, inner], 3, 1),
                    conv3: convolution([inner, outputs], 1, 1).silenced(device),
                    downsample: (block == 0).then(|| convolution([inputs, outputs], 1, 1)),
                    stride: if block == 0 && i > 0 { 2 } else { 1 },
                }
            };
            (0..blocks).map(block).collect()
        };
        let layers = config.resnet_layers.into_iter().flatten().enumerate().map(layer).collect();
        Self {
            trunk: Trunk {
                conv1: convolution([config.num_channels, stem / 2], 3, 2),
                conv2: convolution([stem / 2, stem / 2], 3, 1),
                conv3: convolution([stem / 2, stem], 3, 1),
                layers,
            },
            attnpool: AttentionPool::init(config, projection_dim, device),
        }
    }

    /// The pooled feature map in the shared space, not normalised.
    ///
    /// # Shapes
    /// The result: `[B, E]`.
    pub fn forward(&self, batch: &PixelBatch, recorder: &mut Recorder) -> Tensor<2> {
        recorder.scope("vision", |recorder| {
            let x = self.trunk.forward(batch.pixels(self.trunk.dtype()), recorder); // [B, W, G, G]
            recorder.scope("pool", |recorder| self.attnpool.forward(x, recorder)) // [B, E]
        })
    }

    /// The feature map of each stage, `layer1` to `layer4`, for pictures of any size.
    ///
    /// # Shapes
    /// The first: `[B, C, H / 4, W / 4]`; each next one has twice the channels and half the rows and columns.
    pub fn feature_maps(&self, batch: &PixelBatch) -> Vec<Tensor<4>> {
        self.trunk.feature_maps(batch.pixels(self.trunk.dtype()))
    }

    /// The inference form.
    pub fn prepare(self) -> PreparedResNetModel {
        PreparedResNetModel::from(self)
    }
}

/// A convolution without a bias and its batch norm, which takes the running statistics unless it is trained.
#[derive(Module, Debug)]
pub(crate) struct ConvNorm {
    pub(crate) conv: Conv2d,
    pub(crate) norm: BatchNorm,
}

impl ConvNorm {
    fn init(channels: [usize; 2], kernel: usize, stride: usize, config: &VisionConfig, device: &Device) -> Self {
        let conv = Conv2dConfig {
            channels,
            kernel_size: [kernel, kernel],
            stride: [stride, stride],
            dilation: [1, 1],
            groups: 1,
            padding: PaddingConfig2d::Explicit(kernel / 2, kernel / 2, kernel / 2, kernel / 2),
            bias: false,
            initializer: torch_default(),
        };
        let norm = BatchNormConfig { num_features: channels[1], epsilon: config.layer_norm_eps, momentum: 0.1 };
        Self { conv: conv.init(device), norm: norm.init(device) }
    }

    /// The same with a gain of zero: a block begins as its shortcut.
    fn silenced(mut self, device: &Device) -> Self {
        let features = self.norm.gamma.lazy_shape().dims::<1>();
        self.norm.gamma = Initializer::Zeros.init(features, device);
        self
    }
}

impl Convolution for ConvNorm {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.forward(self.conv.forward(x))
    }

    fn dtype(&self) -> DType {
        self.conv.weight.dtype()
    }
}
