//! The matrix product of a linear layer, with its bias, activation and residual while the sums are in registers.
//!
//! Shapes: M rows, K inputs, N outputs.
//!
//! The blocking is that of Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008): a block of rows
//! stays in the second cache while the panels of weights pass by. Rows of more than [`DEPTH`] inputs are gathered first: in place
//! they could share few sets of the first cache, as they do where a row's bytes are a multiple of a page.

use std::ops::Range;

use pulp::Simd;
use rayon::prelude::*;

use crate::isa::Kernel;
use crate::output::{Output, fill};
use crate::{Activation, Isa};

/// Columns of a panel of weights.
pub const PANEL: usize = 16;
/// The most inputs of a block.
const DEPTH: usize = 768;
/// About the most rows of a block.
const ROWS: usize = 168;
/// The least tiles of a block among several.
const TILES: usize = 8;

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
    let tasks = blocks(rows, outputs / PANEL, [isa.rows(), 1]);
    let split = tasks.first().is_some_and(|(_, columns)| columns.len() < outputs / PANEL);
    let gathered = if split && inputs > DEPTH { gather_all(x, inputs) } else { Vec::new() };
    let product = Product { x, inputs, panels, epilogue, gathered: &gathered };
    // SAFETY: the tasks cover every row and every panel, and write all sums of theirs.
    unsafe {
        fill(rows * outputs, |output| {
            tasks.into_par_iter().for_each_init(Vec::new, |scratch, (rows, columns)| {
                isa.run(Task { product, rows, columns, output, scratch });
            });
        })
    }
}

/// What is multiplied.
#[derive(Clone, Copy)]
struct Product<'a> {
    x: &'a [f32],
    inputs: usize,
    panels: &'a [f32],
    epilogue: Epilogue<'a>,
    /// What [`gather_all`] makes of `x`, if tasks share rows that need it.
    gathered: &'a [f32],
}

/// Blocks of a result, rows and columns: of rows that fit the cache, as many for each thread as for the others; columns are split too
/// where those are too few to keep the threads busy. A tile has at most `tile` rows and, but for the last, just as many columns.
pub(crate) fn blocks(rows: usize, columns: usize, tile: [usize; 2]) -> Vec<(Range<usize>, Range<usize>)> {
    let threads = rayon::current_num_threads();
    let down = rows.div_ceil(ROWS).next_multiple_of(threads);
    let down = if rows <= down * tile[0] * TILES { 1 } else { down };
    let across = if threads == 1 { 1 } else { (4 * threads).div_ceil(down) };
    let (down, across) = (shares(rows, down, 1), shares(columns, across, tile[1]));
    down.iter().flat_map(|rows| across.iter().map(move |columns| (rows.clone(), columns.clone()))).collect()
}

/// As few tiles as rows of at most `most` allow, as even as can be: the last of many full ones would have few sums at once, and wait
/// for them.
pub(crate) fn tiles(rows: usize, most: usize) -> Vec<Range<usize>> {
    shares(rows, rows.div_ceil(most), 1)
}

/// `$body` for a tile of `$height` rows, with that number as the constant `$N`. It is compiled for each of the last numbers up to
/// `$most`, the most that a tile may have.
macro_rules! of_height {
    ($height:expr, $most:ident, $N:ident => $body:expr) => {
        of_height!($height, $most, $N => $body, 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
    };
    ($height:expr, $most:ident, $N:ident => $body:expr, $($known:literal)*) => {
        match $height {
            $($known if $known <= $most => {
                const $N: usize = $known;
                $body
            })*
            _ => unreachable!("a tile has more rows than registers hold"),
        }
    };
}
pub(crate) use of_height;

/// At most `count` ranges of `0..len`, whose lengths in units of `unit` differ by one at most.
fn shares(len: usize, count: usize, unit: usize) -> Vec<Range<usize>> {
    let units = len.div_ceil(unit);
    let at = |share: usize| (share * units / count * unit).min(len);
    (0..count).map(|share| at(share)..at(share + 1)).filter(|share| !share.is_empty()).collect()
}

/// A rectangle of the result.
struct Task<'a> {
    product: Product<'a>,
    rows: Range<usize>,
    columns: Range<usize>,
    output: Output,
    scratch: &'a mut Vec<f32>,
}

/// Some inputs of rows to rows of [`DEPTH`].
#[inline(always)]
fn gather<'a>(rows: impl Iterator<Item = &'a [f32]>, depth: &Range<usize>, to: &mut [f32]) {
    for (row, to) in rows.zip(to.chunks_exact_mut(DEPTH)) {
        to[..depth.len()].copy_from_slice(&row[depth.clone()]);
    }
}

