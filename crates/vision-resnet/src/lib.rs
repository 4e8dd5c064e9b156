//! The image tower of Chinese-CLIP's RN50: CLIP's modified ResNet, on burn.
//!
//! Follows `ModifiedResNet`, `Bottleneck` and `AttentionPool2d` of cn_clip 1.6.0 (`clip/model.py`). It differs from the usual
//! ResNet: the stem has three convolutions; every stride is an average pool, so that nothing is sampled without a filter; the
//! last feature map is pooled by attention, whose output projection is that of the image into the shared space.
//!
//! [`ResNetModel`] has the checkpoint's parameters and shows every intermediate; [`PreparedResNetModel`] is made from it for
//! inference, its batch norms folded into the convolutions. Both take a [`PixelBatch`](chinese_clip_nn::PixelBatch), which was
//! checked once; after that nothing can fail. As a backbone, both give the feature map of each stage.
//!
//! Shapes: B batch, S image edge in pixels, C channels, G = S / 32, T = G * G + 1 tokens, W = 32 times the width of the stem,
//! E width of the shared space.

#![forbid(unsafe_code)]

mod model;
mod names;
mod pool;
mod prepared;
mod trunk;

pub use model::ResNetModel;
pub use names::checkpoint_name;
pub use prepared::PreparedResNetModel;
