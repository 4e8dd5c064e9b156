//! The image tower of Chinese-CLIP: ViT, on burn.
//!
//! Follows `ChineseCLIPVisionModel` of transformers 4.51.3 (`modeling_chinese_clip.py`). As there, the last hidden
//! state is not normalised; the pooled output is its class token after `post_layernorm`.
//!
//! [`VisionModel`] has the checkpoint's parameters and shows every intermediate; [`PreparedVisionModel`] is made from it
//! for inference. Both take a [`PixelBatch`](chinese_clip_nn::PixelBatch), which was checked once; after that nothing can fail.
//!
//! Shapes: B batch, S image edge in pixels, P patch edge, G = S / P, T = G * G + 1 tokens, W width.

#![forbid(unsafe_code)]

mod model;
mod names;
mod prepared;

pub use model::{VisionModel, VisionOutput};
pub use names::checkpoint_name;
pub use prepared::PreparedVisionModel;
