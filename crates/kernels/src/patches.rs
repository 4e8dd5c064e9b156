//! Patches of pictures as rows of a matrix.

use rayon::prelude::*;

use crate::output::fill;

/// A row of zeros, and the patches of a picture, row by row; what is left of the picture is dropped.
///
/// # Shapes
/// `pixels`: `[B, C, H, W]`; the result: `[B, N * M + 1, C * P * P]`, P being the edge of a patch, N = H / P and M = W / P.
///
/// # Panics
/// If a picture has no patch, or `pixels` are not whole pictures.
pub fn patches(pixels: &[f32], [channels, height, width]: [usize; 3], patch: usize) -> Vec<f32> {
    let (down, across) = (height / patch, width / patch);
    let (of_picture, of_patch) = (channels * height * width, channels * patch * patch);
    assert!(of_picture > 0 && pixels.len().is_multiple_of(of_picture), "not whole pictures");
    assert!(down * across > 0, "a picture without a patch");
    let tokens = down * across + 1;
    // SAFETY: the tasks are all rows, and each writes its own.
    unsafe {
        fill(pixels.len() / of_picture * tokens * of_patch, |output| {
            (0..pixels.len() / of_picture * tokens).into_par_iter().with_min_len(across).for_each(|row| {
                // SAFETY: rows do not overlap.
                let to = output.part(row * of_patch, of_patch);
                let Some(at) = (row % tokens).checked_sub(1) else { return to.fill(0.0) };
                let (top, left) = (at / across * patch, at % across * patch);
                let picture = &pixels[row / tokens * of_picture..][..of_picture];
                for (to, channel) in to.chunks_exact_mut(patch * patch).zip(picture.chunks_exact(height * width)) {
                    for (to, line) in to.chunks_exact_mut(patch).zip(channel.chunks_exact(width).skip(top)) {
                        to.copy_from_slice(&line[left..][..patch]);
                    }
                }
            });
        })
    }
}
