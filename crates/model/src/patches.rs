//! Patch features of pictures: the image tower as a visual backbone.
//!
//! Shapes: I pictures, N rows and M columns of patches, W width.

use chinese_clip_config::{PreprocessorConfig, Size};
use chinese_clip_nn::{PixelBatch, VisionError};
use chinese_clip_preprocess::{ImageProcessor, Picture, Pixels};
use chinese_clip_vision_vit::PreparedVisionModel;

use crate::batching::image_batches;
use crate::device::guarded;
use crate::image::PreparedImageTower;
use crate::pipeline::host;
use crate::{Budget, ChineseClip, Error};

/// Which patch features are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PatchOptions {
    /// The hidden state: 0 is what enters the first layer, i what leaves the i-th. `None` is the last.
    pub layer: Option<usize>,
    /// Height and width that pictures are resized to, without a crop; positions are stretched to the patches of it. `None`
    /// is the model's own preparation.
    pub image_size: Option<[usize; 2]>,
}

/// Features of patches, not normalised. The class token is not among them.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchFeatures {
    /// Row-major.
    pub values: Vec<f32>,
    /// `[I, N, M, W]`.
    pub shape: [usize; 4],
}

/// [`PatchOptions`] checked against a model; made by [`ChineseClip::patches`].
#[derive(Debug)]
pub struct Patches<'a> {
    clip: &'a ChineseClip,
    tower: &'a PreparedVisionModel,
    processor: ImageProcessor,
    layer: usize,
    image_size: [usize; 2],
}

impl ChineseClip {
    /// Patch features of pictures.
    ///
    /// # Errors
    /// As [`patches`](Self::patches), and where a picture cannot be prepared.
    pub fn patch_features(&self, pictures: &[Picture], options: PatchOptions) -> Result<PatchFeatures, Error> {
        let patches = self.patches(options)?;
        let [height, width] = patches.image_size;
        let [rows, columns] = patches.grid();
        let mut values = Vec::new();
        for range in image_batches(pictures.len(), self.budget().pictures([height, width])) {
            values.extend(patches.of_pixels(patches.processor.process(&pictures[range])?)?.values);
        }
        Ok(PatchFeatures { values, shape: [pictures.len(), rows, columns, patches.width()] })
    }

    /// Checks which patch features are wanted, to compute them batch by batch.
    ///
    /// # Errors
    /// With a ResNet, without such a layer, or if the size has no patch or is out of range.
    pub fn patches(&self, options: PatchOptions) -> Result<Patches<'_>, Error> {
        let PreparedImageTower::ViT(tower) = &self.model.vision_model else {
            return Err(Error::ResNet { what: "patch features" });
        };
        let layers = tower.depth();
        let layer = options.layer.unwrap_or(layers);
        if layer > layers {
            return Err(VisionError::Layer { layer, layers }.into());
        }
        let config = &self.config().vision_config;
        let (patch, edge) = (config.patch_size, config.image_size);
        let mut processor = self.image_processor().clone();
        if let Some([height, width]) = options.image_size {
            if height < patch || width < patch {
                return Err(VisionError::NoPatch { height, width, channels: config.num_channels, patch }.into());
            }
            let size = Size::Exact { height, width };
            let config = processor.config().clone();
            let config = PreprocessorConfig { do_resize: true, size, do_center_crop: false, ..config };
            config.validate()?;
            processor = processor.with_config(config);
        }
        Ok(Patches { clip: self, tower, processor, layer, image_size: options.image_size.unwrap_or([edge, edge]) })
    }
}

impl Patches<'_> {
    /// Size of batches.
    pub fn budget(&self) -> Budget {
        self.clip.budget()
    }

    /// The hidden state.
    pub fn layer(&self) -> usize {
        self.layer
    }

    /// Height and width of prepared pictures.
    pub fn image_size(&self) -> [usize; 2] {
        self.image_size
    }

    /// `[N, M]`.
    pub fn grid(&self) -> [usize; 2] {
        self.image_size.map(|edge| edge / self.clip.config().vision_config.patch_size)
    }

    /// W.
    pub fn width(&self) -> usize {
        self.clip.config().vision_config.hidden_size
    }

    /// What prepares pictures for [`of_pixels`](Self::of_pixels).
    pub fn processor(&self) -> &ImageProcessor {
        &self.processor
    }

    /// Features of prepared pixels of [`image_size`](Self::image_size), in one batch.
    pub fn of_pixels(&self, pixels: Pixels) -> Result<PatchFeatures, Error> {
        let (clip, images) = (self.clip, pixels.shape[0]);
        let [_, _, height, width] = pixels.shape;
        if [height, width] != self.image_size {
            return Err(VisionError::OtherSize { height, width, expected: self.image_size }.into());
        }
        let batch = PixelBatch::any_size(pixels.data, pixels.shape, &clip.config().vision_config, clip.device())?;
        let features = guarded(clip.device(), || self.tower.features(&batch, self.layer))??; // [I, N, M, W]
        let values = host(clip.device(), || features)?;
        let [rows, columns] = self.grid();
        Ok(PatchFeatures { values, shape: [images, rows, columns, self.width()] })
    }

    /// What makes such features comparable: [`ChineseClip::fingerprint`], the layer and the size. It differs from that of embeddings.
    pub fn fingerprint(&self) -> Result<String, Error> {
        let (model, [height, width]) = (self.clip.fingerprint()?, self.image_size);
        let asked = format!("{model} patches of hidden state {} at {height}x{width}", self.layer);
        Ok(blake3::hash(asked.as_bytes()).to_hex().to_string())
    }
}
