//! Scaled dot-product attention for short sequences: the scores of a few queries at a time never leave the first cache.
//!
//! Shapes: B sequences, Q queries, L keys, H heads, E width of a head.

use std::iter::empty;
use std::ops::Range;

use pulp::Simd;
use rayon::prelude::*;

use crate::activation::exp_of_negative;
use crate::element::Element;
use crate::isa::Kernel;
use crate::output::{Output, fill};
use crate::tiles::{Dot, PANELS, ROWS, Sums, Tile, prefetch, tiles};
use crate::{Isa, PANEL};

/// Rows of `[B, Q or L, N]`, N in elements, that may lie inside a wider matrix.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a, T = f32> {
    /// From the first element of the first row on.
    pub elements: &'a [T],
    /// Elements from one row to the next.
    pub row: usize,
    /// Elements from one sequence to the next.
    pub sequence: usize,
}

impl<'a, T> Rows<'a, T> {
    #[inline(always)]
    fn head(&self, sequence: usize, row: usize, columns: &Range<usize>) -> &'a [T] {
        &self.elements[sequence * self.sequence + row * self.row..][columns.clone()]
    }
}

/// Queries, keys and values of several sequences.
#[derive(Debug, Clone, Copy)]
pub struct Attention<'a, T = f32> {
    /// `[B, Q, H * E]`.
    pub queries: Rows<'a, T>,
    /// `[B, L, H * E]`.
    pub keys: Rows<'a, T>,
    /// `[B, L, H * E]`.
    pub values: Rows<'a, T>,
    /// `[B, Q, L]`, finite, added to the scaled scores. Where it is the same for every query, `row` is 0.
    pub bias: Option<Rows<'a>>,
    /// B, Q and L.
    pub lengths: [usize; 3],
    /// H.
    pub heads: usize,
    /// E, in numbers.
    pub width: usize,
}

/// `softmax(queries * keys' / sqrt(E) + bias) * values`, of each batch for itself: sequences of one length are one batch.
///
/// Of bf16, the exponentials of the scores are rounded to bf16 too; sums and the softmax are f32.
///
/// # Shapes
/// The result: `[B, Q, H * E]` of every batch, one after the other.
///
/// # Panics
/// If a slice is too short, there is no key, or E is odd and `T` has two numbers.
pub fn attention<T: Element>(isa: Isa, batches: &[Attention<'_, T>]) -> Vec<T> {
    let (mut heads, mut start) = (Vec::new(), 0);
    for inputs in batches {
        let [b, q, l] = inputs.lengths;
        assert!(l > 0, "attention to no key");
        assert!(inputs.width.is_multiple_of(T::COUNT), "heads of half a pair");
        let pairs = (0..b).flat_map(|sequence| (0..inputs.heads).map(move |head| (sequence, head)));
        heads.extend(pairs.map(|(sequence, head)| (inputs, start, sequence, head)));
        start += b * q * inputs.heads * inputs.width / T::COUNT;
    }
    // SAFETY: the tasks are all heads of all sequences, and each writes its columns of every query.
    unsafe {
        fill(start, |output| {
            heads.into_par_iter().for_each_init(Scratch::default, |scratch, (inputs, start, sequence, head)| {
                let width = inputs.width / T::COUNT;
                let columns = head * width..(head + 1) * width;
                T::attend(isa, Head { inputs, start, sequence, columns, output }, scratch);
            });
        })
    }
}

/// Memory that the tasks of a thread use in turn.
#[derive(Default)]
pub struct Scratch<T> {
    scores: Vec<f32>,
    elements: Vec<T>,
}

/// The first `len` numbers of a buffer that grows if need be. What is left in them may stay in lanes that no result reads; whatever is
/// summed over must be written.
#[inline(always)]
fn at_least<T: Copy + Default>(buffer: &mut Vec<T>, len: usize) -> &mut [T] {
    if buffer.len() < len {
        buffer.resize(len, T::default());
    }
    &mut buffer[..len]
}

/// A head of a sequence.
pub struct Head<'a, T> {
    pub(crate) inputs: &'a Attention<'a, T>,
    /// Where the result of the batch begins.
    start: usize,
    sequence: usize,
    columns: Range<usize>,
    output: Output<T>,
}

