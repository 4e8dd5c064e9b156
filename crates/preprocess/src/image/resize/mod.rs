//! Resizing, bit-exact with Pillow 13.0.0 (`Image.resize`, `src/libImaging/Resample.c`): two passes, horizontal then vertical,
//! weights in fixed point, samples rounded to u8 in between.
//!
//! Shapes: H, W rows and columns; C channels. Sizes are `(width, height)`, as in Pillow.

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
        return Err(PreprocessError::EmptyTarget { width: to.0, height: to.1 });
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
    let rows = Weights::new(from.1, to.1, filter).fixed();
    if from.0 == to.0 {
        return passes::vertical(pixels, 0, stride, &rows);
    }
    let columns = Weights::new(from.0, to.0, filter).fixed();
    if from.1 == to.1 {
        return passes::horizontal(pixels, channels, from.0, &columns);
    }
    let needed = rows.needed();
    let between = passes::horizontal(&pixels[needed.start * stride..needed.end * stride], channels, from.0, &columns);
    passes::vertical(&between, needed.start, to.0 * channels, &rows)
}

/// Mode `I;16`: sums in f64, rounded to u16 between the passes (`ImagingResampleHorizontal_16bpc`).
pub(super) fn resize_grey16(values: &[u16], from: (usize, usize), to: (usize, usize), filter: Resample) -> Vec<u16> {
    if from == to {
        return values.to_vec();
    }
    if filter == Resample::Nearest {
        return nearest::nearest(values, 1, from, to);
    }
    let mut values = values.to_vec();
    if from.0 != to.0 {
        let weights = Weights::new(from.0, to.0, filter);
        values = values.chunks_exact(from.0).flat_map(|row| (0..to.0).map(|x| sum16(row, 1, weights.at(x)))).collect();
    }
    if from.1 != to.1 {
        let weights = Weights::new(from.1, to.1, filter);
        let columns = |y| (0..to.0).map(move |x| (x, y));
        values = (0..to.1).flat_map(columns).map(|(x, y)| sum16(&values[x..], to.0, weights.at(y))).collect();
    }
    values
}

fn sum16(values: &[u16], stride: usize, (first, weights): (usize, &[f64])) -> u16 {
    let values = values.iter().skip(first * stride).step_by(stride);
    let sum: f64 = values.zip(weights).fold(0.0, |sum, (value, weight)| sum + f64::from(*value) * weight);
    sum.round() as u16
}
