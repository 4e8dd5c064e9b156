//! What happens before the towers: texts become token ids, pictures become pixel values. No tensors here.

#![forbid(unsafe_code)]

pub mod cn_clip;
mod decoding;
mod dialect;
mod encoding;
mod error;
mod image;
mod pretrained;
mod processor;
mod tokenizer;
mod vocabulary;

pub use dialect::Dialect;
pub use encoding::{EncodeOptions, Encoding, Overlong, Padding, TextBatch};
pub use error::PreprocessError;
pub use image::{
    Alpha, BatchFeature, ChannelDimension, ImageArray, ImageInput, ImageProcessor, Levels, Mode, Orientation,
    PerChannel, Picture, Pixels, PreprocessOptions, Values, Warning, resize,
};
pub use processor::{BatchEncoding, Inputs, PaddingStrategy, Processor, ProcessorOptions, TokenizeOptions};
pub use tokenizer::Tokenizer;
