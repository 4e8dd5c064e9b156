//! The matrix product of a linear layer in f32 on machines that multiply bf16 many times as fast: each number is a sum of three of bf16.
//!
//! Shapes: M rows, K inputs, N outputs. A step is 32 inputs of a row or a panel: 16 pairs of their first parts, then of their second and
//! third.
//!
//! The first part is the number to 8 binary digits, the second the rest to 8 digits, the third what is left then, which has no more. Of the nine
//! products of the parts of two numbers the three smallest are left out, which together are below 2^-24 of the whole; the others are exact,
//! and added in f32. AMX rounds a sum less often than a loop over its inputs, so it is nearer than one of products in f32. See Henry, Tang and
//! Heinecke, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations" (2019).
//!
//! Parts below 2^-126 count as 0, and numbers above 3.39e38 as infinite; a row with an infinite number is NaN.

use std::ops::Range;

use pulp::Simd;
use pulp::bytemuck::cast_mut;
use rayon::prelude::*;

use crate::amx::Split;
use crate::isa::Kernel;
use crate::output::{Output, fill};
use crate::tiles::{Dot, Lines, ROWS, Sums, Tile, Unscaled, most, shares, tiles};
use crate::{Epilogue, Isa, PANEL};

/// Parts of a number.
pub(crate) const PARTS: usize = 3;
/// Inputs of a step.
const INPUTS: usize = 32;
/// Pairs of a step, of all parts.
const GROUPS: usize = INPUTS / 2 * PARTS;

/// Below this many rows, splitting weights costs more than it saves.
const FEW: usize = 64;
/// The most rows, inputs and panels that a task has at a time: their parts and sums share the second cache.
const BLOCK: [usize; 3] = [256, 768, 48];

/// [`affine`](crate::affine), where it is faster so.
pub(crate) fn affine(isa: Isa, x: &[f32], inputs: usize, panels: &[f32], epilogue: Epilogue<'_>) -> Option<Vec<f32>> {
    let (rows, columns) = (x.len() / inputs, epilogue.bias.len() / PANEL);
    let dot = Split::of(isa).filter(|_| rows >= FEW)?;
    let threads = rayon::current_num_threads();
    let down = match rows.div_ceil(BLOCK[0]) {
        1 => 1,
        blocks => blocks.next_multiple_of(threads),
    };
    let for_cache = if inputs > BLOCK[1] { columns.div_ceil(BLOCK[2]) } else { 1 };
    let for_threads = if threads == 1 { 1 } else { (4 * threads).div_ceil(down) };
    let (down, across) = (shares(rows, down, 1), shares(columns, for_cache.max(for_threads), 2));
    let chunks = shares(inputs, inputs.div_ceil(BLOCK[1]), INPUTS);
    // Tasks that share their rows share the parts of these.
    let parts =
        if down.len() == 1 { chunks.iter().map(|chunk| split(isa, x, inputs, chunk)).collect() } else { Vec::new() };
    let product = Product { dot, x, inputs, panels, epilogue, chunks: &chunks, parts: &parts };
    let tasks: Vec<_> = down.iter().flat_map(|rows| across.iter().map(move |columns| (rows, columns))).collect();
    // SAFETY: the tasks cover every row and every panel, and write all numbers of theirs.
    Some(unsafe {
        fill(rows * columns * PANEL, |output| {
            tasks.into_par_iter().for_each(|(rows, columns)| isa.run(Task { product, rows, columns, output }));
        })
    })
}

#[derive(Clone, Copy)]
struct Product<'a> {
    dot: Split,
    x: &'a [f32],
    inputs: usize,
    panels: &'a [f32],
    epilogue: Epilogue<'a>,
    /// Parts of the inputs that are multiplied one after the other.
    chunks: &'a [Range<usize>],
    /// What [`split`] makes of all rows and each of the chunks; empty where each task splits its own rows.
    parts: &'a [Vec<u32>],
}

