//! CPU kernels on plain slices of f32, some of bf16 too: matrix products with a fused end, attention for short sequences, layer
//! normalisation, activations, patches of pictures, and the horizontal pass of a resize.
//!
//! Nothing here knows burn or a model. Instruction sets ([`Isa`]) are chosen when the program runs: each kernel is written
//! once over vectors of any width (`pulp`) and compiled for each set. Threads are those of rayon's global pool, which burn's
//! flex backend uses too.
//!
//! This is the one crate of the workspace with `unsafe` in its kernels; each block states why it is sound.

#![allow(unsafe_code)]
#![deny(clippy::undocumented_unsafe_blocks, unsafe_op_in_unsafe_fn)]
// A kernel must become part of the function that its instruction set is turned on for.
#![allow(clippy::inline_always)]

use std::sync::{Mutex, TryLockError};

mod activation;
#[cfg(feature = "mimalloc")]
mod allocator;
#[cfg(target_arch = "x86_64")]
mod amx;
mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod bands;
mod bf16;
mod element;
mod int8;
mod isa;
mod norm;
mod output;
mod packing;
mod patches;
mod product;
#[cfg(target_arch = "x86_64")]
mod split;
mod tiles;

pub use activation::{Activation, activate};
#[cfg(feature = "mimalloc")]
pub use allocator::keep_pages;
pub use attention::{Attention, Rows, attention};
#[cfg(target_arch = "x86_64")]
pub use bands::Bands;
pub use bf16::Bf16Weights;
pub use element::Element;
pub use int8::{Int8Weights, int8, int8_scale};
pub use isa::{Isa, VARIABLE};
pub use norm::{LayerNorm, layer_norm};
pub use packing::pack_rows;
pub use patches::{LevelValues, patches, patches_of_levels, planes};
pub use product::{affine, pack};
pub use tiles::{Epilogue, PANEL};

/// Runs work on a thread of rayon's pool, where kernels start without waking one first. Work that comes while other work runs so stays
/// where it is: inside the pool one would wait below the other on its stack.
pub fn on_threads<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = match ALONE.try_lock() {
        Ok(alone) => alone,
        Err(TryLockError::Poisoned(panicked)) => panicked.into_inner(),
        Err(TryLockError::WouldBlock) => return work(),
    };
    rayon::scope(|_| work())
}
