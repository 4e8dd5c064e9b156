//! Writes a checkpoint as a clean directory: `model.safetensors` with its provenance, `config.json`, `preprocessor_config.json`,
//! `vocab.txt`, `tokenizer.json`.
//!
//! Tensors stream from the mapped input to the output, one at a time. The directory is written under a temporary name beside
//! its place and renamed when it is complete: whatever happens before leaves nothing at the target.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use chinese_clip_config::ChineseClipConfig;

use crate::checkpoint::{CONFIG, PREPROCESSOR, TOKENIZER_JSON, VOCAB_TXT, WEIGHTS};
use crate::dtype::encode;
use crate::weights::Stop;
use crate::{Checkpoint, CheckpointError, Dtype, Tensor, Weights, int8, safetensors};

/// Files that a conversion writes; a directory with nothing else in it may be overwritten.
pub(crate) const WRITTEN: [&str; 5] = [WEIGHTS[0], CONFIG, PREPROCESSOR, VOCAB_TXT, TOKENIZER_JSON];

/// How to convert.
#[derive(Debug, Clone, Default)]
pub struct ConvertOptions {
    /// Type of the written floats: `F32`, `F16` or `BF16`. `None` keeps each tensor's own (`F64` and 8 bits become `F32`). `I8` is
    /// that of the layers' weights, which get scales beside them; the other tensors keep their own.
    pub dtype: Option<Dtype>,
    /// Contents of `tokenizer.json`, if the input directory has none.
    pub tokenizer_json: Option<String>,
    /// Contents of `vocab.txt`, if the input directory has none.
    pub vocab_txt: Option<String>,
    /// Replace a directory that an earlier conversion wrote.
    pub overwrite: bool,
}

/// What a conversion did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The new directory or file.
    pub output: PathBuf,
    /// The files with their sizes in bytes.
    pub files: Vec<(String, u64)>,
    /// Tensors written.
    pub tensors: usize,
    /// Elements written.
    pub parameters: u64,
    /// Tensors that the input spells otherwise: (there, in the output).
    pub renamed: Vec<(String, String)>,
    /// Tensors whose type changed: (name, there, in the output).
    pub cast: Vec<(String, Dtype, Dtype)>,
    /// Tensors that were left out, and why.
    pub dropped: Vec<(String, &'static str)>,
    /// Fingerprint of the input's weights, which the output's metadata carry.
    pub source_fingerprint: String,
}

/// Writes `input` as a clean directory at `output`.
///
/// # Errors
/// `output` exists and is not empty (unless `overwrite` is set and it holds nothing but a converted checkpoint), a value is not
/// finite or does not fit the new type, or writing fails; then nothing is left at `output`.
pub fn convert(input: &Checkpoint, output: &Path, options: &ConvertOptions) -> Result<Report, CheckpointError> {
    if options.dtype != Some(Dtype::I8) {
        check_dtype(options.dtype)?;
    }
    let replace = check_target(input, output, options.overwrite)?;
    let parent = parent_of(output);
    std::fs::create_dir_all(parent).map_err(|source| failed(parent, source))?;
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    let temporary = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .tempdir_in(parent)
        .map_err(|source| failed(parent, source))?;
    let folder = temporary.path();

    let (cast, main) = write_weights(input, &folder.join(WEIGHTS[0]), options.dtype)?;
    write(&folder.join(CONFIG), config_json(&input.config, main).as_bytes())?;
    write(&folder.join(PREPROCESSOR), input.preprocessor.to_json().as_bytes())?;
    for (file, given) in [(VOCAB_TXT, &options.vocab_txt), (TOKENIZER_JSON, &options.tokenizer_json)] {
        let original = input.dir.as_ref().map(|dir| dir.join(file)).filter(|path| path.is_file());
        if let Some(original) = original {
            let bytes = std::fs::read(&original).map_err(|source| CheckpointError::Read { path: original, source })?;
            write(&folder.join(file), &bytes)?;
        } else if let Some(text) = given {
            write(&folder.join(file), text.as_bytes())?;
        }
    }

    let mut files = Vec::new();
    for file in WRITTEN {
        if let Ok(metadata) = folder.join(file).metadata() {
            files.push((file.to_string(), metadata.len()));
        }
    }
    open_to_others(folder).map_err(|source| failed(folder, source))?;
    let old = if replace { Some(set_aside(output, parent)?) } else { None };
    if let Err(source) = std::fs::rename(folder, output) {
        if let Some(old) = &old {
            let _best_effort = std::fs::rename(old.path().join("old"), output);
        }
        return Err(failed(output, source));
    }
    // The directory lives on under its new name; only the guard goes.
    let _moved = temporary.keep();
    let weights = &input.weights;
    Ok(Report {
        output: output.into(),
        files,
        tensors: weights.len(),
        parameters: weights.parameters(),
        renamed: weights.renamed().to_vec(),
        cast,
        dropped: weights.dropped().to_vec(),
        source_fingerprint: weights.fingerprint_hex(),
    })
}

