//! Names of the text tower's parameters in a checkpoint.

use chinese_clip_nn::rename;

/// Field of [`TextModel`](crate::TextModel), name under `text_model.` in a Hugging Face checkpoint.
const NAMES: [(&str, &str); 13] = [
    ("embeddings.norm", "embeddings.LayerNorm"),
    ("layers", "encoder.layer"),
    ("attention.distance_embedding", "attention.self.distance_embedding"),
    ("attention.query", "attention.self.query"), // `self` is no identifier
    ("attention.key", "attention.self.key"),
    ("attention.value", "attention.self.value"),
    ("attention.output", "attention.output.dense"),
    ("attention_norm", "attention.output.LayerNorm"),
    ("crossattention.attention", "crossattention"),
    ("crossattention.norm", "crossattention.output.LayerNorm"),
    ("mlp.fc1", "intermediate.dense"),
    ("mlp.fc2", "output.dense"),
    ("mlp_norm", "output.LayerNorm"),
];

/// The checkpoint's name of the parameter at `path` in [`TextModel`](crate::TextModel).
pub fn checkpoint_name(path: &str) -> String {
    format!("text_model.{}", rename(path, &NAMES))
}
