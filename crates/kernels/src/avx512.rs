//! Tiles of sums in the registers of AVX-512. The loop is written in assembly: compiled, it lacks registers for its pointers, and merges
//! what it reads of a row only to take it apart again, which costs 8 % at its best, and half the speed at its worst.
//!
//! Registers 0 to 7 are the sums of up to 8 rows with the first panel, 10 to 17 with the second, 20 to 27 with the third: the name of one
//! is that of the panel before that of the row.

use std::arch::asm;

use pulp::Simd;

use crate::tiles::{Dot, PANELS, ROWS, Sums, Tile, of_height};
use crate::{Isa, PANEL};

/// The products of group `$k` of a row, whose address is `$row` by `{upper}`, `{middle}` or `{lower}`, added to its sums.
macro_rules! row {
    ($dot:literal, $k:literal, $row:literal, $address:literal, $group:literal) => {
        concat!(
            concat!(".if {rows} > ", $row, "\n"),
            concat!("vpbroadcastd zmm", $group, ", [", $address, " + 4 * ", $k, "]\n"),
            concat!($dot, " zmm", $row, ", zmm", $group, ", zmm8\n"),
            concat!(".if {panels} > 1\n", $dot, " zmm1", $row, ", zmm", $group, ", zmm9\n.endif\n"),
            concat!(".if {panels} > 2\n", $dot, " zmm2", $row, ", zmm", $group, ", zmm18\n.endif\n"),
            ".endif\n",
        )
    };
}

/// The products of group `$k` from where the pointers are.
macro_rules! group {
    ($dot:literal, $k:literal) => {
        concat!(
            concat!("prefetcht1 [{next}]\n", "add {next}, {pace}\n"),
            concat!("vmovups zmm8, [{first} + 64 * ", $k, "]\n"),
            concat!(".if {panels} > 1\n", "vmovups zmm9, [{second} + 64 * ", $k, "]\n.endif\n"),
            concat!(".if {panels} > 2\n", "vmovups zmm18, [{third} + 64 * ", $k, "]\n.endif\n"),
            row!($dot, $k, "0", "{upper}", "28"),
            row!($dot, $k, "1", "{upper} + {stride}", "29"),
            row!($dot, $k, "2", "{upper} + 2 * {stride}", "30"),
            row!($dot, $k, "3", "{middle}", "31"),
            row!($dot, $k, "4", "{middle} + {stride}", "28"),
            row!($dot, $k, "5", "{middle} + 2 * {stride}", "29"),
            row!($dot, $k, "6", "{lower}", "30"),
            row!($dot, $k, "7", "{lower} + {stride}", "31"),
        )
    };
}

/// Moves the pointers by `$k` groups.
macro_rules! advance {
    ($k:literal) => {
        concat!(
            concat!("add {upper}, 4 * ", $k, "\n", "add {middle}, 4 * ", $k, "\n", "add {lower}, 4 * ", $k, "\n"),
            concat!("add {first}, 64 * ", $k, "\n", "add {second}, 64 * ", $k, "\n", "add {third}, 64 * ", $k, "\n"),
        )
    };
}

