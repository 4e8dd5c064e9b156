//! The inner sum of the horizontal pass for pixels of four lanes, in AVX2. LLVM vectorises the plain loop across the wrong axis there.
//!
//! `pulp` checks the processor and makes the instructions safe to call.

#![expect(clippy::inline_always, reason = "only what is inlined into a dispatch is compiled for its instruction set")]

use pulp::x86::V3;
use pulp::{cast, i32x4, i32x8, u8x16};

use super::passes::{HALF, ROWS, STEP};
use super::weights::PRECISION_BITS;

/// One output pixel of each of `ROWS` rows: the sum over two input pixels a step, rounded and clipped.
#[inline(always)]
pub(super) fn pixels(simd: V3, steps: &[[i32; STEP]], rows: [&[[u8; STEP]]; ROWS]) -> [[u8; 4]; ROWS] {
    let mut sums = [simd.splat_i32x8(0); ROWS];
    let [a, b, c, d] = rows;
    for ((((step, a), b), c), d) in steps.iter().zip(a).zip(b).zip(c).zip(d) {
        for (sum, samples) in sums.iter_mut().zip([a, b, c, d]) {
            let samples: u8x16 = cast([u64::from_le_bytes(*samples), 0]);
            let samples = simd.convert_u8x16_to_i32x8(samples);
            let products = simd.avx2._mm256_mullo_epi32(cast(samples), cast(*step));
            *sum = cast(simd.avx2._mm256_add_epi32(cast(*sum), products));
        }
    }
    sums.map(|sum| clip(simd, sum))
}

/// Adds the two pixels of a sum, rounds and clips.
#[inline(always)]
fn clip(simd: V3, sum: i32x8) -> [u8; 4] {
    let [even, odd]: [i32x4; 2] = cast(sum);
    let sum = simd.wrapping_add_i32x4(simd.wrapping_add_i32x4(even, odd), simd.splat_i32x4(HALF));
    let sum: i32x4 = cast(simd.sse2._mm_srai_epi32::<{ PRECISION_BITS as i32 }>(cast(sum)));
    // The first packing clips below, the second above.
    let words = simd.pack_with_unsigned_saturation_i32x4(sum, sum);
    let bytes: [[u8; 4]; 4] = cast(simd.pack_with_unsigned_saturation_i16x8(cast(words), cast(words)));
    bytes[0]
}
