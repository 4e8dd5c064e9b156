//! The two passes over u8 samples: Pillow 13.0.0, `ImagingResampleHorizontal_8bpc` and `ImagingResampleVertical_8bpc`.
//!
//! differs: the sums run in vector lanes. They are integers, so the order of the terms does not show.
//! `pulp` picks the widest instruction set of the machine; the loops are plain and LLVM vectorises them. Rows of colour go through
//! `kernels::Bands` where the machine has AVX512-VNNI.
//!
//! Shapes: H, W rows and columns; C channels; L lanes of a pixel (C, but 4 for RGB); T taps of a weight row.

#![expect(clippy::inline_always, reason = "only what is inlined into a dispatch is compiled for its instruction set")]

#[cfg(target_arch = "x86_64")]
use chinese_clip_kernels::Bands;
use pulp::{Arch, NullaryFnOnce};

use super::weights::{PRECISION_BITS, Weights};

/// Samples that one step multiplies.
pub(super) const STEP: usize = 8;
/// Rows that share the loads of the weights.
pub(super) const ROWS: usize = 4;
pub(super) const HALF: i32 = 1 << (PRECISION_BITS - 1);

#[inline(always)]
fn clip(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

/// Weights in the order of the samples: each repeated once per lane, rows padded with zeros to whole steps.
struct Expanded {
    /// First lane of the input, first and last step of the weights.
    spans: Vec<(usize, usize, usize)>,
    steps: Vec<[i32; STEP]>,
}

fn expand(weights: &Weights<i32>, lanes: usize) -> Expanded {
    let mut expanded = Expanded { spans: Vec::with_capacity(weights.len()), steps: Vec::new() };
    for position in 0..weights.len() {
        let (first, taps) = weights.at(position);
        let start = expanded.steps.len();
        for taps in taps.chunks(STEP / lanes) {
            let mut step = [0; STEP];
            for (lanes, tap) in step.chunks_exact_mut(lanes).zip(taps) {
                lanes.fill(*tap);
            }
            expanded.steps.push(step);
        }
        expanded.spans.push((first * lanes, start, expanded.steps.len()));
    }
    expanded
}

/// `[H, W, C] -> [H, W', C]`.
pub(super) fn horizontal(src: &[u8], channels: usize, width: usize, weights: &Weights<i32>) -> Vec<u8> {
    #[cfg(target_arch = "x86_64")]
    if let (3 | 4, Some(bands)) = (channels, Bands::new((0..weights.len()).map(|x| weights.at(x)))) {
        return match channels {
            3 => bands.apply::<3, PRECISION_BITS>(src, width),
            _ => bands.apply::<4, PRECISION_BITS>(src, width),
        };
    }
    match channels {
        1 => rows::<1, 1>(src, width, weights),
        2 => rows::<2, 2>(src, width, weights),
        3 => rows::<3, 4>(src, width, weights),
        _ => rows::<4, 4>(src, width, weights),
    }
}

fn rows<const C: usize, const L: usize>(src: &[u8], width: usize, weights: &Weights<i32>) -> Vec<u8> {
    let expanded = expand(weights, L);
    let (from, to) = (width * C, weights.len() * C);
    let mut out = vec![0; src.len() / from * to];
    let arch = Arch::new();
    #[cfg(target_arch = "x86_64")]
    let avx2 = pulp::x86::V3::try_new(); // `arch` is another one where there is AVX-512
    // Steps may run past the end of a row, where their weights are zero.
    let mut lanes = vec![vec![0_u8; width * L + STEP]; ROWS];
    for (src, out) in src.chunks(from * ROWS).zip(out.chunks_mut(to * ROWS)) {
        let rows = Horizontal::<C, L> { src, from, lanes: &mut lanes, weights: &expanded, out, to };
        #[cfg(target_arch = "x86_64")]
        if let (4, Some(simd)) = (L, avx2) {
            simd.vectorize(InAvx2 { rows, simd });
            continue;
        }
        arch.dispatch(rows);
    }
    out
}

/// Up to `ROWS` rows of the horizontal pass.
struct Horizontal<'a, const C: usize, const L: usize> {
    src: &'a [u8],
    from: usize,
    lanes: &'a mut [Vec<u8>],
    weights: &'a Expanded,
    out: &'a mut [u8],
    to: usize,
}

impl<const C: usize, const L: usize> NullaryFnOnce for Horizontal<'_, C, L> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (src, lanes) in self.src.chunks_exact(self.from).zip(&mut *self.lanes) {
            spread::<C, L>(src, lanes);
        }
        if let [a, b, c, d] = &*self.lanes {
            block::<C, L>([a, b, c, d], self.weights, self.out, self.to);
        }
    }
}

/// The same with the inner sum in AVX2.
#[cfg(target_arch = "x86_64")]
struct InAvx2<'a, const C: usize, const L: usize> {
    rows: Horizontal<'a, C, L>,
    simd: pulp::x86::V3,
}

#[cfg(target_arch = "x86_64")]
impl<const C: usize, const L: usize> NullaryFnOnce for InAvx2<'_, C, L> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { rows: Horizontal { src, from, lanes, weights, out, to }, simd } = self;
        for (src, lanes) in src.chunks_exact(from).zip(&mut *lanes) {
            spread::<C, L>(src, lanes);
        }
        let [a, b, c, d] = &*lanes else { return };
        for (x, &(first, start, end)) in weights.spans.iter().enumerate() {
            let steps = &weights.steps[start..end];
            let window = [a, b, c, d].map(|row| row[first..first + steps.len() * STEP].as_chunks::<STEP>().0);
            let pixels = super::avx2::pixels(simd, steps, window);
            for (pixel, out) in pixels.iter().zip(out.chunks_exact_mut(to)) {
                out[x * C..(x + 1) * C].copy_from_slice(&pixel[..C]);
            }
        }
    }
}

