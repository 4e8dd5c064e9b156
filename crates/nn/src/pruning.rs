//! Attention with some of its heads.
//!
//! Follows `prune_linear_layer` and `find_pruneable_heads_and_indices` of transformers 4.51.3 (`pytorch_utils.py`).

use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{Int, Tensor};

use crate::Attention;

impl Attention {
    /// The heads of the given numbers alone, in that order. Each must be there.
    #[must_use]
    pub fn keep_heads(self, kept: &[usize]) -> Self {
        let width = self.query.weight.lazy_shape()[1] / self.heads;
        let columns: Vec<i64> =
            kept.iter().flat_map(|head| head * width..(head + 1) * width).map(|i| i as i64).collect();
        let columns = Tensor::<1, Int>::from_data(columns.as_slice(), &self.output.weight.val().device());
        let narrow = |linear: Linear| Linear {
            weight: Param::from_tensor(linear.weight.val().select(1, columns.clone())), // [D, H * E]
            bias: linear.bias.map(|bias| Param::from_tensor(bias.val().select(0, columns.clone()))),
        };
        let output =
            Linear { weight: Param::from_tensor(self.output.weight.val().select(0, columns.clone())), ..self.output };
        let (query, key, value) = (narrow(self.query), narrow(self.key), narrow(self.value));
        Self { query, key, value, output, heads: kept.len(), ..self }
    }
}
