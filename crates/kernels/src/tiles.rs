//! The matrix product of a linear layer, with its bias, activation and residual while the sums are at hand.
//!
//! Shapes: M rows, K inputs in G groups, N outputs. A group is what is multiplied at once, of four bytes: an f32, two bf16 or four int8.
//!
//! A tile of the result is some rows by [`PANELS`] panels, over all inputs at once: its sums are in registers, its part of the weights in
//! the second cache. Tiles of the same panels follow each other, and the blocking is that of Goto and van de Geijn, "Anatomy of
//! High-Performance Matrix Multiplication" (2008): a block of rows stays in the caches while the weights pass by.

use std::ops::Range;

use pulp::Simd;
use rayon::prelude::*;

use crate::element::Element;
use crate::isa::Kernel;
use crate::output::{Output, fill};
use crate::{Activation, Isa};

/// Columns of a panel of weights.
pub const PANEL: usize = 16;
/// The most rows of any tile.
pub(crate) const ROWS: usize = 32;
/// The most panels of any tile.
pub(crate) const PANELS: usize = 3;
/// The most rows for each thread that are better one block for all: they take less time to read than the weights.
const FEW: usize = 128;

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

/// The sums of a tile.
pub(crate) type Sums<T> = [[[T; PANEL]; ROWS]; PANELS];

/// What a tile of sums is made of.
#[derive(Clone, Copy)]
pub(crate) struct Tile<'a, G> {
    /// Rows from the first group of the tile on.
    pub(crate) left: &'a [G],
    /// Groups from one row to the next.
    pub(crate) stride: usize,
    /// G.
    pub(crate) groups: usize,
    /// How many rows there are.
    pub(crate) height: usize,
    /// Each `[G, 16]`, at most [`PANELS`].
    pub(crate) panels: &'a [&'a [G]],
    /// What may be fetched into the second cache meanwhile; need not be a valid address.
    pub(crate) next: *const G,
    /// How much of it for each group.
    pub(crate) pace: usize,
    /// Whether the sums are added to; AMX alone does so.
    pub(crate) onto: bool,
}

impl<'a, G> Tile<'a, G> {
    /// Rows from `first` on; the last again for those that there are not.
    #[inline(always)]
    pub(crate) fn rows<const N: usize>(&self, first: usize) -> [&'a [G]; N] {
        let row = |i: usize| &self.left[(first + i).min(self.height - 1) * self.stride..][..self.groups];
        std::array::from_fn(row)
    }
}

/// One instruction set's way to multiply groups.
pub(crate) trait Dot: Copy + Send + Sync {
    type Group: Copy + Send + Sync;
    type Sum: Copy + Default;
    /// What a thread holds while it computes tiles.
    type Ready;

    /// The most panels of a tile.
    const PANELS: usize = PANELS;

    /// About the most groups of a block of rows: they take a part of the second cache.
    const BLOCK: usize = 1 << 17;

    /// The most rows of a tile, where a [`Kernel`] has so many.
    fn rows(_: usize) -> usize {
        8
    }

    /// Makes the thread ready for tiles of at most `height` rows of `groups`.
    fn ready(self, height: usize, groups: usize) -> Self::Ready;

    /// Writes the sums of a tile. Where it has a row less than it may have, `left` has the next row too.
    ///
    /// What multiplies beside the vector units takes from `meanwhile` as it goes, about as often as there are rows: each is a piece of
    /// other work. `R` and `V` are those of a [`Kernel`].
    fn tile<S: Simd, const R: usize, const V: usize>(
        ready: &mut Self::Ready,
        simd: S,
        tile: Tile<'_, Self::Group>,
        sums: &mut Sums<Self::Sum>,
        meanwhile: &mut impl Iterator<Item = ()>,
    );
}

/// What makes numbers of sums.
pub(crate) trait Scale<T>: Copy + Send + Sync {
    fn numbers(self, sums: &[T; PANEL], row: usize, panel: usize) -> [f32; PANEL];
}

/// Sums that are the numbers.
#[derive(Clone, Copy)]
pub(crate) struct Unscaled;

impl Scale<f32> for Unscaled {
    #[inline(always)]
    fn numbers(self, sums: &[f32; PANEL], _: usize, _: usize) -> [f32; PANEL] {
        *sums
    }
}

