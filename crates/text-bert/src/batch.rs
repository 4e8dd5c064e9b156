//! A batch of token ids, checked once.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use chinese_clip_config::TextConfig;
use chinese_clip_nn::{Packed, Sequences};

use crate::{TextError, mask};

/// Token ids of B texts, padded to L tokens, on a device. A tower cannot fail on it.
#[derive(Debug, Clone)]
pub struct TokenBatch {
    pub(crate) ids: Tensor<2, Int>,
    pub(crate) types: Option<Tensor<2, Int>>,
    padding: Option<Tensor<2>>,
    /// Which tokens are no padding, in row-major order, where some are and each text keeps its first.
    kept: Option<Vec<usize>>,
}

/// The tokens that a tower computes, and how they lie: `[B, L]`, or `[1, N]` without padding.
pub(crate) struct Tokens {
    pub(crate) ids: Tensor<2, Int>,
    pub(crate) types: Tensor<2, Int>,
    /// `[1, L]` or `[1, N]`.
    pub(crate) positions: Tensor<2, Int>,
    pub(crate) sequences: Sequences,
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
        if let Some(mask) = attention_mask {
            check("attention_mask", mask, shape, 2)?;
        }
        let mask = attention_mask.filter(|mask| mask.contains(&0));
        let padding = mask.map(|mask| {
            let padded: Vec<f32> = mask.iter().map(|&keep| 1.0 - keep as f32).collect();
            Tensor::from_data(TensorData::new(padded, shape), (device, DType::F32))
        });
        let kept = mask.filter(|mask| mask.iter().step_by(shape[1]).all(|&first| first == 1)).map(|mask| {
            let kept = |(at, &keep): (usize, &i64)| (keep == 1).then_some(at);
            mask.iter().enumerate().filter_map(kept).collect()
        });
        Ok(Self { ids, types: None, padding, kept })
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

    /// All tokens; those of a `causal` tower look back only.
    pub(crate) fn padded(&self, causal: bool) -> Tokens {
        let ([b, l], device) = (self.shape(), self.ids.device());
        let positions = Tensor::arange(0..l as i64, &device).unsqueeze(); // [1, L]
        let padding = self.padding.clone().map(|padding| padding.unsqueeze_dim(1)); // [B, 1, L]
        let sequences = mask::bias(padding, causal, [b, l, l], &device).map_or(Sequences::Whole, Sequences::Padded);
        Tokens { ids: self.ids.clone(), types: self.types(), positions, sequences }
    }

    /// The tokens that are no padding; `None` where all are, or where a text has lost its first token, on which it ends.
    pub(crate) fn packed(&self) -> Option<Tokens> {
        let kept = self.kept.as_ref()?;
        let ([b, l], device) = (self.shape(), self.ids.device());
        let row = |values: Vec<i64>| Tensor::<1, Int>::from_data(TensorData::new(values, [kept.len()]), &device);
        let at = row(kept.iter().map(|&at| at as i64).collect());
        let pick = |x: Tensor<2, Int>| x.reshape([1, b * l]).select(1, at.clone()); // [1, N]
        let positions = row(kept.iter().map(|&at| (at % l) as i64).collect()).unsqueeze(); // [1, N]
        let lengths = kept.chunk_by(|a, b| a / l == b / l).map(<[usize]>::len).collect();
        let sequences = Sequences::Packed(Packed::new(lengths, &device));
        Some(Tokens { ids: pick(self.ids.clone()), types: pick(self.types()), positions, sequences })
    }

    fn types(&self) -> Tensor<2, Int> {
        self.types.clone().unwrap_or_else(|| self.ids.zeros_like())
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
        let full = batch(&[1, 2], Some(&[1, 1]), [1, 2]).unwrap();
        assert!(matches!(full.padded(false).sequences, Sequences::Whole) && full.packed().is_none());
        let Sequences::Padded(bias) = batch(&[1, 0], Some(&[1, 0]), [1, 2]).unwrap().padded(false).sequences else {
            panic!("no bias");
        };
        assert_eq!(bias.dims(), [1, 1, 2, 2]);
    }

    #[test]
    fn packed_tokens_are_those_of_the_mask() {
        let ids = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        let packed = |mask: &[i64]| batch(&ids, Some(mask), [3, 3]).unwrap().packed();
        assert!(packed(&[1, 1, 0, 0, 0, 0, 1, 1, 1]).is_none() && packed(&[0, 1, 1, 1, 1, 1, 1, 1, 1]).is_none());
        let tokens = packed(&[1, 1, 0, 1, 0, 0, 1, 0, 1]).unwrap();
        let numbers = |tensor: Tensor<2, Int>| tensor.into_data().iter::<i64>().collect::<Vec<_>>();
        assert_eq!((numbers(tokens.ids), numbers(tokens.positions)), (vec![1, 2, 4, 7, 9], vec![0, 1, 0, 0, 2]));
    }
}
