//! The matrix product of a linear layer in numbers shorter than f32, which are multiplied in groups of four bytes: two bf16 or
//! four int8.
//!
//! Shapes: M rows, K inputs in G groups, N outputs.
//!
//! A tile of the result is [`ROWS`] rows by [`PANELS`] panels, over all inputs at once: its sums are in registers, its part of the
//! weights in the second cache. What follows the sums is the same code as in f32.

use std::ops::Range;

use pulp::Simd;
use rayon::prelude::*;

use crate::element::Element;
use crate::isa::Kernel;
use crate::output::{Output, fill};
use crate::product::{blocks, finish, tiles};
use crate::{Epilogue, Isa, PANEL};

/// Rows of a tile.
pub(crate) const ROWS: usize = 8;
/// Panels of a tile.
pub(crate) const PANELS: usize = 3;

/// The sums of a tile.
pub(crate) type Sums<T> = [[[T; PANEL]; ROWS]; PANELS];

/// What a tile of sums is made of.
#[derive(Clone, Copy)]
pub(crate) struct Tile<'a> {
    pub(crate) rows: [&'a [u32]; ROWS],
    /// How many of the rows count.
    pub(crate) valid: usize,
    /// Each `[G, 16]`, at most [`PANELS`].
    pub(crate) panels: &'a [&'a [u32]],
    /// What may be fetched into the second cache meanwhile, as much as a panel; need not be a valid address.
    pub(crate) next: *const u32,
}

/// One instruction set's way to multiply groups.
pub(crate) trait Dot: Copy + Send + Sync {
    type Sum: Copy + Default;

    /// Writes the sums of a tile.
    ///
    /// `V` vectors of `S` are a panel.
    fn tile<S: Simd, const V: usize>(self, simd: S, tile: Tile<'_>, sums: &mut Sums<Self::Sum>);
}

/// What makes numbers of sums.
pub(crate) trait Scale<T>: Copy + Send + Sync {
    fn numbers(self, sums: &[T; PANEL], row: usize, panel: usize) -> [f32; PANEL];
}

/// That weights `[K, N]` can be packed.
pub(crate) fn check_weight(weight: &[f32], inputs: usize, outputs: usize) {
    let fits = inputs > 0 && weight.len() == inputs * outputs && outputs.is_multiple_of(PANEL);
    assert!(fits, "{inputs} x {outputs} cannot be packed");
}

/// That `x`, `[M, K]` in numbers, and the bias fit outputs which are whole panels.
pub(crate) fn check_columns<X: Element>(x: &[X], inputs: usize, columns: &Range<usize>, epilogue: &Epilogue<'_>) {
    let fits = x.len().is_multiple_of(inputs.div_ceil(X::COUNT)) && columns.len() == epilogue.bias.len();
    assert!(fits, "a product of wrong shapes");
    assert!(columns.start.is_multiple_of(PANEL) && columns.len().is_multiple_of(PANEL), "columns of half a panel");
}

/// What is multiplied.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a, D, C> {
    pub(crate) dot: D,
    pub(crate) scale: C,
    /// `[M, G]`.
    pub(crate) left: &'a [u32],
    /// G.
    pub(crate) groups: usize,
    /// `[N / 16, G, 16]`.
    pub(crate) panels: &'a [u32],
    pub(crate) epilogue: Epilogue<'a>,
}

impl<'a, D: Dot, C: Scale<D::Sum>> Product<'a, D, C> {
    /// The same by other instructions.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn by<E: Dot<Sum = D::Sum>>(self, dot: E) -> Product<'a, E, C> {
        let Self { scale, left, groups, panels, epilogue, .. } = self;
        Product { dot, scale, left, groups, panels, epilogue }
    }

    /// The result, `[M, N]`.
    pub(crate) fn run<R: Element>(self, isa: Isa) -> Vec<R> {
        let outputs = self.epilogue.bias.len();
        let rows = self.left.len() / self.groups;
        assert!(
            self.epilogue.residual.is_none_or(|residual| residual.len() == rows * outputs),
            "a residual of another shape"
        );
        let tasks = blocks(rows, outputs / PANEL, [ROWS, PANELS]);
        // SAFETY: the tasks cover every row and every panel, and write all numbers of theirs.
        unsafe {
            fill(rows * outputs / R::COUNT, |output| {
                tasks
                    .into_par_iter()
                    .for_each(|(rows, columns)| isa.run(Task { product: self, rows, columns, output }));
            })
        }
    }
}

struct Task<'a, D, C, T> {
    product: Product<'a, D, C>,
    rows: Range<usize>,
    columns: Range<usize>,
    output: Output<T>,
}

impl<D: Dot, C: Scale<D::Sum>, T: Element> Kernel for Task<'_, D, C, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const R: usize, const V: usize>(self, simd: S) {
        let Self { product: Product { dot, scale, left, groups, panels, epilogue }, rows, columns, output } = self;
        let outputs = epilogue.bias.len();
        let mut sums = [[[D::Sum::default(); PANEL]; ROWS]; PANELS];
        let tiles = tiles(rows.len(), ROWS);
        for first in columns.clone().step_by(PANELS) {
            let count = PANELS.min(columns.end - first);
            let of_panel = |i: usize| &panels[(first + i.min(count - 1)) * groups * PANEL..][..groups * PANEL];
            let weights: [&[u32]; PANELS] = std::array::from_fn(of_panel);
            for (i, tile) in tiles.iter().enumerate() {
                let (row, valid) = (rows.start + tile.start, tile.len());
                let rows = std::array::from_fn(|i| &left[(row + i.min(valid - 1)) * groups..][..groups]);
                // The first tiles fetch the next panels, one each; the others what they read now, which costs nothing.
                let ahead = if i < PANELS { PANELS * groups * PANEL } else { 0 };
                let next = weights[i % count].as_ptr().wrapping_add(ahead);
                dot.tile::<S, V>(simd, Tile { rows, valid, panels: &weights[..count], next }, &mut sums);
                for (panel, sums) in (first..).zip(&sums[..count]) {
                    for (row, sums) in (row..).zip(&sums[..valid]) {
                        let numbers = scale.numbers(sums, row, panel);
                        let start = row * outputs + panel * PANEL;
                        let mut line = [0.0; PANEL];
                        let (results, _) = S::as_mut_simd_f32s(&mut line);
                        for (j, (to, sum)) in results.iter_mut().zip(S::as_simd_f32s(&numbers).0).enumerate() {
                            *to = finish(simd, *sum, j, panel * PANEL, start, &epilogue);
                        }
                        // SAFETY: tasks own disjoint rows and panels.
                        T::keep(&line, unsafe { output.part(start / T::COUNT, PANEL / T::COUNT) });
                    }
                }
            }
        }
    }
}
