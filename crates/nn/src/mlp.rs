//! The MLP of a transformer block: two linear layers around an activation.
//!
//! Follows `ChineseCLIPVisionMLP` and `ChineseCLIPTextIntermediate`/`Output` of transformers 4.51.3.
//!
//! Shapes: B batch, L tokens, D width, M width inside.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use chinese_clip_config::Activation;

use crate::{Packing, PreparedLinear, Recorder, activate, linear};

/// `fc2(activation(fc1(x)))`.
#[derive(Module, Debug)]
pub struct Mlp {
    fc1: Linear,
    fc2: Linear,
    #[module(skip)]
    activation: Activation,
}

impl Mlp {
    /// An MLP of the given widths. Weights are drawn with the standard deviation `std`, biases are zero.
    pub fn init(width: usize, inner: usize, activation: Activation, std: f64, device: &Device) -> Self {
        Self { fc1: linear(width, inner, true, std, device), fc2: linear(inner, width, true, std, device), activation }
    }

    /// The same with a second layer that is drawn otherwise.
    #[must_use]
    pub fn with_output(self, std: f64, device: &Device) -> Self {
        let [inner, width] = self.fc2.weight.lazy_shape().dims();
        Self { fc2: linear(inner, width, true, std, device), ..self }
    }

    /// # Shapes
    /// `x`: `[B, L, D]`; the result has the same.
    pub fn forward(&self, x: Tensor<3>, recorder: &mut Recorder) -> Tensor<3> {
        let x = recorder.record("mlp.fc1", self.fc1.forward(x)); // [B, L, M]
        let x = activate(self.activation, x);
        recorder.record("mlp.fc2", self.fc2.forward(x)) // [B, L, D]
    }
}

/// An MLP, prepared for inference.
#[derive(Module, Debug)]
pub struct PreparedMlp {
    fc1: PreparedLinear,
    fc2: PreparedLinear,
    #[module(skip)]
    activation: Activation,
}

impl From<Mlp> for PreparedMlp {
    fn from(Mlp { fc1, fc2, activation }: Mlp) -> Self {
        Self { fc1: fc1.into(), fc2: fc2.into(), activation }
    }
}

impl PreparedMlp {
    /// See [`PreparedLinear::pack`].
    #[must_use]
    pub fn pack(self, packing: Packing) -> Self {
        Self { fc1: self.fc1.pack(packing), fc2: self.fc2.pack(packing), ..self }
    }

    /// The residual and what the MLP adds to it.
    ///
    /// # Shapes
    /// `x`, `residual` and the result: `[B, L, D]`.
    pub fn forward(&self, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        let inside = self.fc1.forward_activated(x, self.activation, self.fc2.packing()); // [B, L, M]
        self.fc2.forward_added(inside, residual)
    }

    /// How the weights are kept that meet what enters.
    pub fn packing(&self) -> Packing {
        self.fc1.packing()
    }
}