/// `$Name`: a [`Dot`] of `$Group` whose sums are `$Sum`, for machines of which `$has` is true; the instruction `$dot` adds the products of
/// 16 groups to 16 sums.
macro_rules! dot {
    ($Name:ident, $Group:ty, $Sum:ty, $has:ident, $dot:literal) => {
        /// A value exists only where the machine has the instruction.
        #[derive(Clone, Copy)]
        pub(crate) struct $Name(());

        impl $Name {
            pub(crate) fn of(isa: Isa) -> Option<Self> {
                isa.$has().then_some(Self(()))
            }

            #[inline(always)]
            fn sum<const R: usize, const P: usize>(tile: Tile<'_, $Group>, to: &mut Sums<$Sum>) {
                const { assert!(R <= 8 && P <= PANELS && PANELS == 3 && ROWS == 32 && PANEL == 16) };
                const { assert!(size_of::<$Group>() == 4 && size_of::<$Sum>() == 4) };
                let Tile { left, stride, groups, panels, next, pace, .. } = tile;
                assert!(left.len() >= (R - 1) * stride + groups);
                assert!(panels.len() == P && panels.iter().all(|panel| panel.len() == groups * PANEL));
                let row = |i: usize| left.as_ptr().wrapping_add(i * stride);
                let panel = |i: usize| panels[i.min(P - 1)].as_ptr();
                // SAFETY: the machine has the instructions, or there would be no `Self`. `R` rows of `groups` groups are read, which lie in
                // `left`, and `P` panels of as many times 16; `to` has 32 rows of 64 bytes for each of three panels, of which `R` are
                // written for `P`. A prefetch does not fault.
                unsafe {
                    asm!(
                        ".irp row, 0, 1, 2, 3, 4, 5, 6, 7",
                        "vpxord zmm\\row, zmm\\row, zmm\\row",
                        "vpxord zmm1\\row, zmm1\\row, zmm1\\row",
                        "vpxord zmm2\\row, zmm2\\row, zmm2\\row",
                        ".endr",
                        "sub {groups}, 4",
                        "jl 3f",
                        ".p2align 5",
                        "2:",
                        group!($dot, "0"),
                        group!($dot, "1"),
                        group!($dot, "2"),
                        group!($dot, "3"),
                        advance!("4"),
                        "sub {groups}, 4",
                        "jge 2b",
                        "3:",
                        "add {groups}, 4",
                        "jz 5f",
                        "4:",
                        group!($dot, "0"),
                        advance!("1"),
                        "dec {groups}",
                        "jnz 4b",
                        "5:",
                        ".irp row, 0, 1, 2, 3, 4, 5, 6, 7",
                        ".if {rows} > \\row",
                        "vmovups [{to} + 64 * \\row], zmm\\row",
                        ".if {panels} > 1",
                        "vmovups [{to} + 64 * (32 + \\row)], zmm1\\row",
                        ".endif",
                        ".if {panels} > 2",
                        "vmovups [{to} + 64 * (64 + \\row)], zmm2\\row",
                        ".endif",
                        ".endif",
                        ".endr",
                        rows = const R,
                        panels = const P,
                        upper = inout(reg) row(0) => _,
                        middle = inout(reg) row(3) => _,
                        lower = inout(reg) row(6) => _,
                        stride = in(reg) stride * 4,
                        first = inout(reg) panel(0) => _,
                        second = inout(reg) panel(1) => _,
                        third = inout(reg) panel(2) => _,
                        groups = inout(reg) groups => _,
                        next = inout(reg) next => _,
                        pace = in(reg) pace * 4,
                        to = in(reg) to.as_mut_ptr(),
                        out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _,
                        out("zmm4") _, out("zmm5") _, out("zmm6") _, out("zmm7") _,
                        out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _,
                        out("zmm12") _, out("zmm13") _, out("zmm14") _, out("zmm15") _,
                        out("zmm16") _, out("zmm17") _, out("zmm18") _, out("zmm19") _,
                        out("zmm20") _, out("zmm21") _, out("zmm22") _, out("zmm23") _,
                        out("zmm24") _, out("zmm25") _, out("zmm26") _, out("zmm27") _,
                        out("zmm28") _, out("zmm29") _, out("zmm30") _, out("zmm31") _,
                        options(nostack)
                    );
                }
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
                _: &mut Self,
                _: S,
                tile: Tile<'_, $Group>,
                sums: &mut Sums<$Sum>,
                _: &mut impl Iterator<Item = ()>,
            ) {
                match tile.panels.len() {
                    1 => of_height!(tile.height, R, N => Self::sum::<N, 1>(tile, sums)),
                    2 => of_height!(tile.height, R, N => Self::sum::<N, 2>(tile, sums)),
                    _ => of_height!(tile.height, R, N => Self::sum::<N, 3>(tile, sums)),
                }
            }
        }
    };
}

dot!(Vnni, u32, i32, has_vnni, "vpdpbusd");
dot!(Bf16, u32, f32, has_bf16, "vdpbf16ps");
dot!(Fma, f32, f32, has_avx512, "vfmadd231ps");
