//! The processor beside the model, as the reference's examples use the two: `model(**processor(text, images))`.

use burn::tensor::Device;
use chinese_clip_checkpoint::Checkpoint;
use chinese_clip_config::Limits;
use chinese_clip_nn::PixelBatch;
use chinese_clip_preprocess::{BatchEncoding, Dialect, ImageProcessor, Processor};
use chinese_clip_text_bert::TokenBatch;

use crate::{ChineseClipModel, Error, tokenizer};

/// The processor of a checkpoint, which [`open`](crate::open) opens by a hub's name, too; the published vocabulary where it has none. Of a
/// directory with the processor's files alone, [`ChineseClipProcessor::from_pretrained`](Processor::from_pretrained) makes it.
pub fn processor(checkpoint: &Checkpoint, limits: &Limits) -> Result<Processor, Error> {
    let images = ImageProcessor::new(checkpoint.preprocessor.clone(), Dialect::Hf);
    Ok(Processor::new(images, tokenizer(checkpoint, limits)?).with_limits(limits.clone()))
}

impl ChineseClipModel {
    /// What the processor made, as the batches that this model takes.
    ///
    /// # Errors
    /// When a text is longer than the model's positions, or pictures do not have its size; [`PixelBatch::any_size`] takes others.
    pub fn batches(
        &self,
        inputs: BatchEncoding,
        device: &Device,
    ) -> Result<(Option<TokenBatch>, Option<PixelBatch>), Error> {
        let BatchEncoding { text, images } = inputs;
        let (config, vision) = (&self.config().text_config, &self.config().vision_config);
        let texts = text
            .map(|text| {
                TokenBatch::new(&text.input_ids, Some(&text.attention_mask), text.shape, config, device)?
                    .with_token_type_ids(&text.token_type_ids, config)
            })
            .transpose()?;
        let pixels = images.map(chinese_clip_preprocess::BatchFeature::into_pixels);
        let pixels = pixels.map(|pixels| PixelBatch::new(pixels.data, pixels.shape, vision, device)).transpose()?;
        Ok((texts, pixels))
    }
}
