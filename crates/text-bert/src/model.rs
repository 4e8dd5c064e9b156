//! The BERT tower, canonical form: post-norm layers over word, position and segment embeddings.
//!
//! Follows `ChineseCLIPTextModel` of transformers 4.51.3.
//!
//! Shapes: B batch, L tokens, D width.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, Initializer};
use burn::tensor::{Device, Int, Tensor, s};
use chinese_clip_config::{PositionEmbedding, TextConfig};
use chinese_clip_nn::{Attention, LayerNorm, Mlp, Recorder, RelativePositions, Sequences};

use crate::batch::Tokens;
use crate::cross::CrossAttention;
use crate::{PreparedTextModel, TokenBatch};

/// The text tower with the checkpoint's parameters.
#[derive(Module, Debug)]
pub struct TextModel {
    pub(crate) embeddings: Embeddings,
    pub(crate) layers: Vec<Layer>,
    /// Whether it is a decoder, in which no token sees later ones.
    #[module(skip)]
    pub(crate) causal: bool,
}

impl TextModel {
    /// A tower of random weights, which are drawn when first read.
    pub fn init(config: &TextConfig, device: &Device) -> Self {
        let layers = (0..config.num_hidden_layers).map(|i| Layer::init(config, i, device)).collect();
        Self { embeddings: Embeddings::init(config, device), layers, causal: config.is_decoder }
    }

    /// The last hidden state.
    ///
    /// # Shapes
    /// The result: `[B, L, D]`. The text feature is row 0 of each text.
    pub fn forward(&self, batch: &TokenBatch, recorder: &mut Recorder) -> Tensor<3> {
        recorder.scope("text", |recorder| {
            let tokens = batch.padded(self.causal);
            let bias = match &tokens.sequences {
                Sequences::Padded(bias) => Some(bias.clone()),
                _ => None,
            };
            let x = recorder.record("embeddings", self.embeddings.forward(tokens)); // [B, L, D]
            self.layers.iter().enumerate().fold(x, |x, (i, layer)| {
                recorder.scope(format_args!("layer.{i}"), |recorder| layer.forward(x, bias.clone(), recorder))
            })
        })
    }

    /// The inference form.
    pub fn prepare(self) -> PreparedTextModel {
        PreparedTextModel::from(self)
    }
}

/// Sum of word, position and segment embeddings, normalised. Where positions are relative, their vectors are not added.
#[derive(Module, Debug)]
pub(crate) struct Embeddings {
    pub(crate) word_embeddings: Embedding,
    pub(crate) position_embeddings: Embedding,
    pub(crate) token_type_embeddings: Embedding,
    pub(crate) norm: LayerNorm,
    #[module(skip)]
    pub(crate) absolute: bool,
}

impl Embeddings {
    pub(crate) fn init(config: &TextConfig, device: &Device) -> Self {
        let initializer = Initializer::Normal { mean: 0.0, std: config.initializer_range };
        let table = |n_embedding| {
            EmbeddingConfig { n_embedding, d_model: config.hidden_size, initializer: initializer.clone() }.init(device)
        };
        let words = table(config.vocab_size);
        let padding = config.pad_token_id;
        let weight = words.weight.init_mapper(move |weight| weight.slice_fill(s![padding..=padding, ..], 0.0));
        Self {
            word_embeddings: Embedding { weight },
            position_embeddings: table(config.max_position_embeddings),
            token_type_embeddings: table(config.type_vocab_size),
            norm: LayerNorm::init(config.hidden_size, config.layer_norm_eps, device),
            absolute: config.position_embedding_type == PositionEmbedding::Absolute,
        }
    }

    pub(crate) fn forward(&self, tokens: Tokens) -> Tensor<3> {
        let Tokens { ids, types, positions, .. } = tokens;
        self.sum(self.word_embeddings.forward(ids), types, positions)
    }

    /// # Shapes
    /// `words`: `[B, L, D]`; `types` and `positions`: `[B or 1, L]`; the result: `[B, L, D]`.
    pub(crate) fn sum(&self, words: Tensor<3>, types: Tensor<2, Int>, positions: Tensor<2, Int>) -> Tensor<3> {
        let x = words + self.token_type_embeddings.forward(types);
        self.norm.forward(if self.absolute { x + self.position_embeddings.forward(positions) } else { x })
    }
}

/// Attention, then MLP, each added to its input and normalised. Cross-attention stands between them, and rests here.
#[derive(Module, Debug)]
pub(crate) struct Layer {
    pub(crate) attention: Attention,
    pub(crate) attention_norm: LayerNorm,
    pub(crate) crossattention: Option<CrossAttention>,
    pub(crate) mlp: Mlp,
    pub(crate) mlp_norm: LayerNorm,
}

impl Layer {
    pub(crate) fn init(config: &TextConfig, index: usize, device: &Device) -> Self {
        let (width, std) = (config.hidden_size, config.initializer_range);
        let norm = || LayerNorm::init(width, config.layer_norm_eps, device);
        let heads = [config.heads(index), config.head_width()];
        Self {
            attention: Attention::pruned(width, heads, std, device).with_positions(relative(config, device)),
            attention_norm: norm(),
            crossattention: config.add_cross_attention.then(|| CrossAttention::init(config, device)),
            mlp: Mlp::init(width, config.intermediate_size, config.hidden_act, std, device),
            mlp_norm: norm(),
        }
    }

    fn forward(&self, x: Tensor<3>, bias: Option<Tensor<4>>, recorder: &mut Recorder) -> Tensor<3> {
        let attention = self.attention.forward(x.clone(), bias, recorder);
        let x = recorder.record("attention.norm", self.attention_norm.forward(x + attention)); // [B, L, D]
        let mlp = self.mlp.forward(x.clone(), recorder);
        recorder.record("output", self.mlp_norm.forward(x + mlp)) // [B, L, D]
    }
}

/// What the attention of a layer knows of positions.
pub(crate) fn relative(config: &TextConfig, device: &Device) -> Option<RelativePositions> {
    let of_keys = match config.position_embedding_type {
        PositionEmbedding::Absolute => return None,
        PositionEmbedding::RelativeKey => false,
        PositionEmbedding::RelativeKeyQuery => true,
    };
    Some(RelativePositions::init(config.max_position_embeddings, config.head_width(), of_keys, device))
}
