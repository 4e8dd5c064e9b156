//! Names of the ResNet's parameters in a checkpoint.

use chinese_clip_nn::rename;

/// Field of [`ResNetModel`](crate::ResNetModel), name under `vision_model.` in a checkpoint (`visual.` in cn_clip's files).
const NAMES: [(&str, &str); 16] = [
    ("layers.0", "layer1"),
    ("layers.1", "layer2"),
    ("layers.2", "layer3"),
    ("layers.3", "layer4"),
    ("conv1.conv", "conv1"),
    ("conv1.norm", "bn1"),
    ("conv2.conv", "conv2"),
    ("conv2.norm", "bn2"),
    ("conv3.conv", "conv3"),
    ("conv3.norm", "bn3"),
    ("downsample.conv", "downsample.0"),
    ("downsample.norm", "downsample.1"),
    ("attention.query", "q_proj"),
    ("attention.key", "k_proj"),
    ("attention.value", "v_proj"),
    ("attention.output", "c_proj"),
];

/// The checkpoint's name of the parameter at `path` in [`ResNetModel`](crate::ResNetModel).
pub fn checkpoint_name(path: &str) -> String {
    let path = path.strip_prefix("trunk.").unwrap_or(path);
    format!("vision_model.{}", rename(path, &NAMES))
}