impl<'a, T: Element> Head<'a, T> {
    /// From the query `first` on, and elements from one to the next.
    #[inline(always)]
    fn queries(&self, first: usize) -> (&'a [T], usize) {
        let Rows { elements, row, sequence } = self.inputs.queries;
        (&elements[self.sequence * sequence + first * row + self.columns.start..], row)
    }

    #[inline(always)]
    fn key(&self, row: usize) -> &'a [T] {
        self.inputs.keys.head(self.sequence, row, &self.columns)
    }

    #[inline(always)]
    pub(crate) fn value(&self, row: usize) -> &'a [T] {
        self.inputs.values.head(self.sequence, row, &self.columns)
    }

    /// Asks for some tokens of the next head, which the same thread likely computes: its rows lie too far apart to be foreseen.
    #[inline(always)]
    fn fetch_next(&self, tokens: &Range<usize>) {
        let Attention { queries, keys, values, .. } = self.inputs;
        for rows in [queries, keys, values] {
            for token in tokens.clone() {
                let start = self.sequence * rows.sequence + token * rows.row + self.columns.end;
                (0..self.columns.len())
                    .step_by(64 / size_of::<T>())
                    .for_each(|at| prefetch(rows.elements.as_ptr().wrapping_add(start + at)));
            }
        }
    }

    /// Turns a query's products with whole panels of keys into weights, in place, and gives their sum. Those after the last key are 0.
    #[inline(always)]
    fn weigh<S: Simd>(&self, simd: S, query: usize, scores: &mut [f32]) -> f32 {
        let [_, _, l] = self.inputs.lengths;
        scores[l..].fill(f32::NEG_INFINITY);
        let bias = self.inputs.bias.map(|bias| bias.head(self.sequence, query, &(0..l)));
        softmax(simd, scores, (self.inputs.width as f32).sqrt().recip(), bias)
    }

    /// Writes a panel of the context of a query, divided by the sum of its weights.
    #[inline(always)]
    fn write<S: Simd>(&self, simd: S, query: usize, panel: usize, context: &[f32; PANEL], sum: f32) {
        let [_, q, _] = self.inputs.lengths;
        let (e, d) = (self.inputs.width, self.inputs.heads * self.inputs.width);
        let count = PANEL.min(e - panel * PANEL) / T::COUNT;
        let mut line = [0.0; PANEL];
        let inverse = simd.splat_f32s(sum.recip());
        for (to, context) in S::as_mut_simd_f32s(&mut line).0.iter_mut().zip(S::as_simd_f32s(context).0) {
            *to = simd.mul_f32s(*context, inverse);
        }
        let row = self.start + (self.sequence * q + query) * (d / T::COUNT);
        let at = row + self.columns.start + panel * PANEL / T::COUNT;
        // SAFETY: tasks own the columns of different heads or the rows of different sequences.
        let part = |len| unsafe { self.output.part(at, len) };
        if count == PANEL / T::COUNT {
            T::keep(&line, part(PANEL / T::COUNT));
        } else {
            T::keep_part(&line, part(count));
        }
    }
}

/// Writes a head's result by the instructions of `dot`.
pub(crate) struct Attend<'a, D: Dot> {
    pub(crate) dot: D,
    pub(crate) head: Head<'a, D::Group>,
    pub(crate) scratch: &'a mut Scratch<D::Group>,
}

