//! Sums over bands of bytes: the horizontal pass of a resize, by the dot products of AVX512-VNNI.
//!
//! Shapes: H, W rows and columns; C channels.

use std::arch::x86_64::{
    __m512i, _mm_loadu_si128, _mm_shuffle_epi8, _mm_storeu_si128, _mm512_add_epi32, _mm512_cvtusepi32_epi8,
    _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_max_epi32, _mm512_set1_epi32, _mm512_setzero_si512,
    _mm512_shuffle_i32x4, _mm512_slli_epi32, _mm512_srai_epi32,
};

use crate::Isa;
use crate::tiles::{LINE, prefetch};

/// Pixels whose samples of one channel lie side by side, as the instruction wants them.
const GROUP: usize = 4;
/// Channels of a group; the last may be empty.
const CHANNELS: usize = 4;
/// Bytes that one instruction multiplies: four groups.
const STEP: usize = 64;
/// Rows that share the loads of the weights.
const ROWS: usize = 4;
/// A weight is three signed digits of base 256.
const DIGITS: usize = 3;

/// The weights of a step, digit by digit, the lowest first.
#[derive(Clone)]
#[repr(align(64))]
struct Step([[i8; STEP]; DIGITS]);

/// Weights of neighbouring pixels for each pixel of a row.
pub struct Bands {
    /// First byte of a row in groups, first and last step.
    spans: Vec<(usize, usize, usize)>,
    steps: Vec<Step>,
}

impl Bands {
    /// From the first input pixel and the weights of each output pixel. `None` where the machine lacks the instruction, or a weight
    /// has more than 23 bits and a sign.
    pub fn new<'a>(weights: impl Iterator<Item = (usize, &'a [i32])>) -> Option<Self> {
        if !Isa::current().has_vnni() {
            return None;
        }
        let mut bands = Self { spans: Vec::new(), steps: Vec::new() };
        for (first, weights) in weights {
            let (group, skipped) = (first / GROUP, first % GROUP);
            let start = bands.steps.len();
            let pixels = STEP / CHANNELS;
            bands.steps.resize(start + (skipped + weights.len()).div_ceil(pixels), Step([[0; STEP]; DIGITS]));
            for (i, weight) in weights.iter().enumerate() {
                let (step, pixel) = ((skipped + i) / pixels, (skipped + i) % pixels);
                for (digits, digit) in bands.steps[start + step].0.iter_mut().zip(digits(*weight)?) {
                    for channel in 0..CHANNELS {
                        digits[pixel / GROUP * GROUP * CHANNELS + channel * GROUP + pixel % GROUP] = digit;
                    }
                }
            }
            bands.spans.push((group * GROUP * CHANNELS, start, bands.steps.len()));
        }
        Some(bands)
    }

    /// `[H, W, C] -> [H, W', C]` for 3 or 4 channels of u8: sums in wrapping i32, divided by `2^BITS`, rounded and clipped.
    ///
    /// # Panics
    /// When `src` has no whole rows of `width` pixels, or a band ends beyond them.
    pub fn apply<const C: usize, const BITS: u32>(&self, src: &[u8], width: usize) -> Vec<u8> {
        const { assert!(C == 3 || C == 4) };
        let (from, to) = (width * C, self.spans.len() * C);
        assert!(src.len().is_multiple_of(from), "rows of {width} pixels of {C} samples, {} bytes", src.len());
        let mut out = vec![0; src.len() / from * to];
        if out.is_empty() {
            return out;
        }
        // Steps may run past the end of a row, where their weights are zero.
        let mut groups = vec![vec![0; width.div_ceil(GROUP) * GROUP * CHANNELS + STEP]; ROWS];
        for (i, out) in out.chunks_mut(to * ROWS).enumerate() {
            // SAFETY: the machine has the instructions, or there would be no `self`.
            unsafe { self.rows::<C, BITS>(&src[i * ROWS * from..], from, &mut groups, out) };
        }
        out
    }

    /// The first rows of `from` bytes, as many as `out` has; those that follow are fetched.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    fn rows<const C: usize, const BITS: u32>(&self, src: &[u8], from: usize, groups: &mut [Vec<u8>], out: &mut [u8]) {
        for (src, groups) in src.chunks_exact(from).zip(&mut *groups) {
            regroup::<C>(src, groups);
        }
        let [a, b, c, d] = &*groups else { return };
        let to = self.spans.len() * C;
        let (next, share) = (&src[src.len().min(ROWS * from)..], (ROWS * from).div_ceil(self.spans.len()));
        for (x, &(first, start, end)) in self.spans.iter().enumerate() {
            for line in (x * share..(x + 1) * share).step_by(LINE) {
                prefetch(next.as_ptr().wrapping_add(line));
            }
            let steps = &self.steps[start..end];
            let windows = [a, b, c, d].map(|row| row[first..first + steps.len() * STEP].as_chunks().0);
            let pixels = sums::<BITS>(steps, windows);
            for (pixel, out) in pixels.as_chunks::<CHANNELS>().0.iter().zip(out.chunks_exact_mut(to)) {
                out[x * C..(x + 1) * C].copy_from_slice(&pixel[..C]);
            }
        }
    }
}

