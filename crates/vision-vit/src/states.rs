//! The tower as a backbone: hidden states, attentions, patch features.
//!
//! Follows `output_hidden_states` and `output_attentions` of `ChineseCLIPVisionTransformer`, transformers 4.51.3. Hidden state 0 is
//! what enters the first layer (after `pre_layrnorm`), hidden state i what leaves layer i - 1; none is after `post_layernorm`.
//!
//! Shapes: B batch, N rows and M columns of patches, T = N * M + 1 tokens, H heads, W width.

use burn::tensor::{Tensor, s};
use chinese_clip_nn::{PixelBatch, Recorder, Rows, VisionError};

use crate::model::Layer;
use crate::prepared::PreparedLayer;
use crate::{PreparedVisionModel, VisionModel};

/// What [`VisionModel::states`] keeps beside its outputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// `output_hidden_states`.
    pub hidden_states: bool,
    /// `output_attentions`.
    pub attentions: bool,
}

/// All that the reference's tower can give.
#[derive(Debug, Clone)]
pub struct VisionStates {
    /// `[B, T, W]`, the class token first, not normalised.
    pub last_hidden_state: Tensor<3>,
    /// `[B, W]`: the class token after `post_layernorm`.
    pub pooler_output: Tensor<2>,
    /// `[B, T, W]` of what enters the first layer, and of each layer; empty unless kept.
    pub hidden_states: Vec<Tensor<3>>,
    /// Probabilities `[B, H, T, T]` of each layer; empty unless kept.
    pub attentions: Vec<Tensor<4>>,
}

impl VisionModel {
    /// The outputs with the states of every layer.
    pub fn states(&self, batch: &PixelBatch, keep: Keep) -> VisionStates {
        states(self.embed(batch), &self.layers, keep, |x| self.pool(x))
    }

    /// The patches of hidden state `layer`, which counts from 0 (what enters the first layer) to the number of layers. Later
    /// layers are not computed.
    ///
    /// # Shapes
    /// The result: `[B, N, M, W]`.
    pub fn features(&self, batch: &PixelBatch, layer: usize) -> Result<Tensor<4>, VisionError> {
        features(&self.layers, layer, self.grid(batch), || self.embed(batch))
    }

    /// Rows and columns of patches, `[N, M]`.
    pub fn grid(&self, batch: &PixelBatch) -> [usize; 2] {
        self.embeddings.grid(batch)
    }

    /// Hidden state 0, `[B, T, W]`.
    fn embed(&self, batch: &PixelBatch) -> Tensor<3> {
        self.pre_layernorm.forward(self.embeddings.forward(batch))
    }
}

impl PreparedVisionModel {
    /// The outputs with the states of every layer. Attentions are computed beside the fused ones and cost time.
    pub fn states(&self, batch: &PixelBatch, keep: Keep) -> VisionStates {
        states(self.embed(batch), &self.layers, keep, |x| self.pool(x))
    }

    /// The patches of hidden state `layer`, which counts from 0 (what enters the first layer) to the number of layers. Later
    /// layers are not computed.
    ///
    /// # Shapes
    /// The result: `[B, N, M, W]`.
    pub fn features(&self, batch: &PixelBatch, layer: usize) -> Result<Tensor<4>, VisionError> {
        features(&self.layers, layer, self.grid(batch), || self.embed(batch))
    }

    /// Rows and columns of patches, `[N, M]`.
    pub fn grid(&self, batch: &PixelBatch) -> [usize; 2] {
        self.embeddings.grid(batch)
    }

    /// Hidden state 0, `[B, T, W]`.
    fn embed(&self, batch: &PixelBatch) -> Tensor<3> {
        self.pre_layernorm.forward(self.embeddings.forward(batch))
    }

    /// Number of layers.
    pub fn depth(&self) -> usize {
        self.layers.len()
    }
}

/// A layer of either form, one step after another.
trait Step {
    /// # Shapes
    /// `x`: `[B, T, W]`; the result has the same.
    fn step(&self, x: Tensor<3>) -> Tensor<3>;

    /// The same with the probabilities, `[B, H, T, T]`.
    fn step_with_attention(&self, x: Tensor<3>) -> (Tensor<3>, Option<Tensor<4>>);
}

impl Step for Layer {
    fn step(&self, x: Tensor<3>) -> Tensor<3> {
        self.forward(x, &mut Recorder::off())
    }

    fn step_with_attention(&self, x: Tensor<3>) -> (Tensor<3>, Option<Tensor<4>>) {
        let mut recorder = Recorder::on(); // of this layer alone: the rest of it goes at once
        let x = self.forward(x, &mut recorder);
        let kept = recorder.into_kept().into_iter().find(|kept| kept.name == "attention.probabilities");
        let attention = kept.and_then(|kept| Some(kept.flat().reshape(<[usize; 4]>::try_from(kept.shape).ok()?)));
        (x, attention)
    }
}

impl Step for PreparedLayer {
    fn step(&self, x: Tensor<3>) -> Tensor<3> {
        self.forward(x, Rows::All)
    }

    fn step_with_attention(&self, x: Tensor<3>) -> (Tensor<3>, Option<Tensor<4>>) {
        let attention = self.attention.probabilities(&self.layer_norm1.forward(x.clone())); // [B, H, T, T]
        (self.step(x), Some(attention))
    }
}

fn states(
    mut x: Tensor<3>,
    layers: &[impl Step],
    keep: Keep,
    pool: impl FnOnce(Tensor<3>) -> Tensor<2>,
) -> VisionStates {
    let (mut hidden_states, mut attentions) = (Vec::new(), Vec::new());
    let mut keep_hidden = |x: &Tensor<3>| {
        if keep.hidden_states {
            hidden_states.push(x.clone());
        }
    };
    keep_hidden(&x);
    for layer in layers {
        x = if keep.attentions {
            let (x, attention) = layer.step_with_attention(x);
            attentions.extend(attention);
            x
        } else {
            layer.step(x)
        };
        keep_hidden(&x);
    }
    VisionStates { pooler_output: pool(x.clone()), last_hidden_state: x, hidden_states, attentions }
}

/// The patches of hidden state `layer`: the first `layer` layers over what `embed` gives.
///
/// # Shapes
/// The result: `[B, N, M, W]`.
fn features(
    layers: &[impl Step],
    layer: usize,
    [rows, columns]: [usize; 2],
    embed: impl FnOnce() -> Tensor<3>,
) -> Result<Tensor<4>, VisionError> {
    let needed = layers.get(..layer).ok_or(VisionError::Layer { layer, layers: layers.len() })?;
    let x = needed.iter().fold(embed(), |x, layer| layer.step(x)); // [B, T, W]
    let [b, _, w] = x.dims();
    Ok(x.slice(s![.., 1.., ..]).reshape([b, rows, columns, w]))
}
