//! NumPy's `.npy`, version 1.0 (`numpy/lib/format.py`): `[N, E]` of little-endian f32 (of patches: `[N, rows, columns, W]`), and
//! `OUT.rows.jsonl` with a line a row.
//!
//! The header has a fixed size and is written anew after each batch, so that the file can be read at any time. The order is
//! vectors, lines, header: what the header announces is there.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use chinese_clip::Embeddings;

use super::{Row, Sink, complete_lines};
use crate::error::CliError;
use crate::output::beside;

/// Bytes of the header, magic included.
pub(super) const HEADER: u64 = 128;

/// The header of a C-ordered f32 array.
pub(crate) fn header(shape: &[usize]) -> Vec<u8> {
    let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", shape.join(", "));
    let length = HEADER as usize - 10;
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend((length as u16).to_le_bytes());
    header.extend(format!("{text:<width$}\n", width = length - 1).bytes());
    header
}

/// Where the names of the rows stand.
pub(super) fn rows_path(path: &Path) -> PathBuf {
    beside(path, ".rows.jsonl")
}

/// An array that grows.
pub(super) struct Npy {
    path: PathBuf,
    data: File,
    rows: File,
    /// The shape of a row.
    row: Vec<usize>,
    /// Rows that are whole in both files.
    pub(super) count: usize,
    /// Bytes of their lines.
    rows_end: u64,
}

impl Npy {
    /// Goes on with a pair of files; both are cut to the rows that both have. Vectors without any line are not dropped: the
    /// lines were lost in another way than by a crash.
    pub(super) fn open(path: &Path, mut data: File, row: &[usize]) -> Result<(Self, Vec<Row>), CliError> {
        let name = rows_path(path);
        let rows_file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&name)
            .map_err(|source| CliError::Write { path: name.clone(), source })?;
        let (announced, vectors) = whole_vectors(path, &mut data, row)?;
        let (mut rows, mut rows_end) = (Vec::new(), 0);
        complete_lines(&name, &rows_file, |row: Row, end| {
            if rows.len() < vectors {
                rows.push(row);
                rows_end = end;
            }
            Ok(())
        })?;
        if rows.is_empty() && announced.min(vectors) > 0 {
            let problem = format!("it names no row, and {} has {announced}", path.display());
            return Err(CliError::Damaged { path: name, problem });
        }
        let mut npy = Self { path: path.into(), data, rows: rows_file, row: row.into(), count: rows.len(), rows_end };
        npy.settle().map_err(|source| npy.failed(source))?;
        Ok((npy, rows))
    }

    /// Numbers of a row.
    fn width(&self) -> usize {
        self.row.iter().product()
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) -> Result<(), CliError> {
        (self.count, self.rows_end) = (0, 0);
        self.settle().map_err(|source| self.failed(source))
    }

    /// Makes both files agree with `count`.
    fn settle(&mut self) -> std::io::Result<()> {
        self.rows.set_len(self.rows_end)?;
        self.rows.seek(SeekFrom::Start(self.rows_end))?;
        self.write_header()?;
        let end = HEADER + (self.count * self.width() * 4) as u64;
        self.data.set_len(end)?;
        self.data.seek(SeekFrom::Start(end)).map(drop)
    }

    fn write_header(&mut self) -> std::io::Result<()> {
        self.data.seek(SeekFrom::Start(0))?;
        self.data.write_all(&header(&array(self.count, &self.row)))?;
        self.data.seek(SeekFrom::End(0)).map(drop)
    }

    fn try_append(&mut self, rows: &[Row], embeddings: &Embeddings) -> std::io::Result<()> {
        let bytes: Vec<u8> = embeddings.values().iter().flat_map(|value| value.to_le_bytes()).collect();
        self.data.write_all(&bytes)?;
        let mut text = Vec::new();
        for row in rows {
            serde_json::to_writer(&mut text, row)?;
            text.push(b'\n');
        }
        self.rows.write_all(&text)?;
        self.count += rows.len();
        self.rows_end += text.len() as u64;
        self.write_header()
    }

    fn failed(&self, source: std::io::Error) -> CliError {
        CliError::Write { path: self.path.clone(), source }
    }

    pub(super) fn sync(&self) -> Result<(), CliError> {
        self.data.sync_all().and_then(|()| self.rows.sync_all()).map_err(|source| self.failed(source))
    }

    /// Hands out all rows, some at a time.
    pub(super) fn read_back(
        &self,
        at_a_time: usize,
        mut each: impl FnMut(&[Row], &[f32]) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let failed = |source| CliError::Read { path: self.path.clone(), source };
        let mut data = &self.data;
        data.seek(SeekFrom::Start(HEADER)).map_err(failed)?;
        let lines = File::open(rows_path(&self.path)).map_err(failed)?;
        let mut rows = Vec::new();
        complete_lines(&rows_path(&self.path), &lines, |row: Row, _| {
            rows.push(row);
            Ok(())
        })?;
        for rows in rows.chunks(at_a_time.max(1)) {
            let mut bytes = vec![0; rows.len() * self.width() * 4];
            data.read_exact(&mut bytes).map_err(failed)?;
            let values: Vec<f32> = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            each(rows, &values)?;
        }
        Ok(())
    }
}

impl Sink for Npy {
    fn append(&mut self, rows: &[Row], embeddings: &Embeddings) -> Result<(), CliError> {
        let (count, rows_end) = (self.count, self.rows_end);
        self.try_append(rows, embeddings).map_err(|source| {
            (self.count, self.rows_end) = (count, rows_end);
            let _ = self.settle();
            self.failed(source)
        })
    }

    fn finish(self: Box<Self>) -> Result<(), CliError> {
        self.sync()
    }
}

/// How many vectors the header announces, and how many the file holds: the header may be a batch behind.
fn whole_vectors(path: &Path, data: &mut File, row: &[usize]) -> Result<(usize, usize), CliError> {
    let failed = |source| CliError::Read { path: path.into(), source };
    let length = data.metadata().map_err(failed)?.len();
    if length == 0 {
        return Ok((0, 0));
    }
    let mut found = Vec::new();
    data.seek(SeekFrom::Start(0)).and_then(|_| data.take(HEADER).read_to_end(&mut found)).map_err(failed)?;
    let digits = String::from_utf8_lossy(&found);
    let announced: Option<usize> = digits.split('(').nth(1).and_then(|shape| shape.split(',').next()?.parse().ok());
    let Some(announced) = announced.filter(|rows| header(&array(*rows, row)) == found) else {
        let row: Vec<String> = row.iter().map(usize::to_string).collect();
        let problem = format!("its header is not that of an array of f32 vectors of width {}", row.join(" x "));
        return Err(CliError::Damaged { path: path.into(), problem });
    };
    let width: usize = row.iter().product();
    Ok((announced, ((length - HEADER) / (4 * width.max(1)) as u64) as usize))
}

/// The shape of an array of `count` rows.
fn array(count: usize, row: &[usize]) -> Vec<usize> {
    [&[count], row].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_as_numpy_writes_it() {
        let header = header(&[3, 512]);
        assert_eq!(header.len(), 128);
        assert!(
            header
                .starts_with(b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (3, 512), }  ")
        );
        assert!(header.ends_with(b" \n"));
    }
}
