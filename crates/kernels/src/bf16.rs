//! Linear layers and attention that multiply bf16, the upper half of an f32; sums are f32.
//!
//! Shapes of layers: M rows, K inputs, G = K / 2 pairs of inputs, N outputs.
//!
//! Each number is rounded to nearest even, and so is within 2^-9 of itself: a product is within 2^-8, and a sum of products within
//! 2^-8 of the sum of their magnitudes, on every instruction set. AVX512-BF16 and AMX take numbers below 2^-126 as 0. On AMX a row with an
//! infinite number may give NaN instead of it where G is more than 16 and no multiple of it.

use std::ops::Range;

use pulp::Simd;
use pulp::bytemuck::{cast, cast_slice, cast_slice_mut};
use rayon::prelude::*;

use crate::attention::{Attend, Head, Scratch};
use crate::element::Element;
use crate::isa::Kernel;
use crate::output::fill;
use crate::product::{Columns, sum};
use crate::tiles::{Dot, Product, Sums, Tile, Unscaled, check_columns, check_weight, of_height};
use crate::{Epilogue, Isa, PANEL};
#[cfg(target_arch = "x86_64")]
use crate::{amx, avx512};

/// Weights in bf16, in panels of [`PANEL`] outputs.
#[derive(Debug)]
pub struct Bf16Weights {
    inputs: usize,
    /// Pairs of inputs, `[N / 16, G, 16]`; of an odd K the last has 0 above.
    panels: Vec<u32>,
}

impl Bf16Weights {
    /// Rounds and lays out weights.
    ///
    /// # Shapes
    /// `weight`: `[K, N]`.
    ///
    /// # Panics
    /// If `N` is not a multiple of [`PANEL`], or `weight` has another length.
    pub fn pack(weight: &[f32], inputs: usize, outputs: usize) -> Self {
        check_weight(weight, inputs, outputs);
        let groups = inputs.div_ceil(2);
        let mut panels = vec![0; outputs * groups];
        panels.par_chunks_mut(groups * PANEL).enumerate().for_each(|(panel, to)| {
            for (to, from) in to.chunks_exact_mut(PANEL).zip(weight.chunks(2 * outputs)) {
                for (column, to) in to.iter_mut().enumerate() {
                    let number =
                        |row: usize| from.get(row * outputs + panel * PANEL + column).map_or(0, |x| rounded(*x));
                    cast_slice_mut(std::slice::from_mut(to)).copy_from_slice(&[number(0), number(1)]);
                }
            }
        });
        Self { inputs, panels }
    }

    /// K and N.
    pub fn dims(&self) -> [usize; 2] {
        [self.inputs, self.panels.len() / self.inputs.div_ceil(2)]
    }

    /// The rounded weights, `[K, N]`.
    pub fn unpack(&self) -> Vec<f32> {
        let ([inputs, outputs], groups) = (self.dims(), self.inputs.div_ceil(2));
        let number = |at: usize| {
            let (row, column) = (at / outputs, at % outputs);
            let pair = self.panels[(column / PANEL * groups + row / 2) * PANEL + column % PANEL];
            widened(pair)[row % 2]
        };
        (0..inputs * outputs).into_par_iter().map(number).collect()
    }

    /// A linear layer, or of a wider one the outputs `columns`, which are whole panels.
    ///
    /// # Shapes
    /// `x`: `[M, K]`, of bf16 `[M, G]`, and where K is odd the last upper halves are finite; the result: `[M, columns]`, of bf16 half as
    /// many elements.
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
        check_columns(x, self.inputs, &columns, &epilogue);
        let (left, groups) = (X::pairs(isa, x, self.inputs), self.inputs.div_ceil(2));
        let panels = &self.panels[columns.start * groups..columns.end * groups];
        let product = Product { dot: Widen, scale: Unscaled, left: &left, groups, panels, epilogue };
        #[cfg(target_arch = "x86_64")]
        if let Some(dot) = amx::Bf16::of(isa) {
            return product.by(dot).run(isa);
        } else if let Some(dot) = avx512::Bf16::of(isa) {
            return product.by(dot).run(isa);
        }
        product.run(isa)
    }
}

/// A head of attention.
pub(crate) fn attend(isa: Isa, head: Head<'_, u32>, scratch: &mut Scratch<u32>) {
    #[cfg(target_arch = "x86_64")]
    if let Some(dot) = amx::Bf16::of(isa) {
        return isa.run(Attend { dot, head, scratch });
    } else if let Some(dot) = avx512::Bf16::of(isa) {
        return isa.run(Attend { dot, head, scratch });
    }
    isa.run(Attend { dot: Widen, head, scratch });
}

/// Values to `[E / 16, L / 2, 16]`: pairs of neighbours in a column.
#[inline(always)]
pub(crate) fn pack_values(panels: &mut [u32], head: &Head<'_, u32>) {
    let ([_, _, l], e, groups) = (head.inputs.lengths, head.inputs.width, head.inputs.lengths[2].div_ceil(2));
    let nothing = [0; PANEL];
    for group in 0..groups {
        let row = |row: usize| if row < l { cast_slice(head.value(row)) } else { &[] };
        let (first, first_rest) = <[u16]>::as_chunks(row(2 * group));
        let (second, second_rest) = <[u16]>::as_chunks(row(2 * group + 1));
        let mut pair_up = |panel: usize, [first, second]: [&[u16; PANEL]; 2]| {
            let to = &mut panels[(panel * groups + group) * PANEL..][..PANEL];
            to.iter_mut().zip(first.iter().zip(second)).for_each(|(to, (first, second))| *to = cast([*first, *second]));
        };
        for (panel, first) in first.iter().enumerate() {
            pair_up(panel, [first, second.get(panel).unwrap_or(&nothing)]);
        }
        if e % PANEL > 0 {
            let mut lines = [[0; PANEL]; 2];
            lines[0][..first_rest.len()].copy_from_slice(first_rest);
            lines[1][..second_rest.len()].copy_from_slice(second_rest);
            pair_up(e / PANEL, [&lines[0], &lines[1]]);
        }
    }
}

