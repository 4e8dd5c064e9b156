//! The blocks on burn's CPU backend `flex`, by the kernels of `chinese-clip-kernels`.
//!
//! A function that computes gives `None` for tensors of another backend or number format, and for rare activations: the caller then
//! computes with burn's own operations. burn's `try_into_primitive` is what tells; a tensor that records gradients is not one
//! of `flex` either.

use std::ops::Range;
use std::sync::Arc;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Device, Tensor, TensorData};
use chinese_clip_config::Activation;
pub(crate) use chinese_clip_kernels::PANEL;
use chinese_clip_kernels::{self as kernels, Bf16Weights, Epilogue, Int8Weights, Isa, Precision, Rows};

use crate::Packing;

/// Runs work on a tensor like this one, on a thread of the kernels: each then starts without waking one first.
pub fn on_threads<R: Send>(like: &Tensor<1>, work: impl FnOnce() -> R + Send) -> R {
    if flex(like).is_some() { kernels::on_threads(work) } else { work() }
}

/// Weights in panels, `[N / 16 * K, 16]` of `[K, N]`; `None` too where 16 does not divide N.
pub(crate) fn pack(weight: &Tensor<2>) -> Option<Tensor<2>> {
    let [inputs, outputs] = weight.dims();
    let numbers = Contiguous::of(weight)?;
    outputs.is_multiple_of(PANEL).then(|| {
        let panels = kernels::pack(numbers.numbers(), inputs, outputs);
        tensor(panels, [outputs / PANEL * inputs, PANEL])
    })
}

/// The same of rows `[N, K]` in parts that stand one below the other, for a tensor on `device`.
pub(crate) fn pack_rows(parts: &[&[f32]], inputs: usize, dtype: DType, device: &Device) -> Option<TensorData> {
    let count: usize = parts.iter().map(|part| part.len()).sum();
    let whole = inputs > 0 && count > 0 && count.is_multiple_of(inputs * PANEL);
    (whole && dtype == DType::F32 && *device == Device::flex())
        .then(|| TensorData::new(kernels::pack_rows(parts, inputs), [count / PANEL, PANEL]))
}

/// `activation(x * weight + bias) + residual`.
///
/// # Shapes
/// `x`: `[B, L, K]`; `panels`: what [`pack`] makes of `[K, N]`; `bias`: `[N]`; `residual` and the result: `[B, L, N]`.
pub(crate) fn affine(
    x: &Tensor<3>,
    panels: &Tensor<2>,
    bias: &Tensor<1>,
    activation: Activation,
    residual: Option<&Tensor<3>>,
) -> Option<Tensor<3>> {
    let (inputs, panels) = (x.dims()[2], Contiguous::of(panels)?);
    let product =
        |x: &[f32], epilogue: Epilogue<'_>| kernels::affine(Isa::current(), x, inputs, panels.numbers(), epilogue);
    layer(x, bias, activation, residual, product)
}

