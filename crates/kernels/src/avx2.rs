//! Products of 8-bit numbers on AVX2, in 16 bits: `vpmaddubsw`, which takes 8, cuts sums off.

use std::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm256_add_epi32, _mm256_cvtepi8_epi16, _mm256_hadd_epi32, _mm256_madd_epi16,
    _mm256_permute4x64_epi64, _mm256_set1_epi64x, _mm256_setzero_si256, _mm256_storeu_si256,
};

use pulp::Simd;
use pulp::bytemuck::{cast, cast_slice, cast_slice_mut};

use crate::tiles::{Dot, Sums, Tile, of_height};
use crate::{Isa, PANEL};

/// The most rows of a tile: with half a panel, their sums take 12 of 16 registers.
const HEIGHT: usize = 6;
/// Columns whose sums are in registers at once, four in each.
const HALF: usize = PANEL / 2;

/// Four numbers in 16 bits each.
type Wide = [u16; 4];

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
    /// Room for the rows of a tile.
    type Ready = Vec<Wide>;

    fn rows(_: usize) -> usize {
        HEIGHT
    }

    fn ready(self, height: usize, groups: usize) -> Vec<Wide> {
        vec![Wide::default(); height * groups]
    }

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(
        room: &mut Vec<Wide>,
        _: S,
        tile: Tile<'_, u32>,
        sums: &mut Sums<i32>,
        _: &mut impl Iterator<Item = ()>,
    ) {
        for (to, row) in room.chunks_exact_mut(tile.groups).zip(0..tile.height) {
            let [row] = tile.rows(row);
            let bytes = cast_slice::<_, u8>(row);
            cast_slice_mut::<_, u16>(to).iter_mut().zip(bytes).for_each(|(to, byte)| *to = u16::from(*byte));
        }
        for (panel, sums) in tile.panels.iter().zip(sums) {
            for half in 0..2 {
                // SAFETY: the machine has the instructions, or there would be no `Madd`.
                of_height!(tile.height, HEIGHT, N => unsafe { sum::<N>(room, panel, half * HALF, sums) });
            }
        }
    }
}

/// The sums of `N` rows and the columns of a panel from `first` on.
#[target_feature(enable = "avx2")]
fn sum<const N: usize>(rows: &[Wide], panel: &[u32], first: usize, to: &mut [[i32; PANEL]]) {
    let panel = panel.as_chunks::<PANEL>().0;
    let rows: [&[Wide]; N] = std::array::from_fn(|i| &rows[i * panel.len()..][..panel.len()]);
    let mut sums = [[_mm256_setzero_si256(); 2]; N]; // of four columns each: a column has two
    for (group, weights) in panel.iter().enumerate() {
        let weights = [four(weights, first), four(weights, first + HALF / 2)];
        for (sums, row) in sums.iter_mut().zip(&rows) {
            // SAFETY: every row has as many groups as the panel.
            let numbers = _mm256_set1_epi64x(cast(unsafe { *row.get_unchecked(group) }));
            for (sum, weights) in sums.iter_mut().zip(weights) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(numbers, weights));
            }
        }
    }
    for (to, [left, right]) in to.iter_mut().zip(sums) {
        let columns = _mm256_hadd_epi32(left, right); // 0, 1, 4, 5, 2, 3, 6, 7
        let columns = _mm256_permute4x64_epi64::<0b11_01_10_00>(columns);
        // SAFETY: eight sums are 32 bytes.
        unsafe { _mm256_storeu_si256(to[first..first + HALF].as_mut_ptr().cast(), columns) };
    }
}

/// Four groups of weights, in 16 bits each.
#[inline]
#[target_feature(enable = "avx2")]
fn four(weights: &[u32; PANEL], first: usize) -> __m256i {
    // SAFETY: four groups are 16 bytes.
    _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(weights[first..first + HALF / 2].as_ptr().cast()) })
}
