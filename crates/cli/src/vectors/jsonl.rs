//! A JSON object a line: `{"kind": "image"|"text", "source": …, "embedding": […]}`. NaN is `null`.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use chinese_clip::Embeddings;
use serde::{Deserialize, Serialize};

use super::{Row, Sink, complete_lines};
use crate::error::CliError;
use crate::output::Out;

#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    row: &'a Row,
    embedding: &'a [f32],
}

#[derive(Deserialize)]
struct OldLine {
    #[serde(flatten)]
    row: Row,
    embedding: Vec<Option<f32>>,
}

fn lines(rows: &[Row], embeddings: &Embeddings) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for (row, embedding) in rows.iter().zip(embeddings.rows()) {
        serde_json::to_writer(&mut text, &Line { row, embedding })?;
        text.push(b'\n');
    }
    Ok(text)
}

/// A file that is appended to.
pub(super) struct Lines {
    path: PathBuf,
    file: File,
    /// Bytes of whole lines.
    end: u64,
}

impl Lines {
    /// Goes on with a file; a line that was cut off goes.
    pub(super) fn open(path: &Path, file: File, width: usize) -> Result<(Self, Vec<Row>), CliError> {
        let (mut rows, mut end) = (Vec::new(), 0);
        complete_lines(path, &file, |line: OldLine, line_end| {
            if line.embedding.len() != width {
                return Err(format!("the embedding is {} wide, not {width}", line.embedding.len()));
            }
            rows.push(line.row);
            end = line_end;
            Ok(())
        })?;
        let mut lines = Self { path: path.into(), file, end };
        lines.cut().map_err(|source| lines.failed(source))?;
        Ok((lines, rows))
    }

    fn cut(&mut self) -> std::io::Result<()> {
        self.file.set_len(self.end)?;
        self.file.seek(SeekFrom::Start(self.end)).map(drop)
    }

    fn failed(&self, source: std::io::Error) -> CliError {
        CliError::Write { path: self.path.clone(), source }
    }
}

impl Sink for Lines {
    fn append(&mut self, rows: &[Row], embeddings: &Embeddings) -> Result<(), CliError> {
        let text = lines(rows, embeddings).map_err(|source| self.failed(source))?;
        if let Err(source) = self.file.write_all(&text) {
            let _ = self.cut();
            return Err(self.failed(source));
        }
        self.end += text.len() as u64;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), CliError> {
        self.file.sync_all().map_err(|source| self.failed(source))
    }
}

/// Standard output, or a pipe or device that a path names.
pub(super) enum Stream {
    Stdout(Out),
    Device(PathBuf, File),
}

impl Stream {
    pub(super) fn new(path: Option<&Path>) -> Result<Self, CliError> {
        let Some(path) = path else { return Ok(Self::Stdout(Out::new())) };
        let file = File::options().write(true).open(path);
        Ok(Self::Device(path.into(), file.map_err(|source| CliError::Write { path: path.into(), source })?))
    }
}

impl Sink for Stream {
    fn append(&mut self, rows: &[Row], embeddings: &Embeddings) -> Result<(), CliError> {
        let text = lines(rows, embeddings).map_err(|source| CliError::Stdout { source })?;
        match self {
            Self::Stdout(out) => out.bytes(&text).and_then(|()| out.flush()),
            Self::Device(path, file) => {
                file.write_all(&text).map_err(|source| CliError::Write { path: path.clone(), source })
            }
        }
    }

    fn finish(self: Box<Self>) -> Result<(), CliError> {
        Ok(())
    }
}
