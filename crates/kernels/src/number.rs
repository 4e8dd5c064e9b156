//! What stands between layers.

use std::borrow::Cow;

use pulp::bytemuck::cast;

use crate::attention::{Head, Scratch, attend_whole};
use crate::{Isa, PANEL, bf16};

/// What a matrix is made of: `f32`, or `u32` of two bf16 each, which are neighbours in a row.
pub trait Number: Kind {
    /// Numbers in one.
    const COUNT: usize;
}

impl Number for f32 {
    const COUNT: usize = 1;
}

impl Number for u32 {
    const COUNT: usize = 2;
}

/// What the kernels know of a [`Number`].
pub trait Kind: Copy + Default + Send + Sync {
    /// Rounds a line and writes all of `to`, which nothing was written to before.
    fn keep(line: &[f32; PANEL], to: &mut [Self]);

    /// Rows of `width` numbers in pairs of bf16.
    fn pairs(isa: Isa, rows: &[Self], width: usize) -> Cow<'_, [u32]>;

    /// Computes a head of attention.
    fn attend(isa: Isa, head: Head<'_, Self>, scratch: &mut Scratch);
}

impl Kind for f32 {
    #[inline(always)]
    fn keep(line: &[f32; PANEL], to: &mut [f32]) {
        to.copy_from_slice(line);
    }

    fn pairs(isa: Isa, rows: &[f32], width: usize) -> Cow<'_, [u32]> {
        Cow::Owned(bf16::pairs(isa, rows, width))
    }

    fn attend(isa: Isa, head: Head<'_, f32>, scratch: &mut Scratch) {
        attend_whole(isa, head, scratch);
    }
}

impl Kind for u32 {
    #[inline(always)]
    fn keep(line: &[f32; PANEL], to: &mut [u32]) {
        let mut halves = [0; PANEL];
        halves.iter_mut().zip(line).for_each(|(to, x)| *to = bf16::rounded(*x));
        to.copy_from_slice(&cast::<[u16; PANEL], [u32; PANEL / 2]>(halves));
    }

    fn pairs(_: Isa, rows: &[u32], _: usize) -> Cow<'_, [u32]> {
        Cow::Borrowed(rows)
    }

    fn attend(isa: Isa, head: Head<'_, u32>, scratch: &mut Scratch) {
        bf16::attend(isa, head, scratch);
    }
}
