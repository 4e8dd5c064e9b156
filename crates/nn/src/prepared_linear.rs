//! A linear layer, prepared for inference: what follows it is fused with it where the backend can.
//!
//! Shapes: B batch, L tokens, K inputs, N outputs.

use std::ops::Range;

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::module::linear;
use burn::tensor::{DType, Device, Tensor, TensorData};
use chinese_clip_config::Activation;
use chinese_clip_kernels::PANEL;

use crate::{Packing, activate, fast};

/// A linear layer, which may have a bias.
///
/// [`pack`](Self::pack) lays the weights out for the kernels of backends that have some; on any other the layer stays as it is.
#[derive(Module, Debug)]
pub struct PreparedLinear {
    weight: Param<Tensor<2>>,
    bias: Option<Param<Tensor<1>>>,
    /// N.
    #[module(skip)]
    outputs: usize,
    #[module(skip)]
    layout: Layout,
}

/// Where the weights are.
#[derive(Debug, Clone)]
enum Layout {
    /// In the parameter, `[K, N]`.
    Plain,
    /// In the parameter, `[N / 16 * K, 16]`.
    Panels,
    /// Here; the parameter is empty.
    Short(fast::Short),
}

impl PreparedLinear {
    /// A layer of random weights of standard deviation `std`, which are drawn when first read.
    pub fn init(inputs: usize, outputs: usize, std: f64, device: &Device) -> Self {
        Self::from(crate::linear(inputs, outputs, true, std, device))
    }

    /// Layers side by side: one product for all of them.
    pub fn beside(layers: &[Self]) -> Self {
        let weights = layers.iter().map(|layer| layer.weight.val()).collect();
        let biases = layers.iter().map(Self::bias).collect();
        Self {
            weight: Param::from_tensor(Tensor::cat(weights, 1)),
            bias: Some(Param::from_tensor(Tensor::cat(biases, 0))),
            outputs: layers.iter().map(|layer| layer.outputs).sum(),
            layout: Layout::Plain,
        }
    }

    /// K of a layer that is not packed.
    pub(crate) fn inputs(&self) -> usize {
        self.weight.lazy_shape()[0]
    }

    /// The weight that [`pack`](Self::pack) would give a layer on `device`, straight from the rows `[N, K]` of a checkpoint, in
    /// parts that stand one below the other; `None` where it would keep the weight or make short numbers of it. `pack` takes a
    /// layer with such a weight as packed.
    pub fn panels(parts: &[&[f32]], inputs: usize, dtype: DType, device: &Device) -> Option<TensorData> {
        fast::pack_rows(parts, inputs, dtype, device)
    }

    /// The layer with its weights as the backend's kernels want them. A layer that is packed stays as it is.
    #[must_use]
    pub fn pack(self, packing: Packing) -> Self {
        if !matches!(self.layout, Layout::Plain) {
            return self;
        }
        if self.weight.lazy_shape()[1] != self.outputs {
            return Self { layout: Layout::Panels, ..self }; // of `panels`
        }
        let weight = self.weight.val();
        if let Some(short) = fast::Short::pack(&weight, packing) {
            let nothing = Tensor::empty([0, PANEL], (&weight.device(), weight.dtype()));
            return Self { weight: Param::from_tensor(nothing), layout: Layout::Short(short), ..self };
        }
        match fast::pack(&weight) {
            Some(panels) => Self { weight: Param::from_tensor(panels), layout: Layout::Panels, ..self },
            None => self,
        }
    }

    /// How its weights are kept.
    pub(crate) fn packing(&self) -> Packing {
        match &self.layout {
            Layout::Plain | Layout::Panels => Packing::Whole,
            Layout::Short(short) => short.packing(),
        }
    }

