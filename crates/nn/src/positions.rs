//! Positions of patches on another grid than the model's.
//!
//! Follows `ChineseCLIPVisionEmbeddings.interpolate_pos_encoding` of transformers 4.51.3 and the `upsample_bicubic2d` of torch
//! 2.15 that it calls: Keys' kernel with a = -0.75, no antialias, `align_corners=False`.
//!
//! Shapes: G edge of the model's grid, N rows and M columns of the new one, W width.

use burn::tensor::{DType, Tensor, TensorData};

/// Stretches the positions of patches to a grid of `[N, M]`; that of the class token stays.
///
/// The reference leaves the model's own grid as it is only if the picture is square; stretching a grid to itself changes nothing.
///
/// # Shapes
/// `positions`: `[G * G + 1, W]`; the result: `[N * M + 1, W]`.
pub fn resize_positions(positions: Tensor<2>, grid: [usize; 2]) -> Tensor<2> {
    let [tokens, width] = positions.dims();
    let edge = (tokens - 1).isqrt();
    let [rows, columns] = grid;
    if grid == [edge, edge] {
        return positions;
    }
    let (device, dtype) = (positions.device(), positions.dtype());
    let class = positions.clone().narrow(0, 0, 1); // [1, W]
    let patches = positions.narrow(0, 1, tokens - 1).cast(DType::F32).reshape([edge, edge, width]); // [G, G, W]
    let stretch_and_swap = |x: Tensor<3>, to: usize| {
        let [from, others, _] = x.dims();
        let weights = TensorData::new(bicubic_weights(from, to), [to, from]);
        let stretched =
            Tensor::<2>::from_data(weights, (&device, DType::F32)).matmul(x.reshape([from, others * width]));
        stretched.reshape([to, others, width]).swap_dims(0, 1)
    };
    let patches = stretch_and_swap(patches, rows); // [G, N, W]
    let patches = stretch_and_swap(patches, columns); // [N, M, W]
    Tensor::cat(vec![class, patches.reshape([rows * columns, width]).cast(dtype)], 0) // [N * M + 1, W]
}

/// The share of each of `from` samples in each of `to` ones, `[to, from]` row-major. Beyond the edge stands the last sample.
fn bicubic_weights(from: usize, to: usize) -> Vec<f32> {
    const A: f32 = -0.75;
    let near = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0; // up to a distance of 1
    let far = |x: f32| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A; // of 1 to 2
    let scale = from as f32 / to as f32;
    let mut weights = vec![0.0; from * to];
    for (i, row) in weights.chunks_exact_mut(from.max(1)).enumerate() {
        let at = scale * (i as f32 + 0.5) - 0.5;
        let t = at - at.floor();
        for (tap, weight) in [far(1.0 + t), near(t), near(1.0 - t), far(2.0 - t)].into_iter().enumerate() {
            let sample = at.floor() as isize + tap as isize - 1;
            row[sample.clamp(0, from as isize - 1) as usize] += weight;
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first rows, five digits, of `interpolate(…, mode="bicubic")` over a picture whose channels are the unit vectors along its
    /// rows, torch 2.15. Whole tables of more pairs stand in the goldens of the image towers.
    #[test]
    fn weights_equal_those_of_torch() {
        for (from, to, expected) in [
            (4, 7, &[1.09922, -0.09922, 0.0, 0.0, 0.65926, 0.40224, -0.0615, 0.0][..]),
            (4, 3, &[0.85648, 0.16088, -0.01736, 0.0, -0.09375, 0.59375, 0.59375, -0.09375]),
            (2, 5, &[1.11025, -0.11025, 0.918, 0.082, 0.5, 0.5, 0.082, 0.918, -0.11025, 1.11025]),
        ] {
            let found = bicubic_weights(from, to);
            let worst = found.iter().zip(expected).map(|(a, b)| f32::abs(a - b)).fold(0.0, f32::max);
            assert!(found.len() == from * to && worst < 1e-5, "{from} to {to}: {found:?}");
        }
    }

    #[test]
    fn a_grid_stretched_to_itself_does_not_change() {
        let identity: Vec<f32> = (0..25).map(|i| if i % 6 == 0 { 1.0 } else { 0.0 }).collect();
        assert_eq!(bicubic_weights(5, 5), identity);
    }
}
