//! Patches of pictures as rows of a matrix, from numbers or straight from 8 bits.
//!
//! Shapes: B pictures, C channels, H rows, W columns; P edge of a patch, N = H / P rows and M = W / P columns of patches.

use rayon::prelude::*;

use crate::output::fill;

/// What stands for each of the 256 levels of each channel of a picture in RGB.
pub type LevelValues = [[f32; 256]; 3];

/// A row of zeros, and the patches of a picture, row by row; what is left of the picture is dropped.
///
/// # Shapes
/// `pixels`: `[B, C, H, W]`; the result: `[B, N * M + 1, C * P * P]`.
///
/// # Panics
/// If a picture has no patch, or `pixels` are not whole pictures.
pub fn patches(pixels: &[f32], [channels, height, width]: [usize; 3], patch: usize) -> Vec<f32> {
    let pictures = whole_pictures(pixels.len(), channels * height * width);
    patch_rows([pictures, channels, height, width], patch, |[picture, channel, y, x], to| {
        let start = ((picture * channels + channel) * height + y) * width + x;
        to.copy_from_slice(&pixels[start..][..to.len()]);
    })
}

/// [`patches`] of the values of levels, which need not be written down before.
///
/// # Shapes
/// `levels`: `[B, H, W, 3]`; the result: `[B, N * M + 1, 3 * P * P]`.
///
/// # Panics
/// As [`patches`].
pub fn patches_of_levels(levels: &[u8], values: &LevelValues, [height, width]: [usize; 2], patch: usize) -> Vec<f32> {
    let pictures = whole_pictures(levels.len(), 3 * height * width);
    let (levels, _) = levels.as_chunks();
    patch_rows([pictures, 3, height, width], patch, |[picture, channel, y, x], to| {
        look_up(&levels[(picture * height + y) * width + x..][..to.len()], channel, values, to);
    })
}

/// The values of levels, channel by channel.
///
/// # Shapes
/// `levels`: `[B, H, W, 3]`; the result: `[B, 3, H, W]`.
///
/// # Panics
/// If `levels` are not whole pictures of `[H, W]`.
pub fn planes(levels: &[u8], values: &LevelValues, [height, width]: [usize; 2]) -> Vec<f32> {
    let (plane, pictures) = (height * width, whole_pictures(levels.len(), 3 * height * width));
    let (levels, _) = levels.as_chunks();
    // SAFETY: the tasks are all planes, and each writes its own.
    unsafe {
        fill(pictures * 3 * plane, |output| {
            (0..pictures * 3).into_par_iter().for_each(|at| {
                // SAFETY: planes do not overlap.
                let to = output.part(at * plane, plane);
                look_up(&levels[at / 3 * plane..][..plane], at % 3, values, to);
            });
        })
    }
}

fn look_up(levels: &[[u8; 3]], channel: usize, values: &LevelValues, to: &mut [f32]) {
    let values = &values[channel];
    for (to, pixel) in to.iter_mut().zip(levels) {
        *to = values[usize::from(pixel[channel])];
    }
}

fn whole_pictures(samples: usize, of_picture: usize) -> usize {
    assert!(of_picture > 0 && samples.is_multiple_of(of_picture), "not whole pictures");
    samples / of_picture
}

/// `copy` writes a line of a patch: it is given the picture, the channel and the first pixel's row and column.
fn patch_rows(
    [pictures, channels, height, width]: [usize; 4],
    patch: usize,
    copy: impl Fn([usize; 4], &mut [f32]) + Sync,
) -> Vec<f32> {
    let (down, across) = (height / patch, width / patch);
    assert!(down * across > 0, "a picture without a patch");
    let (tokens, of_patch) = (down * across + 1, channels * patch * patch);
    // SAFETY: the tasks are all rows, and each writes its own.
    unsafe {
        fill(pictures * tokens * of_patch, |output| {
            (0..pictures * tokens).into_par_iter().with_min_len(across).for_each(|row| {
                // SAFETY: rows do not overlap.
                let to = output.part(row * of_patch, of_patch);
                let Some(at) = (row % tokens).checked_sub(1) else { return to.fill(0.0) };
                let (top, left) = (at / across * patch, at % across * patch);
                for (i, to) in to.chunks_exact_mut(patch).enumerate() {
                    copy([row / tokens, i / patch, top + i % patch, left], to);
                }
            });
        })
    }
}
