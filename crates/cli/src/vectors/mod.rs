//! Files of vectors, written a batch at a time and gone on with by a later run.
//!
//! Every output `OUT` has a sidecar `OUT.meta.json` that says what made the vectors; a run whose vectors would differ refuses to
//! touch it. After a crash, a kill or a full disk, what was written before is whole, and the next run goes on from there.

mod jsonl;
mod npy;
mod parquet;
mod sidecar;

use std::fs::{File, TryLockError};
use std::path::Path;

use chinese_clip::Embeddings;
use serde::{Deserialize, Serialize};

pub(crate) use npy::header as npy_header;
pub(crate) use sidecar::{Meta, PatchMeta};

use crate::args::Format;
use crate::error::CliError;

/// What a vector belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) kind: Kind,
    /// The path of an image, or the text itself.
    pub(crate) source: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Image,
    Text,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Text => "text",
        }
    }
}

/// A place for vectors.
pub(crate) trait Sink {
    /// Adds a batch, wholly or not at all.
    fn append(&mut self, rows: &[Row], embeddings: &Embeddings) -> Result<(), CliError>;
    /// Makes the output complete.
    fn finish(self: Box<Self>) -> Result<(), CliError>;
}

/// A sink, and the rows that it has already.
pub(crate) type Opened = (Box<dyn Sink>, Vec<Row>);

/// Whether a path is, or would become, a file that can be changed in place.
pub(crate) fn is_file(path: &Path) -> bool {
    path.metadata().map_or(true, |metadata| metadata.is_file())
}

/// Lines of JSON to standard output, or to a pipe or device.
pub(crate) fn stream(path: Option<&Path>) -> Result<Opened, CliError> {
    Ok((Box::new(jsonl::Stream::new(path)?), Vec::new()))
}

/// Starts a file, or goes on with one.
pub(crate) fn open(path: &Path, format: Format, meta: &Meta) -> Result<Opened, CliError> {
    let lock = match format {
        Format::Jsonl | Format::Npy => path.to_path_buf(),
        Format::Parquet => parquet::journal(path),
    };
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&lock)
        .map_err(|source| CliError::Write { path: lock.clone(), source })?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Err(CliError::Busy { path: path.into() }),
        // A file system without locks: go on without.
        Ok(()) | Err(TryLockError::Error(_)) => {}
    }
    // Looked at only now, when no other process changes it.
    let there = |path: &Path| path.metadata().is_ok_and(|metadata| metadata.len() > 0);
    let exists = there(path) || there(&lock) || (format == Format::Npy && there(&npy::rows_path(path)));
    if exists {
        sidecar::check(path, meta).inspect_err(|_| {
            if !there(&lock) {
                let _ = std::fs::remove_file(&lock); // made above
            }
        })?;
    } else {
        sidecar::write(path, meta)?;
    }
    let width = meta.width;
    Ok(match format {
        Format::Jsonl => {
            let (sink, rows) = jsonl::Lines::open(path, file, width)?;
            (Box::new(sink), rows)
        }
        Format::Npy => {
            let (sink, rows) = npy::Npy::open(path, file, &meta.row())?;
            (Box::new(sink), rows)
        }
        Format::Parquet => {
            let (sink, rows) = parquet::Parquet::open(path, file, meta)?;
            (Box::new(sink), rows)
        }
    })
}

/// The complete lines of a file, each parsed and given with its number and bytes; then the length of them all.
/// A last line without its end was cut off and does not count.
fn complete_lines<T: for<'de> Deserialize<'de>>(
    path: &Path,
    file: &File,
    mut each: impl FnMut(T, u64) -> Result<(), String>,
) -> Result<(), CliError> {
    use std::io::{BufRead, BufReader};
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let (mut line, mut end) = (Vec::new(), 0);
    for number in 1_u64.. {
        line.clear();
        reader.read_until(b'\n', &mut line).map_err(|source| CliError::Read { path: path.into(), source })?;
        if line.last() != Some(&b'\n') {
            break;
        }
        end += line.len() as u64;
        serde_json::from_slice(&line)
            .map_err(|error| error.to_string())
            .and_then(|value| each(value, end))
            .map_err(|problem| CliError::Damaged { path: path.into(), problem: format!("line {number}: {problem}") })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(model: &str) -> Meta {
        Meta {
            model: model.into(),
            fingerprint: model.into(),
            width: 2,
            normalized: true,
            patches: None,
            dtype: "f32".into(),
            format: "jsonl".into(),
            created_by: "a test".into(),
        }
    }

    #[test]
    fn the_sidecar_is_read_under_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let (mut sink, _) = open(&path, Format::Jsonl, &meta("a")).unwrap();
        let row = Row { kind: Kind::Text, source: "猫".into() };
        let other = |path: &Path, format| open(path, format, &meta("b")).map(drop).unwrap_err();
        assert!(matches!(other(&path, Format::Jsonl), CliError::Busy { .. }));
        sink.append(&[row], &Embeddings::new(vec![1.0, 0.0], 2)).unwrap();
        assert!(matches!(other(&path, Format::Jsonl), CliError::Busy { .. }), "whatever it says by now");
        sink.finish().unwrap();
        assert!(matches!(other(&path, Format::Jsonl), CliError::Differs { .. }));
        assert!(open(&path, Format::Jsonl, &meta("a")).unwrap().1.len() == 1);
    }

    #[test]
    fn a_refused_table_leaves_no_journal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.parquet");
        std::fs::write(&path, "foreign").unwrap();
        let refused = open(&path, Format::Parquet, &meta("a")).map(drop);
        assert!(matches!(refused, Err(CliError::Foreign { .. })));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(std::fs::read(&path).unwrap(), b"foreign");
    }
}
