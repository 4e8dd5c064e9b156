//! Tiles of sums in the registers of AMX. It is written in assembly: stable Rust has no intrinsics of it.
//!
//! A register holds 16 rows of 64 bytes. Four hold the sums of 32 rows and two panels, two some groups of the rows, two the same groups
//! of the panels. Panels of fewer inputs than a register holds, and fewer rows, have smaller registers. Numbers of f32 come in three parts of
//! bf16 (`split.rs`).

use std::arch::asm;
use std::marker::PhantomData;

use pulp::Simd;

use crate::tiles::{Dot, ROWS, Sums, Tile};
use crate::{Isa, PANEL};

/// Rows of a register, and groups of one.
const STEP: usize = 16;

/// Whether the machine and its system have AMX for bf16 and 8 bits; asks Linux for the registers, which a process must.
pub(crate) fn available() -> bool {
    #[cfg(all(target_os = "linux", not(miri)))]
    {
        use std::arch::x86_64::__cpuid_count;
        const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
        const XFEATURE_XTILEDATA: libc::c_long = 18;
        const BF16_TILE_INT8: u32 = 1 << 22 | 1 << 24 | 1 << 25;
        // SAFETY: the call has no pointers, and changes nothing but what the process may do.
        let permitted = || unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 };
        __cpuid_count(7, 0).edx & BF16_TILE_INT8 == BF16_TILE_INT8 && permitted()
    }
    #[cfg(not(all(target_os = "linux", not(miri))))]
    false
}

/// What `ldtilecfg` reads: the bytes of a row and the rows of each register.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start: u8,
    reserved: [u8; 14],
    bytes: [u16; 16],
    rows: [u8; 16],
}

/// Holds the shapes of this thread's registers, for tiles of `height` rows and steps of `step` groups.
pub(crate) struct Ready {
    height: usize,
    step: usize,
    of_this_thread: PhantomData<*const ()>,
}

