//! Texts and pictures in one call: `ChineseCLIPProcessor` of transformers 4.51.3, `processing_chinese_clip.py`.
//!
//! Shapes: T texts, L tokens; B pictures.

use chinese_clip_config::Limits;

use crate::image::{BatchFeature, ImageInput, ImageProcessor, PreprocessOptions};
use crate::{EncodeOptions, Encoding, Overlong, Padding, PreprocessError, TextBatch, Tokenizer};

/// `model_max_length`: the positions of the published models.
pub(crate) const MODEL_MAX_LENGTH: usize = 512;

/// A tokenizer and an image processor.
///
/// ```
/// use chinese_clip_preprocess::{ImageProcessor, Inputs, Picture, Processor, ProcessorOptions, Tokenizer};
/// let processor = Processor::new(ImageProcessor::default(), Tokenizer::builtin()?);
/// let picture = Picture::from_rgb8(2, 1, vec![255, 0, 0, 0, 0, 255])?;
/// let inputs = Inputs::default().text(["杰尼龟"]).images([&picture]);
/// let encoding = processor.call(inputs, &ProcessorOptions::default())?;
/// assert_eq!(encoding.keys(), processor.model_input_names());
/// # Ok::<(), chinese_clip_preprocess::PreprocessError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Processor {
    /// Of the pictures.
    pub image_processor: ImageProcessor,
    /// Of the texts.
    pub tokenizer: Tokenizer,
    /// What holds for texts unless a call says otherwise.
    pub text: TokenizeOptions,
    /// What texts may cost; the image processor has its own.
    pub limits: Limits,
}

/// How texts are padded: the reference's `padding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaddingStrategy {
    /// `False`: not at all.
    DoNotPad,
    /// `True` or `"longest"`: to the longest text of the call.
    Longest,
    /// `"max_length"`: to `max_length`.
    MaxLength,
}

/// Parameters of texts; `None` means as the processor has it, and if that is `None`, too, as the reference's defaults are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenizeOptions {
    /// Default: not at all.
    pub padding: Option<PaddingStrategy>,
    /// Whether texts are cut to `max_length`. Default: only where `max_length` is given and nothing is padded.
    pub truncation: Option<bool>,
    /// Default: 512.
    pub max_length: Option<usize>,
}

/// Parameters of a call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProcessorOptions {
    /// `text_kwargs`.
    pub text: TokenizeOptions,
    /// `images_kwargs`.
    pub images: PreprocessOptions,
}

/// Texts, pictures or both.
#[derive(Debug, Clone, Default)]
pub struct Inputs<'a> {
    text: Option<Vec<String>>,
    images: Option<Vec<ImageInput<'a>>>,
}

impl<'a> Inputs<'a> {
    /// With texts.
    #[must_use]
    pub fn text<T: Into<String>>(mut self, texts: impl IntoIterator<Item = T>) -> Self {
        self.text = Some(texts.into_iter().map(Into::into).collect());
        self
    }

    /// With pictures and arrays.
    #[must_use]
    pub fn images<I: Into<ImageInput<'a>>>(mut self, images: impl IntoIterator<Item = I>) -> Self {
        self.images = Some(images.into_iter().map(Into::into).collect());
        self
    }
}

/// What a model reads: the reference's `BatchEncoding`.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchEncoding {
    /// `input_ids`, `token_type_ids` and `attention_mask`, `[T, L]`.
    pub text: Option<TextBatch>,
    /// `pixel_values`, `[B, 3, H, W]`.
    pub images: Option<BatchFeature>,
}

impl BatchEncoding {
    /// The names of what there is.
    pub fn keys(&self) -> Vec<&'static str> {
        let text: &[_] = if self.text.is_some() { &TEXT_NAMES } else { &[] };
        let images: &[_] = if self.images.is_some() { &IMAGE_NAMES } else { &[] };
        [text, images].concat()
    }
}

const TEXT_NAMES: [&str; 3] = ["input_ids", "token_type_ids", "attention_mask"];
const IMAGE_NAMES: [&str; 1] = ["pixel_values"];

impl Processor {
    /// Of its two parts, with [`Limits::default`].
    pub fn new(image_processor: ImageProcessor, tokenizer: Tokenizer) -> Self {
        Self { image_processor, tokenizer, text: TokenizeOptions::default(), limits: Limits::default() }
    }

    /// Sets what texts and pictures may cost.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { image_processor: self.image_processor.with_limits(limits.clone()), limits, ..self }
    }

    /// The reference's `__call__`.
    ///
    /// differs: the result is arrays always, so texts of different lengths need padding.
    ///
    /// # Errors
    /// When there is neither a text nor a picture, when texts differ in length and are not padded, and as
    /// [`Tokenizer::encode_batch`] and [`ImageProcessor::preprocess`].
    pub fn call(&self, inputs: Inputs, options: &ProcessorOptions) -> Result<BatchEncoding, PreprocessError> {
        let Inputs { text, images } = inputs;
        if text.is_none() && images.is_none() {
            return Err(PreprocessError::NoInputs);
        }
        let text = text.map(|texts| self.encode(&texts, &options.text)).transpose()?;
        let images = images.map(|images| self.image_processor.preprocess(images, &options.images)).transpose()?;
        Ok(BatchEncoding { text, images })
    }

    fn encode(&self, texts: &[String], options: &TokenizeOptions) -> Result<TextBatch, PreprocessError> {
        let padding = options.padding.or(self.text.padding).unwrap_or(PaddingStrategy::DoNotPad);
        let given = options.max_length.or(self.text.max_length);
        let implied = given.is_some() && padding == PaddingStrategy::DoNotPad;
        let truncation = options.truncation.or(self.text.truncation).unwrap_or(implied);
        let max_length = given.unwrap_or(MODEL_MAX_LENGTH);
        let encode = EncodeOptions {
            max_length: if truncation { max_length } else { usize::MAX },
            overlong: Overlong::Truncate,
            limits: self.limits.clone(),
        };
        let encodings = self.tokenizer.encode_batch(texts, &encode)?;
        let length = |encoding: &Encoding| encoding.ids.len();
        let longest = encodings.iter().map(length).max().unwrap_or(0);
        let padding = match padding {
            PaddingStrategy::MaxLength => Padding::To(max_length.max(longest)),
            PaddingStrategy::Longest => Padding::Longest,
            PaddingStrategy::DoNotPad => {
                let first = encodings.first().map_or(0, length);
                if let Some(index) = encodings.iter().position(|encoding| length(encoding) != first) {
                    return Err(PreprocessError::RaggedTexts { index, length: length(&encodings[index]), first });
                }
                Padding::Longest
            }
        };
        self.tokenizer.pad(&encodings, padding)
    }

    /// [`Tokenizer::decode`].
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, PreprocessError> {
        self.tokenizer.decode(ids, skip_special_tokens)
    }

    /// [`Tokenizer::batch_decode`].
    pub fn batch_decode<T: AsRef<[u32]> + Sync>(
        &self,
        batch: &[T],
        skip_special_tokens: bool,
    ) -> Result<Vec<String>, PreprocessError> {
        self.tokenizer.batch_decode(batch, skip_special_tokens)
    }

    /// The names of what a model reads of texts and pictures.
    pub fn model_input_names(&self) -> Vec<&'static str> {
        [&TEXT_NAMES[..], &IMAGE_NAMES].concat()
    }
}
