//! The joint model with all that the reference's takes and gives: `ChineseCLIPModel.forward` of transformers 4.51.3 with
//! positions, masks of heads, hidden states and attentions.
//!
//! Shapes: T texts, I images, E width of the shared space.

use chinese_clip_nn::PixelBatch;
use chinese_clip_text_bert::{TextInputs, TextOptions, TextOutput};
use chinese_clip_vision_vit::VisionStates;

use crate::model::projected;
use crate::vision::states;
use crate::{ChineseClipModel, Error, ImageTower, ModelOutput, VisionOptions};

/// What [`ChineseClipModel::run`] gives: the reference's `ChineseCLIPOutput`.
#[derive(Debug, Clone)]
pub struct FullOutput {
    /// Logits and embeddings; the loss is [`ModelOutput::loss`].
    pub joint: ModelOutput,
    /// Of the text tower; their shapes stand at [`TextOutput`].
    pub text_model_output: TextOutput,
    /// Of the image tower; their shapes stand at [`VisionStates`].
    pub vision_model_output: VisionStates,
}

impl ChineseClipModel {
    /// Embeddings and logits of all pairs with the outputs of both towers, and the states that the options ask for.
    /// [`forward`](Self::forward) is the short way to the same logits.
    ///
    /// # Errors
    /// If the inputs contradict each other or the model, if the pictures are not of the model's size and
    /// `interpolate_pos_encoding` is not set, and of a model with a ResNet, which has no such states.
    pub fn run(
        &self,
        texts: TextInputs<'_>,
        pixel_values: &PixelBatch,
        text_options: TextOptions,
        vision_options: VisionOptions,
    ) -> Result<FullOutput, Error> {
        let ImageTower::ViT(vision_model) = &self.vision_model else {
            return Err(Error::ResNet { what: "states of layers" });
        };
        let config = self.config();
        let vision_model_output = states(vision_model, &config.vision_config, pixel_values, vision_options)?;
        let text_model_output = self.text_model().run(texts, &config.text_config, text_options, None)?;
        let text = self.projected_text(text_model_output.last_hidden_state.clone()); // [T, E]
        let image = projected(self.visual_projection.as_ref(), vision_model_output.pooler_output.clone()); // [I, E]
        let joint = ModelOutput::new(&text, &image, self.logit_scale());
        Ok(FullOutput { joint, text_model_output, vision_model_output })
    }
}
