//! The published models: five sizes of OFA-Sys Chinese-CLIP (`cn_clip` 1.6.0, `clip/model_configs/*.json`) and the
//! drop-in fine-tunes of QA-CLIP (TencentARC), which have the identical architecture.

use crate::{ChineseClipConfig, TextConfig, VisionConfig};

/// The image tower of a published model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VisionKind {
    /// Vision transformer.
    Vit {
        /// Width of a token.
        width: usize,
        /// Layers.
        layers: usize,
        /// Heads.
        heads: usize,
        /// Patch edge in pixels.
        patch: usize,
    },
    /// CLIP's modified ResNet-50. Hugging Face has no such class; see [`VisionConfig::resnet_layers`].
    ResNet50,
}

/// One row of [`PUBLISHED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedModel {
    /// Short name, as `cn_clip.clip.available_models()` spells it; `QA-` in front for QA-CLIP.
    pub name: &'static str,
    /// Id on the Hugging Face hub.
    pub hub_id: &'static str,
    /// The image tower.
    pub vision: VisionKind,
    /// Edge of the input in pixels.
    pub image_size: usize,
    /// Width, layers and heads of the text tower; the MLP is four times as wide.
    pub text: (usize, usize, usize),
    /// Width of the shared space.
    pub projection_dim: usize,
    /// Parameters of both towers.
    pub parameters: u64,
}

/// Tokens of the vocabulary that every published model uses.
const VOCABULARY: usize = 21128;
const BASE: (usize, usize, usize) = (768, 12, 12);
const B16: VisionKind = VisionKind::Vit { width: 768, layers: 12, heads: 12, patch: 16 };
const L14: VisionKind = VisionKind::Vit { width: 1024, layers: 24, heads: 16, patch: 14 };
const H14: VisionKind = VisionKind::Vit { width: 1280, layers: 32, heads: 16, patch: 14 };

#[rustfmt::skip]
/// Every published model that this workspace knows.
pub const PUBLISHED: [PublishedModel; 7] = [
    row("RN50",         "OFA-Sys/chinese-clip-rn50",                    VisionKind::ResNet50, 224, (768, 3, 12), 1024, 76_989_537),
    row("ViT-B-16",     "OFA-Sys/chinese-clip-vit-base-patch16",        B16, 224, BASE,           512,  188_262_913),
    row("ViT-L-14",     "OFA-Sys/chinese-clip-vit-large-patch14",       L14, 224, BASE,           768,  406_233_089),
    row("ViT-L-14-336", "OFA-Sys/chinese-clip-vit-large-patch14-336px", L14, 336, BASE,           768,  406_560_769),
    row("ViT-H-14",     "OFA-Sys/chinese-clip-vit-huge-patch14",        H14, 224, (1024, 24, 16), 1024, 957_598_209),
    row("QA-ViT-B-16",  "TencentARC/QA-CLIP-ViT-B-16",                  B16, 224, BASE,           512,  188_262_913),
    row("QA-ViT-L-14",  "TencentARC/QA-CLIP-ViT-L-14",                  L14, 224, BASE,           768,  406_233_089),
];

const fn row(
    name: &'static str,
    hub_id: &'static str,
    vision: VisionKind,
    image_size: usize,
    text: (usize, usize, usize),
    projection_dim: usize,
    parameters: u64,
) -> PublishedModel {
    PublishedModel { name, hub_id, vision, image_size, text, projection_dim, parameters }
}

/// Finds a published model by short name or hub id, ignoring ASCII case.
pub fn published(name_or_id: &str) -> Option<&'static PublishedModel> {
    PUBLISHED.iter().find(|m| m.name.eq_ignore_ascii_case(name_or_id) || m.hub_id.eq_ignore_ascii_case(name_or_id))
}

impl PublishedModel {
    /// Name of the file in `cn_clip`'s layout that lies in the same repository (`clip/utils.py`, `_MODELS`). RN50 has no other.
    pub fn cn_clip_file(&self) -> Option<String> {
        self.hub_id.starts_with("OFA-Sys/").then(|| format!("clip_cn_{}.pt", self.name.to_ascii_lowercase()))
    }