    /// # Shapes
    /// `x`: `[B, L, K]`; the result: `[B, L, N]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.part(0..self.outputs).apply(x, Activation::Linear, None, Packing::Whole)
    }

    /// The layer, then an activation, for a layer whose weights are packed `to` that.
    pub fn forward_activated(&self, x: Tensor<3>, activation: Activation, to: Packing) -> Tensor<3> {
        self.part(0..self.outputs).apply(x, activation, None, to)
    }

    /// The layer, then a sum.
    ///
    /// # Shapes
    /// `residual`: `[B, L, N]`.
    pub fn forward_added(&self, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        self.part(0..self.outputs).apply(x, Activation::Linear, Some(residual), Packing::Whole)
    }

    /// The outputs of `columns` alone, for what is packed `to` that.
    pub fn forward_columns(&self, x: Tensor<3>, columns: Range<usize>, to: Packing) -> Tensor<3> {
        self.part(columns).apply(x, Activation::Linear, None, to)
    }

    /// N.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Some columns of `[K, N]`, as numbers of the bias.
    pub(crate) fn columns(&self, columns: Range<usize>) -> Tensor<2> {
        let Part { weight, bias, .. } = self.part(columns);
        weight.plain(&bias)
    }

    /// `[N]`.
    pub(crate) fn bias(&self) -> Tensor<1> {
        let zeros = || Tensor::zeros([self.outputs], (&self.weight.lazy_device(), self.weight.dtype()));
        self.bias.as_ref().map_or_else(zeros, Param::val)
    }

    fn part(&self, columns: Range<usize>) -> Part<'_> {
        let (weight, bias) = (self.weight.val(), self.bias());
        let (start, count, all) = (columns.start, columns.len(), self.outputs);
        let panels = start.is_multiple_of(PANEL) && count.is_multiple_of(PANEL);
        let weight = match &self.layout {
            Layout::Short(short) if panels => Weight::Short(short, columns),
            Layout::Short(short) => Weight::Plain(short.unpack(&bias).narrow(1, start, count)),
            Layout::Panels if panels => {
                let inputs = weight.dims()[0] * PANEL / all;
                Weight::Panels(weight.narrow(0, start / PANEL * inputs, count / PANEL * inputs))
            }
            Layout::Panels => Weight::Plain(unpacked(weight, all).narrow(1, start, count)),
            Layout::Plain => Weight::Plain(weight.narrow(1, start, count)),
        };
        Part { weight, bias: bias.narrow(0, start, count), biased: self.bias.is_some() }
    }
}

impl From<Linear> for PreparedLinear {
    fn from(Linear { weight, bias }: Linear) -> Self {
        let outputs = weight.lazy_shape()[1];
        Self { weight, bias, outputs, layout: Layout::Plain }
    }
}

/// Some columns of a layer.
struct Part<'a> {
    weight: Weight<'a>,
    bias: Tensor<1>,
    /// Whether there is more in the bias than zeros, which the kernels want.
    biased: bool,
}

enum Weight<'a> {
    /// `[K, N]`.
    Plain(Tensor<2>),
    /// `[N / 16 * K, 16]`.
    Panels(Tensor<2>),
    /// These columns of a layer's.
    Short(&'a fast::Short, Range<usize>),
}

impl Weight<'_> {
    /// `[K, N]`, where and in the format that the bias has.
    fn plain(self, bias: &Tensor<1>) -> Tensor<2> {
        match self {
            Self::Plain(weight) => weight,
            Self::Panels(panels) => unpacked(panels, bias.dims()[0]),
            Self::Short(short, columns) => short.unpack(bias).narrow(1, columns.start, columns.len()),
        }
    }
}

impl Part<'_> {
    fn apply(self, x: Tensor<3>, activation: Activation, residual: Option<Tensor<3>>, to: Packing) -> Tensor<3> {
        let Self { weight, bias, biased } = self;
        let fused = match &weight {
            Weight::Plain(_) => None,
            Weight::Panels(panels) => fast::affine(&x, panels, &bias, activation, residual.as_ref()),
            Weight::Short(short, columns) => {
                short.affine(&x, columns.clone(), (&bias, activation), residual.as_ref(), to)
            }
        };
        fused.unwrap_or_else(|| {
            let weight = weight.plain(&bias);
            let y = activate(activation, linear(x.cast(bias.dtype()), weight, biased.then_some(bias)));
            match residual {
                Some(residual) => residual + y,
                None => y,
            }
        })
    }
}

/// `[K, N]` again.
fn unpacked(panels: Tensor<2>, outputs: usize) -> Tensor<2> {
    let [rows, panel] = panels.dims();
    let inputs = rows * panel / outputs;
    panels.reshape([outputs / panel, inputs, panel]).swap_dims(0, 1).reshape([inputs, outputs])
}
