//! Layer normalisation.

use pulp::Simd;
use rayon::prelude::*;

use crate::element::Element;
use crate::isa::Kernel;
use crate::output::fill;
use crate::{Isa, PANEL};

/// `(x - mean) / sqrt(variance + epsilon) * scale + shift`; mean and variance are those of a row.
///
/// A result is within `2^-20 * (1 + |mean| / sqrt(variance + epsilon)) * (|scale| + |result|)` of the exact one (tested).
#[derive(Debug, Clone, Copy)]
pub struct LayerNorm<'a> {
    /// `[K]`.
    pub scale: &'a [f32],
    /// `[K]`.
    pub shift: &'a [f32],
    /// Added to the variance.
    pub epsilon: f32,
}

/// Normalises rows.
///
/// # Shapes
/// `x` and the result, whose rows have K numbers: `[M, K]`.
///
/// # Panics
/// If a length does not fit the others, or K is odd and `R` has two numbers.
pub fn layer_norm<R: Element>(isa: Isa, x: &[f32], norm: LayerNorm<'_>) -> Vec<R> {
    const ROWS_AT_A_TIME: usize = 8;
    let width = norm.scale.len();
    let fits = width > 0 && norm.shift.len() == width && x.len().is_multiple_of(width);
    assert!(fits && width.is_multiple_of(R::COUNT), "rows of another width");
    // SAFETY: the tasks are all rows, and each writes its own.
    unsafe {
        fill(x.len() / R::COUNT, |output| {
            x.par_chunks(ROWS_AT_A_TIME * width).enumerate().for_each(|(chunk, x)| {
                // SAFETY: chunks do not overlap.
                let to = output.part(chunk * ROWS_AT_A_TIME * width / R::COUNT, x.len() / R::COUNT);
                isa.run(Normalise { to, x, norm });
            });
        })
    }
}

struct Normalise<'a, T> {
    /// Nothing was written to it before.
    to: &'a mut [T],
    x: &'a [f32],
    norm: LayerNorm<'a>,
}

impl<T: Element> Kernel for Normalise<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const R: usize, const V: usize>(self, simd: S) {
        let Self { to, x, norm: LayerNorm { scale, shift, epsilon } } = self;
        let count = scale.len() as f32;
        for (to, x) in to.chunks_exact_mut(scale.len() / T::COUNT).zip(x.chunks_exact(scale.len())) {
            let mean = sum(simd, x, |x| x, |x| x) / count;
            let middle = simd.splat_f32s(mean);
            let squared = |x| {
                let distance = simd.sub_f32s(x, middle);
                simd.mul_f32s(distance, distance)
            };
            let variance = sum(simd, x, squared, |x| (x - mean).powi(2)) / count;
            let inverse = simd.splat_f32s((variance + epsilon).sqrt().recip());
            let [(x, x_rest), (scale, scale_rest), (shift, shift_rest)] = [x, scale, shift].map(<[f32]>::as_chunks);
            let mut lines = to.chunks_mut(PANEL / T::COUNT);
            for (((x, scale), shift), to) in x.iter().zip(scale).zip(shift).zip(&mut lines) {
                T::keep(&normalised(simd, [x, scale, shift], [middle, inverse]), to);
            }
            if let Some(to) = lines.next() {
                let [x, scale, shift] = [x_rest, scale_rest, shift_rest].map(padded);
                T::keep_part(&normalised(simd, [&x, &scale, &shift], [middle, inverse]), to);
            }
        }
    }
}

/// Of a line with its part of the scale and the shift.
#[inline(always)]
fn normalised<S: Simd>(simd: S, lines: [&[f32; PANEL]; 3], [middle, inverse]: [S::f32s; 2]) -> [f32; PANEL] {
    let mut line = [0.0; PANEL];
    let [x, scale, shift] = lines.map(|line| S::as_simd_f32s(line).0);
    for (((to, x), scale), shift) in S::as_mut_simd_f32s(&mut line).0.iter_mut().zip(x).zip(scale).zip(shift) {
        *to = simd.mul_add_f32s(simd.mul_f32s(simd.sub_f32s(*x, middle), inverse), *scale, *shift);
    }
    line
}

/// Less than a line, with zeros behind.
#[inline(always)]
fn padded(rest: &[f32]) -> [f32; PANEL] {
    let mut line = [0.0; PANEL];
    line[..rest.len()].copy_from_slice(rest);
    line
}

/// The sum over a row of a function, given for vectors and for what is left.
#[inline(always)]
fn sum<S: Simd>(simd: S, row: &[f32], of: impl Fn(S::f32s) -> S::f32s, of_rest: impl Fn(f32) -> f32) -> f32 {
    let (vectors, rest) = S::as_simd_f32s(row);
    let (fours, others) = vectors.as_chunks::<4>(); // sums that do not wait for each other
    let mut sums = [simd.splat_f32s(0.0); 4];
    for some in fours.iter().map(<[_; 4]>::as_slice).chain([others]) {
        for (sum, x) in sums.iter_mut().zip(some) {
            *sum = simd.add_f32s(*sum, of(*x));
        }
    }
    let both = simd.add_f32s(simd.add_f32s(sums[0], sums[1]), simd.add_f32s(sums[2], sums[3]));
    simd.reduce_sum_f32s(both) + rest.iter().map(|x| of_rest(*x)).sum::<f32>()
}
