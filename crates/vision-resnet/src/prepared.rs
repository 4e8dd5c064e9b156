//! The ResNet tower, prepared for inference: batch norms folded into the convolutions, and in the pooling no query except that
//! of the mean.
//!
//! Shapes: E width of the shared space, C channels out, D channels in, K edge of the kernel.

use burn::module::{Module, Param};
use burn::nn::conv::Conv2d;
use burn::tensor::{DType, Tensor};
use chinese_clip_nn::{PixelBatch, PreparedAttention, Recorder};

use crate::ResNetModel;
use crate::model::ConvNorm;
use crate::pool::AttentionPool;
use crate::trunk::{Convolution, Trunk};

/// The image tower for inference; made by [`ResNetModel::prepare`].
#[derive(Module, Debug)]
pub struct PreparedResNetModel {
    trunk: Trunk<Conv2d>,
    attnpool: AttentionPool<PreparedAttention>,
}

impl From<ResNetModel> for PreparedResNetModel {
    fn from(canonical: ResNetModel) -> Self {
        let ResNetModel { trunk, attnpool } = canonical;
        Self { trunk: trunk.map_convolutions(&fold), attnpool: attnpool.prepare() }
    }
}

impl PreparedResNetModel {
    /// The pooled feature map in the shared space, not normalised.
    ///
    /// # Shapes
    /// The result: `[B, E]`.
    pub fn forward(&self, batch: &PixelBatch) -> Tensor<2> {
        let x = self.trunk.forward(batch.pixels(self.trunk.dtype()), &mut Recorder::off()); // [B, W, G, G]
        self.attnpool.forward(x)
    }

    /// The feature map of each stage, `layer1` to `layer4`, for pictures of any size.
    ///
    /// # Shapes
    /// The first: `[B, C, H / 4, W / 4]`; each next one has twice the channels and half the rows and columns.
    pub fn feature_maps(&self, batch: &PixelBatch) -> Vec<Tensor<4>> {
        self.trunk.feature_maps(batch.pixels(self.trunk.dtype()))
    }
}

/// `scale * (conv(x) - mean) + beta` as one convolution with a bias, computed in f32.
fn fold(unit: ConvNorm) -> Conv2d {
    let ConvNorm { conv, norm } = unit;
    let dtype = conv.weight.dtype();
    let [gamma, beta, mean, variance] =
        [norm.gamma.val(), norm.beta.val(), norm.running_mean.value(), norm.running_var.value()]
            .map(|x| x.cast(DType::F32));
    let scale = gamma / (variance + norm.epsilon).sqrt(); // [C]
    let bias = beta - mean * scale.clone();
    let channels = scale.dims()[0];
    let weight = conv.weight.val().cast(DType::F32) * scale.reshape([channels, 1, 1, 1]); // [C, D, K, K]
    Conv2d { weight: Param::from_tensor(weight.cast(dtype)), bias: Some(Param::from_tensor(bias.cast(dtype))), ..conv }
}

impl Convolution for Conv2d {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        Conv2d::forward(self, x)
    }

    fn dtype(&self) -> DType {
        self.weight.dtype()
    }
}