    /// The configuration of the model.
    pub fn config(&self) -> ChineseClipConfig {
        let (hidden_size, num_hidden_layers, num_attention_heads) = self.text;
        ChineseClipConfig {
            text_config: TextConfig {
                vocab_size: VOCABULARY,
                hidden_size,
                num_hidden_layers,
                num_attention_heads,
                intermediate_size: 4 * hidden_size,
                ..TextConfig::default()
            },
            vision_config: match self.vision {
                VisionKind::Vit { width, layers, heads, patch } => VisionConfig {
                    hidden_size: width,
                    intermediate_size: 4 * width,
                    num_hidden_layers: layers,
                    num_attention_heads: heads,
                    image_size: self.image_size,
                    patch_size: patch,
                    ..VisionConfig::default()
                },
                VisionKind::ResNet50 => VisionConfig::resnet([3, 4, 6, 3], 64, self.image_size),
            },
            projection_dim: self.projection_dim,
            ..ChineseClipConfig::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts what the reference's classes allocate; the totals were read off `cn_clip` 1.6.0.
    fn parameters(c: &ChineseClipConfig) -> usize {
        let (t, v) = (&c.text_config, &c.vision_config);
        let block = |d: usize, m: usize| 4 * (d * d + d) + (d * m + m) + (m * d + d) + 4 * d;
        let text = (t.vocab_size + t.max_position_embeddings + t.type_vocab_size) * t.hidden_size
            + 2 * t.hidden_size
            + t.num_hidden_layers * block(t.hidden_size, t.intermediate_size);
        let pooled = (v.tokens() + 1) * v.hidden_size;
        let vision = match v.resnet_layers {
            None => {
                v.hidden_size * 3 * v.patch_size * v.patch_size
                    + pooled
                    + 4 * v.hidden_size
                    + v.num_hidden_layers * block(v.hidden_size, v.intermediate_size)
                    + v.hidden_size * c.projection_dim
            }
            Some(layers) => {
                let (d, e) = (v.hidden_size, c.projection_dim);
                let stages = layers.into_iter().enumerate().map(|(i, n)| stage(v.stem_width(), i, n));
                stem(v.stem_width()) + stages.sum::<usize>() + pooled - d + 3 * (d * d + d) + d * e + e
            }
        };
        text + vision + t.hidden_size * c.projection_dim + 1
    }

    /// A convolution without bias, and its batch norm.
    fn convolution(input: usize, output: usize, kernel: usize) -> usize {
        input * output * kernel * kernel + 2 * output
    }

    fn stem(width: usize) -> usize {
        let half = width / 2;
        convolution(3, half, 3) + convolution(half, half, 3) + convolution(half, width, 3)
    }

    fn stage(stem_width: usize, number: usize, blocks: usize) -> usize {
        let width = stem_width << number;
        let input = if number == 0 { width } else { 2 * width };
        let block =
            |input| convolution(input, width, 1) + convolution(width, width, 3) + convolution(width, 4 * width, 1);
        block(input) + convolution(input, 4 * width, 1) + (blocks - 1) * block(4 * width)
    }

    #[test]
    fn parameter_counts_follow_from_the_configuration() {
        for model in &PUBLISHED {
            let config = model.config();
            config.validate().unwrap();
            assert_eq!(parameters(&config) as u64, model.parameters, "{}", model.name);
        }
    }

    #[test]
    fn files_of_cn_clip() {
        let files: Vec<String> = PUBLISHED.iter().filter_map(PublishedModel::cn_clip_file).collect();
        let sizes = ["rn50", "vit-b-16", "vit-l-14", "vit-l-14-336", "vit-h-14"];
        assert_eq!(files, sizes.map(|size| format!("clip_cn_{size}.pt")));
    }

    #[test]
    fn names_and_ids_resolve_alike() {
        assert_eq!(published("vit-b-16"), published("OFA-Sys/chinese-clip-vit-base-patch16"));
        assert_eq!(published("ViT-B-32"), None);
    }
}
