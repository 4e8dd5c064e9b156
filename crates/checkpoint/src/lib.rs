//! Checkpoints of Chinese-CLIP: every format read and written, and the Hugging Face hub.
//!
//! A [`Checkpoint`] is opened from a directory, a hub id or a published name, and hands out its tensors by name, as type, shape
//! and bytes. This crate knows formats and names; it knows no tower and no tensor library.
//!
//! * `model.safetensors`, `pytorch_model.bin` (a zip archive with a pickle, read without executing anything), both also in
//!   shards; f32, f16, bf16, f64. Files are mapped into memory, so opening one is instant and reading costs one copy.
//! * The hub: the standard cache, mirrors, offline mode, resumed downloads.
//! * [`convert`] writes a clean directory.
//!
//! ```no_run
//! use chinese_clip_checkpoint::{Checkpoint, OpenOptions};
//!
//! let checkpoint = Checkpoint::open("OFA-Sys/chinese-clip-vit-base-patch16", &OpenOptions::default())?;
//! for name in checkpoint.weights.names() {
//!     let values = checkpoint.weights.to_f32(name)?;
//!     checkpoint.weights.release(name);
//!     assert_eq!(Some(values.len()), checkpoint.weights.get(name).map(|tensor| tensor.len()));
//! }
//! # Ok::<(), chinese_clip_checkpoint::CheckpointError>(())
//! ```

mod checkpoint;
mod convert;
mod dtype;
mod error;
mod hub;
mod mmap;
mod names;
mod options;
mod safetensors;
mod shards;
mod sniff;
mod torch;
mod weights;

pub use checkpoint::{Checkpoint, Vocabulary};
pub use convert::{ConvertOptions, Report, convert};
pub use dtype::Dtype;
pub use error::{CheckpointError, Misshapen};
pub use options::OpenOptions;
pub use weights::{Tensor, Weights};
