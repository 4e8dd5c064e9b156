//! The text tower of Chinese-CLIP: BERT (RoBERTa-wwm), on burn.
//!
//! Follows `ChineseCLIPTextModel` of transformers 4.51.3 (`modeling_chinese_clip.py`): the text feature is the first
//! token, `[CLS]`, of the last hidden state.
//!
//! [`TextModel`] has the checkpoint's parameters and shows every intermediate; [`PreparedTextModel`] is made from it for
//! inference. Both take a [`TokenBatch`], which was checked once; after that nothing can fail.
//! What few callers want stands beside that path: [`TextModel::run`] takes [`TextInputs`], which have all that the reference's model
//! takes (a decoder with a cache, an encoder to look at, masks of heads, the [`Pooler`]).
//!
//! Shapes: B batch, L tokens, D width.

#![forbid(unsafe_code)]

mod batch;
mod cross;
mod error;
mod full;
mod inputs;
mod mask;
mod model;
mod names;
mod pooler;
mod prepared;
mod prune;

pub use batch::TokenBatch;
pub use error::TextError;
pub use full::{TextOptions, TextOutput};
pub use inputs::{LayerCache, TextCache, TextInputs, Tokens};
pub use mask::Mask;
pub use model::TextModel;
pub use names::checkpoint_name;
pub use pooler::Pooler;
pub use prepared::PreparedTextModel;
