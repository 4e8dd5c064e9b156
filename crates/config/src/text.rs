//! `text_config`: `ChineseCLIPTextConfig` of transformers 4.51.3.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::Activation;
use crate::error::{Faults, LAYERS, WIDTHS};

/// How positions enter attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositionEmbedding {
    /// Learned vectors added to the input. All published checkpoints.
    Absolute,
    /// Shaw et al. 2018.
    RelativeKey,
    /// Huang et al. 2020, method 4.
    RelativeKeyQuery,
}

impl PositionEmbedding {
    /// As `config.json` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Absolute => "absolute",
            Self::RelativeKey => "relative_key",
            Self::RelativeKeyQuery => "relative_key_query",
        }
    }
}

/// The BERT tower. Field names and defaults are Hugging Face's; published checkpoints set little more than `vocab_size`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TextConfig {
    /// Tokens in the vocabulary. Default 30522; the published checkpoints have 21128.
    pub vocab_size: usize,
    /// Width of a token, `D`.
    pub hidden_size: usize,
    /// Encoder layers.
    pub num_hidden_layers: usize,
    /// Attention heads, `H`; the head width is `hidden_size / H`.
    pub num_attention_heads: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Activation of the MLP.
    pub hidden_act: Activation,
    /// Dropout of hidden states in training.
    pub hidden_dropout_prob: f64,
    /// Dropout of attention probabilities in training.
    pub attention_probs_dropout_prob: f64,
    /// Longest input in tokens, `[CLS]` and `[SEP]` included.
    pub max_position_embeddings: usize,
    /// Kinds of segment.
    pub type_vocab_size: usize,
    /// Standard deviation of the initial weights.
    pub initializer_range: f64,
    /// Factor on it, for tests.
    pub initializer_factor: f64,
    /// Epsilon of layer norms: 1e-12, not 1e-5.
    pub layer_norm_eps: f64,
    /// Id of `[PAD]`.
    pub pad_token_id: usize,
    /// Kind of position embedding.
    pub position_embedding_type: PositionEmbedding,
    /// Tokens of a chunk in the MLP, which must divide the length of a text; 0 is all. It changes no number.
    pub chunk_size_feed_forward: usize,
    /// Attention heads that were taken away, by layer.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pruned_heads: BTreeMap<usize, BTreeSet<usize>>,
    /// Causal mask.
    pub is_decoder: bool,
    /// Cross-attention layers.
    pub add_cross_attention: bool,
}

impl Default for TextConfig {
    fn default() -> Self {
        Self {
            vocab_size: 30522,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: Activation::Gelu,
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            initializer_range: 0.02,
            initializer_factor: 1.0,
            layer_norm_eps: 1e-12,
            pad_token_id: 0,
            position_embedding_type: PositionEmbedding::Absolute,
            chunk_size_feed_forward: 0,
            pruned_heads: BTreeMap::new(),
            is_decoder: false,
            add_cross_attention: false,
        }
    }
}

impl TextConfig {
    /// Width of one attention head.
    pub fn head_width(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// Attention heads of a layer: those that were not taken away.
    pub fn heads(&self, layer: usize) -> usize {
        let pruned = self.pruned_heads.get(&layer).map_or(0, BTreeSet::len);
        self.num_attention_heads.saturating_sub(pruned)
    }

    pub(crate) fn faults(&self) -> Faults {
        let mut faults = Faults::of("text_config.");
        faults.size("vocab_size", self.vocab_size, 1..=1 << 24);
        faults.size("hidden_size", self.hidden_size, WIDTHS);
        faults.size("num_hidden_layers", self.num_hidden_layers, LAYERS);
        faults.size("intermediate_size", self.intermediate_size, WIDTHS);
        faults.size("max_position_embeddings", self.max_position_embeddings, 2..=1 << 20); // [CLS] and [SEP]
        faults.size("type_vocab_size", self.type_vocab_size, 1..=1 << 10);
        faults.heads(self.hidden_size, self.num_attention_heads);
        faults.epsilon("layer_norm_eps", self.layer_norm_eps);
        faults.check(self.pad_token_id < self.vocab_size, "pad_token_id", || {
            format!("is {}, must be less than vocab_size = {}", self.pad_token_id, self.vocab_size)
        });
        faults.check(self.is_decoder || !self.add_cross_attention, "add_cross_attention", || {
            "is true, which needs is_decoder = true".into()
        });
        let (layers, heads) = (self.num_hidden_layers, self.num_attention_heads);
        for (layer, pruned) in &self.pruned_heads {
            let fits = *layer < layers && pruned.iter().all(|head| *head < heads) && pruned.len() < heads.max(1);
            faults.check(fits, "pruned_heads", || {
                format!(
                    "has {pruned:?} of layer {layer}; {layers} layers have {heads} heads each, of which one must stay"
                )
            });
        }
        faults
    }
}
