//! The canonical tower with all that the reference's takes and gives, step by step.
//!
//! Follows `ChineseCLIPTextModel.forward`, `ChineseCLIPTextEncoder` and `ChineseCLIPTextLayer` of transformers 4.51.3.
//!
//! Shapes: B batch, L tokens, K = L + cached tokens, S tokens of an encoder, H heads, D width.
//!
//! differs: without hidden states of an encoder, a tower with cross-attention has no cross-attentions; the reference shows cached
//! keys and values in their place.

use burn::tensor::{DType, Tensor};
use chinese_clip_config::TextConfig;
use chinese_clip_nn::{Change, KeyValue, Recorder};

use crate::inputs::{Checked, Encoder, Words};
use crate::model::Layer;
use crate::{LayerCache, Pooler, TextCache, TextError, TextInputs, TextModel};

/// What is kept beside the last hidden state; nothing by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TextOptions {
    /// Keep what enters the first layer and what leaves each.
    pub output_hidden_states: bool,
    /// Keep the attention probabilities of each layer.
    pub output_attentions: bool,
    /// Of a decoder, keep keys and values for the next tokens. The reference does so unless told otherwise.
    pub use_cache: bool,
}

/// All that the reference's tower can give.
#[derive(Debug, Clone)]
pub struct TextOutput {
    /// `[B, L, D]`.
    pub last_hidden_state: Tensor<3>,
    /// `[B, D]`; `None` without a pooler.
    pub pooler_output: Option<Tensor<2>>,
    /// `[B, L, D]` of what enters the first layer, and of each layer; empty unless kept.
    pub hidden_states: Vec<Tensor<3>>,
    /// Probabilities `[B, H, L, K]` of each layer, times the mask of heads; empty unless kept.
    pub attentions: Vec<Tensor<4>>,
    /// The same of cross-attention, `[B, H, L, S]`.
    pub cross_attentions: Vec<Tensor<4>>,
    /// Keys and values, unless kept `None`.
    pub past_key_values: Option<TextCache>,
}

impl TextModel {
    /// The outputs, and the states that `options` ask for. `config` is the one that the tower was made of.
    pub fn run(
        &self,
        inputs: TextInputs<'_>,
        config: &TextConfig,
        options: TextOptions,
        pooler: Option<&Pooler>,
    ) -> Result<TextOutput, TextError> {
        let device = self.embeddings.word_embeddings.weight.val().device();
        let inputs = Checked::new(inputs, config, &device)?;
        let mut x = self.embed(&inputs); // [B, L, D]
        let mut output = TextOutput {
            last_hidden_state: x.clone(),
            pooler_output: None,
            hidden_states: Vec::new(),
            attentions: Vec::new(),
            cross_attentions: Vec::new(),
            past_key_values: None,
        };
        let mut cache = Vec::new();
        for (i, layer) in self.layers.iter().enumerate() {
            if options.output_hidden_states {
                output.hidden_states.push(x.clone());
            }
            let step = layer.step(x, &inputs, i);
            x = step.output;
            if options.output_attentions {
                output.attentions.push(step.attention);
                output.cross_attentions.extend(step.cross_attention);
            }
            if options.use_cache && self.causal {
                cache.push(step.cache);
            }
        }
        if options.output_hidden_states {
            output.hidden_states.push(x.clone());
        }
        output.past_key_values = (options.use_cache && self.causal).then_some(TextCache { layers: cache });
        output.pooler_output = pooler.map(|pooler| pooler.forward(x.clone()));
        Ok(TextOutput { last_hidden_state: x, ..output })
    }

    fn embed(&self, inputs: &Checked<'_>) -> Tensor<3> {
        let embeddings = &self.embeddings;
        let words = match &inputs.words {
            Words::Ids(ids) => embeddings.word_embeddings.forward(ids.clone()), // [B, L, D]
            Words::Embeds(vectors) => like(vectors, &embeddings.word_embeddings.weight.val()),
        };
        embeddings.sum(words, inputs.types.clone(), inputs.positions.clone())
    }
}

/// What leaves a layer.
struct Step {
    output: Tensor<3>,
    attention: Tensor<4>,
    cross_attention: Option<Tensor<4>>,
    cache: LayerCache,
}

impl Layer {
    fn step(&self, x: Tensor<3>, inputs: &Checked<'_>, index: usize) -> Step {
        let off = &mut Recorder::off();
        let past = inputs.past.and_then(|cache| cache.layers.get(index));
        let head_mask = inputs.head_masks.get(index).map(|mask| mask.clone().cast(x.dtype()));
        let own = self.attention.key_value(x.clone());
        let own = match past {
            Some(past) => own.after(&past.own),
            None => own,
        };
        let change = Change { bias: inputs.bias.clone(), head_mask: head_mask.clone(), cached: past.is_some() };
        let (added, attention) = self.attention.attend(x.clone(), own.clone(), change, off); // [B, L, D], [B, H, L, K]
        let x = self.attention_norm.forward(x + added);
        let seen = inputs.encoder.as_ref();
        let (x, crossed) = match seen {
            Some(encoder) => self.cross(x, encoder, past.and_then(|past| past.encoder.clone()), head_mask),
            None => (x, None),
        };
        let (cross_attention, encoder) = crossed.unzip();
        let output = self.mlp_norm.forward(x.clone() + self.mlp.forward(x, off)); // [B, L, D]
        Step { output, attention, cross_attention, cache: LayerCache { own, encoder } }
    }

    /// Cross-attention, where there is one: its output, probabilities, and the keys and values that it looked at.
    fn cross(
        &self,
        x: Tensor<3>,
        encoder: &Encoder,
        cached: Option<KeyValue>,
        head_mask: Option<Tensor<4>>,
    ) -> (Tensor<3>, Option<(Tensor<4>, KeyValue)>) {
        let Some(cross) = &self.crossattention else { return (x, None) };
        let on = cached.unwrap_or_else(|| cross.attention.key_value(like(&encoder.states, &x)));
        let change = Change { bias: encoder.bias.clone(), head_mask, cached: false };
        let (added, probabilities) = cross.attention.attend(x.clone(), on.clone(), change, &mut Recorder::off());
        (cross.norm.forward(x + added), Some((probabilities, on)))
    }
}

/// A tensor of the caller's on the device and in the number format of another.
fn like<const D: usize>(tensor: &Tensor<3>, other: &Tensor<D>) -> Tensor<3> {
    let dtype: DType = other.dtype();
    tensor.clone().to_device(&other.device()).cast(dtype)
}
