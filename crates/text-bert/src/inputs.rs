//! All that `ChineseCLIPTextModel.forward` of transformers 4.51.3 takes, and its check.
//!
//! Shapes: B batch, L tokens, P cached tokens, K = P + L keys, S tokens of an encoder, H heads, E = D / H, D width.
//!
//! differs: what the tower would not look at (hidden states of an encoder without cross-attention, a cache without a decoder) is
//! refused, and so are masks of other numbers than 0 and 1.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use chinese_clip_config::{PositionEmbedding, TextConfig};
use chinese_clip_nn::KeyValue;

use crate::batch::{check_shape, int_tensor};
use crate::{Mask, TextError, mask};

/// What a text tower reads. Of the reference's two ways there is always exactly one.
#[derive(Debug, Clone, Copy)]
pub enum Tokens<'a> {
    /// `input_ids`, row-major, and their shape `[B, L]`.
    Ids(&'a [i64], [usize; 2]),
    /// `inputs_embeds`, `[B, L, D]`: vectors in the place of those of words.
    Embeds(&'a Tensor<3>),
}

/// What goes into a text tower, under the reference's names; arrays are row-major.
#[derive(Debug, Clone, Copy)]
pub struct TextInputs<'a> {
    /// `input_ids` or `inputs_embeds`.
    pub tokens: Tokens<'a>,
    /// Segments `[B, L]`; 0 without.
    pub token_type_ids: Option<&'a [i64]>,
    /// Positions, `[L]` of all texts or `[B, L]`; without, they count on from the cached ones.
    pub position_ids: Option<&'a [i64]>,
    /// Which of `K` keys are seen; without, all (in a decoder, all earlier ones).
    pub attention_mask: Option<Mask<'a>>,
    /// Factors of the probabilities of heads, `[H]` of all layers or `[layers, H]`.
    pub head_mask: Option<&'a [f32]>,
    /// What cross-attention looks at, `[B, S, D]`.
    pub encoder_hidden_states: Option<&'a Tensor<3>>,
    /// Which of its `S` tokens are seen; without, all.
    pub encoder_attention_mask: Option<Mask<'a>>,
    /// Keys and values of earlier tokens.
    pub past_key_values: Option<&'a TextCache>,
}

/// Keys and values of the tokens that a decoder has seen.
#[derive(Debug, Clone)]
pub struct TextCache {
    /// Those of each layer.
    pub layers: Vec<LayerCache>,
}

/// Keys and values of one layer.
#[derive(Debug, Clone)]
pub struct LayerCache {
    /// Of the tokens, `[B, H, P, E]`.
    pub own: KeyValue,
    /// Of the encoder's, `[B, H, S, E]`.
    pub encoder: Option<KeyValue>,
}

impl<'a> TextInputs<'a> {
    /// These tokens and nothing else.
    pub fn new(tokens: Tokens<'a>) -> Self {
        Self {
            tokens,
            token_type_ids: None,
            position_ids: None,
            attention_mask: None,
            head_mask: None,
            encoder_hidden_states: None,
            encoder_attention_mask: None,
            past_key_values: None,
        }
    }
}

/// Inputs that fit the model.
pub(crate) struct Checked<'a> {
    pub(crate) words: Words,
    pub(crate) types: Tensor<2, Int>,
    pub(crate) positions: Tensor<2, Int>,
    /// `[B, 1, L, K]`.
    pub(crate) bias: Option<Tensor<4>>,
    /// `[1, H, 1, 1]` of each layer, or none.
    pub(crate) head_masks: Vec<Tensor<4>>,
    pub(crate) encoder: Option<Encoder>,
    pub(crate) past: Option<&'a TextCache>,
}

/// Tokens on a device.
pub(crate) enum Words {
    Ids(Tensor<2, Int>),
    Embeds(Tensor<3>),
}

/// What cross-attention looks at.
pub(crate) struct Encoder {
    /// `[B, S, D]`.
    pub(crate) states: Tensor<3>,
    /// `[B, 1, L, S]`.
    pub(crate) bias: Option<Tensor<4>>,
}

