//! Layer normalisation.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::module::layer_norm;
use burn::tensor::{DType, Device, Tensor};

use crate::{Packing, fast};

/// Normalises the last dimension. burn's own has the same parameters, but hides its epsilon from the kernels.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// Scale, `[D]`.
    pub gamma: Param<Tensor<1>>,
    /// Shift, `[D]`.
    pub beta: Param<Tensor<1>>,
    #[module(skip)]
    epsilon: f64,
}

impl LayerNorm {
    /// A layer that changes nothing but mean and variance.
    pub fn init(width: usize, epsilon: f64, device: &Device) -> Self {
        Self { gamma: Initializer::Ones.init([width], device), beta: Initializer::Zeros.init([width], device), epsilon }
    }

    /// # Shapes
    /// `x`: `[.., D]`; the result has the same.
    pub fn forward<const N: usize>(&self, x: Tensor<N>) -> Tensor<N> {
        self.forward_to(x, Packing::Whole)
    }

    /// The same for a layer whose weights are packed so: kernels that round what enters it may do that here.
    pub fn forward_to<const N: usize>(&self, x: Tensor<N>, to: Packing) -> Tensor<N> {
        let (gamma, beta) = (self.gamma.val(), self.beta.val());
        fast::layer_norm(&x, &gamma, &beta, self.epsilon, to).unwrap_or_else(|| {
            let dtype = x.dtype();
            let wide = if dtype == DType::F16 { DType::F32 } else { dtype }; // f16 has no room for a sum of squares
            layer_norm(x.cast(wide), gamma.cast(wide), Some(beta.cast(wide)), self.epsilon).cast(dtype)
        })
    }
}
