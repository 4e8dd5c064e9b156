//! Products of 8-bit numbers on AVX2, in 16 bits: `vpmaddubsw`, which takes 8, cuts sums off.

use std::arch::x86_64::{
    __m256i, _mm_cvtepu8_epi16, _mm_cvtsi32_si128, _mm_loadu_si128, _mm256_add_epi32, _mm256_broadcastq_epi64,
    _mm256_cvtepi8_epi16, _mm256_hadd_epi32, _mm256_madd_epi16, _mm256_permute4x64_epi64, _mm256_setzero_si256,
    _mm256_storeu_si256,
};

use pulp::Simd;

use crate::tiles::{Dot, Sums, Tile};
use crate::{Isa, PANEL};

/// `vpmaddwd`. A value exists only where the machine has AVX2.
#[derive(Clone, Copy)]
pub(crate) struct Madd(());

impl Madd {
    pub(crate) fn of(isa: Isa) -> Option<Self> {
        isa.has_avx2().then_some(Self(()))
    }
}

impl Dot for Madd {
    type Group = u32;
    type Sum = i32;
    type Ready = Self;

    fn ready(self, _: usize, _: usize) -> Self {
        self
    }

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(
        _: &Self,
        _: S,
        tile: Tile<'_, u32>,
        sums: &mut Sums<i32>,
        _: &mut impl Iterator<Item = ()>,
    ) {
        for (panel, sums) in tile.panels.iter().zip(sums) {
            for (first, sums) in (0..tile.height).step_by(2).zip(sums.as_chunks_mut().0) {
                // SAFETY: the machine has the instructions, or there would be no `Self`.
                unsafe { sum(tile.rows(first), panel, sums) };
            }
        }
    }
}

#[target_feature(enable = "avx2")]
fn sum(rows: [&[u32]; 2], panel: &[u32], to: &mut [[i32; PANEL]; 2]) {
    const QUARTER: usize = PANEL / 4;
    let mut sums = [[_mm256_setzero_si256(); 4]; 2]; // of a quarter of the columns: each has two
    for ((first, second), weights) in rows[0].iter().zip(rows[1]).zip(panel.as_chunks::<PANEL>().0) {
        let groups = [wide(*first), wide(*second)];
        for (quarter, weights) in weights.as_chunks::<QUARTER>().0.iter().enumerate() {
            // SAFETY: four groups are 16 bytes.
            let weights = _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(weights.as_ptr().cast()) });
            for (sums, group) in sums.iter_mut().zip(groups) {
                sums[quarter] = _mm256_add_epi32(sums[quarter], _mm256_madd_epi16(group, weights));
            }
        }
    }
    for (to, sums) in to.iter_mut().zip(sums) {
        for (to, pair) in to.as_chunks_mut::<{ PANEL / 2 }>().0.iter_mut().zip(sums.as_chunks::<2>().0) {
            let columns = _mm256_hadd_epi32(pair[0], pair[1]); // 0, 1, 4, 5, 2, 3, 6, 7
            let columns = _mm256_permute4x64_epi64(columns, 0b11_01_10_00);
            // SAFETY: eight sums are 32 bytes.
            unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), columns) };
        }
    }
}

/// A group of four unsigned bytes in 16 bits each, four times.
#[inline]
#[target_feature(enable = "avx2")]
fn wide(group: u32) -> __m256i {
    _mm256_broadcastq_epi64(_mm_cvtepu8_epi16(_mm_cvtsi32_si128(group.cast_signed())))
}
