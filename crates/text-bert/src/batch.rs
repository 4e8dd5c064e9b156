//! A batch of token ids, checked once.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use chinese_clip_config::TextConfig;

use crate::{TextError, mask};

/// Token ids of B texts, padded to L tokens, on a device. A tower cannot fail on it.
#[derive(Debug, Clone)]
pub struct TokenBatch {
    pub(crate) ids: Tensor<2, Int>,
    pub(crate) types: Option<Tensor<2, Int>>,
    padding: Option<Tensor<2>>,
}

impl TokenBatch {
    /// A batch out of row-major arrays of `shape = [B, L]`.
    ///
    /// `attention_mask` is 1 at tokens and 0 at padding, which nothing attends to. Without one, as in HF, everything is
    /// attended to, `[PAD]` included.
    pub fn new(
        input_ids: &[i64],
        attention_mask: Option<&[i64]>,
        shape: [usize; 2],
        config: &TextConfig,
        device: &Device,
    ) -> Result<Self, TextError> {
        check_shape(shape, shape[1], config)?;
        let ids = int_tensor("input_ids", input_ids, shape, config.vocab_size, device)?;
        let padding = attention_mask
            .map(|mask| {
                check("attention_mask", mask, shape, 2)?;
                let padded: Vec<f32> = mask.iter().map(|&keep| if keep == 0 { 1.0 } else { 0.0 }).collect();
                let all_kept = mask.iter().all(|&keep| keep == 1);
                Ok((!all_kept).then(|| Tensor::from_data(TensorData::new(padded, shape), (device, DType::F32))))
            })
            .transpose()?;
        Ok(Self { ids, types: None, padding: padding.flatten() })
    }

    /// Gives the segment of each token; without it, all are 0.
    pub fn with_token_type_ids(mut self, token_type_ids: &[i64], config: &TextConfig) -> Result<Self, TextError> {
        let (shape, device) = (self.shape(), self.ids.device());
        self.types = Some(int_tensor("token_type_ids", token_type_ids, shape, config.type_vocab_size, &device)?);
        Ok(self)
    }

    /// `[B, L]`.
    pub fn shape(&self) -> [usize; 2] {
        self.ids.dims()
    }

    /// The bias of attention scores, `[B, 1, L, L]` in f32; `None` where nothing is masked. A `causal` tower looks back only.
    pub(crate) fn bias(&self, causal: bool) -> Option<Tensor<4>> {
        let [b, l] = self.shape();
        let padding = self.padding.clone().map(|padding| padding.unsqueeze_dim(1)); // [B, 1, L]
        mask::bias(padding, causal, [b, l, l], &self.ids.device())
    }
}

/// Texts of `shape` that end at position `end`, earlier tokens included.
pub(crate) fn check_shape([batch, length]: [usize; 2], end: usize, config: &TextConfig) -> Result<(), TextError> {
    if batch == 0 || length == 0 {
        return Err(TextError::Empty { batch, length });
    }
    if end > config.max_position_embeddings {
        return Err(TextError::TooLong { length: end, limit: config.max_position_embeddings });
    }
    let chunk = config.chunk_size_feed_forward;
    if chunk > 0 && !length.is_multiple_of(chunk) {
        return Err(TextError::Chunk { length, chunk });
    }
    Ok(())
}

pub(crate) fn int_tensor(
    array: &'static str,
    values: &[i64],
    shape: [usize; 2],
    limit: usize,
    device: &Device,
) -> Result<Tensor<2, Int>, TextError> {
    check(array, values, shape, limit)?;
    Ok(Tensor::from_data(TensorData::new(values.to_vec(), shape), device))
}

/// An error if there are not as many values as the shape says, or one is not from 0 to below `limit`.
pub(crate) fn check(
    array: &'static str,
    values: &[i64],
    shape: impl Into<Vec<usize>>,
    limit: usize,
) -> Result<(), TextError> {
    let shape = shape.into();
    if values.len() != shape.iter().product::<usize>() {
        return Err(TextError::Length { array, found: values.len(), shape });
    }
    let length = shape.last().copied().unwrap_or(1);
    let outside = |&value: &i64| usize::try_from(value).map_or(true, |value| value >= limit);
    match values.iter().position(outside) {
        None => Ok(()),
        Some(at) => {
            Err(TextError::OutOfRange { array, row: at / length, column: at % length, value: values[at], limit })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(ids: &[i64], mask: Option<&[i64]>, shape: [usize; 2]) -> Result<TokenBatch, TextError> {
        let config = TextConfig { vocab_size: 10, max_position_embeddings: 4, ..TextConfig::default() };
        TokenBatch::new(ids, mask, shape, &config, &Device::flex())
    }

    #[test]
    fn bad_batches_are_refused() {
        for (ids, mask, shape, part) in [
            (&[1, 2, 3][..], None, [1, 2], "input_ids has 3 elements, the shape [1, 2] needs 2"),
            (&[], None, [0, 2], "empty"),
            (&[1, 10], None, [1, 2], "input_ids[0, 1] is 10, must be less than 10"),
            (&[1, -1], None, [1, 2], "input_ids[0, 1] is -1"),
            (&[1, 2, 3, 4, 5], None, [1, 5], "5 tokens are more than the 4 positions"),
            (&[1, 2], Some(&[1][..]), [1, 2], "attention_mask has 1 elements"),
            (&[1, 2], Some(&[1, 2]), [1, 2], "attention_mask[0, 1] is 2"),
        ] {
            let message = batch(ids, mask, shape).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_mask_of_ones_needs_no_bias() {
        assert!(batch(&[1, 2], Some(&[1, 1]), [1, 2]).unwrap().bias(false).is_none());
        let bias = batch(&[1, 0], Some(&[1, 0]), [1, 2]).unwrap().bias(false).unwrap();
        assert_eq!(bias.dims(), [1, 1, 2, 2]);
    }
}
