//! Linear layers in 8 bits: weights in steps of their output's largest, activations in steps of their row's range. Sums are whole
//! numbers, and so the same on every instruction set.
//!
//! Shapes: M rows, K inputs in G groups of four, N outputs.
//!
//! `w = scale * q` with `q` in -127..=127 for each output; `x = step * (q - zero)` with `q` in 0..=255 for each row, where `zero`
//! stands for 0. Both are rounded to the nearest: a sum of products is off by at most
//! `scale / 2 * sum |x| + step / 2 * sum |w| + K * scale * step / 4`.

use std::ops::Range;

use pulp::Simd;
use pulp::bytemuck::cast_slice_mut;
use rayon::prelude::*;

use crate::element::Element;
use crate::isa::Kernel;
use crate::output::fill;
use crate::tiles::{Dot, Product, Scale, Sums, Tile, check_columns, check_weight};
use crate::{Epilogue, Isa, PANEL};
#[cfg(target_arch = "x86_64")]
use crate::{amx, avx2, avx512};

/// The largest magnitude of a weight.
const TOP: f32 = 127.0;

/// Weights in 8 bits, in panels of [`PANEL`] outputs.
#[derive(Debug)]
pub struct Int8Weights {
    inputs: usize,
    /// Four inputs, `[N / 16, G, 16]`; 0 beyond K.
    panels: Vec<u32>,
    /// `[N]`.
    scales: Vec<f32>,
    /// Of the numbers of each output, `[N]`.
    sums: Vec<i32>,
}

impl Int8Weights {
    /// Rounds and lays out weights. Weights that are [unpacked](Self::unpack) and packed again stay as they are.
    ///
    /// # Shapes
    /// `weight`: `[K, N]`.
    ///
    /// # Panics
    /// If `N` is not a multiple of [`PANEL`], `weight` has another length, or `K` is beyond 65,536, where sums could overflow.
    pub fn pack(weight: &[f32], inputs: usize, outputs: usize) -> Self {
        check_weight(weight, inputs, outputs);
        assert!(inputs <= 1 << 16, "{inputs} x {outputs} cannot be packed");
        let largest = weight.chunks_exact(outputs).fold(vec![0.0_f32; outputs], |mut largest, row| {
            largest.iter_mut().zip(row).for_each(|(largest, x)| *largest = largest.max(x.abs()));
            largest
        });
        let scales: Vec<f32> = largest.into_iter().map(int8_scale).collect();
        let groups = inputs.div_ceil(4);
        let mut panels = vec![0; outputs * groups];
        panels.par_chunks_mut(groups * PANEL).zip(scales.par_chunks(PANEL)).enumerate().for_each(
            |(panel, (to, scales))| {
                for (to, from) in to.chunks_exact_mut(PANEL).zip(weight.chunks(4 * outputs)) {
                    for (column, (to, scale)) in to.iter_mut().zip(scales).enumerate() {
                        let number = |row: usize| {
                            from.get(row * outputs + panel * PANEL + column).map_or(0, |x| int8(*x, *scale))
                        };
                        *to = group(std::array::from_fn(number));
                    }
                }
            },
        );
        let of_panel = |panel: &[u32]| {
            let mut sums = [0; PANEL];
            for groups in panel.chunks_exact(PANEL) {
                for (sum, group) in sums.iter_mut().zip(groups) {
                    *sum += numbers(*group).into_iter().map(i32::from).sum::<i32>();
                }
            }
            sums
        };
        let sums = panels.par_chunks(groups * PANEL).flat_map_iter(of_panel).collect();
        Self { inputs, panels, scales, sums }
    }

    /// K and N.
    pub fn dims(&self) -> [usize; 2] {
        [self.inputs, self.scales.len()]
    }

    /// The rounded weights, `[K, N]`.
    pub fn unpack(&self) -> Vec<f32> {
        let ([inputs, outputs], groups) = (self.dims(), self.inputs.div_ceil(4));
        let number = |at: usize| {
            let (row, column) = (at / outputs, at % outputs);
            let group = self.panels[(column / PANEL * groups + row / 4) * PANEL + column % PANEL];
            self.scales[column] * f32::from(numbers(group)[row % 4])
        };
        (0..inputs * outputs).into_par_iter().map(number).collect()
    }

