//! Chinese-CLIP on burn: images and Chinese texts in one embedding space.
//!
//! [`ChineseClip`] is the pipeline: files and strings in, embeddings, similarities and labels out.
//! [`ChineseClipModel`] is the model alone, in the reference's terms (Hugging Face `transformers` 4.51.3,
//! `ChineseCLIPModel`): checked batches in, tensors out.
//!
//! ```no_run
//! use chinese_clip::{ChineseClip, Picture, device};
//!
//! let clip = ChineseClip::from_pretrained("OFA-Sys/chinese-clip-vit-base-patch16", &device("flex")?)?;
//! let picture = Picture::open("photo.jpg", &Default::default())?;
//! let similarity = clip.similarity(&[picture], &["杰尼龟", "妙蛙种子"])?;
//! println!("{:?}", similarity.probabilities(0));
//! # Ok::<(), chinese_clip::Error>(())
//! ```
//!
//! Since burn 0.22 a tensor has no backend type parameter: its `Device` picks the backend at run time, and one binary runs
//! the same model on each backend that it holds. [`device()`] makes one from its name.

#![forbid(unsafe_code)]

mod batching;
mod cache;
mod cn_clip;
mod demo;
mod device;
mod embeddings;
mod error;
mod full;
mod image;
mod load;
mod masking;
mod model;
mod patches;
mod pipeline;
mod processor;
mod prompts;
mod save;
mod text;
mod vision;

pub use burn::tensor::{DType, Device, Tensor, TensorData};
pub use chinese_clip_checkpoint::{self as checkpoint, Checkpoint, OpenOptions};
pub use chinese_clip_config::{
    self as config, ChineseClipConfig, Limits, PreprocessorConfig, TextConfig as ChineseClipTextConfig,
    VisionConfig as ChineseClipVisionConfig,
};
pub use chinese_clip_nn::{Intermediate, KeyValue, PixelBatch, Recorder, VisionError};
pub use chinese_clip_preprocess::{
    self as preprocess, Alpha, BatchEncoding, BatchFeature, ChannelDimension, Dialect, EncodeOptions, Encoding,
    ImageArray, ImageInput, ImageProcessor, ImageProcessor as ChineseClipImageProcessor,
    ImageProcessor as ChineseClipFeatureExtractor, Inputs, Overlong, Padding, PaddingStrategy, PerChannel, Picture,
    PreprocessOptions, Processor as ChineseClipProcessor, ProcessorOptions, TokenizeOptions, Tokenizer,
};
pub use chinese_clip_text_bert::{
    LayerCache, Mask, Pooler, PreparedTextModel, TextCache, TextError, TextInputs, TextModel, TextOptions, TextOutput,
    TokenBatch, Tokens,
};
pub use chinese_clip_vision_resnet::{PreparedResNetModel, ResNetModel};
pub use chinese_clip_vision_vit::{Keep, KeptPatches, PreparedVisionModel, VisionModel, VisionOutput, VisionStates};

pub use batching::Budget;
pub use demo::DEMO;
pub use device::{DeviceInfo, default_dtype, device, devices, dtype, dtype_name};
pub use embeddings::{Embeddings, Similarity};
pub use error::Error;
pub use full::FullOutput;
pub use image::ImageTower;
pub use model::{ChineseClipModel, ModelOutput, PreparedModel};
pub use patches::{PatchFeatures, PatchOptions, Patches};
pub use pipeline::{ChineseClip, LoadOptions, longest_text, open, tokenizer};
pub use processor::processor;
pub use prompts::{DEFAULT_TEMPLATES, Templates};
pub use text::ChineseClipTextModel;
pub use vision::{ChineseClipVisionModel, VisionOptions};

/// The guides' examples run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/quickstart.md")]
struct Quickstart;
