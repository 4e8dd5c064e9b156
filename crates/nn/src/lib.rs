//! What the towers share, on burn: attention with an additive bias, MLP, activations, the checked batch of pixels, the
//! recorder of intermediates.
//!
//! Nothing here names a backend. A tensor carries its `Device`, and the device picks the backend at run time; code
//! is generic over backends because it never asks.
//!
//! A block has two forms. The *canonical* one has the checkpoint's parameters and computes every intermediate in plain
//! steps ([`Attention`]). The *prepared* one is made from it for inference ([`PreparedAttention`]).

#![forbid(unsafe_code)]

mod activation;
mod attention;
mod class_token;
mod error;
#[cfg(feature = "flex")]
#[path = "flex.rs"]
mod fast;
#[cfg(not(feature = "flex"))]
#[path = "no_kernels.rs"]
mod fast;
mod linear;
mod mlp;
mod names;
mod norm;
mod packing;
mod pixels;
mod positions;
mod prepared;
mod prepared_linear;
mod pruning;
mod recorder;
mod relative;
mod sequences;

pub use activation::activate;
pub use attention::{Attention, Change, KeyValue, mask_bias};
pub use error::VisionError;
pub use fast::on_threads;
pub use linear::linear;
pub use mlp::{Mlp, PreparedMlp};
pub use names::rename;
pub use norm::LayerNorm;
pub use packing::Packing;
pub use pixels::PixelBatch;
pub use positions::resize_positions;
pub use prepared::PreparedAttention;
pub use prepared_linear::PreparedLinear;
pub use recorder::{Intermediate, Recorder};
pub use relative::RelativePositions;
pub use sequences::{Packed, Rows, Sequences};
