//! Asks a reference: its script is run with the pinned packages, and leaves ids, pixels, features and probabilities.

use std::fs;
use std::path::{Path, PathBuf};

use chinese_clip::config::PUBLISHED;
use chinese_clip::{DType, Dialect};
use chinese_clip_tests::Arrays;

use super::Parity;
use crate::{Failure, root};

/// Half precision, and torch's word for it.
pub(super) const HALVES: [(DType, &str); 2] = [(DType::F16, "float16"), (DType::BF16, "bfloat16")];

/// An implementation that results are compared with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reference {
    Transformers,
    NewerTransformers,
    CnClip,
}

impl Reference {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Transformers => "transformers 4.51.3",
            Self::NewerTransformers => "transformers 5.24.0",
            Self::CnClip => "cn_clip 1.6.0",
        }
    }

    pub(super) fn dialect(self) -> Dialect {
        match self {
            Self::Transformers | Self::NewerTransformers => Dialect::Hf,
            Self::CnClip => Dialect::CnClip,
        }
    }
}

/// What a reference computes features of.
#[derive(Clone, Copy)]
pub(super) enum Inputs<'a> {
    /// Files and strings, which it prepares itself.
    Files { images: &'a [PathBuf], texts: &'a [String] },
    /// The ids and pixels of an earlier answer.
    Of(&'a Answer),
}

/// What a reference left, in a file that lives as long as this.
pub(super) struct Answer {
    pub(super) arrays: Arrays,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Parity {
    /// With `halves`, features in f16 and bf16, too.
    pub(super) fn ask(
        &self,
        reference: Reference,
        checkpoint: &Path,
        inputs: Inputs<'_>,
        halves: bool,
    ) -> Result<Answer, Failure> {
        let folder = tempfile::tempdir()?;
        let (request, file) = (folder.path().join("request.json"), folder.path().join("answer.safetensors"));
        let version = reference.name().rsplit(' ').next();
        let mut wanted = serde_json::json!({ "version": version, "checkpoint": checkpoint });
        if halves {
            wanted["halves"] = HALVES.map(|(_, name)| name).into();
        }
        match inputs {
            Inputs::Files { images, texts } => {
                wanted["images"] = serde_json::to_value(images)?;
                wanted["texts"] = texts.into();
            }
            Inputs::Of(answer) => wanted["inputs"] = answer.file.to_string_lossy().into(),
        }
        let script = match reference {
            Reference::Transformers | Reference::NewerTransformers => "ask_transformers.py",
            Reference::CnClip => {
                wanted["model"] = published(checkpoint)?.into();
                "ask_cn_clip.py"
            }
        };
        fs::write(&request, wanted.to_string())?;
        let over = self.newer.as_deref().filter(|_| reference == Reference::NewerTransformers);
        self.oracle.run_over(over, &root().join("xtask/parity").join(script), &[&request, &file])?;
        Ok(Answer { arrays: Arrays::read(&file), file, _folder: folder })
    }
}

/// `cn_clip` loads the published sizes only, and must be told which one a file is.
fn published(file: &Path) -> Result<&'static str, Failure> {
    let config = super::open(file)?.config;
    let model = PUBLISHED.iter().find(|model| model.config() == config);
    Ok(model.ok_or_else(|| format!("{} is of no published size, and cn_clip loads no other", file.display()))?.name)
}
