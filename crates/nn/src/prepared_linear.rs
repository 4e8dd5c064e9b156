//! A linear layer, prepared for inference: what follows it is fused with it where the backend can.
//!
//! Shapes: B batch, L tokens, K inputs, N outputs.

use std::ops::Range;

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::module::linear;
use burn::tensor::{DType, Device, Tensor, TensorData};
use chinese_clip_config::Activation;

use crate::{activate, fast};

/// A linear layer with a bias.
///
/// [`pack`](Self::pack) lays the weights out for the kernels of backends that have some; on any other the layer stays as it is.
#[derive(Module, Debug)]
pub struct PreparedLinear {
    /// `[K, N]`; once packed, `[N / 16 * K, 16]`.
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    packed: bool,
}

impl PreparedLinear {
    /// A layer of random weights of standard deviation `std`, which are drawn when first read.
    pub fn init(inputs: usize, outputs: usize, std: f64, device: &Device) -> Self {
        Self::from(crate::linear(inputs, outputs, true, std, device))
    }

    /// Layers side by side: one product for all of them.
    pub fn beside(layers: &[Self]) -> Self {
        let weights = layers.iter().map(|layer| layer.weight.val()).collect();
        let biases = layers.iter().map(|layer| layer.bias.val()).collect();
        Self {
            weight: Param::from_tensor(Tensor::cat(weights, 1)),
            bias: Param::from_tensor(Tensor::cat(biases, 0)),
            packed: false,
        }
    }

    /// K of a layer that is not packed.
    pub(crate) fn inputs(&self) -> usize {
        self.weight.lazy_shape()[0]
    }

    /// The weight that [`pack`](Self::pack) would give a layer on `device`, straight from the rows `[N, K]` of a checkpoint, in
    /// parts that stand one below the other; `None` where it would give none. `pack` takes a layer with such a weight as packed.
    pub fn panels(parts: &[&[f32]], inputs: usize, dtype: DType, device: &Device) -> Option<TensorData> {
        fast::pack_rows(parts, inputs, dtype, device)
    }

    /// The layer with its weights as the backend's kernels want them.
    #[must_use]
    pub fn pack(self) -> Self {
        let panels = if self.packed {
            None
        } else if self.weight.lazy_shape()[1] == self.bias.lazy_shape()[0] {
            fast::pack(&self.weight.val())
        } else {
            Some(self.weight.val()) // of `panels`
        };
        match panels {
            Some(panels) => Self { weight: Param::from_tensor(panels), packed: true, ..self },
            None => self,
        }
    }

    /// # Shapes
    /// `x`: `[B, L, K]`; the result: `[B, L, N]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.whole().apply(x, Activation::Linear, None)
    }

    /// The layer, then an activation.
    pub fn forward_activated(&self, x: Tensor<3>, activation: Activation) -> Tensor<3> {
        self.whole().apply(x, activation, None)
    }

    /// The layer, then a sum.
    ///
    /// # Shapes
    /// `residual`: `[B, L, N]`.
    pub fn forward_added(&self, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        self.whole().apply(x, Activation::Linear, Some(residual))
    }

    /// The outputs of `columns` alone.
    pub fn forward_columns(&self, x: Tensor<3>, columns: Range<usize>) -> Tensor<3> {
        self.part(columns).apply(x, Activation::Linear, None)
    }

    fn whole(&self) -> Part {
        Part { weight: self.weight.val(), bias: self.bias.val(), packed: self.packed }
    }

    fn part(&self, columns: Range<usize>) -> Part {
        let Part { weight, bias, packed } = self.whole();
        let (start, count) = (columns.start, columns.len());
        if packed && !start.is_multiple_of(fast::PANEL) | !count.is_multiple_of(fast::PANEL) {
            let weight = unpacked(weight, bias.dims()[0]).narrow(1, start, count);
            return Part { weight, bias: bias.narrow(0, start, count), packed: false };
        }
        let weight = if packed {
            let inputs = weight.dims()[0] * fast::PANEL / bias.dims()[0];
            weight.narrow(0, start / fast::PANEL * inputs, count / fast::PANEL * inputs)
        } else {
            weight.narrow(1, start, count)
        };
        Part { weight, bias: bias.narrow(0, start, count), packed }
    }
}

impl From<Linear> for PreparedLinear {
    fn from(Linear { weight, bias }: Linear) -> Self {
        let bias = bias.unwrap_or_else(|| {
            let (outputs, device) = (weight.lazy_shape()[1], weight.lazy_device());
            Param::from_tensor(Tensor::zeros([outputs], (&device, weight.dtype())))
        });
        Self { weight, bias, packed: false }
    }
}

/// Some columns of a layer.
struct Part {
    weight: Tensor<2>,
    bias: Tensor<1>,
    packed: bool,
}

impl Part {
    fn apply(self, x: Tensor<3>, activation: Activation, residual: Option<Tensor<3>>) -> Tensor<3> {
        let Self { weight, bias, packed } = self;
        let fused = if packed { fast::affine(&x, &weight, &bias, activation, residual.as_ref()) } else { None };
        fused.unwrap_or_else(|| {
            let weight = if packed { unpacked(weight, bias.dims()[0]) } else { weight };
            let y = activate(activation, linear(x, weight, Some(bias)));
            match residual {
                Some(residual) => residual + y,
                None => y,
            }
        })
    }
}

/// `[K, N]` again, for a backend that has no kernels.
fn unpacked(panels: Tensor<2>, outputs: usize) -> Tensor<2> {
    let [rows, panel] = panels.dims();
    let inputs = rows * panel / outputs;
    panels.reshape([outputs / panel, inputs, panel]).swap_dims(0, 1).reshape([inputs, outputs])
}
