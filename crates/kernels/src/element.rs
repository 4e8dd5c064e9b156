//! What stands between layers.

use std::borrow::Cow;

use pulp::bytemuck::{cast, cast_slice};

use crate::attention::{Attend, Head, Scratch};
#[cfg(target_arch = "x86_64")]
use crate::avx512;
use crate::product::Fma;
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

    /// A row in f32; what is of shorter numbers goes to `room`, which has as many as there are.
    fn wide<'a>(row: &'a [Self], room: &'a mut [f32]) -> &'a [f32];

    /// Values to `[E / 16, L / COUNT, 16]`: elements are neighbours in a column.
    fn pack_values(panels: &mut [Self], head: &Head<'_, Self>);

    /// Scores, which are whole panels; what is rounded goes to `room`.
    fn weights<'a>(scores: &'a [f32], room: &'a mut [Self]) -> &'a [Self];

    /// Computes a head of attention.
    fn attend(isa: Isa, head: Head<'_, Self>, scratch: &mut Scratch<Self>);
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

    #[inline(always)]
    fn wide<'a>(row: &'a [f32], _: &'a mut [f32]) -> &'a [f32] {
        row
    }

    #[inline(always)]
    fn pack_values(panels: &mut [f32], head: &Head<'_, f32>) {
        let ([_, _, l], width) = (head.inputs.lengths, head.inputs.width);
        for (panel, block) in panels.chunks_exact_mut(l * PANEL).enumerate() {
            let part = panel * PANEL..width.min((panel + 1) * PANEL);
            for (key, to) in block.chunks_exact_mut(PANEL).enumerate() {
                to[..part.len()].copy_from_slice(&head.value(key)[part.clone()]);
            }
        }
    }

    #[inline(always)]
    fn weights<'a>(scores: &'a [f32], _: &'a mut [f32]) -> &'a [f32] {
        scores
    }

    fn attend(isa: Isa, head: Head<'_, f32>, scratch: &mut Scratch<f32>) {
        #[cfg(target_arch = "x86_64")]
        if let Some(dot) = avx512::Fma::of(isa) {
            return isa.run(Attend { dot, head, scratch });
        }
        isa.run(Attend { dot: Fma, head, scratch });
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

    #[inline(always)]
    fn wide<'a>(row: &'a [u32], room: &'a mut [f32]) -> &'a [f32] {
        room.iter_mut().zip(cast_slice::<u32, u16>(row)).for_each(|(to, half)| *to = bf16::wide(*half));
        room
    }

    #[inline(always)]
    fn pack_values(panels: &mut [u32], head: &Head<'_, u32>) {
        bf16::pack_values(panels, head);
    }

    #[inline(always)]
    fn weights<'a>(scores: &'a [f32], room: &'a mut [u32]) -> &'a [u32] {
        bf16::round(scores, &mut room[..scores.len() / 2]);
        room
    }

    fn attend(isa: Isa, head: Head<'_, u32>, scratch: &mut Scratch<u32>) {
        bf16::attend(isa, head, scratch);
    }
}
