//! Multi-head self-attention, prepared for inference: one projection for query, key and value, fused attention, and
//! no query but those that are asked for.
//!
//! Shapes: B batch, L tokens, Q query tokens (L or 1), D width, H heads.

use burn::module::Module;
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{DType, Device, Tensor};

use crate::attention::{merge_heads, probabilities, split_heads};
use crate::class_token::ClassToken;
use crate::{Attention, Packing, PreparedLinear, RelativePositions, Rows, Sequences, fast};

/// Self-attention with one fused projection.
#[derive(Module, Debug)]
pub struct PreparedAttention {
    qkv: PreparedLinear,
    output: PreparedLinear,
    distance_embedding: Option<RelativePositions>,
    #[module(skip)]
    class_token: Option<ClassToken>,
    #[module(skip)]
    heads: usize,
    /// Width of all heads together.
    #[module(skip)]
    inner: usize,
}

impl From<Attention> for PreparedAttention {
    fn from(canonical: Attention) -> Self {
        let Attention { query, key, value, output, distance_embedding, heads } = canonical;
        let inner = query.weight.lazy_shape()[1];
        let qkv = PreparedLinear::beside(&[query, key, value].map(PreparedLinear::from)); // [D, 3 D]
        Self { qkv, output: output.into(), distance_embedding, class_token: None, heads, inner }
    }
}

impl PreparedAttention {
    /// Attention over tokens of width `width`, which `heads` must divide.
    pub fn init(width: usize, heads: usize, std: f64, device: &Device) -> Self {
        Self::pruned(width, [heads, width / heads], std, device)
    }

    /// As [`Attention::pruned`].
    pub fn pruned(width: usize, [heads, head_width]: [usize; 2], std: f64, device: &Device) -> Self {
        let inner = heads * head_width;
        let projection = |inputs, outputs| PreparedLinear::init(inputs, outputs, std, device);
        let (qkv, output) = (projection(width, 3 * inner), projection(inner, width));
        Self { qkv, output, distance_embedding: None, class_token: None, heads, inner }
    }

    /// The same with relative positions.
    #[must_use]
    pub fn with_positions(self, distance_embedding: Option<RelativePositions>) -> Self {
        Self { distance_embedding, ..self }
    }

    /// See [`PreparedLinear::pack`]; `rows` are those that will be asked for, though others may be.
    #[must_use]
    pub fn pack(self, packing: Packing, rows: Rows) -> Self {
        let qkv = self.qkv.pack(packing);
        let class_token = match rows {
            Rows::Class if self.distance_embedding.is_none() => ClassToken::of(&qkv, self.heads, self.inner),
            _ => None,
        };
        Self { qkv, class_token, output: self.output.pack(packing), ..self }
    }

    /// As [`Attention::with_output`].
    #[must_use]
    pub fn with_output(self, width: usize, std: f64, device: &Device) -> Self {
        let inputs = self.output.inputs();
        Self { output: PreparedLinear::init(inputs, width, std, device), ..self }
    }

    /// The paths in [`Attention`] of the parameters that stand side by side in the one at `path`; `path` itself where it
    /// is no fused parameter.
    pub fn parts(path: &str) -> Vec<String> {
        if path.contains(".qkv.") {
            ["query", "key", "value"].map(|part| path.replace(".qkv.", &format!(".{part}."))).to_vec()
        } else {
            vec![path.into()]
        }
    }

    /// # Shapes
    /// `x`: `[B, L, D]`; the result: `[B, Q, D]`; see [`Sequences`].
    pub fn forward(&self, x: Tensor<3>, sequences: &Sequences, rows: Rows) -> Tensor<3> {
        self.output.forward(self.context(x, sequences, rows))
    }

    /// A residual of `[B, Q, D]` and what attention adds to it.
    pub fn forward_added(&self, x: Tensor<3>, sequences: &Sequences, rows: Rows, residual: Tensor<3>) -> Tensor<3> {
        self.output.forward_added(self.context(x, sequences, rows), residual)
    }

    /// How the weights are kept that meet what enters.
    pub fn packing(&self) -> Packing {
        self.qkv.packing()
    }

    #[cfg(all(test, feature = "flex"))]
    pub(crate) fn without_keys(&self) -> bool {
        self.class_token.is_some()
    }

