//! The pipeline: tokenizer, image processor and prepared model in one value that many threads may share.

use std::num::NonZeroUsize;
use std::ops::Range;

use burn::tensor::{DType, Device, Tensor};
use chinese_clip_checkpoint::{Checkpoint, OpenOptions, Vocabulary};
use chinese_clip_config::{ChineseClipConfig, Limits, Size};
use chinese_clip_nn::{PixelBatch, VisionError};
use chinese_clip_preprocess::cn_clip::CONTEXT_LENGTH;
use chinese_clip_preprocess::{
    Alpha, Dialect, EncodeOptions, Encoding, ImageProcessor, Levels, Overlong, Padding, Picture, Pixels, TextBatch,
    Tokenizer,
};
use chinese_clip_text_bert::TokenBatch;

use crate::batching::{image_batches, text_batches};
use crate::cache::TextCache;
use crate::device::{guarded, label, stored};
use crate::{Budget, DEMO, Embeddings, Error, PreparedModel, Similarity, Templates, default_dtype, demo, dtype_name};

/// Version of everything that moves an embedding; a change of it stands in the changelog under Numerics.
const NUMERICS: u32 = 1;

/// How a model is loaded and used.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Number format of weights and activations; `None` is [`default_dtype`] of the device. Logits are f32 always. On `flex`, bf16
    /// is the format of what layers and attention multiply, [`DType::I8`] of what layers multiply, and all else is f32.
    pub dtype: Option<DType>,
    /// Which reference the preparation of texts and images follows.
    pub dialect: Dialect,
    /// What transparent pictures show in the dialect [`Dialect::Hf`].
    pub alpha: Alpha,
    /// The most tokens of a text; `None` is what the reference allows: [`longest_text`].
    pub max_length: Option<usize>,
    /// What happens to a longer text.
    pub overlong: Overlong,
    /// Large JPEGs are read at less than their size; see [`ImageProcessor::with_fast_jpeg`]. It has its own fingerprint.
    pub fast_jpeg: bool,
    /// Size of batches; `None` is what suits the device: [`Budget::of`].
    pub budget: Option<Budget>,
    /// Where checkpoints come from.
    pub open: OpenOptions,
}

/// Chinese-CLIP, ready to use: from pictures and texts to embeddings, similarities and labels.
///
/// It is `Send` and `Sync`; all methods take `&self`.
#[derive(Debug)]
pub struct ChineseClip {
    checkpoint: Checkpoint,
    tokenizer: Tokenizer,
    images: ImageProcessor,
    encode: EncodeOptions,
    pub(crate) model: PreparedModel,
    scale: f64,
    device: Device,
    dtype: DType,
    budget: Budget,
    cache: Option<TextCache>,
}

impl ChineseClip {
    /// Loads a directory, a model of the hub (`owner/name`), a published model by its short name (`ViT-B-16`), or the
    /// embedded [`DEMO`], in the device's [`default_dtype`].
    pub fn from_pretrained(source: &str, device: &Device) -> Result<Self, Error> {
        Self::from_pretrained_with(source, device, &LoadOptions::default())
    }

    /// [`from_pretrained`](Self::from_pretrained) with options.
    pub fn from_pretrained_with(source: &str, device: &Device, options: &LoadOptions) -> Result<Self, Error> {
        Self::from_checkpoint(open(source, &options.open)?, device, options)
    }

    /// Loads an opened checkpoint.
    pub fn from_checkpoint(checkpoint: Checkpoint, device: &Device, options: &LoadOptions) -> Result<Self, Error> {
        let limits = &options.open.limits;
        let short = checkpoint.weights.is_int8() && stored(DType::I8, device).0 != DType::I8;
        let default = || if short { DType::I8 } else { default_dtype(device) };
        let dtype = options.dtype.unwrap_or_else(default);
        check_size(&checkpoint)?;
        let tokenizer = tokenizer(&checkpoint, limits)?.with_dialect(options.dialect)?;
        let model = PreparedModel::load(&checkpoint.config, &checkpoint.weights, dtype, device)?;
        let scale = f64::from(host(device, || model.logit_scale())?.first().copied().unwrap_or_default()).exp();
        if !(scale as f32).is_finite() {
            return Err(Error::NotFinite { what: "the temperature exp(logit_scale)" });
        }
        let longest = longest_text(&checkpoint.config, options.dialect);
        let positions = checkpoint.config.text_config.max_position_embeddings;
        let encode = EncodeOptions {
            max_length: options.max_length.unwrap_or(longest).min(positions),
            overlong: options.overlong,
            limits: limits.clone(),
        };
        let images = ImageProcessor::new(checkpoint.preprocessor.clone(), options.dialect);
        let images = images.with_alpha(options.alpha).with_limits(limits.clone()).with_fast_jpeg(options.fast_jpeg);
        let (device, budget) = (device.clone(), options.budget.unwrap_or_else(|| Budget::of(device)));
        Ok(Self { checkpoint, tokenizer, images, encode, model, scale, device, dtype, budget, cache: None })
    }