    /// A linear layer, or of a wider one the outputs `columns`, which are whole panels.
    ///
    /// # Shapes
    /// `x`: `[M, K]`, of bf16, whose K is even, `[M, K / 2]`; the result: `[M, columns]`, of bf16 half as many elements.
    ///
    /// # Panics
    /// If a length does not fit the others.
    pub fn affine<X: Element, R: Element>(
        &self,
        isa: Isa,
        x: &[X],
        columns: Range<usize>,
        epilogue: Epilogue<'_>,
    ) -> Vec<R> {
        assert!(self.inputs.is_multiple_of(X::COUNT), "rows that end within a pair");
        check_columns(x, self.inputs, &columns, &epilogue);
        let (left, groups) = (Quantised::of(isa, x, self.inputs), self.inputs.div_ceil(4));
        let steps =
            Steps { rows: &left.rows, scales: &self.scales[columns.clone()], sums: &self.sums[columns.clone()] };
        let panels = &self.panels[columns.start * groups..columns.end * groups];
        let product = Product { dot: Portable, scale: steps, left: &left.groups, groups, panels, epilogue };
        #[cfg(target_arch = "x86_64")]
        if let Some(dot) = amx::Int8::of(isa) {
            return product.by(dot).run(isa);
        } else if let Some(dot) = avx512::Vnni::of(isa) {
            return product.by(dot).run(isa);
        } else if let Some(dot) = avx2::Madd::of(isa) {
            return product.by(dot).run(isa);
        }
        product.run(isa)
    }
}

/// The scale of an output whose largest weight is `largest`: a 127th of it or a little more, of 17 bits, so that each weight in its
/// steps is exact in f32, and its scale is found again.
pub fn int8_scale(largest: f32) -> f32 {
    let least = (largest / TOP).max(f32::MIN_POSITIVE);
    f32::from_bits((least.to_bits() + 0x7f) & !0x7f)
}

/// A weight in steps of its output's scale.
pub fn int8(x: f32, scale: f32) -> i8 {
    (x / scale).round_ties_even().clamp(-TOP, TOP) as i8
}

/// As the machine has them in memory.
#[inline(always)]
fn group(numbers: [i8; 4]) -> u32 {
    u32::from_ne_bytes(numbers.map(i8::cast_unsigned))
}

#[inline(always)]
fn numbers(group: u32) -> [i8; 4] {
    group.to_ne_bytes().map(u8::cast_signed)
}

/// Rows of inputs in 8 bits.
struct Quantised {
    /// `[M, G]`.
    groups: Vec<u32>,
    /// `[M]`.
    rows: Vec<RowSteps>,
}

/// What the numbers of a row stand for.
#[derive(Debug, Clone, Copy, Default)]
struct RowSteps {
    /// Of one; NaN where a number of the row is not finite.
    step: f32,
    zero: i32,
}

impl Quantised {
    fn of<X: Element>(isa: Isa, x: &[X], inputs: usize) -> Self {
        const ROWS_AT_A_TIME: usize = 16;
        let (of_row, width) = (inputs / X::COUNT, inputs.div_ceil(4));
        let count = x.len() / of_row;
        let mut rows = vec![RowSteps::default(); count];
        // SAFETY: the tasks are all rows, and each writes its own.
        let groups = unsafe {
            fill(count * width, |output| {
                let pieces = rows.par_chunks_mut(ROWS_AT_A_TIME).zip(x.par_chunks(ROWS_AT_A_TIME * of_row));
                pieces.enumerate().for_each(|(chunk, (rows, x))| {
                    // SAFETY: chunks do not overlap.
                    let groups = output.part(chunk * ROWS_AT_A_TIME * width, rows.len() * width);
                    isa.run(Quantise { groups, rows, x, inputs });
                });
            })
        };
        Self { groups, rows }
    }
}

struct Quantise<'a, X> {
    groups: &'a mut [u32],
    rows: &'a mut [RowSteps],
    x: &'a [X],
    inputs: usize,
}