/// That weights `[K, N]` can be packed.
pub(crate) fn check_weight(weight: &[f32], inputs: usize, outputs: usize) {
    let fits = inputs > 0 && weight.len() == inputs * outputs && outputs.is_multiple_of(PANEL);
    assert!(fits, "{inputs} x {outputs} cannot be packed");
}

/// That `x`, `[M, K]` in numbers, the bias and the residual fit outputs which are whole panels.
pub(crate) fn check_columns<X: Element>(x: &[X], inputs: usize, columns: &Range<usize>, epilogue: &Epilogue<'_>) {
    let of_row = inputs.div_ceil(X::COUNT);
    let fits = x.len().is_multiple_of(of_row) && columns.len() == epilogue.bias.len();
    assert!(fits, "a product of wrong shapes");
    let results = x.len() / of_row * columns.len();
    assert!(epilogue.residual.is_none_or(|residual| residual.len() == results), "a residual of another shape");
    assert!(columns.start.is_multiple_of(PANEL) && columns.len().is_multiple_of(PANEL), "columns of half a panel");
}

/// What is multiplied.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a, D: Dot, C> {
    pub(crate) dot: D,
    pub(crate) scale: C,
    /// `[M, G]`.
    pub(crate) left: &'a [D::Group],
    /// G.
    pub(crate) groups: usize,
    /// `[N / 16, G, 16]`.
    pub(crate) panels: &'a [D::Group],
    pub(crate) epilogue: Epilogue<'a>,
}

impl<'a, D: Dot, C: Scale<D::Sum>> Product<'a, D, C> {
    /// The same by other instructions.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn by<E: Dot<Group = D::Group, Sum = D::Sum>>(self, dot: E) -> Product<'a, E, C> {
        let Self { scale, left, groups, panels, epilogue, .. } = self;
        Product { dot, scale, left, groups, panels, epilogue }
    }

    /// The result, `[M, N]`.
    pub(crate) fn run<R: Element>(self, isa: Isa) -> Vec<R> {
        let outputs = self.epilogue.bias.len();
        let rows = self.left.len() / self.groups;
        let tasks = blocks::<D>(self.groups, rows, outputs / PANEL);
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

struct Task<'a, D: Dot, C, T> {
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
        let left = &left[rows.start * groups..rows.end * groups];
        let tiles = tiles(rows.len(), D::rows(R));
        let mut ready = dot.ready(most(&tiles), groups);
        // Each tile fetches as much of the next panels as the others.
        let pace = (D::PANELS * PANEL).div_ceil(tiles.len()).min(PANEL);
        let mut room = [[[[D::Sum::default(); PANEL]; ROWS]; PANELS]; 2];
        let [mut sums, last] = room.each_mut();
        // A tile is finished while the next is multiplied.
        let mut lines =
            Lines { simd, scale, epilogue: &epilogue, output, sums: last, start: 0, rows: 0..0, across: 0..0 };
        for first in columns.clone().step_by(D::PANELS) {
            let count = D::PANELS.min(columns.end - first);
            let mut weights: [&[D::Group]; PANELS] = [&[]; PANELS];
            for (i, weights) in weights.iter_mut().enumerate().take(count) {
                *weights = &panels[(first + i) * groups * PANEL..][..groups * PANEL];
            }
            for (i, tile) in tiles.iter().enumerate() {
                let (left, height) = (&left[tile.start * groups..], tile.len());
                let next = weights[0].as_ptr().wrapping_add((D::PANELS * PANEL + i * pace) * groups);
                let of_rows =
                    Tile { left, stride: groups, groups, height, panels: &weights[..count], next, pace, onto: false };
                D::tile::<S, R, V>(&mut ready, simd, of_rows, sums, &mut lines);
                while lines.next().is_some() {}
                std::mem::swap(&mut sums, &mut lines.sums);
                (lines.start, lines.rows, lines.across) = (rows.start + tile.start, 0..height, first..first + count);
            }
        }
        while lines.next().is_some() {}
    }
}

/// Finishes a tile, row by row.
pub(crate) struct Lines<'a, S, Q, C, T> {
    pub(crate) simd: S,
    pub(crate) scale: C,
    pub(crate) epilogue: &'a Epilogue<'a>,
    pub(crate) output: Output<T>,
    pub(crate) sums: &'a mut Sums<Q>,
    /// The first row of the tile.
    pub(crate) start: usize,
    /// Those to be finished, from `start` on.
    pub(crate) rows: Range<usize>,
    /// The panels of the tile.
    pub(crate) across: Range<usize>,
}

