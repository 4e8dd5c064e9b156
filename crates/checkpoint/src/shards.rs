//! One weight file, or an index and the shards that it names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use chinese_clip_config::Limits;
use serde::Deserialize;

use crate::sniff::sniff;
use crate::weights::Part;
use crate::{CheckpointError, safetensors};

/// `model.safetensors.index.json`, `pytorch_model.bin.index.json`.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Opens a weight file, or every shard of an index, by the file's name.
pub(crate) fn open(path: &Path, limits: &Limits) -> Result<Vec<Part>, CheckpointError> {
    if !is_index(path) {
        return Ok(vec![open_one(path, limits)?]);
    }
    let index = read_index(path, limits)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut parts = Vec::new();
    for file in index.values().collect::<BTreeSet<_>>() {
        let part = open_one(&folder.join(file), limits)?;
        let held: BTreeSet<&str> = part.tensors.iter().map(|(name, _)| name.as_str()).collect();
        let lacking = index.iter().find(|(name, shard)| *shard == file && !held.contains(name.as_str()));
        if let Some((name, _)) = lacking {
            let problem = format!("tensor `{name}` is said to be in {file}, which does not hold it");
            return Err(CheckpointError::Index { path: path.into(), problem });
        }
        parts.push(part);
    }
    Ok(parts)
}

/// Whether this is the name of an index, not of weights.
pub(crate) fn is_index(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}

/// Opens one weight file.
pub(crate) fn open_one(path: &Path, limits: &Limits) -> Result<Part, CheckpointError> {
    if path.extension().is_some_and(|e| e == "safetensors") {
        safetensors::open(path, limits)
    } else {
        crate::torch::open(path, limits)
    }
}

/// Names of the shards of an index, each once. Names that lead out of the folder are an error.
pub(crate) fn shard_names(path: &Path, limits: &Limits) -> Result<BTreeSet<String>, CheckpointError> {
    Ok(read_index(path, limits)?.into_values().collect())
}

fn read_index(path: &Path, limits: &Limits) -> Result<BTreeMap<String, String>, CheckpointError> {
    let unreadable = |source| CheckpointError::Read { path: PathBuf::from(path), source };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > limits.json_bytes {
        let (what, limit) = ("the index", limits.json_bytes);
        return Err(CheckpointError::TooLarge { path: path.into(), what, found: size, limit });
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    sniff(path, &bytes)?;
    let index: Index =
        serde_json::from_slice(&bytes).map_err(|source| CheckpointError::Json { path: path.into(), source })?;
    let problem = |problem: String| CheckpointError::Index { path: path.into(), problem };
    if index.weight_map.is_empty() {
        return Err(problem("weight_map is empty".into()));
    }
    for file in index.weight_map.values() {
        let mut components = Path::new(file).components();
        let plain = matches!((components.next(), components.next()), (Some(Component::Normal(_)), None));
        if !plain || file.contains(['\\', ':']) || is_index(Path::new(file)) {
            return Err(problem(format!("{file:?} is not the name of a shard in the same folder")));
        }
    }
    Ok(index.weight_map)
}
