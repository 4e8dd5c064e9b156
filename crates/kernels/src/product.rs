//! The matrix product of a linear layer in f32.
//!
//! Shapes: M rows, K inputs, N outputs.

use pulp::Simd;
use rayon::prelude::*;

use crate::tiles::{Dot, LINE, Product, Sums, Tile, Unscaled, check_columns, check_weight, of_height, prefetch};
use crate::{Epilogue, Isa, PANEL};
#[cfg(target_arch = "x86_64")]
use crate::{avx512, split};

/// Lays weights out in panels of [`PANEL`] outputs.
///
/// # Shapes
/// `weight`: `[K, N]`; the result: `[N / 16, K, 16]`.
///
/// # Panics
/// If `N` is not a multiple of [`PANEL`], or `weight` has another length.
pub fn pack(weight: &[f32], inputs: usize, outputs: usize) -> Vec<f32> {
    check_weight(weight, inputs, outputs);
    let mut panels = vec![0.0; weight.len()];
    panels.par_chunks_mut(inputs * PANEL).enumerate().for_each(|(panel, to)| {
        for (to, from) in to.chunks_exact_mut(PANEL).zip(weight.chunks_exact(outputs)) {
            to.copy_from_slice(&from[panel * PANEL..][..PANEL]);
        }
    });
    panels
}

/// A linear layer. On AMX many rows are multiplied in three parts of bf16 each, and are nearer than products in f32; a row with an infinite
/// number is NaN then.
///
/// # Shapes
/// `x`: `[M, K]`; `panels`: what [`pack`] makes of `[K, N]`; the result: `[M, N]`.
///
/// # Panics
/// If a length does not fit the others.
pub fn affine(isa: Isa, x: &[f32], inputs: usize, panels: &[f32], epilogue: Epilogue<'_>) -> Vec<f32> {
    let outputs = epilogue.bias.len();
    check_columns(x, inputs, &(0..outputs), &epilogue);
    assert_eq!(panels.len(), inputs * outputs, "weights of another shape");
    #[cfg(target_arch = "x86_64")]
    if let Some(found) = split::affine(isa, x, inputs, panels, epilogue) {
        return found;
    }
    let product = Product { dot: Fma, scale: Unscaled, left: x, groups: inputs, panels, epilogue };
    #[cfg(target_arch = "x86_64")]
    if let Some(dot) = avx512::Fma::of(isa) {
        return product.by(dot).run(isa);
    }
    product.run(isa)
}

/// Multiplies by `pulp`, on any instruction set.
#[derive(Clone, Copy)]
pub(crate) struct Fma;

impl Dot for Fma {
    type Group = f32;
    type Sum = f32;
    type Ready = Self;

    fn ready(self, _: usize, _: usize) -> Self {
        self
    }

    fn rows(of_registers: usize) -> usize {
        of_registers
    }

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(
        _: &mut Self,
        simd: S,
        tile: Tile<'_, f32>,
        sums: &mut Sums<f32>,
        _: &mut impl Iterator<Item = ()>,
    ) {
        for (i, (panel, sums)) in tile.panels.iter().zip(sums).enumerate() {
            let (columns, pace) = (S::as_simd_f32s(panel).0, if i == 0 { tile.pace } else { 0 });
            of_height!(tile.height, R, N => sum::<S, N, V>(simd, tile.rows(0), columns, (tile.next, pace), sums));
        }
    }
}

/// A panel of weights, or what becomes one as it is read; `V` vectors are the weights of an input.
pub(crate) trait Columns<S: Simd, const V: usize>: Copy {
    /// K.
    fn inputs(self) -> usize;

    /// Vector `j` of the weights of an input.
    ///
    /// # Safety
    /// `input` is below [`inputs`](Self::inputs), and `j` below `V`.
    unsafe fn vector(self, simd: S, input: usize, j: usize) -> S::f32s;
}

impl<S: Simd, const V: usize> Columns<S, V> for &[S::f32s] {
    #[inline(always)]
    fn inputs(self) -> usize {
        self.len() / V
    }

    #[inline(always)]
    unsafe fn vector(self, _: S, input: usize, j: usize) -> S::f32s {
        // SAFETY: there are `V` for each input.
        unsafe { *self.get_unchecked(input * V + j) }
    }
}

/// The sums of `N` rows and a panel, in registers; of what is `next`, `pace` numbers are fetched for each input.
#[inline(always)]
pub(crate) fn sum<S: Simd, const N: usize, const V: usize>(
    simd: S,
    rows: [&[f32]; N],
    columns: impl Columns<S, V>,
    (next, pace): (*const f32, usize),
    to: &mut [[f32; PANEL]],
) {
    const STEP: usize = 4; // inputs for each turn of the loop: what turns it takes time where a thread has but half a core
    const NUMBERS: usize = LINE / size_of::<f32>();
    let inputs = columns.inputs();
    assert!(rows.iter().all(|row| row.len() == inputs));
    let mut sums = [[simd.splat_f32s(0.0); V]; N];
    let whole = inputs - inputs % STEP;
    for start in (0..whole).step_by(STEP) {
        for line in 0..(STEP * pace).div_ceil(NUMBERS) {
            prefetch(next.wrapping_add(start * pace + line * NUMBERS));
        }
        for input in start..start + STEP {
            // SAFETY: there are so many inputs, in the panel and in each row.
            unsafe { add(simd, &rows, columns, input, &mut sums) };
        }
    }
    for input in whole..inputs {
        // SAFETY: likewise.
        unsafe { add(simd, &rows, columns, input, &mut sums) };
    }
    for (to, sums) in to.iter_mut().zip(&sums) {
        S::as_mut_simd_f32s(to).0.copy_from_slice(sums);
    }
}

/// Adds the products of an input.
///
/// # Safety
/// The rows and the panel have it.
#[inline(always)]
unsafe fn add<S: Simd, const N: usize, const V: usize>(
    simd: S,
    rows: &[&[f32]; N],
    columns: impl Columns<S, V>,
    input: usize,
    sums: &mut [[S::f32s; V]; N],
) {
    // SAFETY: as the caller promises.
    let columns: [S::f32s; V] = std::array::from_fn(|j| unsafe { columns.vector(simd, input, j) });
    for (sums, row) in sums.iter_mut().zip(rows) {
        // SAFETY: as the caller promises.
        let value = simd.splat_f32s(unsafe { *row.get_unchecked(input) });
        for (sum, columns) in sums.iter_mut().zip(&columns) {
            *sum = simd.mul_add_f32s(value, *columns, *sum);
        }
    }
}
