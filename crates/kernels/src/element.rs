//! What stands between layers.

use std::borrow::Cow;

use pulp::bytemuck::cast;

use crate::attention::{Head, Scratch, attend_whole};
use crate::{Isa, PANEL, bf16};

/// What matrices are made of: `f32`, or `u32` of two bf16 each, which are neighbours in a row.
pub trait Element: Sealed {}

impl Element for f32 {}
impl Element for u32 {}

/// What the kernels know of an [`Element`].
pub trait Sealed: Copy + Default + Send + Sync {
    /// Numbers in an element.
    const COUNT: usize;

    /// Writes a line, rounded if need be. Nothing of `to` is read.
    fn keep(line: &[f32; PANEL], to: &mut [Self]);

    /// Writes as much of a line as there is room for.
    #[inline(always)]
    fn keep_part(line: &[f32; PANEL], to: &mut [Self]) {
        let mut kept = [Self::default(); PANEL];
        Self::keep(line, &mut kept[..PANEL / Self::COUNT]);
        to.copy_from_slice(&kept[..to.len()]);
    }

    /// Rows of `width` numbers in pairs of bf16.
    fn pairs(isa: Isa, rows: &[Self], width: usize) -> Cow<'_, [u32]>;

    /// Computes a head of attention.
    fn attend(isa: Isa, head: Head<'_, Self>, scratch: &mut Scratch);
}

impl Sealed for f32 {
    const COUNT: usize = 1;

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

impl Sealed for u32 {
    const COUNT: usize = 2;

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
