//! Filters and their fixed-point weights: Pillow 13.0.0, `src/libImaging/Resample.c`, `precompute_coeffs` and `normalize_coeffs_8bpc`.

use std::f64::consts::PI;

use chinese_clip_config::Resample;

/// Bits behind the binary point of a weight: 32, less 8 for the pixel and 2 for the overshoot of the filter.
pub(super) const PRECISION_BITS: u32 = 32 - 8 - 2;

/// Half the width of a filter, in output pixels when shrinking and input pixels when enlarging.
fn support(filter: Resample) -> f64 {
    match filter {
        Resample::Nearest => 0.0,
        Resample::Box => 0.5,
        Resample::Bilinear | Resample::Hamming => 1.0,
        Resample::Bicubic => 2.0,
        Resample::Lanczos => 3.0,
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) }
}

fn evaluate(filter: Resample, x: f64) -> f64 {
    const A: f64 = -0.5;
    let abs = x.abs();
    match filter {
        Resample::Box => f64::from(x > -0.5 && x <= 0.5),
        Resample::Bilinear if abs < 1.0 => 1.0 - abs,
        Resample::Hamming if abs == 0.0 => 1.0,
        Resample::Hamming if abs < 1.0 => {
            let x = abs * PI;
            x.sin() / x * (0.54 + 0.46 * x.cos())
        }
        Resample::Bicubic if abs < 1.0 => ((A + 2.0) * abs - (A + 3.0)) * abs * abs + 1.0,
        Resample::Bicubic if abs < 2.0 => (((abs - 5.0) * abs + 8.0) * abs - 4.0) * A,
        Resample::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
        _ => 0.0,
    }
}

/// For each output position: the first input position and the weights from there on.
pub(super) struct Weights<T> {
    first: Vec<usize>,
    end: Vec<usize>,
    values: Vec<T>,
}

impl Weights<f64> {
    /// Normalised weights of one axis. `from` and `to` are positive.
    pub(super) fn new(from: usize, to: usize, filter: Resample) -> Self {
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0);
        let support = support(filter) * stretch;
        let mut weights = Self { first: Vec::with_capacity(to), end: Vec::with_capacity(to), values: Vec::new() };
        for position in 0..to {
            let center = (position as f64 + 0.5) * scale;
            // Casts truncate toward zero and saturate at zero.
            let first = (center - support + 0.5) as usize;
            let last = ((center + support + 0.5) as usize).min(from);
            let start = weights.values.len();
            let inverse = 1.0 / stretch;
            weights.values.extend((first..last).map(|x| evaluate(filter, (x as f64 - center + 0.5) * inverse)));
            let sum: f64 = weights.values[start..].iter().sum();
            if sum != 0.0 {
                weights.values[start..].iter_mut().for_each(|w| *w /= sum);
            }
            weights.first.push(first);
            weights.end.push(weights.values.len());
        }
        weights
    }

    /// Rounded to fixed point, away from zero at one half.
    pub(super) fn fixed(self) -> Weights<i32> {
        let one = f64::from(1 << PRECISION_BITS);
        let values =
            self.values.iter().map(|w| (if *w < 0.0 { w * one - 0.5 } else { w * one + 0.5 }) as i32).collect();
        Weights { first: self.first, end: self.end, values }
    }
}

impl<T> Weights<T> {
    /// Number of output positions.
    pub(super) fn len(&self) -> usize {
        self.first.len()
    }

    /// First input position and weights of an output position.
    pub(super) fn at(&self, position: usize) -> (usize, &[T]) {
        let start = if position == 0 { 0 } else { self.end[position - 1] };
        (self.first[position], &self.values[start..self.end[position]])
    }

    /// The input positions that any output position needs.
    pub(super) fn needed(&self) -> std::ops::Range<usize> {
        if self.len() == 0 {
            return 0..0;
        }
        let (last, weights) = self.at(self.len() - 1);
        self.first[0]..last + weights.len()
    }
}
