//! Tiles of sums in the registers of AVX-512, which the compiler finds only if each has a function of its own.

use std::arch::x86_64::{
    __m512i, _mm512_castps_si512, _mm512_castsi512_ps, _mm512_dpbf16_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps,
    _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_storeu_si512,
};

use pulp::Simd;

use crate::tiles::{Dot, PANELS, Sums, Tile, of_height, prefetch};
use crate::{Isa, PANEL};

/// The most rows of a tile.
const ROWS: usize = 8;

/// `$Name`: a [`Dot`] of `$Group` whose sums are `$Sum`, for machines of which `$has` is true; `$dot` adds the products of 16 groups to 16 sums.
macro_rules! dot {
    ($Name:ident, $Group:ty, $Sum:ty, $has:ident, $features:literal, $module:ident, $dot:expr) => {
        /// A value exists only where the machine has the instruction.
        #[derive(Clone, Copy)]
        pub(crate) struct $Name(());

        impl $Name {
            pub(crate) fn of(isa: Isa) -> Option<Self> {
                isa.$has().then_some(Self(()))
            }
        }

        impl Dot for $Name {
            type Group = $Group;
            type Sum = $Sum;
            type Ready = Self;

            fn ready(self, _: usize, _: usize) -> Self {
                self
            }

            #[inline(always)]
            fn tile<S: Simd, const R: usize, const V: usize>(
                _: &Self,
                _: S,
                tile: Tile<'_, $Group>,
                sums: &mut Sums<$Sum>,
            ) {
                // SAFETY: the machine has the instructions, or there would be no `Self`.
                unsafe {
                    match *tile.panels {
                        [a] => $module::of_height(tile, [a], sums),
                        [a, b] => $module::of_height(tile, [a, b], sums),
                        [a, b, c] => $module::of_height(tile, [a, b, c], sums),
                        _ => {}
                    }
                }
            }
        }

        mod $module {
            use super::*;

            #[target_feature(enable = $features)]
            pub(super) fn of_height<const P: usize>(
                tile: Tile<'_, $Group>,
                panels: [&[$Group]; P],
                to: &mut Sums<$Sum>,
            ) {
                of_height!(tile.height, ROWS, N => sum::<N, P>(tile.rows(0), panels, (tile.next, tile.pace), to));
            }

            #[target_feature(enable = $features)]
            fn sum<const R: usize, const P: usize>(
                rows: [&[$Group]; R],
                panels: [&[$Group]; P],
                (next, pace): (*const $Group, usize),
                to: &mut Sums<$Sum>,
            ) {
                const { assert!(R <= ROWS && P <= PANELS && size_of::<$Group>() == 4 && size_of::<$Sum>() == 4) };
                let depth = rows[0].len();
                assert!(rows.iter().all(|row| row.len() == depth));
                assert!(panels.iter().all(|panel| panel.len() == depth * PANEL));
                let mut sums = [[_mm512_setzero_si512(); R]; P];
                for p in 0..depth {
                    prefetch(next.wrapping_add(p * pace));
                    // SAFETY: p < depth, and every panel has `depth` times 16 groups.
                    let weights: [__m512i; P] = std::array::from_fn(|j| unsafe {
                        _mm512_loadu_si512(panels[j].as_ptr().add(p * PANEL).cast())
                    });
                    for (r, row) in rows.iter().enumerate() {
                        // SAFETY: p < depth, and every row has `depth` groups of 4 bytes.
                        let group = _mm512_set1_epi32(unsafe { row.as_ptr().add(p).cast::<i32>().read() });
                        for (sums, weights) in sums.iter_mut().zip(weights) {
                            sums[r] = $dot(sums[r], group, weights);
                        }
                    }
                }
                for (to, sums) in to.iter_mut().zip(&sums) {
                    for (to, sum) in to.iter_mut().zip(sums) {
                        // SAFETY: a row of a panel has 16 sums of 4 bytes.
                        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), *sum) };
                    }
                }
            }
        }
    };
}

dot!(Vnni, u32, i32, has_vnni, "avx512f,avx512vnni", vnni, |sums, group, weights| {
    _mm512_dpbusd_epi32(sums, group, weights)
});

dot!(Bf16, u32, f32, has_bf16, "avx512f,avx512bf16", bf16, |sums, group, weights| {
    // SAFETY: both are 64 bytes of which every pattern is a value.
    let [group, weights] =
        unsafe { std::mem::transmute::<[__m512i; 2], [std::arch::x86_64::__m512bh; 2]>([group, weights]) };
    _mm512_castps_si512(_mm512_dpbf16_ps(_mm512_castsi512_ps(sums), group, weights))
});

dot!(Fma, f32, f32, has_avx512, "avx512f", fma, |sums, group, weights| {
    let [sums, group, weights] = [sums, group, weights].map(|x| _mm512_castsi512_ps(x));
    _mm512_castps_si512(_mm512_fmadd_ps(group, weights, sums))
});