    /// Keeps the features of the last `texts` different texts, which then cost nothing when they come again. Off by default.
    #[must_use]
    pub fn with_text_cache(self, texts: usize) -> Self {
        Self { cache: NonZeroUsize::new(texts).map(TextCache::new), ..self }
    }

    /// Number format of weights and activations.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where it runs.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What `work` computes with the model alone, once the device is done with it.
    pub fn with_model<T>(&self, work: impl FnOnce(&PreparedModel) -> T) -> Result<T, Error> {
        let device = &self.device;
        guarded(device, || {
            let result = work(&self.model);
            device.sync().map(|()| result)
        })?
        .map_err(|error| Error::Backend { device: label(device), reason: format!("{error:?}") })
    }

    /// Where the model came from, its files and its notes.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The model's configuration.
    pub fn config(&self) -> &ChineseClipConfig {
        &self.checkpoint.config
    }

    /// Size of batches.
    pub fn budget(&self) -> Budget {
        self.budget
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The image processor.
    pub fn image_processor(&self) -> &ImageProcessor {
        &self.images
    }

    /// `exp(logit_scale)`: what a cosine is multiplied by to become a logit.
    pub fn logit_scale(&self) -> f64 {
        self.scale
    }

    /// What makes an embedding comparable with another: weights, configuration, vocabulary, preprocessing, number format and
    /// numerics version, as a hexadecimal digest. Reads all weights.
    pub fn fingerprint(&self) -> Result<String, Error> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.checkpoint.weights.fingerprint());
        let dialect = match (self.images.dialect(), self.images.alpha()) {
            (Dialect::Hf, Alpha::Dropped) => "images as hf",
            (Dialect::Hf, Alpha::OnWhite) => "images as hf, alpha on white",
            (Dialect::CnClip, _) => "texts and images as cn_clip",
        };
        let fast_jpeg = if self.images.fast_jpeg() { ", large JPEG at less than its size" } else { "" };
        for part in [
            self.config().to_json(),
            self.tokenizer.to_json()?,
            self.checkpoint.preprocessor.to_json(),
            format!("{dialect}, libjpeg-turbo {}{fast_jpeg}", cfg!(feature = "libjpeg-turbo")),
            format!("{} tokens at most, {}, numerics {NUMERICS}", self.encode.max_length, dtype_name(self.dtype)),
        ] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// Token ids of texts; an [`Encoding`] tells whether its text was cut off.
    pub fn tokenize<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Result<Vec<Encoding>, Error> {
        Ok(self.tokenizer.encode_batch(texts, &self.encode)?)
    }

    /// Embeddings of texts, unit length, in the order of the texts. Longer texts than the model takes are cut off or
    /// refused, as [`LoadOptions::overlong`] says; [`tokenize`](Self::tokenize) tells which were cut.
    pub fn encode_texts<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Result<Embeddings, Error> {
        self.text_features(&self.tokenize(texts)?)?.into_unit()
    }

    /// Embeddings of pictures, unit length, in the order of the pictures.
    pub fn encode_images(&self, pictures: &[Picture]) -> Result<Embeddings, Error> {
        self.image_features(pictures)?.into_unit()
    }

    /// Features of tokenised texts as `get_text_features` gives them: not normalised.
    pub fn text_features(&self, encodings: &[Encoding]) -> Result<Embeddings, Error> {
        match &self.cache {
            Some(cache) => cache.features(encodings, self.config().projection_dim, |texts| self.run_texts(texts)),
            None => self.run_texts(encodings),
        }
    }