/// A linear layer whose product and end are `product`.
fn layer(
    x: &Tensor<3>,
    bias: &Tensor<1>,
    activation: Activation,
    residual: Option<&Tensor<3>>,
    product: impl FnOnce(&[f32], Epilogue<'_>) -> Vec<f32>,
) -> Option<Tensor<3>> {
    let [b, l, _] = x.dims();
    let (x, bias) = (Contiguous::of(x)?, Contiguous::of(bias)?);
    let residual = match residual {
        Some(residual) => Some(Contiguous::of(residual)?),
        None => None,
    };
    let bias = bias.numbers();
    let activation = kernels_name(activation)?;
    let epilogue = Epilogue { bias, activation, residual: residual.as_ref().map(Contiguous::numbers) };
    Some(tensor(product(x.numbers(), epilogue), [b, l, bias.len()]))
}

/// Layer normalisation of the last dimension.
pub(crate) fn layer_norm<const D: usize>(
    x: &Tensor<D>,
    gamma: &Tensor<1>,
    beta: &Tensor<1>,
    epsilon: f64,
) -> Option<Tensor<D>> {
    let shape = x.dims();
    let (x, gamma, beta) = (Contiguous::of(x)?, Contiguous::of(gamma)?, Contiguous::of(beta)?);
    let norm = kernels::LayerNorm { scale: gamma.numbers(), shift: beta.numbers(), epsilon: epsilon as f32 };
    Some(tensor(kernels::layer_norm(Isa::current(), x.numbers(), norm), shape))
}

/// Weights in short numbers.
#[derive(Debug, Clone)]
pub(crate) enum Short {
    Bf16(Arc<Bf16Weights>),
    Int8(Arc<Int8Weights>),
}

impl Short {
    /// Of `[K, N]`; `None` too where 16 does not divide N.
    pub(crate) fn pack(weight: &Tensor<2>, packing: Packing) -> Option<Self> {
        let [inputs, outputs] = weight.dims();
        let numbers = Contiguous::of(weight).filter(|_| outputs.is_multiple_of(PANEL))?;
        match packing {
            Packing::Whole => None,
            Packing::Bf16 => Some(Self::Bf16(Arc::new(Bf16Weights::pack(numbers.numbers(), inputs, outputs)))),
            Packing::Int8 => Some(Self::Int8(Arc::new(Int8Weights::pack(numbers.numbers(), inputs, outputs)))),
        }
    }

    pub(crate) fn packing(&self) -> Packing {
        match self {
            Self::Bf16(_) => Packing::Bf16,
            Self::Int8(_) => Packing::Int8,
        }
    }

    /// `[K, N]` again, where and in the format that `like` has.
    pub(crate) fn unpack(&self, like: &Tensor<1>) -> Tensor<2> {
        let (numbers, dims) = match self {
            Self::Bf16(weights) => (weights.unpack(), weights.dims()),
            Self::Int8(weights) => (weights.unpack(), weights.dims()),
        };
        Tensor::from_data(TensorData::new(numbers, dims), (&like.device(), like.dtype()))
    }

    /// As [`affine`], of the given columns.
    pub(crate) fn affine(
        &self,
        x: &Tensor<3>,
        columns: Range<usize>,
        bias: &Tensor<1>,
        activation: Activation,
        residual: Option<&Tensor<3>>,
    ) -> Option<Tensor<3>> {
        layer(x, bias, activation, residual, |x, epilogue| match self {
            Self::Bf16(weights) => weights.affine(Isa::current(), x, columns, epilogue),
            Self::Int8(weights) => weights.affine(Isa::current(), x, columns, epilogue),
        })
    }
}

/// A layer with its bias, an activation, the next layer with its bias, and a residual; `None` too where the kernels have nothing to gain.
///
/// # Shapes
/// `x`: `[B, L, K]`; `residual` and the result: `[B, L, N]` of the next layer.
pub(crate) fn chain(
    x: &Tensor<3>,
    (first, bias): (&Short, &Tensor<1>),
    activation: Activation,
    (next, next_bias): (&Short, &Tensor<1>),
    residual: &Tensor<3>,
) -> Option<Tensor<3>> {
    let (Short::Bf16(first), Short::Bf16(next)) = (first, next) else { return None };
    let (bias, activation) = (Contiguous::of(bias)?, kernels_name(activation)?);
    let inside = Epilogue { bias: bias.numbers(), activation, residual: None };
    let product = |x: &[f32], end: Epilogue<'_>| first.then(Isa::current(), x, inside, (next, end));
    layer(x, next_bias, Activation::Linear, Some(residual), product)
}

/// `softmax(q * k' / sqrt(E) + bias) * v`, head by head, for a layer whose weights are packed so.
///
/// # Shapes
/// `q`: `[B, Q, D]`; `k` and `v`: `[B, L, D]`; `bias`: `[B, 1, Q, L]` (`None` if each head has its own); the result: `[B, Q, D]`.
pub(crate) fn attention(
    q: &Tensor<3>,
    k: &Tensor<3>,
    v: &Tensor<3>,
    bias: Option<&Tensor<4>>,
    heads: usize,
    packing: Packing,
) -> Option<Tensor<3>> {
    let ([b, queries, d], keys) = (q.dims(), k.dims()[1]);
    let (q, k, v) = (Strided::of(q)?, Strided::of(k)?, Strided::of(v)?);
    let bias = match bias {
        Some(bias) if bias.dims()[1] > 1 => return None,
        Some(bias) => Some(Strided::of(&bias.clone().squeeze_dim::<3>(1))?),
        None => None,
    };
    let batch = kernels::Attention {
        queries: q.rows(),
        keys: k.rows(),
        values: v.rows(),
        bias: bias.as_ref().map(Strided::rows),
        lengths: [b, queries, keys],
        heads,
        width: d / heads,
    };
    Some(tensor(kernels::attention(Isa::current(), precision(packing), &[batch]), [b, queries, d]))
}

/// Whether [`attention_packed`] gives something for tensors like this one.
pub(crate) fn attends_packed(like: &Tensor<1>) -> bool {
    flex(like).is_some()
}

/// The same without a bias, of sequences of any number of queries and keys, one after the other.
///
/// # Shapes
/// `q`: `[1, N, D]`; `k` and `v`: `[1, M, D]`, where N and M are the sums of `lengths`; the result: `[1, N, D]`.
pub(crate) fn attention_packed(
    q: &Tensor<3>,
    k: &Tensor<3>,
    v: &Tensor<3>,
    lengths: &[[usize; 2]],
    heads: usize,
    packing: Packing,
) -> Option<Tensor<3>> {
    let [_, rows, d] = q.dims();
    let (q, k, v) = (Strided::of(q)?, Strided::of(k)?, Strided::of(v)?);
    let (mut query, mut key) = (0, 0);
    let mut batches = Vec::with_capacity(lengths.len());
    for &[queries, keys] in lengths {
        batches.push(kernels::Attention {
            queries: q.rows_from(query),
            keys: k.rows_from(key),
            values: v.rows_from(key),
            bias: None,
            lengths: [1, queries, keys],
            heads,
            width: d / heads,
        });
        (query, key) = (query + queries, key + keys);
    }
    Some(tensor(kernels::attention(Isa::current(), precision(packing), &batches), [1, rows, d]))
}

/// Attention beside layers of this packing.
fn precision(packing: Packing) -> Precision {
    match packing {
        Packing::Bf16 => Precision::Bf16,
        Packing::Whole | Packing::Int8 => Precision::F32,
    }
}

fn kernels_name(activation: Activation) -> Option<kernels::Activation> {
    match activation {
        Activation::Gelu | Activation::GeluPython => Some(kernels::Activation::Gelu),
        Activation::GeluFast | Activation::GeluNew | Activation::GeluPytorchTanh | Activation::GeluAccurate => {
            Some(kernels::Activation::GeluTanh)
        }
        Activation::QuickGelu => Some(kernels::Activation::QuickGelu),
        Activation::Relu => Some(kernels::Activation::Relu),
        Activation::Silu | Activation::Swish => Some(kernels::Activation::Silu),
        Activation::Linear => Some(kernels::Activation::Identity),
        _ => None,
    }
}

fn flex<const D: usize>(tensor: &Tensor<D>) -> Option<FlexTensor> {
    let tensor = tensor.clone().try_into_primitive::<Flex>().ok()?;
    (tensor.dtype() == DType::F32).then_some(tensor)
}

fn tensor<const D: usize>(numbers: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(FlexTensor::from_data(TensorData::new(numbers, shape)))
}

/// A tensor whose numbers lie one after the other.
struct Contiguous(FlexTensor);

impl Contiguous {
    fn of<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        let tensor = flex(tensor)?;
        Some(Self(if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() }))
    }

    fn numbers(&self) -> &[f32] {
        let layout = self.0.layout();
        &self.0.storage()[layout.start_offset()..][..layout.num_elements()]
    }
}

/// A tensor of rows, each of which lies in one piece.
struct Strided(FlexTensor);

impl Strided {
    fn of(tensor: &Tensor<3>) -> Option<Self> {
        let tensor = flex(tensor)?;
        let strides = tensor.layout().strides();
        let regular = strides[2] == 1 && strides.iter().all(|stride| *stride >= 0);
        Some(Self(if regular { tensor } else { tensor.to_contiguous() }))
    }

    fn rows(&self) -> Rows<'_> {
        self.rows_from(0)
    }

    /// Without the first `row` rows.
    fn rows_from(&self, row: usize) -> Rows<'_> {
        let layout = self.0.layout();
        let stride = |dimension: usize| layout.strides()[dimension].unsigned_abs();
        let numbers = &self.0.storage()[layout.start_offset() + row * stride(1)..];
        Rows { numbers, row: stride(1), sequence: stride(0) }
    }
}
