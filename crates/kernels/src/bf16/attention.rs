//! A head of attention whose products are of bf16.
//!
//! Shapes: L keys, E width of a head.

use std::ops::Range;

use pulp::Simd;
use pulp::bytemuck::{cast, cast_slice};

use super::round;
use crate::PANEL;
use crate::attention::{Head, Scratch, at_least, pack_transposed};
use crate::isa::Kernel;
use crate::product::tiles;
use crate::short::{Dot, PANELS, ROWS, Sums, Tile};

/// Writes a head's result by the instructions of `dot`.
pub(super) struct Rounded<'a, D> {
    pub(super) dot: D,
    pub(super) head: Head<'a, u32>,
    pub(super) scratch: &'a mut Scratch,
}

impl<D: Dot<Sum = f32>> Kernel for Rounded<'_, D> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const R: usize, const V: usize>(self, simd: S) {
        let Self { dot, head, scratch: Scratch { numbers: scores, pairs } } = self;
        let ([_, q, l], e) = (head.inputs.lengths, head.inputs.width);
        let padded = l.next_multiple_of(PANEL);
        let (of_width, of_keys) = (e / 2, l.div_ceil(2));
        let scores = at_least(scores, ROWS * padded);
        let room = padded * of_width + e.next_multiple_of(PANEL) * of_keys + ROWS * padded / 2;
        let pairs = at_least(pairs, room);
        let (keys, rest) = pairs.split_at_mut(padded * of_width);
        let (values, weights) = rest.split_at_mut(e.next_multiple_of(PANEL) * of_keys);
        pack_transposed(keys, of_width, |row| head.key(row), l);
        pack_values(values, &head);
        for Range { start: from, end } in tiles(q, ROWS) {
            let valid = end - from;
            head.fetch_next(&(from..end));
            let queries = std::array::from_fn(|i| head.query(from + i.min(valid - 1)));
            multiply::<S, D, V>(simd, dot, queries, keys, valid, |row, panel, sums| {
                scores[row * padded + panel * PANEL..][..PANEL].copy_from_slice(sums);
            });
            let mut sums = [1.0; ROWS];
            for (i, (sum, row)) in sums.iter_mut().zip(scores.chunks_exact_mut(padded)).enumerate().take(valid) {
                *sum = head.weigh(simd, from + i, row);
                round(row, &mut weights[i * padded / 2..][..padded / 2]);
            }
            let weights = std::array::from_fn(|i| &weights[i * padded / 2..][..of_keys]);
            multiply::<S, D, V>(simd, dot, weights, values, valid, |row, panel, context| {
                head.write(simd, from + row, panel, S::as_simd_f32s(context).0, sums[row]);
            });
        }
    }
}

/// Products of the first `valid` of some rows of G pairs with panels, `[P, G, 16]`: `each` takes a row, a panel and their sums.
#[inline(always)]
fn multiply<S: Simd, D: Dot<Sum = f32>, const V: usize>(
    simd: S,
    dot: D,
    rows: [&[u32]; ROWS],
    panels: &[u32],
    valid: usize,
    mut each: impl FnMut(usize, usize, &[f32; PANEL]),
) {
    let groups = rows[0].len();
    let count = panels.len() / (groups * PANEL);
    let at_a_time = count.div_ceil(count.div_ceil(PANELS));
    let mut sums: Sums<f32> = [[[0.0; PANEL]; ROWS]; PANELS];
    for first in (0..count).step_by(at_a_time) {
        let some = at_a_time.min(count - first);
        let panel = |i: usize| &panels[(first + i.min(some - 1)) * groups * PANEL..][..groups * PANEL];
        let panels: [&[u32]; PANELS] = std::array::from_fn(panel);
        dot.tile::<S, V>(simd, Tile { rows, valid, panels: &panels[..some], next: panels[0].as_ptr() }, &mut sums);
        for (panel, sums) in (first..).zip(&sums[..some]) {
            for (row, sums) in sums[..valid].iter().enumerate() {
                each(row, panel, sums);
            }
        }
    }
}

/// Values to `[E / 16, L / 2, 16]`: pairs of neighbours in a column.
#[inline(always)]
fn pack_values(panels: &mut [u32], head: &Head<'_, u32>) {
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
