//! Instruction sets, and how a kernel is compiled for each.

use std::sync::OnceLock;

use pulp::{Scalar256b, Simd, WithSimd};

#[cfg(target_arch = "x86_64")]
use crate::amx;

/// The environment variable that overrides the choice: `portable`, `avx2`, `avx512`, `avx512vnni`, `avx512bf16`, `amx` or `neon`. A set
/// that the machine lacks counts as `portable`.
pub const VARIABLE: &str = "CHINESE_CLIP_ISA";

/// An instruction set that this machine has.
#[derive(Debug, Clone, Copy)]
pub struct Isa(Kind);

#[derive(Debug, Clone, Copy)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(pulp::x86::V3),
    #[cfg(target_arch = "x86_64")]
    Avx512(pulp::x86::V4, Dots),
    #[cfg(target_arch = "aarch64")]
    Neon(pulp::aarch64::Neon),
}

/// Products of short numbers that a machine with AVX-512 has: each has those before it.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
enum Dots {
    None,
    Vnni,
    Bf16,
    Amx,
}

impl Isa {
    /// The one that [`VARIABLE`] names, or the best; chosen once.
    pub fn current() -> Self {
        static CHOSEN: OnceLock<Isa> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let wanted = std::env::var(VARIABLE).ok();
            let available = Self::available();
            let found = available.iter().rev().find(|isa| wanted.as_deref().is_none_or(|name| name == isa.name()));
            found.copied().unwrap_or(Self(Kind::Portable))
        })
    }

    /// All of this machine, the best last.
    pub fn available() -> Vec<Self> {
        let mut kinds = vec![Kind::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            kinds.extend(pulp::x86::V3::try_new().map(Kind::Avx2));
            if let Some(simd) = pulp::x86::V4::try_new() {
                let vnni = is_x86_feature_detected!("avx512vnni");
                let bf16 = vnni && is_x86_feature_detected!("avx512bf16");
                let amx = bf16 && amx::available();
                let dots = [(true, Dots::None), (vnni, Dots::Vnni), (bf16, Dots::Bf16), (amx, Dots::Amx)];
                kinds.extend(dots.into_iter().filter(|(found, _)| *found).map(|(_, dots)| Kind::Avx512(simd, dots)));
            }
        }
        #[cfg(target_arch = "aarch64")]
        kinds.extend(pulp::aarch64::Neon::try_new().map(Kind::Neon));
        kinds.into_iter().map(Self).collect()
    }

    /// As [`VARIABLE`] spells it.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_, Dots::None) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_, Dots::Vnni) => "avx512vnni",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_, Dots::Bf16) => "avx512bf16",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_, Dots::Amx) => "amx",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon(_) => "neon",
        }
    }

    /// Whether bf16 is multiplied faster than f32, by instructions of its own.
    pub fn multiplies_bf16(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self.has_bf16();
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// Whether there is AMX for bf16 and 8 bits.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn has_amx(self) -> bool {
        matches!(self.0, Kind::Avx512(_, Dots::Amx))
    }

    /// Whether there is AVX-512.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn has_avx512(self) -> bool {
        matches!(self.0, Kind::Avx512(..))
    }

    /// Whether there is AVX512-BF16.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn has_bf16(self) -> bool {
        matches!(self.0, Kind::Avx512(_, dots) if dots >= Dots::Bf16)
    }

    /// Whether there is AVX512-VNNI.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn has_vnni(self) -> bool {
        matches!(self.0, Kind::Avx512(_, dots) if dots >= Dots::Vnni)
    }

    /// Whether there is AVX2.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn has_avx2(self) -> bool {
        matches!(self.0, Kind::Avx2(_) | Kind::Avx512(..))
    }

    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Kind::Portable => Scalar256b.vectorize(Run::<K, 4, 2>(kernel)),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(simd) => Simd::vectorize(simd, Run::<K, 6, 2>(kernel)),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(simd, _) => Simd::vectorize(simd, Run::<K, 8, 1>(kernel)),
            #[cfg(target_arch = "aarch64")]
            Kind::Neon(simd) => Simd::vectorize(simd, Run::<K, 6, 4>(kernel)),
        }
    }
}

/// Work that is compiled for each instruction set.
///
/// `V` vectors are [`PANEL`](crate::PANEL) numbers. The sums of `R` rows and a panel fill the registers, but for AVX-512.
/// Implementations are `#[inline(always)]`: they must become part of the function that has the instructions.
pub(crate) trait Kernel {
    type Output;
    fn run<S: Simd, const R: usize, const V: usize>(self, simd: S) -> Self::Output;
}

struct Run<K, const R: usize, const V: usize>(K);

impl<K: Kernel, const R: usize, const V: usize> WithSimd for Run<K, R, V> {
    type Output = K::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> K::Output {
        self.0.run::<S, R, V>(simd)
    }
}
