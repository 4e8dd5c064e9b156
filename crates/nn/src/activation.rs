//! Activation functions: `ACT2FN` of transformers 4.51.3 (`activations.py`), out of burn primitives.

use std::f64::consts::{FRAC_2_PI, SQRT_2};

use burn::tensor::{Tensor, activation as burn_activation};
use chinese_clip_config::Activation;

/// The reference writes it with six digits.
#[allow(clippy::approx_constant)]
const LAPLACE_MEAN: f64 = 0.707_107;

/// Applies `activation` to every element.
///
/// # Shapes
/// `x`: any; the result has the same.
pub fn activate<const D: usize>(activation: Activation, x: Tensor<D>) -> Tensor<D> {
    match activation {
        Activation::Gelu | Activation::GeluPython => burn_activation::gelu(x),
        Activation::Gelu10 => burn_activation::gelu(x).clamp(-10.0, 10.0),
        Activation::GeluFast | Activation::GeluNew | Activation::GeluPytorchTanh | Activation::GeluAccurate => {
            gelu_tanh(x)
        }
        Activation::Laplace => ((x - LAPLACE_MEAN) / (0.282_095 * SQRT_2)).erf().add_scalar(1.0) * 0.5,
        Activation::LeakyRelu => burn_activation::leaky_relu(x, 0.01),
        Activation::Linear => x,
        Activation::Mish => mish(x),
        Activation::QuickGelu => quick_gelu(x),
        Activation::Relu => burn_activation::relu(x),
        Activation::Relu2 => burn_activation::relu(x).powi_scalar(2),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Sigmoid => burn_activation::sigmoid(x),
        Activation::Silu | Activation::Swish => burn_activation::silu(x),
        Activation::Tanh => x.tanh(),
    }
}

fn quick_gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let gate = burn_activation::sigmoid(x.clone() * 1.702);
    x * gate
}

/// `x * tanh(ln(1 + exp(x)))` without the logarithm, which GPUs round coarsely near 1, and without overflow.
fn mish<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let e = x.clone().abs().neg().exp();
    let square = e.clone().square();
    let above = e.clone() * 2.0 + 1.0; // of x >= 0: (1 + 2 e) / (1 + 2 e + 2 e^2)
    let below = square.clone() + e * 2.0; // of x < 0: (e^2 + 2 e) / (e^2 + 2 e + 2)
    let negative = x.clone().lower_scalar(0.0);
    let ratio = (above.clone() / (above + square * 2.0)).mask_where(negative, below.clone() / (below + 2.0));
    x * ratio
}

/// The four tanh approximations of the reference differ in rounding alone.
fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let inner = (x.clone().powi_scalar(3) * 0.044_715 + x.clone()) * FRAC_2_PI.sqrt();
    x * 0.5 * (inner.tanh() + 1.0)
}