struct Task<'a> {
    product: Product<'a>,
    rows: &'a Range<usize>,
    columns: &'a Range<usize>,
    output: Output<f32>,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const R: usize, const V: usize>(self, simd: S) {
        let Self { product: Product { dot, x, inputs, panels, epilogue, chunks, parts }, rows, columns, output } = self;
        let tiles = tiles(rows.len(), ROWS);
        let all = tiles.len() * columns.len().div_ceil(Split::PANELS);
        // A tile is finished while the next is multiplied. Of many chunks, all sums wait for the last.
        let count = if chunks.len() == 1 { 2 } else { all.max(2) };
        let mut sums = vec![Sums::<f32>::default(); count];
        let (mut of_rows, mut of_panels) = (Vec::new(), [Vec::new(), Vec::new()]);
        let mut done = (0, 0..0, 0..0);
        for (c, chunk) in chunks.iter().enumerate() {
            let groups = groups(chunk.len());
            let left = if let Some(shared) = parts.get(c) {
                shared
            } else {
                of_rows.resize(rows.len() * groups, 0);
                split_rows(&x[rows.start * inputs..rows.end * inputs], inputs, chunk, &mut of_rows);
                &of_rows
            };
            let mut ready = dot.ready(most(&tiles), groups);
            let mut slot = 0;
            for first in columns.clone().step_by(Split::PANELS) {
                let across = first..columns.end.min(first + Split::PANELS);
                for (panel, to) in across.clone().zip(&mut of_panels) {
                    to.resize(groups * PANEL, 0);
                    split_panel(&panels[panel * inputs * PANEL..][chunk.start * PANEL..chunk.end * PANEL], to);
                }
                let weights = of_panels.each_ref().map(Vec::as_slice);
                for (i, tile) in tiles.iter().enumerate() {
                    let Ok([sums, last]) = sums.get_disjoint_mut([slot % count, (slot + count - 1) % count]) else {
                        unreachable!("there are two or more")
                    };
                    let (start, rows_done, across_done) = std::mem::take(&mut done);
                    let mut lines = Lines {
                        simd,
                        scale: Unscaled,
                        epilogue: &epilogue,
                        output,
                        sums: last,
                        start,
                        rows: rows_done,
                        across: across_done,
                    };
                    // Each tile fetches as much of the next panels as the others.
                    let ahead = 2 * chunk.len() * i / tiles.len();
                    let panel = (across.end + ahead / chunk.len()) * inputs + chunk.start + ahead % chunk.len();
                    let of_rows = Tile {
                        left: &left[tile.start * groups..],
                        stride: groups,
                        groups,
                        height: tile.len(),
                        panels: &weights[..across.len()],
                        next: panels.as_ptr().wrapping_add(panel * PANEL).cast(),
                        pace: (2 * INPUTS).div_ceil(tiles.len()),
                        onto: c > 0,
                    };
                    Split::tile::<S, R, V>(&mut ready, simd, of_rows, sums, &mut lines);
                    while lines.next().is_some() {}
                    if c + 1 == chunks.len() {
                        done = (rows.start + tile.start, 0..tile.len(), across.clone());
                    }
                    slot += 1;
                }
            }
        }
        let (sums, (start, rows, across)) = (&mut sums[(all - 1) % count], done);
        let mut lines = Lines { simd, scale: Unscaled, epilogue: &epilogue, output, sums, start, rows, across };
        while lines.next().is_some() {}
    }
}

fn groups(inputs: usize) -> usize {
    inputs.div_ceil(INPUTS) * GROUPS
}