impl<S: Simd, Q, C: Scale<Q>, T: Element> Iterator for Lines<'_, S, Q, C, T> {
    type Item = ();

    #[inline(always)]
    fn next(&mut self) -> Option<()> {
        let Self { simd, scale, epilogue, output, sums, start, rows, across } = self;
        let row = rows.next()?;
        for (panel, sums) in across.clone().zip(sums.iter()) {
            let numbers = scale.numbers(&sums[row], *start + row, panel);
            let at = (*start + row) * epilogue.bias.len() + panel * PANEL;
            let mut line = [0.0; PANEL];
            let (results, _) = S::as_mut_simd_f32s(&mut line);
            for (j, (to, sum)) in results.iter_mut().zip(S::as_simd_f32s(&numbers).0).enumerate() {
                *to = finish(*simd, *sum, j, panel * PANEL, at, epilogue);
            }
            // SAFETY: tasks own disjoint rows and panels.
            T::keep(&line, unsafe { output.part(at / T::COUNT, PANEL / T::COUNT) });
        }
        Some(())
    }
}

/// Blocks of a result, rows and columns: of rows that fit the cache, as many for each thread as for the others, or of all rows if these
/// are few, or if rows are so long that a block would have fewer of them than columns of a tile, and weights be read more often than rows
/// now are. Columns are split too where blocks are too few to keep the threads busy; they go by those of a tile but for the last.
fn blocks<D: Dot>(groups: usize, rows: usize, columns: usize) -> Vec<(Range<usize>, Range<usize>)> {
    let threads = rayon::current_num_threads();
    let most = D::BLOCK / groups;
    let one = rows <= threads * FEW || most < D::PANELS * PANEL;
    let down = if one { 1 } else { rows.div_ceil(most).next_multiple_of(threads) };
    let across = if threads == 1 { 1 } else { (4 * threads).div_ceil(down) };
    let (down, across) = (shares(rows, down, 1), shares(columns, across, D::PANELS));
    down.iter().flat_map(|rows| across.iter().map(move |columns| (rows.clone(), columns.clone()))).collect()
}

/// As few tiles as rows of at most `most` allow, as even as can be: the last of many full ones would have few sums at once, and wait
/// for them.
pub(crate) fn tiles(rows: usize, most: usize) -> Vec<Range<usize>> {
    shares(rows, rows.div_ceil(most), 1)
}

/// The rows of the largest tile, which is the last.
pub(crate) fn most(tiles: &[Range<usize>]) -> usize {
    tiles.last().map_or(0, ExactSizeIterator::len)
}

/// At most `count` ranges of `0..len`, whose lengths in units of `unit` differ by one at most.
pub(crate) fn shares(len: usize, count: usize, unit: usize) -> Vec<Range<usize>> {
    let units = len.div_ceil(unit);
    let at = |share: usize| (share * units / count * unit).min(len);
    (0..count).map(|share| at(share)..at(share + 1)).filter(|share| !share.is_empty()).collect()
}

/// `$body` for a tile of `$height` rows, with that number as the constant `$N`. It is compiled for each of the last numbers up to
/// `$most`, the most that a tile may have.
macro_rules! of_height {
    ($height:expr, $most:ident, $N:ident => $body:expr) => {
        of_height!($height, $most, $N => $body, 1 2 3 4 5 6 7 8)
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

/// Vector `j` of a row of a panel: the sums of columns from `column` on, number `start` of the result.
#[inline(always)]
fn finish<S: Simd>(simd: S, sum: S::f32s, j: usize, column: usize, start: usize, end: &Epilogue<'_>) -> S::f32s {
    let vector = |numbers: &[f32], from: usize| S::as_simd_f32s(&numbers[from..from + PANEL]).0[j];
    let sum = end.activation.of(simd, simd.add_f32s(sum, vector(end.bias, column)));
    match end.residual {
        Some(residual) => simd.add_f32s(sum, vector(residual, start)),
        None => sum,
    }
}

/// Bytes of a line of memory.
pub(crate) const LINE: usize = 64;

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
