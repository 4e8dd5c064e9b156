//! Multi-head self-attention, prepared for inference: one projection for query, key and value, fused attention, and
//! no query but those that are asked for.
//!
//! Shapes: B batch, L tokens, Q query tokens (L or 1), D width, H heads.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::module::{attention, linear};
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{DType, Device, Tensor, s};

use crate::Attention;
use crate::attention::{merge_heads, split_heads};

/// Which rows of a layer's output are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Every token.
    All,
    /// The class token, row 0.
    Class,
}

impl Rows {
    /// # Shapes
    /// `x`: `[B, L, D]`; the result: `[B, Q, D]`.
    pub fn of(self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::All => x,
            Self::Class => x.slice(s![.., 0..1, ..]),
        }
    }
}

/// Self-attention with one fused projection.
#[derive(Module, Debug)]
pub struct PreparedAttention {
    qkv: Linear,
    output: Linear,
    #[module(skip)]
    heads: usize,
}

impl From<Attention> for PreparedAttention {
    fn from(canonical: Attention) -> Self {
        let Attention { query, key, value, output, heads } = canonical;
        let (weights, biases) =
            [query, key, value].into_iter().map(|l| (l.weight.val(), l.bias.map(|b| b.val()))).unzip();
        let (weights, biases): (Vec<_>, Vec<_>) = (weights, biases);
        let bias = biases.into_iter().collect::<Option<Vec<_>>>();
        let qkv = Linear {
            weight: Param::from_tensor(Tensor::cat(weights, 1)), // [D, 3 D]
            bias: bias.map(|b| Param::from_tensor(Tensor::cat(b, 0))),
        };
        Self { qkv, output, heads }
    }
}

impl PreparedAttention {
    /// Attention over tokens of width `width`, which `heads` must divide.
    pub fn init(width: usize, heads: usize, std: f64, device: &Device) -> Self {
        let projection = |outputs| crate::linear(width, outputs, true, std, device);
        Self { qkv: projection(3 * width), output: projection(width), heads }
    }

    /// As [`Attention::with_output`].
    #[must_use]
    pub fn with_output(self, width: usize, std: f64, device: &Device) -> Self {
        let inputs = self.output.weight.lazy_shape()[0];
        Self { output: crate::linear(inputs, width, true, std, device), ..self }
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
    /// `x`: `[B, L, D]`; `bias`: `[B, 1, L, L]` in f32; the result: `[B, Q, D]`.
    pub fn forward(&self, x: Tensor<3>, bias: Option<Tensor<4>>, rows: Rows) -> Tensor<3> {
        let d = x.dims()[2];
        let (q, k, v) = match rows {
            Rows::All => {
                let qkv = self.qkv.forward(x); // [B, L, 3 D]
                (qkv.clone().narrow(2, 0, d), qkv.clone().narrow(2, d, d), qkv.narrow(2, 2 * d, d))
            }
            Rows::Class => {
                let q = self.project(rows.of(x.clone()), 0, d); // [B, 1, D]
                let kv = self.project(x, d, 2 * d); // [B, L, 2 D]
                (q, kv.clone().narrow(2, 0, d), kv.narrow(2, d, d))
            }
        };
        let bias = bias.map(|bias| match rows {
            Rows::All => bias,
            Rows::Class => bias.narrow(2, 0, 1), // [B, 1, 1, L]
        });
        let dtype = q.dtype();
        let wide = if bias.is_some() { DType::F32 } else { dtype }; // see `mask_bias`
        let [q, k, v] = [q, k, v].map(|x| split_heads(x, self.heads).cast(wide));
        let options = AttentionModuleOptions { scale: None, softcap: None, is_causal: false };
        let context = merge_heads(attention(q, k, v, None, bias, options)).cast(dtype); // [B, Q, D]
        self.output.forward(context)
    }

    /// The columns `start..start + width` of the fused projection.
    fn project(&self, x: Tensor<3>, start: usize, width: usize) -> Tensor<3> {
        let bias = self.qkv.bias.as_ref().map(|bias| bias.val().narrow(0, start, width));
        linear(x, self.qkv.weight.val().narrow(1, start, width), bias)
    }
}
