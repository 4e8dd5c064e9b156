//! Names of the image tower's parameters in a checkpoint.

use chinese_clip_nn::rename;

/// Field of [`VisionModel`](crate::VisionModel), name under `vision_model.` in a Hugging Face checkpoint.
const NAMES: [(&str, &str); 6] = [
    ("pre_layernorm", "pre_layrnorm"), // sic
    ("layers", "encoder.layers"),
    ("attention.query", "self_attn.q_proj"),
    ("attention.key", "self_attn.k_proj"),
    ("attention.value", "self_attn.v_proj"),
    ("attention.output", "self_attn.out_proj"),
];

/// The checkpoint's name of the parameter at `path` in [`VisionModel`](crate::VisionModel).
pub fn checkpoint_name(path: &str) -> String {
    format!("vision_model.{}", rename(path, &NAMES))
}