/// The upper half of the nearest number that has no lower half; of NaN, a NaN.
#[inline(always)]
pub(crate) fn rounded(x: f32) -> u16 {
    let bits = x.to_bits();
    let even = (bits + 0x7fff + (bits >> 16 & 1)) >> 16; // cannot overflow but for NaN
    (if x.is_nan() { bits >> 16 | 0x40 } else { even }) as u16
}

/// The number whose upper half it is.
#[inline(always)]
pub(crate) fn wide(half: u16) -> f32 {
    f32::from_bits(u32::from(half) << 16)
}

/// The two numbers of a group.
#[inline(always)]
fn widened(pair: u32) -> [f32; 2] {
    let both = if cfg!(target_endian = "little") { [pair << 16, pair] } else { [pair, pair << 16] };
    both.map(|bits| f32::from_bits(bits & 0xffff_0000))
}

/// Numbers in pairs; the last of an odd count has 0 above.
#[inline(always)]
pub(crate) fn round(from: &[f32], to: &mut [u32]) {
    if let Some(last) = to.last_mut() {
        *last = 0;
    }
    for (to, from) in cast_slice_mut::<u32, u16>(to).iter_mut().zip(from) {
        *to = rounded(*from);
    }
}

/// `[M, K]` to `[M, G]`.
pub(crate) fn pairs(isa: Isa, x: &[f32], inputs: usize) -> Vec<u32> {
    const ROWS_AT_A_TIME: usize = 16;
    let groups = inputs.div_ceil(2);
    // SAFETY: the tasks are all rows, and each writes its own.
    unsafe {
        fill(x.len() / inputs * groups, |output| {
            x.par_chunks(ROWS_AT_A_TIME * inputs).enumerate().for_each(|(chunk, from)| {
                // SAFETY: chunks do not overlap.
                let to = output.part(chunk * ROWS_AT_A_TIME * groups, from.len() / inputs * groups);
                isa.run(Round { to, from, inputs });
            });
        })
    }
}

struct Round<'a> {
    to: &'a mut [u32],
    from: &'a [f32],
    inputs: usize,
}

impl Kernel for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const R: usize, const V: usize>(self, _: S) {
        let rows = self.to.chunks_exact_mut(self.inputs.div_ceil(2)).zip(self.from.chunks_exact(self.inputs));
        rows.for_each(|(to, from)| round(from, to));
    }
}

/// Multiplies in f32, on any instruction set.
#[derive(Clone, Copy)]
struct Widen;

impl Dot for Widen {
    type Group = u32;
    type Sum = f32;
    /// Room for the rows of a tile.
    type Ready = Vec<f32>;

    fn rows(of_registers: usize) -> usize {
        of_registers
    }

    fn ready(self, height: usize, groups: usize) -> Vec<f32> {
        vec![0.0; height * 2 * groups]
    }

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(
        room: &mut Vec<f32>,
        simd: S,
        tile: Tile<'_, u32>,
        sums: &mut Sums<f32>,
        _: &mut impl Iterator<Item = ()>,
    ) {
        let inputs = 2 * tile.groups;
        for (to, row) in room.chunks_exact_mut(inputs).zip(0..tile.height) {
            let [row] = tile.rows(row);
            to.as_chunks_mut().0.iter_mut().zip(row).for_each(|(to, pair)| *to = widened(*pair));
        }
        for (panel, sums) in tile.panels.iter().zip(sums) {
            let pairs = Pairs(S::as_simd_u32s(panel).0);
            of_height!(tile.height, R, N => {
                let rows: [&[f32]; N] = std::array::from_fn(|i| &room[i * inputs..][..inputs]);
                sum::<S, N, V>(simd, rows, pairs, (std::ptr::null(), 0), sums);
            });
        }
    }
}

/// A panel of pairs of inputs.
#[derive(Clone, Copy)]
struct Pairs<'a, T>(&'a [T]);

impl<S: Simd, const V: usize> Columns<S, V> for Pairs<'_, S::u32s> {
    #[inline(always)]
    fn inputs(self) -> usize {
        2 * (self.0.len() / V)
    }

    #[inline(always)]
    unsafe fn vector(self, simd: S, input: usize, j: usize) -> S::f32s {
        // SAFETY: there are `V` for each pair.
        let pairs = unsafe { *self.0.get_unchecked(input / 2 * V + j) };
        let upper = input.is_multiple_of(2) != cfg!(target_endian = "little");
        simd.transmute_f32s_u32s(if upper {
            simd.and_u32s(pairs, simd.splat_u32s(0xffff_0000))
        } else {
            simd.wrapping_dyn_shl_u32s(pairs, simd.splat_u32s(16))
        })
    }
}
