//! Writes a model that is in memory as a directory in Hugging Face's layout: `model.safetensors`, `config.json`, and what
//! prepares its inputs.
//!
//! Follows `PreTrainedModel.save_pretrained` of transformers 4.51.3 in that files of these names are replaced and others stay.
//! All are written under a temporary name in the directory and renamed when the last one is complete.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use chinese_clip_config::{ChineseClipConfig, PreprocessorConfig};

use crate::checkpoint::{CONFIG, PREPROCESSOR, TOKENIZER_JSON, VOCAB_TXT, WEIGHTS};
use crate::convert::{WRITTEN, config_json, failed, write};
use crate::dtype::{BLOCK, encode};
use crate::{Checkpoint, CheckpointError, Dtype, safetensors};

/// A tensor to write. Its elements are asked for when its turn comes, so that one at a time is in memory twice.
pub struct Parameter<E> {
    /// Hugging Face's name.
    pub name: String,
    /// Type in the file: `F32`, `F16` or `BF16`.
    pub dtype: Dtype,
    /// Sizes; empty for a scalar.
    pub shape: Vec<usize>,
    /// Gives the elements in row-major order.
    pub values: Box<dyn FnOnce() -> Result<Vec<f32>, E>>,
}

/// What prepares the inputs of a model and is kept with its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Companions {
    /// `preprocessor_config.json`.
    pub preprocessor: PreprocessorConfig,
    /// The files `vocab.txt` and `tokenizer.json`, where there are such.
    pub vocabulary: Vec<PathBuf>,
}

impl Checkpoint {
    /// The preprocessor, and the files of the vocabulary.
    pub fn companions(&self) -> Companions {
        let files = self.dir.iter().flat_map(|dir| [VOCAB_TXT, TOKENIZER_JSON].map(|file| dir.join(file)));
        Companions {
            preprocessor: self.preprocessor.clone(),
            vocabulary: files.filter(|file| file.is_file()).collect(),
        }
    }
}

/// Writes a model into the directory `dir`, which is made if there is none.
///
/// # Errors
/// A value is not finite, its elements cannot be had, or reading or writing a file fails; then what was in `dir` is as it was.
pub fn save<E: From<CheckpointError>>(
    dir: &Path,
    config: &ChineseClipConfig,
    companions: Option<&Companions>,
    parameters: Vec<Parameter<E>>,
) -> Result<(), E> {
    std::fs::create_dir_all(dir).map_err(|source| failed(dir, source))?;
    let temporary =
        tempfile::Builder::new().prefix(".saving.").tempdir_in(dir).map_err(|source| failed(dir, source))?;
    let folder = temporary.path();
    let main = write_weights(&folder.join(WEIGHTS[0]), parameters)?;
    write(&folder.join(CONFIG), config_json(config, main).as_bytes())?;
    if let Some(Companions { preprocessor, vocabulary }) = companions {
        write(&folder.join(PREPROCESSOR), preprocessor.to_json().as_bytes())?;
        for path in vocabulary {
            let bytes = std::fs::read(path).map_err(|source| CheckpointError::Read { path: path.clone(), source })?;
            write(&folder.join(path.file_name().unwrap_or_default()), &bytes)?;
        }
    }
    for file in WRITTEN.into_iter().filter(|file| folder.join(file).exists()) {
        let place = dir.join(file);
        std::fs::rename(folder.join(file), &place).map_err(|source| failed(&place, source))?;
    }
    Ok(())
}

/// Returns the type with the most elements.
fn write_weights<E: From<CheckpointError>>(path: &Path, mut parameters: Vec<Parameter<E>>) -> Result<Dtype, E> {
    let failed = |source| failed(path, source);
    // Wide types first, as the format's own writer does, so that every tensor is aligned.
    parameters.sort_by_key(|parameter| std::cmp::Reverse(parameter.dtype.size()));
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).map_err(failed)?);
    let metadata = BTreeMap::from([
        ("format".into(), "pt".into()),
        ("writer".into(), format!("chinese-clip {}", env!("CARGO_PKG_VERSION"))),
    ]);
    let entries = parameters.iter().map(|one| (one.name.as_str(), one.dtype, one.shape.as_slice()));
    file.write_all(&safetensors::header(&metadata, entries)).map_err(failed)?;
    let mut shares = BTreeMap::<Dtype, usize>::new();
    for Parameter { name, dtype, shape, values } in parameters {
        let values = values()?;
        let expected: usize = shape.iter().product();
        if values.len() != expected {
            let problem = format!("it has {} elements, its shape {shape:?} has {expected}", values.len());
            return Err(CheckpointError::Tensor { path: path.into(), tensor: name, problem }.into());
        }
        write_tensor(&values, &name, dtype, &mut file, path)?;
        *shares.entry(dtype).or_default() += expected;
    }
    let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    Ok(shares.into_iter().max_by_key(|(_, elements)| *elements).map_or(Dtype::F32, |(dtype, _)| dtype))
}

fn write_tensor(
    values: &[f32],
    name: &str,
    dtype: Dtype,
    file: &mut impl Write,
    path: &Path,
) -> Result<(), CheckpointError> {
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return Err(CheckpointError::NotFinite { tensor: name.into(), index, value: values[index].into() });
    }
    let mut buffer = Vec::new();
    for (number, block) in values.chunks(BLOCK).enumerate() {
        buffer.clear();
        encode(dtype, block, number * BLOCK, &mut buffer).map_err(|error| error.named(name, dtype))?;
        file.write_all(&buffer).map_err(|source| failed(path, source))?;
    }
    Ok(())
}

impl<E> std::fmt::Debug for Parameter<E> {
    /// Everything but the elements.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, dtype, shape, .. } = self;
        f.debug_struct("Parameter").field("name", name).field("dtype", dtype).field("shape", shape).finish()
    }
}
