//! Parquet: columns `kind`, `source`, `embedding` (list of f32), and the sidecar's content under the key `chinese_clip`.
//!
//! Such a file cannot be appended to. Rows are journalled in `OUT.part`, a pair of files as [`super::npy`] writes them, and at the
//! end all of them are written to a temporary file that takes the place of `OUT`. The journal always begins with the rows of
//! `OUT`: they are read back when a run starts, and again if that was interrupted.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chinese_clip::Embeddings;
use parquet::data_type::{ByteArray, ByteArrayType, FloatType};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::record::{Field, Row as Record};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

use super::npy::{Npy, rows_path};
use super::{Kind, Meta, Row, Sink};
use crate::error::CliError;
use crate::output::{beside, replace};

const SCHEMA: &str = "message embeddings {
    required binary kind (STRING);
    required binary source (STRING);
    required group embedding (LIST) { repeated group list { required float element; } }
}";
const KEY: &str = "chinese_clip";
/// Rows of a row group, and of a step when reading back.
const GROUP: usize = 8192;

/// Where rows are kept until the file is made.
pub(super) fn journal(path: &Path) -> PathBuf {
    beside(path, ".part")
}

/// A table that grows.
pub(super) struct Parquet {
    path: PathBuf,
    journal: Npy,
    meta: Meta,
    /// Rows of the file that is there; `None` if there is none.
    written: Option<usize>,
}

impl Parquet {
    /// Starts or goes on with a journal; `file` is the opened one.
    pub(super) fn open(path: &Path, file: File, meta: &Meta) -> Result<(Self, Vec<Row>), CliError> {
        let (mut journal, mut rows) = Npy::open(&journal(path), file, &[meta.width])?;
        let failed = |error| failed_at(path, error);
        let mut written = None;
        if path.exists() {
            let old = File::open(path).map_err(|source| CliError::Read { path: path.into(), source })?;
            let old = SerializedFileReader::new(old).map_err(failed)?;
            check(path, &old, meta)?;
            let count = old.metadata().file_metadata().num_rows().max(0) as usize;
            if rows.len() < count {
                journal.clear()?;
                rows = read(path, &old, meta.width, |rows, vectors| journal.append(rows, vectors))?;
            }
            written = Some(count);
        }
        Ok((Self { path: path.into(), journal, meta: meta.clone(), written }, rows))
    }

    fn write(&self) -> Result<(), CliError> {
        let failed = |error| failed_at(&self.path, error);
        replace(&self.path, |file| {
            let mut writer = writer(file, &self.meta).map_err(failed)?;
            self.journal.read_back(GROUP, |rows, values| {
                write_group(&mut writer, rows, values, self.meta.width).map_err(failed)
            })?;
            writer.close().map_err(failed)?;
            Ok(())
        })
    }

    fn discard_journal(&self) {
        // Left behind, it would be gone on with; it holds nothing that the file does not.
        let journal = journal(&self.path);
        let _ = std::fs::remove_file(rows_path(&journal));
        let _ = std::fs::remove_file(journal);
    }
}

impl Sink for Parquet {
    fn append(&mut self, rows: &[Row], embeddings: &Embeddings) -> Result<(), CliError> {
        self.journal.append(rows, embeddings)
    }

    fn finish(self: Box<Self>) -> Result<(), CliError> {
        if self.written != Some(self.journal.count) {
            let journal = journal(&self.path);
            self.journal.sync().and_then(|()| self.write()).map_err(|error| CliError::Unfinished {
                path: self.path.clone(),
                journal,
                source: Box::new(error),
            })?;
        }
        self.discard_journal();
        Ok(())
    }
}

/// An error of the file: of the disk under it, or of its format.
fn failed_at(path: &Path, error: ParquetError) -> CliError {
    let path = path.to_path_buf();
    match error {
        ParquetError::External(inner) => match inner.downcast() {
            Ok(source) => CliError::Write { path, source: *source },
            Err(inner) => CliError::Parquet { path, source: ParquetError::External(inner) },
        },
        source => CliError::Parquet { path, source },
    }
}

