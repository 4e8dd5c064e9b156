//! Multi-head attention with an additive bias, canonical form.
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

use crate::{PreparedAttention, Recorder, RelativePositions, linear};

/// Self-attention with the four projections of the checkpoint.
#[derive(Module, Debug)]
pub struct Attention {
    pub(crate) query: Linear,
    pub(crate) key: Linear,
    pub(crate) value: Linear,
    pub(crate) output: Linear,
    pub(crate) distance_embedding: Option<RelativePositions>,
    #[module(skip)]
    pub(crate) heads: usize,
}

/// Keys and values that queries look at, `[B, H, L, E]`.
#[derive(Debug, Clone)]
pub struct KeyValue {
    /// The keys.
    pub key: Tensor<4>,
    /// The values.
    pub value: Tensor<4>,
}

impl KeyValue {
    /// These behind those of earlier tokens.
    #[must_use]
    pub fn after(self, past: &Self) -> Self {
        let join = |past: &Tensor<4>, own| Tensor::cat(vec![past.clone(), own], 2);
        Self { key: join(&past.key, self.key), value: join(&past.value, self.value) }
    }
}

/// What changes attention, none by default.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// What broadcasts to `[B, H, Q, L]`, in f32, and adds to the scores.
    pub bias: Option<Tensor<4>>,
    /// Factors of the probabilities, `[1, H, 1, 1]`.
    pub head_mask: Option<Tensor<4>>,
    /// Whether some of the keys are those of earlier tokens.
    pub cached: bool,
}

impl Attention {
    /// Attention over tokens of width `width`, which `heads` must divide. Weights are drawn with the standard deviation `std`,
    /// biases are zero.
    pub fn init(width: usize, heads: usize, std: f64, device: &Device) -> Self {
        Self::pruned(width, [heads, width / heads], std, device)
    }

    /// The same of heads that do not make up the width: some were taken away.
    pub fn pruned(width: usize, [heads, head_width]: [usize; 2], std: f64, device: &Device) -> Self {
        let inner = heads * head_width;
        let projection = || linear(width, inner, true, std, device);
        let output = linear(inner, width, true, std, device);
        Self { query: projection(), key: projection(), value: projection(), output, distance_embedding: None, heads }
    }

    /// The same with relative positions.
    #[must_use]
    pub fn with_positions(self, distance_embedding: Option<RelativePositions>) -> Self {
        Self { distance_embedding, ..self }
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
        let Self { query, key, value, output, .. } = self;
        Self { query: biased(query), key: biased(key), value: biased(value), output: biased(output), ..self }
    }

    /// # Shapes
    /// `x`: `[B, L, D]`; `bias`: `[B, 1, L, L]` in f32, added to the scores; the result: `[B, L, D]`.
    pub fn forward(&self, x: Tensor<3>, bias: Option<Tensor<4>>, recorder: &mut Recorder) -> Tensor<3> {
        let own = self.key_value(x.clone());
        self.attend(x, own, Change { bias, ..Change::default() }, recorder).0
    }

    /// Keys and values of tokens, which may be those of another sequence.
    ///
    /// # Shapes
    /// `x`: `[B, L, D]`.
    pub fn key_value(&self, x: Tensor<3>) -> KeyValue {
        let project = |linear: &Linear, x| split_heads(linear.forward(x), self.heads); // [B, H, L, E]
        KeyValue { key: project(&self.key, x.clone()), value: project(&self.value, x) }
    }

    /// What tokens gather from keys and values, and how much they attend to each.
    ///
    /// # Shapes
    /// `x`: `[B, Q, D]`; the results: `[B, Q, D]` and `[B, H, Q, L]`.
    pub fn attend(
        &self,
        x: Tensor<3>,
        on: KeyValue,
        change: Change,
        recorder: &mut Recorder,
    ) -> (Tensor<3>, Tensor<4>) {
        let q = split_heads(self.query.forward(x), self.heads); // [B, H, Q, E]
        let bias = RelativePositions::joined(self.distance_embedding.as_ref(), &q, &on.key, change.cached, change.bias);
        let probabilities = probabilities(q, on.key, bias); // [B, H, Q, L]
        let probabilities = match change.head_mask {
            Some(mask) => probabilities * mask,
            None => probabilities,
        };
        let probabilities = recorder.record("attention.probabilities", probabilities);
        let context = merge_heads(probabilities.clone().matmul(on.value)); // [B, Q, D]
        let context = recorder.record("attention.context", context);
        (recorder.record("attention.output", self.output.forward(context)), probabilities)
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

/// The bias that keeps attention away from what is masked, in f32.
///
/// # Shapes
/// `masked`: `[B, Q, L]`, 1 at keys that a query must not see and 0 elsewhere; the result: `[B, 1, Q, L]`.
///
/// Half of the lowest finite f32: a sum with a score stays finite, and a row that is masked everywhere comes out uniform,
/// as in the reference. No half-precision number does both, so scores meet their bias in f32.
pub fn mask_bias(masked: Tensor<3>) -> Tensor<4> {
    (masked * (f32::MIN / 2.0)).unsqueeze_dim(1)
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