    fn context(&self, x: Tensor<3>, sequences: &Sequences, rows: Rows) -> Tensor<3> {
        let d = self.inner;
        // Relative positions meet queries and keys in f32, and no head of bf16 has an odd width.
        let fits = self.distance_embedding.is_none() && (d / self.heads).is_multiple_of(2);
        let to = if fits { self.packing() } else { Packing::Whole };
        if let (Some(class_token), Rows::Class) = (&self.class_token, rows)
            && let Some(context) = class_token.context(&self.qkv, &x, sequences, to)
        {
            return context;
        }
        let (q, k, v) = match rows {
            Rows::All => {
                let qkv = self.qkv.forward_columns(x, 0..3 * d, to); // [B, L, 3 D]
                (qkv.clone().narrow(2, 0, d), qkv.clone().narrow(2, d, d), qkv.narrow(2, 2 * d, d))
            }
            Rows::Class => {
                let q = self.qkv.forward_columns(sequences.rows(x.clone(), rows), 0..d, to); // [B, 1, D]
                let kv = self.qkv.forward_columns(x, d..3 * d, to); // [B, L, 2 D]
                (q, kv.clone().narrow(2, 0, d), kv.narrow(2, d, d))
            }
        };
        let bias = match sequences {
            Sequences::Whole => None,
            Sequences::Padded(bias) => Some(bias.clone().narrow(2, 0, q.dims()[1])), // [B, 1, Q, L]
            Sequences::Packed(packed) => return self.attend_packed(&q, &k, &v, &packed.lengths(rows)),
        };
        let bias = self.with_relative(bias, &q, &k);
        let context = fast::attention(&q, &k, &v, bias.as_ref(), self.heads);
        context.unwrap_or_else(|| attend(q, k, v, bias, self.heads)) // [B, Q, D]
    }

    /// Attention of packed sequences; by burn's own operation it is one call for each.
    ///
    /// # Shapes
    /// `q`: `[1, N, D]`; `k` and `v`: `[1, M, D]`, where N and M are the sums of `lengths`; the result: `[1, N, D]`.
    fn attend_packed(&self, q: &Tensor<3>, k: &Tensor<3>, v: &Tensor<3>, lengths: &[[usize; 2]]) -> Tensor<3> {
        fast::attention_packed(q, k, v, lengths, self.heads).unwrap_or_else(|| {
            let (mut query, mut key) = (0, 0);
            let contexts = lengths.iter().map(|&[queries, keys]| {
                let q = q.clone().narrow(1, query, queries);
                let [k, v] = [k, v].map(|x| x.clone().narrow(1, key, keys));
                (query, key) = (query + queries, key + keys);
                attend(q, k, v, None, self.heads)
            });
            Tensor::cat(contexts.collect(), 1)
        })
    }

    /// The bias with what relative positions add, `[B, H, Q, L]`, where there are any.
    fn with_relative(&self, bias: Option<Tensor<4>>, q: &Tensor<3>, k: &Tensor<3>) -> Option<Tensor<4>> {
        let Some(positions) = &self.distance_embedding else { return bias };
        let [q, k] = [q, k].map(|x| split_heads(x.clone(), self.heads));
        RelativePositions::joined(Some(positions), &q, &k, false, bias)
    }

    /// How much each token attends to each. The fused attention above does not tell; this computes the scores again.
    ///
    /// # Shapes
    /// `x`: `[B, L, D]`; the result: `[B, H, L, L]`.
    pub fn probabilities(&self, x: &Tensor<3>) -> Tensor<4> {
        let d = self.inner;
        let columns = |start| self.qkv.forward_columns(x.clone(), start..start + d, Packing::Whole);
        let [q, k] = [0, d].map(|start| split_heads(columns(start), self.heads)); // [B, H, L, D / H]
        let bias = RelativePositions::joined(self.distance_embedding.as_ref(), &q, &k, false, None);
        probabilities(q, k, bias)
    }
}

/// Attention by burn's own operation.
///
/// # Shapes
/// `q`: `[B, Q, D]`; `k` and `v`: `[B, L, D]`; `bias`: `[B, 1 or H, Q, L]`; the result: `[B, Q, D]`.
fn attend(q: Tensor<3>, k: Tensor<3>, v: Tensor<3>, bias: Option<Tensor<4>>, heads: usize) -> Tensor<3> {
    let dtype = q.dtype();
    let wide = if bias.is_some() { DType::F32 } else { dtype }; // see `mask_bias`
    let [q, k, v] = [q, k, v].map(|x| split_heads(x, heads).cast(wide));
    let options = AttentionModuleOptions { scale: None, softcap: None, is_causal: false };
    merge_heads(attention(q, k, v, None, bias, options)).cast(dtype)
}