/// All inputs of all rows, `[K / DEPTH, M, DEPTH]`.
fn gather_all(x: &[f32], inputs: usize) -> Vec<f32> {
    let rows = x.len() / inputs;
    let mut gathered = vec![0.0; inputs.div_ceil(DEPTH) * rows * DEPTH];
    gathered.par_chunks_mut(DEPTH).with_min_len(16).enumerate().for_each(|(at, to)| {
        let (start, row) = (at / rows * DEPTH, at % rows);
        gather(x[row * inputs..].chunks_exact(inputs), &(start..inputs.min(start + DEPTH)), to);
    });
    gathered
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const R: usize, const V: usize>(self, simd: S) {
        let Self { product, rows, columns, output, scratch } = self;
        let Product { x, inputs, gathered, .. } = product;
        let tiles = tiles(rows.len(), R);
        for start in (0..inputs).step_by(DEPTH) {
            let depth = start..inputs.min(start + DEPTH);
            let (left, apart) = if inputs <= DEPTH {
                (&x[rows.start * inputs..rows.end * inputs], inputs)
            } else if gathered.is_empty() {
                scratch.resize(rows.len() * DEPTH, 0.0);
                gather(x.chunks_exact(inputs).skip(rows.start), &depth, scratch);
                (&scratch[..], DEPTH)
            } else {
                (&gathered[start * (x.len() / inputs)..][rows.start * DEPTH..rows.end * DEPTH], DEPTH)
            };
            for panel in columns.clone() {
                let part = Part { product, panel, depth: &depth, output };
                for tile in &tiles {
                    let left = &left[tile.start * apart..];
                    let at = rows.start + tile.start;
                    // The first tile of a panel fetches the next panel, which comes from far away.
                    let next = if tile.start == 0 { inputs * PANEL } else { 0 };
                    of_height!(tile.len(), R, N => part.tile::<S, N, V>(simd, left, apart, at, next));
                }
            }
        }
    }
}

/// Some inputs of one panel.
struct Part<'a> {
    product: Product<'a>,
    panel: usize,
    depth: &'a Range<usize>,
    output: Output,
}

impl Part<'_> {
    /// `R` rows from `row` on, whose inputs stand in `left`, `apart` from each other; `next` as in [`tile`].
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(
        &self,
        simd: S,
        left: &[f32],
        apart: usize,
        row: usize,
        next: usize,
    ) {
        let Self { product: Product { inputs, panels, epilogue, .. }, panel, depth, output } = self;
        let rows = std::array::from_fn(|i| &left[i * apart..][..depth.len()]);
        let weights = &panels[panel * inputs * PANEL..][depth.start * PANEL..depth.end * PANEL];
        let sums = tile::<S, R, V>(simd, rows, weights, next);
        let (outputs, at) = (epilogue.bias.len(), panel * PANEL);
        for (i, sums) in sums.into_iter().enumerate() {
            let start = (row + i) * outputs + at;
            // SAFETY: tasks own disjoint rows and panels; sums are read from the second round on.
            let (to, _) = S::as_mut_simd_f32s(unsafe { output.part(start, PANEL) });
            for (j, mut sum) in sums.into_iter().enumerate() {
                if depth.start > 0 {
                    sum = simd.add_f32s(sum, to[j]);
                }
                if depth.end == *inputs {
                    sum = finish(simd, sum, j, at, start, epilogue);
                }
                to[j] = sum;
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

/// The product of `R` rows and one panel, `[K, 16]`, in registers. What lies `next` numbers behind each of the panel's is fetched
/// into the second cache.
#[inline(always)]
pub(crate) fn tile<S: Simd, const R: usize, const V: usize>(
    simd: S,
    rows: [&[f32]; R],
    panel: &[f32],
    next: usize,
) -> [[S::f32s; V]; R] {
    let ahead = panel.as_ptr().wrapping_add(next);
    let (panel, _) = S::as_simd_f32s(panel);
    let depth = panel.len() / V;
    assert!(rows.iter().all(|row| row.len() >= depth));
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    for (p, columns) in panel.chunks_exact(V).enumerate() {
        if next > 0 {
            prefetch(ahead.wrapping_add(p * PANEL));
        }
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

/// Asks for the line of memory at an address, which need not be valid.
#[inline(always)]
pub(crate) fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch changes nothing but caches, and does not fault.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
