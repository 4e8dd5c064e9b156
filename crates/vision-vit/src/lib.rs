//! The image tower of Chinese-CLIP: ViT, on burn.
//!
//! Follows `ChineseCLIPVisionModel` of transformers 4.51.3 (`modeling_chinese_clip.py`). As there, the last hidden
//! state is not normalised; the pooled output is its class token after `post_layernorm`.
//!
//! [`VisionModel`] has the checkpoint's parameters and shows every intermediate; [`PreparedVisionModel`] is made from it
//! for inference. Both take a [`PixelBatch`](chinese_clip_nn::PixelBatch), which was checked once; after that nothing can fail.
//! A batch of [any size](chinese_clip_nn::PixelBatch::any_size) has the positions stretched to its patches.
//!
//! As a backbone, both give [`VisionStates`] and the features of patches; [`KeptPatches`] leaves some out.
//!
//! Shapes: B batch, P patch edge in pixels, N = H / P rows and M = W / P columns of patches, T = N * M + 1 tokens, W width.

#![forbid(unsafe_code)]

mod masking;
mod model;
mod names;
mod prepared;
mod states;

pub use masking::KeptPatches;
pub use model::{VisionModel, VisionOutput};
pub use names::checkpoint_name;
pub use prepared::PreparedVisionModel;
pub use states::{Keep, VisionStates};