impl<'a> Checked<'a> {
    pub(crate) fn new(inputs: TextInputs<'a>, config: &TextConfig, device: &Device) -> Result<Self, TextError> {
        let [b, l] = match inputs.tokens {
            Tokens::Ids(_, shape) => shape,
            Tokens::Embeds(vectors) => {
                let [b, l, _] = vectors.dims();
                same("inputs_embeds", vectors, [b, l, config.hidden_size])?;
                [b, l]
            }
        };
        let past = check_past(inputs.past_key_values, b, config)?;
        let own_positions =
            inputs.position_ids.is_none() || config.position_embedding_type != PositionEmbedding::Absolute;
        check_shape([b, l], if own_positions { past + l } else { l }, config)?;
        let words = match inputs.tokens {
            Tokens::Ids(ids, shape) => Words::Ids(int_tensor("input_ids", ids, shape, config.vocab_size, device)?),
            Tokens::Embeds(vectors) => Words::Embeds(vectors.clone()),
        };
        let types = match inputs.token_type_ids {
            Some(types) => int_tensor("token_type_ids", types, [b, l], config.type_vocab_size, device)?,
            None => Tensor::zeros([1, l], device),
        };
        let positions = match inputs.position_ids {
            Some(positions) => {
                let rows = if positions.len() == l { 1 } else { b };
                int_tensor("position_ids", positions, [rows, l], config.max_position_embeddings, device)?
            }
            None => Tensor::<1, Int>::arange(past as i64..(past + l) as i64, device).unsqueeze(), // [1, L]
        };
        let shape = [b, l, past + l];
        let masked = inputs.attention_mask.map(|mask| mask.masked("attention_mask", shape, device)).transpose()?;
        let causal = config.is_decoder && !matches!(inputs.attention_mask, Some(Mask::Pairs(_)));
        Ok(Self {
            words,
            types,
            positions,
            bias: mask::bias(masked, causal, shape, device),
            head_masks: inputs.head_mask.map_or(Ok(Vec::new()), |mask| head_masks(mask, config, device))?,
            encoder: encoder(&inputs, [b, l], config, device)?,
            past: inputs.past_key_values,
        })
    }
}

/// The number of cached tokens.
fn check_past(past: Option<&TextCache>, b: usize, config: &TextConfig) -> Result<usize, TextError> {
    let Some(cache) = past else { return Ok(0) };
    if !config.is_decoder {
        return Err(TextError::NotDecoder { input: "past_key_values", field: "is_decoder" });
    }
    let (found, expected) = (cache.layers.len(), config.num_hidden_layers);
    if found != expected {
        return Err(TextError::CachedLayers { found, expected });
    }
    let past = cache.layers.first().map_or(0, |layer| layer.own.key.dims()[2]);
    for (i, layer) in cache.layers.iter().enumerate() {
        for tensor in [&layer.own.key, &layer.own.value] {
            same("past_key_values", tensor, [b, config.heads(i), past, config.head_width()])?;
        }
    }
    Ok(past)
}

fn encoder(
    inputs: &TextInputs<'_>,
    [b, l]: [usize; 2],
    config: &TextConfig,
    device: &Device,
) -> Result<Option<Encoder>, TextError> {
    let Some(states) = inputs.encoder_hidden_states else {
        return match inputs.encoder_attention_mask {
            Some(_) => Err(TextError::NoEncoder),
            None => Ok(None),
        };
    };
    if !config.add_cross_attention {
        return Err(TextError::NotDecoder { input: "encoder_hidden_states", field: "add_cross_attention" });
    }
    let [_, s, _] = states.dims();
    same("encoder_hidden_states", states, [b, s.max(1), config.hidden_size])?;
    for cached in
        inputs.past_key_values.iter().flat_map(|cache| &cache.layers).filter_map(|layer| layer.encoder.as_ref())
    {
        for tensor in [&cached.key, &cached.value] {
            same("past_key_values of the encoder", tensor, [b, config.num_attention_heads, s, config.head_width()])?;
        }
    }
    let mask = inputs.encoder_attention_mask;
    let masked = mask.map(|mask| mask.masked("encoder_attention_mask", [b, l, s], device)).transpose()?;
    Ok(Some(Encoder { states: states.clone(), bias: mask::bias(masked, false, [b, l, s], device) }))
}

/// The mask of each layer, `[1, H, 1, 1]`.
fn head_masks(mask: &[f32], config: &TextConfig, device: &Device) -> Result<Vec<Tensor<4>>, TextError> {
    let layers = config.num_hidden_layers;
    let mut heads: Vec<usize> = (0..layers).map(|layer| config.heads(layer)).collect();
    if config.add_cross_attention {
        heads.push(config.num_attention_heads);
    }
    let width = heads.first().copied().unwrap_or(config.num_attention_heads);
    let one = mask.len() == width;
    if heads.iter().any(|heads| *heads != width) || !(one || mask.len() == layers * width) {
        return Err(TextError::HeadMask { found: mask.len(), heads });
    }
    let row = |layer: usize| {
        let row = if one { mask } else { &mask[layer * width..][..width] };
        Tensor::from_data(TensorData::new(row.to_vec(), [1, width, 1, 1]), (device, DType::F32))
    };
    Ok((0..layers).map(row).collect())
}

fn same<const D: usize>(tensor: &'static str, found: &Tensor<D>, expected: [usize; D]) -> Result<(), TextError> {
    let found = found.dims();
    if found == expected {
        return Ok(());
    }
    Err(TextError::Shape { tensor, found: found.to_vec(), expected: expected.to_vec() })
}
