//! The BERT tower, prepared for inference: fused projections, and in the last layer no work but that of `[CLS]`.
//!
//! Shapes: B batch, L tokens, Q wanted tokens (L or 1), D width.

use burn::module::{Module, Param};
use burn::nn::{Embedding, LayerNorm};
use burn::tensor::{Tensor, s};
use chinese_clip_nn::{Mlp, PreparedAttention, Recorder, Rows};

use crate::model::{Embeddings, Layer};
use crate::{TextModel, TokenBatch};

/// The text tower for inference; made by [`TextModel::prepare`].
#[derive(Module, Debug)]
pub struct PreparedTextModel {
    embeddings: PreparedEmbeddings,
    layers: Vec<PreparedLayer>,
}

impl From<TextModel> for PreparedTextModel {
    fn from(canonical: TextModel) -> Self {
        let layers = canonical.layers.into_iter().map(PreparedLayer::from).collect();
        Self { embeddings: PreparedEmbeddings::from(canonical.embeddings), layers }
    }
}

impl PreparedTextModel {
    /// The last hidden state of `[CLS]`.
    ///
    /// # Shapes
    /// The result: `[B, D]`.
    pub fn forward(&self, batch: &TokenBatch) -> Tensor<2> {
        let x = self.embeddings.forward(batch); // [B, L, D]
        let bias = batch.bias();
        let last = self.layers.len().saturating_sub(1);
        let x = self.layers.iter().enumerate().fold(x, |x, (i, layer)| {
            let rows = if i == last { Rows::Class } else { Rows::All };
            layer.forward(x, bias.clone(), rows)
        });
        Rows::Class.of(x).squeeze_dim(1) // [B, D]
    }
}

/// Word embeddings, and the sum of position and segment embeddings: one table for each segment.
#[derive(Module, Debug)]
struct PreparedEmbeddings {
    words: Embedding,
    positions: Param<Tensor<2>>,
    types: Embedding,
    norm: LayerNorm,
}

impl From<Embeddings> for PreparedEmbeddings {
    fn from(canonical: Embeddings) -> Self {
        Self {
            words: canonical.word_embeddings,
            positions: canonical.position_embeddings.weight,
            types: canonical.token_type_embeddings,
            norm: canonical.norm,
        }
    }
}

impl PreparedEmbeddings {
    fn forward(&self, batch: &TokenBatch) -> Tensor<3> {
        let [_, l] = batch.shape();
        let words = self.words.forward(batch.ids.clone()); // [B, L, D]
        let types = match &batch.types {
            Some(types) => self.types.forward(types.clone()), // [B, L, D]
            None => self.types.weight.val().slice(s![0..1]).unsqueeze(), // [1, 1, D]
        };
        let positions = self.positions.val().slice(s![0..l]).unsqueeze(); // [1, L, D]
        self.norm.forward(words + types + positions)
    }
}

#[derive(Module, Debug)]
struct PreparedLayer {
    attention: PreparedAttention,
    attention_norm: LayerNorm,
    mlp: Mlp,
    mlp_norm: LayerNorm,
}

impl From<Layer> for PreparedLayer {
    fn from(canonical: Layer) -> Self {
        let Layer { attention, attention_norm, mlp, mlp_norm } = canonical;
        Self { attention: attention.prepare(), attention_norm, mlp, mlp_norm }
    }
}

impl PreparedLayer {
    fn forward(&self, x: Tensor<3>, bias: Option<Tensor<4>>, rows: Rows) -> Tensor<3> {
        let attention = self.attention.forward(x.clone(), bias, rows); // [B, Q, D]
        let x = self.attention_norm.forward(rows.of(x) + attention);
        let mlp = self.mlp.forward(x.clone(), &mut Recorder::off());
        self.mlp_norm.forward(x + mlp)
    }
}
