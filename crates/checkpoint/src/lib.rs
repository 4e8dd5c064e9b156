//! Checkpoints of Chinese-CLIP: every format read and written, and the Hugging Face hub.
//!
//! A [`Checkpoint`] is opened from a directory, a file of `cn_clip`, a hub id or a published name, and hands out its tensors by
//! Hugging Face's names, as type, shape and bytes. This crate knows formats and names; it knows no tower and no tensor library.
//!
//! * `model.safetensors`, `pytorch_model.bin` (a zip archive with a pickle, read without executing anything), both also in
//!   shards; f32, f16, bf16, f64, and int8 with scales. Files are mapped into memory, so opening one is instant and reading costs one copy.
//! * `clip_cn_*.pt` and what `cn_clip`'s training writes: the same tensors under other names, fused or transposed. The
//!   configuration is read off their shapes.
//! * The hub: the standard cache, mirrors, offline mode, resumed downloads.
//! * [`convert`] writes a clean directory, [`convert_to_cn_clip`] a file of `cn_clip`, [`save`] what is in memory.
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
mod infer;
mod int8;
mod mmap;
mod names;
mod options;
mod safetensors;
mod save;
mod shards;
mod sniff;
mod to_cn_clip;
mod torch;
mod weights;

pub use checkpoint::{Checkpoint, Vocabulary};
pub use convert::{ConvertOptions, Report, convert};
pub use dtype::Dtype;
pub use error::{CheckpointError, Misshapen};
pub use options::OpenOptions;
pub use save::{Companions, Parameter, save};
pub use to_cn_clip::convert_to_cn_clip;
pub use weights::{Tensor, Weights};
