//! Multi-head self-attention with an additive bias, canonical form.
//!
//! Follows `ChineseCLIPTextSelfAttention` and `ChineseCLIPVisionAttention` of transformers 4.51.3.
//!
//! Shapes: B batch, L tokens, D width, H heads, E = D / H.
//!
//! differs: masks are a finite additive bias and never Boolean, because backends disagree about what `true` means.

use burn::module::Module;
use burn::nn::{Initializer, Linear};
use burn::tensor::activation::softmax;
use burn::tensor::{DType, Device, Tensor};

use crate::{PreparedAttention, Recorder, linear};

/// Self-attention with the four projections of the checkpoint.
#[derive(Module, Debug)]
pub struct Attention {
    pub(crate) query: Linear,
    pub(crate) key: Linear,
    pub(crate) value: Linear,
    pub(crate) output: Linear,
    #[module(skip)]
    pub(crate) heads: usize,
}

impl Attention {
    /// Attention over tokens of width `width`, which `heads` must divide. Weights are drawn with the standard deviation `std`,
    /// biases are zero.
    pub fn init(width: usize, heads: usize, std: f64, device: &Device) -> Self {
        let projection = || linear(width, width, true, std, device);
        Self { query: projection(), key: projection(), value: projection(), output: projection(), heads }
    }

    /// The same with an output of another width, or drawn otherwise.
    #[must_use]
    pub fn with_output(self, width: usize, std: f64, device: &Device) -> Self {
        let inputs = self.output.weight.lazy_shape()[0];
        Self { output: linear(inputs, width, true, std, device), ..self }
    }

    /// The same with biases drawn from `initializer`.
    #[must_use]
    pub fn with_biases(self, initializer: &Initializer, device: &Device) -> Self {
        let biased = |linear: Linear| {
            let [inputs, outputs] = linear.weight.lazy_shape().dims();
            let bias = initializer.init_with([outputs], Some(inputs), Some(outputs), device);
            Linear { bias: Some(bias), ..linear }
        };
        let Self { query, key, value, output, heads } = self;
        Self { query: biased(query), key: biased(key), value: biased(value), output: biased(output), heads }
    }

    /// # Shapes
    /// `x`: `[B, L, D]`; `bias`: `[B, 1, L, L]` in f32, added to the scores; the result: `[B, L, D]`.
    pub fn forward(&self, x: Tensor<3>, bias: Option<Tensor<4>>, recorder: &mut Recorder) -> Tensor<3> {
        let q = split_heads(self.query.forward(x.clone()), self.heads); // [B, H, L, E]
        let k = split_heads(self.key.forward(x.clone()), self.heads); // [B, H, L, E]
        let v = split_heads(self.value.forward(x), self.heads); // [B, H, L, E]
        let probabilities = recorder.record("attention.probabilities", probabilities(q, k, bias)); // [B, H, L, L]
        let context = recorder.record("attention.context", merge_heads(probabilities.matmul(v))); // [B, L, D]
        recorder.record("attention.output", self.output.forward(context))
    }

    /// The inference form.
    pub fn prepare(self) -> PreparedAttention {
        PreparedAttention::from(self)
    }
}

/// How much each query attends to each key. The softmax is computed in f32.
///
/// # Shapes
/// `q`: `[B, H, Q, E]`; `k`: `[B, H, L, E]`; `bias`: what broadcasts to `[B, H, Q, L]`, in f32; the result: `[B, H, Q, L]`.
pub(crate) fn probabilities(q: Tensor<4>, k: Tensor<4>, bias: Option<Tensor<4>>) -> Tensor<4> {
    let (scale, dtype) = ((q.dims()[3] as f64).sqrt(), q.dtype());
    let scores = (q.matmul(k.transpose()) / scale).cast(DType::F32); // [B, H, Q, L]
    let scores = match bias {
        Some(bias) => scores + bias,
        None => scores,
    };
    softmax(scores, 3).cast(dtype)
}

/// The bias that keeps attention away from padding, in f32.
///
/// # Shapes
/// `padding`: `[B, L]`, 1 at padding and 0 elsewhere; the result: `[B, 1, L, L]`.
///
/// Half of the lowest finite f32: a sum with a score stays finite, and a row that is masked everywhere comes out uniform,
/// as in the reference. No half-precision number does both, so scores meet their bias in f32.
pub fn mask_bias(padding: Tensor<2>) -> Tensor<4> {
    let [b, l] = padding.dims();
    (padding * (f32::MIN / 2.0)).reshape([b, 1, 1, l]).expand([b, 1, l, l])
}

/// `[B, L, D]` to `[B, H, L, D / H]`.
pub(crate) fn split_heads(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [b, l, d] = x.dims();
    x.reshape([b, l, heads, d / heads]).swap_dims(1, 2)
}

/// `[B, H, L, E]` to `[B, L, H * E]`.
pub(crate) fn merge_heads(x: Tensor<4>) -> Tensor<3> {
    let [b, h, l, e] = x.dims();
    x.swap_dims(1, 2).reshape([b, l, h * e])
}
