//! The embedded demonstration model: a tiny Chinese-CLIP that knows drawn shapes and a few scenes.

use chinese_clip_checkpoint::Checkpoint;

use crate::Error;

/// The source that selects the embedded model.
pub const DEMO: &str = "demo";

pub(crate) fn checkpoint() -> Result<Checkpoint, Error> {
    let mut checkpoint = Checkpoint::from_bytes(
        include_str!("../demo/config.json"),
        include_str!("../demo/preprocessor_config.json"),
        include_bytes!("../demo/model.safetensors"),
    )?;
    checkpoint.source = DEMO.into();
    Ok(checkpoint)
}
