//! Activation functions by the names of `transformers.activations.ACT2CLS`, 4.51.3.

use serde::{Deserialize, Serialize};

/// An activation function named in `hidden_act`.
///
/// `prelu` is left out: it has a learned parameter, and no published checkpoint carries one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x * Phi(x)` with the exact error function. Text towers use it.
    Gelu,
    /// [`Gelu`](Self::Gelu) clipped to `[-10, 10]`.
    #[serde(rename = "gelu_10")]
    Gelu10,
    /// Tanh approximation with the constant `0.7978845608`.
    GeluFast,
    /// Tanh approximation of the original BERT code.
    GeluNew,
    /// [`Gelu`](Self::Gelu), spelled out in Python.
    GeluPython,
    /// Tanh approximation of PyTorch.
    GeluPytorchTanh,
    /// Tanh approximation with `sqrt(2 / pi)` computed in double precision.
    GeluAccurate,
    /// Laplace activation of MEGA: `(1 + erf((x - sqrt(1/2)) / (sqrt(1/(4 pi)) sqrt(2)))) / 2`.
    Laplace,
    /// `max(x, 0.01 x)`.
    LeakyRelu,
    /// The identity.
    Linear,
    /// `x * tanh(softplus(x))`.
    Mish,
    /// `x * sigmoid(1.702 x)`. Vision towers of every published size use it.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
    /// `max(x, 0)^2`.
    Relu2,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `x * sigmoid(x)`.
    Silu,
    /// Another name of [`Silu`](Self::Silu).
    Swish,
    /// `tanh(x)`.
    Tanh,
}

impl Activation {
    /// Every activation, in the order of the enum.
    pub const ALL: [Self; 19] = [
        Self::Gelu,
        Self::Gelu10,
        Self::GeluFast,
        Self::GeluNew,
        Self::GeluPython,
        Self::GeluPytorchTanh,
        Self::GeluAccurate,
        Self::Laplace,
        Self::LeakyRelu,
        Self::Linear,
        Self::Mish,
        Self::QuickGelu,
        Self::Relu,
        Self::Relu2,
        Self::Relu6,
        Self::Sigmoid,
        Self::Silu,
        Self::Swish,
        Self::Tanh,
    ];
}
