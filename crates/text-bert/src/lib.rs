//! The text tower of Chinese-CLIP: BERT (RoBERTa-wwm), on burn.
//!
//! Follows `ChineseCLIPTextModel` of transformers 4.51.3 (`modeling_chinese_clip.py`), without its pooler: the text
//! feature is the first token, `[CLS]`, of the last hidden state.
//!
//! [`TextModel`] has the checkpoint's parameters and shows every intermediate; [`PreparedTextModel`] is made from it for
//! inference. Both take a [`TokenBatch`], which was checked once; after that nothing can fail.
//!
//! Shapes: B batch, L tokens, D width.

#![forbid(unsafe_code)]

mod batch;
mod error;
mod model;
mod names;
mod prepared;

pub use batch::TokenBatch;
pub use error::TextError;
pub use model::TextModel;
pub use names::checkpoint_name;
pub use prepared::PreparedTextModel;