/// `None` for what needs more digits.
fn digits(weight: i32) -> Option<[i8; DIGITS]> {
    let (mut digits, mut rest) = ([0; DIGITS], weight);
    for digit in &mut digits {
        *digit = rest as i8;
        rest = rest.wrapping_sub(i32::from(*digit)) >> 8;
    }
    (rest == 0).then_some(digits)
}

/// `[W, C] -> [W / 4, 4, 4]`, channels before pixels. What stands in a channel that is not there does not matter.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn regroup<const C: usize>(src: &[u8], groups: &mut [u8]) {
    const BYTES: usize = GROUP * CHANNELS;
    let (groups, _) = groups.as_chunks_mut::<BYTES>();
    let order: [u8; BYTES] = std::array::from_fn(|i| (i % GROUP * C + (i / GROUP).min(C - 1)) as u8);
    // A whole vector is read, which is more than a group of three channels has.
    let whole = (src.len().saturating_sub(BYTES - GROUP * C)) / (GROUP * C);
    for (i, group) in groups[..whole].iter_mut().enumerate() {
        if let Some(samples) = src[i * GROUP * C..].first_chunk::<BYTES>() {
            // SAFETY: 16 bytes each.
            unsafe {
                let [samples, order] = [samples, &order].map(|bytes| _mm_loadu_si128(bytes.as_ptr().cast()));
                _mm_storeu_si128(group.as_mut_ptr().cast(), _mm_shuffle_epi8(samples, order));
            }
        }
    }
    for (i, pixel) in src.as_chunks::<C>().0.iter().enumerate().skip(whole * GROUP) {
        for (channel, sample) in pixel.iter().enumerate() {
            groups[i / GROUP][channel * GROUP + i % GROUP] = *sample;
        }
    }
}

/// One pixel of each of [`ROWS`] rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn sums<const BITS: u32>(steps: &[Step], rows: [&[[u8; STEP]]; ROWS]) -> [u8; ROWS * CHANNELS] {
    let mut sums = [[_mm512_setzero_si512(); DIGITS]; ROWS];
    let [a, b, c, d] = rows;
    for ((((step, a), b), c), d) in steps.iter().zip(a).zip(b).zip(c).zip(d) {
        let weights = step.0.map(|digits| load(&digits));
        for (sums, samples) in sums.iter_mut().zip([a, b, c, d]) {
            let samples = load(samples);
            for (sum, weights) in sums.iter_mut().zip(weights) {
                *sum = _mm512_dpbusd_epi32(*sum, samples, weights);
            }
        }
    }
    let [a, b, c, d] = sums.map(|[low, middle, high]| {
        let upper = _mm512_add_epi32(middle, _mm512_slli_epi32::<8>(high));
        _mm512_add_epi32(low, _mm512_slli_epi32::<8>(upper))
    });
    let sums = fold::<0b10_00_10_00, 0b11_01_11_01>(
        fold::<0b01_00_01_00, 0b11_10_11_10>(a, b),
        fold::<0b01_00_01_00, 0b11_10_11_10>(c, d),
    );
    let rounded = _mm512_srai_epi32::<BITS>(_mm512_add_epi32(sums, _mm512_set1_epi32(1 << (BITS - 1))));
    let levels = _mm512_max_epi32(rounded, _mm512_setzero_si512());
    let mut out = [0; ROWS * CHANNELS];
    // SAFETY: 16 bytes.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), _mm512_cvtusepi32_epi8(levels)) };
    out
}

