//! `OUT.meta.json`: which model made the vectors of `OUT`, and how.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::CliError;
use crate::output::{beside, replace};

/// The identity of a file of vectors.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) model: String,
    /// Of weights, preprocessing, number format and numerics version.
    pub(crate) fingerprint: String,
    pub(crate) width: usize,
    /// What patch features are of; absent where rows are embeddings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) patches: Option<PatchMeta>,
    /// Whether vectors have unit length.
    pub(crate) normalized: bool,
    pub(crate) dtype: String,
    pub(crate) format: String,
    pub(crate) created_by: String,
}

/// Which patch features a file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PatchMeta {
    /// The hidden state.
    pub(crate) layer: usize,
    /// Height and width of the prepared pictures, in pixels.
    pub(crate) image_size: [usize; 2],
    /// Rows and columns of patches.
    pub(crate) grid: [usize; 2],
}

impl Meta {
    /// The shape of a row.
    pub(super) fn row(&self) -> Vec<usize> {
        let grid = self.patches.as_ref().map(|patches| patches.grid);
        grid.into_iter().flatten().chain([self.width]).collect()
    }

    /// In what vectors of `self` and `new` differ, so that they cannot stand in one file.
    pub(super) fn differences(&self, new: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        if self.format != new.format {
            differences.push(format!("it is {}, not {}", self.format, new.format));
        }
        if self.patches != new.patches {
            let name = |patches: &Option<PatchMeta>| match patches {
                None => "embeddings".into(),
                Some(PatchMeta { layer, image_size: [height, width], .. }) => {
                    format!("patches of layer {layer} of pictures of {height}x{width}")
                }
            };
            differences.push(format!("they are {}, not {}", name(&self.patches), name(&new.patches)));
        }
        if self.normalized != new.normalized {
            let name = |normalized| if normalized { "of unit length" } else { "raw" };
            differences.push(format!("they are {}, not {}", name(self.normalized), name(new.normalized)));
        }
        if self.width != new.width {
            differences.push(format!("they are {} wide, not {}", self.width, new.width));
        }
        if self.dtype != new.dtype {
            differences.push(format!("they were computed in {}, not {}", self.dtype, new.dtype));
        }
        if self.fingerprint != new.fingerprint && self.patches == new.patches {
            let why = if self.model != new.model {
                format!(" (they are of the model `{}`, not `{}`)", self.model, new.model)
            } else if self.dtype == new.dtype {
                " (weights, configuration, vocabulary, preparation, --max-length or --dialect differ)".into()
            } else {
                String::new()
            };
            let (old, new) = (short(&self.fingerprint), short(&new.fingerprint));
            differences.push(format!("their fingerprint is {old}, not {new}{why}"));
        }
        differences
    }
}

/// The first digits tell fingerprints apart.
fn short(fingerprint: &str) -> &str {
    fingerprint.get(..16).unwrap_or(fingerprint)
}

/// Where the sidecar of an output stands.
pub(super) fn path_of(output: &Path) -> PathBuf {
    beside(output, ".meta.json")
}

/// An error if vectors as of `meta` must not be added to those of an output.
pub(super) fn check(output: &Path, meta: &Meta) -> Result<(), CliError> {
    let sidecar = path_of(output);
    let text = match std::fs::read(&sidecar) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(CliError::Foreign { path: output.into(), sidecar });
        }
        Err(source) => return Err(CliError::Read { path: sidecar, source }),
    };
    let old: Meta = serde_json::from_slice(&text)
        .map_err(|error| CliError::Damaged { path: sidecar, problem: error.to_string() })?;
    let differences = old.differences(meta);
    if differences.is_empty() { Ok(()) } else { Err(CliError::Differs { path: output.into(), differences }) }
}

/// Writes the sidecar of a new output.
pub(super) fn write(output: &Path, meta: &Meta) -> Result<(), CliError> {
    use std::io::Write;
    let path = path_of(output);
    let failed = |source| CliError::Write { path: path.clone(), source };
    let text = serde_json::to_vec_pretty(meta).map_err(|error| failed(error.into()))?;
    replace(&path, |file| file.write_all(&text).and_then(|()| file.write_all(b"\n")).map_err(failed))
}