/// Types that weights are written in.
pub(crate) fn check_dtype(dtype: Option<Dtype>) -> Result<(), CheckpointError> {
    match dtype {
        None | Some(Dtype::F32 | Dtype::F16 | Dtype::BF16) => Ok(()),
        Some(dtype) => Err(CheckpointError::NotWritable { dtype }),
    }
}

/// The directory that something is written in.
pub(crate) fn parent_of(output: &Path) -> &Path {
    output.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether there is a directory to replace; an error if it may not be.
fn check_target(input: &Checkpoint, output: &Path, overwrite: bool) -> Result<bool, CheckpointError> {
    let same = |dir: &PathBuf| matches!((dir.canonicalize(), output.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if input.dir.as_ref().is_some_and(same) {
        return Err(CheckpointError::SameDirectory { path: output.into() });
    }
    if output.symlink_metadata().is_err() {
        return Ok(false);
    }
    if !output.is_dir() {
        return Err(CheckpointError::OutputExists { path: output.into(), foreign: None });
    }
    let unreadable = |source| CheckpointError::Read { path: output.into(), source };
    let mut any = false;
    for entry in std::fs::read_dir(output).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !overwrite {
            return Err(CheckpointError::OutputExists { path: output.into(), foreign: None });
        }
        if !WRITTEN.contains(&name.as_str()) || entry.path().is_dir() {
            return Err(CheckpointError::OutputExists { path: output.into(), foreign: Some(name) });
        }
        any = true;
    }
    if !any {
        // An empty directory is replaced by the rename itself, on Unix; elsewhere it has to go first.
        #[cfg(not(unix))]
        std::fs::remove_dir(output).map_err(unreadable)?;
    }
    Ok(any)
}

/// Moves the old directory into a temporary one, which deletes it when it is dropped.
fn set_aside(output: &Path, parent: &Path) -> Result<tempfile::TempDir, CheckpointError> {
    let aside = tempfile::Builder::new().prefix(".replaced.").tempdir_in(parent).map_err(|e| failed(output, e))?;
    std::fs::rename(output, aside.path().join("old")).map_err(|e| failed(output, e))?;
    Ok(aside)
}

/// Temporary directories are private; a checkpoint is as readable as any other new directory.
#[cfg(unix)]
fn open_to_others(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    // What `mkdir` gives under this process's mask, read off a directory made for the purpose.
    let probe = folder.join("probe");
    std::fs::create_dir(&probe)?;
    let mode = std::fs::metadata(&probe)?.permissions().mode();
    std::fs::remove_dir(&probe)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn open_to_others(_folder: &Path) -> std::io::Result<()> {
    Ok(())
}

pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    std::fs::write(path, bytes).map_err(|source| failed(path, source))
}

pub(crate) fn failed(path: &Path, source: std::io::Error) -> CheckpointError {
    CheckpointError::Write { path: path.into(), source }
}

/// `config.json` with the type that most of the weights have.
pub(crate) fn config_json(config: &ChineseClipConfig, dtype: Dtype) -> String {
    let text = config.to_json();
    match serde_json::from_str::<serde_json::Map<_, _>>(&text) {
        Ok(mut root) => {
            root.insert("torch_dtype".into(), dtype.torch_name().into());
            format!("{:#}\n", serde_json::Value::Object(root))
        }
        Err(_) => text,
    }
}

/// The type that a tensor is written as.
pub(crate) fn target(found: Dtype, wanted: Option<Dtype>) -> Dtype {
    match (found, wanted) {
        (found, _) if !found.is_float() => found,
        (_, Some(wanted)) => wanted,
        (Dtype::F64, None) => Dtype::F32,
        (found, None) => found,
    }
}

/// Name, type in the input, type in the output.
type Cast = Vec<(String, Dtype, Dtype)>;

/// A tensor to write.
struct Entry<'a> {
    name: String,
    /// The tensor of the input that it is made of; another name is that of its scales.
    of: &'a str,
    dtype: Dtype,
    shape: Vec<usize>,
}

/// What is written of a tensor.
fn entries<'a>(weights: &Weights, tensor: &'a str, wanted: Option<Dtype>) -> Vec<Entry<'a>> {
    let (Some(found), Some(shape)) = (weights.dtype(tensor), weights.shape(tensor)) else { return Vec::new() };
    let entry = |name: String, dtype, shape: &[usize]| Entry { name, of: tensor, dtype, shape: shape.to_vec() };
    match wanted {
        Some(Dtype::I8) if found.is_float() && int8::is_short(tensor, shape) => {
            vec![entry(tensor.into(), Dtype::I8, shape), entry(int8::scale_name(tensor), Dtype::F32, &[shape[0], 1])]
        }
        Some(Dtype::I8) => vec![entry(tensor.into(), target(found, None), shape)],
        wanted => vec![entry(tensor.into(), target(found, wanted), shape)],
    }
}