impl<T: Element, D: Dot<Group = T, Sum = f32>> Kernel for Attend<'_, D> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const R: usize, const V: usize>(self, simd: S) {
        let Self { dot, head, scratch: Scratch { scores, elements } } = self;
        let ([_, q, l], e) = (head.inputs.lengths, head.inputs.width);
        let padded = l.next_multiple_of(PANEL);
        let (of_width, of_keys, of_scores) = (e / T::COUNT, l.div_ceil(T::COUNT), padded / T::COUNT);
        let scores = at_least(scores, ROWS * padded);
        let room = padded * of_width + e.next_multiple_of(PANEL) * of_keys + ROWS * of_scores;
        let (keys, rest) = at_least(elements, room).split_at_mut(padded * of_width);
        let (values, weights) = rest.split_at_mut(e.next_multiple_of(PANEL) * of_keys);
        pack_transposed(keys, of_width, |row| head.key(row), l);
        T::pack_values(values, &head);
        for queries in tiles(q, D::rows(R)) {
            head.fetch_next(&queries);
            let (from, height) = (queries.start, queries.len());
            let (left, stride) = head.queries(from);
            let of_queries =
                Tile { left, stride, groups: of_width, height, panels: &[], next: keys.as_ptr(), pace: 0, onto: false };
            multiply::<S, D, R, V>(simd, dot, of_queries, keys, |row, panel, sums| {
                scores[row * padded + panel * PANEL..][..PANEL].copy_from_slice(sums);
            });
            let mut sums = [1.0; ROWS];
            for (i, (sum, row)) in sums.iter_mut().zip(scores.chunks_exact_mut(padded)).enumerate().take(height) {
                *sum = head.weigh(simd, from + i, row);
            }
            let left = T::weights(&scores[..height * padded], weights);
            let of_weights = Tile {
                left,
                stride: of_scores,
                groups: of_keys,
                height,
                panels: &[],
                next: values.as_ptr(),
                pace: 0,
                onto: false,
            };
            multiply::<S, D, R, V>(simd, dot, of_weights, values, |row, panel, context| {
                head.write(simd, from + row, panel, context, sums[row]);
            });
        }
    }
}

/// Products of rows with panels, `[P, G, 16]`: `each` takes a row, a panel and their sums.
#[inline(always)]
fn multiply<S: Simd, D: Dot<Sum = f32>, const R: usize, const V: usize>(
    simd: S,
    dot: D,
    rows: Tile<'_, D::Group>,
    panels: &[D::Group],
    mut each: impl FnMut(usize, usize, &[f32; PANEL]),
) {
    let Tile { groups, height, .. } = rows;
    let mut ready = dot.ready(height, groups);
    let count = panels.len() / (groups * PANEL);
    let at_a_time = count.div_ceil(count.div_ceil(D::PANELS));
    let mut sums: Sums<f32> = [[[0.0; PANEL]; ROWS]; PANELS];
    for first in (0..count).step_by(at_a_time) {
        let some = at_a_time.min(count - first);
        let panel = |i: usize| &panels[(first + i.min(some - 1)) * groups * PANEL..][..groups * PANEL];
        let panels: [&[D::Group]; PANELS] = std::array::from_fn(panel);
        D::tile::<S, R, V>(&mut ready, simd, Tile { panels: &panels[..some], ..rows }, &mut sums, &mut empty());
        for (panel, sums) in (first..).zip(&sums[..some]) {
            for (row, sums) in sums[..height].iter().enumerate() {
                each(row, panel, sums);
            }
        }
    }
}

/// Rows of `width` elements to panels of their transpose, `[rows / 16, width, 16]`; the last row fills the last panel.
#[inline(always)]
fn pack_transposed<'a, T: Element + 'a>(panels: &mut [T], width: usize, row: impl Fn(usize) -> &'a [T], rows: usize) {
    for (panel, block) in panels.chunks_exact_mut(width * PANEL).enumerate() {
        let rows: [&[T]; PANEL] = std::array::from_fn(|i| &row((panel * PANEL + i).min(rows - 1))[..width]);
        for (at, to) in block.chunks_exact_mut(PANEL).enumerate() {
            to.iter_mut().zip(rows).for_each(|(to, row)| *to = row[at]);
        }
    }
}

/// `exp(x * scale + bias - max)` in place, where `max` is the largest of these sums, and the sum of it. Of whole panels: numbers
/// after the bias are only scaled.
#[inline(always)]
fn softmax<S: Simd>(simd: S, row: &mut [f32], scale: f32, bias: Option<&[f32]>) -> f32 {
    let factor = match bias {
        Some(bias) => {
            row.iter_mut().zip(bias).for_each(|(x, bias)| *x = *x * scale + bias);
            1.0
        }
        None => scale,
    };
    let (row, _) = S::as_mut_simd_f32s(row);
    let max = row.iter().fold(simd.splat_f32s(f32::NEG_INFINITY), |max, x| simd.max_f32s(max, *x));
    let (top, factor) = (simd.splat_f32s(simd.reduce_max_f32s(max)), simd.splat_f32s(factor));
    let mut sum = simd.splat_f32s(0.0);
    for x in row {
        *x = exp_of_negative(simd, simd.mul_f32s(simd.sub_f32s(*x, top), factor));
        sum = simd.add_f32s(sum, *x);
    }
    simd.reduce_sum_f32s(sum)
}