/// The groups of `a` and `b` that the one mask selects, plus those of the other.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold<const ONE: i32, const OTHER: i32>(a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi32(_mm512_shuffle_i32x4::<ONE>(a, b), _mm512_shuffle_i32x4::<OTHER>(a, b))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load<T>(from: &[T; STEP]) -> __m512i {
    const { assert!(size_of::<T>() == 1) };
    // SAFETY: 64 bytes.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BITS: u32 = 22;

    /// Bands as wide as each divisor leaves them, with weights up to the largest; the last band ends with the row.
    fn bands(width: usize, outputs: usize) -> Vec<(usize, Vec<i32>)> {
        let weight = |i: usize| (i as i32).wrapping_mul(-1_640_531_527) >> 9;
        let first = |x: usize| x * width / outputs;
        (0..outputs).map(|x| (first(x), (first(x)..width.min(first(x) + 1 + 7 * x)).map(weight).collect())).collect()
    }

    fn plain<const C: usize>(src: &[u8], width: usize, bands: &[(usize, Vec<i32>)]) -> Vec<u8> {
        let sample = |row: &[u8], (first, weights): &(usize, Vec<i32>), channel: usize| {
            let products = weights.iter().enumerate().map(|(i, w)| i32::from(row[(first + i) * C + channel]) * w);
            let sum = products.fold(1 << (BITS - 1), i32::wrapping_add);
            (sum >> BITS).clamp(0, 255) as u8
        };
        let row = |row| bands.iter().flat_map(move |band| (0..C).map(move |channel| sample(row, band, channel)));
        src.chunks_exact(width * C).flat_map(row).collect()
    }

    #[test]
    fn sums_are_those_of_whole_numbers() {
        let noise: Vec<u8> = (0..9 * 131 * 4_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for (width, outputs) in [(1, 1), (3, 2), (4, 9), (5, 3), (16, 4), (61, 7), (131, 20)] {
            let bands = bands(width, outputs);
            let Some(packed) = Bands::new(bands.iter().map(|(first, weights)| (*first, weights.as_slice()))) else {
                return eprintln!("not run: this machine has no AVX512-VNNI, or it is forbidden");
            };
            for rows in 1..=9 {
                let (rgb, rgba) = (&noise[..rows * width * 3], &noise[..rows * width * 4]);
                assert_eq!(packed.apply::<3, BITS>(rgb, width), plain::<3>(rgb, width, &bands), "{rows} of {width}");
                assert_eq!(packed.apply::<4, BITS>(rgba, width), plain::<4>(rgba, width, &bands), "{rows} of {width}");
            }
        }
    }

    #[test]
    fn three_digits_or_none() {
        for weight in [0, 1, -1, 127, 128, -128, -129, 32_767, 32_768, 4_194_304, -4_194_304, 8_355_711, -8_421_504] {
            let value = digits(weight).map(|digits| digits.iter().rev().fold(0, |sum, d| sum * 256 + i32::from(*d)));
            assert_eq!(value, Some(weight));
        }
        for weight in [8_355_712, -8_421_505, i32::MAX, i32::MIN] {
            assert_eq!(digits(weight), None, "{weight}");
        }
    }
}