/// Streams the tensors into a safetensors file. Returns what was cast, and the float type with the most bytes.
fn write_weights(input: &Checkpoint, path: &Path, wanted: Option<Dtype>) -> Result<(Cast, Dtype), CheckpointError> {
    let weights = &input.weights;
    let failed = |source| failed(path, source);
    let mut order: Vec<Entry<'_>> = weights.names().flat_map(|name| entries(weights, name, wanted)).collect();
    // Wide types first, as the format's own writer does, so that every tensor is aligned.
    order.sort_by_key(|entry| std::cmp::Reverse(entry.dtype.size()));

    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).map_err(failed)?);
    let header = order.iter().map(|entry| (entry.name.as_str(), entry.dtype, entry.shape.as_slice()));
    let header = safetensors::header(&provenance(input, wanted), header);
    file.write_all(&header).map_err(failed)?;
    let (mut cast, mut shares) = (Vec::new(), BTreeMap::<Dtype, usize>::new());
    for Entry { name, of, dtype, shape } in &order {
        let Some(tensor) = weights.get(of) else { continue };
        let inputs = tensor.shape.last().copied().unwrap_or_default();
        if name != of {
            let scales: Vec<u8> = int8::scales(&weights.to_f32(of)?, inputs).flat_map(f32::to_le_bytes).collect();
            file.write_all(&scales).map_err(failed)?;
        } else if *dtype == Dtype::I8 && tensor.dtype.is_float() {
            file.write_all(&int8::steps(&weights.to_f32(of)?, inputs)).map_err(failed)?;
        } else {
            stream(&tensor, name, *dtype, &mut file, path)?;
        }
        if name == of && tensor.dtype != *dtype {
            cast.push((name.clone(), tensor.dtype, *dtype));
        }
        if dtype.is_float() {
            *shares.entry(*dtype).or_default() += shape.iter().product::<usize>() * dtype.size();
        }
        weights.release(of);
    }
    let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    let main = shares.into_iter().max_by_key(|(_, bytes)| *bytes).map_or(Dtype::F32, |(dtype, _)| dtype);
    Ok((cast, main))
}

/// Writes the elements of a tensor as `dtype` into `file`, which is called `path`.
pub(crate) fn stream(
    tensor: &Tensor<'_>,
    name: &str,
    dtype: Dtype,
    file: &mut impl Write,
    path: &Path,
) -> Result<(), CheckpointError> {
    if tensor.dtype == dtype && !dtype.is_float() {
        return file.write_all(&tensor.bytes).map_err(|source| failed(path, source));
    }
    // Also where nothing is cast: a NaN is found now, not by whoever loads the result.
    let (mut done, mut buffer) = (0, Vec::new());
    tensor.for_each_f32_block(name, |block| {
        buffer.clear();
        encode(dtype, block, done, &mut buffer).map_err(|e| Stop::Error(e.named(name, dtype)))?;
        done += block.len();
        file.write_all(&buffer).map_err(|source| Stop::Error(failed(path, source)))
    })
}

/// What the header says about where the weights come from. An earlier source is kept.
fn provenance(input: &Checkpoint, wanted: Option<Dtype>) -> BTreeMap<String, String> {
    let earlier = input.weights.metadata().get("source").filter(|source| !source.is_empty());
    let mut metadata = BTreeMap::from([
        ("format".into(), "pt".into()),
        ("source".into(), earlier.unwrap_or(&input.source).clone()),
        ("source_fingerprint".into(), input.weights.fingerprint_hex()),
        ("converter".into(), format!("chinese-clip {}", env!("CARGO_PKG_VERSION"))),
    ]);
    if let Some(dtype) = wanted {
        metadata.insert("dtype".into(), dtype.torch_name().into());
    }
    metadata
}