/// The parts of a chunk of the inputs of rows: `[M, K / 32, 3, 16]`.
fn split(isa: Isa, x: &[f32], inputs: usize, chunk: &Range<usize>) -> Vec<u32> {
    const ROWS_AT_A_TIME: usize = 16;
    let of_row = groups(chunk.len());
    // SAFETY: the tasks are all rows, and each writes its own.
    unsafe {
        fill(x.len() / inputs * of_row, |output| {
            x.par_chunks(ROWS_AT_A_TIME * inputs).enumerate().for_each(|(i, rows)| {
                // SAFETY: rows do not overlap.
                let to = output.part(i * ROWS_AT_A_TIME * of_row, rows.len() / inputs * of_row);
                isa.run(SplitRows { rows, inputs, chunk, to });
            });
        })
    }
}

struct SplitRows<'a> {
    rows: &'a [f32],
    inputs: usize,
    chunk: &'a Range<usize>,
    to: &'a mut [u32],
}

impl Kernel for SplitRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const R: usize, const V: usize>(self, _: S) {
        split_rows(self.rows, self.inputs, self.chunk, self.to);
    }
}

/// The same on this thread.
#[inline(always)]
fn split_rows(rows: &[f32], inputs: usize, chunk: &Range<usize>, to: &mut [u32]) {
    for (row, to) in rows.chunks_exact(inputs).zip(to.chunks_exact_mut(groups(chunk.len()))) {
        each_step(&row[chunk.clone()], to, row_step);
    }
}

/// The parts of a panel: `[K, 16]` to `[K / 32, 3, 16, 16]`.
#[inline(always)]
fn split_panel(panel: &[f32], to: &mut [u32]) {
    each_step(panel, to, panel_step);
}

#[inline(always)]
fn row_step(numbers: &[f32; INPUTS], to: &mut [u32; GROUPS]) {
    let halves: &mut [u16; INPUTS * PARTS] = cast_mut(to);
    for (i, x) in numbers.iter().enumerate() {
        let [first, second, third] = parts(*x);
        halves[i] = (first >> 16) as u16;
        halves[INPUTS + i] = (second >> 16) as u16;
        halves[2 * INPUTS + i] = (third >> 16) as u16;
    }
}

#[inline(always)]
fn panel_step(numbers: &[f32; INPUTS * PANEL], to: &mut [u32; GROUPS * PANEL]) {
    let ((rows, _), (to, _)) = (numbers.as_chunks::<PANEL>(), to.as_chunks_mut::<PANEL>());
    for pair in 0..INPUTS / 2 {
        let (upper, lower) = (&rows[2 * pair], &rows[2 * pair + 1]);
        let mut found = [[0; PANEL]; PARTS];
        for column in 0..PANEL {
            let (first, second) = (parts(upper[column]), parts(lower[column]));
            for part in 0..PARTS {
                found[part][column] = first[part] >> 16 | second[part] & 0xffff_0000;
            }
        }
        for part in 0..PARTS {
            to[part * INPUTS / 2 + pair] = found[part];
        }
    }
}

/// `split` for each step; the last is filled up with zeros. `split` is a function that is always inlined, which a closure cannot be.
#[inline(always)]
fn each_step<const N: usize, const M: usize>(from: &[f32], to: &mut [u32], split: impl Fn(&[f32; N], &mut [u32; M])) {
    let ((steps, rest), (to, _)) = (from.as_chunks::<N>(), to.as_chunks_mut::<M>());
    for (numbers, to) in steps.iter().zip(&mut *to) {
        split(numbers, to);
    }
    if let Some(to) = to.get_mut(steps.len()) {
        let mut numbers = [0.0; N];
        numbers[..rest.len()].copy_from_slice(rest);
        split(&numbers, to);
    }
}

/// Numbers whose upper halves are the parts. No NaN is lost: the last part of one is NaN.
#[inline(always)]
fn parts(x: f32) -> [u32; PARTS] {
    let first = nearest(x);
    let rest = x - f32::from_bits(first);
    let second = nearest(rest);
    [first, second, (rest - f32::from_bits(second)).to_bits()]
}

/// To 8 binary digits.
#[inline(always)]
fn nearest(x: f32) -> u32 {
    x.to_bits().wrapping_add(0x8000) & 0xffff_0000
}