/// `[W, C] -> [W, L]`. What stands in a lane without a channel does not matter.
#[inline(always)]
fn spread<const C: usize, const L: usize>(src: &[u8], lanes: &mut [u8]) {
    if C == L {
        lanes[..src.len()].copy_from_slice(src);
    } else {
        for (pixel, lanes) in src.as_chunks::<C>().0.iter().zip(lanes.as_chunks_mut::<L>().0) {
            lanes[..C].copy_from_slice(pixel);
        }
    }
}

/// `ROWS x [W, L] -> [<= ROWS, W', C]`.
#[inline(always)]
fn block<const C: usize, const L: usize>(lanes: [&[u8]; ROWS], weights: &Expanded, out: &mut [u8], to: usize) {
    for (x, &(first, start, end)) in weights.spans.iter().enumerate() {
        let steps = &weights.steps[start..end];
        let window = lanes.map(|row| row[first..first + steps.len() * STEP].as_chunks::<STEP>().0);
        let mut sums = [[0_i32; STEP]; ROWS];
        for (((step, a), (b, c)), d) in steps.iter().zip(window[0]).zip(window[1].iter().zip(window[2])).zip(window[3])
        {
            for i in 0..STEP {
                sums[0][i] += i32::from(a[i]) * step[i];
                sums[1][i] += i32::from(b[i]) * step[i];
                sums[2][i] += i32::from(c[i]) * step[i];
                sums[3][i] += i32::from(d[i]) * step[i];
            }
        }
        for (sums, out) in sums.iter().zip(out.chunks_exact_mut(to)) {
            let mut pixel = [HALF; L];
            for lanes in sums.as_chunks::<L>().0 {
                for c in 0..L {
                    pixel[c] += lanes[c];
                }
            }
            for c in 0..C {
                out[x * C + c] = clip(pixel[c]);
            }
        }
    }
}

/// `[H, W * C] -> [H', W * C]`, where `src` starts at row `skipped` of the picture and a row has `stride` samples.
pub(super) fn vertical(src: &[u8], skipped: usize, stride: usize, weights: &Weights<i32>) -> Vec<u8> {
    let mut out = vec![0; weights.len() * stride];
    Arch::new().dispatch(Vertical { src, skipped, stride, weights, out: &mut out });
    out
}

/// The whole vertical pass.
struct Vertical<'a> {
    src: &'a [u8],
    skipped: usize,
    stride: usize,
    weights: &'a Weights<i32>,
    out: &'a mut [u8],
}

impl NullaryFnOnce for Vertical<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (y, out) in self.out.chunks_exact_mut(self.stride).enumerate() {
            let (first, taps) = self.weights.at(y);
            let rows = &self.src[(first - self.skipped) * self.stride..][..taps.len() * self.stride];
            let done = columns::<64>(rows, taps, out, 0);
            let done = columns::<8>(rows, taps, out, done);
            columns::<1>(rows, taps, out, done);
        }
    }
}

/// Sums `N` columns at a time from `start` on, as far as they go; returns where it stopped.
#[inline(always)]
fn columns<const N: usize>(rows: &[u8], taps: &[i32], out: &mut [u8], start: usize) -> usize {
    let stride = out.len();
    let (blocks, _) = out[start..].as_chunks_mut::<N>();
    let done = start + blocks.len() * N;
    for (i, block) in blocks.iter_mut().enumerate() {
        let x = start + i * N;
        let mut sums = [HALF; N];
        for (row, tap) in rows.chunks_exact(stride).zip(taps) {
            for (sum, sample) in sums.iter_mut().zip(&row[x..x + N]) {
                *sum += i32::from(*sample) * tap;
            }
        }
        for (out, sum) in block.iter_mut().zip(sums) {
            *out = clip(sum);
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use chinese_clip_config::Resample;

    use super::*;

    /// What runs where the processor has neither AVX512-VNNI nor AVX2.
    fn plain<const C: usize, const L: usize>(src: &[u8], width: usize, weights: &Weights<i32>) -> Vec<u8> {
        let to = weights.len() * C;
        let mut out = vec![0; src.len() / (width * C) * to];
        let mut lanes = vec![vec![0; width * L + STEP]; ROWS];
        let weights = &expand(weights, L);
        Horizontal::<C, L> { src, from: width * C, lanes: &mut lanes, weights, out: &mut out, to }.call();
        out
    }

    #[test]
    fn instruction_sets_agree() {
        let noise: Vec<u8> = (0..61 * 4 * 4_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for (width, to) in [(61, 7), (61, 60), (7, 61), (1, 9), (2, 1)] {
            for filter in [Resample::Lanczos, Resample::Bicubic, Resample::Box] {
                let weights = Weights::new(width, to, filter).fixed();
                for rows in 1..=ROWS {
                    let (rgb, rgba) = (&noise[..width * 3 * rows], &noise[..width * 4 * rows]);
                    let (plain_rgb, plain_rgba) =
                        (plain::<3, 4>(rgb, width, &weights), plain::<4, 4>(rgba, width, &weights));
                    assert_eq!(plain_rgb, horizontal(rgb, 3, width, &weights));
                    assert_eq!(plain_rgba, horizontal(rgba, 4, width, &weights));
                    assert_eq!(plain_rgb, super::rows::<3, 4>(rgb, width, &weights));
                    assert_eq!(plain_rgba, super::rows::<4, 4>(rgba, width, &weights));
                }
            }
        }
    }
}
