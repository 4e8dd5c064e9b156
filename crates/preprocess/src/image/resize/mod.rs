//! Resizing, bit-exact with Pillow 13.0.0 (`Image.resize`, `src/libImaging/Resample.c`): two passes, horizontal then vertical,
//! weights in fixed point, samples rounded to u8 in between.
//!
//! Shapes: H, W rows and columns; C channels. Sizes are `(width, height)`, as in Pillow.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod nearest;
mod passes;
mod weights;

use chinese_clip_config::Resample;

use crate::PreprocessError;
use weights::Weights;

/// Resizes interleaved u8 samples of 1 to 4 channels, each on its own: `[H, W, C] -> [H', W', C]`.
///
/// Sizes are `(width, height)`. Alpha is a channel like any other here; premultiply first.
///
/// # Errors
/// When an edge is zero, `channels` is not 1 to 4, or `pixels` does not hold `width * height * channels` samples.
pub fn resize(
    pixels: &[u8],
    channels: usize,
    from: (usize, usize),
    to: (usize, usize),
    filter: Resample,
) -> Result<Vec<u8>, PreprocessError> {
    let expected = from.0.checked_mul(from.1).and_then(|n| n.checked_mul(channels));
    if expected != Some(pixels.len()) || pixels.is_empty() || !(1..=4).contains(&channels) {
        return Err(PreprocessError::PixelCount { width: from.0, height: from.1, channels, found: pixels.len() });
    }
    if to.0 == 0 || to.1 == 0 {
        return Err(PreprocessError::NoPixels { width: to.0, height: to.1 });
    }
    Ok(resize_unchecked(pixels, channels, from, to, filter))
}

/// [`resize`] for sizes that are known to be right.
pub(super) fn resize_unchecked(
    pixels: &[u8],
    channels: usize,
    from: (usize, usize),
    to: (usize, usize),
    filter: Resample,
) -> Vec<u8> {
    if from == to {
        return pixels.to_vec();
    }
    if filter == Resample::Nearest {
        return nearest::nearest(pixels, channels, from, to);
    }
    let stride = from.0 * channels;
    let columns = Weights::new(from.0, to.0, filter).fixed();
    let rows = Weights::new(from.1, to.1, filter).fixed();
    match (from.0 == to.0, from.1 == to.1) {
        (true, _) => passes::vertical(pixels, 0, stride, &rows),
        (_, true) => passes::horizontal(pixels, channels, from.0, &columns),
        _ if vertical_first(from, to) => {
            let between = passes::vertical(pixels, 0, stride, &rows);
            passes::horizontal(&between, channels, from.0, &columns)
        }
        _ => {
            let needed = rows.needed();
            let used = &pixels[needed.start * stride..needed.end * stride];
            let between = passes::horizontal(used, channels, from.0, &columns);
            passes::vertical(&between, needed.start, to.0 * channels, &rows)
        }
    }
}

/// Which pass goes first: since Pillow 13 the vertical one, when it takes away more than twice the rows than the other one columns.
/// The rounding in between makes the order visible. Up to Pillow 12 the horizontal pass always went first.
fn vertical_first(from: (usize, usize), to: (usize, usize)) -> bool {
    from.1.saturating_sub(to.1) > from.0.saturating_sub(to.0).saturating_mul(2)
}

/// Modes `I;16` and `I`: sums in f64, rounded between the passes and then passed to `clip` (`ImagingResampleHorizontal_16bpc`, `_32bpc`).
pub(super) fn resize_wide(
    values: &[i32],
    from: (usize, usize),
    to: (usize, usize),
    filter: Resample,
    clip: fn(i32) -> i32,
) -> Vec<i32> {
    if from == to {
        return values.to_vec();
    }
    if filter == Resample::Nearest {
        return nearest::nearest(values, 1, from, to);
    }
    let sum = |values: &[i32], stride: usize, (first, weights): (usize, &[f64])| {
        let values = values.iter().skip(first * stride).step_by(stride);
        let sum: f64 = values.zip(weights).fold(0.0, |sum, (value, weight)| sum + f64::from(*value) * weight);
        clip(sum.round() as i32)
    };
    let columns = |values: Vec<i32>| -> Vec<i32> {
        let weights = Weights::new(from.0, to.0, filter);
        let row = |row: &[i32]| -> Vec<i32> { (0..to.0).map(|x| sum(row, 1, weights.at(x))).collect() };
        if from.0 == to.0 { values } else { values.chunks_exact(from.0).flat_map(row).collect() }
    };
    let rows = |values: Vec<i32>| -> Vec<i32> {
        let weights = Weights::new(from.1, to.1, filter);
        let width = values.len() / from.1;
        let row = |y| -> Vec<i32> { (0..width).map(|x| sum(&values[x..], width, weights.at(y))).collect() };
        if from.1 == to.1 { values } else { (0..to.1).flat_map(row).collect() }
    };
    if vertical_first(from, to) { columns(rows(values.to_vec())) } else { rows(columns(values.to_vec())) }
}

/// How `I;16` clips: its two bytes one by one, so that above 65535 the low byte stays.
pub(super) fn clip16(sum: i32) -> i32 {
    ((sum >> 8).clamp(0, 255) << 8) | (sum % 256).max(0)
}