impl Ready {
    /// # Safety
    /// The machine has AMX, the process may use it, and no other `Ready` of this thread is alive.
    unsafe fn new(height: usize, groups: usize) -> Self {
        let step = groups.min(STEP);
        let [upper, lower] = heights(height);
        let mut shapes = Shapes { palette: 1, start: 0, reserved: [0; 14], bytes: [0; 16], rows: [0; 16] };
        for (register, [rows, groups]) in [
            [upper, PANEL],
            [upper, PANEL],
            [lower, PANEL],
            [lower, PANEL],
            [upper, step],
            [lower, step],
            [step, PANEL],
            [step, PANEL],
        ]
        .into_iter()
        .enumerate()
        {
            (shapes.rows[register], shapes.bytes[register]) = (rows as u8, groups as u16 * 4);
        }
        // SAFETY: there is AMX, and the shapes are within its limits: 1 to 16 rows of 4 to 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const shapes, options(nostack, readonly)) };
        Self { height, step, of_this_thread: PhantomData }
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        // SAFETY: there is AMX, or there would be no `Ready`.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// Rows of the upper registers and of the lower ones, which have one even where it is none of the tile's.
fn heights(height: usize) -> [usize; 2] {
    assert!((1..=ROWS).contains(&height), "a tile of {height} rows");
    let upper = height.min(STEP);
    [upper, (height - upper).max(1)]
}

/// Loads registers from both rows and two panels, and adds their four products by `$dot`.
macro_rules! whole_step {
    ($dot:literal) => {
        concat!(
            "tileloadd tmm6, [{first} + {line}]\n",
            "tileloadd tmm4, [{upper} + {stride}]\n",
            concat!($dot, " tmm0, tmm4, tmm6\n"),
            "tileloadd tmm7, [{second} + {line}]\n",
            concat!($dot, " tmm1, tmm4, tmm7\n"),
            "tileloadd tmm5, [{lower} + {stride}]\n",
            concat!($dot, " tmm2, tmm5, tmm6\n"),
            concat!($dot, " tmm3, tmm5, tmm7\n"),
        )
    };
}

/// The same of the parts of each number, each pair of parts but the three smallest: one of the two stays in its registers.
macro_rules! split_step {
    ($dot:literal) => {
        concat!(
            "tileloadd tmm6, [{first} + {line} + 2048]\n",
            "tileloadd tmm7, [{second} + {line} + 2048]\n",
            split_step!(rows $dot, "0"),
            split_step!(panels $dot, "0"),
            split_step!(panels $dot, "1024"),
            split_step!(rows $dot, "64"),
            split_step!(panels $dot, "0"),
            split_step!(rows $dot, "128"),
        )
    };
    (rows $dot:literal, $part:literal) => {
        concat!(
            concat!("tileloadd tmm4, [{upper} + {stride} + ", $part, "]\n"),
            concat!($dot, " tmm0, tmm4, tmm6\n"),
            concat!($dot, " tmm1, tmm4, tmm7\n"),
            concat!("tileloadd tmm5, [{lower} + {stride} + ", $part, "]\n"),
            concat!($dot, " tmm2, tmm5, tmm6\n"),
            concat!($dot, " tmm3, tmm5, tmm7\n"),
        )
    };
    (panels $dot:literal, $part:literal) => {
        concat!(
            concat!("tileloadd tmm6, [{first} + {line} + ", $part, "]\n"),
            concat!($dot, " tmm0, tmm4, tmm6\n"),
            concat!($dot, " tmm2, tmm5, tmm6\n"),
            concat!("tileloadd tmm7, [{second} + {line} + ", $part, "]\n"),
            concat!($dot, " tmm1, tmm4, tmm7\n"),
            concat!($dot, " tmm3, tmm5, tmm7\n"),
        )
    };
}

/// `$Name`: a [`Dot`] whose sums are `$Sum`, by the instruction `$dot`; `$step` multiplies all `$parts` parts of a step.
macro_rules! dot {
    ($Name:ident, $Sum:ty, $parts:literal, $step:ident, $dot:literal) => {
        /// A value exists only where the machine has the instruction.
        #[derive(Clone, Copy)]
        pub(crate) struct $Name(());

        impl $Name {
            pub(crate) fn of(isa: Isa) -> Option<Self> {
                isa.has_amx().then_some(Self(()))
            }
        }

        impl Dot for $Name {
            type Group = u32;
            type Sum = $Sum;
            type Ready = Ready;

            const PANELS: usize = 2;

            /// Of 2 MiB, which machines with AMX have.
            const BLOCK: usize = 1 << 18;

            fn rows(_: usize) -> usize {
                ROWS
            }

            fn ready(self, height: usize, groups: usize) -> Ready {
                // SAFETY: there is AMX, or there would be no `self`; callers drop one before they ask for the next.
                unsafe { Ready::new(height, groups) }
            }

            #[inline(always)]
            fn tile<S: Simd, const R: usize, const V: usize>(
                ready: &mut Ready,
                _: S,
                Tile { left, stride, groups, panels, next, pace, onto, .. }: Tile<'_, u32>,
                sums: &mut Sums<$Sum>,
                meanwhile: &mut impl Iterator<Item = ()>,
            ) {
                let (step, [upper, lower]) = (ready.step * $parts, heights(ready.height));
                assert!(left.len() >= (ready.height - 1) * stride + groups && ready.step == groups.min(STEP));
                assert!($parts == 1 || groups.is_multiple_of(STEP * $parts));
                assert!(panels.iter().all(|panel| panel.len() == groups * PANEL));
                let panels = [panels[0], panels.get(1).unwrap_or(&panels[0])];
                let room;
                let last = if groups.is_multiple_of(step) {
                    panels.map(|panel| panel[(groups - step) * PANEL..].as_ptr())
                } else {
                    room = panels.map(last_step);
                    [room[0].as_ptr(), room[1].as_ptr()]
                };
                // Eight times a step. Few tiles wait for memory as it is.
                let ahead = if pace > PANEL / 2 * $parts { 0 } else { pace * STEP / 8 };
                let below = if ready.height > upper { upper } else { upper - lower };
                let rows = [0, below].map(|row| left[row * stride..].as_ptr());
                let back = groups.next_multiple_of(step) - groups;
                let steps = groups.div_ceil(step);
                // SAFETY: `ready` has set the shapes, and the registers keep the sums from one block to the next: compiled code has no use
                // for them, and `meanwhile` has none. The rows lie in `left`, the upper ones from its start, the lower ones from row
                // `below` on: `step` groups of each are read at every step and at the end of the row. Panels have as many groups as rows,
                // and 16 sums; `sums` has 32 rows of 64 bytes for each of two panels, of which the upper 16 and the lower 16 are read or written. With
                // parts a step is as many times 16 groups, which rows and panels are whole numbers of.
                unsafe {
                    if onto {
                        asm!(
                            "tileloadd tmm0, [{sums} + {line}]",
                            "tileloadd tmm1, [{sums} + {line} + 2048]",
                            "tileloadd tmm2, [{sums} + {line} + 1024]",
                            "tileloadd tmm3, [{sums} + {line} + 3072]",
                            line = in(reg) PANEL * 4,
                            sums = in(reg) sums.as_ptr(),
                            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                            options(nostack, readonly)
                        );
                    } else {
                        asm!(
                            "tilezero tmm0",
                            "tilezero tmm1",
                            "tilezero tmm2",
                            "tilezero tmm3",
                            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                            options(nostack, nomem)
                        );
                    }
                    let mut due = 0;
                    for i in 0..steps - 1 {
                        asm!(
                            // The next groups of the panels come from the second cache; with parts there is enough to do meanwhile.
                            concat!(".if ", $parts, " == 1"),
                            ".irp line, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
                            "prefetcht0 [{first} + 1024 + 64 * \\line]",
                            "prefetcht0 [{second} + 1024 + 64 * \\line]",
                            ".endr",
                            ".endif",
                            ".rept 8",
                            "prefetcht1 [{next}]",
                            "add {next}, {pace}",
                            ".endr",
                            $step!($dot),
                            first = in(reg) panels[0].as_ptr().add(i * step * PANEL),
                            second = in(reg) panels[1].as_ptr().add(i * step * PANEL),
                            upper = in(reg) rows[0].add(i * step),
                            lower = in(reg) rows[1].add(i * step),
                            next = inout(reg) next.wrapping_add(i * ahead * 8) => _,
                            pace = in(reg) ahead * 4,
                            stride = in(reg) stride * 4,
                            line = in(reg) PANEL * 4,
                            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                            options(nostack, readonly)
                        );
                        due += ready.height;
                        while due >= steps {
                            due -= steps;
                            meanwhile.next();
                        }
                    }
                    asm!(
                        $step!($dot),
                        "tilestored [{sums} + {line}], tmm0",
                        "tilestored [{sums} + {line} + 2048], tmm1",
                        "tilestored [{sums} + {line} + 1024], tmm2",
                        "tilestored [{sums} + {line} + 3072], tmm3",
                        first = in(reg) last[0],
                        second = in(reg) last[1],
                        upper = in(reg) rows[0].add((steps - 1) * step - back),
                        lower = in(reg) rows[1].add((steps - 1) * step - back),
                        stride = in(reg) stride * 4,
                        line = in(reg) PANEL * 4,
                        sums = in(reg) sums.as_mut_ptr(),
                        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                        out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                        options(nostack)
                    );
                }
            }
        }
    };
}

dot!(Bf16, f32, 1, whole_step, "tdpbf16ps");
dot!(Int8, i32, 1, whole_step, "tdpbusd");
dot!(Split, f32, 3, split_step, "tdpbf16ps");

/// The last [`STEP`] groups of a panel, without those that whole steps have before them.
fn last_step(panel: &[u32]) -> [u32; STEP * PANEL] {
    let rest = panel.len() % (STEP * PANEL);
    let mut step = [0; STEP * PANEL];
    step[STEP * PANEL - rest..].copy_from_slice(&panel[panel.len() - rest..]);
    step
}
