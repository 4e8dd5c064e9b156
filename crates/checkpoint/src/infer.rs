//! The configuration of a model, read off the shapes of its tensors: what a file of `cn_clip` does not say.
//!
//! All but the numbers of heads follows from shapes. Heads are as wide as in the published models of that width (80 in
//! ViT-H), and 64 elsewhere, as in every other file of `cn_clip` 1.6.0 (`clip/model_configs/*.json`).

use chinese_clip_config::{ChineseClipConfig, PUBLISHED, PublishedModel, TextConfig, VisionConfig, VisionKind};

use crate::Weights;

/// Width of a head, unless a published model has another.
const HEAD: usize = 64;

/// The configuration, or why there is none.
pub(crate) fn config(weights: &Weights) -> Result<ChineseClipConfig, String> {
    let shapes = Shapes(weights);
    let [projection_dim, hidden_size] = shapes.of("text_projection.weight")?;
    let [vocab_size, _] = shapes.of("text_model.embeddings.word_embeddings.weight")?;
    let [max_position_embeddings, _] = shapes.of("text_model.embeddings.position_embeddings.weight")?;
    let [type_vocab_size, _] = shapes.of("text_model.embeddings.token_type_embeddings.weight")?;
    let [intermediate_size, _] = shapes.of("text_model.encoder.layer.0.intermediate.dense.weight")?;
    let text_config = TextConfig {
        vocab_size,
        hidden_size,
        num_hidden_layers: shapes.count("text_model.encoder.layer.", ".intermediate.dense.weight"),
        num_attention_heads: heads(hidden_size, "text", |m| (m.text.0, m.text.2))?,
        intermediate_size,
        max_position_embeddings,
        type_vocab_size,
        ..TextConfig::default()
    };
    let vision_config =
        if weights.contains("vision_model.attnpool.positional_embedding") { resnet(&shapes)? } else { vit(&shapes)? };
    Ok(ChineseClipConfig { text_config, vision_config, projection_dim, ..ChineseClipConfig::default() })
}

/// Whether the shapes tell the whole configuration; if not, the field that they tell otherwise.
pub(crate) fn agrees(weights: &Weights, found: &ChineseClipConfig) -> Result<(), String> {
    let read = config(weights)?;
    // What does not move a result may differ.
    let (text, vision) = (&found.text_config, &found.vision_config);
    let read = ChineseClipConfig {
        text_config: TextConfig {
            hidden_dropout_prob: text.hidden_dropout_prob,
            attention_probs_dropout_prob: text.attention_probs_dropout_prob,
            initializer_range: text.initializer_range,
            initializer_factor: text.initializer_factor,
            chunk_size_feed_forward: text.chunk_size_feed_forward,
            ..read.text_config
        },
        vision_config: VisionConfig {
            attention_dropout: vision.attention_dropout,
            initializer_range: vision.initializer_range,
            initializer_factor: vision.initializer_factor,
            projection_dim: vision.projection_dim,
            ..read.vision_config
        },
        logit_scale_init_value: found.logit_scale_init_value,
        ..read
    };
    let (read, found) = (read.to_json(), found.to_json());
    match read.lines().zip(found.lines()).find(|(read, found)| read != found) {
        None => Ok(()),
        Some((read, found)) => Err(format!("{} in config.json, but its shapes say {}", trimmed(found), trimmed(read))),
    }
}

fn trimmed(line: &str) -> &str {
    line.trim().trim_end_matches(',')
}

fn vit(shapes: &Shapes<'_>) -> Result<VisionConfig, String> {
    let [hidden_size, num_channels, patch_size, _] = shapes.of("vision_model.embeddings.patch_embedding.weight")?;
    let [intermediate_size, _] = shapes.of("vision_model.encoder.layers.0.mlp.fc1.weight")?;
    let published = |m: &PublishedModel| match m.vision {
        VisionKind::Vit { width, heads, .. } => (width, heads),
        VisionKind::ResNet50 => (0, 0),
    };
    Ok(VisionConfig {
        hidden_size,
        intermediate_size,
        num_hidden_layers: shapes.count("vision_model.encoder.layers.", ".mlp.fc1.weight"),
        num_attention_heads: heads(hidden_size, "image", published)?,
        num_channels,
        image_size: shapes.grid("vision_model.embeddings.position_embedding.weight")?.saturating_mul(patch_size),
        patch_size,
        ..VisionConfig::default()
    })
}

fn resnet(shapes: &Shapes<'_>) -> Result<VisionConfig, String> {
    let [stem_width, ..] = shapes.of::<4>("vision_model.conv3.weight")?;
    let layers = [1, 2, 3, 4].map(|stage| shapes.count(&format!("vision_model.layer{stage}."), ".conv1.weight"));
    let grid = shapes.grid("vision_model.attnpool.positional_embedding")?;
    let config = VisionConfig::resnet(layers, stem_width, 0);
    Ok(VisionConfig { image_size: grid.saturating_mul(config.patch_size), ..config })
}

/// Heads of a tower; `published` gives width and heads of a published model's.
fn heads(width: usize, tower: &str, published: fn(&PublishedModel) -> (usize, usize)) -> Result<usize, String> {
    match PUBLISHED.iter().map(published).find(|(known, _)| *known == width) {
        Some((_, heads)) => Ok(heads),
        None if width > 0 && width.is_multiple_of(HEAD) => Ok(width / HEAD),
        None => {
            Err(format!("the {tower} tower is {width} wide, which is no multiple of {HEAD}: its heads are unknown"))
        }
    }
}

struct Shapes<'a>(&'a Weights);

impl Shapes<'_> {
    fn of<const N: usize>(&self, name: &str) -> Result<[usize; N], String> {
        let shape = self.0.shape(name).ok_or_else(|| format!("there is no `{name}`"))?;
        shape.try_into().map_err(|_| format!("`{name}` has the shape {shape:?}, not one of {N} dimensions"))
    }

    /// How many tensors are called `START0END`, `START1END`, and so on.
    fn count(&self, start: &str, end: &str) -> usize {
        (0..self.0.len()).take_while(|number| self.0.contains(&format!("{start}{number}{end}"))).count()
    }

    /// Edge of a square whose cells, and one more, have a row each.
    fn grid(&self, name: &str) -> Result<usize, String> {
        let [rows, _] = self.of(name)?;
        let edge = rows.saturating_sub(1).isqrt();
        if edge * edge + 1 == rows {
            Ok(edge)
        } else {
            Err(format!("`{name}` has {rows} rows, not one more than a square"))
        }
    }
}