    fn run_texts(&self, encodings: &[Encoding]) -> Result<Embeddings, Error> {
        let lengths: Vec<usize> = encodings.iter().map(|encoding| encoding.ids.len()).collect();
        let width = self.config().projection_dim;
        let mut values = vec![0.0; encodings.len() * width];
        for batch in text_batches(&lengths, self.budget.tokens) {
            let texts: Vec<Encoding> = batch.iter().map(|&i| encodings[i].clone()).collect();
            let padded = self.tokenizer.pad(&texts, Padding::Longest)?;
            let batch_of_ids = self.token_batch(&padded)?;
            let features = host(&self.device, || self.model.get_text_features(&batch_of_ids))?;
            for (&i, row) in batch.iter().zip(features.chunks_exact(width)) {
                values[i * width..(i + 1) * width].copy_from_slice(row);
            }
        }
        Ok(Embeddings::new(values, width))
    }

    /// Features of pictures as `get_image_features` gives them: not normalised.
    pub fn image_features(&self, pictures: &[Picture]) -> Result<Embeddings, Error> {
        self.in_batches(pictures.len(), |range| self.level_features(self.images.levels(&pictures[range])?))
    }

    /// Features of prepared pixels, in batches within the [budget](Self::budget): not normalised.
    pub fn pixel_features(&self, pixels: Pixels) -> Result<Embeddings, Error> {
        let Pixels { data, shape: [count, channels, height, width] } = pixels;
        self.in_batches_of(data, count, |data, count| {
            PixelBatch::new(data, [count, channels, height, width], &self.config().vision_config, &self.device)
        })
    }

    /// The same of pixels in 8 bits: equal features, a quarter of the memory.
    pub fn level_features(&self, levels: Levels) -> Result<Embeddings, Error> {
        let Levels { data, shape: [count, height, width], values } = levels;
        self.in_batches_of(data, count, |data, count| {
            let shape = [count, height, width];
            PixelBatch::of_levels(data, values.clone(), shape, &self.config().vision_config, &self.device)
        })
    }

    fn pictures_in_a_batch(&self) -> usize {
        self.budget.pictures([self.config().vision_config.image_size; 2])
    }

    fn in_batches(
        &self,
        pictures: usize,
        features: impl Fn(Range<usize>) -> Result<Embeddings, Error>,
    ) -> Result<Embeddings, Error> {
        let parts = image_batches(pictures, self.pictures_in_a_batch()).map(features);
        Ok(Embeddings::concat(parts.collect::<Result<_, Error>>()?, self.config().projection_dim))
    }

    /// Features of `count` pictures in one array.
    fn in_batches_of<T: Clone>(
        &self,
        data: Vec<T>,
        count: usize,
        batch: impl Fn(Vec<T>, usize) -> Result<PixelBatch, VisionError>,
    ) -> Result<Embeddings, Error> {
        let features = |data, count| {
            let batch = batch(data, count)?;
            let features = host(&self.device, || self.model.get_image_features(&batch))?;
            Ok(Embeddings::new(features, self.config().projection_dim))
        };
        if count <= self.pictures_in_a_batch() || !data.len().is_multiple_of(count) {
            return features(data, count);
        }
        let len = data.len() / count;
        self.in_batches(count, |range| features(data[range.start * len..range.end * len].to_vec(), range.len()))
    }

    /// Logits and probabilities of every picture against every text.
    pub fn similarity<T: AsRef<str> + Sync>(&self, pictures: &[Picture], texts: &[T]) -> Result<Similarity, Error> {
        if texts.is_empty() {
            return Err(Error::Nothing { what: "texts" });
        }
        self.compare(&self.encode_images(pictures)?, &self.encode_texts(texts)?)
    }

    /// Logits and probabilities of every picture against every label, put into `templates`.
    pub fn classify<T: AsRef<str>>(
        &self,
        pictures: &[Picture],
        labels: &[T],
        templates: &Templates,
    ) -> Result<Similarity, Error> {
        let labels = self.encode_labels(labels, templates)?;
        self.compare(&self.encode_images(pictures)?, &labels)
    }

