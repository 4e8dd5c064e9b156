//! Weights into panels straight from the rows of a checkpoint, one for each output.

use rayon::prelude::*;

use crate::PANEL;
use crate::output::fill;

/// What [`pack`](crate::pack) makes of the transpose of `parts`, which stand one below the other.
///
/// # Shapes
/// Each part: `[N / P, K]` of P parts; the result: `[N / 16, K, 16]`.
///
/// # Panics
/// If `N` is not a multiple of [`PANEL`], or a part has another length.
pub fn pack_rows(parts: &[&[f32]], inputs: usize) -> Vec<f32> {
    let rows: Vec<&[f32]> = parts.iter().flat_map(|part| part.chunks_exact(inputs.max(1))).collect();
    let len = parts.iter().map(|part| part.len()).sum();
    let whole = rows.len() * inputs == len && rows.len().is_multiple_of(PANEL);
    assert!(whole, "{len} weights of {inputs} inputs cannot be packed");
    // SAFETY: the tasks are all panels, and each writes its own.
    unsafe {
        fill(len, |output| {
            rows.par_chunks_exact(PANEL).enumerate().for_each(|(panel, rows)| {
                // SAFETY: panels do not overlap.
                let to = output.part(panel * inputs * PANEL, inputs * PANEL);
                let rows: [&[f32]; PANEL] = std::array::from_fn(|column| rows[column]);
                for (input, to) in to.chunks_exact_mut(PANEL).enumerate() {
                    for (to, row) in to.iter_mut().zip(rows) {
                        *to = row[input];
                    }
                }
            });
        })
    }
}
