//! What can go wrong between a checkpoint and an embedding.

use chinese_clip_checkpoint::CheckpointError;
use chinese_clip_config::ConfigError;
use chinese_clip_nn::VisionError;
use chinese_clip_preprocess::PreprocessError;
use chinese_clip_text_bert::TextError;

/// Any error of the library. [`Error::hint`] says how to mend it, where there is a way.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Weights, a directory, or the hub.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A text, a picture or a vocabulary.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// The text tower.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The image tower.
    #[error(transparent)]
    Vision(#[from] VisionError),
    /// A device that this build or this machine does not have.
    #[error("no device `{name}`: {reason}")]
    Device {
        /// The name asked for.
        name: String,
        /// Why not.
        reason: String,
        /// How to get it.
        hint: String,
    },
    /// A number format that is unknown.
    #[error("unknown dtype `{name}`")]
    UnknownDtype {
        /// The name asked for.
        name: String,
    },
    /// A number format that the device does not compute in.
    #[error("{device} does not compute in {dtype}")]
    UnsupportedDtype {
        /// The number format.
        dtype: String,
        /// The device.
        device: String,
        /// What it computes in.
        has: String,
    },
    /// A prompt template without exactly one place for the label.
    #[error("the template `{template}` has {found} times `{{}}`, must have it once")]
    Template {
        /// The template.
        template: String,
        /// How often `{}` stands in it.
        found: usize,
    },
    /// A call with nothing to work on.
    #[error("no {what} given")]
    Nothing {
        /// What is missing.
        what: &'static str,
    },
    /// The loss pairs the i-th image with the i-th text.
    #[error("{images} images and {texts} texts cannot be paired")]
    Unpaired {
        /// Number of images.
        images: usize,
        /// Number of texts.
        texts: usize,
    },
    /// Vectors of different widths, and so of different models.
    #[error("embeddings of width {left} and {right} cannot be compared")]
    Width {
        /// Width of the first.
        left: usize,
        /// Width of the second.
        right: usize,
    },
    /// A checkpoint of the text tower without the pooler that was asked for.
    #[error("the checkpoint has no pooler: {tensor} is missing")]
    NoPooler {
        /// One of its tensors.
        tensor: String,
    },
    /// Something that a ViT alone has was asked of a ResNet.
    #[error("a ResNet has no {what}")]
    ResNet {
        /// What was asked for.
        what: &'static str,
    },
    /// The model computed infinity or not-a-number, or a vector of zeros, which has no direction.
    #[error("{what} is not finite, or is zero where a direction is needed")]
    NotFinite {
        /// What was computed.
        what: &'static str,
    },
    /// The device failed: out of memory, lost, or a fault of its driver.
    #[error("{device} failed: {reason}")]
    Backend {
        /// The device.
        device: String,
        /// What the backend says.
        reason: String,
    },
}

impl Error {
    /// How to mend it, where there is a way.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config(error) => error.hint(),
            Self::Checkpoint(error) => error.hint(),
            Self::Preprocess(error) => error.hint(),
            Self::Text(error) => error.hint(),
            Self::Vision(error) => error.hint(),
            Self::Device { hint, .. } => Some(hint.clone()),
            Self::UnknownDtype { .. } => Some("dtypes are f32, f16, bf16 and int8".into()),
            Self::UnsupportedDtype { has, .. } => Some(format!("it computes in {has}")),
            Self::Backend { .. } => {
                Some("if its memory is full, use smaller batches, a smaller dtype or another device".into())
            }
            Self::NotFinite { .. } => Some("the weights overflow in this dtype or are damaged; try --dtype f32".into()),
            Self::NoPooler { .. } => Some(
                "load it with `add_pooling_layer` false; the text feature is the first token of `last_hidden_state`"
                    .into(),
            ),
            Self::ResNet { .. } => Some("choose a model with a ViT, ViT-B-16 for example".into()),
            Self::Template { .. } => Some("write the label's place as `{}`: 一张{}的图片".into()),
            _ => None,
        }
    }
}
