//! The matrix product of a linear layer, with its bias, activation and residual while the sums are in registers.
//!
//! Shapes: M rows, K inputs, N outputs.
//!
//! The blocking is that of Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008), without a copy of
//! the left side, whose rows are read in place: a block of a panel stays in the first cache, a block of rows in the second.

use std::ops::Range;

use pulp::Simd;
use rayon::prelude::*;

use crate::isa::Kernel;
use crate::output::{Output, fill};
use crate::{Activation, Isa};

/// Columns of a panel of weights.
pub const PANEL: usize = 16;
/// The most inputs of a block.
const DEPTH: usize = 256;
/// The most rows of a block.
const ROWS: usize = 240;

/// Lays weights out in panels of [`PANEL`] outputs.
///
/// # Shapes
/// `weight`: `[K, N]`; the result: `[N / 16, K, 16]`.
///
/// # Panics
/// If `N` is not a multiple of [`PANEL`], or `weight` has another length.
pub fn pack(weight: &[f32], inputs: usize, outputs: usize) -> Vec<f32> {
    assert!(weight.len() == inputs * outputs && outputs.is_multiple_of(PANEL), "{inputs} x {outputs} cannot be packed");
    let mut panels = vec![0.0; weight.len()];
    panels.par_chunks_mut((inputs * PANEL).max(1)).enumerate().for_each(|(panel, to)| {
        for (to, from) in to.chunks_exact_mut(PANEL).zip(weight.chunks_exact(outputs)) {
            to.copy_from_slice(&from[panel * PANEL..][..PANEL]);
        }
    });
    panels
}

/// What follows a product: `activation(product + bias) + residual`.
#[derive(Debug, Clone, Copy)]
pub struct Epilogue<'a> {
    /// `[N]`.
    pub bias: &'a [f32],
    /// Applied to every sum.
    pub activation: Activation,
    /// `[M, N]`.
    pub residual: Option<&'a [f32]>,
}

/// A linear layer.
///
/// # Shapes
/// `x`: `[M, K]`; `panels`: what [`pack`] makes of `[K, N]`; the result: `[M, N]`.
///
/// # Panics
/// If a length does not fit the others.
pub fn affine(isa: Isa, x: &[f32], inputs: usize, panels: &[f32], epilogue: Epilogue<'_>) -> Vec<f32> {
    let outputs = epilogue.bias.len();
    assert!(inputs > 0 && outputs.is_multiple_of(PANEL) && x.len().is_multiple_of(inputs), "a product of wrong shapes");
    let rows = x.len() / inputs;
    assert_eq!(panels.len(), inputs * outputs, "weights of another shape");
    assert!(epilogue.residual.is_none_or(|residual| residual.len() == rows * outputs), "a residual of another shape");
    let whole = Block { x, inputs, panels, epilogue, rows: 0..rows, columns: 0..outputs / PANEL };
    let tasks = whole.split(rayon::current_num_threads());
    // SAFETY: the tasks cover every row and every panel, and write all sums of theirs.
    unsafe {
        fill(rows * outputs, |output| {
            tasks.into_par_iter().for_each(|block| isa.run(Task { block, output }));
        })
    }
}

/// A rectangle of the result, and what it is made of.
#[derive(Clone)]
struct Block<'a> {
    x: &'a [f32],
    inputs: usize,
    panels: &'a [f32],
    epilogue: Epilogue<'a>,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Block<'_> {
    /// Blocks of rows that fit the cache; columns are split too where those are too few to keep the threads busy.
    fn split(&self, threads: usize) -> Vec<Self> {
        let down = self.rows.len().div_ceil(ROWS).max(1);
        let across = if threads == 1 { 1 } else { (4 * threads).div_ceil(down) };
        let rows = parts(&self.rows, down);
        let columns = parts(&self.columns, across);
        let pairs = rows.iter().flat_map(|rows| columns.iter().map(move |columns| (rows, columns)));
        pairs.map(|(rows, columns)| Self { rows: rows.clone(), columns: columns.clone(), ..self.clone() }).collect()
    }
}

/// At most `count` ranges of nearly equal length.
pub(crate) fn parts(range: &Range<usize>, count: usize) -> Vec<Range<usize>> {
    let step = range.len().div_ceil(count).max(1);
    range.clone().step_by(step).map(|start| start..(start + step).min(range.end)).collect()
}

struct Task<'a> {
    block: Block<'a>,
    output: Output,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const R: usize, const V: usize>(self, simd: S) {
        let Self { block: Block { x, inputs, panels, epilogue, rows, columns }, output } = self;
        let outputs = epilogue.bias.len();
        for depth in parts(&(0..inputs), inputs.div_ceil(DEPTH)) {
            for panel in columns.clone() {
                let weights = &panels[panel * inputs * PANEL..][depth.start * PANEL..depth.end * PANEL];
                let at = panel * PANEL;
                for row in rows.clone().step_by(R) {
                    let valid = R.min(rows.end - row);
                    let left = std::array::from_fn(|i| &x[(row + i.min(valid - 1)) * inputs..][depth.clone()]);
                    let sums = tile::<S, R, V>(simd, left, weights);
                    for (i, sums) in sums.into_iter().enumerate().take(valid) {
                        let start = (row + i) * outputs + at;
                        // SAFETY: tasks own disjoint rows and panels; sums are read from the second round on.
                        let (to, _) = S::as_mut_simd_f32s(unsafe { output.part(start, PANEL) });
                        let ends = depth.end == inputs;
                        for (j, mut sum) in sums.into_iter().enumerate() {
                            if depth.start > 0 {
                                sum = simd.add_f32s(sum, to[j]);
                            }
                            if ends {
                                sum = finish(simd, sum, j, at, start, &epilogue);
                            }
                            to[j] = sum;
                        }
                    }
                }
            }
        }
    }
}

/// Vector `j` of a row of a panel: the sums of columns from `column` on, number `start` of the result.
#[inline(always)]
pub(crate) fn finish<S: Simd>(
    simd: S,
    sum: S::f32s,
    j: usize,
    column: usize,
    start: usize,
    end: &Epilogue<'_>,
) -> S::f32s {
    let vector = |numbers: &[f32], from: usize| S::as_simd_f32s(&numbers[from..from + PANEL]).0[j];
    let sum = end.activation.of(simd, simd.add_f32s(sum, vector(end.bias, column)));
    match end.residual {
        Some(residual) => simd.add_f32s(sum, vector(residual, start)),
        None => sum,
    }
}

/// The product of `R` rows and one panel, `[K, 16]`, in registers.
#[inline(always)]
pub(crate) fn tile<S: Simd, const R: usize, const V: usize>(
    simd: S,
    rows: [&[f32]; R],
    panel: &[f32],
) -> [[S::f32s; V]; R] {
    let (panel, _) = S::as_simd_f32s(panel);
    let depth = panel.len() / V;
    assert!(rows.iter().all(|row| row.len() >= depth));
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    for (p, columns) in panel.chunks_exact(V).enumerate() {
        let columns: [S::f32s; V] = std::array::from_fn(|j| columns[j]);
        for (sums, row) in sums.iter_mut().zip(&rows) {
            // SAFETY: p < depth, and every row has `depth` numbers.
            let value = simd.splat_f32s(unsafe { *row.get_unchecked(p) });
            for (sum, columns) in sums.iter_mut().zip(&columns) {
                *sum = simd.mul_add_f32s(value, *columns, *sum);
            }
        }
    }
    sums
}
