//! Activation functions of vectors. All come down to one exponential.

use pulp::Simd;

use crate::Isa;
use crate::isa::Kernel;

/// An activation function.
///
/// Largest error against f64 over -30 to 30, in units of the last place of the result (tested): `8 + 4 x^2`, since the argument of
/// an exponential is rounded before it. Results below 1e-30 in magnitude count as 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x`.
    Identity,
    /// `x * Phi(x)`, by the error function.
    Gelu,
    /// The approximation of GELU by a hyperbolic tangent.
    GeluTanh,
    /// `x * sigmoid(1.702 * x)`.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
    /// `x * sigmoid(x)`.
    Silu,
}

/// Applies it to every number.
pub fn activate(isa: Isa, activation: Activation, x: &mut [f32]) {
    isa.run(Activate { activation, x });
}

struct Activate<'a> {
    activation: Activation,
    x: &'a mut [f32],
}

impl Kernel for Activate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const R: usize, const V: usize>(self, simd: S) {
        let (vectors, rest) = S::as_mut_simd_f32s(self.x);
        for x in vectors {
            *x = self.activation.of(simd, *x);
        }
        if !rest.is_empty() {
            let y = self.activation.of(simd, simd.partial_load_f32s(rest));
            simd.partial_store_f32s(rest, y);
        }
    }
}

impl Activation {
    #[inline(always)]
    pub(crate) fn of<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        match self {
            Self::Identity => x,
            Self::Gelu => gelu(simd, x),
            Self::GeluTanh => {
                // 0.5 * (1 + tanh(u)) = sigmoid(2 * u)
                let cubic = simd.mul_add_f32s(simd.splat_f32s(0.044_715), simd.mul_f32s(x, x), simd.splat_f32s(1.0));
                let twice = simd.mul_f32s(simd.splat_f32s(1.595_769), x); // 2 * sqrt(2 / pi)
                gated(simd, x, simd.mul_f32s(twice, cubic))
            }
            Self::QuickGelu => gated(simd, x, simd.mul_f32s(simd.splat_f32s(1.702), x)),
            Self::Relu => {
                let negative = simd.less_than_f32s(x, simd.splat_f32s(0.0));
                simd.select_f32s(negative, simd.splat_f32s(0.0), x) // keeps NaN
            }
            Self::Silu => gated(simd, x, x),
        }
    }
}

/// `x * sigmoid(y)`.
#[inline(always)]
fn gated<S: Simd>(simd: S, x: S::f32s, y: S::f32s) -> S::f32s {
    let e = exp(simd, simd.neg_f32s(y));
    simd.div_f32s(x, simd.add_f32s(simd.splat_f32s(1.0), e))
}

/// `erfc(z) * exp(z^2) / t` in powers of `t = 1 / (1 + 0.35 z)`: a weighted least-squares fit over 0 to 13 that is within
/// 1e-8 relative.
const ERFC: [f32; 10] = [
    0.197_471_23,
    0.197_375_18,
    0.185_989_29,
    0.159_878_97,
    0.121_518_79,
    0.131_649_1,
    -0.080_210_69,
    0.220_045_18,
    -0.175_032_51,
    0.041_315_47,
];

/// With `a = |x|` and `z = a / sqrt(2)`, `a * Phi(-a) = a / 2 * erfc(z)`: the tail keeps its relative accuracy.
#[inline(always)]
fn gelu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let a = simd.min_f32s(simd.abs_f32s(x), simd.splat_f32s(14.0)); // where the tail is 0 in f32
    let one = simd.splat_f32s(1.0);
    let t = simd.div_f32s(one, simd.mul_add_f32s(a, simd.splat_f32s(0.35 * std::f32::consts::FRAC_1_SQRT_2), one));
    let mut sum = simd.splat_f32s(ERFC[9]);
    for coefficient in ERFC[..9].iter().rev() {
        sum = simd.mul_add_f32s(sum, t, simd.splat_f32s(*coefficient));
    }
    let half = simd.mul_f32s(a, simd.splat_f32s(-0.5));
    let e = exp_of_negative(simd, simd.mul_f32s(half, a)); // exp(-z^2)
    let tail = simd.mul_f32s(half, simd.mul_f32s(e, simd.mul_f32s(t, sum))); // -a * Phi(-a)
    let negative = simd.less_than_f32s(x, simd.splat_f32s(0.0));
    simd.select_f32s(negative, tail, simd.add_f32s(x, tail))
}

/// `exp(x)` within 2 units of the last place; 0 below -87.3, and at most exp(88.7) instead of infinity. NaN stays NaN.
#[inline(always)]
fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let most = simd.splat_f32s(88.7);
    exp_of_negative(simd, simd.select_f32s(simd.less_than_f32s(most, x), most, x))
}

/// The same where `x` is at most 88.7, as negative numbers are.
///
/// Cephes' `expf`: `2^n * exp(r)` with `|r| <= ln(2) / 2`.
#[inline(always)]
pub(crate) fn exp_of_negative<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let splat = |value: f32| simd.splat_f32s(value);
    let magic = splat(12_582_912.0); // 1.5 * 2^23: the sum has n in its low bits
    let shifted = simd.mul_add_f32s(x, splat(std::f32::consts::LOG2_E), magic);
    let n = simd.sub_f32s(shifted, magic);
    let r = simd.mul_add_f32s(n, splat(-0.693_359_4), x); // ln 2 in two parts
    let r = simd.mul_add_f32s(n, splat(2.121_944_4e-4), r);
    let mut sum = splat(1.987_569_1e-4);
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        sum = simd.mul_add_f32s(sum, r, splat(coefficient));
    }
    let sum = simd.add_f32s(simd.mul_add_f32s(sum, simd.mul_f32s(r, r), r), splat(1.0));
    let exponent = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    let scaled = simd.transmute_f32s_u32s(simd.add_u32s(simd.transmute_u32s_f32s(sum), exponent));
    simd.select_f32s(simd.less_than_f32s(x, splat(-87.3)), splat(0.0), scaled)
}
