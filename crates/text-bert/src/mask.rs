//! Which keys a query may see: padding, earlier tokens only, or what the caller says of each pair.
//!
//! Follows `get_extended_attention_mask` and `invert_attention_mask` of `PreTrainedModel`, transformers 4.51.3.
//!
//! Shapes: B batch, Q query tokens, K key tokens (the last Q of them are the queries' own).

use burn::tensor::{DType, Device, Tensor, TensorData};
use chinese_clip_nn::mask_bias;

use crate::TextError;
use crate::batch::check;

/// An attention mask, row by row: 1 at keys that are seen, 0 at others.
#[derive(Debug, Clone, Copy)]
pub enum Mask<'a> {
    /// `[B, K]`. In a decoder, no query sees later keys either.
    Keys(&'a [i64]),
    /// `[B, Q, K]`: of each query its own keys, in a decoder, too.
    Pairs(&'a [i64]),
}

impl Mask<'_> {
    /// 1 at masked keys, `[B, 1 or Q, K]`.
    pub(crate) fn masked(
        self,
        array: &'static str,
        [b, q, k]: [usize; 3],
        device: &Device,
    ) -> Result<Tensor<3>, TextError> {
        let (values, shape, given) = match self {
            Self::Keys(values) => (values, [b, 1, k], vec![b, k]),
            Self::Pairs(values) => (values, [b, q, k], vec![b, q, k]),
        };
        check(array, values, given, 2)?;
        let masked: Vec<f32> = values.iter().map(|&seen| if seen == 0 { 1.0 } else { 0.0 }).collect();
        Ok(Tensor::from_data(TensorData::new(masked, shape), (device, DType::F32)))
    }
}

/// The bias of attention scores in f32; `None` where nothing is masked.
///
/// # Shapes
/// `masked`: `[B, 1 or Q, K]`, 1 at keys that are not seen; the result: `[B, 1, Q, K]`.
pub(crate) fn bias(
    masked: Option<Tensor<3>>,
    causal: bool,
    [b, q, k]: [usize; 3],
    device: &Device,
) -> Option<Tensor<4>> {
    let later = causal.then(|| {
        let all = Tensor::<2>::ones([q, k], (device, DType::F32));
        all.triu((k - q) as i64 + 1).unsqueeze_dim::<3>(0) // [1, Q, K]
    });
    let masked = match (masked, later) {
        (Some(masked), Some(later)) => Some((masked + later).clamp_max(1.0)), // [B, Q, K]
        (masked, later) => masked.or(later),
    };
    masked.map(|masked| mask_bias(masked).expand([b, 1, q, k]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_sees_the_cache_and_itself_and_no_padding() {
        let device = Device::flex();
        let masked = Mask::Keys(&[0, 1, 1, 1]).masked("mask", [1, 2, 4], &device).unwrap();
        let seen = |bias: Option<Tensor<4>>| {
            let values = bias.unwrap().into_data().try_to_vec::<f32>().unwrap();
            values.into_iter().map(|value| i32::from(value == 0.0)).collect::<Vec<_>>()
        };
        assert_eq!(seen(bias(Some(masked.clone()), true, [1, 2, 4], &device)), [0, 1, 1, 0, 0, 1, 1, 1]);
        assert_eq!(seen(bias(Some(masked), false, [1, 2, 4], &device)), [0, 1, 1, 1, 0, 1, 1, 1]);
        assert_eq!(seen(bias(None, true, [1, 2, 2], &device)), [1, 0, 1, 1]);
        assert!(bias(None, false, [1, 2, 2], &device).is_none());
    }
}
