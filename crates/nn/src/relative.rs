//! Relative positions: learned vectors of the distance between two tokens, which add to the scores of attention.
//!
//! Follows `position_embedding_type` of `ChineseCLIPTextSelfAttention`, transformers 4.51.3: `relative_key` (Shaw et al. 2018) and
//! `relative_key_query` (Huang et al. 2020, method 4).
//!
//! Shapes: B batch, H heads, Q query tokens, L key tokens, E head width, P positions.
//!
//! differs: what is added comes in f32 and divided by the root of E already, as part of the bias.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{DType, Device, Int, Tensor};

/// A vector for each distance of two tokens, and whether keys add to a score, too.
#[derive(Module, Debug)]
pub struct RelativePositions {
    weight: Param<Tensor<2>>, // [2 P - 1, E]
    #[module(skip)]
    of_keys: bool,
}

impl RelativePositions {
    /// Vectors for distances of up to `positions` tokens, of which a head is `width` wide; `of_keys` makes `relative_key_query` of
    /// `relative_key`. Drawn as the reference does it, which forgets them: with a standard deviation of 1.
    pub fn init(positions: usize, width: usize, of_keys: bool, device: &Device) -> Self {
        let normal = Initializer::Normal { mean: 0.0, std: 1.0 };
        Self { weight: normal.init([2 * positions - 1, width], device), of_keys }
    }

    /// What each pair of query and key adds to its scaled score.
    ///
    /// Without a cache, query 0 stands where key 0 does. Behind `cached` keys the reference takes every query for the last
    /// token, which is true of one query and done for more.
    ///
    /// # Shapes
    /// `q`: `[B, H, Q, E]`; `k`: `[B, H, L, E]`; the result: `[B, H, Q, L]`.
    pub fn bias(&self, q: &Tensor<4>, k: &Tensor<4>, cached: bool) -> Tensor<4> {
        let ([b, h, queries, e], keys) = (q.dims(), k.dims()[2]);
        let (first, rows) = if cached { (keys - 1, 1) } else { (0, queries) }; // R rows of distances
        let vectors = self.vectors(first, rows, keys); // [R, L, E]
        let per_row = q.clone().reshape([b * h, queries, e]).swap_dims(0, 1); // [Q, B * H, E]
        let per_row = per_row.reshape([rows, queries * b * h / rows, e]).matmul(vectors.clone().swap_dims(1, 2));
        let added = per_row.reshape([queries, b * h, keys]).swap_dims(0, 1).reshape([b, h, queries, keys]);
        let added = if self.of_keys {
            let per_key = k.clone().reshape([b * h, keys, e]).permute([1, 2, 0]); // [L, E, B * H]
            let of_keys = vectors.swap_dims(0, 1).matmul(per_key); // [L, R, B * H]
            added + of_keys.permute([2, 1, 0]).reshape([b, h, rows, keys])
        } else {
            added
        };
        added.cast(DType::F32) / (e as f64).sqrt()
    }

    /// The bias with what `positions`, where there are any, add to it.
    pub(crate) fn joined(
        positions: Option<&Self>,
        q: &Tensor<4>,
        k: &Tensor<4>,
        cached: bool,
        bias: Option<Tensor<4>>,
    ) -> Option<Tensor<4>> {
        match (positions.map(|positions| positions.bias(q, k, cached)), bias) {
            (Some(added), Some(bias)) => Some(added + bias),
            (added, bias) => added.or(bias),
        }
    }

    /// The vectors of the distances from `rows` tokens, the first of which has the number `first`, to `keys` ones.
    ///
    /// # Shapes
    /// The result: `[R, L, E]`.
    fn vectors(&self, first: usize, rows: usize, keys: usize) -> Tensor<3> {
        let weight = self.weight.val();
        let [distances, e] = weight.dims();
        let numbers =
            |from: usize, count: usize| Tensor::<1, Int>::arange(from as i64..(from + count) as i64, &weight.device());
        let zero = (distances / 2) as i64; // P - 1
        let left = numbers(first, rows).unsqueeze_dim::<2>(1); // [R, 1]
        let right = numbers(0, keys).unsqueeze_dim::<2>(0); // [1, L]
        let at = (left - right + zero).reshape([rows * keys]);
        weight.select(0, at).reshape([rows, keys, e])
    }
}