impl<X: Element> Kernel for Quantise<'_, X> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const R: usize, const V: usize>(self, simd: S) {
        const MAGIC: f32 = 12_582_912.0; // 1.5 * 2^23: the sum is rounded to a whole number, which its low bits hold
        let rows = self.groups.chunks_exact_mut(self.inputs.div_ceil(4)).zip(self.rows);
        let mut room = vec![0.0; if X::COUNT > 1 { self.inputs } else { 0 }];
        for ((groups, row), x) in rows.zip(self.x.chunks_exact(self.inputs / X::COUNT)) {
            let x = X::wide(x, &mut room);
            let [least, most] = extremes(simd, x);
            let step = ((most - least) / 255.0).max(f32::MIN_POSITIVE); // NaN is dropped here, and found below
            let (inverse, zero) = (step.recip(), (-least / step).round_ties_even());
            if let Some(last) = groups.last_mut() {
                *last = 0; // beyond K
            }
            for (to, x) in cast_slice_mut::<u32, u8>(groups).iter_mut().zip(x) {
                let whole = (x * inverse + MAGIC).to_bits().cast_signed() - MAGIC.to_bits().cast_signed();
                *to = (whole + zero as i32).clamp(0, 255) as u8;
            }
            let finite = least.is_finite() && most.is_finite();
            *row = RowSteps { step: if finite { step } else { f32::NAN }, zero: zero as i32 };
        }
    }
}

/// The least and the largest number, and 0 between them; both NaN where one is.
#[inline(always)]
fn extremes<S: Simd>(simd: S, x: &[f32]) -> [f32; 2] {
    let (vectors, rest) = S::as_simd_f32s(x);
    let zero = simd.splat_f32s(0.0);
    let (mut least, mut most, mut probe) = (zero, zero, zero);
    for x in vectors {
        (least, most) = (simd.min_f32s(least, *x), simd.max_f32s(most, *x));
        probe = simd.mul_add_f32s(*x, zero, probe); // NaN from the first number on that is not finite
    }
    let (mut ends, mut sum) = ([simd.reduce_min_f32s(least), simd.reduce_max_f32s(most)], simd.reduce_sum_f32s(probe));
    for x in rest {
        ends = [ends[0].min(*x), ends[1].max(*x)];
        sum += x * 0.0;
    }
    ends.map(|end| end + sum)
}

/// What makes numbers of sums of whole numbers.
#[derive(Clone, Copy)]
struct Steps<'a> {
    /// `[M]`.
    rows: &'a [RowSteps],
    /// `[N]`.
    scales: &'a [f32],
    /// `[N]`.
    sums: &'a [i32],
}

impl Scale<i32> for Steps<'_> {
    #[inline(always)]
    fn numbers(self, sums: &[i32; PANEL], row: usize, panel: usize) -> [f32; PANEL] {
        let (RowSteps { step, zero }, at) = (self.rows[row], panel * PANEL);
        let (scales, of_weights) = (&self.scales[at..at + PANEL], &self.sums[at..at + PANEL]);
        let mut numbers = [0.0; PANEL];
        for (i, number) in numbers.iter_mut().enumerate() {
            *number = (sums[i] - zero * of_weights[i]) as f32 * (step * scales[i]);
        }
        numbers
    }
}

/// Multiplies one by one, on any machine.
#[derive(Clone, Copy)]
struct Portable;

impl Dot for Portable {
    type Group = u32;
    type Sum = i32;
    type Ready = Self;

    fn ready(self, _: usize, _: usize) -> Self {
        self
    }

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(
        _: &mut Self,
        _: S,
        tile: Tile<'_, u32>,
        sums: &mut Sums<i32>,
        _: &mut impl Iterator<Item = ()>,
    ) {
        for (panel, sums) in tile.panels.iter().zip(sums) {
            for (row, sums) in sums[..tile.height].iter_mut().enumerate() {
                let [row] = tile.rows(row);
                *sums = [0; PANEL];
                for (left, right) in row.iter().zip(panel.chunks_exact(PANEL)) {
                    let left = left.to_ne_bytes().map(i32::from);
                    for (sum, right) in sums.iter_mut().zip(right) {
                        let right = numbers(*right).map(i32::from);
                        *sum += (left[0] * right[0] + left[1] * right[1]) + (left[2] * right[2] + left[3] * right[3]);
                    }
                }
            }
        }
    }
}
