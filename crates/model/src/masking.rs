//! FLIP: image features from a part of the patches.
//!
//! Follows `CLIP.encode_image(image, mask_ratio)` of cn_clip 1.6.0 (`clip/model.py`).
//!
//! differs: torch's random numbers are not reproduced, a seed takes their place; a ResNet, which ignores the ratio there, refuses it.
//!
//! Shapes: I images, E width of the shared space.

use burn::tensor::Tensor;
use chinese_clip_nn::{PixelBatch, Recorder};
use chinese_clip_vision_vit::KeptPatches;

use crate::image::PreparedImageTower;
use crate::model::projected;
use crate::{ChineseClipModel, Error, ImageTower, PreparedModel};

impl ChineseClipModel {
    /// Image features, not normalised, from a random part of the patches: a share of `mask_ratio` is left out, the same one for
    /// the same `seed`. With a ratio of 0 it is [`get_image_features`](Self::get_image_features).
    ///
    /// # Shapes
    /// The result: `[I, E]`.
    ///
    /// # Errors
    /// If the ratio is out of range or leaves no patch, and with a ResNet unless it is 0.
    pub fn encode_image(&self, batch: &PixelBatch, mask_ratio: f64, seed: u64) -> Result<Tensor<2>, Error> {
        if mask_ratio == 0.0 {
            return Ok(self.get_image_features(batch, &mut Recorder::off()));
        }
        let ImageTower::ViT(tower) = &self.vision_model else { return Err(no_mask()) };
        self.encode_image_kept(batch, &random(batch, tower.grid(batch), mask_ratio, seed)?)
    }

    /// The same from the given patches.
    ///
    /// # Shapes
    /// The result: `[I, E]`.
    ///
    /// # Errors
    /// If `kept` is for another number of images or patches, and with a ResNet.
    pub fn encode_image_kept(&self, batch: &PixelBatch, kept: &KeptPatches) -> Result<Tensor<2>, Error> {
        let ImageTower::ViT(tower) = &self.vision_model else { return Err(no_mask()) };
        Ok(projected(self.visual_projection.as_ref(), tower.forward_kept(batch, kept)?))
    }
}

impl PreparedModel {
    /// As [`ChineseClipModel::encode_image`].
    ///
    /// # Shapes
    /// The result: `[I, E]`.
    ///
    /// # Errors
    /// If the ratio is out of range or leaves no patch, and with a ResNet unless it is 0.
    pub fn encode_image(&self, batch: &PixelBatch, mask_ratio: f64, seed: u64) -> Result<Tensor<2>, Error> {
        if mask_ratio == 0.0 {
            return Ok(self.get_image_features(batch));
        }
        let PreparedImageTower::ViT(tower) = &self.vision_model else { return Err(no_mask()) };
        self.encode_image_kept(batch, &random(batch, tower.grid(batch), mask_ratio, seed)?)
    }

    /// The same from the given patches.
    ///
    /// # Shapes
    /// The result: `[I, E]`.
    ///
    /// # Errors
    /// If `kept` is for another number of images or patches, and with a ResNet.
    pub fn encode_image_kept(&self, batch: &PixelBatch, kept: &KeptPatches) -> Result<Tensor<2>, Error> {
        let PreparedImageTower::ViT(tower) = &self.vision_model else { return Err(no_mask()) };
        Ok(projected(self.visual_projection.as_ref(), tower.forward_kept(batch, kept)?))
    }
}

fn random(batch: &PixelBatch, [rows, columns]: [usize; 2], ratio: f64, seed: u64) -> Result<KeptPatches, Error> {
    Ok(KeptPatches::random([batch.shape()[0], rows * columns], ratio, seed)?)
}

fn no_mask() -> Error {
    Error::ResNet { what: "patches that a mask could leave out" }
}
