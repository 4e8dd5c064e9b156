//! The matrix product of a linear layer in f32.
//!
//! Shapes: M rows, K inputs, N outputs.

use pulp::Simd;
use rayon::prelude::*;

use crate::tiles::{Dot, Product, Sums, Tile, Unscaled, check_columns, check_weight, of_height, prefetch};
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
        _: &Self,
        simd: S,
        tile: Tile<'_, f32>,
        sums: &mut Sums<f32>,
        _: &mut impl Iterator<Item = ()>,
    ) {
        for (panel, sums) in tile.panels.iter().zip(sums) {
            let next =
                if std::ptr::eq(*panel, tile.panels[0]) { (tile.next, tile.pace) } else { (panel.as_ptr(), PANEL) };
            of_height!(tile.height, R, N => sum::<S, N, V>(simd, tile.rows(0), panel, next, sums));
        }
    }
}

/// The sums of `N` rows and a panel, in registers.
#[inline(always)]
fn sum<S: Simd, const N: usize, const V: usize>(
    simd: S,
    rows: [&[f32]; N],
    panel: &[f32],
    (next, pace): (*const f32, usize),
    to: &mut [[f32; PANEL]],
) {
    let (panel, _) = S::as_simd_f32s(panel);
    let depth = panel.len() / V;
    assert!(rows.iter().all(|row| row.len() == depth));
    let mut sums = [[simd.splat_f32s(0.0); V]; N];
    for (p, columns) in panel.chunks_exact(V).enumerate() {
        prefetch(next.wrapping_add(p * pace));
        let columns: [S::f32s; V] = std::array::from_fn(|j| columns[j]);
        for (sums, row) in sums.iter_mut().zip(&rows) {
            // SAFETY: p < depth, and every row has `depth` numbers.
            let value = simd.splat_f32s(unsafe { *row.get_unchecked(p) });
            for (sum, columns) in sums.iter_mut().zip(&columns) {
                *sum = simd.mul_add_f32s(value, *columns, *sum);
            }
        }
    }
    for (to, sums) in to.iter_mut().zip(&sums) {
        S::as_mut_simd_f32s(to).0.copy_from_slice(sums);
    }
}
