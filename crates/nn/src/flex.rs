//! The blocks on burn's CPU backend `flex`, by the kernels of `chinese-clip-kernels`.
//!
//! A function that computes gives `None` for tensors of another backend or number format, and for rare activations: the caller then
//! computes with burn's own operations. burn's `try_into_primitive` is what tells; a tensor that records gradients is not one
//! of `flex` either.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{Bytes, DType, Device, Tensor, TensorData};
use bytemuck::Pod;
use chinese_clip_config::Activation;
use chinese_clip_kernels::{
    self as kernels, Bf16Weights, Element, Epilogue, Int8Weights, Isa, LevelValues, PANEL, Rows,
};

use crate::Packing;

/// Runs work on a tensor like this one, on a thread of the kernels: each then starts without waking one first.
pub fn on_threads<R: Send>(like: &Tensor<1>, work: impl FnOnce() -> R + Send) -> R {
    if flex::<f32, 1>(like).is_some() { kernels::on_threads(work) } else { work() }
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
    layer(x, (bias, activation), residual, product)
}

/// A linear layer of N outputs, whose product and end are `product`.
fn layer<X: Stored, R: Stored>(
    x: &Tensor<3>,
    (bias, activation): (&Tensor<1>, Activation),
    residual: Option<&Tensor<3>>,
    product: impl FnOnce(&[X], Epilogue<'_>) -> Vec<R>,
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

/// Layer normalisation of the last dimension, for what is packed so.
pub(crate) fn layer_norm<const D: usize>(
    x: &Tensor<D>,
    gamma: &Tensor<1>,
    beta: &Tensor<1>,
    epsilon: f64,
    to: Packing,
) -> Option<Tensor<D>> {
    let shape = x.dims();
    let (x, gamma, beta) = (Contiguous::of(x)?, Contiguous::of(gamma)?, Contiguous::of(beta)?);
    let norm = kernels::LayerNorm { scale: gamma.numbers(), shift: beta.numbers(), epsilon: epsilon as f32 };
    Some(if to == Packing::Bf16 && norm.scale.len().is_multiple_of(2) {
        tensor::<u32, D>(kernels::layer_norm(Isa::current(), x.numbers(), norm), shape)
    } else {
        tensor::<f32, D>(kernels::layer_norm(Isa::current(), x.numbers(), norm), shape)
    })
}

/// What `PixelBatch::patches` gives, of `[B, C, H, W]`.
pub(crate) fn patches(pixels: &Tensor<4>, patch: usize) -> Option<Tensor<3>> {
    let [b, c, height, width] = pixels.dims();
    let rows = kernels::patches(Contiguous::of(pixels)?.numbers(), [c, height, width], patch);
    Some(tensor(rows, [b, height / patch * (width / patch) + 1, c * patch * patch]))
}

/// The same of levels `[B, H, W, 3]`, in `dtype` on `device`.
pub(crate) fn patches_of_levels(
    levels: &[u8],
    values: &LevelValues,
    [b, height, width]: [usize; 3],
    patch: usize,
    dtype: DType,
    device: &Device,
) -> Option<Tensor<3>> {
    (dtype == DType::F32 && *device == Device::flex()).then(|| {
        let rows = kernels::patches_of_levels(levels, values, [height, width], patch);
        tensor(rows, [b, height / patch * (width / patch) + 1, 3 * patch * patch])
    })
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

    /// As [`affine`], of the given columns. `x` may be bf16, and the result is where what it goes `to` is packed in short numbers: for
    /// those of 8 bits, where the machine multiplies bf16.
    pub(crate) fn affine(
        &self,
        x: &Tensor<3>,
        columns: Range<usize>,
        end: (&Tensor<1>, Activation),
        residual: Option<&Tensor<3>>,
        to: Packing,
    ) -> Option<Tensor<3>> {
        let short = match to {
            Packing::Whole => false,
            Packing::Bf16 => true,
            Packing::Int8 => Isa::current().multiplies_bf16(),
        };
        match (x.dtype(), short) {
            (DType::BF16, true) => self.layer::<u32, u32>(x, columns, end, residual),
            (DType::BF16, false) => self.layer::<u32, f32>(x, columns, end, residual),
            (_, true) => self.layer::<f32, u32>(x, columns, end, residual),
            (_, false) => self.layer::<f32, f32>(x, columns, end, residual),
        }
    }

    fn layer<X: Stored, R: Stored>(
        &self,
        x: &Tensor<3>,
        columns: Range<usize>,
        end: (&Tensor<1>, Activation),
        residual: Option<&Tensor<3>>,
    ) -> Option<Tensor<3>> {
        layer::<X, R>(x, end, residual, |x, epilogue| match self {
            Self::Bf16(weights) => weights.affine(Isa::current(), x, columns, epilogue),
            Self::Int8(weights) => weights.affine(Isa::current(), x, columns, epilogue),
        })
    }
}

/// `softmax(q * k' / sqrt(E) + bias) * v`, head by head, in f32 or bf16 as the tensors are.
///
/// # Shapes
/// `q`: `[B, Q, D]`; `k` and `v`: `[B, L, D]`; `bias`: `[B, 1, Q, L]` (`None` if each head has its own); the result: `[B, Q, D]`.
pub(crate) fn attention(
    q: &Tensor<3>,
    k: &Tensor<3>,
    v: &Tensor<3>,
    bias: Option<&Tensor<4>>,
    heads: usize,
) -> Option<Tensor<3>> {
    let bias = match bias {
        Some(bias) if bias.dims()[1] > 1 => return None,
        Some(bias) => Some(Strided::of(&bias.clone().squeeze_dim::<3>(1))?),
        None => None,
    };
    let bias = bias.as_ref().map(|bias| bias.rows_from(0));
    attention_in_turn([q, k, v], bias, heads, &[[q.dims()[0], q.dims()[1], k.dims()[1]]])
}

/// Whether [`attention_packed`] gives something for tensors like this one.
pub(crate) fn attends_packed(like: &Tensor<1>) -> bool {
    flex::<f32, 1>(like).is_some()
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
) -> Option<Tensor<3>> {
    let lengths: Vec<_> = lengths.iter().map(|&[queries, keys]| [1, queries, keys]).collect();
    attention_in_turn([q, k, v], None, heads, &lengths)
}

/// Attention of batches that stand one after the other.
fn attention_in_turn(
    qkv: [&Tensor<3>; 3],
    bias: Option<Rows<'_>>,
    heads: usize,
    lengths: &[[usize; 3]],
) -> Option<Tensor<3>> {
    let of_bf16 = attention_in::<u32>(qkv, bias, heads, lengths);
    of_bf16.or_else(|| attention_in::<f32>(qkv, bias, heads, lengths))
}

/// The same if the tensors are of `T`, and no head ends within one.
fn attention_in<T: Stored>(
    [q, k, v]: [&Tensor<3>; 3],
    bias: Option<Rows<'_>>,
    heads: usize,
    lengths: &[[usize; 3]],
) -> Option<Tensor<3>> {
    let shape @ [.., d] = q.dims();
    if !(d / heads).is_multiple_of(T::COUNT) {
        return None;
    }
    let (q, k, v) = (Strided::<T>::of(q)?, Strided::<T>::of(k)?, Strided::<T>::of(v)?);
    let (mut query, mut key) = (0, 0);
    let mut batches = Vec::with_capacity(lengths.len());
    for &lengths @ [_, queries, keys] in lengths {
        batches.push(kernels::Attention {
            queries: q.rows_from(query),
            keys: k.rows_from(key),
            values: v.rows_from(key),
            bias,
            lengths,
            heads,
            width: d / heads,
        });
        (query, key) = (query + queries, key + keys);
    }
    Some(tensor(kernels::attention(Isa::current(), &batches), shape))
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

/// How the kernels see the memory of a tensor.
trait Stored: Element + Pod {
    const DTYPE: DType;
}

impl Stored for f32 {
    const DTYPE: DType = DType::F32;
}

/// A pair of bf16.
impl Stored for u32 {
    const DTYPE: DType = DType::BF16;
}

fn flex<T: Stored, const D: usize>(tensor: &Tensor<D>) -> Option<FlexTensor> {
    let tensor = tensor.clone().try_into_primitive::<Flex>().ok()?;
    (tensor.dtype() == T::DTYPE).then_some(tensor)
}

fn tensor<T: Stored, const D: usize>(numbers: Vec<T>, shape: [usize; D]) -> Tensor<D> {
    let data = TensorData::from_bytes(Bytes::from_elems(numbers), shape, T::DTYPE);
    Tensor::from_primitive::<Flex>(FlexTensor::from_data(data))
}

/// Whether the memory of a tensor can be seen as `T`, which burn does not promise where numbers are smaller.
fn aligned<T: Stored>(tensor: &FlexTensor) -> bool {
    bytemuck::try_cast_slice::<u8, T>(tensor.bytes()).is_ok()
}

/// A tensor whose numbers lie one after the other.
struct Contiguous<T>(FlexTensor, PhantomData<T>);

impl<T: Stored> Contiguous<T> {
    /// `None` too where the tensor or a row begins within a `T`.
    fn of<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        let tensor = flex::<T, D>(tensor)?;
        let tensor = if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() };
        let width = tensor.layout().shape()[D - 1];
        let whole = [tensor.layout().start_offset(), width].iter().all(|count| count.is_multiple_of(T::COUNT));
        (whole && aligned::<T>(&tensor)).then_some(Self(tensor, PhantomData))
    }

    fn numbers(&self) -> &[T] {
        let layout = self.0.layout();
        &bytemuck::cast_slice(self.0.bytes())[layout.start_offset() / T::COUNT..][..layout.num_elements() / T::COUNT]
    }
}

/// A tensor of rows, each of which lies in one piece.
struct Strided<T>(FlexTensor, PhantomData<T>);

impl<T: Stored> Strided<T> {
    /// `None` too where the tensor or a row begins within a `T`.
    fn of(tensor: &Tensor<3>) -> Option<Self> {
        let tensor = flex::<T, 3>(tensor)?;
        let strides = tensor.layout().strides();
        let regular = strides[2] == 1 && strides.iter().all(|stride| *stride >= 0);
        let tensor = if regular { tensor } else { tensor.to_contiguous() };
        let layout = tensor.layout();
        let steps = [layout.strides()[0].unsigned_abs(), layout.strides()[1].unsigned_abs()];
        let whole = |count: &usize| count.is_multiple_of(T::COUNT);
        let whole = whole(&layout.start_offset()) && whole(&layout.shape()[2]) && steps.iter().all(whole);
        (whole && aligned::<T>(&tensor)).then_some(Self(tensor, PhantomData))
    }

    /// Without the first `row` rows.
    fn rows_from(&self, row: usize) -> Rows<'_, T> {
        let layout = self.0.layout();
        let stride = |dimension: usize| layout.strides()[dimension].unsigned_abs() / T::COUNT;
        let elements = &bytemuck::cast_slice(self.0.bytes())[layout.start_offset() / T::COUNT + row * stride(1)..];
        Rows { elements, row: stride(1), sequence: stride(0) }
    }
}