/// An error unless the file has our schema and says that its vectors are like the new ones.
fn check(path: &Path, old: &SerializedFileReader<File>, meta: &Meta) -> Result<(), CliError> {
    let failed = |error| failed_at(path, error);
    let file = old.metadata().file_metadata();
    let expected = parse_message_type(SCHEMA).map_err(failed)?;
    let entry = file.key_value_metadata().and_then(|all| all.iter().find(|entry| entry.key == KEY));
    let old_meta: Option<Meta> = entry.and_then(|entry| serde_json::from_str(entry.value.as_deref()?).ok());
    match old_meta {
        Some(old_meta) if file.schema().get_fields() == expected.get_fields() => {
            let differences = old_meta.differences(meta);
            if differences.is_empty() { Ok(()) } else { Err(CliError::Differs { path: path.into(), differences }) }
        }
        _ => Err(CliError::Damaged { path: path.into(), problem: "it is not a table of embeddings".into() }),
    }
}

fn writer<'a>(file: &'a mut File, meta: &Meta) -> Result<SerializedFileWriter<&'a mut File>, ParquetError> {
    let meta = serde_json::to_string(meta).map_err(|error| ParquetError::External(Box::new(error)))?;
    let properties = WriterProperties::builder()
        .set_column_dictionary_enabled(
            ColumnPath::new(vec!["embedding".into(), "list".into(), "element".into()]),
            false,
        )
        .set_key_value_metadata(Some(vec![KeyValue::new(KEY.into(), meta)]))
        .set_created_by(created_by())
        .build();
    SerializedFileWriter::new(file, Arc::new(parse_message_type(SCHEMA)?), Arc::new(properties))
}

/// What wrote a file.
fn created_by() -> String {
    format!("chinese-clip {}", env!("CARGO_PKG_VERSION"))
}

fn write_group(
    writer: &mut SerializedFileWriter<&mut File>,
    rows: &[Row],
    values: &[f32],
    width: usize,
) -> Result<(), ParquetError> {
    let mut group = writer.next_row_group()?;
    let kinds: Vec<ByteArray> = rows.iter().map(|row| row.kind.name().into()).collect();
    let sources: Vec<ByteArray> = rows.iter().map(|row| row.source.as_str().into()).collect();
    for strings in [kinds, sources] {
        if let Some(mut column) = group.next_column()? {
            column.typed::<ByteArrayType>().write_batch(&strings, None, None)?;
            column.close()?;
        }
    }
    if let Some(mut column) = group.next_column()? {
        let definition = vec![1; values.len()];
        let repetition: Vec<i16> = (0..values.len()).map(|index| i16::from(index % width != 0)).collect();
        column.typed::<FloatType>().write_batch(values, Some(&definition), Some(&repetition))?;
        column.close()?;
    }
    group.close().map(drop)
}

/// Hands out the rows and vectors of a file, some at a time, and gives all rows.
fn read(
    path: &Path,
    file: &SerializedFileReader<File>,
    width: usize,
    mut each: impl FnMut(&[Row], &Embeddings) -> Result<(), CliError>,
) -> Result<Vec<Row>, CliError> {
    let (mut rows, mut done, mut values) = (Vec::new(), 0, Vec::new());
    let records = file.get_row_iter(None).map_err(|error| failed_at(path, error))?;
    for (number, record) in records.enumerate() {
        let record = record.map_err(|error| failed_at(path, error))?;
        let (row, vector) = parse(record, width).ok_or_else(|| CliError::Damaged {
            path: path.into(),
            problem: format!("row {number} has no vector of width {width}"),
        })?;
        rows.push(row);
        values.extend(vector);
        if rows.len() - done == GROUP {
            each(&rows[done..], &Embeddings::new(std::mem::take(&mut values), width))?;
            done = rows.len();
        }
    }
    each(&rows[done..], &Embeddings::new(values, width))?;
    Ok(rows)
}

fn parse(record: Record, width: usize) -> Option<(Row, Vec<f32>)> {
    let mut fields = record.into_columns().into_iter().map(|(_, field)| field);
    let (Field::Str(kind), Field::Str(source), Field::ListInternal(list)) =
        (fields.next()?, fields.next()?, fields.next()?)
    else {
        return None;
    };
    let kind = match kind.as_str() {
        "image" => Kind::Image,
        "text" => Kind::Text,
        _ => return None,
    };
    let float = |field: &Field| if let Field::Float(value) = field { Some(*value) } else { None };
    let vector: Vec<f32> = list.elements().iter().map(float).collect::<Option<_>>()?;
    (vector.len() == width).then_some((Row { kind, source }, vector))
}
