//! Attention of the class token alone, for which no key and no value is computed.
//!
//! With a single query, `q (x Wk + bk)'` is `(q Wk') x'` and a number that is the same for every token, which the softmax takes out
//! again; and a weighted mean of `x Wv + bv` is that of `x`, times `Wv`, plus `bv`. So what were two products over all tokens are two over
//! class tokens, and attention is over `x` itself, where each head is a query.
//!
//! Shapes: B sequences, L tokens, D width, H heads, E width of a head.

use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::Tensor;
use chinese_clip_kernels::PANEL;

use crate::{Packing, PreparedLinear, Rows, Sequences, fast};

/// The transposed weights of the keys, for each head `[E, D]`.
#[derive(Debug, Clone)]
pub(crate) struct ClassToken(Vec<PreparedLinear>);

impl ClassToken {
    /// From the layer of queries, keys and values, each `inner` wide, where the backend's kernels take their shapes. Products of 8
    /// bits cost less than what would take their place.
    pub(crate) fn of(qkv: &PreparedLinear, heads: usize, inner: usize) -> Option<Self> {
        let head = inner / heads;
        if qkv.packing() == Packing::Int8 || !head.is_multiple_of(PANEL) || !fast::attends_packed(&qkv.bias()) {
            return None;
        }
        let keys = qkv.columns(inner..2 * inner); // [D, H * E]
        let [width, _] = keys.dims();
        let scale = (width as f64 / head as f64).sqrt(); // attention divides by the root of D, where that of E is meant
        let transposed = |h: usize| {
            let weight = keys.clone().narrow(1, h * head, head).transpose() * scale;
            PreparedLinear::from(Linear { weight: Param::from_tensor(weight), bias: None }).pack(Packing::Whole)
        };
        width.is_multiple_of(PANEL).then(|| Self((0..heads).map(transposed).collect()))
    }

    /// What attention hands to its output layer; `None` where the kernels do not take `x`.
    ///
    /// # Shapes
    /// `x`: `[B, L, D]`; the result: `[B, 1, H * E]`, of packed sequences `[1, B, H * E]`.
    pub(crate) fn context(
        &self,
        qkv: &PreparedLinear,
        x: &Tensor<3>,
        sequences: &Sequences,
        to: Packing,
    ) -> Option<Tensor<3>> {
        let Self(transposed) = self;
        let class = sequences.rows(x.clone(), Rows::Class);
        let ([b, q, width], heads) = (class.dims(), transposed.len());
        let (count, inner) = (b * q, qkv.outputs() / 3);
        let (head, query) = (inner / heads, qkv.forward_columns(class, 0..inner, Packing::Whole));
        let query = query.reshape([1, count, inner]);
        let back = transposed.iter().enumerate().map(|(h, transposed)| {
            transposed.forward(query.clone().narrow(2, h * head, head)).reshape([count, 1, width])
        });
        let queries = Tensor::cat(back.collect(), 1).cast(x.dtype()); // [B, H, D]
        let means = match sequences {
            Sequences::Whole => fast::attention(&queries, x, x, None, 1)?,
            Sequences::Padded(bias) => {
                let bias = bias.clone().narrow(2, 0, 1).expand([-1, -1, heads as i64, -1]); // [B, 1, H, L]
                fast::attention(&queries, x, x, Some(&bias), 1)?
            }
            Sequences::Packed(packed) => {
                let lengths: Vec<_> = packed.lengths(Rows::Class).iter().map(|&[_, keys]| [heads, keys]).collect();
                let queries = queries.reshape([1, count * heads, width]);
                fast::attention_packed(&queries, x, x, &lengths, 1)?.reshape([count, heads, width])
            }
        }; // [B, H, D]
        let values = (0..heads).map(|h| {
            let start = 2 * inner + h * head;
            let mean = means.clone().narrow(1, h, 1).reshape([1, count, width]);
            qkv.forward_columns(mean, start..start + head, to)
        });
        Some(Tensor::cat(values.collect(), 2).reshape([b, q, inner]))
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::PreparedAttention;
    use crate::sequences::Packed;

    /// Attention of the class token with keys and values, and without.
    fn compare(x: &Tensor<3>, [heads, head]: [usize; 2], sequences: &Sequences, packing: Packing, bound: f32) {
        let [_, _, width] = x.dims();
        let plain = PreparedAttention::pruned(width, [heads, head], 0.3, &x.device());
        let [plain, without] = [Rows::All, Rows::Class].map(|rows| plain.clone().pack(packing, rows));
        assert_eq!([plain.without_keys(), without.without_keys()], [false, true]);
        let [plain, without] = [plain, without].map(|layer| layer.forward(x.clone(), sequences, Rows::Class));
        assert_eq!(plain.dims(), without.dims());
        let (largest, distance) = (plain.clone().abs().max(), (plain - without).abs().max());
        let distance = (distance / largest).into_scalar::<f32>();
        assert!(distance < bound, "{distance} of {width}, {heads} heads of {head}, {sequences:?}, {packing:?}");
    }

    #[test]
    fn neither_keys_nor_values_are_missed() {
        let device = Device::flex();
        for (width, heads) in [(16, [1, 16]), (48, [3, 16]), (64, [3, 32]), (160, [2, 80])] {
            // Sums in another order; and of bf16, other numbers are rounded.
            for (packing, bound) in [(Packing::Whole, 1e-5), (Packing::Bf16, 5e-2)] {
                for (b, l) in [(1, 1), (1, 7), (3, 1), (3, 37)] {
                    let random = |shape: [usize; 3]| Tensor::random(shape, Distribution::Normal(0.0, 1.0), &device);
                    let x = random([b, l, width]);
                    compare(&x, heads, &Sequences::Whole, packing, bound);
                    let bias = Tensor::random([b, 1, l, l], Distribution::Uniform(-5.0, 0.0), &device);
                    compare(&x, heads, &Sequences::Padded(bias), packing, bound);
                    let lengths: Vec<usize> = (1..=b).chain([l]).collect();
                    let packed = random([1, lengths.iter().sum(), width]);
                    compare(&packed, heads, &Sequences::Packed(Packed::new(lengths, &device)), packing, bound);
                }
            }
        }
    }
}
