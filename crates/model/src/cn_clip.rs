//! The model under the names of `cn_clip` 1.6.0 (`clip/model.py`, `CLIP`), for those who come from there. `encode_image` stands
//! beside its masks, in `masking.rs`.
//!
//! Shapes: T texts, I images, E width of the shared space.

use burn::tensor::Tensor;
use chinese_clip_nn::{PixelBatch, Recorder};
use chinese_clip_text_bert::TokenBatch;

use crate::{ChineseClipModel, ModelOutput};

impl ChineseClipModel {
    /// [`get_text_features`](Self::get_text_features). `cn_clip` hides every `[PAD]` from attention by itself; here the mask of
    /// the batch does.
    ///
    /// # Shapes
    /// The result: `[T, E]`.
    pub fn encode_text(&self, texts: &TokenBatch) -> Tensor<2> {
        self.get_text_features(texts, &mut Recorder::off())
    }

    /// Logits per image and logits per text.
    ///
    /// # Shapes
    /// The result: `[I, T]` and `[T, I]`.
    pub fn get_similarity(&self, images: &PixelBatch, texts: &TokenBatch) -> (Tensor<2>, Tensor<2>) {
        let ModelOutput { logits_per_image, logits_per_text, .. } = self.forward(texts, images, &mut Recorder::off());
        (logits_per_image, logits_per_text)
    }
}
