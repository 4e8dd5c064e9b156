//! Writes a checkpoint as `cn_clip`'s own loader takes it (`cn_clip` 1.6.0, `clip.load_from_name` with a path): one file of
//! torch with `cn_clip`'s names, query, key and value of the ViT in one tensor, projections transposed.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::convert::{check_dtype, failed, parent_of, stream, target};
use crate::names::{Original, PARALLEL, originals};
use crate::torch::{Entry, Writer};
use crate::weights::gather;
use crate::{Checkpoint, CheckpointError, Dtype, Report, Tensor, infer};

/// Writes the weights of `input` as the file `output`, tensor by tensor. `dtype` and `overwrite` as in
/// [`ConvertOptions`](crate::ConvertOptions).
///
/// # Errors
/// `output` exists (unless `overwrite` is set), the model is one that `cn_clip` would read as another, a value is not finite or
/// does not fit the new type, or writing fails; then `output` is as it was.
pub fn convert_to_cn_clip(
    input: &Checkpoint,
    output: &Path,
    dtype: Option<Dtype>,
    overwrite: bool,
) -> Result<Report, CheckpointError> {
    check_dtype(dtype)?;
    check_target(input, output, overwrite)?;
    let (table, cast) = table(input, dtype)?;
    let parent = parent_of(output);
    std::fs::create_dir_all(parent).map_err(|source| failed(parent, source))?;
    let temporary = tempfile::tempdir_in(parent).map_err(|source| failed(parent, source))?;
    let path = temporary.path().join("file");
    write(input, &path, &table)?;
    let bytes = path.metadata().map_or(0, |metadata| metadata.len());
    std::fs::rename(&path, output).map_err(|source| failed(output, source))?;

    let weights = &input.weights;
    let renamed = table.iter().flat_map(|(entry, original)| {
        original.parts.iter().filter(|part| **part != entry.name).map(|part| (part.clone(), entry.name.clone()))
    });
    Ok(Report {
        output: output.into(),
        files: vec![(output.file_name().unwrap_or_default().to_string_lossy().into_owned(), bytes)],
        tensors: table.len(),
        parameters: weights.parameters(),
        renamed: renamed.collect(),
        cast,
        dropped: weights.dropped().to_vec(),
        source_fingerprint: weights.fingerprint_hex(),
    })
}

fn check_target(input: &Checkpoint, output: &Path, overwrite: bool) -> Result<(), CheckpointError> {
    if output.symlink_metadata().is_err() {
        return Ok(());
    }
    if input.files.iter().any(|file| matches!((file.canonicalize(), output.canonicalize()), (Ok(a), Ok(b)) if a == b)) {
        return Err(CheckpointError::SameDirectory { path: output.into() });
    }
    if overwrite && output.is_file() {
        return Ok(());
    }
    Err(CheckpointError::OutputExists { path: output.into(), foreign: None })
}

/// Name, type in the input, type in the output.
type Cast = Vec<(String, Dtype, Dtype)>;

/// What is written, in order, and what is cast.
fn table(input: &Checkpoint, wanted: Option<Dtype>) -> Result<(Vec<(Entry, Original)>, Cast), CheckpointError> {
    let weights = &input.weights;
    let resnet = input.config.vision_config.resnet_layers.is_some();
    let unfit = |problem: String| CheckpointError::NotCnClip { problem };
    infer::agrees(weights, &input.config).map_err(unfit)?;
    let originals =
        originals(weights.names(), resnet).map_err(|names| unfit(format!("it has no place for {names}")))?;
    let (mut table, mut cast) = (Vec::new(), Vec::new());
    for original in originals {
        let parts =
            || original.parts.iter().filter_map(|part| Some((part, weights.shape(part)?, weights.dtype(part)?)));
        let Some((first, shape, found)) = parts().next() else { continue };
        if parts().any(|(_, other, _)| other != shape) {
            return Err(unfit(format!("{first} has another shape than {}", original.parts[1..].join(" or "))));
        }
        let (mut shape, dtype) = (shape.to_vec(), target(found, wanted));
        if original.transposed {
            shape.reverse();
        } else if let Some(rows) = shape.first_mut() {
            *rows *= original.parts.len();
        }
        cast.extend(parts().filter(|(.., found)| *found != dtype).map(|(part, _, found)| (part.clone(), found, dtype)));
        table.push((Entry { name: format!("{PARALLEL}{}", original.name), dtype, shape }, original));
    }
    Ok((table, cast))
}

fn write(input: &Checkpoint, path: &Path, table: &[(Entry, Original)]) -> Result<(), CheckpointError> {
    let weights = &input.weights;
    let failed = |source| failed(path, source);
    let file = BufWriter::with_capacity(1 << 20, File::create(path).map_err(failed)?);
    let entries = table.iter().map(|(entry, _)| entry);
    let mut writer = Writer::new(file, &input.source, entries).map_err(failed)?;
    for (entry, original) in table {
        let bytes = entry.shape.iter().product::<usize>() * entry.dtype.size();
        let mut sink = writer.tensor(bytes).map_err(failed)?;
        for part in &original.parts {
            let Some(tensor) = weights.get(part) else { continue };
            let tensor = if original.transposed { transposed(tensor) } else { tensor };
            stream(&tensor, part, entry.dtype, &mut sink, path)?;
            weights.release(part);
        }
    }
    let mut file = writer.finish().map_err(failed)?;
    file.flush().map_err(failed)?;
    file.get_ref().sync_all().map_err(failed)
}

/// The same matrix with its elements in the order of its columns; the shape stays that of the original.
fn transposed(tensor: Tensor<'_>) -> Tensor<'_> {
    let &[rows, columns] = tensor.shape else { return tensor };
    let bytes = gather(&tensor.bytes, tensor.dtype.size(), &[columns, rows], &[1, columns]);
    Tensor { bytes: bytes.into(), ..tensor }
}