    /// One embedding of unit length for each label: the direction of the mean over its prompts.
    pub fn encode_labels<T: AsRef<str>>(&self, labels: &[T], templates: &Templates) -> Result<Embeddings, Error> {
        let prompts: Vec<String> = labels.iter().flat_map(|label| templates.prompts(label.as_ref())).collect();
        self.label_features(&self.tokenize(&prompts)?, prompts.len() / labels.len().max(1))
    }

    /// [`encode_labels`](Self::encode_labels) of tokenised prompts, `per_label` of them after each other for each label.
    pub fn label_features(&self, prompts: &[Encoding], per_label: usize) -> Result<Embeddings, Error> {
        if prompts.is_empty() || per_label == 0 {
            return Err(Error::Nothing { what: "labels" });
        }
        let embeddings = self.text_features(prompts)?.into_unit()?;
        let width = embeddings.width();
        let of_label = embeddings.values().chunks(per_label * width);
        let parts = of_label.map(|part| Embeddings::new(part.to_vec(), width).mean_direction());
        Ok(Embeddings::concat(parts.collect::<Result<_, _>>()?, width))
    }

    /// Logits and probabilities of embeddings of unit length.
    pub fn compare(&self, images: &Embeddings, texts: &Embeddings) -> Result<Similarity, Error> {
        for (embeddings, what) in [(images, "images"), (texts, "texts")] {
            if embeddings.is_empty() {
                return Err(Error::Nothing { what });
            }
        }
        Similarity::new(images, texts, self.scale)
    }

    fn token_batch(&self, padded: &TextBatch) -> Result<TokenBatch, Error> {
        let (ids, mask) = (&padded.input_ids, Some(padded.attention_mask.as_slice()));
        Ok(TokenBatch::new(ids, mask, padded.shape, &self.config().text_config, &self.device)?)
    }
}

/// The processor must make pictures of the size that the model takes; known where the file names both edges.
fn check_size(checkpoint: &Checkpoint) -> Result<(), Error> {
    let (processor, expected) = (&checkpoint.preprocessor, checkpoint.config.vision_config.image_size);
    let size = match processor.size {
        _ if processor.do_center_crop => Some((processor.crop_size.height, processor.crop_size.width)),
        Size::Exact { height, width } if processor.do_resize => Some((height, width)),
        _ => None,
    };
    match size {
        Some((height, width)) if (height, width) != (expected, expected) => {
            Err(VisionError::Size { height, width, channels: 3, expected }.into())
        }
        _ => Ok(()),
    }
}

/// Opens a checkpoint by the names that [`ChineseClip::from_pretrained`] takes.
pub fn open(source: &str, options: &OpenOptions) -> Result<Checkpoint, Error> {
    if source == DEMO { demo::checkpoint() } else { Ok(Checkpoint::open(source, options)?) }
}

/// The tokenizer of a checkpoint; the published vocabulary where it has none.
pub fn tokenizer(checkpoint: &Checkpoint, limits: &Limits) -> Result<Tokenizer, Error> {
    Ok(match &checkpoint.vocabulary {
        Vocabulary::BuiltIn => Tokenizer::builtin()?,
        Vocabulary::VocabTxt(path) => Tokenizer::from_vocab(path, limits)?,
        Vocabulary::TokenizerJson(path) => Tokenizer::from_tokenizer_json(path, limits)?,
    })
}

/// The most tokens of a text that a reference gives to a model: all its positions, and 52 in `cn_clip`.
pub fn longest_text(config: &ChineseClipConfig, dialect: Dialect) -> usize {
    let positions = config.text_config.max_position_embeddings;
    match dialect {
        Dialect::Hf => positions,
        Dialect::CnClip => CONTEXT_LENGTH.min(positions),
    }
}

/// The values, in f32, of a tensor that `work` computes on `device`.
pub(crate) fn host<const D: usize>(device: &Device, work: impl FnOnce() -> Tensor<D>) -> Result<Vec<f32>, Error> {
    let failed = |reason: String| Error::Backend { device: label(device), reason };
    let data =
        guarded(device, || work().cast(DType::F32).try_into_data())?.map_err(|error| failed(error.to_string()))?;
    let values = data.try_to_vec::<f32>().map_err(|error| failed(format!("{error:?}")))?;
    if values.iter().all(|value| value.is_finite()) { Ok(values) } else { Err(Error::NotFinite { what: "a feature" }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_instance_serves_many_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<ChineseClip>();
    }
}
